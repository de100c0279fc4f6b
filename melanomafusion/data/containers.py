"""Images that lie in files of their own, in prepared shards or in TFRecords: one way to their bytes.

The `path` of a record is the path of a file, or `container#row` for a row (from 0) of a Parquet shard or a TFRecord. A
container is scanned once per process for where its images begin; after that an image is one read, so memory does not
grow with the data and the order of reading does not matter.
"""

from __future__ import annotations

import mmap
import os
import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..errors import ImageError

_LOCATOR = re.compile(r"^(?P<container>.+\.(?:parquet|tfrec|tfrecord))#(?P<row>\d+)$")


def locator(container: str | Path, row: int) -> str:
    """The `path` of a record inside a container."""
    return f"{container}#{row}"


def split_locator(path: str | Path) -> tuple[str, int] | None:
    """(container, row) of a record inside a container; None for a file of its own."""
    match = _LOCATOR.match(str(path))
    return (match["container"], int(match["row"])) if match else None


def read_image_bytes(path: str | Path) -> bytes:
    """The encoded bytes of one image, as they lie in its file, shard or TFRecord.

    Raises:
        ImageError: no such file or row, or a container that is not what its name says.
    """
    inside = split_locator(path)
    try:
        if inside is None:
            return Path(path).read_bytes()
        container, row = inside
        offsets = _offsets(container, *_stamp(container))
        if row >= len(offsets):
            raise ImageError(f"{container} holds {len(offsets):,} images; there is no row {row}.")
        start, length = offsets[row].tolist()
        file = os.open(container, os.O_RDONLY)
        try:
            return os.pread(file, length, start)
        finally:
            os.close(file)
    except FileNotFoundError:
        raise ImageError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except ValueError as error:  # a path that no file can have
        raise ImageError(f"{path!r}: cannot be read ({error}).") from None


def stored_bytes(path: str | Path) -> int:
    """Size in bytes of the encoded image, without reading it.

    Raises:
        ImageError: as for `read_image_bytes`.
    """
    inside = split_locator(path)
    try:
        if inside is None:
            return Path(path).stat().st_size
        container, row = inside
        return int(_offsets(container, *_stamp(container))[row, 1])
    except (OSError, IndexError) as error:
        raise ImageError(f"{path}: cannot be read ({error}).") from None


def _stamp(container: str) -> tuple[int, int]:
    """A container that was written anew is scanned anew."""
    status = os.stat(container)
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=4096)
def _offsets(container: str, size: int, modified: int) -> np.ndarray:
    """(n, 2) int64: where each image of a container begins, and its length."""
    del size, modified
    if container.endswith(".parquet"):
        return _parquet_offsets(container)
    from .tfrecord import image_offsets

    return np.asarray(image_offsets(container))


def _parquet_offsets(container: str) -> np.ndarray:
    """Our shards hold the image column uncompressed and plain, so its bytes stand in the file as they are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: list[tuple[int, int]] = []
    position = 0
    try:
        file = pq.ParquetFile(container)
        with open(container, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for group in range(file.num_row_groups):  # one at a time: memory stays at one group
                images = file.read_row_group(group, columns=["image.bytes"])["image"].combine_chunks().field("bytes")
                for image in images:
                    value = image.as_buffer()
                    if value is None:
                        raise ImageError(f"{container}: row {len(found)} holds no image.")
                    position = content.find(value, position)
                    if position < 0:
                        row = len(found)
                        raise ImageError(f"{container}: image {row} is compressed; write the shard with prepare().")
                    found.append((position, len(value)))
                    position += len(value)
    except (pa.ArrowException, KeyError) as error:
        raise ImageError(f"{container}: not a shard of prepared images ({error}).") from None
    return np.array(found, dtype="int64").reshape(-1, 2)
