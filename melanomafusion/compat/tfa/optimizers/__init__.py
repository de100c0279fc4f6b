"""Optimizers and learning-rate schedules of tensorflow-addons as Keras 3 optimizers."""

from typing import Any

from ..replacements import missing
from .cyclical import (
    CyclicalLearningRate,
    ExponentialCyclicalLearningRate,
    Triangular2CyclicalLearningRate,
    TriangularCyclicalLearningRate,
)
from .lamb import LAMB
from .lookahead import Lookahead
from .moving_average import MovingAverage
from .rectified_adam import RectifiedAdam
from .weight_decay import SGDW, AdamW

__all__ = [
    "LAMB",
    "SGDW",
    "AdamW",
    "CyclicalLearningRate",
    "ExponentialCyclicalLearningRate",
    "Lookahead",
    "MovingAverage",
    "RectifiedAdam",
    "Triangular2CyclicalLearningRate",
    "TriangularCyclicalLearningRate",
]


def __getattr__(name: str) -> Any:
    raise missing("optimizers", name)
