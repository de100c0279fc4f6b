"""Write a file or a folder whole or not at all: a temporary name, then `os.replace`."""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import OutputError


def _temporary_name(path: Path) -> Path:
    path = path if path.name else path.absolute()  # "." has no name of its own
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")


def make_folder(path: str | Path) -> Path:
    """Create a folder (with parents) that results can be written to, or say why not.

    Raises:
        OutputError: the folder cannot be created or written to.
    """
    path = Path(path)
    probe = _temporary_name(path / "probe")
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise OutputError(_explain(path, error)) from error
    return path


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the final name.

    Raises:
        OutputError: the file cannot be written (read-only, disk full, a folder in the way).
    """
    path = Path(path)
    part = _temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        raise OutputError(_explain(path, error)) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it replaces `path`.

    Raises:
        OutputError: the folder cannot be written.
    """
    path = Path(path)
    part = _temporary_name(path)
    old = _temporary_name(path)
    try:
        part.mkdir(parents=True)
        yield part
        if path.exists() and not path.is_dir():
            raise FileExistsError(errno.EEXIST, "a file is in the way")
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(part, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise
    except OSError as error:
        raise OutputError(_explain(path, error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def delete_parts(folder: str | Path) -> None:
    """Delete what a process that was killed had begun to write in a folder; nobody else may be writing there."""
    for part in Path(folder).glob(".*.part"):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text with `\\n` line ends, whole or not at all."""
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON, indented, keys in the order given; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def _explain(path: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"Cannot write {path}: {reason}. Choose a folder you may write to, with free space."
