"""What each member is worth, and whether the ensemble beats its best member beyond chance."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..evaluation.comparison import Comparison, compare
from ..evaluation.intervals import Interval, auc_interval
from ..evaluation.metrics import roc_auc
from ..predictions import Predictions
from .ensemble import Ensemble
from .inputs import Inputs, Members, aligned_oof, known_records
from .intervals import nested_interval
from .nested import nested_folds
from .search import greedy_path

_SIZES = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40, 50, 75, 100)


@dataclass(frozen=True)
class Diagnosis:
    """An ensemble and its members, all on the same records and in one currency, the ensemble nested.

    Attributes:
        oof: the ensemble's own out-of-fold scores, nested where it learns from targets.
        members: a row per member: auc, low, high; weight where it has one; contribution (AUC of the ensemble minus
            AUC of the ensemble without it), contribution_low, contribution_high: below 0 it does harm.
        correlation: (k, k) Spearman correlation of the members.
        curve: a row per number of members: members, auc, low, high, added (who came in, on all records). Members are
            chosen on the other folds, each fold for itself.
        best: name of the member with the highest AUC.
        best_member: its scores in the ensemble's currency.
        against_best: the ensemble compared with that member, paired; weights taken as given.
        auc, gain: AUC of the ensemble, and AUC minus the best member's. Where weights are learnt, with intervals that
            count the search (`nested_interval`); otherwise, and without `parts`, a patient bootstrap.
        fitted_auc: AUC of the ensemble on the records it was fitted on: too high, to be seen beside the nested one.
    """

    oof: Predictions
    members: pd.DataFrame
    correlation: pd.DataFrame
    curve: pd.DataFrame
    best: str
    best_member: Predictions
    against_best: Comparison
    auc: Interval
    gain: Interval
    fitted_auc: float

    @property
    def verdict(self) -> str:
        """One plain sentence."""
        gain = self.gain
        over = f"paired over {gain.cluster}s"
        if gain.method == "jackknife":
            over = f"jackknife over {gain.cluster}s of the whole search"
        figures = (
            f"AUC {self.against_best.auc_a:.4f} against {self.against_best.auc_b:.4f}, difference "
            f"{gain.estimate:+.4f} ({gain.low:+.4f} to {gain.high:+.4f}, {over})"
        )
        if len(self.members) == 1:
            return f"There is one member, {self.best}; nothing was combined."
        if gain.low > 0:
            return f"The ensemble beats its best member, {self.best}, beyond chance: {figures}."
        if gain.high < 0:
            return f"The ensemble is worse than its best member, {self.best}, beyond chance: {figures}."
        return f"It is not shown that the ensemble beats its best member, {self.best}: {figures}."

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return {
            "verdict": self.verdict,
            "best_member": self.best,
            "auc": self.auc.estimate,
            "auc_interval": [self.auc.low, self.auc.high],
            "auc_interval_method": self.auc.method,
            "gain": self.gain.estimate,
            "gain_interval": [self.gain.low, self.gain.high],
            "auc_on_the_records_it_was_fitted_on": self.fitted_auc,
            "against_best": self.against_best.to_dict(),
            "members": self.members.reset_index().to_dict("records"),
            "curve": self.curve.to_dict("records"),
            "correlation": self.correlation.to_dict(),
        }


def diagnose(
    ensemble: Ensemble,
    members: Members,
    *,
    parts: bool = True,
    resamples: int = 2000,
    seed: int = 0,
    on_event: Callable[[dict[str, Any]], None] | None = None,
) -> Diagnosis:
    """Score an ensemble beside its members.

    The best member is the one that scores best on these very records, which flatters it a little, not the ensemble.

    Args:
        ensemble: fitted or not; it is left as it is.
        members: name → oof predictions (with metadata for a `StackingEnsemble` that uses them: `with_metadata`).
        parts: fit the ensemble without each member, without each of 20 groups of patients, and in growing sizes, too;
            with many members this takes the longest. Without it there are no contributions and no curve, and intervals
            take the weights as given.
        resamples: of the bootstrap over patients.
        seed: of the bootstrap.
        on_event: called with {"done", "total", "what"} as steps begin.

    Raises:
        PredictionsError: as `Ensemble.fit`.
    """
    aligned = aligned_oof(members, ensemble.missing)
    own = ensemble.on_scale(aligned)
    parts = parts and len(own) > 1
    searched = parts and ensemble.needs_fit
    steps = _Steps(on_event, 2 + (len(own) + len(_sizes(len(own))) + 20 * searched if parts else 0))
    steps("nested folds")
    oof = ensemble.cross_val_predict(aligned)
    steps("all records")
    fitted = copy.deepcopy(ensemble)
    fitted_oof = fitted.fit_predict(aligned)
    weights = getattr(fitted, "weights", None) or getattr(fitted, "coefficients", {})
    rows: dict[str, dict[str, float]] = {}
    for name, member in own.items():
        interval = auc_interval(member, resamples=resamples, seed=seed)
        rows[name] = {"auc": interval.estimate, "low": interval.low, "high": interval.high}
        if name in weights:
            rows[name]["weight"] = weights[name]
        if parts:
            steps(f"without {name}")
            rows[name] |= _contribution(ensemble, aligned, name, oof, resamples, seed)
    best = max(own, key=lambda name: (rows[name]["auc"], name))
    against_best = compare(oof, own[best], missing="intersect", resamples=resamples, seed=seed)
    auc, gain = auc_interval(oof, resamples=resamples, seed=seed), against_best.bootstrap
    if searched:
        auc, found = nested_interval(ensemble, aligned, against=best, on_event=lambda event: steps(event["what"]))
        gain = found or gain
    return Diagnosis(
        oof=oof,
        members=pd.DataFrame.from_dict(rows, orient="index").rename_axis("member"),
        correlation=pd.DataFrame({name: member.scores for name, member in own.items()}).corr(method="spearman"),
        curve=_curve(ensemble, aligned, resamples, seed, steps) if parts else pd.DataFrame(),
        best=best,
        best_member=own[best],
        against_best=against_best,
        auc=auc,
        gain=gain,
        fitted_auc=roc_auc(fitted_oof.targets, fitted_oof.scores),
    )


def _contribution(
    ensemble: Ensemble, aligned: dict[str, Predictions], name: str, oof: Predictions, resamples: int, seed: int
) -> dict[str, float]:
    """AUC of the ensemble minus AUC of the ensemble without one member, both nested, paired."""
    others = {other: member for other, member in aligned.items() if other != name}
    if not ensemble.weighs(others):
        nothing = float("nan")
        return {"contribution": nothing, "contribution_low": nothing, "contribution_high": nothing}
    without = ensemble.restricted_to(others).cross_val_predict(others)
    lost = compare(oof, without, missing="intersect", resamples=resamples, seed=seed).bootstrap
    return {"contribution": lost.estimate, "contribution_low": lost.low, "contribution_high": lost.high}


def _curve(
    ensemble: Ensemble, aligned: dict[str, Predictions], resamples: int, seed: int, steps: _Steps
) -> pd.DataFrame:
    inputs = ensemble.inputs(aligned)
    assert inputs.targets is not None
    first = known_records(aligned)
    folds = nested_folds(first)
    count = len(inputs.names)
    orders = {
        int(fold): _forward_order(inputs.scores[:, folds != fold], inputs.targets[folds != fold])
        for fold in np.unique(folds)
    }
    everyone = _forward_order(inputs.scores, inputs.targets)

    def chosen(size: int) -> Callable[[int, Inputs], list[str]]:
        return lambda fold, _: [inputs.names[i] for i in orders[fold][:size]]

    rows = []
    for size in _sizes(count):
        steps(f"{size} members")
        if not all(ensemble.weighs([inputs.names[i] for i in order[:size]]) for order in orders.values()):
            continue
        scores = ensemble.nested_scores(inputs, folds, chosen(size))
        interval = auc_interval(first.replace_scores(scores), resamples=resamples, seed=seed)
        rows.append(
            {
                "members": size,
                "auc": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "added": inputs.names[everyone[size - 1]],
            }
        )
    return pd.DataFrame(rows)


def _sizes(count: int) -> list[int]:
    return sorted({*(size for size in _SIZES if size < count), count})


class _Steps:
    """Counts steps for a progress bar."""

    def __init__(self, on_event: Callable[[dict[str, Any]], None] | None, total: int) -> None:
        self.on_event, self.total, self.done = on_event, total, 0

    def __call__(self, what: str) -> None:
        if self.on_event is not None:
            self.on_event({"done": self.done, "total": self.total, "what": what})
        self.done += 1


def _forward_order(scores: np.ndarray, targets: np.ndarray) -> list[int]:
    """Members in the order in which each raises the AUC of the mean most."""
    return greedy_path(scores, targets, rounds=len(scores), replacement=False).picks
