"""What exact resume needs of a training: everything that the rest of it depends on, taken down and put back.

Order, augmentation and dropout of metadata follow from (seed, epoch, record). What remains are the variables of the
model (with the states of its random generators), of the optimizer and of the metrics, and what callbacks remember.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from .callbacks import AveragedWeights, BestEpoch, WarmupCosine

# What each callback carries from one epoch to the next: numbers, None, or lists of arrays.
_REMEMBERED: dict[type, tuple[str, ...]] = {
    BestEpoch: ("value", "epoch", "weights"),
    AveragedWeights: ("steps", "average", "trained"),
    WarmupCosine: ("step",),
    keras.callbacks.ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
    keras.callbacks.EarlyStopping: ("best", "wait", "stopped_epoch", "best_epoch"),
}

Arrays = dict[str, np.ndarray]


def take_variables(arrays: Arrays, prefix: str, variables: Iterable[Any]) -> None:
    """Copy variables into `arrays`, under numbered names."""
    for number, variable in enumerate(variables):
        arrays[f"{prefix}/{number}"] = np.array(variable)


def put_variables(arrays: Arrays, prefix: str, variables: Sequence[Any]) -> None:
    """Assign what `take_variables` copied; nothing where it copied nothing.

    Raises:
        ValueError: another number of variables, or other shapes.
    """
    names = [name for name in arrays if name.startswith(prefix + "/")]
    if names and len(names) != len(variables):
        raise ValueError(f"{prefix}: {len(names)} arrays for {len(variables)} variables")
    for number, variable in enumerate(variables[: len(names)]):
        variable.assign(arrays[f"{prefix}/{number}"])


def take_callbacks(arrays: Arrays, callbacks: Iterable[keras.callbacks.Callback]) -> dict[str, dict[str, Any]]:
    """What callbacks remember: numbers as JSON values, lists of arrays into `arrays`."""
    facts: dict[str, dict[str, Any]] = {}
    for callback, attributes in _remembering(callbacks):
        name = type(callback).__name__
        facts[name] = {}
        for attribute in attributes:
            value = getattr(callback, attribute)
            if isinstance(value, list):
                take_variables(arrays, f"{name}/{attribute}", value)
                value = len(value)
            elif isinstance(value, (float, np.floating)):
                value = float(value)
            facts[name][attribute] = value
    return facts


def put_callbacks(arrays: Arrays, facts: dict[str, Any], callbacks: Iterable[keras.callbacks.Callback]) -> None:
    """Give callbacks back what `take_callbacks` noted; those it did not see stay as they are."""
    for callback, attributes in _remembering(callbacks):
        name = type(callback).__name__
        for attribute in attributes:
            if attribute not in facts.get(name, {}):
                continue
            value = facts[name][attribute]
            if f"{name}/{attribute}/0" in arrays:
                value = [arrays[f"{name}/{attribute}/{number}"] for number in range(value)]
            setattr(callback, attribute, value)


def _remembering(callbacks: Iterable[keras.callbacks.Callback]) -> Iterable[tuple[Any, tuple[str, ...]]]:
    return ((callback, _REMEMBERED[type(callback)]) for callback in callbacks if type(callback) in _REMEMBERED)
