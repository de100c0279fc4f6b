"""All pairs of 33,126 hashes within a distance: ours beside the ImageHash loop that people write, scaled from a sample.

python benchmarks/near_duplicates.py
"""

from __future__ import annotations

import resource
import time

import imagehash
import numpy as np

from melanomafusion.auditing.hamming import close_pairs, pack_bits

N, SAMPLE, PLANTED = 33_126, 600, 500
LIMIT_SECONDS, LIMIT_BYTES = 60, 1e9


def main() -> None:
    """Print seconds, memory and the ratio, for 64 and 256 bits; planted copies must all be found."""
    for side, max_distance in ((8, 8), (16, 64)):
        rng = np.random.default_rng(0)
        bits = rng.random((N, side * side)) < 0.5
        bits[-PLANTED:] = bits[:PLANTED]
        flips = rng.integers(0, side * side, (PLANTED, max_distance // 2))
        bits[np.arange(N - PLANTED, N)[:, None], flips] ^= True
        words = pack_bits(bits)
        started = time.perf_counter()
        i, j, _ = close_pairs(words, words, max_distance)
        ours = time.perf_counter() - started
        assert set(zip(range(PLANTED), range(N - PLANTED, N), strict=True)) <= set(zip(i, j, strict=True))
        hashes = [imagehash.ImageHash(row.reshape(side, side)) for row in bits[:SAMPLE]]
        started = time.perf_counter()
        for first in range(SAMPLE):
            for second in range(first + 1, SAMPLE):
                _ = hashes[first] - hashes[second] <= max_distance
        loop = (time.perf_counter() - started) * (N * (N - 1)) / (SAMPLE * (SAMPLE - 1))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(
            f"{side * side} bits, {N:,} hashes, {N * (N - 1) // 2:,} pairs, distance ≤ {max_distance}: "
            f"{ours:.2f} s, process peak {peak / 1e6:,.0f} MB, {len(i):,} pairs; "
            f"ImageHash loop {loop:,.0f} s (scaled from {SAMPLE}): {loop / ours:,.0f} times"
        )
        assert ours < LIMIT_SECONDS
        assert peak < LIMIT_BYTES


if __name__ == "__main__":
    main()
