"""`Calibrator`: from scores to probabilities, fitted on out-of-fold scores only."""

from __future__ import annotations

import json
from typing import Any, Literal

import numpy as np
from scipy.special import expit, logit

from ..errors import PredictionsError
from ..predictions import Predictions
from .checks import check_share
from .probabilities import EPSILON, fit_logistic, log_loss

CalibrationMethod = Literal["platt", "temperature", "isotonic", "prior"]
CALIBRATIONS: tuple[CalibrationMethod, ...] = ("platt", "temperature", "isotonic", "prior")
_FEWEST = 10


class Calibrator:
    """Turns scores into probabilities.

    - "platt": intercept and slope on the logit of the score (Platt 1999), unpenalised. Two numbers: the default.
    - "temperature": the logit divided by one number (Guo et al. 2017, arXiv 1706.04599). It cannot mend a prevalence
      that class weights have shifted.
    - "isotonic": a rising step function (Zadrozny and Elkan 2002, doi:10.1145/775047.775151). Free of form, makes ties,
      asks for hundreds of positives.
    - "prior": the odds times a constant, for a model trained at another prevalence (class weights, oversampling;
      Saerens et al. 2002, doi:10.1162/089976602753284446; Elkan 2001). Exact for a model that is calibrated at the
      prevalence it was trained at, and only then; nothing but the prevalence is learnt.

    Args:
        method: one of the four.
        trained_prevalence: of "prior": the weighted share of positives in training; 0.5 for balanced class weights.

    Raises:
        PredictionsError: an unknown method, or "prior" without its prevalence.
    """

    def __init__(self, method: CalibrationMethod = "platt", *, trained_prevalence: float | None = None) -> None:
        if method not in CALIBRATIONS:
            raise PredictionsError(f"method is one of {', '.join(CALIBRATIONS)}. Received: method={method!r}")
        if (method == "prior") != (trained_prevalence is not None):
            raise PredictionsError(
                'method="prior" needs trained_prevalence (0.5 for balanced class weights); the others do not take it. '
                f"Received: method={method!r}, trained_prevalence={trained_prevalence!r}"
            )
        if trained_prevalence is not None:
            check_share(trained_prevalence, "trained_prevalence")
        self.method: CalibrationMethod = method
        self.trained_prevalence = trained_prevalence
        self._state: dict[str, Any] = {}

    def fit(self, predictions: Predictions) -> Calibrator:
        """Learn from out-of-fold scores.

        Raises:
            PredictionsError: not out-of-fold, scores outside [0, 1], fewer than 10 records of a class, or scores that
                separate the classes (Platt).
        """
        if predictions.kind != "oof":
            raise PredictionsError(
                f"Only out-of-fold predictions may be fitted on. Received: {predictions.name} ({predictions.kind})"
            )
        self._state = self._learn(_within(predictions), predictions.targets, predictions.name)
        return self

    def predict(self, predictions: Predictions) -> Predictions:
        """Probabilities of records that the calibrator was not fitted on.

        Args:
            predictions: held_out or test scores of the same model or ensemble.

        Raises:
            PredictionsError: not fitted, or scores outside [0, 1].
        """
        return predictions.replace_scores(self.transform(_within(predictions)))

    def transform(self, scores: np.ndarray) -> np.ndarray:
        """(n,) scores within [0, 1] → (n,) probabilities; rising with the score.

        Raises:
            PredictionsError: not fitted, or scores outside [0, 1].
        """
        if not self._state:
            raise PredictionsError("This Calibrator is not fitted. Call fit(out-of-fold predictions) first.")
        scores = np.asarray(scores, dtype="float64")
        outside = scores[~((scores >= 0) & (scores <= 1))]
        if len(outside):
            raise PredictionsError(f"Calibration takes scores within [0, 1]. Received: {outside.flat[0]:g}")
        return self._apply(self._state, scores)

    def cross_val_predict(self, predictions: Predictions) -> Predictions:
        """Probabilities of the out-of-fold records, each by a calibrator fitted on the other folds.

        Raises:
            PredictionsError: as `fit`, or a single fold.
        """
        if predictions.kind != "oof":
            raise PredictionsError(
                f"Only out-of-fold predictions can be cross-fitted. Received: {predictions.name} ({predictions.kind})"
            )
        scores, targets = _within(predictions), predictions.targets
        folds = predictions.frame["fold"].to_numpy()
        if len(np.unique(folds)) < 2:
            raise PredictionsError(f"{predictions.name}: cross-fitting needs at least two folds.")
        result = np.empty(len(scores))
        for fold in np.unique(folds):
            inside = folds == fold
            state = self._learn(scores[~inside], targets[~inside], f"{predictions.name} without fold {fold}")
            result[inside] = self._apply(state, scores[inside])
        return predictions.replace_scores(result)

    def _learn(self, scores: np.ndarray, targets: np.ndarray, name: str) -> dict[str, Any]:
        positives = int(targets.sum())
        fewest = min(positives, len(targets) - positives)
        if fewest < _FEWEST:
            raise PredictionsError(
                f"{name}: calibration needs at least {_FEWEST} records of each class; there are {fewest} of one."
            )
        if self.method == "prior":
            return {"prevalence": positives / len(targets)}
        if self.method == "platt":
            intercept, slope = fit_logistic(_logit(scores), targets)
            if not np.isfinite(slope):
                raise PredictionsError(f"{name}: the scores separate the classes; Platt scaling has no best slope.")
            if slope <= 0:
                raise PredictionsError(
                    f"{name}: the fitted slope is {slope:.3g}: higher scores are less often positive. "
                    "Are the scores those of the other class?"
                )
            return {"intercept": intercept, "slope": slope}
        if self.method == "temperature":
            from scipy.optimize import minimize_scalar  # half a second to import, which serving need not wait for

            logits = _logit(scores)
            found = minimize_scalar(
                lambda t: log_loss(targets, expit(logits * np.exp(-t))), bounds=(-7, 7), options={"xatol": 1e-10}
            )
            return {"temperature": float(np.exp(found.x))}
        from sklearn.isotonic import IsotonicRegression

        model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(scores, targets)
        return {"scores": model.X_thresholds_.tolist(), "probabilities": model.y_thresholds_.tolist()}

    def _apply(self, state: dict[str, Any], scores: np.ndarray) -> np.ndarray:
        if self.method == "platt":
            return np.asarray(expit(state["intercept"] + state["slope"] * _logit(scores)))
        if self.method == "temperature":
            return np.asarray(expit(_logit(scores) / state["temperature"]))
        if self.method == "prior":
            assert self.trained_prevalence is not None
            shift = logit(state["prevalence"]) - logit(self.trained_prevalence)
            return np.asarray(expit(logit(scores) + shift))
        return np.asarray(np.interp(scores, state["scores"], state["probabilities"]))

    @property
    def line(self) -> tuple[float, float] | None:
        """(intercept, slope) on the logit of the score; None of "isotonic", which is no line there."""
        state = self._state
        if self.method == "platt":
            return state["intercept"], state["slope"]
        if self.method == "temperature":
            return 0.0, 1.0 / state["temperature"]
        if self.method == "prior":
            assert self.trained_prevalence is not None
            return float(logit(state["prevalence"]) - logit(self.trained_prevalence)), 1.0
        return None

    @property
    def steps(self) -> tuple[np.ndarray, np.ndarray]:
        """Of "isotonic": scores, rising, and the probability at each; straight between them, level outside."""
        return np.asarray(self._state["scores"]), np.asarray(self._state["probabilities"])

    def to_json(self) -> str:
        """State as JSON text (format 1).

        Raises:
            PredictionsError: not fitted.
        """
        if not self._state:
            raise PredictionsError("This Calibrator is not fitted. Call fit(out-of-fold predictions) first.")
        content = {"format": 1, "method": self.method, "trained_prevalence": self.trained_prevalence, **self._state}
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Calibrator:
        """Read what `to_json` wrote.

        Raises:
            PredictionsError: not such a text.
        """
        keys = {
            "platt": ("intercept", "slope"),
            "temperature": ("temperature",),
            "isotonic": ("scores", "probabilities"),
            "prior": ("prevalence",),
        }
        try:
            content = json.loads(text)
            if content["format"] != 1:
                raise KeyError(f"format {content['format']}")
            calibrator = cls(content["method"], trained_prevalence=content["trained_prevalence"])
            state = {key: content[key] for key in keys[calibrator.method]}
            _check_state(calibrator.method, state)
        except (ValueError, KeyError, TypeError) as error:
            raise PredictionsError(f"Not a Calibrator written by to_json: {error}") from None
        calibrator._state = state
        return calibrator

    def __repr__(self) -> str:
        state = ", ".join(f"{k} {v:.4g}" for k, v in self._state.items() if isinstance(v, float))
        return f"Calibrator({self.method!r}): {(state or 'fitted') if self._state else 'not fitted'}"


def _check_state(method: str, state: dict[str, Any]) -> None:
    """Refuse what `fit` could not have written."""
    values = [item for value in state.values() for item in (value if isinstance(value, list) else [value])]
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) and np.isfinite(v) for v in values):
        raise ValueError("a value is not a finite number")
    if method == "isotonic":
        x, y = state["scores"], state["probabilities"]
        rising = isinstance(x, list) and isinstance(y, list) and 0 < len(x) == len(y)
        rising = rising and x == sorted(x) and y == sorted(y) and y[0] >= 0 and y[-1] <= 1
        if not rising:
            raise ValueError("isotonic scores and probabilities must be rising lists of one length, within [0, 1]")
    elif any(isinstance(value, list) for value in state.values()):
        raise ValueError("a list stands where a number should")
    elif min(state.get("slope", 1), state.get("temperature", 1)) <= 0 or not 0 < state.get("prevalence", 0.5) < 1:
        raise ValueError("slope and temperature lie above 0, the prevalence within (0, 1)")


def _within(predictions: Predictions) -> np.ndarray:
    scores = predictions.scores
    outside = np.flatnonzero((scores < 0) | (scores > 1))
    if len(outside):
        row = int(outside[0])
        raise PredictionsError(
            f"{predictions.name}: calibration takes scores within [0, 1]; row {predictions.lines[row]} has "
            f"{scores[row]:g} ({len(outside):,} such rows). Logits go through a sigmoid first."
        )
    return scores


def _logit(scores: np.ndarray) -> np.ndarray:
    return np.asarray(logit(np.clip(scores, EPSILON, 1 - EPSILON)))
