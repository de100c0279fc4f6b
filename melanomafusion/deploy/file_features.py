"""Metadata as the models take them, with what the image file itself tells: width, height and bytes.

They are what `prepare` notes of an original, so a raw file has the very values that its row in a shard has.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from ..data.containers import split_locator, stored_bytes
from ..data.metadata import MetadataEncoder
from ..data.metadata_features import FEATURES
from ..errors import ImageError
from ..images.decode import opened_image
from .decoding import Image

_OF_FILES = [column for feature in FEATURES.values() if feature.needs == "file" for column in feature.columns]


def encoded_records(
    encoders: Sequence[MetadataEncoder | None],
    table: pd.DataFrame,
    places: Sequence[int],
    images: Sequence[Image | None],
) -> tuple[list[np.ndarray | None], list[list[str]]]:
    """The metadata of images as each model takes them, and what is not known of each.

    Args:
        encoders: of the models; None of those without metadata.
        table: columns that are not there are missing, or come from the image file where it tells them.
        places: for each image its row in the table.
        images: paths or bytes; None where there is none.

    Returns:
        For each model (n, D) float32, or None; for each image its features of file and patient that count as missing,
        in words. Those of the record (sex, age, site) may well be missing.
    """
    columns = dict.fromkeys(column for encoder in encoders if encoder for column in encoder.columns)
    absent = [column for column in columns if column not in table]
    if absent:
        table = table.assign(**dict.fromkeys(absent, np.nan))
    of_files = [column for column in absent if column in _OF_FILES]
    if of_files:
        records = table.iloc[list(places)].reset_index(drop=True)
        records[of_files] = pd.DataFrame([file_columns(image, of_files) for image in images], columns=of_files)
    found: list[np.ndarray | None] = []
    unknown: list[dict[str, None]] = [{} for _ in images]
    for encoder in encoders:
        if encoder is None:
            found.append(None)
            continue
        vectors = encoder.transform(table)[list(places)]  # some features need the patient's other images
        filled = encoder.transform(records) if of_files else vectors
        for name, where in encoder.slices.items():
            if FEATURES[name].needs == "file":
                vectors[:, where] = filled[:, where]
            if FEATURES[name].needs != "record":
                for row in np.flatnonzero(vectors[:, where.stop - 1]):  # the mark of missing
                    unknown[row][name] = None
        found.append(vectors)
    return found, [[_in_words(name) for name in names] for names in unknown]


def file_columns(image: Image | None, wanted: Collection[str]) -> dict[str, float]:
    """Column → value, of width, height and file_bytes those that are wanted; none where the original is not at hand."""
    if image is None or not wanted or (not isinstance(image, bytes) and split_locator(image)):
        return {}
    try:
        with opened_image(image) as opened:
            width, height = opened.size
        size = len(image) if isinstance(image, bytes) else stored_bytes(image)
    except ImageError:  # said where it is decoded
        return {}
    known = {"width": float(width), "height": float(height), "file_bytes": float(size)}
    return {column: known[column] for column in known if column in wanted}


def _in_words(feature: str) -> str:
    return (
        f"The model looks at {feature}, which is not known here and counts as missing; it is made of column "
        f"{', '.join(FEATURES[feature].columns)} of a table."
    )
