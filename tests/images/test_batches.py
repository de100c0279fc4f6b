"""Memory that is used again: never while anyone still looks at it, and always once nobody does."""

import sys
import threading
import weakref
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.images.augment import dihedral_view, record_generator
from melanomafusion.images.batches import Buffers, ImageBatches
from melanomafusion.images.pixels import Pixels
from melanomafusion.images.policies import get_policy
from melanomafusion.images.spec import ImageSpec

SHAPE = (4, 8, 8, 3)
SIZE = 8

# Ways to go on looking at a batch after the batch itself is gone.
LOOKS = {
    "the array": lambda x: x,
    "a view": lambda x: x[:],
    "a row": lambda x: x[2],
    "a view of a view": lambda x: x[1:3][:, ::-1][0].T,
    "reshaped": lambda x: x.reshape(-1)[5:],
    "other numbers": lambda x: x.view("uint8"),
    "a memory view": lambda x: np.asarray(memoryview(x)),
    "an iterator's item": lambda x: next(iter(x)),
    "frombuffer": lambda x: np.frombuffer(x, dtype="float32"),
    "dlpack": lambda x: np.from_dlpack(x),
    "as_strided": lambda x: np.lib.stride_tricks.sliding_window_view(x, 2, axis=0),
    "a tensor": lambda x: tf.convert_to_tensor(x),
    "a slice of a tensor": lambda x: tf.convert_to_tensor(x)[1:],
    "a tensor reshaped": lambda x: tf.reshape(tf.convert_to_tensor(x), [-1]),
    "the array of a tensor": lambda x: tf.convert_to_tensor(x).numpy(),
    "a list": lambda x: [[x[0]], {"image": x[1]}],
    "a closure": lambda x: lambda: x,
    "numpy_function": lambda x: tf.numpy_function(lambda: x, [], tf.float32),
}


def contents(look):
    """All numbers of whatever was kept."""
    if callable(look) and not isinstance(look, np.ndarray):
        look = look()
    if isinstance(look, list):
        return np.concatenate([look[0][0].ravel(), look[1]["image"].ravel()])
    values = np.asarray(look)
    return values.view("float32").ravel() if values.dtype == np.uint8 else values.ravel()


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("shape", [SHAPE, (1, 8, 8, 3), (0, 8, 8, 3), (32, 16, 16, 3)])
def test_an_array_is_float32_writable_aligned_and_in_one_piece(shape):
    array = Buffers().take(shape)
    assert array.shape == shape
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.size == 0 or address(array) % 64 == 0
    array[:] = 1


@pytest.mark.parametrize("name", LOOKS)
def test_memory_that_is_looked_at_is_not_handed_out_again(name):
    buffers = Buffers()
    array = buffers.take(SHAPE)
    array[:] = 7
    look = LOOKS[name](array)
    del array
    kept = [buffers.take(SHAPE) for _ in range(20)]
    for other in kept:
        other[:] = -1
    assert (contents(look) == 7).all()


@pytest.mark.parametrize("name", [name for name in LOOKS if name != "numpy_function"])
def test_memory_is_used_again_once_nobody_looks(name):
    buffers = Buffers()
    array = buffers.take(SHAPE)
    where = address(array)
    look = LOOKS[name](array)
    del array
    del look
    assert address(buffers.take(SHAPE)) == where


def test_arrays_held_at_once_do_not_overlap_however_many():
    buffers = Buffers()
    held = [buffers.take(SHAPE) for _ in range(60)]
    places = sorted(address(array) for array in held)
    assert np.diff(places).min() >= held[0].nbytes


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["take", "release", "view"]), st.integers(0, 40), st.integers(1, 3)), max_size=80
    )
)
def test_what_was_written_stays_until_it_is_released(steps):
    buffers, held = Buffers(), []
    for number, (step, which, count) in enumerate(steps):
        if step == "take":
            array = buffers.take((count, 4, 4, 3))
            array[:] = number
            held.append((array, number))
        elif held and step == "release":
            del held[which % len(held)]
        elif held:  # the array goes, a part of it stays
            array, written = held.pop(which % len(held))
            held.append((array[-1:], written))
        array = None
        assert all((kept == written).all() for kept, written in held)


def test_a_loop_that_holds_a_few_batches_needs_only_a_few_places():
    buffers, places, held = Buffers(), Counter(), []
    for _ in range(500):
        held = [*held[-3:], buffers.take(SHAPE)]
        places[address(held[-1])] += 1
    assert len(places) <= 5


def test_whole_and_last_batches_of_many_epochs_need_only_a_few_places():
    buffers, places = Buffers(), set()
    for _ in range(50):
        for count in (4, 4, 4, 3):
            places.add(address(buffers.take((count, 8, 8, 3))))
    assert len(places) <= 4


def test_whoever_collects_many_batches_gives_them_back_when_done():
    buffers = Buffers()
    held = [buffers.take(SHAPE) for _ in range(100)]
    owners = [weakref.ref(array.base) for array in held]
    del held
    assert sum(owner() is not None for owner in owners) <= 16  # a few stay, for the next epoch


def test_memory_of_a_size_that_is_no_longer_asked_for_makes_room():
    buffers = Buffers()
    held = [buffers.take(SHAPE) for _ in range(20)]
    owners = [weakref.ref(array.base) for array in held]
    del held
    other = buffers.take((2, 64, 64, 3))
    again = weakref.ref(other.base)
    del other
    assert sum(owner() is not None for owner in owners) == 0
    assert again() is not None
    assert buffers.take((2, 64, 64, 3)).base is again()


def test_threads_never_share_memory_that_is_in_use():
    buffers, wrong = Buffers(), []

    def work(number):
        rng = np.random.default_rng(number)
        held = []
        for turn in range(400):
            array = buffers.take(SHAPE)
            array[:] = number * 1000 + turn
            held.append((array[rng.integers(4)], number * 1000 + turn))
            del array
            if len(held) > rng.integers(1, 6):
                del held[int(rng.integers(len(held)))]
            wrong.extend(written for kept, written in held if not (kept == written).all())

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch)
    assert wrong == []


def twenty_images():
    """Decoded, of eight pixels."""
    array = np.random.default_rng(0).integers(0, 256, (20, SIZE, SIZE, 3), dtype="uint8")
    array.flags.writeable = False
    names = [f"image{row}" for row in range(20)]
    return ImageBatches(Pixels(ImageSpec(SIZE), {name: row for row, name in enumerate(names)}, array), names)


def fresh(batches, rows, repeats, policy):
    """Each image by itself."""
    pairs = zip(rows.tolist(), repeats.tolist(), strict=True)
    return np.stack([policy(batches.pixels.array[row], record_generator(5, 2, row, repeat)) for row, repeat in pairs])


@pytest.fixture
def batches():
    return twenty_images()


@pytest.mark.parametrize("view", range(8))
def test_loaded_images_are_those_of_their_rows_in_the_wanted_view(batches, view):
    rows = np.array([3, 3, 0, 19])
    wanted = [dihedral_view(batches.pixels.array[row], view) for row in rows]
    np.testing.assert_array_equal(batches.load(rows, view), wanted)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 19), st.integers(0, 3)), min_size=1, max_size=30),
    st.sampled_from(["light", "medium"]),
)
def test_an_augmented_image_does_not_depend_on_its_batch(pairs, policy):
    batches = twenty_images()
    rows, repeats = np.array(pairs).T
    step = get_policy(policy)
    np.testing.assert_array_equal(batches.augmented(rows, repeats, 2, 5, step), fresh(batches, rows, repeats, step))


def test_batches_kept_for_long_are_those_that_were_made(batches):
    step = get_policy("light")
    rng = np.random.default_rng(0)
    kept = []
    for _ in range(60):
        rows, repeats = rng.integers(20, size=4), rng.integers(3, size=4)
        batch = batches.augmented(rows, repeats, 2, 5, step)
        kept.append((rows, repeats, batch if rng.random() < 0.5 else tf.convert_to_tensor(batch)))
        if rng.random() < 0.4:
            kept.pop(int(rng.integers(len(kept))))
    for rows, repeats, batch in kept:
        np.testing.assert_array_equal(batch, fresh(batches, rows, repeats, step))
