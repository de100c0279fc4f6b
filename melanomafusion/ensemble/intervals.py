"""The interval of a nested score that counts the search for weights as part of what could have come out otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from ..data.folds import deal_groups
from ..errors import PredictionsError
from ..evaluation.intervals import Interval
from ..evaluation.metrics import roc_auc
from .ensemble import Ensemble
from .inputs import Members, aligned_oof, known_records
from .nested import nested_folds


def nested_interval(
    ensemble: Ensemble,
    members: Members,
    *,
    against: str | None = None,
    groups: int = 20,
    seed: int = 0,
    on_event: Callable[[dict[str, Any]], None] | None = None,
) -> tuple[Interval, Interval | None]:
    """AUC of an ensemble in nested folds, with a 95 % interval by a jackknife over patients of the whole procedure.

    `auc_interval` of nested scores takes the weights as given. They are not: every record helps to find the weights
    that score the others, so the folds' scores depend on each other, and where there is little to learn the plain
    interval is too narrow (Bates, Hastie and Tibshirani 2023, doi:10.1080/01621459.2023.2197686). Here a group of
    patients is left out, weights are searched and scored in nested folds anew, and so on for each group. A jackknife
    errs on the wide side (Efron and Stein 1981, doi:10.1214/aos/1176345462); where there is much to learn both agree.

    Args:
        ensemble: any; it is left as it is.
        members: name → oof predictions.
        against: a member, for the interval of the difference too.
        groups: of patients, each left out once; every one costs a nested fit.
        seed: of the dealing of patients to groups.
        on_event: called with {"done", "total", "what"} as groups begin.

    Returns:
        The AUC, and AUC minus the member's in the ensemble's currency (None without `against`): intervals with method
        "jackknife", by Student's t with groups − 1 degrees of freedom.

    Raises:
        PredictionsError: as `Ensemble.cross_val_predict`; an unknown member; fewer than two groups.
    """
    if groups < 2:
        raise PredictionsError(f"A jackknife needs at least two groups. Received: groups={groups!r}")
    aligned = aligned_oof(members, ensemble.missing)
    if against is not None and against not in aligned:
        raise PredictionsError(f"There is no member {against!r}; there are {', '.join(aligned)}.")
    first = known_records(aligned)
    inputs = ensemble.inputs(aligned)
    folds = nested_folds(first)
    codes, word = first.clusters
    groups = min(groups, int(codes.max()) + 1)
    group_of = _groups(codes, first.targets, groups, seed)
    alone = None if against is None else inputs.scores[inputs.names.index(against)]

    def aucs(kept: np.ndarray) -> tuple[float, float]:
        target = first.targets[kept]
        nested = roc_auc(target, ensemble.nested_scores(inputs.rows(kept), folds[kept]))
        return nested, nested - roc_auc(target, alone[kept]) if alone is not None else 0.0

    estimates = aucs(np.ones(len(folds), dtype=bool))
    without = np.empty((groups, 2))
    for group in range(groups):
        if on_event is not None:
            on_event({"done": group, "total": groups, "what": f"without group {group + 1} of patients"})
        without[group] = aucs(group_of != group)
    deviation = np.sqrt((groups - 1) / groups * np.sum((without - without.mean(axis=0)) ** 2, axis=0))
    half = float(stdtrit(groups - 1, 0.975)) * deviation
    (auc, gain), (wide, wide_gain) = estimates, half
    interval = Interval(auc, max(0.0, float(auc - wide)), min(1.0, float(auc + wide)), word, "jackknife")
    if against is None:
        return interval, None
    return interval, Interval(gain, float(gain - wide_gain), float(gain + wide_gain), word, "jackknife")


def _groups(codes: np.ndarray, targets: np.ndarray, groups: int, seed: int) -> np.ndarray:
    """(n,) group of each record: patients whole, positives spread evenly."""
    table = pd.DataFrame({"code": codes, "target": targets}).groupby("code")["target"].agg(["size", "sum"])
    table.index = table.index.map(str)
    dealt = deal_groups(table, groups, seed)
    return np.array([dealt[str(code)] for code in codes])
