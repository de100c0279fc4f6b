"""Ensembles by name: for the command line, and to read one back from its file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from ..errors import PredictionsError
from .averages import (
    GeometricMeanEnsemble,
    LogitMeanEnsemble,
    MeanEnsemble,
    PowerMeanEnsemble,
    RankMeanEnsemble,
)
from .ensemble import Ensemble
from .stacking import StackingEnsemble
from .weighted import WeightedEnsemble

METHODS: dict[str, Callable[..., Ensemble]] = {
    "mean": MeanEnsemble,
    "geometric-mean": GeometricMeanEnsemble,
    "power-mean": PowerMeanEnsemble,
    "logit-mean": LogitMeanEnsemble,
    "rank-mean": RankMeanEnsemble,
    "weighted": WeightedEnsemble,
    "stacking": StackingEnsemble,
}
_KINDS: dict[str, type[Ensemble]] = {
    kind.__name__: kind
    for kind in (
        MeanEnsemble,
        GeometricMeanEnsemble,
        PowerMeanEnsemble,
        LogitMeanEnsemble,
        RankMeanEnsemble,
        WeightedEnsemble,
        StackingEnsemble,
    )
}


def read_ensemble(path: str | Path) -> Ensemble:
    """Read a fitted ensemble of any kind from the JSON that `to_json` gives.

    Raises:
        PredictionsError: there is no such file, or it holds no ensemble.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        kind = json.loads(text)["kind"]
        known = _KINDS[kind]
    except FileNotFoundError:
        raise PredictionsError(f"There is no file {path}.") from None
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise PredictionsError(f"{path} was not written by the ensemble command: {error}") from None
    try:
        return known.from_json(text)
    except PredictionsError as error:
        raise PredictionsError(f"{path} was not written by the ensemble command: {error}") from None
