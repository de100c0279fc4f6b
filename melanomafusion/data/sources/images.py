"""A folder of images without table or classes: records to predict."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ...errors import TableError
from ..dataset import Dataset
from ..join import IMAGE_SUFFIXES
from ..schema import to_records


def load_images(root: str | Path) -> Dataset:
    """Load every image below a folder, without target, metadata or patients.

    Args:
        root: folder; the image name is the path below it without suffix.

    Raises:
        TableError: no such folder, no images, or two files of one name.
    """
    root = Path(root)
    if not root.is_dir():
        raise TableError(str(root), ["there is no such folder"], "Expected a folder of images.")
    paths = sorted(
        path for path in root.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )
    if not paths:
        raise TableError(str(root), ["no images (.jpg, .jpeg, .png) below this folder"])
    names = [path.relative_to(root).with_suffix("").as_posix() for path in paths]
    text = pd.DataFrame({"image_name": names, "path": [str(path) for path in paths]})
    return Dataset(to_records(text, where=str(root), source="images", has_target=False))
