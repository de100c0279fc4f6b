"""Out-of-fold scores of a baseline: what all baselines check, and how their scores become `Predictions`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..data.dataset import Dataset
from ..data.folds import check_folds
from ..data.groups import cluster_keys
from ..errors import FoldError, RunError
from ..evaluation.decisions import threshold_metrics
from ..evaluation.metrics import average_precision, roc_auc
from ..evaluation.multiclass import multiclass_metrics
from ..predictions import Predictions

OnEvent = Callable[[dict[str, Any]], None]
# (training records, their labels 0 … k−1, held-out records) → (held-out records, k) class scores that sum to 1.
FitPredict = Callable[[Dataset, np.ndarray, Dataset], np.ndarray]


def check_baseline(
    dataset: Dataset, classes: Sequence[str], positive_classes: Sequence[str], folds: Sequence[int] | None
) -> list[int]:
    """Refuse what cannot work before anything is computed.

    Args:
        dataset: records with folds.
        classes: diagnoses, at least three; empty for the binary task of `target`.
        positive_classes: diagnoses whose summed score is the score of a record; some, but not all, of `classes`.
        folds: to hold out; all without it.

    Returns:
        The folds to hold out.

    Raises:
        FoldError, RunError: what does not fit, and what to do.
    """
    frame = dataset.frame
    if "fold" not in frame:
        raise FoldError("The data set has no folds. Call assign_folds or read_folds first.")
    if not dataset.has_target:
        raise RunError("A baseline needs a target for every record. Is it a test split?")
    check_folds(dataset)
    known = sorted(int(fold) for fold in frame["fold"].unique())
    wanted = known if folds is None else list(dict.fromkeys(folds)) if isinstance(folds, Sequence) else []
    if not wanted or any(fold not in known for fold in wanted):
        raise RunError(f"Folds to hold out must be among {known}. Received: folds={folds!r}")
    if classes:
        _check_classes(frame, tuple(classes), tuple(positive_classes), wanted)
    else:
        _check_targets(frame, wanted)
    return wanted


def check_class_weight(class_weight: str | None) -> None:
    """Refuse a word that is not known.

    Raises:
        RunError: neither None nor "balanced".
    """
    if class_weight not in (None, "balanced"):
        raise RunError(f'class_weight is None or "balanced". Received: class_weight={class_weight!r}')


def cross_fit(
    dataset: Dataset,
    classes: Sequence[str],
    positive_classes: Sequence[str],
    folds: Sequence[int],
    fit_predict: FitPredict,
    *,
    name: str,
    on_event: OnEvent | None = None,
) -> Predictions:
    """Fit on all folds but one, score that one, for each of `folds`.

    Args:
        dataset: records with folds, checked by `check_baseline`.
        classes: as there.
        positive_classes: as there.
        folds: to hold out.
        fit_predict: learns from training records alone and scores the held-out ones.
        name: of the predictions.
        on_event: called with {"what", "done", "total"} before each fold and at the end.

    Returns:
        Out-of-fold predictions in the data set's order; with `classes` also `diagnosis` and a column `score_<class>`
        for each, where `score` is the sum over `positive_classes`.
    """
    classes = tuple(classes)
    parts = []
    for number, fold in enumerate(folds):
        _report(on_event, f"fold {fold}", number, len(folds))
        train, held_out = dataset.held_out(fold)
        scores = fit_predict(train, labels_of(train, classes), held_out)
        part = held_out.frame.assign(score=scores[:, 1])
        if classes:
            positive = [classes.index(label) for label in positive_classes]
            part["score"] = scores[:, positive].sum(axis=1)
            part[[f"score_{label}" for label in classes]] = scores
        parts.append(part)
    _report(on_event, "done", len(folds), len(folds))
    frame = pd.concat(parts, ignore_index=True)
    order = pd.Series(range(len(dataset)), index=dataset.image_names)
    frame = frame.sort_values("image_name", key=lambda names: names.map(order))
    clusters = cluster_keys(dataset)
    if clusters is not None:
        frame["cluster"] = frame["image_name"].map(dict(zip(dataset.image_names, clusters, strict=True)))
    ids = [c for c in ("patient_id", "lesion_id", "cluster") if c in frame and frame[c].notna().any()]
    known = [*ids, "target", *(["diagnosis"] if classes else []), "fold", "grouped_by"]
    scored = ["score", *(f"score_{label}" for label in classes)]
    return Predictions(frame[["image_name", *known, *scored]], "oof", name=name)


def labels_of(dataset: Dataset, classes: tuple[str, ...]) -> np.ndarray:
    """(n,) int64: place of each diagnosis in `classes`, or the target where there are none."""
    if not classes:
        return np.asarray(dataset.targets, dtype="int64")
    return np.asarray(pd.Index(classes).get_indexer(pd.Index(dataset.frame["diagnosis"])), dtype="int64")


def baseline_metrics(oof: Predictions) -> dict[str, Any]:
    """What is reported of a baseline, on all its held-out records together.

    Returns:
        name, records, positives, folds, grouped_by, image_level_split; auc and average_precision of the score against
        the target. In the binary task also accuracy, balanced_accuracy, precision and recall of "score ≥ 0.5". With
        classes, of the answers (the class with the highest score): accuracy, balanced_accuracy, mean_precision and
        mean_recall (each class alike), macro_auc (each class against the rest, classes without a record left out), and
        classes, a row for each.
    """
    figures: dict[str, Any] = {
        "name": oof.name,
        "records": len(oof),
        "positives": int(oof.targets.sum()),
        "folds": sorted(int(fold) for fold in oof.frame["fold"].unique()),
        "grouped_by": oof.grouped_by,
        "image_level_split": oof.image_level_split,
        "auc": roc_auc(oof.targets, oof.scores),
        "average_precision": average_precision(oof.targets, oof.scores),
    }
    if not oof.classes:
        answers = threshold_metrics(oof.targets, oof.scores, 0.5)
        return figures | {key: answers[key] for key in ("accuracy", "balanced_accuracy", "precision", "recall")}
    scores = oof.frame[[f"score_{label}" for label in oof.classes]].to_numpy()
    table, overall = multiclass_metrics(oof.frame["diagnosis"].to_numpy(dtype=object), scores, oof.classes)
    macro = table.reindex(["macro mean"])[["precision", "recall", "auc"]].to_numpy(dtype="float64")[0].tolist()
    rows = table.loc[list(oof.classes)].to_dict("index")
    return figures | {
        **overall,
        **dict(zip(("mean_precision", "mean_recall", "macro_auc"), macro, strict=True)),
        "classes": {
            label: {key: None if pd.isna(value) else value for key, value in row.items()} for label, row in rows.items()
        },
    }


def _check_classes(
    frame: pd.DataFrame, classes: tuple[str, ...], positive_classes: tuple[str, ...], folds: list[int]
) -> None:
    problems = []
    if len(classes) < 3 or len(set(classes)) < len(classes):
        problems.append(f"classes must be none (binary) or at least three, each once. Received: {list(classes)}")
    if not set() < set(positive_classes) < set(classes):
        problems.append(
            f"positive_classes must be some, but not all, of {list(classes)}. Received: {list(positive_classes)}"
        )
    strangers = frame.loc[~frame["diagnosis"].isin(classes), "diagnosis"]
    if len(strangers):
        found = ", ".join(f"{value} ({count:,})" for value, count in strangers.value_counts(dropna=False).items())
        problems.append(
            f"{len(strangers):,} records have a diagnosis that is not among the classes: {found}. Name it among the "
            "classes, or leave these records out."
        )
    apart = int((frame["diagnosis"].isin(positive_classes) != (frame["target"] == 1)).sum())
    if apart and not problems:
        problems.append(
            f"{apart:,} records have another target than whether their diagnosis is {' or '.join(positive_classes)}. "
            "Give the diagnoses that are target 1 as positive_classes."
        )
    for fold in folds:
        absent = [label for label in classes if label not in set(frame.loc[frame["fold"] != fold, "diagnosis"])]
        if absent:
            problems.append(f"fold {fold}: no record to train on of class {', '.join(absent)}. Leave the class out.")
    if problems:
        raise RunError("\n".join(problems))


def _check_targets(frame: pd.DataFrame, folds: list[int]) -> None:
    for fold in folds:
        targets = frame.loc[frame["fold"] != fold, "target"].unique()
        if len(targets) < 2:
            raise RunError(f"fold {fold}: all records to train on have target {targets[0]}, so nothing can be learnt.")


def _report(on_event: OnEvent | None, what: str, done: int, total: int) -> None:
    if on_event:
        on_event({"what": what, "done": done, "total": total})
