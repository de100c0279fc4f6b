"""`WeightedEnsemble`: weights found on out-of-fold scores, or given."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, Self

import numpy as np

from ..errors import PredictionsError
from .ensemble import Ensemble
from .inputs import Inputs
from .objectives import Objective
from .scales import Scale
from .search import bagged_greedy, check_search, simplex_weights

Search = Literal["greedy", "simplex"]


class WeightedEnsemble(Ensemble):
    """A weighted mean of the members; weights are ≥ 0, sum to 1, and are found on out-of-fold scores.

    The score that the search reached on its own records is too high. `cross_val_predict` gives the honest one: weights
    are searched anew on the other folds each time, by patient.

    Args:
        search: "greedy" picks members one by one with replacement, averaged over bags of members (Caruana et al. 2004,
            doi:10.1145/1015330.1015432). "simplex" shifts weight between members while it pays: for a few members.
        objective: "auc", "partial_auc" (above 80 % sensitivity), "average_precision" or "log_loss" (for members whose
            scores are probabilities).
        scale: "score", or "rank" or "rank_within_fold" where members' scores lie on different scales.
        max_members: keep at most so many: fewer models to run for about the same score.
        rounds: picks of the greedy search.
        bags: of the greedy search; they matter with more than five members.
        seed: of the bags.
        missing: "error" or "intersect", as in `align`.

    Attributes:
        weights: member → weight, once fitted.

    Raises:
        PredictionsError: a setting that cannot work.
    """

    def __init__(
        self,
        search: Search = "greedy",
        *,
        objective: Objective = "auc",
        scale: Scale = "score",
        max_members: int | None = None,
        rounds: int = 50,
        bags: int = 10,
        seed: int = 0,
        missing: str = "error",
    ) -> None:
        super().__init__(scale=scale, missing=missing)
        if search not in ("greedy", "simplex"):
            raise PredictionsError(f'search is "greedy" or "simplex". Received: search={search!r}')
        check_search(rounds, bags, max_members, objective)
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise PredictionsError(f"seed is a whole number of at least 0. Received: seed={seed!r}")
        if objective == "log_loss" and scale != "score":
            raise PredictionsError("log_loss scores probabilities; ranks are none. Use scale='score'.")
        self.search: Search = search
        self.objective: Objective = objective
        self.max_members, self.rounds, self.bags, self.seed = max_members, rounds, bags, seed
        self.weights: dict[str, float] = {}
        self._given = False

    @classmethod
    def from_weights(cls, weights: Mapping[str, float], *, missing: str = "error") -> Self:
        """An ensemble with given weights: nothing is fitted, so any kind of predictions can be combined.

        Args:
            weights: member → weight ≥ 0; divided by their sum.
            missing: "error" or "intersect".

        Raises:
            PredictionsError: no weights, negative or infinite ones, or all 0.
        """
        try:
            values = np.array([float(value) for value in weights.values()])
        except (TypeError, ValueError, OverflowError):
            values = np.array([np.nan])
        if not len(values) or not np.isfinite(values).all() or (values < 0).any() or not 0 < values.sum() < np.inf:
            raise PredictionsError(f"Weights are numbers ≥ 0, not all 0. Received: {dict(weights)}")
        ensemble = cls(missing=missing)
        ensemble._given = True
        ensemble.members = list(weights)
        # A sum that is 1 but for rounding is left alone, so that a published blend comes out as it was.
        total = 1.0 if abs(values.sum() - 1.0) < 1e-9 else float(values.sum())
        ensemble.weights = {name: float(value) / total for name, value in weights.items()}
        return ensemble

    def weighs(self, names: Collection[str]) -> bool:
        """Whether these members alone make an ensemble; not where given weights leave them nothing."""
        return sum(self.weights[name] for name in names) > 0 if self._given else super().weighs(names)

    def restricted_to(self, names: Collection[str]) -> Self:
        """As for other ensembles; given weights are kept, divided by their new sum."""
        if not self._given:
            return super().restricted_to(names)
        kept = {name: weight for name, weight in self.weights.items() if name in names}
        return type(self).from_weights(kept, missing=self.missing)

    @property
    def needs_fit(self) -> bool:
        """Whether weights are searched rather than given."""
        return not self._given

    def _learn(self, inputs: Inputs) -> None:
        if self._given:
            if set(inputs.names) != set(self.weights):
                raise PredictionsError(f"Weights are for {list(self.weights)}. Received members: {list(inputs.names)}")
            return
        assert inputs.targets is not None
        if self.objective == "log_loss":
            _refuse_outside(inputs)
        if self.search == "greedy":
            found = bagged_greedy(
                inputs.scores,
                inputs.targets,
                objective=self.objective,
                rounds=self.rounds,
                bags=self.bags,
                max_members=self.max_members,
                seed=self.seed,
            )
        else:
            found = simplex_weights(
                inputs.scores, inputs.targets, objective=self.objective, max_members=self.max_members
            )
        self.weights = {name: float(weight) for name, weight in zip(inputs.names, found, strict=True)}

    def _combine(self, inputs: Inputs) -> np.ndarray:
        if set(inputs.names) != set(self.weights):
            raise PredictionsError(f"Weights are for {list(self.weights)}. Received members: {list(inputs.names)}")
        weights = np.array([self.weights[name] for name in inputs.names])
        # Member by member, so that records with equal scores stay equal wherever they stand.
        return np.asarray((weights[:, None] * inputs.scores).sum(axis=0))

    def _parameters(self) -> dict[str, Any]:
        return {
            "search": self.search,
            "objective": self.objective,
            **super()._parameters(),
            "max_members": self.max_members,
            "rounds": self.rounds,
            "bags": self.bags,
            "seed": self.seed,
        }

    @classmethod
    def _from_parameters(cls, content: dict[str, Any]) -> Self:
        names = ("objective", "scale", "max_members", "rounds", "bags", "seed", "missing")
        return cls(content["search"], **{name: content[name] for name in names})

    def _state(self) -> dict[str, Any]:
        return {"weights": self.weights, "given": self._given}

    def _restore(self, content: dict[str, Any]) -> None:
        weights = {str(name): float(value) for name, value in content["weights"].items()}
        if weights and (min(weights.values()) < 0 or abs(sum(weights.values()) - 1.0) > 1e-6):
            raise ValueError(f"weights must be ≥ 0 and sum to 1: {weights}")
        if set(weights) != set(self.members):
            raise KeyError("weights of every member")
        self.weights, self._given = weights, bool(content["given"])


def _refuse_outside(inputs: Inputs) -> None:
    for name, scores in zip(inputs.names, inputs.scores, strict=True):
        if scores.min() < 0 or scores.max() > 1:
            raise PredictionsError(f"log_loss takes scores within [0, 1]; member {name} has others.")
