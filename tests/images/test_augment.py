"""What every augmentation is made of: chance that follows from the record alone, and steps put together."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.errors import ImageError
from melanomafusion.images.augment import (
    VIEWS,
    Compose,
    RandAugment,
    Sometimes,
    UserFunction,
    dihedral_view,
    record_generator,
)

SIZE = 12
KEYS = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 10_000), st.integers(0, 10_000_000), st.integers(0, 10_000))


@pytest.fixture
def image():
    """(12, 12, 3) uint8 without any symmetry."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    return np.stack([20 * x, 12 * y + 3 * x, 200 - 10 * y], axis=-1).astype("uint8")


def add(level):
    """An augmentation that adds a level."""

    def brighten(image, rng):
        del rng
        return image + np.uint8(level)

    return brighten


@settings(deadline=None)
@given(KEYS, KEYS)
def test_a_record_has_its_own_chance_and_always_the_same(one, other):
    first, again, second = (record_generator(*key).integers(2**63, size=4) for key in (one, one, other))
    np.testing.assert_array_equal(first, again)
    assert np.array_equal(first, second) == (one == other)


def test_seed_epoch_record_and_repeat_all_matter():
    keys = [(3, 4, 5, 6), (4, 4, 5, 6), (3, 5, 5, 6), (3, 4, 6, 6), (3, 4, 5, 7), (4, 3, 5, 6), (3, 4, 6, 5)]
    assert len({record_generator(*key).random() for key in keys}) == len(keys)


def test_the_chance_of_neighbouring_records_is_uniform_and_unrelated():
    draws = np.array([[record_generator(0, epoch, row).random() for row in range(200)] for epoch in range(20)])
    # 4,000 draws: the mean of a uniform has deviation 0.0046, a correlation of 3,800 pairs 0.016.
    assert draws.mean() == pytest.approx(0.5, abs=0.02)
    assert draws.var() == pytest.approx(1 / 12, abs=0.006)
    assert abs(np.corrcoef(draws[1:].ravel(), draws[:-1].ravel())[0, 1]) < 0.07
    assert abs(np.corrcoef(draws[:, 1:].ravel(), draws[:, :-1].ravel())[0, 1]) < 0.07


def test_the_chance_of_a_record_is_the_same_in_any_thread():
    alone = [record_generator(1, 2, row).random() for row in range(50)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda row: record_generator(1, 2, row).random(), range(50))) == alone


def test_steps_of_a_composition_follow_one_another(image):
    double_then_add = Compose((lambda x, rng: x // 2, add(3)))
    np.testing.assert_array_equal(double_then_add(image, np.random.default_rng(0)), image // 2 + 3)
    np.testing.assert_array_equal(Compose(())(image, np.random.default_rng(0)), image)


def test_steps_of_a_composition_share_one_chance(image):
    drawn = []
    Compose([lambda x, rng: drawn.append(rng.random()) or x] * 3)(image, np.random.default_rng(5))
    np.testing.assert_array_equal(drawn, np.random.default_rng(5).random(3))


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_sometimes_is_as_often_as_its_probability(image, probability):
    step = Sometimes(probability, (add(1),))
    changed = sum(not np.array_equal(step(image, record_generator(0, 0, row)), image) for row in range(2000))
    # Deviation of the count at 0.3: 20.
    assert abs(changed - 2000 * probability) <= (100 if probability == 0.3 else 0)


def test_sometimes_takes_each_choice_as_often_as_the_others(image):
    step = Sometimes(1.0, (add(1), add(2), add(3)))
    found = [int((step(image, record_generator(0, 0, row)) - image)[0, 0, 0]) for row in range(3000)]
    # Expected 1,000 each, deviation 26.
    assert np.abs(np.bincount(found, minlength=4) - [0, 1000, 1000, 1000]).max() < 130


def test_rand_augment_draws_its_steps_anew_and_with_repetition(image):
    calls = []
    steps = [lambda x, rng, number=number: calls.append(number) or x for number in range(4)]
    for row in range(400):
        RandAugment(steps, count=2)(image, record_generator(0, 0, row))
    pairs = np.array(calls).reshape(400, 2)
    # Sixteen pairs, 25 each expected, deviation 5.
    counts = np.bincount(pairs[:, 0] * 4 + pairs[:, 1], minlength=16)
    assert counts.min() > 3
    assert counts.max() < 50


def test_rand_augment_of_no_steps_changes_nothing(image):
    np.testing.assert_array_equal(RandAugment((add(1),), count=0)(image, np.random.default_rng(0)), image)


def test_a_user_function_receives_the_image_and_the_chance_of_the_record(image):
    def shifted(picture, rng):
        return np.roll(picture, int(rng.integers(SIZE)), axis=0)

    by = int(np.random.default_rng(4).integers(SIZE))
    result = UserFunction(shifted)(image, np.random.default_rng(4))
    np.testing.assert_array_equal(result, np.roll(image, by, axis=0))


def test_a_user_function_may_change_its_image_in_place(image):
    def blackened(picture, rng):
        del rng
        picture[:] = 0
        return picture

    before = image.copy()
    image.flags.writeable = False  # as pixels kept on disk are
    assert UserFunction(blackened)(image, np.random.default_rng(0)).max() == 0
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda x: x[:-1], r"uint8 \(11, 12, 3\)"),
        (lambda x: x[..., :1], r"uint8 \(12, 12, 1\)"),
        (lambda x: x.astype("float32"), r"float32 \(12, 12, 3\)"),
        (lambda x: x / 255, r"float64 \(12, 12, 3\)"),
        (lambda x: x.astype("int64"), r"int64 \(12, 12, 3\)"),
        (lambda x: None, "NoneType"),
        (lambda x: x.tolist(), "list"),
    ],
)
def test_a_user_function_that_gives_something_else_is_refused_by_name(image, change, found):
    def my_own_blur(picture, rng):
        del rng
        return change(picture)

    with pytest.raises(ImageError, match=rf"gives back uint8 \(12, 12, 3\).*my_own_blur.*gave {found}"):
        UserFunction(my_own_blur)(image, np.random.default_rng(0))


def test_eight_views_are_distinct(image):
    assert len({dihedral_view(image, view).tobytes() for view in range(VIEWS)}) == VIEWS


def test_eight_views_are_the_turns_and_mirrorings_of_a_square(image):
    wanted = {np.rot90(start, turns).tobytes() for start in (image, image[:, ::-1]) for turns in range(4)}
    assert {dihedral_view(image, view).tobytes() for view in range(VIEWS)} == wanted


def test_each_bit_of_a_view_is_one_step(image):
    np.testing.assert_array_equal(dihedral_view(image, 0), image)
    np.testing.assert_array_equal(dihedral_view(image, 1), image.transpose(1, 0, 2))
    np.testing.assert_array_equal(dihedral_view(image, 2), image[::-1])
    np.testing.assert_array_equal(dihedral_view(image, 4), image[:, ::-1])
    np.testing.assert_array_equal(dihedral_view(image, 7), image.transpose(1, 0, 2)[::-1, ::-1])
