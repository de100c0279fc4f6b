"""ISIC 2019 (25,331 training records, eight diagnoses, no patient id: grouped by lesion).

Tschandl et al. 2018, Codella et al. 2017, Hernández-Pérez et al. 2024; CC BY-NC 4.0.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ...errors import TableError
from ..dataset import Dataset
from ..join import ExtraImages, MissingImages, find_first, join_images
from ..schema import to_records
from ..table import read_text_table, to_vocabulary

ONE_HOT = {
    "MEL": "melanoma",
    "NV": "nevus",
    "BCC": "BCC",
    "AK": "AK",
    "BKL": "BKL",
    "DF": "DF",
    "VASC": "VASC",
    "SCC": "SCC",
    "UNK": "unknown",
}
_MERGED = ("ISIC_2019_Training_Metadata_with_labels.csv",)
_TRUTH = "ISIC_2019_Training_GroundTruth.csv"
_METADATA = "ISIC_2019_Training_Metadata.csv"
_FOLDERS = ("ISIC_2019_Training_Input/ISIC_2019_Training_Input", "ISIC_2019_Training_Input", "train", "images")


def load_isic_2019(
    root: str | Path,
    *,
    image_folder: str | Path | None = None,
    with_images: bool = True,
    missing_images: MissingImages = "error",
    extra_images: ExtraImages = "error",
) -> Dataset:
    """Load the ISIC 2019 training set from the two official files or a merged one.

    `target` is 1 for melanoma. Sites are told in the words of 2020 (anterior torso → torso). There is no patient id;
    folds are grouped by lesion, and a record without a lesion id is a group of its own.

    Args:
        root: folder with `ISIC_2019_Training_GroundTruth.csv` and `..._Metadata.csv`, or the merged CSV itself.
        image_folder: folder of images, where it has another name than the official one.
        with_images: False for the tables alone.
        missing_images: rows without an image: "error" or "drop".
        extra_images: images without a row: "error" or "ignore".

    Raises:
        TableError: every problem of the tables, or of their join with each other or the images.
    """
    root = Path(root)
    if root.is_file():
        path, root = root, root.parent
        text = read_text_table(path)
    elif (root / _TRUTH).exists():
        path = root / _TRUTH
        text = _merge(read_text_table(path), read_text_table(root / _METADATA), root)
    else:
        path = find_first(root, (_TRUTH, *_MERGED), "ground truth")
        text = read_text_table(path)
    text = _with_diagnosis(text, path)
    frame = to_records(to_vocabulary(text, where=str(path)), where=str(path), source="isic-2019", has_target=True)
    if with_images:
        folder = Path(image_folder) if image_folder else find_first(root, _FOLDERS, "folder of images")
        frame = join_images(frame, [folder], missing_images=missing_images, extra_images=extra_images)
    return Dataset(frame)


def _merge(truth: pd.DataFrame, metadata: pd.DataFrame, root: Path) -> pd.DataFrame:
    tables = []
    for name, table in ((_TRUTH, truth), (_METADATA, metadata)):
        where = str(root / name)
        spelt = to_vocabulary(table, where=where)
        if "image_name" not in spelt:
            raise TableError(where, ["column image is missing"], f"It has {', '.join(table.columns)}.")
        twice = spelt.loc[spelt["image_name"].duplicated(), "image_name"]
        if len(twice):
            raise TableError(where, [f"row {line}, column image: {v!r} stands twice" for line, v in twice.items()])
        tables.append(spelt)
    truth, metadata = tables
    names = [set(table["image_name"].dropna()) for table in tables]
    problems = [f"image {name!r} is in {_TRUTH} but not in {_METADATA}" for name in sorted(names[0] - names[1])]
    problems += [f"image {name!r} is in {_METADATA} but not in {_TRUTH}" for name in sorted(names[1] - names[0])]
    if problems:
        raise TableError(str(root), problems, "The two official files list the same images.")
    lines = truth.index
    return truth.merge(metadata, on="image_name", how="left", validate="one_to_one").set_index(lines)


def _with_diagnosis(text: pd.DataFrame, path: Path) -> pd.DataFrame:
    headers = {name.upper(): name for name in text.columns}
    present = [name for name in ONE_HOT if name in headers]
    missing = [name for name in ONE_HOT if name not in headers and name != "UNK"]
    if missing:
        raise TableError(str(path), [f"column {name} is missing" for name in missing], "ISIC 2019 truth is one-hot.")
    numbers = text[[headers[name] for name in present]].apply(pd.to_numeric, errors="coerce")
    numbers.columns = pd.Index(present)
    wrong = (~numbers.isin((0, 1))).any(axis=1) | (numbers.sum(axis=1) != 1)
    if wrong.any():
        raise TableError(
            str(path), [f"row {line}: exactly one of {', '.join(present)} must be 1" for line in text.index[wrong]]
        )
    code = numbers.idxmax(axis=1)
    text = text.drop(columns=[headers[name] for name in present])
    return text.assign(diagnosis=code.map(ONE_HOT), target=(code == "MEL").map({True: "1", False: "0"}))
