"""Sources by name, for the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import TableError
from ..dataset import Dataset
from .csv_table import load_csv
from .ham10000 import load_ham10000
from .image_folders import load_image_folders
from .images import load_images
from .isic_2019 import load_isic_2019
from .isic_archive import load_isic_archive
from .siim_isic_2020 import load_siim_isic_2020
from .tfrecords import load_tfrecords

SOURCES = ("siim-isic-2020", "isic-2019", "ham10000", "isic-archive", "tfrecords", "folders", "images", "csv")


def load_source(
    source: str,
    root: str | Path,
    *,
    split: str = "train",
    image_folder: str | Path | None = None,
    with_images: bool = True,
    missing_images: str = "error",
    extra_images: str = "error",
    positive: Sequence[str] | None = None,
) -> Dataset:
    """Load a source by its name; the options are those of its load_ function.

    TFRecords take `root/train.csv` (`test.csv`) as their table where it is there, and `image_folder` as the folder of
    the shards. `positive` names the diagnoses (class folders) that are target 1, for "ham10000" and "folders".

    Raises:
        TableError: an unknown name, an option that the source does not have, or a problem of the data.
    """
    if source not in SOURCES:
        raise TableError("source", [f"{source!r} is unknown"], f"Known: {', '.join(SOURCES)}.")
    if split != "train" and source not in ("siim-isic-2020", "tfrecords", "images", "csv"):
        raise TableError(
            "source", [f"{source} has no split {split!r}"], "Load the records to predict with csv or images."
        )
    if positive is not None and source not in ("ham10000", "folders"):
        raise TableError("source", [f"{source} has its own target"], "positive= is for ham10000 and folders.")
    chosen: dict[str, Any] = {} if positive is None else {"positive": tuple(positive)}
    options: dict[str, Any] = {
        "image_folder": image_folder,
        "missing_images": missing_images,
        "extra_images": extra_images,
    }
    if source in ("folders", "images"):
        if image_folder or not with_images or missing_images != "error" or extra_images != "error":
            raise TableError("source", [f"{source} has no table: it takes the folder alone"])
        if source == "folders":
            return load_image_folders(root, **chosen)
        if split == "train":
            raise TableError("source", ["images has no targets to train on"], "It is for records to predict (submit).")
        return load_images(root)
    if source == "tfrecords":
        if not with_images:
            raise TableError("source", ["tfrecords has no table of its own: it takes the shards"])
        own = Path(root) / f"{split}.csv"
        table = own if own.is_file() else None
        options.pop("image_folder")
        return load_tfrecords(image_folder or root, table=table, split=split, **options)
    if source == "csv":
        options["image_folder"] = image_folder if with_images else None
        return load_csv(root, has_target=split == "train", **options)
    if source == "siim-isic-2020":
        return load_siim_isic_2020(root, split=split, with_images=with_images, **options)  # type: ignore[arg-type]
    loaders = {"isic-2019": load_isic_2019, "ham10000": load_ham10000, "isic-archive": load_isic_archive}
    return loaders[source](root, with_images=with_images, **options, **chosen)
