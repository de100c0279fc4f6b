"""Means of the members. Nothing is fitted to the targets, so their own out-of-fold score is honest."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import expit, logit

from ..errors import PredictionsError
from ..predictions.doubts import warn_of_scale
from .ensemble import Ensemble
from .inputs import Inputs, Members

EPSILON = 1e-15  # scores of exactly 0 and 1 have no logarithm


class MeanEnsemble(Ensemble):
    """The arithmetic mean of the members' scores.

    Asks for members on one scale: a class-weighted model beside an unweighted one takes over. Ranks do not care
    (`RankMeanEnsemble`).

    Args:
        missing: "error" or "intersect", as in `align`.
    """

    learns: ClassVar[bool] = False

    def __init__(self, *, missing: str = "error") -> None:
        super().__init__(missing=missing)

    def fit(self, members: Members) -> Self:
        """Remember the members; no target is looked at.

        Warns:
            PredictionsWarning: scores outside [0, 1], which a mean should not mix.

        Raises:
            PredictionsError: members that are not out-of-fold, do not fit together, or are constant.
        """
        if self.scale == "score":
            for member in members.values():
                warn_of_scale(member)
        return super().fit(members)

    def _learn(self, inputs: Inputs) -> None:
        pass

    def _combine(self, inputs: Inputs) -> np.ndarray:
        return _mean(inputs.scores)

    @classmethod
    def _from_parameters(cls, content: dict[str, Any]) -> Self:
        return cls(missing=content["missing"])


class PowerMeanEnsemble(MeanEnsemble):
    """The power mean, (mean of score^p)^(1/p): above 1 it leans to the highest scores, below 1 to the lowest.

    Args:
        power: p; 1 is the arithmetic mean, 0 the geometric, −1 the harmonic.
        missing: "error" or "intersect".

    Raises:
        PredictionsError: power is not a finite number; when used, scores outside [0, 1].
    """

    def __init__(self, power: float = 2.0, *, missing: str = "error") -> None:
        super().__init__(missing=missing)
        if isinstance(power, bool) or not isinstance(power, (int, float)) or not np.isfinite(power):
            raise PredictionsError(f"power is a finite number. Received: power={power!r}")
        self.power = float(power)

    def _combine(self, inputs: Inputs) -> np.ndarray:
        scores = np.clip(_within(inputs, type(self).__name__), EPSILON, None)
        if abs(self.power) < 1e-9:
            return np.asarray(np.exp(_mean(np.log(scores))))
        # From the largest score down, so that no power under- or overflows.
        top = scores.max(axis=0) if self.power > 0 else scores.min(axis=0)
        return np.asarray(top * _mean((scores / top) ** self.power) ** (1.0 / self.power))

    def _parameters(self) -> dict[str, Any]:
        return {**super()._parameters(), "power": self.power}

    @classmethod
    def _from_parameters(cls, content: dict[str, Any]) -> Self:
        return cls(content["power"], missing=content["missing"])


class GeometricMeanEnsemble(MeanEnsemble):
    """The geometric mean of the members' scores; scores of 0 are taken as 1e-15.

    Args:
        missing: "error" or "intersect".
    """

    def _combine(self, inputs: Inputs) -> np.ndarray:
        scores = np.clip(_within(inputs, type(self).__name__), EPSILON, None)
        return np.asarray(np.exp(_mean(np.log(scores))))


class LogitMeanEnsemble(MeanEnsemble):
    """The mean of the members' logits, as a score again: a sure member weighs more than an unsure one.

    Args:
        missing: "error" or "intersect".
    """

    def _combine(self, inputs: Inputs) -> np.ndarray:
        scores = np.clip(_within(inputs, type(self).__name__), EPSILON, 1 - EPSILON)
        return np.asarray(expit(_mean(logit(scores))))


class RankMeanEnsemble(MeanEnsemble):
    """The mean of the members' ranks, scaled to (0, 1): a rank, not a probability.

    Members whose scores lie on different scales (class-weighted or not, other losses) are brought to one currency.
    Ranks within fold also level the folds' models, which a pooled AUC otherwise compares with each other though they
    were trained apart; the 2020 winners pooled so (Ha, Liu, Liu 2020, arXiv 2010.05351). Levelling lifts single members
    too, so compare such an ensemble with members ranked the same way only (`on_scale`).

    Args:
        within_fold: rank among the records of the same fold rather than among all.
        missing: "error" or "intersect".
    """

    def __init__(self, *, within_fold: bool = False, missing: str = "error") -> None:
        super().__init__(missing=missing)
        self.within_fold = within_fold
        self.scale = "rank_within_fold" if within_fold else "rank"

    def _parameters(self) -> dict[str, Any]:
        return {"missing": self.missing, "within_fold": self.within_fold}

    @classmethod
    def _from_parameters(cls, content: dict[str, Any]) -> Self:
        return cls(within_fold=bool(content["within_fold"]), missing=content["missing"])


def _mean(rows: np.ndarray) -> np.ndarray:
    """Mean over members, the same to the last bit in whatever order they come: another order must not break ties."""
    return np.asarray(np.mean(np.sort(rows, axis=0), axis=0))


def _within(inputs: Inputs, name: str) -> np.ndarray:
    for member, scores in zip(inputs.names, inputs.scores, strict=True):
        outside = np.flatnonzero((scores < 0) | (scores > 1))
        if len(outside):
            record = inputs.frame["image_name"].iloc[outside[0]]
            raise PredictionsError(
                f"{name} takes scores within [0, 1]. Member {member} has {scores[outside[0]]:g} for {record} "
                f"({len(outside):,} such records). Use RankMeanEnsemble, or bring the scores into [0, 1]."
            )
    return inputs.scores
