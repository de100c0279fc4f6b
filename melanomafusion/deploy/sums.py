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
    """List every file of a folder, and the lists of bundles in it; `sha256sum -c SHA256SUMS` checks them."""
    files = [file.name for file in folder.iterdir() if file.is_file() and file.name != SUMS]
    names = sorted([*files, *(file.relative_to(folder).as_posix() for file in folder.glob(f"*/*/{SUMS}"))])
    lines = [f"{sha256(folder / name)}  {name}\n" for name in names]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def check_sums(folder: Path, needed: Collection[str], *, folders: bool = False) -> dict[str, str]:
    """Check that a folder holds what its SHA256SUMS lists, and nothing else.

    Args:
        folder: bundle.
        needed: files that must be there.
        folders: whether bundles may lie in it as <member>/<fold>; each is listed by its own SHA256SUMS.

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
        if not (_is_plain(name) or (folders and _is_list_of_a_bundle(name))):
            raise BundleError(f"{folder / SUMS}: line {line!r} does not name a file of the bundle.")
        listed[name] = digest
    if not set(needed) <= set(listed):
        raise BundleError(f"{folder / SUMS} does not list {', '.join(sorted(set(needed) - set(listed)))}.")
    known = {place.as_posix() for name in listed for place in (Path(name), *Path(name).parents)} | {SUMS}
    there = [*folder.iterdir(), *(folder.glob("*/*") if folders else [])]
    unlisted = {file.relative_to(folder).as_posix() for file in there} - known
    if unlisted:
        raise BundleError(f"{folder}: {', '.join(sorted(unlisted))} is not listed in {SUMS}.")
    for name, digest in listed.items():
        file = folder / name
        if any(
            place.is_symlink() for place in (file, *file.parents) if place.is_relative_to(folder) and place != folder
        ):
            raise BundleError(f"{folder}: file {name} is a symbolic link. Put the file itself there.")
        if not file.is_file():
            raise BundleError(f"{folder}: file {name} is missing.")
        if sha256(file) != digest:
            raise BundleError(f"{folder}: file {name} was altered (its SHA-256 is not the one in {SUMS}).")
    return listed


def _is_plain(name: str) -> bool:
    return bool(name) and name != ".." and Path(name).name == name


def _is_list_of_a_bundle(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == 3 and parts[2] == SUMS and all(_is_plain(part) for part in parts)


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
