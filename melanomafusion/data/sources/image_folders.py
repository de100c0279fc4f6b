"""Data sets without a table: a folder per class, with or without train, valid and test above them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from ...errors import TableError
from ..dataset import Dataset
from ..join import IMAGE_SUFFIXES
from ..schema import DIAGNOSIS_SYNONYMS, to_records

SPLITS = ("train", "valid", "val", "validation", "test")


def load_image_folders(
    root: str | Path,
    *,
    positive: Sequence[str] = ("melanoma", "malignant"),
    counts: Mapping[str, int] | None = None,
    seed: int = 0,
) -> Dataset:
    """Load `root/CLASS/*.jpg` or `root/{train,valid,test}/CLASS/*.jpg`.

    The image name is the path below `root` without suffix. Class folders become `diagnosis` where the name is one
    (melanoma, nevus, seborrheic_keratosis, …), and stand in `class_folder` as they are. There is no metadata and no
    patient: folds are grouped by record, exact copies together.

    Args:
        root: folder of the data set.
        positive: class folders that are target 1.
        counts: split anew into these numbers of records, e.g. {"train": 1400, "valid": 300, "test": 300}, in
            proportion by target; they must add up to the number of images found.
        seed: of the new split.

    Returns:
        Data set with a `split` column: as published (the folder), or anew by `counts`; missing where there is none.

    Raises:
        TableError: no images, one class only, or counts that do not add up.
    """
    root = Path(root)
    if not root.is_dir():
        raise TableError(str(root), ["there is no such folder"], "Expected a folder with one folder for each class.")
    rows = []
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        parts = path.relative_to(root).parts
        split = parts[0].lower() if parts[0].lower() in SPLITS else None
        if len(parts) != (3 if split else 2):
            raise TableError(
                str(root),
                [f"{path.relative_to(root)} does not lie in a class folder"],
                "Expected CLASS/image.jpg or train|valid|test/CLASS/image.jpg.",
            )
        rows.append((path.relative_to(root).with_suffix("").as_posix(), str(path), parts[-2], split))
    if not rows:
        raise TableError(str(root), ["no images (.jpg, .jpeg, .png) below this folder"])
    text = pd.DataFrame(rows, columns=["image_name", "path", "class_folder", "split"])
    text["split"] = text["split"].replace({"val": "valid", "validation": "valid"})
    classes = sorted(text["class_folder"].unique())
    wanted = {name.lower() for name in positive}
    text["target"] = text["class_folder"].str.lower().isin(wanted).map({True: "1", False: "0"})
    if text["target"].nunique() < 2:
        raise TableError(
            str(root),
            [f"class folders {', '.join(classes)}: none or all of them are positive ({', '.join(positive)})"],
            "Name the positive class folders with positive=.",
        )
    text["diagnosis"] = text["class_folder"].str.lower().map(DIAGNOSIS_SYNONYMS)
    frame = to_records(text, where=str(root), source="image-folders", has_target=True)
    if counts is not None:
        frame["split"] = _split_anew(frame, dict(counts), seed, root)
    return Dataset(frame)


def _split_anew(frame: pd.DataFrame, counts: dict[str, int], seed: int, root: Path) -> pd.Series:
    """Stratified by target to within one record; which record goes where depends on its name and the seed alone."""
    total = sum(counts.values())
    if total != len(frame) or min(counts.values()) < 1:
        raise TableError(str(root), [f"counts {counts} add up to {total:,}; {len(frame):,} images were found"])
    order = frame.assign(
        key=[hashlib.sha256(f"{seed}/{name}".encode()).hexdigest() for name in frame["image_name"]]
    ).sort_values("key")
    labels = pd.Series("", index=order.index, dtype="str")
    positive = order.index[order["target"] == 1]
    shares = _largest_remainder(len(positive), counts)
    for rows, allotted in (
        (positive, shares),
        (order.index[order["target"] == 0], {name: counts[name] - shares[name] for name in counts}),
    ):
        labels.loc[rows] = pd.Series([name for name, n in allotted.items() for _ in range(n)], index=rows, dtype="str")
    return labels.reindex(frame.index)


def _largest_remainder(total: int, counts: dict[str, int]) -> dict[str, int]:
    """Share `total` out in proportion to counts, whole numbers that add up to it."""
    exact = {name: total * count / sum(counts.values()) for name, count in counts.items()}
    shares = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: shares[name] - exact[name])
    for name in by_remainder[: total - sum(shares.values())]:
        shares[name] += 1
    return shares
