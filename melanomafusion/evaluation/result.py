"""`Evaluation`: what `evaluate` found, in one object that prints and writes JSON and a report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..predictions import Predictions
from .comparison import Comparison
from .intervals import Interval
from .thresholds import OperatingThreshold


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found; prints as a summary.

    Attributes:
        predictions: what was evaluated.
        about: records, positives, prevalence, clusters, what they are, kind, folds, grouped_by, image_level_split.
        auc: the 95 % interval by each method: "bootstrap", "clustered", "delong".
        ranking: average_precision, partial_auc (above 80 % sensitivity), sensitivity and specificity at fixed points.
        calibration: a row for the scores as they are (where within [0, 1]) and, of oof predictions, for probabilities
            calibrated out of fold: brier_score, log_loss, expected_calibration_error, slope, intercept.
        calibrated: the cross-fitted probabilities (Platt), where they can be had.
        thresholds: operating thresholds, each with its confusion matrix and Wilson intervals.
        subgroups: of `subgroup_table`.
        multiclass: per-class table and accuracies, where there are scores per class and true diagnoses.
        against: a paired comparison with other predictions, where some were given.
        notes: what was not done, and why.
    """

    predictions: Predictions
    about: dict[str, Any]
    auc: dict[str, Interval]
    ranking: dict[str, float]
    calibration: pd.DataFrame
    calibrated: Predictions | None
    thresholds: tuple[OperatingThreshold, ...]
    subgroups: pd.DataFrame
    multiclass: tuple[pd.DataFrame, dict[str, float]] | None
    against: tuple[Predictions, Comparison] | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """All figures, plain, for JSON; NaN becomes None."""
        content: dict[str, Any] = {
            "name": self.predictions.name,
            "about": self.about,
            "auc": {
                "estimate": self.auc["bootstrap"].estimate,
                **{m: {"interval": [i.low, i.high], "cluster": i.cluster} for m, i in self.auc.items()},
            },
            "ranking": self.ranking,
            "calibration": self.calibration.to_dict("index"),
            "thresholds": [threshold.to_dict() for threshold in self.thresholds],
            "subgroups": self.subgroups.to_dict("records"),
            "notes": list(self.notes),
        }
        if self.multiclass:
            table, overall = self.multiclass
            content["multiclass"] = {"overall": overall, "classes": table.to_dict("index")}
        if self.against:
            other, comparison = self.against
            content["against"] = {"name": other.name, **comparison.to_dict()}
        return dict(_plain(content))

    def write(self, folder: str | Path) -> None:
        """Write metrics.json, report.html (one file, figures inside) and the figures as PNG."""
        from .report import write_report

        write_report(self, folder)

    def __str__(self) -> str:
        about = self.about
        interval = self.auc["bootstrap"]
        lines = [
            f"{self.predictions.name}: {about['kind']}, {about['records']:,} records of {about['clusters']:,} "
            f"{about['cluster']}s, {about['positives']:,} positive ({about['prevalence']:.2%})",
            f"  AUC {interval}, bootstrap over {interval.cluster}s",
        ]
        lines += [f"  {words(key)} {value:.4f}" for key, value in self.ranking.items()]
        for name, row in self.calibration.iterrows():
            lines.append(f"  {name}: " + ", ".join(f"{words(str(key))} {value:.4f}" for key, value in row.items()))
        for threshold in self.thresholds:
            sensitivity, specificity = threshold.sensitivity, threshold.specificity
            lines.append(
                f"  {threshold.rule}: score ≥ {threshold.value:.4g}, sensitivity {sensitivity[0]:.3f} "
                f"({sensitivity[1]:.3f} to {sensitivity[2]:.3f}), specificity {specificity[0]:.3f} "
                f"({specificity[1]:.3f} to {specificity[2]:.3f})"
            )
        for group in self.subgroups.itertuples():
            figure = f"AUC {group.auc:.3f} ({group.low:.3f} to {group.high:.3f})" if group.enough else "too few to say"
            lines.append(
                f"  {group.column} {group.value}: {group.records:,} records, {group.positives:,} positive, {figure}"
            )
        if self.multiclass:
            table, overall = self.multiclass
            lines += ["  " + ", ".join(f"{words(key)} {value:.4f}" for key, value in overall.items())]
            lines += ["  " + line for line in table.round(4).to_string().splitlines()]
        if self.against:
            lines += [f"  against {self.against[0].name}: " + str(self.against[1]).replace("\n", "\n  ")]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def words(key: str) -> str:
    """A key of the figures as people read it."""
    special = {
        "partial_auc": "partial AUC above 80 % sensitivity",
        "brier_score": "Brier score",
        "f1": "F1",
        "auc": "AUC",
    }
    return special.get(key, key.replace("_", " "))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
