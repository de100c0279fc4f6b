"""The metadata features: what each is made of, what it needs, and whether it leaks how the data were collected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from ..errors import MetadataError


@dataclass(frozen=True)
class Feature:
    """A metadata feature and what it needs.

    Attributes:
        name: how recipes and `MetadataEncoder(features=...)` name it.
        kind: "category" (one column per level) or "number" (standardised, with a column that marks missing).
        needs: "record" (known for one image alone), "patient" (all images of the patient at once) or "file".
        columns: columns of the table it is made of.
        leaky: it tells how the data were collected rather than what the lesion is; scores rise, patients do not gain.
    """

    name: str
    kind: Literal["category", "number"]
    needs: Literal["record", "patient", "file"]
    columns: tuple[str, ...]
    leaky: bool = False


FEATURES: dict[str, Feature] = {
    feature.name: feature
    for feature in (
        Feature("sex", "category", "record", ("sex",)),
        Feature("age", "number", "record", ("age_approx",)),
        Feature("site", "category", "record", ("anatom_site_general_challenge",)),
        Feature("images_per_patient", "number", "patient", ("patient_id",), leaky=True),
        Feature("rank_in_patient", "number", "patient", ("patient_id", "image_name"), leaky=True),
        Feature("width", "number", "file", ("width",), leaky=True),
        Feature("height", "number", "file", ("height",), leaky=True),
        Feature("file_bytes", "number", "file", ("file_bytes",), leaky=True),
    )
}


def list_features() -> pd.DataFrame:
    """The known features: name, kind, needs, columns, and whether they leak how the data were collected."""
    return pd.DataFrame([vars(feature) for feature in FEATURES.values()]).set_index("name")


def feature_values(feature: Feature, frame: pd.DataFrame) -> pd.Series:
    """(n,) values of a feature, missing where its columns are.

    Raises:
        MetadataError: a column is missing, or a number is none.
    """
    absent = [name for name in feature.columns if name not in frame]
    if absent:
        raise MetadataError(
            f"Feature {feature.name!r} needs column {', '.join(absent)}. The table has: {', '.join(frame.columns)}."
        )
    if feature.needs == "patient":
        patients = frame.groupby([_patient_space(frame), "patient_id"])
        sizes = patients["patient_id"].transform("size")
        if feature.name == "images_per_patient":
            return sizes.map(np.log1p)
        return patients["image_name"].rank() / sizes
    if feature.needs == "file":
        return _numbers(frame[feature.columns[0]], above_zero=True).map(np.log)
    return _numbers(frame[feature.columns[0]]) if feature.kind == "number" else frame[feature.columns[0]]


def _patient_space(frame: pd.DataFrame) -> pd.Series:
    """(n,) text: where equal ids are one patient; a table without sources is one space."""
    space = pd.Series("", index=frame.index, dtype="object")
    for column in ("source", "patient_id_space"):  # the second: sources that share their patients
        if column in frame:
            space = frame[column].astype("object").fillna(space)
    return space


def _numbers(values: pd.Series, *, above_zero: bool = False) -> pd.Series:
    """Numbers, also where a table was read as text."""
    numbers = pd.to_numeric(values, errors="coerce")
    known = numbers.to_numpy(dtype="float64", na_value=np.nan)
    fine = np.isfinite(known) & (known > (0.0 if above_zero else -np.inf))
    wrong = values[values.notna() & ~fine]
    if len(wrong):
        named = ", ".join(repr(value) for value in wrong.unique()[:3])
        raise MetadataError(
            f"Column {values.name} holds {len(wrong):,} values that are no numbers{' above 0' if above_zero else ''}: "
            f"{named}{', …' if wrong.nunique() > 3 else ''}. Correct them, or leave the cells empty."
        )
    return numbers
