"""Download a weights file once: to a cache folder, resumed where it was cut off, used only when its hash is right."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ..atomic import make_folder
from ..errors import OutputError, WeightsError
from ..progress import progress_bar

_TIMEOUT = 30  # seconds without a byte
_BLOCK = 1 << 18
_Show = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class WeightsFile:
    """A file that can be downloaded.

    Attributes:
        url: http or https.
        name: of the file in the cache folder.
        digest: its MD5 (32 hexadecimal digits) or SHA-256 (64).
    """

    url: str
    name: str
    digest: str

    def __post_init__(self) -> None:
        problems = []
        if not self.url.startswith(("https://", "http://")):
            problems.append(f"url={self.url!r}: expected http or https")
        if not self.name or Path(self.name).name != self.name:
            problems.append(f"name={self.name!r}: expected the name of a file, without a folder")
        if len(self.digest) not in {32, 64} or set(self.digest.lower()) - set("0123456789abcdef"):
            problems.append(f"digest={self.digest!r}: expected an MD5 or SHA-256 in hexadecimal digits")
        if problems:
            raise WeightsError(f"Not a file that can be downloaded: {'; '.join(problems)}.")

    @property
    def algorithm(self) -> str:
        """Name of the hash, told from its length."""
        return "md5" if len(self.digest) == 32 else "sha256"


def cache_folder(folder: str | Path | None = None) -> Path:
    """Where downloads are kept: `folder`, else $MELANOMAFUSION_CACHE, else ~/.cache/melanomafusion."""
    if folder is not None:
        return Path(folder)
    return Path(os.environ.get("MELANOMAFUSION_CACHE") or Path.home() / ".cache" / "melanomafusion").expanduser()


def download(file: WeightsFile, folder: str | Path | None = None) -> Path:
    """The file in the cache, downloaded if it is not there yet.

    A download that was cut off goes on from there, if the server can do that. A second process that wants the
    same file waits for the first. A copy in the cache that is not whole is downloaded again.

    Args:
        file: what to download.
        folder: of the cache; see `cache_folder`.

    Returns:
        Path of a file with the right hash.

    Raises:
        WeightsError: it cannot be downloaded, or what came has another hash (and was removed).
        OutputError: the cache folder cannot be written to.
    """
    path = cache_folder(folder) / file.name
    if _is_whole(path, file):
        return path
    make_folder(path.parent)
    part = path.with_name(f".{file.name}.part")
    with _lock(path.with_name(f".{file.name}.lock")):
        if not _is_whole(path, file):  # nobody else fetched it while we waited
            try:
                _fetch(file, part, path)
                _check(file, part)
                os.replace(part, path)
            except OSError as error:
                raise OutputError(f"Cannot write {path}: {error.strerror or error}. {_HINT}") from None
    return path


_HINT = "Name another cache folder with the environment variable MELANOMAFUSION_CACHE."


def _fetch(file: WeightsFile, part: Path, path: Path) -> None:
    """Bring the part file to its full length."""
    start = part.stat().st_size if part.exists() else 0
    try:
        response = _open(file, start)
        if response is None:  # the part is as long as the file or longer
            if _is_whole(part, file):
                return
            start, response = 0, _open(file, 0)
        assert response is not None
    except urllib.error.HTTPError as error:
        error.close()
        raise WeightsError(
            f"{file.url} could not be downloaded: HTTP {error.code} {error.reason}. {_by_hand(path)}"
        ) from None
    except (OSError, ValueError, http.client.HTTPException) as error:  # no network, no such host, no answer
        reason = getattr(error, "reason", None) or error
        raise WeightsError(f"{file.url} could not be downloaded: {reason}. {_by_hand(path)}") from None
    with response:
        # 200 instead of 206: the server ignored the Range and sends the file from its first byte.
        start = start if response.status == 206 else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdigit() else None
        with (
            part.open("ab" if start else "wb") as out,
            progress_bar(Console(stderr=True), file.name, unit="MB") as show,
        ):
            done = start
            for block in _blocks(response, file, part):
                out.write(block)
                done += len(block)
                show({"done": done // 1_000_000, "total": None if total is None else total // 1_000_000})
    if total is not None and done < total:
        raise WeightsError(_cut(file, part, f"after {done:,} of {total:,} bytes"))


def _open(file: WeightsFile, start: int) -> http.client.HTTPResponse | None:
    """The server's answer from a byte on; None where the file has no such byte."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(
            urllib.request.Request(file.url, headers=headers), timeout=_TIMEOUT
        )
    except urllib.error.HTTPError as error:
        if start and error.code == 416:
            error.close()
            return None
        raise
    if response.status == 206 and not (response.headers.get("Content-Range") or "").startswith(f"bytes {start}-"):
        response.close()
        return _open(file, 0)
    return response


def _blocks(response: http.client.HTTPResponse, file: WeightsFile, part: Path) -> Iterator[bytes]:
    while True:
        try:
            block = response.read(_BLOCK)
        except (OSError, http.client.HTTPException) as error:
            raise WeightsError(_cut(file, part, f"({error!r})")) from None
        if not block:
            return
        yield block


def _cut(file: WeightsFile, part: Path, where: str) -> str:
    return (
        f"{file.url}: the connection was cut off {where}. What came is kept in {part}; try again, and the download "
        "goes on from there."
    )


def _by_hand(path: Path) -> str:
    return f"With a network, try again; without one, put the file there by hand: {path}"


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, algorithm).hexdigest()


def _is_whole(path: Path, file: WeightsFile) -> bool:
    try:
        return path.is_file() and _digest(path, file.algorithm) == file.digest.lower()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}.") from None


def _check(file: WeightsFile, part: Path) -> None:
    found = _digest(part, file.algorithm)
    if found != file.digest.lower():
        part.unlink()
        raise WeightsError(
            f"What {file.url} sent is not the expected file: its {file.algorithm} is {found}, expected "
            f"{file.digest.lower()}. It was removed. Try again, which begins anew; if the hash is wrong again, the "
            "file was changed where it comes from: do not use it."
        )


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold a file that one process at a time can hold; a killed process lets go of it."""
    try:
        import fcntl
    except ImportError:  # Windows: two downloads of one file at once may spoil each other, and the hash will tell
        yield
        return
    try:
        held = path.open("a")
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}. {_HINT}") from None
    with held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
