"""Rare positives: class weights as sample weights, oversampling, and what each costs."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from ..errors import RecipeError

Imbalance = Literal["class_weight", "oversample", "none"]
Sources = Sequence[str] | np.ndarray
MAX_SAMPLING = 100.0


def class_weights(targets: np.ndarray) -> dict[int, float]:
    """Balanced weights n / (k · n_class), from training targets only.

    Args:
        targets: (n,) whole numbers 0 … k−1, each class present.

    Returns:
        Class → weight; weighted by class counts they have mean 1.

    Raises:
        RecipeError: fewer than two classes.
    """
    classes, counts = np.unique(np.asarray(targets), return_counts=True)
    if len(classes) < 2:
        raise RecipeError(f"Class weights need at least two classes. Received targets with classes {classes.tolist()}")
    return {int(c): float(len(targets) / (len(classes) * count)) for c, count in zip(classes, counts, strict=True)}


def sample_weights(
    targets: np.ndarray,
    imbalance: Imbalance,
    *,
    sources: Sources | None = None,
    source_weights: Mapping[str, float] | None = None,
) -> np.ndarray:
    """(n,) float32 weights of mean 1: balanced for "class_weight", all ones otherwise, times a factor for each source.

    The weight travels with the record rather than through `fit(class_weight=...)`, which Keras refuses for data that
    bring sample weights and which rounds soft labels.

    Args:
        targets: (n,) whole numbers, classes.
        imbalance: how rare classes are treated.
        sources: (n,) source of each record; needed with `source_weights`.
        source_weights: factor above 0 for each source, e.g. {"isic-2019": 0.5}; sources not named have 1.

    Raises:
        RecipeError: an unknown treatment or source, or a factor that is not a number above 0.
    """
    targets = np.asarray(targets)
    if imbalance not in typing.get_args(Imbalance):
        known = ", ".join(typing.get_args(Imbalance))
        raise RecipeError(f"imbalance is one of {known}. Received: imbalance={imbalance!r}")
    values = np.ones(len(targets))
    if imbalance == "class_weight":
        weights = class_weights(targets)
        values = np.array([weights[int(target)] for target in targets])
    if source_weights is not None:
        values = values * _factors(sources, source_weights, "source_weights", len(targets))
    return np.asarray(values / values.mean() if len(values) else values, dtype="float32")


def epoch_rows(
    targets: np.ndarray,
    imbalance: Imbalance,
    oversample_to: float,
    *,
    sources: Sources | None = None,
    source_sampling: Mapping[str, float] | None = None,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Row numbers of one epoch, before shuffling: each once, or positives repeated until they are a given share.

    With `source_sampling` the records of each source are drawn first, and positives are repeated among those drawn.

    Args:
        targets: (n,) of 0 and 1 (or classes; then class 0 is taken as the common one).
        imbalance: repeats only for "oversample".
        oversample_to: share of positives wanted in an epoch, in (0, 1).
        sources: (n,) source of each record; needed with `source_sampling`.
        source_sampling: how often the records of a source stand in an epoch, in (0, 100]: 0.5 draws half of them, 2
            takes each twice, 1.5 each once and half of them again; sources not named have 1.
        rng: draws; a new state for each epoch gives other records. Needed with `source_sampling`.

    Returns:
        (m,) int64. Without `source_sampling` m ≥ n and every record stands there at least once.

    Raises:
        RecipeError: a share out of its range, an unknown source, or `source_sampling` without `sources` or `rng`.
    """
    if not 0 < oversample_to < 1:
        raise RecipeError(f"oversample_to must lie between 0 and 1. Received: oversample_to={oversample_to!r}")
    targets = np.asarray(targets)
    rows = np.arange(len(targets), dtype="int64")
    if source_sampling is not None:
        shares = _factors(sources, source_sampling, "source_sampling", len(rows))
        rows = _drawn(np.asarray(sources), shares, targets > 0, rng)
    if imbalance != "oversample":
        return rows
    positive = rows[targets[rows] > 0]
    negatives = len(rows) - len(positive)
    wanted = round(negatives * oversample_to / (1 - oversample_to))
    extra = max(0, wanted - len(positive))
    return np.concatenate([rows, np.resize(positive, extra)]) if len(positive) else rows


def _factors(sources: Sources | None, by_source: Mapping[str, float], option: str, n: int) -> np.ndarray:
    """(n,) the number given for the source of each record."""
    names = np.asarray(sources, dtype=object)
    if sources is None or names.shape != (n,):
        raise RecipeError(f"{option} needs the source of each of the {n:,} records: sources=dataset.frame['source'].")
    if not isinstance(by_source, Mapping):
        raise RecipeError(f"{option} is a table source → number. Received: {option}={by_source!r}")
    known = sorted(set(map(str, names)))
    problems = [
        f"{option} names {name!r}, which is no source of these records" for name in by_source if name not in known
    ]
    limit = MAX_SAMPLING if option == "source_sampling" else math.inf
    for name, value in by_source.items():
        number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        if not number or not 0 < value <= limit or math.isinf(value):
            above = f" up to {limit:.0f}" if limit < math.inf else ""
            problems.append(f"{option}[{name!r}] must be a number above 0{above}. Received: {value!r}")
    if problems:
        raise RecipeError("; ".join(problems) + f". Sources: {', '.join(known)}. Leave a source out with select().")
    return np.array([float(by_source.get(str(name), 1.0)) for name in names])


def _drawn(
    sources: np.ndarray, shares: np.ndarray, positive: np.ndarray, rng: np.random.Generator | None
) -> np.ndarray:
    """Rows in order: whole times each record of a source, and the rest of the share drawn without replacement.

    Positives and the rest are drawn apart, so every epoch has the same number of each.
    """
    if not isinstance(rng, np.random.Generator):
        raise RecipeError("source_sampling draws records: give rng=numpy.random.default_rng([seed, epoch]).")
    drawn = []
    for stratum in sorted(set(zip(map(str, sources), positive.tolist(), strict=True))):
        rows = np.flatnonzero((sources.astype(str) == stratum[0]) & (positive == stratum[1]))
        wanted = max(1, round(len(rows) * float(shares[rows[0]])))
        times, rest = divmod(wanted, len(rows))
        drawn += [np.repeat(rows, times), rng.permutation(rows)[:rest]]
    return np.sort(np.concatenate([np.zeros(0, dtype="int64"), *drawn])).astype("int64")


def imbalance_report(targets: np.ndarray, imbalance: Imbalance) -> str:
    """What the chosen treatment of rare positives does, and what it is known to cost."""
    targets = np.asarray(targets)
    share = float((targets > 0).mean())
    head = f"{len(targets):,} training records, {share:.2%} positive. "
    if imbalance == "class_weight":
        weights = class_weights(targets)
        shown = ", ".join(f"class {c}: {w:.2f}" for c, w in weights.items())
        return head + (
            f"Balanced class weights ({shown}). They always cost calibration (scores are no probabilities) and can "
            'cost AUC: one public SIIM-ISIC log fell from 0.878 to 0.722. Other ways: imbalance="oversample" (0.897 to '
            '0.910 in another log), or imbalance="none" with loss="focal".'
        )
    if imbalance == "oversample":
        return head + "Positives are repeated in each epoch; scores are no probabilities until calibrated."
    return head + "No weights and no oversampling."
