"""Holes, patches and hair: how large, how dark, how thin, and that the rest is left alone."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.images.occlusion import Cutout, Erasing, Hair

SEEDS = st.integers(0, 2**32 - 1)
SIDES = st.integers(8, 64)
STEPS = [Cutout(0.375), Cutout(1.0), Erasing(), Erasing((0.5, 1.0)), Hair(8)]


def noise_image(height, width, seed=0):
    """(H, W, 3) uint8 without a black pixel."""
    return np.random.default_rng(seed).integers(1, 256, (height, width, 3), dtype="uint8")


def box_of(mask):
    """Rows and columns of the smallest box around what is True."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


@pytest.mark.parametrize("step", STEPS, ids=repr)
@settings(deadline=None, max_examples=30)
@given(height=SIDES, width=SIDES, seed=SEEDS)
def test_shape_and_type_are_kept_and_the_image_is_not_touched(step, height, width, seed):
    image = noise_image(height, width)
    before = image.copy()
    image.flags.writeable = False  # as pixels kept on disk are
    result = step(image, np.random.default_rng(seed))
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(step(image, np.random.default_rng(seed)), result)
    mirrored = image[:, ::-1]
    np.testing.assert_array_equal(
        step(mirrored, np.random.default_rng(seed)), step(mirrored.copy(), np.random.default_rng(seed))
    )


@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_another_chance_gives_another_image(step):
    image = noise_image(32, 32)
    assert len({step(image, np.random.default_rng(seed)).tobytes() for seed in range(12)}) >= 6


@pytest.mark.parametrize("step", [Cutout(0), Hair(0)], ids=repr)
@settings(deadline=None, max_examples=20)
@given(side=SIDES, seed=SEEDS)
def test_no_strength_is_no_change(step, side, seed):
    image = noise_image(side, side)
    np.testing.assert_array_equal(step(image, np.random.default_rng(seed)), image)


@settings(deadline=None)
@given(height=SIDES, width=SIDES, share=st.floats(0.15, 1), seed=SEEDS)
def test_cutout_blackens_one_rectangle_of_at_most_its_side(height, width, share, seed):
    image = noise_image(height, width)
    result = Cutout(share)(image, np.random.default_rng(seed))
    black = (result == 0).all(axis=-1)
    top, bottom, left, right = box_of(black)
    assert black[top:bottom, left:right].all()
    np.testing.assert_array_equal(result[~black], image[~black])
    assert bottom - top <= share * height + 1.01
    assert right - left <= share * width + 1.01
    # It reaches over the edge by half of itself at most, and is cut there only.
    for low, high, side in ((top, bottom, height), (left, right, width)):
        assert high - low >= share * side / 2 - 1.01
        if low > 0 and high < side:
            assert high - low >= share * side - 1.01


def test_cutout_covers_its_share_of_the_side_anywhere():
    image = noise_image(64, 64)
    rng = np.random.default_rng(0)
    boxes = np.array([box_of((Cutout(0.375)(image, rng) == 0).all(axis=-1)) for _ in range(500)])
    inside = boxes[(boxes[:, 0] > 0) & (boxes[:, 1] < 64) & (boxes[:, 2] > 0) & (boxes[:, 3] < 64)]
    assert (inside[:, 1] - inside[:, 0] == 24).all()
    assert (inside[:, 3] - inside[:, 2] == 24).all()
    assert 100 < len(inside) < 300  # (40 / 64)² of 500 = 195, deviation 11
    assert boxes[:, [0, 2]].min() == 0
    assert boxes[:, [1, 3]].max() == 64
    assert abs((boxes[:, 0] + boxes[:, 1]).mean() / 2 - 32) < 4


@settings(deadline=None)
@given(seed=SEEDS, least=st.floats(0.02, 0.3))
def test_erasing_covers_one_rectangle_of_its_area_and_ratio(seed, least):
    image = np.full((100, 100, 3), 7, dtype="uint8")
    step = Erasing((least, 0.33), (0.5, 2.0))
    result = step(image, np.random.default_rng(seed))
    top, bottom, left, right = box_of((result != 7).any(axis=-1))
    height, width = bottom - top, right - left
    np.testing.assert_allclose(height * width / 1e4, np.clip(height * width / 1e4, least - 0.01, 0.34), atol=1e-9)
    assert 0.5 * 0.9 <= width / height <= 2.0 * 1.1
    outside = np.ones((100, 100), dtype=bool)
    outside[top:bottom, left:right] = False
    assert (result[outside] == 7).all()
    if height * width >= 1000:
        inside = result[top:bottom, left:right]
        # Uniform over 0 … 255: mean 127.5, deviation 73.9.
        assert abs(inside.mean() - 127.5) < 5 * 73.9 / np.sqrt(inside.size)
        assert abs(inside.std() - 73.9) < 5
        assert np.abs(np.corrcoef(inside.reshape(-1, 3).T) - np.eye(3)).max() < 0.2


def test_erasing_draws_its_area_and_ratio_from_their_ranges():
    image = np.full((100, 100, 3), 7, dtype="uint8")
    rng = np.random.default_rng(0)
    boxes = np.array([box_of((Erasing((0.05, 0.25), (0.5, 2.0))(image, rng) != 7).any(axis=-1)) for _ in range(300)])
    heights, widths = boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]
    areas = heights * widths / 1e4
    assert areas.min() < 0.07
    assert areas.max() > 0.23
    assert areas.mean() == pytest.approx(0.15, abs=0.017)  # uniform: deviation of the mean 0.0033
    assert np.log(widths / heights).mean() == pytest.approx(0, abs=0.13)  # deviation of the mean 0.023
    assert (widths / heights).min() < 0.58
    assert (widths / heights).max() > 1.7


def test_erasing_lies_anywhere():
    image = np.full((40, 40, 3), 7, dtype="uint8")
    rng = np.random.default_rng(0)
    boxes = np.array([box_of((Erasing((0.1, 0.1), (1, 1))(image, rng) != 7).any(axis=-1)) for _ in range(400)])
    assert boxes.min(axis=0)[[0, 2]].tolist() == [0, 0]
    assert boxes.max(axis=0)[[1, 3]].tolist() == [40, 40]
    assert np.abs(boxes.mean(axis=0)[[0, 2]] - 13.5).max() < 2.5


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, side=st.sampled_from([64, 128, 256]))
def test_hair_is_dark_and_leaves_the_rest_alone(seed, side):
    image = np.full((side, side, 3), 200, dtype="uint8")
    result = Hair(1)(image, np.random.default_rng(seed))
    assert (result <= 200).all()
    assert (result != 200).any(axis=-1).mean() < 0.15
    if (result < 130).all(axis=-1).sum() > 20:
        assert result.min() < 70


@pytest.mark.parametrize("side", [64, 128, 256])
def test_hair_is_thin_and_brown_to_black(side):
    image = np.full((side, side, 3), 200, dtype="uint8")
    widths = []
    for seed in range(80):
        result = Hair(1)(image, np.random.default_rng(seed))
        dark = (result < 130).all(axis=-1).astype("uint8")
        if dark.sum() > 20:
            assert (result <= (90, 75, 70)).all(axis=-1).any()  # its middle, smoothed: brown to black
            # Middle of a hair to its edge, in pixels; where a hair bends back it touches itself.
            inside = cv2.distanceTransform(np.pad(dark, 1), cv2.DIST_L2, 5)
            widths.append(np.quantile(inside[inside > 0], 0.9))
    assert len(widths) > 20
    assert np.median(widths) <= 1 + side / 256


def test_hair_covers_more_where_there_is_more_of_it_and_sometimes_nothing():
    image = np.full((64, 64, 3), 200, dtype="uint8")
    covered = {
        most: np.array(
            [(Hair(most)(image, np.random.default_rng(seed)) != 200).any(axis=-1).mean() for seed in range(90)]
        )
        for most in (1, 8)
    }
    assert covered[8].mean() > 3 * covered[1].mean()
    # Nothing is drawn one time in two of Hair(1), and one in nine of Hair(8).
    assert 25 < (covered[1] == 0).sum() < 66
    assert 2 < (covered[8] == 0).sum() < 24
    assert covered[8].max() < 0.4


def test_hairs_cross_the_whole_image():
    image = np.full((64, 64, 3), 200, dtype="uint8")
    ever = np.zeros((64, 64), dtype=int)
    for seed in range(200):
        ever += (Hair(8)(image, np.random.default_rng(seed)) != 200).any(axis=-1)
    assert (ever > 0).mean() > 0.99
    thirds = ever[:63, :63].reshape(3, 21, 3, 21).sum(axis=(1, 3))
    assert thirds.max() < 4 * thirds.min()
