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
        classes: (n, k); None of a binary model.
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
    scores = {member.name: one["score"] for member, one in zip(members, found, strict=True)}
    groups: dict[str, list[int]] = {}
    for place, member in enumerate(members):
        groups.setdefault(member.group, []).append(place)
    means = {name: np.mean([found[i]["score"] for i in places], axis=0) for name, places in groups.items()}
    score = ensemble.combine(means, table) if ensemble else np.mean(list(means.values()), axis=0)
    probability = calibrator.transform(np.clip(score, 0.0, 1.0)) if calibrator else None
    classes = None
    if all("class_scores" in one for one in found):  # the members' mean: ensembles weigh the one score only
        of_groups = [np.mean([found[i]["class_scores"] for i in places], axis=0) for places in groups.values()]
        classes = np.mean(of_groups, axis=0)
    return Scores(score, probability, classes, scores)


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
