"""What an audit keeps of each image: SHA-256 of its bytes, a perceptual hash, a small grey picture, its size.

Each file is read once and decoded at reduced scale, in threads.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import imagehash
import numpy as np
import pandas as pd
from PIL import Image

from ..data.containers import read_image_bytes
from ..errors import ImageError
from ..images.decode import opened_image, upright_rgb
from .hamming import pack_bits

HASH_BITS = 256
VIEWS = 8
_HASH_SIDE = 16
PICTURE_SIDE = 4 * _HASH_SIDE  # what pHash takes its cosine transform of
_AT_LEAST = (128, 128)
_BLANK = 1.0  # grey levels: a picture of less contrast than this has nothing that a hash could tell


@dataclass(frozen=True)
class ImageHashes:
    """One row per image, in the order of the names.

    Attributes:
        names: (n,) image names.
        sha256: (n,) of the encoded bytes, None where they could not be read.
        width: (n,) pixels as stored, NaN where unknown.
        height: (n,) pixels as stored.
        file_bytes: (n,) size of the encoded image.
        words: (n, 8, 4) uint64: pHash of the picture and of its seven mirrored or rotated views.
        pictures: (n, 64, 64) uint8, grey, squeezed to a square: 4 kB an image.
        hashed: (n,) bool: decoded, and not of one colour.
        problems: image_name, path and problem of images that could not be read or are of one colour.
    """

    names: np.ndarray
    sha256: np.ndarray
    width: np.ndarray
    height: np.ndarray
    file_bytes: np.ndarray
    words: np.ndarray
    pictures: np.ndarray
    hashed: np.ndarray
    problems: pd.DataFrame

    def __len__(self) -> int:
        return len(self.names)


def hash_images(
    names: Sequence[str], paths: Sequence[str], on_event: Callable[[dict[str, Any]], None] | None = None
) -> ImageHashes:
    """Read and hash images; what cannot be read is listed, not raised.

    The perceptual hash is `imagehash.phash(image, hash_size=16)`: the signs, about their median, of the 16 × 16 lowest
    frequencies of the picture squeezed to 64 × 64 (Zauner 2010, Implementation and benchmarking of perceptual image
    hash functions, Upper Austria University of Applied Sciences).

    Args:
        names: of the images.
        paths: of files, or `container#row`.
        on_event: called with {"what", "done", "total"}.
    """
    n = len(names)
    result = ImageHashes(
        names=np.asarray(names, dtype=object),
        sha256=np.full(n, None, dtype=object),
        width=np.full(n, np.nan),
        height=np.full(n, np.nan),
        file_bytes=np.full(n, np.nan),
        words=np.zeros((n, VIEWS, HASH_BITS // 64), dtype=np.uint64),
        pictures=np.zeros((n, PICTURE_SIDE, PICTURE_SIDE), dtype=np.uint8),
        hashed=np.zeros(n, dtype=bool),
        problems=pd.DataFrame(),
    )
    problems = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for row, problem in enumerate(pool.map(lambda row: _hash_image(result, row, paths[row]), range(n))):
                if problem:
                    problems.append((names[row], paths[row], problem))
                if on_event and (row % 16 == 15 or row == n - 1):
                    on_event({"what": "reading images", "done": row + 1, "total": n})
        except BaseException:  # stopped from the keyboard: the rest need not be read
            pool.shutdown(cancel_futures=True)
            raise
    object.__setattr__(result, "problems", pd.DataFrame(problems, columns=["image_name", "path", "problem"]))
    return result


def dihedral_views(pictures: np.ndarray) -> list[np.ndarray]:
    """A square picture as it is, then in its seven mirrored and rotated views.

    Args:
        pictures: (…, side, side).

    Returns:
        Eight views of it.
    """
    views = []
    for turned in (pictures, pictures.swapaxes(-1, -2)):
        views += [turned, turned[..., ::-1], turned[..., ::-1, :], turned[..., ::-1, ::-1]]
    return views


def _hash_image(result: ImageHashes, row: int, path: str) -> str | None:
    """Fill one row; say what is wrong with the image, if anything."""
    try:
        content = read_image_bytes(path)
        result.sha256[row] = hashlib.sha256(content).hexdigest()
        result.file_bytes[row] = len(content)
        with opened_image(content) as opened:
            result.width[row], result.height[row] = opened.size
            grey = upright_rgb(opened, path, at_least=_AT_LEAST).convert("L")
    except (ImageError, ValueError) as error:  # a path with a null character is a ValueError
        message = str(error)
        return message.removeprefix(path).removeprefix("image").removeprefix(": ")
    picture = np.asarray(grey.resize((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.LANCZOS))
    if picture.std() < _BLANK:
        return "a picture of one colour, nothing to be seen"
    bits = [
        imagehash.phash(Image.fromarray(np.ascontiguousarray(view)), hash_size=_HASH_SIDE).hash.ravel()
        for view in dihedral_views(picture)
    ]
    result.words[row] = pack_bits(np.stack(bits))
    result.pictures[row] = picture
    result.hashed[row] = True
    return None
