"""The official ways to download a published data set: commands from its manifest, printed or run, never our own client.

Nothing is downloaded unless the licence was accepted in so many words.
"""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..atomic import make_folder
from ..errors import MelanomaFusionError
from .manifest import list_manifests, read_manifest

_PYTHON = "{python}"


@dataclass(frozen=True)
class Way:
    """One way to a data set.

    Attributes:
        name: what it is, in words.
        needs: programs; after "{python}", packages of this Python.
        install: how to get them.
        load: the source that the result is loaded as.
        commands: one after another.
    """

    name: str
    needs: tuple[str, ...]
    install: str
    load: str
    commands: tuple[tuple[str, ...], ...]

    @property
    def missing(self) -> list[str]:
        """Programs and packages that are not there."""
        if _PYTHON in self.needs:
            packages = [name for name in self.needs if name != _PYTHON]
            return [name for name in packages if importlib.util.find_spec(name) is None]
        return [name for name in self.needs if shutil.which(name) is None]

    def lines(self) -> list[str]:
        """The commands as one would type them."""
        return [shlex.join(command) for command in self.commands]


@dataclass(frozen=True)
class Download:
    """A data set with its licence and the ways to it, the best first."""

    name: str
    title: str
    licence: str
    source: str
    citation: str
    size: str
    note: str
    ways: tuple[Way, ...]


def read_download(name: str, out: str | Path) -> Download:
    """What the manifest of a data set says about downloading it into a folder.

    Raises:
        MelanomaFusionError: no such data set.
    """
    manifest = read_manifest(name)
    fetch = manifest["fetch"]
    return Download(
        name=name,
        title=manifest["title"],
        licence=manifest["licence"],
        source=manifest["source"],
        citation=manifest["citation"],
        size=fetch.get("size", ""),
        note=fetch.get("note", ""),
        ways=tuple(
            Way(
                name=way["name"],
                needs=tuple(way["needs"]),
                install=way["install"],
                load=way["load"],
                commands=tuple(tuple(_fill(word, str(out)) for word in command) for command in way["commands"]),
            )
            for way in fetch["ways"]
        ),
    )


def list_downloads() -> list[str]:
    """Names of the data sets that can be fetched."""
    return [name for name in list_manifests() if "fetch" in read_manifest(name)]


def fetch(
    name: str, out: str | Path, *, accept_licence: bool = False, on_command: Callable[[str], None] | None = None
) -> Way:
    """Download a data set the first way whose programs are there.

    Args:
        name: from `list_downloads()`.
        out: folder.
        accept_licence: the licence was read and accepted.
        on_command: called with each command before it runs.

    Returns:
        The way that was gone.

    Raises:
        MelanomaFusionError: the licence was not accepted, no program is there, or a command failed.
    """
    download = read_download(name, out)
    if not accept_licence:
        raise MelanomaFusionError(
            f"{download.title} is under {download.licence}. Nothing was downloaded: say that you accept the licence "
            "with --accept-licence (accept_licence=True)."
        )
    way = next((way for way in download.ways if not way.missing), None)
    if way is None:
        ways = "\n".join(f"  {way.name}: {', '.join(way.missing)} is missing; {way.install}" for way in download.ways)
        raise MelanomaFusionError(f"No program to download {name} with was found. Install one of:\n{ways}")
    make_folder(out)
    for number, command in enumerate(way.commands, start=1):
        if on_command:
            on_command(shlex.join(command))
        try:
            code = subprocess.run(command, check=False).returncode
        except OSError as error:
            raise MelanomaFusionError(f"{command[0]} cannot be started: {error.strerror or error}.") from None
        if code:
            raise MelanomaFusionError(
                f"Command {number} of {len(way.commands)} failed with exit code {code}: {shlex.join(command)}\n"
                f"See its message above. What is in {out} so far is not whole; the same command begins anew."
            )
    return way


def _fill(word: str, out: str) -> str:
    return word.replace(_PYTHON, sys.executable).replace("{out}", out)
