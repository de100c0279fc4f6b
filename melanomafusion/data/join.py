"""Join a table with a folder of images, verified both ways. No default drops a row."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from ..errors import TableError

MissingImages = Literal["error", "drop"]
ExtraImages = Literal["error", "ignore"]
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_FEW = 5


def index_images(folders: Iterable[str | Path]) -> dict[str, str]:
    """Image name (file name without suffix) → path, over some folders (not their sub-folders).

    Files of other kinds are passed over; hidden files too.

    Raises:
        TableError: two files have one name.
    """
    found: dict[str, str] = {}
    problems = []
    for folder in folders:
        with os.scandir(folder) as entries:
            for entry in entries:
                name, suffix = os.path.splitext(entry.name)
                if suffix.lower() not in IMAGE_SUFFIXES or name.startswith("."):
                    continue
                if name in found:
                    problems.append(f"{found[name]} and {entry.path} are both image {name}")
                found[name] = entry.path
    if problems:
        raise TableError(", ".join(map(str, folders)), sorted(problems), "Keep one file for each image.")
    return found


def find_first(root: Path, candidates: Sequence[str], what: str) -> Path:
    """The first of some relative paths that exists under `root`.

    Raises:
        TableError: none exists; names all that were looked for.
    """
    for candidate in candidates:
        if (root / candidate).exists():
            return root / candidate
    looked = ", ".join(candidates)
    state = "does not exist" if not root.exists() else f"has none of: {looked}"
    raise TableError(str(root), [f"no {what} found: the folder {state}"], "Name it yourself (table=, image_folder=).")


def join_images(
    frame: pd.DataFrame,
    folders: Sequence[str | Path],
    *,
    missing_images: MissingImages = "error",
    extra_images: ExtraImages = "error",
) -> pd.DataFrame:
    """Give each row the path of its image.

    Args:
        frame: records with `image_name`, unique.
        folders: folders whose image files are looked at.
        missing_images: what to do about rows without an image: "error", or "drop" the rows.
        extra_images: what to do about images without a row: "error", or "ignore" the files.

    Returns:
        The rows (all of them, unless told to drop some) with `path` set.

    Raises:
        TableError: rows without an image or images without a row, both counted, the first few named.
    """
    for name, value, allowed in (
        ("missing_images", missing_images, ("error", "drop")),
        ("extra_images", extra_images, ("error", "ignore")),
    ):
        if value not in allowed:
            raise TableError("join", [f"{name}={value!r}; expected one of {', '.join(allowed)}"])
    where = ", ".join(map(str, folders))
    for folder in folders:
        if not Path(folder).is_dir():
            raise TableError(str(folder), ["there is no such folder of images"], "Check image_folder=.")
    images = index_images(folders)
    names = frame["image_name"]
    without_image = names[~names.isin(images)].tolist()
    without_row = sorted(set(images) - set(names))
    problems, advice = [], []
    if without_image and missing_images == "error":
        problems.append(f"{len(without_image):,} of {len(names):,} rows have no image: {_first(without_image)}")
        advice.append('missing_images="drop" leaves such rows out')
    if without_row and extra_images == "error":
        problems.append(f"{len(without_row):,} of {len(images):,} images have no row: {_first(without_row)}")
        advice.append('extra_images="ignore" leaves such files alone')
    if problems:
        raise TableError(where, problems, "If that is meant: " + "; ".join(advice) + ".")
    joined = frame[names.isin(images)].reset_index(drop=True)
    if joined.empty:
        raise TableError(where, [f"none of the {len(names):,} rows has an image there"], "Is it the right folder?")
    return joined.assign(path=joined["image_name"].map(images).astype("str"))


def _first(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_FEW])
    return shown + (", …" if len(names) > _FEW else "")
