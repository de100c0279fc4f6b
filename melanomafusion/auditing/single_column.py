"""The AUC that one column reaches alone, out of fold, in folds that keep patients and lesions together."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..data.dataset import Dataset
from ..data.folds import deal_groups
from ..evaluation.metrics import roc_auc
from .groups import default_groups

N_FOLDS = 5
_BINS = 10
_SMOOTHING = 10.0  # records' worth of the mean rate that each level starts with
_FEW_VALUES = 12  # numbers with fewer distinct values than this are taken as categories


def grouped_folds(dataset: Dataset, seed: int) -> tuple[pd.Series | None, str]:
    """Folds of the labelled records that keep groups together, and why there are none, or "".

    Args:
        dataset: records, labelled or not.
        seed: of the folds.

    Returns:
        The fold of each labelled record by its index in the table; None where no folds can be dealt.
    """
    targets = dataset.frame["target"]
    labelled = targets[targets.notna()].astype("int64")
    keys = default_groups(dataset)[0].loc[labelled.index]
    groups = pd.DataFrame({"key": keys, "target": labelled}).groupby("key")["target"].agg(["size", "sum"])
    n_folds = min(N_FOLDS, int((groups["sum"] > 0).sum()), int((groups["sum"] < groups["size"]).sum()))
    if n_folds < 2:
        return None, "fewer than two groups with positives, or fewer than two with negatives"
    return keys.map(deal_groups(groups, n_folds, seed)), ""


def out_of_fold_auc(values: pd.Series, targets: pd.Series, folds: pd.Series) -> float:
    """The AUC of one column alone: each record scored by the rate of positives at its value in the other folds.

    Numbers are cut into ten bins of as many records each, fitted on the other folds too; missing is a level of its own.
    From each score the rate of its training folds is taken off: otherwise that rate, which is low where the held-out
    fold's is high, would push the AUC of a constant below 1/2.

    Args:
        values: (n,) any type.
        targets: (n,) 0 and 1, missing allowed.
        folds: fold of the labelled records, by index.

    Returns:
        Within [0, 1]; NaN where the labelled records are of one class.
    """
    targets = targets.loc[folds.index].astype("int64")
    if targets.nunique() < 2:
        return float("nan")
    values = values.loc[folds.index]
    numbers = _as_numbers(values)
    scores = pd.Series(0.0, index=folds.index)
    for fold in sorted(folds.unique()):
        train = folds != fold
        levels = values.astype("str").where(values.notna(), "missing") if numbers is None else _bins(numbers, train)
        rate = targets[train].mean()
        sums = targets[train].groupby(levels[train]).agg(["sum", "size"])
        smoothed = (sums["sum"] + _SMOOTHING * rate) / (sums["size"] + _SMOOTHING)
        scores[~train] = levels[~train].map(smoothed).fillna(rate) - rate
    return roc_auc(targets.to_numpy(), scores.to_numpy())


def _as_numbers(values: pd.Series) -> pd.Series | None:
    """The values as numbers; None where they are words or few enough to be categories."""
    known = values[values.notna()]
    numbers = pd.to_numeric(known, errors="coerce").astype("float64")
    if not np.isfinite(numbers).all() or numbers.nunique() < _FEW_VALUES:
        return None
    return numbers.reindex(values.index)


def _bins(numbers: pd.Series, train: pd.Series) -> pd.Series:
    known = numbers[train].dropna()
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1])) if len(known) else np.empty(0)
    return pd.Series(np.searchsorted(edges, numbers, side="right"), index=numbers.index).where(numbers.notna(), -1)
