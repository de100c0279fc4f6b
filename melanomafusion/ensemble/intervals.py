"""The interval of a nested score that counts the search for weights as part of what could have come out otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from ..data.folds import deal_groups
from ..evaluation.intervals import Interval
from ..evaluation.metrics import roc_auc
from .ensemble import Ensemble, Members, aligned_oof
from .nested import nested_folds


def nested_interval(
    ensemble: Ensemble,
    members: Members,
    *,
    groups: int = 20,
    seed: int = 0,
    on_event: Callable[[dict[str, Any]], None] | None = None,
) -> Interval:
    """AUC of an ensemble in nested folds, with a 95 % interval by a jackknife over patients of the whole procedure.

    `auc_interval` of nested scores takes the weights as given. They are not: every record helps to find the weights that
    score the others, so the folds' scores depend on each other, and where there is little to learn the plain interval is
    too narrow (Bates, Hastie and Tibshirani 2023, doi:10.1080/01621459.2023.2197686). Here a group of patients is left
    out, weights are searched and scored in nested folds anew, and so on for each group. A jackknife errs on the wide
    side (Efron and Stein 1981, doi:10.1214/aos/1176345462).

    Args:
        ensemble: any; it is left as it is.
        members: name → oof predictions.
        groups: of patients, each left out once; every one costs a nested fit.
        seed: of the dealing of patients to groups.
        on_event: called with {"done", "total", "what"} as groups begin.

    Returns:
        Interval with method "jackknife", by Student's t with groups − 1 degrees of freedom, within [0, 1].

    Raises:
        PredictionsError: as `Ensemble.cross_val_predict`.
    """
    aligned = aligned_oof(members, ensemble.missing)
    first = next(iter(aligned.values()))
    inputs = ensemble.inputs(aligned)
    targets = first.targets
    folds = nested_folds(first)
    codes, word = first.clusters
    table = pd.DataFrame({"code": codes, "target": targets}).groupby("code")["target"].agg(["size", "sum"])
    table.index = table.index.map(str)
    dealt = deal_groups(table, groups, seed)
    group_of = np.array([dealt[str(code)] for code in codes])
    estimate = roc_auc(targets, ensemble.nested_scores(inputs, folds))
    without = []
    for group in range(groups):
        if on_event is not None:
            on_event({"done": group, "total": groups, "what": f"without group {group + 1} of patients"})
        kept = group_of != group
        without.append(roc_auc(targets[kept], ensemble.nested_scores(inputs.rows(kept), folds[kept])))
    spread = np.asarray(without) - np.mean(without)
    deviation = float(np.sqrt((groups - 1) / groups * np.sum(spread**2)))
    half = float(stdtrit(groups - 1, 0.975)) * deviation
    return Interval(estimate, max(0.0, estimate - half), min(1.0, estimate + half), word, "jackknife")
