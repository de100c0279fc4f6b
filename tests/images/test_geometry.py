"""Pixels moved: where they go, and that nothing comes from nowhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from melanomafusion.images.augment import VIEWS, dihedral_view
from melanomafusion.images.geometry import (
    Affine,
    Dihedral,
    ElasticDistortion,
    Flip,
    GridDistortion,
    OpticalDistortion,
    Perspective,
    ResizedCrop,
)

SQUARES = st.integers(8, 24).flatmap(lambda side: arrays("uint8", (side, side, 3)))
SEEDS = st.integers(0, 2**32 - 1)
STEPS = [
    Dihedral(),
    Flip(),
    Affine(180, 0.5, 0.5),
    Perspective(0.4),
    ResizedCrop((0.05, 1.0)),
    OpticalDistortion(1.0),
    GridDistortion(5, 1.0),
    ElasticDistortion(5.0),
]
BLACK_BORDER = Affine(180, 0.5, 0.5, border="black")
NOTHING = [
    Flip(0, 0),
    Affine(0, 0, 0),
    Affine(0, 0, 0, border="black"),
    Perspective(0),
    ResizedCrop((1, 1), (1, 1)),
    OpticalDistortion(0),
    GridDistortion(5, 0),
    ElasticDistortion(0),
]


class Extreme:
    """A generator that always draws one end of a range: 0 the lowest, 1 the highest, and numbers in turn."""

    def __init__(self, end, *numbers):
        self.end, self.numbers = end, list(numbers)

    def uniform(self, low=0.0, high=1.0, size=None):
        return np.full(size, low + self.end * (high - low)) if size else low + self.end * (high - low)

    def integers(self, below):
        return self.numbers.pop(0) if self.numbers else round(self.end * (below - 1))


@pytest.fixture
def picture():
    """(33, 33, 3) uint8: smooth, without any symmetry."""
    y, x = np.mgrid[0:33, 0:33]
    return np.stack([6 * x, 3 * y + 2 * x, 200 - 5 * y], axis=-1).astype("uint8")


@pytest.mark.parametrize("step", [*STEPS, BLACK_BORDER], ids=repr)
@settings(deadline=None, max_examples=40)
@given(image=SQUARES, seed=SEEDS)
def test_shape_type_and_range_are_kept_and_the_image_is_not_touched(step, image, seed):
    before = image.copy()
    image.flags.writeable = False  # as pixels kept on disk are
    result = step(image, np.random.default_rng(seed))
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    assert result.max() <= image.max()
    assert result.min() >= (0 if step is BLACK_BORDER else image.min())
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("step", STEPS, ids=repr)
@settings(deadline=None, max_examples=15)
@given(level=st.tuples(*[st.integers(0, 255)] * 3), side=st.integers(8, 40), seed=SEEDS)
def test_a_constant_image_stays_constant(step, level, side, seed):
    image = np.full((side, side, 3), level, dtype="uint8")
    np.testing.assert_array_equal(step(image, np.random.default_rng(seed)), image)


@pytest.mark.parametrize("step", [*STEPS, BLACK_BORDER], ids=repr)
def test_the_same_chance_gives_the_same_image_and_another_another(step, picture):
    results = [step(picture, np.random.default_rng(seed)) for seed in range(12)]
    for seed, result in enumerate(results):
        np.testing.assert_array_equal(step(picture, np.random.default_rng(seed)), result)
    assert len({result.tobytes() for result in results}) >= 3


@pytest.mark.parametrize("step", [*STEPS, BLACK_BORDER], ids=repr)
def test_a_view_of_another_array_is_as_good_as_a_copy(step, picture):
    mirrored = picture[:, ::-1]
    result = step(mirrored, np.random.default_rng(3))
    np.testing.assert_array_equal(result, step(mirrored.copy(), np.random.default_rng(3)))


@pytest.mark.parametrize("step", NOTHING, ids=repr)
@settings(deadline=None, max_examples=20)
@given(image=SQUARES, seed=SEEDS)
def test_no_strength_is_no_change(step, image, seed):
    np.testing.assert_array_equal(step(image, np.random.default_rng(seed)), image)


def test_dihedral_reaches_all_eight_views_equally(picture):
    view_of = {dihedral_view(picture, view).tobytes(): view for view in range(VIEWS)}
    rng = np.random.default_rng(0)
    found = [view_of[Dihedral()(picture, rng).tobytes()] for _ in range(4000)]
    # 500 each expected, deviation 21.
    counts = np.bincount(found, minlength=VIEWS)
    assert np.abs(counts - 500).max() < 100


@pytest.mark.parametrize("view", range(VIEWS))
def test_dihedral_is_the_view_that_was_drawn(picture, view):
    np.testing.assert_array_equal(Dihedral()(picture, Extreme(0, view)), dihedral_view(picture, view))


def test_flips_are_as_often_as_their_probabilities(picture):
    rng = np.random.default_rng(0)
    views = [picture, picture[::-1], picture[:, ::-1], picture[::-1, ::-1]]
    found = [Flip(0.2, 0.6)(picture, rng) for _ in range(2000)]
    counts = [sum(np.array_equal(view, one) for one in found) for view in views]
    # 2,000 draws: deviation at most 22.
    np.testing.assert_allclose(counts, [640, 160, 960, 240], atol=100)


@pytest.mark.parametrize(("end", "turns"), [(1, 1), (0, -1)])
def test_a_quarter_turn_is_that_of_numpy(picture, end, turns):
    np.testing.assert_array_equal(Affine(90, 0, 0)(picture, Extreme(end)), np.rot90(picture, turns))


@pytest.mark.parametrize("border", ["reflect", "black"])
@pytest.mark.parametrize(("end", "by"), [(1, 8), (0, -8)])
def test_a_shift_is_that_of_numpy_inside_and_the_border_outside(border, end, by):
    image = np.random.default_rng(0).integers(1, 256, (32, 32, 3), dtype="uint8")
    shifted = Affine(0, 0, 0.25, border=border)(image, Extreme(end))
    inside = np.s_[8:, 8:] if by > 0 else np.s_[:-8, :-8]
    np.testing.assert_array_equal(shifted[inside], np.roll(image, (by, by), axis=(0, 1))[inside])
    outside = shifted[:8] if by > 0 else shifted[-8:]
    assert (outside == 0).all() == (border == "black")
    if border == "reflect":
        across = shifted[:, 0] if by > 0 else shifted[:, -1]
        along = np.pad(image, ((8, 8), (8, 8), (0, 0)), mode="reflect")
        np.testing.assert_array_equal(across, along[:32, 0] if by > 0 else along[16:, -1])


def test_zoom_is_about_the_centre(picture):
    zoomed = Affine(0, 1.0, 0)(picture, Extreme(1))  # twice as large; the picture is linear, so exact but for rounding
    inside = picture[8:25, 8:25]
    np.testing.assert_allclose(zoomed[::2, ::2], inside, atol=1)


def test_affine_stays_within_its_angle_zoom_and_shift():
    image = np.zeros((65, 65, 3), dtype="uint8")
    image[32, 32] = image[32, 48] = 255  # the centre, and a point a quarter of the side to the right
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(150):
        light = Affine(20, 0.2, 0.1, border="black")(image, rng)[..., 0].astype(float)
        rows, columns = np.nonzero(light)
        left = columns < columns.mean()
        ends = [
            np.average(np.stack([columns, rows])[:, part], axis=1, weights=light[rows, columns][part])
            for part in (left, ~left)
        ]
        along = ends[1] - ends[0]
        angle, length = np.degrees(np.arctan2(along[1], along[0])), np.hypot(*along)
        seen.append((angle, length / 16, *(ends[0] - 32) / 65))
    # The places of lone pixels are known to a few tenths of a pixel: 2° at 16 pixels.
    low, high = np.min(seen, axis=0), np.max(seen, axis=0)
    assert (low >= [-22.5, 0.76, -0.11, -0.11]).all()
    assert (high <= [22.5, 1.24, 0.11, 0.11]).all()
    assert (low <= [-17, 0.86, -0.085, -0.085]).all()
    assert (high >= [17, 1.14, 0.085, 0.085]).all()


def test_perspective_enlarges_the_part_inside_the_moved_corners():
    y, x = np.mgrid[0:101, 0:101]
    image = np.stack([2 * x, 2 * y, 0 * x], axis=-1).astype("uint8")
    moved = Perspective(0.2)(image, Extreme(1))  # every corner a fifth of the side inwards
    for row, column in ((0, 0), (0, 100), (100, 100), (100, 0), (50, 50), (25, 10), (80, 65)):
        wanted = [2 * (20 + 0.6 * column), 2 * (20 + 0.6 * row), 0]
        np.testing.assert_allclose(moved[row, column], wanted, atol=1)


@settings(deadline=None, max_examples=60)
@given(seed=SEEDS, least=st.floats(0.1, 0.7))
def test_a_resized_crop_shows_a_part_of_its_area_and_ratio(seed, least):
    y, x = np.mgrid[0:120, 0:120]
    image = np.stack([2 * x, 2 * y, 0 * x], axis=-1).astype("uint8")
    result = ResizedCrop((least, 0.75))(image, np.random.default_rng(seed)).astype(float)
    width, height = np.ptp(result[..., 0]) / 2 + 1, np.ptp(result[..., 1]) / 2 + 1
    assert least - 0.02 <= width * height / 120**2 <= 0.77
    assert 3 / 4 - 0.04 <= width / height <= 4 / 3 + 0.04


def test_resized_crops_lie_anywhere():
    y, x = np.mgrid[0:64, 0:64]
    image = np.stack([4 * x, 4 * y, 0 * x], axis=-1).astype("uint8")
    rng = np.random.default_rng(0)
    corners = np.array([ResizedCrop((0.25, 0.25), (1, 1))(image, rng)[0, 0, :2] // 4 for _ in range(400)])
    assert corners.min(axis=0).tolist() == [0, 0]
    assert corners.max(axis=0).tolist() == [32, 32]
    # Uniform over 33 places: mean 16, deviation of the mean 0.48.
    np.testing.assert_allclose(corners.mean(axis=0), 16, atol=2)


@pytest.mark.parametrize(("end", "outwards"), [(0, True), (1, False)])
def test_optical_distortion_is_a_barrel_or_a_pincushion(end, outwards):
    y, x = np.mgrid[0:101, 0:101]
    image = np.stack([2 * x, 2 * y, 0 * x], axis=-1).astype("uint8")
    result = OpticalDistortion(0.5)(image, Extreme(end)).astype(float)
    steps = np.array([10, 20, 30, 40])  # along the diagonal, from the centre outwards
    radius = np.hypot(*(result[50 + steps, 50 + steps, :2] / 2 - 50).T)
    # r · (1 + k·r² + k·r⁴), r as a share of the width; the centre itself moves by up to half a pixel.
    share = steps * np.sqrt(2) / 101
    k = 0.5 if end else -0.5
    np.testing.assert_allclose(radius, 101 * share * (1 + k * share**2 + k * share**4), atol=1.2)
    assert (radius[-1] < 40 * np.sqrt(2)) == outwards


def test_grid_distortion_keeps_order_and_ends():
    y, x = np.mgrid[0:101, 0:101]
    image = np.stack([2 * x, 2 * y, 0 * x], axis=-1).astype("uint8")
    rng = np.random.default_rng(0)
    for _ in range(20):
        result = GridDistortion(5, 0.5)(image, rng).astype(int)
        assert (np.diff(result[..., 0], axis=1) >= 0).all()
        assert (np.diff(result[..., 1], axis=0) >= 0).all()
        assert result[0, 0].tolist() == [0, 0, 0]
        assert result[-1, -1].tolist() == [200, 200, 0]
        widths = np.diff(result[0, ::20, 0]) / 40  # five cells; 1 where nothing moved
        assert widths.max() / widths.min() <= 1.5 / 0.5 + 0.1
        np.testing.assert_array_equal(result[..., 0], np.broadcast_to(result[:1, :, 0], (101, 101)))


def test_elastic_distortion_moves_by_alpha_pixels_and_neighbours_together():
    y, x = np.mgrid[0:128, 0:128]
    image = np.stack([1.5 * x + 30, 1.5 * y + 30, 0 * x], axis=-1).astype("uint8")
    rng = np.random.default_rng(0)
    moves = []
    for _ in range(40):
        result = ElasticDistortion(3.0)(image, rng).astype(float)
        moves.append(((result - image) / 1.5)[16:-16, 16:-16, :2])
    moves = np.array(moves)
    assert 2.0 < moves.std() < 3.3  # interpolation between independent moves takes a part of their deviation
    assert np.abs(moves.mean()) < 0.4
    steps = np.diff(moves, axis=1)
    assert steps.std() < 0.25 * moves.std() + 0.3  # rounding to grey levels: 0.3 pixels
