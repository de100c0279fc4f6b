"""SHA256SUMS: every file of a bundle by its digest, checked before anything of it is used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..errors import BundleError

SUMS = "SHA256SUMS"
_LONGEST_TEXT = 16 * 1024 * 1024  # bytes; a bundle's JSON files are a few kilobytes


def write_sums(folder: Path) -> None:
    """List every file of a folder, as `sha256sum` does; `sha256sum -c SHA256SUMS` checks it."""
    names = sorted(file.name for file in folder.iterdir() if file.name != SUMS)
    lines = [f"{sha256(folder / name)}  {name}\n" for name in names]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def check_sums(folder: Path, needed: Collection[str]) -> dict[str, str]:
    """Check that a folder holds what its SHA256SUMS lists, and nothing else.

    Returns:
        Digest of each file, by name.

    Raises:
        BundleError: names the file that is missing, altered, added, a link, or out of the folder.
    """
    if not (folder / SUMS).is_file():
        raise BundleError(f"{folder} is not a bundle: it has no {SUMS}.")
    listed = {}
    for line in read_text(folder / SUMS).splitlines():
        digest, _, name = line.partition("  ")
        if not name or Path(name).name != name:
            raise BundleError(f"{folder / SUMS}: line {line!r} does not name a file of the bundle.")
        listed[name] = digest
    if not set(needed) <= set(listed):
        raise BundleError(f"{folder / SUMS} does not list {', '.join(sorted(set(needed) - set(listed)))}.")
    unlisted = {file.name for file in folder.iterdir()} - set(listed) - {SUMS}
    if unlisted:
        raise BundleError(f"{folder}: {', '.join(sorted(unlisted))} is not listed in {SUMS}.")
    for name, digest in listed.items():
        file = folder / name
        if file.is_symlink():
            raise BundleError(f"{folder}: file {name} is a symbolic link. Put the file itself there.")
        if not file.is_file():
            raise BundleError(f"{folder}: file {name} is missing.")
        if sha256(file) != digest:
            raise BundleError(f"{folder}: file {name} was altered (its SHA-256 is not the one in {SUMS}).")
    return listed


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        BundleError: the file cannot be read, is far too long, or holds something else.
    """
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise BundleError(f"{path}: expected a JSON object.")
    return content


def read_text(path: Path) -> str:
    """A short UTF-8 text.

    Raises:
        BundleError: the file cannot be read, or is far too long.
    """
    try:
        size = path.stat().st_size
        if size > _LONGEST_TEXT:
            raise BundleError(f"{path} has {size:,} bytes; at most {_LONGEST_TEXT:,} are read of a text.")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} cannot be read: {error}") from None


def sha256(path: Path) -> str:
    """Digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
