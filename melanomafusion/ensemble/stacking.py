"""`StackingEnsemble`: a regularised logistic regression on the members, and on metadata where asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, logit

from ..data.metadata import MetadataEncoder
from ..errors import PredictionsError
from ..evaluation.subgroups import join_columns
from ..predictions import Predictions
from .ensemble import Ensemble
from .inputs import Inputs, Members

if TYPE_CHECKING:
    from ..data.dataset import Dataset

StackingScale = Literal["logit", "rank", "rank_within_fold"]
# A score of exactly 0 or 1 would drown all others; a new record can have the rank 0 or 1, fitted ones cannot.
_EPSILON = {"logit": 1e-7, "rank": 1e-5, "rank_within_fold": 1e-5}


class StackingEnsemble(Ensemble):
    """A logistic regression on the members' logits or ranks (Wolpert 1992, doi:10.1016/S0893-6080(05)80023-1).

    Members are standardised on the rows that are fitted; the penalty is the ridge of scikit-learn's
    `LogisticRegression(C=...)`, the intercept free of it. Few members and rare positives leave little to learn: compare
    with a plain mean.

    Args:
        on: "logit" (scores within [0, 1]), "rank" or "rank_within_fold" (logits of ranks in (0, 1)).
        features: metadata to learn from as well, names of `list_features()`, e.g. ("sex", "age", "site"). They stand in
            the predictions' own tables, or come by image name from `data`.
        C: inverse strength of the penalty.
        nonnegative: no member may weigh against its own score.
        missing: "error" or "intersect", as in `align`.

    Attributes:
        coefficients: member or metadata column → coefficient of the standardised input, once fitted.
        intercept: of the fit.

    Raises:
        PredictionsError: a setting that cannot work.
    """

    def __init__(
        self,
        on: StackingScale = "logit",
        *,
        features: Sequence[str] = (),
        C: float = 1.0,
        nonnegative: bool = False,
        missing: str = "error",
    ) -> None:
        if on not in ("logit", "rank", "rank_within_fold"):
            raise PredictionsError(f"on is logit, rank or rank_within_fold. Received: on={on!r}")
        if isinstance(C, bool) or not isinstance(C, (int, float)) or not (np.isfinite(C) and C > 0):
            raise PredictionsError(f"C is a number above 0. Received: C={C!r}")
        super().__init__(scale="score" if on == "logit" else on, missing=missing)
        self.on: StackingScale = on
        self.features = tuple(features)
        self.C, self.nonnegative = float(C), bool(nonnegative)
        self.coefficients: dict[str, float] = {}
        self.intercept = 0.0
        self._encoder = MetadataEncoder(self.features) if self.features else None
        self._centre: dict[str, tuple[float, float]] = {}
        self._prevalence = 0.5

    def fit(self, members: Members, *, data: Dataset | pd.DataFrame | None = None) -> Self:
        """Learn from out-of-fold predictions.

        Args:
            members: name → oof predictions.
            data: records with the metadata, where the predictions do not carry them.

        Raises:
            PredictionsError: as for other ensembles; MetadataError: a feature's column is missing.
        """
        return super().fit(with_metadata(members, data))

    def predict(self, members: Members, *, data: Dataset | pd.DataFrame | None = None) -> Predictions:
        """Combine scores of new records; `data` as for `fit`."""
        return super().predict(with_metadata(members, data))

    def cross_val_predict(self, members: Members, *, data: Dataset | pd.DataFrame | None = None) -> Predictions:
        """Nested out-of-fold scores; `data` as for `fit`.

        Each fold's regression is moved to the prevalence of all records, so that a fold whose training rows happen to
        hold fewer positives is not ranked below the others.
        """
        return super().cross_val_predict(with_metadata(members, data))

    def _learn(self, inputs: Inputs) -> None:
        # Sums of floats depend on their order: records by name, so that shuffled rows give the same coefficients.
        inputs = inputs.rows(np.argsort(inputs.frame["image_name"].to_numpy(dtype=str), kind="stable"))
        assert inputs.targets is not None
        columns = self._columns(inputs)
        self._centre = {
            name: (float(column.mean()), float(column.std()) or 1.0)
            for name, column in zip(inputs.names, columns, strict=True)
        }
        if self._encoder is not None:
            self._encoder = MetadataEncoder(self.features).fit(inputs.frame)
        design, names = self._design(inputs, columns)
        self.intercept, found = fit_ridge_logistic(
            design, inputs.targets, C=self.C, nonnegative=len(inputs.names) if self.nonnegative else 0
        )
        self.coefficients = {name: float(value) for name, value in zip(names, found, strict=True)}
        self._prevalence = float(inputs.targets.mean())

    def _combine(self, inputs: Inputs) -> np.ndarray:
        design, names = self._design(inputs, self._columns(inputs))
        weights = np.array([self.coefficients[name] for name in names])
        return np.asarray(expit(self.intercept + (design * weights).sum(axis=1)))

    def _move_to_prevalence(self, prevalence: float) -> None:
        self.intercept += float(logit(prevalence) - logit(self._prevalence))
        self._prevalence = prevalence

    def _columns(self, inputs: Inputs) -> np.ndarray:
        """(k, n) logits of scores or ranks."""
        for name, scores in zip(inputs.names, inputs.scores, strict=True):
            if scores.min() < 0 or scores.max() > 1:
                raise PredictionsError(
                    f"Logits take scores within [0, 1]; member {name} has {scores.min():g} to {scores.max():g}. "
                    'Use on="rank".'
                )
        epsilon = _EPSILON[self.on]
        return np.asarray(logit(np.clip(inputs.scores, epsilon, 1 - epsilon)))

    def _design(self, inputs: Inputs, columns: np.ndarray) -> tuple[np.ndarray, list[str]]:
        parts = [
            (column - self._centre[name][0]) / self._centre[name][1]
            for name, column in zip(inputs.names, columns, strict=True)
        ]
        names = list(inputs.names)
        if self._encoder is not None:
            parts += list(self._encoder.transform(inputs.frame).T.astype("float64"))
            names += [f"metadata {name}" for name in self._encoder.feature_names]
        return np.column_stack(parts), names

    def _parameters(self) -> dict[str, Any]:
        return {
            "on": self.on,
            "features": list(self.features),
            "C": self.C,
            "nonnegative": self.nonnegative,
            "missing": self.missing,
        }

    @classmethod
    def _from_parameters(cls, content: dict[str, Any]) -> Self:
        names = ("features", "C", "nonnegative", "missing")
        return cls(content["on"], **{name: content[name] for name in names})

    def _state(self) -> dict[str, Any]:
        fitted = self._encoder is not None and bool(self.coefficients)
        return {
            "intercept": self.intercept,
            "coefficients": self.coefficients,
            "centre": {name: list(values) for name, values in self._centre.items()},
            "prevalence": self._prevalence,
            "encoder": self._encoder.to_json() if fitted and self._encoder else None,
        }

    def _restore(self, content: dict[str, Any]) -> None:
        self.intercept = float(content["intercept"])
        self.coefficients = {str(name): float(value) for name, value in content["coefficients"].items()}
        self._centre = {str(name): (float(m), float(s)) for name, (m, s) in content["centre"].items()}
        self._prevalence = float(content["prevalence"])
        names, encoder = list(self.members), content["encoder"]
        if self.features and names:
            self._encoder = MetadataEncoder.from_json(encoder)
            names += [f"metadata {name}" for name in self._encoder.feature_names]
        if set(self._centre) != set(self.members) or set(self.coefficients) != set(names):
            raise KeyError("coefficients of every member and metadata column")
        if any(deviation <= 0 for _, deviation in self._centre.values()) or not 0 < self._prevalence < 1:
            raise ValueError("deviations lie above 0, the prevalence within (0, 1)")


def fit_ridge_logistic(
    design: np.ndarray, targets: np.ndarray, *, C: float, nonnegative: int = 0
) -> tuple[float, np.ndarray]:
    """Logistic regression with a ridge penalty, the intercept free.

    Args:
        design: (n, d).
        targets: (n,) of 0 and 1.
        C: inverse strength: the sum of losses + |coefficients|² / (2 C) is minimised.
        nonnegative: the first so many coefficients are kept ≥ 0.

    Returns:
        (intercept, (d,) coefficients).
    """
    width = design.shape[1]

    def loss(beta: np.ndarray) -> tuple[float, np.ndarray]:
        logits = beta[0] + design @ beta[1:]
        error = expit(logits) - targets
        value = np.sum(np.logaddexp(0.0, logits) - targets * logits) + beta[1:] @ beta[1:] / (2 * C)
        return float(value), np.concatenate([[error.sum()], error @ design + beta[1:] / C])

    start = np.zeros(width + 1)
    start[0] = logit(targets.mean())
    bounds = [(None, None)] + [(0.0, None)] * nonnegative + [(None, None)] * (width - nonnegative)
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 5000, "ftol": 1e-14, "gtol": 1e-8}
    )
    return float(found.x[0]), np.asarray(found.x[1:])


def with_metadata(members: Members, data: Dataset | pd.DataFrame | None) -> dict[str, Predictions]:
    """Members whose tables carry the columns of `data` too, joined by image name.

    Raises:
        PredictionsError: `data` lacks records.
    """
    table = data if data is None or isinstance(data, pd.DataFrame) else data.frame
    return {
        name: Predictions(join_columns(member, table), member.kind, name=member.name, lines=member.lines)
        for name, member in members.items()
    }
