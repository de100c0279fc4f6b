"""`prepare`: every image of a data set shrunk once, into Parquet shards, on all cores; stopped and started at will.

The unit of work is one shard, a pure function of its records and the preparation (`shard.py`), so it does not matter
which process makes it, or when.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ..data.dataset import Dataset
from ..errors import ImageError
from ..execution.local import run_tasks
from ..execution.ray import RayExecutor
from ..execution.task import Task
from .preparation import Mode, Preparation
from .prepared import SUMMARY, Prepared, preparation_of
from .shard import check_columns, prepare_shard, write_shard
from .shard_notes import NOTES, claim_folder, fingerprints, shard_name, valid_notes, write_note, write_summary

OnEvent = Callable[[dict[str, Any]], None]
_RECORDS = "records.parquet"
_IMAGES_PER_EVENT = 8
_TRIES = 3  # of a shard whose node dies


def prepare(
    dataset: Dataset,
    out: str | Path,
    *,
    image_size: int = 512,
    mode: Mode = "resize",
    crop_border: bool = False,
    colour_constancy: bool = False,
    quality: int | None = 95,
    shard_size: int = 256,
    workers: int | None = None,
    executor: RayExecutor | None = None,
    restart: bool = False,
    on_event: OnEvent | None = None,
) -> Prepared:
    """Shrink the images of a data set into Parquet shards that training reads.

    Killed at any moment and started again, it finishes with the same bytes. Started again on a finished folder it does
    nothing, unless records or source files (size, time) changed: then it makes those shards anew.

    Args:
        dataset: records with images.
        out: folder for the shards and prepared.json.
        image_size: side in pixels.
        mode: "resize" (squeezed to a square), "centre-crop" (largest centred square) or "longest-side".
        crop_border: cut off black borders.
        colour_constancy: take the colour of the light out (shades of grey).
        quality: of the JPEG files, 1 … 100; None for lossless PNG.
        shard_size: records per shard.
        workers: processes; one per core without it. They load no TensorFlow and hold one shard each.
        executor: a Ray cluster instead of processes here, a task per shard; its nodes see the images and `out` under
            the same paths.
        restart: throw away what another preparation, or one of other records, left in the folder.
        on_event: called with {"kind": "prepare", "done", "total"}, images.

    Returns:
        What was written, and which images were refused and why: they are in no shard.

    Raises:
        ImageError: records without images, images that are prepared already, or a value out of range.
        OutputError: the folder holds something else, or cannot be written.
    """
    preparation = Preparation(image_size, mode, crop_border, colour_constancy, quality)
    for name, value in (("shard_size", shard_size), ("workers", workers)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ImageError(f"{name} must be a whole number of at least 1. Received: {name}={value!r}")
    frame = dataset.frame
    without = frame.loc[frame["path"].isna(), "image_name"]
    if len(without) or not len(frame):
        first = f", e.g. {without.iloc[0]}" if len(without) else ""
        raise ImageError(f"{len(without):,} of {len(frame):,} records have no image{first}. Load them with images.")
    check_columns(list(frame.columns))
    if preparation_of(dataset) is not None:
        raise ImageError(
            "These images are prepared already. Prepare the raw files, or load_prepared() and train on it."
        )
    folder = claim_folder(Path(out), preparation, frame, shard_size, restart)
    wanted = fingerprints(frame, preparation, shard_size)
    notes = valid_notes(folder, wanted)
    if len(notes) == len(wanted) and (folder / SUMMARY).is_file():
        shutil.rmtree(folder / NOTES, ignore_errors=True)
        return Prepared.read(folder)
    for number, note in notes.items():  # of a finished folder that is to be changed in part
        write_note(folder, number, note)
    (folder / SUMMARY).unlink(missing_ok=True)
    todo = [number for number in range(len(wanted)) if number not in notes]
    dataset.write_parquet(folder / NOTES / _RECORDS)
    parts = [[number] for number in todo]
    if executor is None:  # a process for each core, not for each shard
        count = workers or os.cpu_count() or 1
        parts = [todo[worker::count] for worker in range(min(count, len(todo)))]
    _run(folder, preparation, shard_size, wanted, parts, len(frame), executor, on_event)
    return write_summary(folder, preparation, shard_size, len(wanted))


def write_shards(
    *, on_event: OnEvent, folder: str, preparation: dict[str, Any], shard_size: int, shards: list[list[Any]]
) -> None:
    """The part of one process: some shards, one after another.

    Args:
        on_event: called with {"images": number since the last call}.
        folder: of `prepare`.
        preparation: of `Preparation.to_dict`.
        shard_size: records per shard.
        shards: number and fingerprint of each.
    """
    made = Preparation.from_dict(preparation)
    records = pq.read_table(Path(folder) / NOTES / _RECORDS)
    waiting = 0

    def count() -> None:
        nonlocal waiting
        waiting += 1
        if waiting == _IMAGES_PER_EVENT:
            on_event({"kind": "images", "images": waiting})
            waiting = 0

    for number, fingerprint in shards:
        table, refused = prepare_shard(records.slice(number * shard_size, shard_size), made, count)
        path = Path(folder) / f"{shard_name(number)}.parquet"
        digest = write_shard(table, path)
        note = {"name": path.name, "records": len(table), "bytes": path.stat().st_size, "sha256": digest}
        note |= {"fingerprint": fingerprint, "refused": [{"shard": path.name, **entry} for entry in refused]}
        write_note(Path(folder), number, note)
    on_event({"kind": "images", "images": waiting})


def _run(
    folder: Path,
    preparation: Preparation,
    shard_size: int,
    wanted: list[str],
    parts: list[list[int]],
    total: int,
    executor: RayExecutor | None,
    on_event: OnEvent | None,
) -> None:
    done = total - sum(min(shard_size, total - number * shard_size) for part in parts for number in part)

    def count(event: dict[str, Any]) -> None:
        nonlocal done
        done += event["images"]
        if on_event:
            on_event({"kind": "prepare", "done": min(done, total), "total": total})

    tasks = [
        Task(
            "preparing images",
            "melanomafusion.images.prepare:write_shards",
            {
                "folder": str(folder),
                "preparation": preparation.to_dict(),
                "shard_size": shard_size,
                "shards": [[number, wanted[number]] for number in part],
            },
            folder / NOTES / f"worker-{worker}.log",
        )
        for worker, part in enumerate(parts)
    ]
    if executor is None:
        run_tasks(tasks, count)
    else:
        executor.run(tasks, count, tries=_TRIES)
