"""What an epoch is made of: every record with its own data, repeats counted, the same length each time."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.images.epochs import EpochCounter, Epochs

COUNTS = st.integers(4, 40)


def epochs_of(count, *, imbalance="none", sampling=None, seed=0, counter=None, to=0.4):
    """Epochs of so many records whose metadata, labels and weights tell their row; the first quarter is positive."""
    rows = np.arange(count, dtype="float32")
    return Epochs(
        targets=(np.arange(count) < count / 4).astype(int),
        labels=rows[:, None],
        weights=rows,
        metadata=rows[:, None],
        encoder=None,
        metadata_dropout=0.0,
        modality_dropout=0.0,
        imbalance=imbalance,
        oversample_to=to,
        sources=np.where(np.arange(count) % 2 == 0, "one", "two"),
        source_sampling=sampling,
        seed=seed,
        counter=counter or EpochCounter(),
    )


@settings(deadline=None, max_examples=80)
@given(
    count=COUNTS,
    imbalance=st.sampled_from(["none", "oversample"]),
    sampling=st.none() | st.fixed_dictionaries({"one": st.floats(0.1, 4)}) | st.just({}),
    to=st.floats(0.1, 0.8),
    seed=st.integers(0, 2**32 - 1),
)
def test_an_epoch_keeps_data_together_counts_repeats_and_has_one_length(count, imbalance, sampling, to, seed):
    epochs = epochs_of(count, imbalance=imbalance, sampling=sampling, to=to, seed=seed)
    for number in range(3):
        rows, repeats, numbers, metadata, labels, weights = epochs.draw()
        assert len(rows) == len(epochs)
        assert (numbers == number).all()
        for column in (metadata[:, 0], labels[:, 0], weights):
            np.testing.assert_array_equal(column, rows)
        before = Counter()
        for row, repeat in zip(rows.tolist(), repeats.tolist(), strict=True):
            assert repeat == before[row]
            before[row] += 1
        if not sampling:
            assert set(before) == set(range(count))


@settings(deadline=None, max_examples=30)
@given(count=COUNTS, seed=st.integers(0, 2**32 - 1), number=st.integers(0, 1000))
def test_an_epoch_follows_from_seed_and_number_alone(count, seed, number):
    sampling = {"two": 1.5}
    running = epochs_of(count, sampling=sampling, seed=seed)
    running.counter.epoch = number
    alone = epochs_of(count, sampling=sampling, seed=seed, counter=EpochCounter(number))
    for one, other in zip(running.draw(), alone.draw(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert running.counter.epoch == number + 1


def test_epochs_and_seeds_have_orders_of_their_own():
    epochs = epochs_of(40)
    orders = [epochs.draw()[0] for _ in range(10)] + [epochs_of(40, seed=seed).draw()[0] for seed in range(1, 10)]
    assert len({order.tobytes() for order in orders}) == 19
    assert all(sorted(order) == list(range(40)) for order in orders)


def test_every_record_may_come_first():
    epochs = epochs_of(8)
    first = Counter(int(epochs.draw()[0][0]) for _ in range(800))
    # 100 each expected, deviation 9.
    assert set(first) == set(range(8))
    assert max(first.values()) < 150
    assert min(first.values()) > 50


def test_a_counter_counts_passes_and_can_be_set():
    counter = EpochCounter(3)
    assert [counter.take(), counter.take()] == [3, 4]
    counter.epoch = 1
    assert counter.take() == 1


def test_two_epochs_without_a_counter_count_apart():
    first, second = epochs_of(8), epochs_of(8)
    assert [first.draw()[2][0], first.draw()[2][0], second.draw()[2][0]] == [0, 1, 0]


@pytest.mark.parametrize("count", [1, 2])
def test_the_smallest_data_sets_have_epochs(count):
    rows, repeats, *_ = epochs_of(count).draw()
    assert sorted(rows) == list(range(count))
    assert repeats.tolist() == [0] * count
