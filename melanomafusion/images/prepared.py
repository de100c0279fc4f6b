"""A folder of prepared shards: what `prepared.json` says of it, and the data set that lies in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..data.containers import locator, split_locator
from ..data.dataset import Dataset
from ..data.schema import COLUMNS
from ..errors import ImageError
from .preparation import Preparation
from .spec import ImageSpec

SUMMARY = "prepared.json"


@dataclass(frozen=True)
class Prepared:
    """A finished folder of prepared images.

    Attributes:
        path: folder of the shards and prepared.json.
        preparation: what was done to each image.
        records: in the shards.
        refused: image_name, path and reason of each image that could not be read.
        shards: name, records, bytes and sha256 of each.
    """

    path: Path
    preparation: Preparation
    records: int
    refused: list[dict[str, str]]
    shards: list[dict[str, Any]]

    @property
    def bytes(self) -> int:
        """Of all shards together."""
        return sum(int(shard["bytes"]) for shard in self.shards)

    @classmethod
    def read(cls, folder: str | Path) -> Prepared:
        """Read `prepared.json`.

        Raises:
            ImageError: it is not there (preparing was not finished), or damaged.
        """
        path = Path(folder) / SUMMARY
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != 1:
                raise ImageError(f"{path}: format {content['format']!r}; this version knows format 1.")
            return cls(
                Path(folder),
                Preparation.from_dict(content["preparation"]),
                content["records"],
                content["refused"],
                content["shards"],
            )
        except FileNotFoundError:
            raise ImageError(
                f"{folder}: no {SUMMARY}, so this is no folder of prepared images, or preparing was not finished. "
                "Start it again: it goes on where it stopped."
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ImageError(f"{path}: damaged ({error!r}). Prepare the images again.") from None


def load_prepared(folder: str | Path) -> Dataset:
    """Load what `prepare` wrote, as any other data set; images are read from the shards one by one.

    Args:
        folder: of `prepare`.

    Returns:
        The records in their original order; `path` is `shard#row`.

    Raises:
        ImageError: no such folder, unfinished, or shards that are missing or altered.
    """
    prepared = Prepared.read(folder)
    problems, tables = [], []
    for shard in prepared.shards:
        path = prepared.path / shard["name"]
        try:
            size = path.stat().st_size
            if size != shard["bytes"]:
                problems.append(f"{path}: {size:,} bytes, {shard['bytes']:,} were written")
                continue
            columns = [name for name in pq.read_schema(path).names if name != "image"]
            frame = pq.read_table(path, columns=columns).to_pandas()
            tables.append(frame.assign(path=[locator(path, row) for row in range(len(frame))]))
        except (OSError, pa.ArrowException) as error:
            problems.append(f"{path}: {error}")
    if problems:
        raise ImageError("\n".join([f"{folder}: altered since it was written:", *problems, "Prepare it again."]))
    if not prepared.records:
        raise ImageError(f"{folder}: holds no records; all {len(prepared.refused):,} images were refused.")
    frame = pd.concat(tables, ignore_index=True)
    others = [name for name in frame.columns if name not in COLUMNS]
    return Dataset(frame[[*COLUMNS, *others]])


def preparation_of(dataset: Dataset) -> Preparation | None:
    """How the images of a data set were prepared; None for raw files and TFRecords.

    Raw files beside prepared ones are prepared in memory when they are read, so both may stand in one data set.

    Raises:
        ImageError: images prepared in different ways in one data set, or shards without their prepared.json.
    """
    places = (split_locator(path) for path in dataset.frame["path"].dropna())
    folders = sorted({Path(place[0]).parent for place in places if place and place[0].endswith(".parquet")})
    found: dict[Preparation, Path] = {}
    for folder in folders:
        found.setdefault(_preparation(folder, _modified(folder)), folder)
    if len(found) > 1:
        ways = "; ".join(f"{folder}: {preparation}" for preparation, folder in found.items())
        raise ImageError(f"The images were prepared in different ways, so one model cannot take them all: {ways}.")
    return next(iter(found), None)


def image_spec(dataset: Dataset, size: int) -> ImageSpec:
    """The way from this data set's images, raw or prepared, to tensors; serving goes the same way from raw files.

    Args:
        dataset: records with images.
        size: side of the tensor in pixels.

    Raises:
        ImageError: size out of range, or images prepared in different ways.
    """
    return ImageSpec(size, preparation_of(dataset))


def check_spec(dataset: Dataset, spec: ImageSpec) -> None:
    """Refuse a spec that does not know how the images were prepared: a served file would look otherwise.

    Raises:
        ImageError: with the way to the right spec.
    """
    preparation = preparation_of(dataset)
    if preparation is not None and preparation != spec.prepared:
        raise ImageError(
            f"The images were prepared ({preparation}), but the image spec says {spec.prepared or 'raw files'}. "
            f"A new model takes image_spec(dataset, {spec.size}); a trained one, images prepared as its own were."
        )


def _modified(folder: Path) -> int:
    """A folder that was prepared anew is read anew."""
    try:
        return (folder / SUMMARY).stat().st_mtime_ns
    except OSError:
        return -1


@lru_cache(maxsize=64)
def _preparation(folder: Path, modified: int) -> Preparation:
    del modified
    return Prepared.read(folder).preparation
