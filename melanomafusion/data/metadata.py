"""`MetadataEncoder`: patient metadata as numbers, one implementation for training, prediction and serving."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..atomic import write_text
from ..errors import MetadataError
from .metadata_features import FEATURES, feature_values

MISSING, UNKNOWN = "missing", "unknown"


class MetadataEncoder:
    """Sex, age, site (and more, by name) as one float32 vector per record.

    A category becomes one column per level seen in fitting, one for missing and one for unknown (a level not seen in
    fitting). A number becomes two columns: standardised by mean and deviation of the fitted rows (0 where missing), and
    1 where missing. An age of 0 years is an age.

    Notes:
        State comes from `fit` alone; `transform` changes nothing and gives each row the same vector whatever rows
        stand beside it (except for features that need the patient).

    Args:
        features: names from `list_features()`.

    Raises:
        MetadataError: an unknown feature.
    """

    def __init__(self, features: tuple[str, ...] | list[str] = ("sex", "age", "site")) -> None:
        unknown = [name for name in features if name not in FEATURES]
        if unknown or not features or len(set(features)) < len(features):
            raise MetadataError(f"Known features, each once: {', '.join(FEATURES)}. Received: features={features!r}")
        self.features = tuple(features)
        self._state: dict[str, dict[str, Any]] = {}

    def fit(self, frame: pd.DataFrame) -> MetadataEncoder:
        """Learn levels, means and deviations from training rows only.

        Raises:
            MetadataError: a column is missing, no rows, or a number that is none or without any value.
        """
        if not len(frame):
            raise MetadataError("MetadataEncoder.fit needs at least one row.")
        state: dict[str, dict[str, Any]] = {}
        for name in self.features:
            values = feature_values(FEATURES[name], frame)
            if FEATURES[name].kind == "category":
                state[name] = {"levels": sorted(values.dropna().astype(str).unique())}
            else:
                known = values.dropna().to_numpy(dtype="float64")
                if not len(known):
                    raise MetadataError(f"Feature {name!r} has no value in any of {len(frame):,} rows; leave it out.")
                mean, scale = float(known.mean()), float(known.std())
                # A constant has a deviation of rounding noise only: dividing by it would blow up other values.
                state[name] = {"mean": mean, "scale": scale if scale > 1e-9 * max(1.0, abs(mean)) else 1.0}
        self._state = state
        return self

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        """Encode rows.

        Returns:
            (n, width) float32.

        Raises:
            MetadataError: not fitted, a column is missing, or a number is none.
        """
        self._check_fitted()
        blocks: list[np.ndarray] = []
        for name, state in self._state.items():
            values = feature_values(FEATURES[name], frame)
            missing = values.isna().to_numpy()
            if "levels" in state:
                # In plain Python: a server encodes one row at a time, where pandas takes three times as long.
                place, width = {level: i for i, level in enumerate(state["levels"])}, len(state["levels"]) + 2
                column = [
                    width - 2 if gone else place.get(str(value), width - 1)
                    for value, gone in zip(values.tolist(), missing.tolist(), strict=True)
                ]
                block = np.zeros((len(frame), width), dtype="float32")
                block[np.arange(len(frame)), column] = 1.0
            else:
                numbers = values.to_numpy(dtype="float64", na_value=np.nan)
                scaled = np.where(missing, 0.0, (numbers - state["mean"]) / state["scale"])
                block = np.column_stack([scaled, missing]).astype("float32")
            blocks.append(block)
        return np.concatenate(blocks, axis=1)

    @property
    def width(self) -> int:
        """Number of columns of `transform`."""
        return len(self.feature_names)

    @property
    def feature_names(self) -> list[str]:
        """One name per column: "sex=female", …, "sex=missing", "sex=unknown", "age", "age=missing", …"""
        self._check_fitted()
        names: list[str] = []
        for name, state in self._state.items():
            levels = state.get("levels")
            names += (
                [name, f"{name}={MISSING}"]
                if levels is None
                else [f"{name}={level}" for level in (*levels, MISSING, UNKNOWN)]
            )
        return names

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the table that the features are made of."""
        return tuple(dict.fromkeys(column for name in self.features for column in FEATURES[name].columns))

    @property
    def slices(self) -> dict[str, slice]:
        """Columns of each feature."""
        self._check_fitted()
        start, result = 0, {}
        for name, state in self._state.items():
            stop = start + (len(state["levels"]) + 2 if "levels" in state else 2)
            result[name] = slice(start, stop)
            start = stop
        return result

    def missing_row(self) -> np.ndarray:
        """(width,) float32: the vector of a record about which nothing is known."""
        row = np.zeros(self.width, dtype="float32")
        for name, columns in self.slices.items():
            row[columns.stop - (2 if "levels" in self._state[name] else 1)] = 1.0
        return row

    def drop_fields(
        self, encoded: np.ndarray, rate: float, rng: np.random.Generator, together: float = 0.0
    ) -> np.ndarray:
        """Metadata dropout: each field of each record becomes "missing" with probability `rate`.

        A model trained so keeps its worth where metadata are not given (Gessert et al. 2020, arXiv 1910.03910). Fields
        dropped one by one are seldom all gone; `together` is modality dropout (Neverova et al. 2016, arXiv 1501.00102).

        Args:
            encoded: (n, width) from `transform`.
            rate: probability in [0, 1].
            rng: source of chance.
            together: probability that all fields of a record become "missing" at once.

        Returns:
            (n, width) float32, a new array.
        """
        result = encoded.copy()
        missing = self.missing_row()
        for columns in self.slices.values():
            gone = rng.random(len(encoded)) < rate
            result[gone, columns] = missing[columns]
        if together:
            result[rng.random(len(encoded)) < together] = missing
        return result

    def to_json(self) -> str:
        """State as JSON text (format 1)."""
        self._check_fitted()
        return json.dumps({"format": 1, "features": self._state}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> MetadataEncoder:
        """Read what `to_json` wrote.

        Raises:
            MetadataError: not such a text.
        """
        try:
            content = json.loads(text)
            if content["format"] != 1:
                raise MetadataError(f"Metadata encoder of format {content['format']!r}; this version reads format 1.")
            encoder = cls(list(content["features"]))
            for name, state in content["features"].items():
                keys = {"levels"} if FEATURES[name].kind == "category" else {"mean", "scale"}
                if set(state) != keys:
                    raise KeyError(name)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise MetadataError(f"Not a metadata encoder written by to_json: {error!r}") from None
        encoder._state = content["features"]
        return encoder

    def write(self, path: str | Path) -> None:
        """Write `to_json` to a file."""
        write_text(path, self.to_json())

    def _check_fitted(self) -> None:
        if not self._state:
            raise MetadataError("This MetadataEncoder is not fitted. Call fit(frame of training rows) first.")

    def __repr__(self) -> str:
        state = f"{self.width} columns" if self._state else "not fitted"
        return f"MetadataEncoder(features={self.features!r}): {state}"
