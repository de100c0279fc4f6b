"""States of a fold's training on disk: each whole or not there, the last two kept, the newest one that is sound used.

A state is a folder `checkpoint-00000012` of arrays.npz (NumPy arrays), facts.json (numbers and names) and SHA256SUMS.
It takes its name when every byte of it is on the disk, so there is no pointer that could be stale: the highest number
counts, and where that one was altered, the one before it.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import atomic_folder, delete_parts
from ..deploy.sums import SUMS, check_sums, write_sums
from ..errors import BundleError

_KEPT = 2
_FILES = ("arrays.npz", "facts.json")


@dataclass(frozen=True)
class State:
    """Where a training stands.

    Attributes:
        arrays: by name.
        facts: JSON values, infinities and NaN among them.
    """

    arrays: dict[str, np.ndarray]
    facts: dict[str, Any]


class Checkpoints:
    """The states in one folder.

    Args:
        folder: made when the first state is written.
        on_damaged: called with a sentence about each state that cannot be used.
    """

    def __init__(self, folder: str | Path, on_damaged: Callable[[str], None] | None = None) -> None:
        self.folder, self._on_damaged = Path(folder), on_damaged or (lambda text: None)

    def write(self, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
        """Put a state down behind the others; the oldest ones go when it is there.

        Raises:
            OutputError: disk full, folder read-only; the states before stay as they are.
        """
        there = self._numbers()
        path = self._path(max(there, default=0) + 1)
        with atomic_folder(path) as part:
            with (part / "arrays.npz").open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
            (part / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
            write_sums(part)
            for name in (*_FILES, SUMS):
                _to_disk(part / name)
            _to_disk(part)
        _to_disk(self.folder)
        for number in there[: -(_KEPT - 1)]:
            shutil.rmtree(self._path(number), ignore_errors=True)

    def newest(self) -> State | None:
        """The last sound state; None where there is none. Damaged ones are told of, and left where they are.

        What an earlier process had begun to write is deleted: only one may train a fold at a time.
        """
        delete_parts(self.folder)
        for number in reversed(self._numbers()):
            path = self._path(number)
            try:
                check_sums(path, _FILES)
                with np.load(path / "arrays.npz", allow_pickle=False) as arrays:
                    return State(
                        {name: arrays[name] for name in arrays}, json.loads((path / "facts.json").read_bytes())
                    )
            except (BundleError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
                self._on_damaged(f"{path} is damaged and not used: {error}")
        return None

    def facts(self) -> dict[str, Any] | None:
        """The facts of the newest state, read without its arrays and unchecked; None where there is none."""
        for number in reversed(self._numbers()):
            try:
                facts: dict[str, Any] = json.loads((self._path(number) / "facts.json").read_bytes())
                return facts
            except (OSError, ValueError):
                continue
        return None

    def clear(self) -> None:
        """Delete every state."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"checkpoint-{number:08d}"

    def _numbers(self) -> list[int]:
        names = [path.name.removeprefix("checkpoint-") for path in self.folder.glob("checkpoint-*")]
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def _to_disk(path: Path) -> None:
    """Have the system write a file or folder out, so that a machine that loses power has it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
