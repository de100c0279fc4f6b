"""HAM10000, also the ISIC 2018 task 3 training set (10,015 records of 7,470 lesions, seven diagnoses).

Tschandl et al. 2018, doi 10.1038/sdata.2018.161; CC BY-NC 4.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...errors import TableError
from ..dataset import Dataset
from ..join import ExtraImages, MissingImages, find_first, join_images
from ..schema import DIAGNOSES, to_records
from ..table import read_text_table, to_vocabulary

_TABLES = ("HAM10000_metadata.csv", "HAM10000_metadata")
_FOLDERS = (
    ("HAM10000_images_part_1", "HAM10000_images_part_2"),
    ("ham10000_images_part_1", "ham10000_images_part_2"),
    ("images",),
    ("ISIC2018_Task3_Training_Input",),
    ("train",),
)


def load_ham10000(
    root: str | Path,
    *,
    positive: Sequence[str] = ("melanoma",),
    image_folder: str | Path | None = None,
    with_images: bool = True,
    missing_images: MissingImages = "error",
    extra_images: ExtraImages = "error",
) -> Dataset:
    """Load HAM10000. Folds of it are grouped by `lesion_id`: many lesions have several images.

    `dx_type` (how the diagnosis was made) is kept as a column but gives the label away: never a feature.

    Args:
        root: folder with `HAM10000_metadata.csv` and the images (one folder or the two published parts), or the CSV.
        positive: diagnoses that are target 1, e.g. ("melanoma", "BCC", "AK") for "malignant".
        image_folder: folder of images, where it has another name.
        with_images: False for the table alone.
        missing_images: rows without an image: "error" or "drop".
        extra_images: images without a row: "error" or "ignore".

    Raises:
        TableError: every problem of the table, or of its join with the images.
    """
    unknown = [name for name in positive if name not in DIAGNOSES]
    if unknown or not positive:
        raise TableError("load_ham10000", [f"positive={list(positive)!r}; known diagnoses: {', '.join(DIAGNOSES)}"])
    root = Path(root)
    path = root if root.is_file() else find_first(root, _TABLES, "metadata table")
    root = path.parent
    text = to_vocabulary(read_text_table(path), where=str(path))
    absent = [name for name in ("diagnosis", "lesion_id") if name not in text]
    if absent:
        raise TableError(str(path), [f"column {name} is missing" for name in absent], "Expected lesion_id and dx.")
    empty = text.index[text["diagnosis"].isna()]
    if len(empty):
        raise TableError(
            str(path), [f"row {line}, column dx: is empty" for line in empty], "Every row needs a diagnosis."
        )
    text["target"] = text["diagnosis"].isin(list(positive)).map({True: "1", False: "0"})
    frame = to_records(text, where=str(path), source="ham10000", has_target=True)
    if with_images:
        frame = join_images(
            frame, _image_folders(root, image_folder), missing_images=missing_images, extra_images=extra_images
        )
    return Dataset(frame)


def _image_folders(root: Path, image_folder: str | Path | None) -> list[Path]:
    if image_folder:
        return [Path(image_folder)]
    for names in _FOLDERS:
        if all((root / name).is_dir() for name in names):
            return [root / name for name in names]
    looked = ", ".join(" + ".join(names) for names in _FOLDERS)
    raise TableError(str(root), [f"no folder of images found; looked for {looked}"], "Name it with image_folder=.")
