"""All pairs of hashes within a Hamming distance, exact, in blocks that stay in the processor's cache.

Packed into 64-bit words, a pair costs one XOR and one population count a word. The distance over the first few words is
a lower bound: only pairs that pass it are compared in full, which is next to none of them.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..errors import MelanomaFusionError

MAX_PAIRS = 1_000_000
_ROWS = 32
_COLUMNS = 8192


def pack_bits(bits: np.ndarray) -> np.ndarray:
    """(…, b) bool → (…, b / 64) uint64."""
    packed = np.packbits(bits, axis=-1)
    return np.ascontiguousarray(packed).view(np.uint64)


def close_pairs(first: np.ndarray, second: np.ndarray, max_distance: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs i < j whose hashes `first[i]` and `second[j]` differ in at most `max_distance` bits.

    33,126 hashes of 256 bits take about a second on two cores and 100 MB.

    Args:
        first: (n, w) uint64.
        second: (n, w) uint64; the same array, or the hashes of the same images seen otherwise.
        max_distance: in bits.

    Returns:
        (m,) int64 i, (m,) int64 j, (m,) int64 distance, sorted by i and j.

    Raises:
        MelanomaFusionError: more than `MAX_PAIRS` pairs.
    """
    n, words = first.shape
    # Hashes of unlike images differ in half of their bits: with so many words, such a pair is 3 deviations too far.
    enough = [k for k in range(1, words) if 32 * k - max_distance >= 3 * 4 * k**0.5]
    counted = min(enough, default=words)
    columns = np.ascontiguousarray(second.T)
    left = MAX_PAIRS

    def search(start: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        rows = first[start : start + _ROWS]
        found = []
        for column in range(start, n, _COLUMNS):
            stop = min(column + _COLUMNS, n)
            bound = np.bitwise_count(rows[:, 0, None] ^ columns[0, column:stop])
            for word in range(1, counted):  # a sum beyond 255 wraps round to a smaller one, still a lower bound
                bound += np.bitwise_count(rows[:, word, None] ^ columns[word, column:stop])
            near = np.flatnonzero(bound <= max_distance)
            if len(near):
                i, j = start + near // (stop - column), column + near % (stop - column)
                i, j = i[i < j], j[i < j]
                distance = np.bitwise_count(first[i] ^ second[j]).sum(axis=1, dtype=np.int64)
                close = distance <= max_distance
                found.append((i[close], j[close], distance[close]))
        return found

    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(search, range(0, n, _ROWS)):
            parts += found
            left -= sum(len(i) for i, _, _ in found)
            if left < 0:
                pool.shutdown(cancel_futures=True)
                raise MelanomaFusionError(
                    f"More than {MAX_PAIRS:,} pairs of images within a distance of {max_distance} bits: at that "
                    "distance nearly all look alike. Use a smaller max_distance."
                )
    empty = np.empty(0, dtype=np.int64)
    i, j, distance = (np.concatenate([empty, *(part[k] for part in parts)]) for k in range(3))
    order = np.lexsort((j, i))
    return i[order], j[order], distance[order]
