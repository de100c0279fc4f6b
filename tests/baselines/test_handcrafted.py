"""Colour and texture features against scikit-image and SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.stats import skew
from skimage.color import rgb2gray, rgb2hsv, rgb2lab
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern

from melanomafusion.baselines.handcrafted import (
    BINS,
    DISTANCES,
    FEATURE_NAMES,
    LEVELS,
    PATTERNS,
    PROPERTIES,
    handcrafted_features,
)
from melanomafusion.errors import ImageError, MelanomaFusionError
from melanomafusion.testing import paint_lesion


def lesion(seed=0, size=64):
    return paint_lesion(1.0, size, np.random.default_rng(seed))


def noise(shape=(40, 56, 3), seed=0):
    """Of skin's colours; blurred a little, so that neighbours are alike and patterns of all kinds occur."""
    values = np.random.default_rng(seed).normal(size=shape)
    return ((190, 120, 90) + 60 * gaussian_filter(values, (0.8, 0.8, 0))).clip(0, 255).astype("uint8")


def named(image):
    return dict(zip(FEATURE_NAMES, handcrafted_features(image), strict=True))


def grey_image(levels):
    """RGB of equal channels, whose grey image is the levels themselves."""
    return np.repeat(np.asarray(levels, dtype="uint8")[..., None], 3, axis=2)


def unit_channels(image):
    """The nine channels by scikit-image, in [0, 1]."""
    hsv = rgb2hsv(image)
    hue = (hsv[..., 0] + 0.5) % 1
    lab = rgb2lab(image)
    names = ("red", "green", "blue", "hue", "saturation", "value", "lightness", "a", "b")
    scaled = [
        *(image[..., c] / 255 for c in range(3)),
        hue,
        hsv[..., 1],
        hsv[..., 2],
        lab[..., 0] / 100,
        *((lab[..., c] + 128) / 255 for c in (1, 2)),
    ]
    return dict(zip(names, scaled, strict=True))


def test_names_are_as_many_as_features_and_each_stands_once():
    features = handcrafted_features(lesion())
    assert features.shape == (len(FEATURE_NAMES),) == (243,)
    assert features.dtype == np.float32
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES)


@pytest.mark.parametrize("image", [lesion(), noise()], ids=["lesion", "noise"])
def test_moments_are_those_of_scikit_image_channels(image):
    found = named(image)
    for channel, values in unit_channels(image).items():
        assert found[f"{channel} mean"] == pytest.approx(values.mean(), abs=2e-3), channel
        assert found[f"{channel} deviation"] == pytest.approx(values.std(), abs=2e-3), channel
        assert found[f"{channel} skew"] == pytest.approx(skew(values.ravel()), abs=0.05), channel


def test_histograms_are_numpys():
    image = noise(seed=3)
    found = named(image)
    for channel in ("red", "green", "blue", "saturation", "value"):
        wanted = np.histogram(unit_channels(image)[channel], BINS, (0, 1))[0] / image[..., 0].size
        ours = np.array([found[f"{channel} bin {k}"] for k in range(BINS)])
        assert ours == pytest.approx(wanted, abs=5e-3), channel


def test_red_skin_has_a_mean_hue_of_red_on_both_sides_of_the_seam():
    image = np.zeros((16, 16, 3), dtype="uint8")
    image[:8] = (200, 60, 50)  # hue 4°
    image[8:] = (200, 50, 60)  # hue 356°
    found = named(image)
    assert found["hue mean"] == pytest.approx(0.5, abs=1e-6)
    assert found["hue deviation"] == pytest.approx(4 / 360, rel=1e-3)


def test_co_occurrence_properties_are_scikit_images():
    rng = np.random.default_rng(1)
    grey = gaussian_filter(rng.normal(size=(37, 52)), 1.5)
    grey = (128 + 250 * grey).clip(0, 255).astype("uint8")
    found = named(grey_image(grey))
    for distance in DISTANCES:
        matrices = []
        # scikit-image walks a distance along the diagonal; ours steps by pixels.
        for angle, reach in ((0, 1), (np.pi / 4, 2**0.5), (np.pi / 2, 1), (3 * np.pi / 4, 2**0.5)):
            matrices.append(
                graycomatrix(grey // (256 // LEVELS), [distance * reach], [angle], LEVELS, symmetric=True, normed=True)
            )
        for name in PROPERTIES:
            wanted = np.mean([graycoprops(matrix, name)[0, 0] for matrix in matrices])
            assert found[f"{name} at {distance}"] == pytest.approx(wanted, rel=1e-5), (name, distance)


@pytest.mark.parametrize(("points", "radius"), PATTERNS)
def test_local_binary_patterns_are_scikit_images(points, radius):
    grey = noise((48, 61, 3), seed=points)[..., 0]
    found = named(grey_image(grey))
    codes = local_binary_pattern(grey, points, radius, "uniform")[radius:-radius, radius:-radius]
    wanted = np.bincount(codes.astype(int).ravel(), minlength=points + 2) / codes.size
    ours = [found[f"pattern {k} of {points} at {radius}"] for k in range(points + 2)]
    assert ours == pytest.approx(wanted, abs=2 / codes.size)


def test_the_grey_image_is_that_of_rec_601():
    image = np.random.default_rng(5).integers(0, 256, (32, 32, 3), dtype="uint8")
    luma = image @ np.array([0.299, 0.587, 0.114])
    texture = slice(FEATURE_NAMES.index(f"{PROPERTIES[0]} at 1"), None)
    ours = handcrafted_features(image)[texture]
    assert ours == pytest.approx(handcrafted_features(grey_image(np.rint(luma)))[texture], abs=5e-3)
    other = handcrafted_features(grey_image(np.rint(255 * rgb2gray(image))))[texture]  # Rec. 709
    assert np.abs(ours - other).max() > 0.1


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 130, 110)])
def test_one_colour_has_no_spread_and_flat_texture(colour):
    found = named(np.full((20, 30, 3), colour, dtype="uint8"))
    assert np.isfinite(list(found.values())).all()
    assert all(abs(found[name]) < 1e-6 for name in FEATURE_NAMES if name.endswith(("deviation", "skew")))
    assert (found["contrast at 1"], found["energy at 1"], found["correlation at 1"]) == (0, 1, 1)
    assert found["entropy at 4"] == 0
    # A neighbour as bright as the centre counts as one: all ones, which is uniform.
    assert [found[f"pattern {points} of {points} at {radius}"] for points, radius in PATTERNS] == [1, 1, 1]


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1000), height=st.integers(8, 40), width=st.integers(8, 40))
def test_features_are_finite_and_histograms_are_shares(seed, height, width):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype="uint8")
    found = named(image)
    assert np.isfinite(list(found.values())).all()
    for kind in (" bin ", "pattern "):
        assert sum(value for name, value in found.items() if kind in name) == pytest.approx(9 if kind == " bin " else 3)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000))
def test_a_turned_or_mirrored_lesion_has_the_same_features(seed):
    image = noise((33, 33, 3), seed)
    features = handcrafted_features(image)
    for other in (np.rot90(image), image[::-1], image.transpose(1, 0, 2)):
        assert handcrafted_features(other) == pytest.approx(features, abs=3e-3)


def test_shades_of_one_lesion_are_told_apart():
    dark, light = (paint_lesion(e, 64, np.random.default_rng(0)) for e in (3.0, -3.0))
    assert named(dark)["b mean"] < named(light)["b mean"] - 0.01


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((20, 20), dtype="uint8"),
        np.zeros((20, 20, 4), dtype="uint8"),
        np.zeros((20, 20, 3), dtype="float32"),
        np.zeros((7, 20, 3), dtype="uint8"),
        np.zeros((0, 0, 3), dtype="uint8"),
        np.zeros((2, 20, 20, 3), dtype="uint8"),
        "lesion.jpg",
        None,
    ],
    ids=["grey", "alpha", "float", "small", "empty", "batch", "path", "none"],
)
def test_what_is_no_image_is_refused_with_what_it_is(image):
    with pytest.raises(ImageError, match=r"\(H, W, 3\) uint8.*Received: ") as caught:
        handcrafted_features(image)
    assert isinstance(caught.value, MelanomaFusionError)
