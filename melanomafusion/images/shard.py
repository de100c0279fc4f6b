"""One shard of prepared images: a pure function of (records, preparation), written as Parquet.

A row is a record: its metadata and `image: struct<bytes, path>`, as Hugging Face `datasets` lays images out. The image
column is neither compressed nor dictionary-encoded (a JPEG file does not shrink), so `data/containers.py` can read one
image with one read. The same records and preparation give the same bytes, whatever ran before or beside.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..atomic import atomic_file
from ..data.containers import read_image_bytes
from ..errors import ImageError
from .decode import opened_image
from .preparation import Preparation

# What is known of the original file; a table's own column of that name stays.
FILE_COLUMNS = ("width", "height", "file_bytes", "source_sha256")
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_ROWS_AT_ONCE = 64  # a row group; whoever scans a shard holds this many images
_FILE_TYPES = {name: pa.string() if name == "source_sha256" else pa.int64() for name in FILE_COLUMNS}


def prepare_shard(
    records: pa.Table, preparation: Preparation, on_image: Callable[[], None] | None = None
) -> tuple[pa.Table, list[dict[str, str]]]:
    """Prepare the images of some records.

    Args:
        records: with image_name and path (a file, or `container#row`).
        preparation: what is done to each image.
        on_image: called after each image.

    Returns:
        The shard: rows of the images that could be read, `path` replaced by `image` and the columns of `FILE_COLUMNS`;
        and image_name, path and reason of those that could not.

    Raises:
        ImageError: the records have a column of the shard's own.
    """
    check_columns(records.column_names)
    rows: list[dict[str, Any]] = []
    refused: list[dict[str, str]] = []
    kept = []
    for name, path in zip(records["image_name"].to_pylist(), records["path"].to_pylist(), strict=True):
        try:
            rows.append(_prepare_image(str(name), str(path), preparation))
            kept.append(True)
        except ImageError as error:
            refused.append({"image_name": str(name), "path": str(path), "reason": str(error)})
            kept.append(False)
        if on_image:
            on_image()
    shard = records.drop_columns(["path"]).filter(pa.array(kept, pa.bool_()))
    for column, kind in _FILE_TYPES.items():
        if column not in shard.column_names:
            shard = shard.append_column(column, pa.array([row[column] for row in rows], kind))
    shard = shard.append_column("image", pa.array([row["image"] for row in rows], _IMAGE))
    return shard, refused


def check_columns(columns: Sequence[str]) -> None:
    """Refuse a table with a column named image, which is the shard's own.

    Raises:
        ImageError: it has one.
    """
    if "image" in columns:
        raise ImageError("The table has a column named image, which the shards need for the pictures. Rename it.")


def _prepare_image(name: str, path: str, preparation: Preparation) -> dict[str, Any]:
    content = read_image_bytes(path)
    try:
        with opened_image(content) as opened:
            width, height = opened.size
        encoded = preparation.encode(content)
    except ImageError as error:
        raise ImageError(f"{path}{str(error).removeprefix('image')}") from None
    return {
        "width": width,
        "height": height,
        "file_bytes": len(content),
        "source_sha256": hashlib.sha256(content).hexdigest(),
        "image": {"bytes": encoded, "path": name.replace("/", "_") + preparation.suffix},
    }


def write_shard(shard: pa.Table, path: Path) -> str:
    """Write a shard, whole or not at all, and on the disk before it takes its name.

    Returns:
        SHA-256 of the file.

    Raises:
        OutputError: it cannot be written.
    """
    with atomic_file(path) as part:
        columns = [name for name in shard.column_names if name != "image"]
        pq.write_table(
            shard,
            part,
            compression="none",
            use_dictionary=columns,
            write_statistics=columns,
            row_group_size=_ROWS_AT_ONCE,
        )
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
    return digest
