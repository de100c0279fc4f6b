"""The packed search finds what comparing every pair finds, and is bounded."""

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.auditing import hamming
from melanomafusion.auditing.hamming import close_pairs, pack_bits
from melanomafusion.errors import MelanomaFusionError


def by_imagehash(first, second, side, max_distance):
    one, other = ([imagehash.ImageHash(row.reshape(side, side)) for row in bits] for bits in (first, second))
    n = len(one)
    found = [(i, j, int(one[i] - other[j])) for i in range(n) for j in range(i + 1, n)]
    return [pair for pair in found if pair[2] <= max_distance]


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 40),
    st.sampled_from([8, 16, 24]),
    st.sampled_from([0, 8, 48, 64, 200, 576]),
    st.sampled_from([0.0, 0.03, 0.2, 0.5, 1.0]),
)
@settings(max_examples=60, deadline=None)
def test_it_finds_what_imagehash_finds_pair_by_pair(seed, n, side, max_distance, flipped):
    rng = np.random.default_rng(seed)
    middle = rng.random(side * side) < 0.5
    first, second = (middle ^ (rng.random((n, side * side)) < flipped) for _ in range(2))
    found = close_pairs(pack_bits(first), pack_bits(second), max_distance)
    assert list(zip(*(part.tolist() for part in found), strict=True)) == by_imagehash(first, second, side, max_distance)


def test_blocks_do_not_show(monkeypatch):
    rng = np.random.default_rng(0)
    words = pack_bits(rng.random((200, 256)) < 0.3)
    whole = close_pairs(words, words, 110)
    monkeypatch.setattr(hamming, "_ROWS", 7)
    monkeypatch.setattr(hamming, "_COLUMNS", 13)
    for one, other in zip(whole, close_pairs(words, words, 110), strict=True):
        assert np.array_equal(one, other)
    assert len(whole[0]) > 100


def test_a_distance_at_which_all_are_alike_is_refused_before_memory_is_full(monkeypatch):
    monkeypatch.setattr(hamming, "MAX_PAIRS", 1000)
    words = np.zeros((200, 4), dtype=np.uint64)
    with pytest.raises(MelanomaFusionError, match="smaller max_distance"):
        close_pairs(words, words, 3)
