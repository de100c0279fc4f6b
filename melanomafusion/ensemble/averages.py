"""Ensembles that average: of scores, or of ranks. Nothing is fitted to the targets, so their own score is honest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from ..errors import PredictionsError
from ..predictions import Predictions, align

Members = Mapping[str, Predictions]
_QUANTILES = 1001


class MeanEnsemble:
    """The mean of the members' scores.

    Args:
        missing: "error" or "intersect", as in `predictions.align`.
    """

    def __init__(self, *, missing: str = "error") -> None:
        self.missing = missing
        self.members: list[str] = []

    def fit(self, members: Members) -> MeanEnsemble:
        """Remember the members; no target is looked at.

        Raises:
            PredictionsError: members that are not out-of-fold or do not fit together.
        """
        self._fit(_aligned_oof(members, self.missing))
        return self

    def predict(self, members: Members) -> Predictions:
        """Combine the members' scores of the same records.

        Raises:
            PredictionsError: other members than fitted, or members that do not fit together.
        """
        self._check(members)
        aligned = align(members, missing=self.missing)
        return _result(aligned, self._combine(aligned), type(self).__name__)

    def cross_val_predict(self, members: Members) -> Predictions:
        """Out-of-fold scores of the ensemble.

        Nothing is fitted to targets, so each record's score comes from models that have not seen its patient.
        """
        aligned = _aligned_oof(members, self.missing)
        return _result(aligned, self._combine(aligned), type(self).__name__)

    def to_json(self) -> str:
        """State as JSON text."""
        return json.dumps({"format": 1, "kind": type(self).__name__, **self._state()}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> MeanEnsemble:
        """Read what `to_json` wrote, of this kind of ensemble.

        Raises:
            PredictionsError: not such a text.
        """
        try:
            content = json.loads(text)
            if content["format"] != 1 or content["kind"] != cls.__name__:
                raise KeyError(f"{content['kind']} of format {content['format']}")
            ensemble = cls(missing=content["missing"])
            ensemble._restore(content)
        except (ValueError, KeyError, TypeError) as error:
            raise PredictionsError(f"Not a {cls.__name__} written by to_json: {error}") from None
        return ensemble

    def _fit(self, aligned: dict[str, Predictions]) -> None:
        self.members = list(aligned)

    def _combine(self, aligned: dict[str, Predictions]) -> np.ndarray:
        return _mean([member.scores for member in aligned.values()])

    def _state(self) -> dict[str, Any]:
        return {"missing": self.missing, "members": self.members}

    def _restore(self, content: dict[str, Any]) -> None:
        self.members = list(content["members"])

    def _check(self, members: Members) -> None:
        if self.members and set(members) != set(self.members):
            raise PredictionsError(f"Fitted on members {self.members}. Received: {list(members)}")


class RankMeanEnsemble(MeanEnsemble):
    """The mean of the members' ranks, scaled to (0, 1): a rank, not a probability.

    Members whose scores lie on different scales (class-weighted or not, other losses) are brought to one currency.
    Ranks within fold also level the folds' models, as the 2020 winners did (Ha, Liu, Liu 2020, arXiv 2010.05351):
    compare such an ensemble with members ranked the same way only.

    Args:
        within_fold: rank among the records of the same fold rather than among all.
        missing: "error" or "intersect".
    """

    def __init__(self, *, within_fold: bool = False, missing: str = "error") -> None:
        super().__init__(missing=missing)
        self.within_fold = within_fold
        self.quantiles: dict[str, list[float]] = {}

    def predict(self, members: Members) -> Predictions:
        """Combine scores of new records: each is given the rank it would have among the member's OOF scores.

        Raises:
            PredictionsError: not fitted, or members that do not fit together.
        """
        if not self.quantiles:
            raise PredictionsError("This RankMeanEnsemble is not fitted. Call fit({name: oof predictions}) first.")
        self._check(members)
        aligned = align(members, missing=self.missing)
        grid = np.linspace(0.0, 1.0, _QUANTILES)
        ranks = [_rank_in(self.quantiles[name], grid, member.scores) for name, member in aligned.items()]
        return _result(aligned, _mean(ranks), type(self).__name__)

    def _fit(self, aligned: dict[str, Predictions]) -> None:
        super()._fit(aligned)
        grid = np.linspace(0.0, 1.0, _QUANTILES)
        self.quantiles = {name: np.quantile(member.scores, grid).tolist() for name, member in aligned.items()}

    def _combine(self, aligned: dict[str, Predictions]) -> np.ndarray:
        ranks = [rank_scores(member, within_fold=self.within_fold).scores for member in aligned.values()]
        return _mean(ranks)

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "within_fold": self.within_fold, "quantiles": self.quantiles}

    def _restore(self, content: dict[str, Any]) -> None:
        super()._restore(content)
        self.within_fold = bool(content["within_fold"])
        self.quantiles = {name: [float(v) for v in values] for name, values in content["quantiles"].items()}


def rank_scores(predictions: Predictions, *, within_fold: bool = False) -> Predictions:
    """Replace scores by their mean ranks, scaled to (0, 1), over all records or within each fold.

    Raises:
        PredictionsError: ranks within fold of predictions that have no folds.
    """
    frame = predictions.frame
    if not within_fold:
        frame["score"] = (rankdata(frame["score"]) - 0.5) / len(frame)
    elif "fold" in frame:
        frame["score"] = frame.groupby("fold")["score"].transform(lambda s: (rankdata(s) - 0.5) / len(s))
    else:
        raise PredictionsError(f"{predictions.name} has no folds to rank within.")
    return Predictions(frame, predictions.kind, name=predictions.name)


def _rank_in(quantiles: list[float], grid: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Rank in [0, 1] of new scores among a member's quantiles; ties of the quantiles take the middle."""
    values = np.asarray(quantiles)
    low, high = np.searchsorted(values, scores, side="left"), np.searchsorted(values, scores, side="right")
    between = np.interp(scores, values, grid)
    return np.asarray(np.where(high > low, 0.5 * (grid[np.minimum(low, _QUANTILES - 1)] + grid[high - 1]), between))


def _mean(columns: list[np.ndarray]) -> np.ndarray:
    """Mean over members, the same to the last bit in whatever order they come: another order must not break ties."""
    return np.asarray(np.mean(np.sort(np.stack(columns), axis=0), axis=0))


def _aligned_oof(members: Members, missing: str) -> dict[str, Predictions]:
    wrong = [f"{name} ({member.kind})" for name, member in members.items() if member.kind != "oof"]
    if wrong:
        raise PredictionsError(f"Only out-of-fold predictions may be fitted on. Received: {', '.join(wrong)}")
    return align(members, missing=missing)


def _result(aligned: dict[str, Predictions], scores: np.ndarray, name: str) -> Predictions:
    """The ensemble's predictions; members of other folds keep theirs in columns `fold_<member>`."""
    first, *others = aligned.values()
    keep = [c for c in ("image_name", "patient_id", "lesion_id", "target", "fold", "grouped_by") if c in first.frame]
    frame = first.frame[keep].assign(score=scores)
    if "fold" in frame and any((member.frame["fold"] != frame["fold"]).any() for member in others):
        own = {f"fold_{member_name}": member.frame["fold"] for member_name, member in aligned.items()}
        frame = frame.assign(**own)
        frame["fold"] = pd.factorize(pd.MultiIndex.from_frame(frame[list(own)]))[0]
    if any("grouped_by" in member.frame for member in aligned.values()):
        words = [word for member in aligned.values() for word in (member.grouped_by or "").split(" + ") if word]
        frame["grouped_by"] = " + ".join(dict.fromkeys(words))
    return Predictions(frame, first.kind, name=name)
