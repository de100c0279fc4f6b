"""One encoding of metadata for models that were trained on several: each fold's encoder has seen other rows.

Encoders differ in the levels they know and in means and deviations. A common encoder knows all levels; what each model
was trained on is then a linear function of it, so a graph can hold them all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..data.metadata import MISSING, UNKNOWN, MetadataEncoder


class Translation(NamedTuple):
    """`common @ matrix + shift` is what a model was trained on: (W, D) and (D,) float64."""

    matrix: np.ndarray
    shift: np.ndarray


def common_encoder(encoders: Sequence[MetadataEncoder]) -> MetadataEncoder:
    """An encoder that knows the levels of all, with the first one's means and deviations.

    Args:
        encoders: fitted, of the same features.
    """
    states = [json.loads(encoder.to_json())["features"] for encoder in encoders]
    merged = {
        name: {"levels": sorted({level for state in states for level in state[name]["levels"]})}
        if "levels" in first
        else first
        for name, first in states[0].items()
    }
    return MetadataEncoder.from_json(json.dumps({"format": 1, "features": merged}))


def translation(common: MetadataEncoder, own: MetadataEncoder) -> Translation:
    """From the common encoding to an encoder's own; exact but for rounding.

    A level that the encoder has not seen becomes its "unknown", as `transform` does it.
    """
    matrix, shift = np.zeros((common.width, own.width)), np.zeros(own.width)
    column_of = {name: column for column, name in enumerate(own.feature_names)}
    state_of, own_state = (json.loads(encoder.to_json())["features"] for encoder in (common, own))
    for feature, columns in common.slices.items():
        if "levels" in state_of[feature]:
            for row in range(columns.start, columns.stop):
                level = common.feature_names[row]
                matrix[row, column_of.get(level, column_of[f"{feature}={UNKNOWN}"])] = 1.0
            continue
        ours, theirs = state_of[feature], own_state[feature]
        number, missing = column_of[feature], column_of[f"{feature}={MISSING}"]
        offset = (ours["mean"] - theirs["mean"]) / theirs["scale"]
        matrix[columns.start, number] = ours["scale"] / theirs["scale"]
        matrix[columns.start + 1, missing] = 1.0
        shift[number] += offset
        matrix[columns.start + 1, number] = -offset  # a missing number is 0 for every encoder
    return Translation(matrix, shift)
