"""SIIM-ISIC 2020 (33,126 training records of 2,056 patients, 584 melanomas; 10,982 test records).

Rotemberg et al. 2021, doi 10.1038/s41597-021-00815-z; CC BY-NC 4.0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ...errors import TableError
from ..dataset import Dataset
from ..join import ExtraImages, MissingImages, find_first, join_images
from ..schema import to_records
from ..table import read_text_table, to_vocabulary

_TABLES = {
    "train": ("train.csv", "ISIC_2020_Training_GroundTruth_v2.csv", "ISIC_2020_Training_GroundTruth.csv"),
    "test": ("test.csv", "ISIC_2020_Test_Metadata.csv"),
}
_REQUIRED = ("patient_id", "sex", "age_approx", "anatom_site_general_challenge")
_FOLDERS = {
    "train": ("jpeg/train", "train", "ISIC_2020_Training_JPEG/train", "ISIC_2020_Training_Input", "images"),
    "test": ("jpeg/test", "test", "ISIC_2020_Test_JPEG", "ISIC_2020_Test_Input", "images"),
}


def load_siim_isic_2020(
    root: str | Path,
    *,
    split: Literal["train", "test"] = "train",
    table: str | Path | None = None,
    image_folder: str | Path | None = None,
    with_images: bool = True,
    missing_images: MissingImages = "error",
    extra_images: ExtraImages = "error",
) -> Dataset:
    """Load SIIM-ISIC 2020 from the Kaggle, ISIC or a resized layout.

    Kaggle: `train.csv`, `jpeg/train/*.jpg`. ISIC: `ISIC_2020_Training_GroundTruth[_v2].csv`, `train/*.jpg`.
    Resized sets: `train.csv`, `train/*.jpg|jpeg|png`.

    Args:
        root: folder of the data set, or the CSV itself.
        split: "train" (with target) or "test" (no truth was published).
        table: CSV, where it has another name.
        image_folder: folder of images, where it has another name.
        with_images: False for the table alone.
        missing_images: rows without an image: "error" or "drop".
        extra_images: images without a row: "error" or "ignore".

    Raises:
        TableError: every problem of the table, or of its join with the images.
    """
    if split not in _TABLES:
        raise TableError("load_siim_isic_2020", [f"split={split!r}; expected train or test"])
    root = Path(root)
    if root.is_file():
        root, table = root.parent, root
    path = Path(table) if table else find_first(root, _TABLES[split], f"{split} table")
    text = to_vocabulary(read_text_table(path), where=str(path))
    frame = to_records(text, where=str(path), source="siim-isic-2020", has_target=split == "train", required=_REQUIRED)
    frame["split"] = split
    if with_images:
        folder = Path(image_folder) if image_folder else find_first(root, _FOLDERS[split], f"folder of {split} images")
        frame = join_images(frame, [folder], missing_images=missing_images, extra_images=extra_images)
    return Dataset(frame)
