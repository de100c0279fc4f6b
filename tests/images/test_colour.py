"""Light and colour against plain formulas and OpenCV called by hand; blur and noise by what they are known for."""

import colorsys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from melanomafusion.images.colour import (
    BrightnessContrast,
    Clahe,
    ColourJitter,
    GaussianBlur,
    GaussianNoise,
    HueSaturationValue,
    MedianBlur,
    MotionBlur,
)

IMAGES = st.tuples(st.integers(8, 24), st.integers(8, 24)).flatmap(lambda sides: arrays("uint8", (*sides, 3)))
SEEDS = st.integers(0, 2**32 - 1)
ENDS = st.sampled_from([0, 1])
STEPS = [
    ColourJitter(0.9, 0.9, 0.9, hue=180),
    BrightnessContrast(0.9, 0.9),
    HueSaturationValue(90, 255, 255),
    Clahe(8.0),
    GaussianBlur(7),
    MedianBlur(7),
    MotionBlur(7),
    GaussianNoise((100.0, 900.0)),
]
BLURS = [GaussianBlur(9), MedianBlur(9), MotionBlur(9)]
NOTHING = [ColourJitter(0, 0, 0), BrightnessContrast(0, 0), GaussianNoise((0, 0))]


class Extreme:
    """A generator that always draws one end of a range: 0 the lowest, 1 the highest."""

    def __init__(self, end):
        self.end = end

    def uniform(self, low, high, size=None):
        drawn = low + self.end * (high - low)
        return np.full(size, drawn) if size else drawn

    def integers(self, below):
        return round(self.end * (below - 1))


@pytest.fixture
def picture():
    """(32, 32, 3) uint8 noise."""
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype="uint8")


@pytest.mark.parametrize("step", STEPS, ids=repr)
@settings(deadline=None, max_examples=40)
@given(image=IMAGES, seed=SEEDS)
def test_shape_and_type_are_kept_and_the_image_is_not_touched(step, image, seed):
    before = image.copy()
    image.flags.writeable = False  # as pixels kept on disk are
    result = step(image, np.random.default_rng(seed))
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(step(image, np.random.default_rng(seed)), result)


@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_another_chance_gives_another_image(step):
    # Large enough for the limit of CLAHE to show: a tile of a few pixels is always at its least.
    picture = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype="uint8")
    assert len({step(picture, np.random.default_rng(seed)).tobytes() for seed in range(12)}) >= 3


@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_a_view_of_another_array_is_as_good_as_a_copy(step, picture):
    mirrored = picture[:, ::-1]
    result = step(mirrored, np.random.default_rng(3))
    np.testing.assert_array_equal(result, step(mirrored.copy(), np.random.default_rng(3)))


@pytest.mark.parametrize("step", NOTHING, ids=repr)
@settings(deadline=None, max_examples=20)
@given(image=IMAGES, seed=SEEDS)
def test_no_strength_is_no_change(step, image, seed):
    np.testing.assert_array_equal(step(image, np.random.default_rng(seed)), image)


@settings(deadline=None, max_examples=80)
@given(
    image=IMAGES,
    end=ENDS,
    brightness=st.floats(0, 0.5),
    contrast=st.floats(0, 0.5),
    saturation=st.floats(0, 0.9),
    hue=st.floats(0, 60),
)
def test_colour_jitter_is_the_plain_formula(image, end, brightness, contrast, saturation, hue):
    result = ColourJitter(brightness, contrast, saturation, hue)(image, Extreme(end))
    sign = 2 * end - 1
    pixels = image.astype("float64")
    grey = pixels.mean(axis=-1, keepdims=True)
    colour = (1 + sign * saturation) * (pixels - grey)
    # A turn about the grey axis: the colour, and the vector at right angles to it and to the axis.
    turned = np.cross(np.full(3, 1 / np.sqrt(3)), colour)
    angle = np.radians(sign * hue)
    pixels = grey + np.cos(angle) * colour + np.sin(angle) * turned
    mean = image.mean()
    pixels = (1 + sign * brightness) * (mean + (1 + sign * contrast) * (pixels - mean))
    np.testing.assert_allclose(result, np.clip(pixels, 0, 255), atol=1)


def test_each_part_of_the_jitter_is_drawn_by_itself(picture):
    seen = {"brightness": [], "contrast": [], "saturation": []}
    small = 100 + picture // 8  # far from black and white, so nothing is cut off
    rng = np.random.default_rng(0)
    for _ in range(300):
        result = ColourJitter(0.2, 0.3, 0.4)(small, rng).astype(float)
        seen["brightness"].append(result.mean() / small.mean())
        grey, before = result.mean(axis=-1), small.mean(axis=-1)
        seen["contrast"].append(grey.std() / before.std() / seen["brightness"][-1])
        colour = (result - grey[..., None]).std() / (small - before[..., None]).std()
        seen["saturation"].append(colour / seen["brightness"][-1] / seen["contrast"][-1])
    for name, width in (("brightness", 0.2), ("contrast", 0.3), ("saturation", 0.4)):
        values = np.array(seen[name])
        assert values.min() >= 1 - width - 0.03
        assert values.max() <= 1 + width + 0.03
        assert np.ptp(values) > 1.8 * width
        assert values.mean() == pytest.approx(1, abs=5 * width / np.sqrt(3 * 300))
    assert np.abs(np.corrcoef(list(seen.values())) - np.eye(3)).max() < 0.3


@settings(deadline=None)
@given(level=st.integers(0, 255), hue=st.floats(0, 180), saturation=st.floats(0, 1), end=ENDS)
def test_hue_and_saturation_keep_grey(level, hue, saturation, end):
    image = np.full((8, 8, 3), level, dtype="uint8")
    np.testing.assert_allclose(ColourJitter(0, 0, saturation, hue)(image, Extreme(end)), image, atol=1)


def test_a_hue_turn_of_a_third_exchanges_the_channels(picture):
    turned = ColourJitter(0, 0, 0, hue=120)(picture, Extreme(1))
    np.testing.assert_allclose(turned.astype(int), picture[..., [2, 0, 1]], atol=1)  # red becomes green
    back = ColourJitter(0, 0, 0, hue=120)(picture, Extreme(0))
    np.testing.assert_allclose(back.astype(int), picture[..., [1, 2, 0]], atol=1)


@pytest.mark.parametrize("end", [0, 1])
def test_brightness_and_contrast_are_the_plain_formula(picture, end):
    result = BrightnessContrast(0.1, 0.3)(picture, Extreme(end))
    factor, shift = (1.3, 25.5) if end else (0.7, -25.5)
    np.testing.assert_allclose(result, np.clip(picture * factor + shift, 0, 255), atol=0.5 + 1e-9)


def test_brightness_and_contrast_are_drawn_by_themselves():
    image = np.tile(np.array([100, 150], dtype="uint8"), (8, 4))[..., None].repeat(3, axis=-1)
    rng = np.random.default_rng(0)
    results = np.array([BrightnessContrast(0.1, 0.2)(image, rng)[0, :2, 0] for _ in range(400)]).astype(float)
    factor = (results[:, 1] - results[:, 0]) / 50
    shift = results[:, 0] - 100 * factor
    assert 0.79 <= factor.min() < 0.83
    assert 1.17 < factor.max() <= 1.21
    assert -27.5 <= shift.min() < -22
    assert 22 < shift.max() <= 27.5
    assert abs(np.corrcoef(factor, shift)[0, 1]) < 0.25


@pytest.mark.parametrize("end", [0, 1])
def test_hue_saturation_and_value_are_shifted_as_by_hand(picture, end):
    result = HueSaturationValue(12, 25, 40)(picture, Extreme(end))
    sign = 2 * end - 1
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV).astype(int)
    hsv[..., 0] = (hsv[..., 0] + sign * 12) % 180
    hsv[..., 1:] = np.clip(hsv[..., 1:] + np.array([25, 40]) * sign, 0, 255)
    np.testing.assert_array_equal(result, cv2.cvtColor(hsv.astype("uint8"), cv2.COLOR_HSV2RGB))


def test_hue_saturation_and_value_are_those_of_the_colour_model():
    colour = np.array([200, 90, 60])
    image = np.full((8, 8, 3), colour, dtype="uint8")
    result = HueSaturationValue(20, 30, 15)(image, Extreme(1))[0, 0]
    hue, saturation, value = colorsys.rgb_to_hsv(*colour / 255)
    wanted = colorsys.hsv_to_rgb(hue + 40 / 360, saturation + 30 / 255, value + 15 / 255)
    np.testing.assert_allclose(result, 255 * np.array(wanted), atol=4)  # hue is kept in steps of two degrees


@pytest.mark.parametrize(("end", "clip"), [(0, 1.0), (1, 4.0)])
def test_clahe_is_that_of_opencv_on_the_lightness(picture, end, clip):
    lightness, a, b = cv2.split(cv2.cvtColor(picture, cv2.COLOR_RGB2Lab))
    lightness = cv2.createCLAHE(clipLimit=clip, tileGridSize=(8, 8)).apply(lightness)
    wanted = cv2.cvtColor(cv2.merge([lightness, a, b]), cv2.COLOR_Lab2RGB)
    np.testing.assert_array_equal(Clahe(4.0)(picture, Extreme(end)), wanted)


@pytest.mark.parametrize(("end", "side"), [(0, 3), (1, 5)])
@pytest.mark.parametrize("limit", [5, 6])
def test_blurs_are_those_of_opencv(picture, end, side, limit):
    gaussian = cv2.GaussianBlur(picture, (side, side), 0)
    np.testing.assert_array_equal(GaussianBlur(limit)(picture, Extreme(end)), gaussian)
    np.testing.assert_array_equal(MedianBlur(limit)(picture, Extreme(end)), cv2.medianBlur(picture, side))


def test_every_odd_side_up_to_the_limit_is_drawn_equally(picture):
    sides = {cv2.GaussianBlur(picture, (side, side), 0).tobytes(): side for side in (3, 5, 7)}
    rng = np.random.default_rng(0)
    found = [sides[GaussianBlur(7)(picture, rng).tobytes()] for _ in range(900)]
    # 300 each expected, deviation 14.
    assert np.abs(np.bincount(found)[[3, 5, 7]] - 300).max() < 70


@pytest.mark.parametrize("step", BLURS, ids=repr)
@settings(deadline=None, max_examples=15)
@given(image=IMAGES, level=st.integers(0, 255), seed=SEEDS)
def test_blurs_stay_within_the_image_and_keep_a_constant_one(step, image, level, seed):
    result = step(image, np.random.default_rng(seed))
    assert image.min() <= result.min() <= result.max() <= image.max()
    constant = np.full_like(image, level)
    np.testing.assert_array_equal(step(constant, np.random.default_rng(seed)), constant)


def test_motion_blur_makes_a_line_of_a_point_in_every_direction():
    point = np.zeros((15, 15, 3), dtype="uint8")
    point[7, 7] = 255
    rng = np.random.default_rng(0)
    angles = []
    for _ in range(200):
        light = MotionBlur(5)(point, rng)[..., 0].astype(float)
        rows, columns = np.nonzero(light)
        assert 3 <= len(rows) <= 5
        assert light.sum() == pytest.approx(255, abs=3)
        assert abs(rows.mean() - 7) <= 0.5
        assert abs(columns.mean() - 7) <= 0.5
        assert max(np.ptp(rows), np.ptp(columns)) == len(rows) - 1  # one pixel per step, without a gap
        centred = np.stack([columns - 7, rows - 7])
        assert np.linalg.svd(centred, compute_uv=False)[1] < 1  # all near one line
        angles.append(round(np.degrees(np.arctan2(*np.linalg.svd(centred)[0][::-1, 0])) % 180))
    assert {0, 45, 90, 135} <= set(angles)


@pytest.mark.parametrize(("end", "variance"), [(0, 5.0), (1, 30.0)])
def test_noise_has_its_variance_in_every_pixel_and_channel(end, variance):
    image = np.full((128, 128, 3), 128, dtype="uint8")

    class Noise(Extreme):
        standard_normal = staticmethod(np.random.default_rng(0).standard_normal)

    noise = GaussianNoise((5.0, 30.0))(image, Noise(end)).astype(float) - 128
    # Rounding adds a twelfth; 49,152 values know a variance to 0.6 %.
    assert noise.var() == pytest.approx(variance + 1 / 12, rel=0.04)
    assert abs(noise.mean()) < 5 * np.sqrt(variance / noise.size)
    assert np.abs(np.corrcoef(noise.reshape(-1, 3).T) - np.eye(3)).max() < 0.05
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.03


def test_the_variance_of_noise_is_drawn_from_its_range():
    image = np.full((64, 64, 3), 128, dtype="uint8")
    rng = np.random.default_rng(0)
    variances = np.array([(GaussianNoise((5.0, 30.0))(image, rng).astype(float) - 128).var() for _ in range(100)])
    assert 4.5 < variances.min() < 8
    assert 27 < variances.max() < 32
    assert variances.mean() == pytest.approx(17.6, abs=3.6)


def test_noise_does_not_run_over_black_and_white():
    for level in (0, 255):
        image = np.full((32, 32, 3), level, dtype="uint8")
        result = GaussianNoise((30.0, 30.0))(image, np.random.default_rng(0)).astype(int)
        assert np.abs(result - level).max() < 40
        assert (result == level).mean() > 0.4
