"""Pseudo-labels: records without a target, labelled by the models of a run where they are sure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ..data.dataset import Dataset
from ..deploy.bundle import Bundle
from ..errors import RunError
from ..run_progress import OnEvent, shown
from .cross_validation import predict_run
from .extra import LABELLED_BY, folds_hash
from .run import Run


def pseudo_label(
    run: str | Path,
    unlabelled: Dataset,
    *,
    confident: tuple[float, float] = (0.05, 0.95),
    on_event: OnEvent | None = None,
) -> dict[int, Dataset]:
    """Label records by the models of a finished run, for each fold by that fold's own model.

    A fold's model has not seen the records that its fold holds out, so a new run over the same folds, with
    `cross_validate(..., extra=pseudo_label(run, unlabelled))`, keeps its out-of-fold scores honest. Labels by the mean
    of all folds would tell each fold about the targets it is scored on.

    Args:
        run: run folder whose folds are all trained.
        unlabelled: records with images, e.g. the competition's test split; a target they have is not looked at.
        confident: scores up to the first make a negative, from the second on a positive; 0 ≤ first < second ≤ 1. For a
            model of several classes the class whose score reaches the second is the label.
        on_event: called with progress events; they are shown on the terminal without it.

    Returns:
        Fold → the records it is sure of, with target (and diagnosis, for several classes).

    Raises:
        RunError: wrong limits, or a run that is not finished.
        BundleError, ImageError: bundles or images that cannot be used.

    References:
        Lee (2013), Pseudo-Label, ICML workshop on challenges in representation learning.
    """
    low, high = confident
    if not 0 <= low < high <= 1:
        raise RunError(f"confident is two scores, 0 ≤ low < high ≤ 1. Received: confident={confident!r}")
    opened = Run(Path(run))
    if not (opened.path / "recipe.json").is_file():
        raise RunError(f"{run} is not a run folder. Name a folder that cross_validate wrote.")
    dataset = opened.dataset
    folds = sorted(int(fold) for fold in dataset.frame["fold"].unique())
    missing = [str(fold) for fold in folds if not opened.is_done(fold)]
    if missing:
        raise RunError(f"{run}: fold {', '.join(missing)} is not trained; each fold needs labels by its own model.")
    stamp = folds_hash(pd.read_csv(opened.path / "folds.csv", dtype={"image_name": str}))
    with shown(on_event, opened.path.name) as report:
        return {fold: _labelled(opened.fold(fold) / "bundle", unlabelled, low, high, stamp, report) for fold in folds}


def _labelled(
    bundle: Path,
    unlabelled: Dataset,
    low: float,
    high: float,
    stamp: str,
    report: OnEvent,
) -> Dataset:
    scores = predict_run(bundle, unlabelled, on_event=report).frame
    recipe = Bundle.read(bundle).recipe
    frame = unlabelled.frame.assign(**{LABELLED_BY: stamp})
    if recipe.classes:
        by_class = scores[[f"score_{name}" for name in recipe.classes]].to_numpy()
        frame["diagnosis"] = np.asarray(recipe.classes)[by_class.argmax(axis=1)]
        sure = by_class.max(axis=1) >= high
        positive = frame["diagnosis"].isin(recipe.positive_classes)
    else:
        positive = scores["score"] >= high
        sure = (positive | (scores["score"] <= low)).to_numpy()
    frame["target"] = np.asarray(positive).astype("int8")
    return Dataset(frame.astype({"target": "Int8"})).select(sure)
