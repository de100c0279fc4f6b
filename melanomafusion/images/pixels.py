"""Every image of a run decoded once: checked before the first epoch, kept on disk for all folds and epochs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..atomic import atomic_file, write_json
from ..data.dataset import Dataset
from ..errors import ImageError
from .prepared import check_spec
from .spec import ImageSpec

_SHOWN = 20


@dataclass(frozen=True)
class Pixels:
    """Decoded images of a data set, by image name.

    Attributes:
        spec: how they were decoded.
        rows: image name → row of `array`, or its path where nothing is kept on disk.
        array: (n, size, size, 3) uint8, memory-mapped, shared by all processes; None where the disk is too small.
    """

    spec: ImageSpec
    rows: dict[str, int | str]
    array: np.ndarray | None

    def load(self, name: str) -> np.ndarray:
        """(size, size, 3) uint8 of one image."""
        if self.array is None:
            return self.spec.load(str(self.rows[name]))
        return np.asarray(self.array[self.rows[name]])


def decode_images(
    dataset: Dataset,
    spec: ImageSpec,
    out: str | Path,
    *,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, str]:
    """Decode every image of a data set into `out/pixels.npy`, and find those that cannot be read.

    Where the decoded images would take more than half of the free disk, they are decoded for the check alone, and
    training decodes them again in each epoch.

    Args:
        dataset: records with paths.
        spec: size.
        out: folder, made if need be.
        workers: threads; all cores without it (Pillow decodes outside Python's lock).
        on_progress: called with (done, total).

    Returns:
        Image name → reason, for each image that cannot be used. Empty when all is well.

    Raises:
        ImageError: records have no path.
        OutputError: the file cannot be written.
    """
    out = Path(out)
    check_spec(dataset, spec)
    paths = _paths(dataset)
    count = len(paths)
    out.mkdir(parents=True, exist_ok=True)
    shape = (count, spec.size, spec.size, 3)
    keep = int(np.prod(shape, dtype="int64")) < shutil.disk_usage(out).free // 2
    bad: dict[str, str] = {}
    target = out / "pixels.npy"
    with atomic_file(target) as part:
        array = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape if keep else (0, *shape[1:]))
        if keep and hasattr(os, "posix_fallocate"):
            # Reserve the space: a disk that fills up under a memory map would kill the process without a word.
            with part.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
        work = partial(_decode_row, paths=paths, spec=spec, array=array if keep else None)
        with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
            for row, reason in enumerate(pool.map(work, range(count))):
                if reason is not None:
                    bad[str(dataset.image_names[row])] = reason
                if on_progress and ((row + 1) % 50 == 0 or row + 1 == count):
                    on_progress(row + 1, count)
        array.flush()
    write_json(out / "image_names.json", [str(name) for name in dataset.image_names])
    return bad


def _decode_row(row: int, *, paths: Sequence[str], spec: ImageSpec, array: np.ndarray | None) -> str | None:
    """Decode one image into its row; the reason where that fails."""
    try:
        pixels = spec.load(paths[row])
    except ImageError as error:
        return str(error)
    if array is not None:
        array[row] = pixels
    return None


def open_pixels(dataset: Dataset, spec: ImageSpec, folder: str | Path) -> Pixels:
    """Open what `decode_images` wrote; the records may be some of those, in any order.

    Raises:
        ImageError: the folder holds other records or another size, or is not there.
    """
    try:
        array = np.load(Path(folder) / "pixels.npy", mmap_mode="r")
        names = json.loads((Path(folder) / "image_names.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ImageError(f"{folder}: no decoded images ({error}). Call decode_images first.") from None
    wanted = {str(name) for name in dataset.image_names}
    if array.shape[1:] != (spec.size, spec.size, 3) or not wanted <= set(names) or len(array) not in (0, len(names)):
        raise ImageError(f"{folder}: decoded for other records or another size ({array.shape}). Delete the folder.")
    if not len(array):
        return undecoded_pixels(dataset, spec)
    # A plain view of the memory map: its own indexing is ten times slower.
    rows: dict[str, int | str] = {name: row for row, name in enumerate(names) if name in wanted}
    return Pixels(spec, rows, array.view(np.ndarray))


def undecoded_pixels(dataset: Dataset, spec: ImageSpec) -> Pixels:
    """Pixels that are decoded whenever they are asked for; nothing is checked beforehand."""
    check_spec(dataset, spec)
    names = [str(name) for name in dataset.image_names]
    return Pixels(spec, dict(zip(names, _paths(dataset), strict=True)), None)


def bad_images_message(
    bad: dict[str, str], total: int, *, leave_out: str = 'leave them out with on_bad_image="skip"'
) -> str:
    """All unreadable images of a run in one message; `leave_out` says how to go on without them."""
    shown = [f"  {name}: {reason}" for name, reason in list(bad.items())[:_SHOWN]]
    more = [f"  … and {len(bad) - _SHOWN:,} more"] if len(bad) > _SHOWN else []
    head = f"{len(bad):,} of {total:,} images cannot be used:"
    return "\n".join([head, *shown, *more, f"Mend them, or {leave_out}."])


def _paths(dataset: Dataset) -> Sequence[str]:
    frame = dataset.frame
    without = frame.loc[frame["path"].isna(), "image_name"]
    if len(without):
        raise ImageError(
            f"{len(without):,} of {len(frame):,} records have no image, e.g. {without.iloc[0]}. "
            "Load the data set with its images (with_images=True, image_folder=)."
        )
    return list(frame["path"])
