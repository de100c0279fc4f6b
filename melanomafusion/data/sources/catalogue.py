"""Sources by name, for the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import TableError
from ..dataset import Dataset
from .csv_table import load_csv
from .ham10000 import load_ham10000
from .image_folders import load_image_folders
from .isic_2019 import load_isic_2019
from .siim_isic_2020 import load_siim_isic_2020

SOURCES = ("siim-isic-2020", "isic-2019", "ham10000", "folders", "csv")


def load_source(
    source: str,
    root: str | Path,
    *,
    split: str = "train",
    image_folder: str | Path | None = None,
    with_images: bool = True,
    missing_images: str = "error",
    extra_images: str = "error",
) -> Dataset:
    """Load a source by its name; the options are those of its load_ function.

    Raises:
        TableError: an unknown name, an option that the source does not have, or a problem of the data.
    """
    if source not in SOURCES:
        raise TableError("source", [f"{source!r} is unknown"], f"Known: {', '.join(SOURCES)}.")
    if split != "train" and source not in ("siim-isic-2020", "csv"):
        raise TableError("source", [f"{source} has no split {split!r}"], "Load the records to predict with csv.")
    options: dict[str, Any] = {
        "image_folder": image_folder,
        "missing_images": missing_images,
        "extra_images": extra_images,
    }
    if source == "folders":
        if image_folder or not with_images or missing_images != "error" or extra_images != "error":
            raise TableError("source", ["folders has no table: it takes the folder alone"])
        return load_image_folders(root)
    if source == "csv":
        options["image_folder"] = image_folder if with_images else None
        return load_csv(root, has_target=split == "train", **options)
    if source == "siim-isic-2020":
        return load_siim_isic_2020(root, split=split, with_images=with_images, **options)  # type: ignore[arg-type]
    load = load_isic_2019 if source == "isic-2019" else load_ham10000
    return load(root, with_images=with_images, **options)
