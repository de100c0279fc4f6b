"""From what each model computes to one score: views, folds, members, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..explain.interpolation import heatmap_of, interpolation
from ..images.augment import VIEWS, dihedral_view
from .member import Member

if TYPE_CHECKING:
    from ..ensemble.ensemble import Ensemble
    from ..evaluation.calibration import Calibrator

Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Scores:
    """Of a batch.

    Attributes:
        score: (n,) in [0, 1].
        probability: (n,); None where the models were not calibrated.
        classes: (n, k), in the order of the first model; None of binary models, and where members know other classes.
        members: model → (n,) its own score.
    """

    score: np.ndarray
    probability: np.ndarray | None
    classes: np.ndarray | None
    members: dict[str, np.ndarray]


def outputs_of(member: Member, images: np.ndarray | None, metadata: np.ndarray | None) -> Outputs:
    """Scores averaged over the recipe's views, and the map of the image as it lies.

    Args:
        member: computes.
        images: (n, H, H, 3) uint8; None for a metadata-only model.
        metadata: (n, D) float32; None for an image-only model.
    """
    views = VIEWS if member.header.recipe.tta == VIEWS and images is not None else 1
    given = {} if metadata is None else {"metadata": metadata}
    total: Outputs = {}
    for view in range(views):
        if images is not None:
            given["image"] = np.stack([dihedral_view(image, view) for image in images])
        found = member.engine.run(given)
        if not view:
            total = {name: value.astype("float64") for name, value in found.items()}
        else:
            for name in total.keys() & {"score", "class_scores"}:
                total[name] = total[name] + found[name]
    for name in total.keys() & {"score", "class_scores"}:
        total[name] = total[name] / views
    return total


def combined(
    members: Sequence[Member],
    found: Sequence[Outputs],
    ensemble: Ensemble | None,
    calibrator: Calibrator | None,
    table: pd.DataFrame,
) -> Scores:
    """Folds to their mean, members as the ensemble says, the score to a probability.

    Args:
        members: models.
        found: outputs of each.
        ensemble: combines the members; None for their plain mean.
        calibrator: from the score to a probability.
        table: (n rows) metadata.
    """
    # Sums of float32 softmax and of weights may end a rounding step above 1, which is no score.
    parts = [np.clip(one["score"], 0.0, 1.0) for one in found]
    scores = {member.name: part for member, part in zip(members, parts, strict=True)}
    groups: dict[str, list[int]] = {}
    for place, member in enumerate(members):
        groups.setdefault(member.group, []).append(place)
    means = {name: np.mean([parts[i] for i in places], axis=0) for name, places in groups.items()}
    score = ensemble.combine(means, table) if ensemble else np.mean(list(means.values()), axis=0)
    score = np.clip(score, 0.0, 1.0)
    probability = calibrator.transform(score) if calibrator else None
    classes = _class_means(members, found, list(groups.values()))
    return Scores(score, probability, classes, scores)


def _class_means(
    members: Sequence[Member], found: Sequence[Outputs], groups: Sequence[Sequence[int]]
) -> np.ndarray | None:
    """(n, k) mean over the members, as the ensemble weighs the one score only; None where they know other classes."""
    lists = [member.header.recipe.classes for member in members]
    if not lists[0] or any(set(names) != set(lists[0]) for names in lists):
        return None
    parts = [
        one["class_scores"][:, [names.index(label) for label in lists[0]]]
        for names, one in zip(lists, found, strict=True)
    ]
    return np.asarray(np.mean([np.mean([parts[i] for i in places], axis=0) for places in groups], axis=0))


def heat_maps(members: Sequence[Member], found: Sequence[Outputs]) -> np.ndarray | None:
    """(n, H, H) float32 in 0–1: the mean over the models that see images as the first does; None without images."""
    with_images = [(m, one) for m, one in zip(members, found, strict=True) if m.header.spec is not None]
    if not with_images:
        return None
    header = with_images[0][0].header
    alike = [one for m, one in with_images if (m.header.spec, m.header.centres) == (header.spec, header.centres)]
    assert header.spec is not None
    assert header.centres is not None
    weights = interpolation(np.asarray(header.centres), header.spec.size)
    signed = np.mean([one["signed_map"] for one in alike], axis=0)
    return np.stack([heatmap_of(one, weights) for one in signed])
