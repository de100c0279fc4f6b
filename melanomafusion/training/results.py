"""The results of a run's folds, read back, checked and put together: oof.csv, history.csv, metrics.json, plots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..atomic import atomic_file, make_folder, write_json
from ..errors import PredictionsError, RunError
from ..evaluation.history_plot import plot_history
from ..evaluation.intervals import auc_interval
from ..evaluation.metrics import average_precision, roc_auc
from ..evaluation.plots import plot_roc, save_figure
from ..predictions import Predictions
from ..recipes.recipe import Recipe
from .run import Run


@dataclass(frozen=True)
class CrossValidation:
    """A finished run (or the part of its folds that was asked for).

    Attributes:
        path: run folder.
        recipe: what was trained.
        oof: score of each record by the model that has not seen its patient.
        bundles: folders, by fold.
        metrics: pooled AUC with its patient-bootstrap interval, average precision, and those of each fold.
    """

    path: Path
    recipe: Recipe
    oof: Predictions
    bundles: list[Path]
    metrics: dict[str, Any]


def collect(run: Run, folds: Sequence[int]) -> CrossValidation:
    """Put the results of trained folds together: oof.csv, history.csv, metrics.json, plots."""
    recipe = run.recipe
    done = [_read_fold(run, fold) for fold in folds]
    oof = _pooled(run, [scores for scores, _, _ in done])
    history = pd.concat([rows for _, rows, _ in done], ignore_index=True)
    history = history[["fold", *[name for name in history if name != "fold"]]]
    interval = auc_interval(oof)
    metrics = {
        "recipe": recipe.name,
        "records": len(oof),
        "positives": int(oof.targets.sum()),
        "grouped_by": oof.grouped_by,
        "auc": interval.estimate,
        "auc_interval": [interval.low, interval.high],
        "interval_cluster": interval.cluster,
        "average_precision": average_precision(oof.targets, oof.scores),
        "folds": [figures for _, _, figures in done],
    }
    oof.write_csv(run.path / "oof.csv")
    oof.write_parquet(run.path / "oof.parquet")
    with atomic_file(run.path / "history.csv") as part:
        history.to_csv(part, index=False, lineterminator="\n")
    write_json(run.path / "metrics.json", metrics)
    report = make_folder(run.path / "report")
    save_figure(
        plot_history(history, title=recipe.name, image_level_split=oof.image_level_split), report / "history.png"
    )
    save_figure(plot_roc({recipe.name: oof}), report / "roc.png")
    return CrossValidation(run.path, recipe, oof, [run.fold(fold) / "bundle" for fold in folds], metrics)


def shows_errors_of(run: Run, folds: Sequence[int]) -> bool:
    """Whether the picture of errors is of these folds, as they are now."""
    drawn = run.path / "report" / "errors.json"
    if not drawn.is_file() or json.loads(drawn.read_text(encoding="utf-8")) != sorted(folds):
        return False
    return all((run.fold(fold) / "metrics.json").stat().st_mtime_ns <= drawn.stat().st_mtime_ns for fold in folds)


def pooled_oof(run: Run, folds: Sequence[int]) -> Predictions:
    """Out-of-fold scores of finished folds, in the order of the data set."""
    return _pooled(run, [_read_fold(run, fold)[0] for fold in folds])


def _pooled(run: Run, parts: Sequence[Predictions]) -> Predictions:
    order = {name: row for row, name in enumerate(run.dataset.image_names)}
    frame = pd.concat([part.frame for part in parts], ignore_index=True)
    frame = frame.sort_values("image_name", key=lambda names: names.map(order), kind="stable")
    return Predictions(frame, "oof", name=run.recipe.name)


def _read_fold(run: Run, fold: int) -> tuple[Predictions, pd.DataFrame, dict[str, Any]]:
    """Scores, history and metrics of a finished fold; scores that are not all there are refused, never pooled."""
    folder = run.fold(fold)
    try:
        metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        history = pd.read_csv(folder / "history.csv")
        scores = pd.read_csv(folder / "oof.csv")["score"]
        if len(scores) > 1 and scores.min() == scores.max():
            raise RunError(
                f"Fold {metrics['fold']}: all {len(scores):,} held-out records have the score {scores[0]:g}, so the "
                "model tells none from another and cannot be scored. Look at the learning rate and at the features; "
                "train anew with --restart (restart=True)."
            )
        oof = Predictions.read_csv(folder / "oof.csv", "oof")
        auc = roc_auc(oof.targets, oof.scores)
        held_out = run.dataset.held_out(fold)[1]
        if list(oof.frame["image_name"]) != [str(name) for name in held_out.image_names]:
            raise PredictionsError(f"oof.csv holds {len(oof):,} records, the fold has {len(held_out):,}")
        if abs(auc - metrics["auc"]) > 1e-12:
            raise PredictionsError(f"oof.csv gives AUC {auc}, metrics.json says {metrics['auc']}")
    except (OSError, ValueError, KeyError, TypeError, PredictionsError) as error:
        raise RunError(
            f"{folder} is damaged: {str(error).strip()}. "
            "Delete that folder and start again: only this fold is trained anew."
        ) from None
    return oof, history, metrics
