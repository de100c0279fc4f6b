"""Groups: what no fold may split. A patient; a lesion in a source without patients; else a record and its exact copies.

Ids are compared within their source, or within the id space that `concat` found several sources to share.
"""

from __future__ import annotations

import hashlib

import pandas as pd

from ..errors import FoldError
from .components import connected_components
from .containers import read_image_bytes, stored_bytes
from .dataset import Dataset

_COPIES = "record and its exact copies"
LINK = "linked_group"


def group_keys(dataset: Dataset, group: str | None = None) -> tuple[pd.Series, str]:
    """The group of each record, and the word for it.

    Args:
        dataset: records.
        group: as for `assign_folds`.

    Returns:
        (n,) text keys, unique across sources but for ids that sources share (`id_space`); and "patient", "lesion",
        "record", … (several joined by " + "). Groups that `concat` found to be one have one key.

    Raises:
        FoldError: unknown column, or a group column with holes.
    """
    keys, words = _own_keys(dataset, group)
    frame = dataset.frame
    if group == "record" or LINK not in frame or frame[LINK].isna().all():
        return keys, words
    return keys.groupby(connected_components(keys, frame[LINK])).transform("min"), words


def cluster_keys(dataset: Dataset) -> pd.Series | None:
    """What records depend on each other in figures: their patient, else their lesion, else the record itself.

    Returns:
        (n,) text keys, as in `group_keys`; None of one source, where the ids alone tell.
    """
    frame = dataset.frame
    if frame["source"].nunique(dropna=False) < 2:
        return None
    keys = "record/" + frame["image_name"].astype("str")
    for column in ("lesion_id", "patient_id"):  # the patient has the last word
        keys = keys.mask(frame[column].notna(), id_space(frame, column) + f"/{column}/" + frame[column].astype("str"))
    if LINK in frame and frame[LINK].notna().any():
        keys = keys.groupby(connected_components(keys, frame[LINK])).transform("min")
    return keys


def id_space(frame: pd.DataFrame, column: str) -> pd.Series:
    """Where an id of `column` means one thing: the source, or what `concat` found several sources to share.

    Args:
        frame: the table of a data set.
        column: "patient_id", "lesion_id", or any other (whose space is the source).

    Returns:
        (n,) text; equal ids in equal spaces are one patient or lesion.
    """
    shared = f"{column}_space"
    return frame[shared].fillna(frame["source"]) if shared in frame else frame["source"]


def _own_keys(dataset: Dataset, group: str | None) -> tuple[pd.Series, str]:
    frame = dataset.frame
    column = {"patient": "patient_id", "lesion": "lesion_id"}.get(group or "", group)
    names = frame["image_name"]
    if group == "record":
        return "record/" + names, "record"
    if column is not None:
        if column not in frame:
            raise FoldError(f"There is no column {column!r} to group by. Columns: {', '.join(frame.columns)}.")
        # Lesion ids have holes in published sets (ISIC 2019): such a record is a group of its own.
        if column == "lesion_id" and frame[column].notna().any():
            return _lesions(frame), "lesion"
        _refuse_holes(frame, column, dataset.name)
        return id_space(frame, column) + "/" + frame[column].astype(str), group or column
    parts, words, bare = [], [], []
    for source, rows in frame.groupby("source", sort=True, dropna=False):
        if rows["patient_id"].notna().any():
            _refuse_holes(rows, "patient_id", str(source))
            parts.append(id_space(rows, "patient_id") + "/patient/" + rows["patient_id"].astype("str"))
            words.append("patient")
        elif rows["lesion_id"].notna().any():
            parts.append(_lesions(rows))
            words.append("lesion")
        else:
            bare.append(rows)
    if bare:  # together: copies may lie in two sources
        parts.append(_copies(pd.concat(bare)))
        words.append(_COPIES)
    return pd.concat(parts).sort_index(), " + ".join(dict.fromkeys(words))


def _lesions(rows: pd.DataFrame) -> pd.Series:
    alone = rows["source"] + "/record/" + rows["image_name"]
    return (id_space(rows, "lesion_id") + "/lesion/" + rows["lesion_id"].astype("str")).fillna(alone)


def _refuse_holes(rows: pd.DataFrame, column: str, where: str) -> None:
    holes = rows.loc[rows[column].isna(), "image_name"]
    if len(holes):
        raise FoldError(
            f"{where}: {len(holes):,} of {len(rows):,} records have no {column}, e.g. {', '.join(holes[:5])}. "
            "Fill the column, leave these records out with select(), or group by another column."
        )


def _copies(rows: pd.DataFrame) -> pd.Series:
    """Key by content where two files have one size; reading only those keeps it cheap."""
    keys = rows["source"] + "/record/" + rows["image_name"]
    files = rows["path"].dropna()
    sizes = files.map(stored_bytes)
    for index in sizes.index[sizes.duplicated(keep=False)]:
        keys[index] = "content/" + hashlib.sha256(read_image_bytes(files[index])).hexdigest()
    return keys
