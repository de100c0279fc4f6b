"""Arguments that the optimizers of 2020 took and those of Keras 3 do not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import keras

from ....errors import CompatError

Schedule = keras.optimizers.schedules.LearningRateSchedule


def take_learning_rate(learning_rate: Any, options: dict[str, Any]) -> Any:
    """The rate with `lr` (its old name) and `decay` (rate / (1 + decay · step)) worked in; both leave `options`."""
    rate, decay = options.pop("lr", learning_rate), options.pop("decay", 0.0)
    if isinstance(rate, dict):
        rate = keras.optimizers.schedules.deserialize(rate)
    if isinstance(rate, Schedule) or callable(rate):
        if decay:
            raise CompatError(f"decay goes with a plain learning rate, not with a schedule. Received: decay={decay!r}")
        return rate
    return keras.optimizers.schedules.InverseTimeDecay(float(rate), 1, decay) if decay else float(rate)


def value_at(value: Any, step: Any) -> Any:
    """A number that may be a schedule of steps or a function without arguments."""
    if isinstance(value, Schedule):
        return value(step)
    return value() if callable(value) else value


def plain_value(value: Any) -> Any:
    """The value for `get_config`."""
    return keras.optimizers.schedules.serialize(value) if isinstance(value, Schedule) else value


def from_plain(value: Any) -> Any:
    """What `plain_value` gave, as it was."""
    return keras.optimizers.schedules.deserialize(value) if isinstance(value, dict) else value


def matches(variable: Any, patterns: Sequence[str] | None) -> bool:
    """Whether one of the regular expressions is found in the variable's name ("dense/kernel")."""
    return any(re.search(pattern, variable.path) for pattern in patterns or ())
