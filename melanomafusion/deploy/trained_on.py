"""`TrainedOn`: what a model has seen, so that an input unlike it can be told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import pandas as pd

from ..errors import BundleError

_SAMPLE = 1000  # images; their 1st and 99th percentile are known well enough, in a second
_SHARE = 0.01  # of the training images lie below, and as many above
_CATEGORIES = ("sex", "anatom_site_general_challenge")
Range = tuple[float, float]


@dataclass(frozen=True)
class TrainedOn:
    """Ranges and values of the training records.

    Attributes:
        records: how many there were.
        brightness: 1st and 99th percentile of an image's mean grey level, 0–255; None for a metadata-only model.
        sharpness: the same of the logarithm of the variance of its Laplacian, at the model's size.
        age_approx: lowest and highest, years; None where no age was known.
        values: column → the values of sex and site that were there.
    """

    records: int
    brightness: Range | None
    sharpness: Range | None
    age_approx: Range | None
    values: dict[str, list[str]]

    @classmethod
    def measure(cls, frame: pd.DataFrame, load: Any = None) -> TrainedOn:
        """Look at the training records.

        Args:
            frame: their table.
            load: image name → (H, H, 3) uint8 at the model's size; None for a metadata-only model.
        """
        brightness = sharpness = None
        if load is not None:
            chosen = np.unique(np.linspace(0, len(frame) - 1, _SAMPLE).astype("int64"))
            seen = np.array([image_statistics(load(name)) for name in frame["image_name"].iloc[chosen]])
            low, high = np.quantile(seen, [_SHARE, 1 - _SHARE], axis=0)
            brightness, sharpness = (low[0], high[0]), (low[1], high[1])
        ages = frame["age_approx"].dropna()
        return cls(
            records=len(frame),
            brightness=_rounded(brightness),
            sharpness=_rounded(sharpness),
            age_approx=_rounded((ages.min(), ages.max())) if len(ages) else None,
            values={name: sorted(frame[name].dropna().astype(str).unique()) for name in _CATEGORIES},
        )

    def doubts(self, image: np.ndarray | None, fields: Mapping[str, Any], used: tuple[str, ...]) -> list[str]:
        """What of an input lies outside, in words; none where all is as it was in training.

        Args:
            image: (H, H, 3) uint8 at the model's size; None for a metadata-only model.
            fields: column → value; None or NaN where missing.
            used: columns that the model looks at.
        """
        found = []
        if image is not None and self.brightness is not None and self.sharpness is not None:
            brightness, sharpness = image_statistics(image)
            found += _outside(brightness, self.brightness, "darker", "brighter")
            found += _outside(sharpness, self.sharpness, "more blurred", "sharper or noisier")
            found = [f"The image is {word} than 99 % of the training images." for word in found]
        for column in used:
            value = fields.get(column)
            if pd.isna(value):
                continue
            if column == "age_approx" and self.age_approx is not None:
                if not self.age_approx[0] <= float(value) <= self.age_approx[1]:
                    low, high = self.age_approx
                    found.append(f"Age {value:g} lies outside the training records' {low:g} to {high:g} years.")
            elif column in self.values and value not in self.values[column]:
                found.append(f"No training record has {value!r}: it counts as unknown.")
        return found

    def to_json(self) -> str:
        """As JSON text (format 1)."""
        return json.dumps({"format": 1, **asdict(self)}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> TrainedOn:
        """Read what `to_json` wrote.

        Raises:
            BundleError: not such a text.
        """
        try:
            content = json.loads(text)
            if content.pop("format") != 1:
                raise ValueError("another format")
            ranges = {name: _range(content.pop(name)) for name in ("brightness", "sharpness", "age_approx")}
            values = {name: [str(value) for value in content["values"][name]] for name in _CATEGORIES}
            return cls(records=int(content["records"]), values=values, **ranges)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BundleError(f"Not the ranges of training records as written by to_json: {error!r}") from None


def image_statistics(image: np.ndarray) -> Range:
    """Mean grey level, and log(1 + variance of the Laplacian), of (H, H, 3) uint8."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return float(grey.mean()), float(np.log1p(cv2.Laplacian(grey, cv2.CV_32F).var()))


def _outside(value: float, bounds: Range, below: str, above: str) -> list[str]:
    return [below] * (value < bounds[0]) + [above] * (value > bounds[1])


def _rounded(bounds: tuple[Any, Any] | None) -> Range | None:
    """Four digits behind the point, outwards: the outermost training record lies inside."""
    if bounds is None:
        return None
    return float(np.floor(bounds[0] * 1e4) / 1e4), float(np.ceil(bounds[1] * 1e4) / 1e4)


def _range(value: Any) -> Range | None:
    if value is None:
        return None
    low, high = float(value[0]), float(value[1])
    if not low <= high or len(value) != 2:
        raise ValueError(f"no range: {value}")
    return low, high
