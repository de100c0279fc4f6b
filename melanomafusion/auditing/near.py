"""Which images show the same picture: byte-identical ones, and near ones by perceptual hash.

Calibrated on 8,952 real dermoscopy images (8,026 of HAM10000 at 256 pixels, 926 of SIIM-ISIC 2020 at 384), 40 million
pairs. A hash of 64 bits is too short: small spots on plain skin collide, and at the distance that finds 98.9 % of
copies cropped by 2 % on each side (8 bits), 3,319 pairs of different lesions are called near. With 256 bits, at most
`MAX_DISTANCE` of them different, and a second look at each such pair (`second_look`), found are

    copies re-encoded at JPEG quality 70, or at half size, or 10 % brighter    100.0 %
    the same mirrored or rotated                                               100.0 %
    copies cropped by 2 % on each side                                          99.8 %
    copies without 3 % of their width on one side                               99.4 %
    copies cropped by 5 % on each side                                          48.4 %
    copies mirrored and cropped by 2 % on each side                             72.9 %
    pairs of different lesions                                                 2 of 40,062,105

and those two, looked at, do show one lesion each under two lesion ids: none is false (the hash alone calls 316 pairs
near, without any turning). Mirrored and rotated views are compared at half the distance: seven more views are seven
more chances to collide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .hamming import close_pairs
from .hashes import VIEWS, ImageHashes, dihedral_views
from .second_look import coarse_similarity, detail_similarity

MAX_DISTANCE = 64
MIN_COARSE = 0.9
MIN_DETAIL = 0.65
_BLOCK = 256
_LARGE = 16
_STRICTNESS = np.array([1, *[2] * (VIEWS - 1)])


def exact_pairs(hashes: ImageHashes) -> tuple[np.ndarray, np.ndarray]:
    """(m,) and (m,) int64: each byte-identical image with the first of its kind, i < j."""
    first: dict[str, int] = {}
    pairs = [
        (first[digest], row)
        for row, digest in enumerate(hashes.sha256)
        if digest is not None and first.setdefault(digest, row) != row
    ]
    i, j = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return i, j


def near_pairs(
    hashes: ImageHashes, max_distance: int = MAX_DISTANCE, on_event: Callable[[dict[str, Any]], None] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of images, not byte-identical, that show one picture, perhaps mirrored or rotated.

    Of byte-identical images the first alone is looked at: its copies are paired with it by `exact_pairs`. In a cluster
    of more than 16 copies, not every pair is told, but enough to connect it: a cluster that lies on two sides has a
    pair that does.

    Args:
        hashes: of `hash_images`.
        max_distance: in bits of 256; half of it for mirrored and rotated views.
        on_event: called with {"what", "done", "total"}.

    Returns:
        (m,) and (m,) int64, i < j, sorted.

    Raises:
        MelanomaFusionError: so many pairs that the distance cannot be meant.
    """
    copies = np.zeros(len(hashes), dtype=bool)
    copies[exact_pairs(hashes)[1]] = True
    rows = np.flatnonzero(hashes.hashed & ~copies)
    upright = np.ascontiguousarray(hashes.words[rows, 0])
    found = [np.empty((0, 2), dtype=np.int64)]
    for view in range(VIEWS):
        seen = np.ascontiguousarray(hashes.words[rows, view])
        i, j, _ = close_pairs(upright, seen, max_distance // _STRICTNESS[view])
        found.append(np.column_stack([rows[i], rows[j]]))
        if on_event:
            on_event({"what": "searching near duplicates", "done": view + 1, "total": VIEWS})
    i, j = np.unique(np.concatenate(found), axis=0).T
    same = np.zeros(len(i), dtype=bool)
    cluster = np.arange(len(hashes))
    for start in range(0, len(i), _BLOCK):
        at = np.arange(start, min(start + _BLOCK, len(i)))
        large = np.bincount(cluster)[cluster[i[at]]] > _LARGE
        at = at[~large | (cluster[i[at]] != cluster[j[at]])]
        same[at] = _confirmed(hashes, i[at], j[at])
        for one, other in zip(i[at][same[at]], j[at][same[at]], strict=True):
            cluster[cluster == cluster[other]] = cluster[one]
    return i[same], j[same]


def _confirmed(hashes: ImageHashes, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """(m,) bool: the pictures, in the view that is closest, are alike in the large and in their details."""
    _, view = _closest_view(hashes, i, j)
    same = np.zeros(len(i), dtype=bool)
    for number in range(VIEWS):
        rows = np.flatnonzero(view == number)
        first, second = hashes.pictures[i[rows]], dihedral_views(hashes.pictures[j[rows]])[number]
        rows_left = coarse_similarity(first, second) >= MIN_COARSE
        same[rows[rows_left]] = detail_similarity(first[rows_left], second[rows_left]) >= MIN_DETAIL
    return same


def compare_pairs(hashes: ImageHashes, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How alike pairs are, over the eight views of the second image.

    Args:
        hashes: of `hash_images`.
        i: (m,) rows.
        j: (m,) rows.

    Returns:
        In the view that is closest, (m,) float64 distance in bits, (m,) float64 similarity of the details, within
        [−1, 1], and (m,) bool whether that view is mirrored or rotated. NaN, NaN, False where one was not hashed.
    """
    distances, view = _closest_view(hashes, i, j)
    similarities = np.full(len(i), np.nan)
    for number in range(VIEWS):
        rows = np.flatnonzero(view == number)
        second = dihedral_views(hashes.pictures[j[rows]])[number]
        similarities[rows] = detail_similarity(hashes.pictures[i[rows]], second)
    known = hashes.hashed[i] & hashes.hashed[j]
    return np.where(known, distances, np.nan), np.where(known, similarities, np.nan), known & (view > 0)


def _closest_view(hashes: ImageHashes, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(m,) distance and (m,) number of the view of the second image that is closest; turned views count double."""
    distances = np.bitwise_count(hashes.words[i, :1] ^ hashes.words[j]).sum(axis=2, dtype=np.int64)
    view = np.argmin(distances * _STRICTNESS, axis=1)
    return distances[np.arange(len(i)), view], view
