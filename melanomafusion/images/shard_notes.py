"""What is done in a folder of prepared images, and whether it still holds: the notes that a start after a stop reads.

`preparation.json` claims the folder for one preparation of certain records. Each finished shard has a note in
`.unfinished/`; when all are done the notes become `prepared.json`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import PIL
import pyarrow as pa

from ..atomic import make_folder, write_json
from ..data.containers import split_locator
from ..errors import OutputError
from .preparation import Preparation
from .prepared import SUMMARY, Prepared

NOTES = ".unfinished"


def claim_folder(folder: Path, preparation: Preparation, frame: pd.DataFrame, shard_size: int, restart: bool) -> Path:
    """Make the folder ours, or say what else is in it; leftovers of a killed process go."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file. Name a folder for the shards.")
    claim = {
        "preparation": preparation.to_dict(),
        "shard_size": shard_size,
        "records": hashlib.sha256("\n".join(map(str, frame["image_name"])).encode()).hexdigest(),
    }
    stamp = folder / "preparation.json"
    known = _read_json(stamp)
    if known is not None and (set(known) != set(claim) or not isinstance(known["preparation"], dict)):
        known = None
    if known is None and folder.is_dir() and any(not _is_ours(path) for path in folder.iterdir()):
        raise OutputError(f"{folder} is not empty and holds no prepared images. Name a new folder.")
    if known is not None and known != claim and not restart:
        raise OutputError(
            f"{folder} holds images prepared otherwise ({_difference(known, claim)}). Name another folder, or restart."
        )
    if known is not None and (restart or known != claim):
        _clear(folder)
    make_folder(folder / NOTES)
    write_json(stamp, claim)
    for pattern in (".*.part", f"{NOTES}/.*.part"):
        for leftover in folder.glob(pattern):
            leftover.unlink(missing_ok=True)
    return folder


def _difference(known: dict[str, Any], claim: dict[str, Any]) -> str:
    old, new = ({**content.get("preparation", {}), **content} for content in (known, claim))
    changed = [f"{key} {old.get(key)} → {new[key]}" for key in new if old.get(key) != new[key]]
    words = [line for line in changed if not line.startswith(("preparation", "records"))]
    return "; ".join(words + ["other records"] * (old.get("records") != new["records"]))


def _clear(folder: Path) -> None:
    (folder / SUMMARY).unlink(missing_ok=True)
    for path in folder.glob("shard-*.parquet"):
        path.unlink()
    shutil.rmtree(folder / NOTES, ignore_errors=True)


def fingerprints(frame: pd.DataFrame, preparation: Preparation, shard_size: int) -> list[str]:
    """What each shard is made of: its records, the size and time of each source file, the preparation."""
    sources = [_stamp(path) for path in frame["path"]]
    metadata = frame.drop(columns="path")
    result = []
    for number in range(math.ceil(len(frame) / shard_size)):
        rows = slice(number * shard_size, (number + 1) * shard_size)
        content = [preparation.to_dict(), sources[rows], metadata.iloc[rows].to_csv(index=False)]
        result.append(hashlib.sha256(json.dumps(content).encode()).hexdigest())
    return result


def _stamp(path: str) -> list[Any]:
    """Path, size and time of a source; a file that cannot be looked at is refused by the shard, by name."""
    inside = split_locator(path)
    try:
        status = os.stat(inside[0] if inside else path)
    except OSError:
        return [path, -1, -1]
    return [path, status.st_size, status.st_mtime_ns]


def valid_notes(folder: Path, wanted: list[str]) -> dict[int, dict[str, Any]]:
    """The notes of shards that are done, unchanged, and made of what is wanted now."""
    finished = _notes_of_summary(folder)
    notes = {}
    for number, fingerprint in enumerate(wanted):
        path = folder / f"{shard_name(number)}.parquet"
        note = _read_json(folder / NOTES / f"{shard_name(number)}.json") or finished.get(path.name)
        if (
            note is not None
            and note.get("fingerprint") == fingerprint
            and path.is_file()
            and path.stat().st_size == note.get("bytes")
        ):
            notes[number] = note
    return notes


def _notes_of_summary(folder: Path) -> dict[str, dict[str, Any]]:
    """Shard name → its note, from prepared.json; nothing where that is not there or damaged."""
    summary = _read_json(folder / SUMMARY) or {}
    try:
        refused: dict[str, list[Any]] = {shard["name"]: [] for shard in summary.get("shards", [])}
        for entry in summary["refused"] if summary else []:
            refused[entry["shard"]].append(entry)
        return {shard["name"]: {**shard, "refused": refused[shard["name"]]} for shard in summary.get("shards", [])}
    except (KeyError, TypeError, AttributeError):
        return {}


def _is_ours(path: Path) -> bool:
    """What a process leaves that was killed before it could claim the folder."""
    return path.name == NOTES or (path.name.startswith(".preparation.json.") and path.suffix == ".part")


def write_note(folder: Path, number: int, note: dict[str, Any]) -> None:
    """Put down that a shard is done."""
    write_json(folder / NOTES / f"{shard_name(number)}.json", note)


def write_summary(folder: Path, preparation: Preparation, shard_size: int, count: int) -> Prepared:
    """Turn the notes of all `count` shards into prepared.json."""
    shards, refused = [], []
    for number in range(count):
        note = _read_json(folder / NOTES / f"{shard_name(number)}.json")
        assert note is not None
        refused += note.pop("refused")
        shards.append(note)
    write_json(
        folder / SUMMARY,
        {
            "format": 1,
            "preparation": preparation.to_dict(),
            "versions": {"pillow": PIL.__version__, "pyarrow": pa.__version__},
            "records": sum(note["records"] for note in shards),
            "refused": refused,
            "shard_size": shard_size,
            "shards": shards,
        },
    )
    shutil.rmtree(folder / NOTES)
    return Prepared.read(folder)


def _read_json(path: Path) -> dict[str, Any] | None:
    """What a note says; None where it is not there or no note of ours."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def shard_name(number: int) -> str:
    """Name of a shard, without its suffix."""
    return f"shard-{number:05d}"
