"""`evaluate`: what can honestly be said of a score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import PredictionsError
from ..predictions import Predictions
from .calibration import Calibrator
from .comparison import compare
from .intervals import METHODS, Interval, auc_interval
from .metrics import (
    average_precision,
    partial_auc,
    sensitivity_at_specificity,
    specificity_at_sensitivity,
)
from .multiclass import multiclass_metrics
from .probabilities import (
    brier_score,
    calibration_intercept,
    calibration_slope,
    expected_calibration_error,
    log_loss,
)
from .result import Evaluation
from .subgroups import join_columns, subgroup_columns, subgroup_table
from .thresholds import OperatingThreshold, given_threshold, operating_threshold

if TYPE_CHECKING:
    from ..data.dataset import Dataset

# Chosen out of fold and cross-fitted; a figure at 0.5 says little of a rare disease.
RULES: tuple[tuple[str, float | None], ...] = (
    ("youden", None),
    ("sensitivity", 0.95),
    ("sensitivity", 0.9),
    ("specificity", 0.9),
    ("max_f1", None),
    ("cost", 20.0),
)


def evaluate(
    predictions: Predictions,
    *,
    data: Dataset | pd.DataFrame | None = None,
    subgroups: Sequence[str] | None = None,
    threshold: float | None = None,
    against: Predictions | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Score predictions: ranking with intervals, calibration, thresholds, subgroups.

    Thresholds are chosen and calibrators fitted on out-of-fold predictions only, and are cross-fitted when scored: the
    fold that scores does not choose. "Probability" is said only of a score calibrated so.

    Args:
        predictions: oof or held_out.
        data: records with metadata, joined by image name; subgroups come of its columns (or of the predictions' own).
        subgroups: columns to look at; sex, age_band, anatom_site_general_challenge, source and image_size where they
            can be had, without it.
        threshold: an operating threshold chosen elsewhere, "score ≥ threshold". Needed for threshold figures of
            held-out predictions.
        against: other predictions of the same records, compared in pairs.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        PredictionsError: test predictions, one class only, or data that do not fit.
    """
    targets, scores = predictions.targets, predictions.scores
    if targets.min() == targets.max():
        raise PredictionsError(f"{predictions.name}: all {len(targets):,} targets are {targets[0]}: nothing to rank.")
    notes: list[str] = []
    about = {**_about(predictions, notes), "resamples": resamples, "seed": seed}
    auc: dict[str, Interval] = {
        method: auc_interval(predictions, method=method, resamples=resamples, seed=seed) for method in METHODS
    }
    thresholds = _thresholds(predictions, threshold, notes)
    calibration, calibrated = _calibration(predictions, notes)
    frame = join_columns(predictions, data if data is None or isinstance(data, pd.DataFrame) else data.frame)
    if isinstance(subgroups, str):
        subgroups = [subgroups]
    columns = subgroup_columns(frame, subgroups)
    if not columns:
        notes.append("No subgroups: no metadata were given.")
    table = subgroup_table(predictions, columns, resamples=min(resamples, 1000), seed=seed)
    return Evaluation(
        predictions=predictions,
        about=about,
        auc=auc,
        ranking=_ranking(targets, scores),
        calibration=calibration,
        calibrated=calibrated,
        thresholds=thresholds,
        subgroups=table,
        multiclass=_multiclass(predictions, frame, notes),
        against=(against, compare(predictions, against, resamples=resamples, seed=seed)) if against else None,
        notes=tuple(notes),
    )


def _about(predictions: Predictions, notes: list[str]) -> dict[str, Any]:
    targets, frame = predictions.targets, predictions.frame
    codes, word = predictions.clusters
    if word == "record":
        notes.append(
            "No patients or lesions are known, so records were taken to be independent. Intervals are too narrow where "
            "a patient has several images."
        )
    if predictions.image_level_split:
        notes.append("Image-level split: images of one patient lie on both sides, so scores may be too high.")
    if predictions.kind == "oof":
        notes.append("No external validation: all records come from where the models were trained.")
    return {
        "records": len(targets),
        "positives": int(targets.sum()),
        "prevalence": float(targets.mean()),
        "clusters": int(codes.max()) + 1,
        "cluster": word,
        "kind": predictions.kind,
        "folds": int(frame["fold"].nunique()) if predictions.kind == "oof" else None,
        "grouped_by": predictions.grouped_by,
        "image_level_split": predictions.image_level_split,
        "sources": sorted(frame["source"].dropna().astype(str).unique()) if "source" in frame else [],
    }


def _ranking(targets: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    return {
        "average_precision": average_precision(targets, scores),
        "partial_auc": partial_auc(targets, scores, 0.8),
        "sensitivity_at_specificity_0.9": sensitivity_at_specificity(targets, scores, 0.9),
        "sensitivity_at_specificity_0.8": sensitivity_at_specificity(targets, scores, 0.8),
        "specificity_at_sensitivity_0.9": specificity_at_sensitivity(targets, scores, 0.9),
        "specificity_at_sensitivity_0.95": specificity_at_sensitivity(targets, scores, 0.95),
    }


def _thresholds(predictions: Predictions, threshold: float | None, notes: list[str]) -> tuple[OperatingThreshold, ...]:
    found = [] if threshold is None else [given_threshold(predictions, threshold)]
    if predictions.kind != "oof":
        if threshold is None:
            notes.append("No operating threshold: choose one on out-of-fold predictions and give it (threshold=...).")
        return tuple(found)
    if predictions.frame["fold"].nunique() < 2:
        notes.append("No operating thresholds: with a single fold none can be cross-fitted.")
        return tuple(found)
    try:
        return (*found, *(operating_threshold(predictions, rule, at) for rule, at in RULES))
    except PredictionsError as error:
        notes.append(f"No operating thresholds: {error}")
        return tuple(found)


def _calibration(predictions: Predictions, notes: list[str]) -> tuple[pd.DataFrame, Predictions | None]:
    rows, calibrated = {}, None
    if ((predictions.scores >= 0) & (predictions.scores <= 1)).all():
        rows["scores as they are"] = _calibration_row(predictions)
        if predictions.kind == "oof":
            try:
                calibrated = Calibrator("platt").cross_val_predict(predictions)
            except PredictionsError as error:
                notes.append(f"Not calibrated: {error}")
            else:
                rows["probabilities (Platt, cross-fitted)"] = _calibration_row(calibrated)
        else:
            notes.append("Not calibrated: calibrators are fitted on out-of-fold predictions.")
    else:
        notes.append("Calibration and net benefit need scores within [0, 1]; these are not.")
    columns = ["brier_score", "log_loss", "expected_calibration_error", "calibration_slope", "calibration_intercept"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns), calibrated


def _calibration_row(predictions: Predictions) -> list[float]:
    metrics = (brier_score, log_loss, expected_calibration_error, calibration_slope, calibration_intercept)
    return [metric(predictions.targets, predictions.scores) for metric in metrics]


def _multiclass(
    predictions: Predictions, frame: pd.DataFrame, notes: list[str]
) -> tuple[pd.DataFrame, dict[str, float]] | None:
    classes = predictions.classes
    if not classes:
        return None
    if "diagnosis" not in frame or frame["diagnosis"].isna().any():
        notes.append("Scores per class were not scored: the column diagnosis (true class) is missing or has holes.")
        return None
    scores = frame[[f"score_{label}" for label in classes]].to_numpy(dtype="float64")
    return multiclass_metrics(frame["diagnosis"].to_numpy(dtype=object), scores, classes)
