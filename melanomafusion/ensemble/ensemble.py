"""What all ensembles share: the join, one currency, nested scoring, and a readable state."""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from ..errors import MelanomaFusionError, PredictionsError
from ..predictions import Predictions, align
from .inputs import Inputs, Members, aligned_oof, as_inputs, combined, known_records
from .nested import nested_folds
from .scales import SCALES, Scale, check_quantiles, rank_among, score_quantiles, to_scale


class Ensemble(ABC):
    """Members combined into one score. `fit` on out-of-fold predictions, then `predict` on new records.

    Args:
        scale: "score", "rank" (over all records) or "rank_within_fold".
        missing: "error" or "intersect", as in `align`.
    """

    learns: ClassVar[bool] = True

    def __init__(self, *, scale: Scale = "score", missing: str = "error") -> None:
        if scale not in SCALES:
            raise PredictionsError(f"scale is one of {', '.join(SCALES)}. Received: scale={scale!r}")
        if missing not in ("error", "intersect"):
            raise PredictionsError(f'missing is "error" or "intersect". Received: missing={missing!r}')
        self.scale: Scale = scale
        self.missing = missing
        self.members: list[str] = []
        self.quantiles: dict[str, list[float]] = {}

    def fit(self, members: Members) -> Self:
        """Learn from out-of-fold predictions.

        Args:
            members: name → oof predictions of the same records.

        Raises:
            PredictionsError: members that are not out-of-fold, do not fit together, or are constant; targets of one
                class.
        """
        aligned = aligned_oof(members, self.missing)
        targets = next(iter(aligned.values())).targets
        if self.needs_fit and targets.min() == targets.max():
            raise PredictionsError(f"All {len(targets):,} records have target {targets[0]}: nothing can be learnt.")
        self._learn(self.inputs(aligned))
        self.members = list(aligned)
        ranked = self.scale != "score"
        self.quantiles = {name: score_quantiles(m.scores) for name, m in aligned.items()} if ranked else {}
        return self

    def predict(self, members: Members) -> Predictions:
        """Combine the members' scores of new records.

        Give each member's score of a record as the mean over its folds' models. On a rank scale a score becomes the
        rank it would have among the member's out-of-fold scores.

        Raises:
            PredictionsError: not fitted, other members than fitted, or members that do not fit together.
        """
        self._check_members(members)
        aligned = align(members, missing=self.missing)
        return combined(aligned, self._combine_new(as_inputs(aligned)), type(self).__name__)

    def combine(self, scores: Mapping[str, np.ndarray], table: pd.DataFrame | None = None) -> np.ndarray:
        """Combine scores of new records that stand in arrays: what `predict` gives, without its join.

        Args:
            scores: name → (n,) scores, the mean over the member's folds.
            table: (n rows) metadata of the records, where the ensemble looks at them.

        Returns:
            (n,) scores.

        Raises:
            PredictionsError: not fitted, or other members than fitted.
        """
        self._check_members(scores)
        names = tuple(sorted(scores))
        stacked = np.stack([np.asarray(scores[name], dtype="float64") for name in names])
        count = stacked.shape[1]
        known = pd.DataFrame(index=range(count)) if table is None else table
        return self._combine_new(Inputs(names, stacked, None, known, np.arange(count)))

    def _check_members(self, names: Collection[str]) -> None:
        if not self.members and (self.needs_fit or self.scale != "score"):
            name = type(self).__name__
            raise PredictionsError(f"This {name} is not fitted. Call fit({{name: oof predictions}}) first.")
        if self.members and set(names) != set(self.members):
            raise PredictionsError(f"Fitted on members {self.members}. Received: {list(names)}")

    def _combine_new(self, inputs: Inputs) -> np.ndarray:
        """New records: on a rank scale, a score becomes its rank among the member's out-of-fold scores."""
        if self.scale != "score":
            ranks = [rank_among(self.quantiles[n], row) for n, row in zip(inputs.names, inputs.scores, strict=True)]
            inputs = dataclasses.replace(inputs, scores=np.stack(ranks))
        return self._combine(inputs)

    def cross_val_predict(self, members: Members) -> Predictions:
        """Out-of-fold scores of the ensemble.

        What learns from targets is fitted on the other folds each time, so no record takes part in choosing the weights
        that score it; folds that would split a patient are replaced by patient-grouped ones. Some optimism remains: the
        members' scores of the other folds come from models that saw the records being scored; recipes and members
        that a person chose by these same scores are not undone either. An interval of these scores takes the weights as
        given; `nested_interval` counts the search too. Means learn nothing from targets and need no nesting.

        Raises:
            PredictionsError: as `fit`.
        """
        aligned = aligned_oof(members, self.missing)
        inputs = self.inputs(aligned)
        if not self.needs_fit:
            return combined(aligned, self._combine(inputs), type(self).__name__)
        folds = nested_folds(known_records(aligned))
        return combined(aligned, self.nested_scores(inputs, folds), type(self).__name__, folds=folds)

    def fit_predict(self, members: Members) -> Predictions:
        """Fit, and score the very records it was fitted on: too high, to be shown beside the nested score only."""
        self.fit(members)
        aligned = aligned_oof(members, self.missing)
        return combined(aligned, self._combine(self.inputs(aligned)), type(self).__name__)

    def weighs(self, names: Collection[str]) -> bool:
        """Whether these members alone make an ensemble; not where given weights leave them nothing."""
        return len(names) > 0

    def restricted_to(self, names: Collection[str]) -> Self:
        """An unfitted ensemble of the same settings for some of the members."""
        return self._from_parameters(self._parameters())

    def on_scale(self, members: Members) -> dict[str, Predictions]:
        """The members' out-of-fold scores in the ensemble's own currency, which it may be compared in."""
        aligned = aligned_oof(members, self.missing)
        return {name: to_scale(member, self.scale) for name, member in aligned.items()}

    def to_json(self) -> str:
        """State as JSON text (format 1)."""
        content = {
            "format": 1,
            "kind": type(self).__name__,
            **self._parameters(),
            "members": self.members,
            "quantiles": self.quantiles,
            **self._state(),
        }
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote, of this kind of ensemble.

        Raises:
            PredictionsError: not such a text.
        """
        try:
            content = json.loads(text, parse_constant=_refuse, parse_float=_finite)
            if type(content["format"]) is not int or content["format"] != 1 or content["kind"] != cls.__name__:
                raise KeyError(f"{content['kind']} of format {content['format']}")
            ensemble = cls._from_parameters(content)
            names = content["members"]
            if not isinstance(names, list) or len({str(name) for name in names}) < len(names):
                raise ValueError(f"members must be a list of names, each once: {names!r}")
            ensemble.members = [str(name) for name in names]
            ensemble.quantiles = {n: [float(v) for v in q] for n, q in content.get("quantiles", {}).items()}
            if ensemble.scale != "score":
                if set(ensemble.quantiles) != set(ensemble.members):
                    raise KeyError("quantiles of every member")
                for quantiles in ensemble.quantiles.values():
                    check_quantiles(quantiles)
            ensemble._restore(content)
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
            MelanomaFusionError,
        ) as error:
            raise PredictionsError(f"Not a {cls.__name__} written by to_json: {error}") from None
        return ensemble

    @property
    def needs_fit(self) -> bool:
        """Whether something is learnt from targets."""
        return self.learns

    def inputs(self, aligned: dict[str, Predictions]) -> Inputs:
        """Aligned out-of-fold members on the ensemble's scale."""
        return as_inputs({name: to_scale(member, self.scale) for name, member in aligned.items()})

    def nested_scores(
        self, inputs: Inputs, folds: np.ndarray, choose: Callable[[int, Inputs], Collection[str]] | None = None
    ) -> np.ndarray:
        """(n,) scores, each fold's by an ensemble learnt on the others, of members that `choose` picks there."""
        assert inputs.targets is not None
        scores = np.empty(len(folds))
        for fold in np.unique(folds):
            inside = folds == fold
            learn_from, names = inputs.rows(~inside), inputs.names
            if choose is not None:
                names = tuple(choose(int(fold), learn_from))
            part = self.restricted_to(names)
            part._learn(learn_from.only(names))
            part._move_to_prevalence(float(inputs.targets.mean()))
            scores[inside] = part._combine(inputs.rows(inside).only(names))
        return scores

    def _move_to_prevalence(self, prevalence: float) -> None:  # noqa: B027
        """Where folds have other shares of positives, a fitted intercept must not rank one fold above another."""

    def _parameters(self) -> dict[str, Any]:
        return {"scale": self.scale, "missing": self.missing}

    @classmethod
    def _from_parameters(cls, content: dict[str, Any]) -> Self:
        return cls(scale=content["scale"], missing=content["missing"])

    def _state(self) -> dict[str, Any]:
        return {}

    def _restore(self, content: dict[str, Any]) -> None:  # noqa: B027
        """Take what `_state` wrote."""

    @abstractmethod
    def _learn(self, inputs: Inputs) -> None: ...

    @abstractmethod
    def _combine(self, inputs: Inputs) -> np.ndarray: ...


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not a finite number")


def _finite(text: str) -> float:
    value = float(text)
    return value if np.isfinite(value) else _refuse(text)
