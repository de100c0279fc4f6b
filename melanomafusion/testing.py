"""Synthetic data shaped like SIIM-ISIC 2020, with a known best possible AUC. Tests, examples and the demo share it.

How it is made: a patient has an age and a sex; an image has a site. Its target is drawn with a probability that depends
on age, sex and site alone. Then an evidence e is drawn, normal with deviation 1 around `strength` for melanomas and
around 0 for the rest, and the lesion is painted the bluer the larger e is. So the best score from the image is e, the
best from metadata is that probability, the best from both is their sum as log odds, and all three AUCs follow in
closed form. Skin tone, light, size, place and shape vary without meaning.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.stats import norm

from .atomic import atomic_file, write_text
from .data.folds import deal_groups
from .data.schema import SITES
from .predictions import Predictions

AGES = np.arange(15.0, 91.0, 5.0)
_SITE_SHARES = np.array([0.06, 0.25, 0.01, 0.02, 0.50, 0.16])
_SITE_LOG_ODDS = np.array([1.6, -0.9, 0.3, -0.5, -0.2, 0.9])
_MISSING = {"sex": 0.03, "age": 0.03, "site": 0.05}
STRENGTH = 1.4


@dataclass(frozen=True)
class BestPossible:
    """The highest AUC that any model can have in the long run.

    Attributes:
        image: from the image alone.
        metadata: from sex, age and site alone, missing values as they are.
        both: from all of it.
    """

    image: float
    metadata: float
    both: float


def make_siim_isic(
    root: str | Path,
    *,
    n_patients: int = 600,
    n_test_patients: int = 60,
    image_size: int = 48,
    prevalence: float = 0.05,
    seed: int = 0,
) -> BestPossible:
    """Write a synthetic data set in the Kaggle layout: train.csv, test.csv, jpeg/train, jpeg/test, best_possible.json.

    Args:
        root: folder.
        n_patients: of the training split, with five images each on average.
        n_test_patients: of the test split (without target).
        image_size: side of the JPEG files in pixels.
        prevalence: share of melanomas.
        seed: of everything.

    Returns:
        The best possible AUCs.
    """
    root = Path(root)
    rng = np.random.default_rng(seed)
    for split, patients in (("train", n_patients), ("test", n_test_patients)):
        frame, evidence = make_records(patients, prevalence=prevalence, rng=rng, prefix=split)
        folder = root / "jpeg" / split
        folder.mkdir(parents=True, exist_ok=True)
        for name, e in zip(frame["image_name"], evidence, strict=True):
            Image.fromarray(paint_lesion(float(e), image_size, rng)).save(folder / f"{name}.jpg", quality=92)
        table = frame if split == "train" else frame.drop(columns=["diagnosis", "benign_malignant", "target"])
        with atomic_file(root / f"{split}.csv") as part:
            table.to_csv(part, index=False, lineterminator="\n")
    best = best_possible(prevalence)
    write_text(root / "best_possible.json", json.dumps(asdict(best), indent=2) + "\n")
    return best


def make_records(
    n_patients: int, *, prevalence: float = 0.05, rng: np.random.Generator, prefix: str = "train"
) -> tuple[pd.DataFrame, np.ndarray]:
    """The table alone, with the columns of SIIM-ISIC 2020's train.csv, and the evidence of each image, (n,)."""
    images = 1 + rng.poisson(1.0, n_patients) + rng.geometric(1 / 4, n_patients) - 1
    patient = np.repeat(np.arange(n_patients), images)
    n = len(patient)
    age = rng.choice(len(AGES), n_patients, p=_age_shares())[patient]
    male = rng.integers(0, 2, n_patients)[patient]
    site = rng.choice(len(SITES), n, p=_SITE_SHARES)
    log_odds = _log_odds(prevalence)
    target = (rng.random(n) < 1 / (1 + np.exp(-log_odds[male, age, site]))).astype(int)
    evidence = rng.normal(size=n) + STRENGTH * target
    letter = {"train": 1, "test": 2}.get(prefix, 3)
    frame = pd.DataFrame(
        {
            "image_name": [f"ISIC_{letter}{i:06d}" for i in range(n)],
            "patient_id": [f"IP_{letter}{p:06d}" for p in patient],
            "sex": np.where(male == 1, "male", "female").astype(object),
            "age_approx": AGES[age],
            "anatom_site_general_challenge": np.array(SITES, dtype=object)[site],
            "diagnosis": np.where(target == 1, "melanoma", np.where(rng.random(n) < 0.3, "nevus", "unknown")),
            "benign_malignant": np.where(target == 1, "malignant", "benign"),
            "target": target,
        }
    )
    for column, share in zip(("sex", "age_approx", "anatom_site_general_challenge"), _MISSING.values(), strict=True):
        frame.loc[rng.random(n) < share, column] = None
    return frame, evidence


def make_members(
    strengths: tuple[float, ...] = (1.0, 0.9, 0.6, 0.2), *, n_patients: int = 600, n_folds: int = 5, seed: int = 0
) -> dict[str, Predictions]:
    """Out-of-fold scores of synthetic members, with metadata, without any images or training.

    Each member sees the images' evidence through noise of its own and noise shared by all, on a scale of its own.

    Args:
        strengths: of each member, how clearly it sees; 0 is noise.
        n_patients: about five images each.
        n_folds: patient-grouped.
        seed: of the data and the noise.

    Returns:
        "member_0", … → oof predictions whose tables carry sex, age_approx and site.
    """
    rng = np.random.default_rng(seed)
    frame, evidence = make_records(n_patients, rng=rng)
    groups = frame.groupby("patient_id")["target"].agg(["size", "sum"])
    frame["fold"] = frame["patient_id"].map(deal_groups(groups, n_folds, seed)).astype("int64")
    frame = frame.drop(columns=["benign_malignant", "diagnosis"])
    shared = rng.normal(size=len(frame))
    members = {}
    for number, strength in enumerate(strengths):
        seen = strength * evidence + 0.5 * shared + 0.8 * rng.normal(size=len(frame))
        score = 1 / (1 + np.exp(-(1 + 0.3 * number) * seen + 3))
        members[f"member_{number}"] = Predictions(frame.assign(score=score), "oof", name=f"member_{number}")
    return members


def best_possible(prevalence: float = 0.05) -> BestPossible:
    """AUCs of the best scores, from the distribution the data are drawn from.

    For a score s that is normal given the observed metadata cell, P(s₊ > s₋) is a sum over pairs of cells.
    """
    positive, negative, ratio = _cells(prevalence)
    gap = ratio[:, None] - ratio[None, :]
    pairs = positive[:, None] * negative[None, :]
    metadata = float(np.sum(pairs * np.where(np.isclose(gap, 0.0, atol=1e-12), 0.5, gap > 0)))
    d = STRENGTH
    both = float(np.sum(pairs * norm.cdf((gap + d * d) / (d * np.sqrt(2.0)))))
    return BestPossible(image=float(norm.cdf(d / np.sqrt(2.0))), metadata=metadata, both=both)


def paint_lesion(evidence: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """(size, size, 3) uint8: a lesion on skin whose colour carries the evidence."""
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    light = 1.0 + 0.15 * (rng.normal() * x + rng.normal() * y)
    skin = np.array([0.86, 0.66, 0.56]) * rng.uniform(0.85, 1.08)
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(0.75, 1.3)
    dx, dy = x - rng.normal(scale=0.05), y - rng.normal(scale=0.05)
    u, v = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
    theta = np.arctan2(v, u)
    edge = rng.uniform(0.24, 0.30) * (1 + 0.08 * np.sin(3 * theta + rng.uniform(0, 6)) + 0.05 * np.sin(7 * theta))
    inside = 1 / (1 + np.exp((np.hypot(u * stretch, v / stretch) - edge) * 60))
    blue = np.clip((evidence + 3.0) / 8.0, 0.0, 1.0)
    lesion = (1 - blue) * np.array([0.62, 0.34, 0.16]) + blue * np.array([0.20, 0.26, 0.46])
    lesion = lesion * rng.uniform(0.95, 1.05)
    picture = skin * (1 - inside[..., None]) + lesion * inside[..., None]
    picture = picture * light[..., None] + rng.normal(scale=0.015, size=(size, size, 1))
    return np.asarray(255 * np.clip(picture, 0, 1), dtype=np.uint8)


def _age_shares() -> np.ndarray:
    shares = norm.pdf(AGES, 48.0, 15.0)
    return np.asarray(shares / shares.sum())


def _log_odds(prevalence: float) -> np.ndarray:
    """(sex, age, site) log odds of melanoma; the constant gives the wanted prevalence."""
    shape = (
        np.array([-0.35, 0.35])[:, None, None]
        + (1.1 * (AGES - 48.0) / 15.0)[None, :, None]
        + _SITE_LOG_ODDS[None, None, :]
    )
    weights = 0.5 * _age_shares()[None, :, None] * _SITE_SHARES[None, None, :]
    low, high = -20.0, 20.0
    for _ in range(80):
        middle = (low + high) / 2
        if float(np.sum(weights / (1 + np.exp(-(shape + middle))))) < prevalence:
            low = middle
        else:
            high = middle
    return np.asarray(shape + (low + high) / 2)


def _cells(prevalence: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observed metadata cells, missing levels among them: P(cell | melanoma), P(cell | not), log of their ratio."""
    weights = np.broadcast_to(
        0.5 * _age_shares()[None, :, None] * _SITE_SHARES[None, None, :], (2, len(AGES), len(SITES))
    )
    risk = 1 / (1 + np.exp(-_log_odds(prevalence)))
    observed = []
    for joint in (weights * risk, weights * (1 - risk)):
        table = joint / joint.sum()
        for axis, share in enumerate(_MISSING.values()):
            table = np.concatenate([table * (1 - share), share * table.sum(axis=axis, keepdims=True)], axis=axis)
        observed.append(table.ravel())
    return observed[0], observed[1], np.log(observed[0] / observed[1])
