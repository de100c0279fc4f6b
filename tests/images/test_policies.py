"""Policies by name: what each may and may not do to an image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from melanomafusion.errors import ImageError, RecipeError
from melanomafusion.images.augment import VIEWS, RandAugment, dihedral_view, record_generator
from melanomafusion.images.policies import POLICIES, get_policy
from melanomafusion.testing import paint_lesion

SIZE = 12
SQUARES = st.sampled_from([8, 12, 17, 24]).flatmap(lambda side: arrays("uint8", (side, side, 3)))
CHANGING = sorted(set(POLICIES) - {"none"})


@pytest.fixture
def image():
    """(12, 12, 3) uint8 without any symmetry."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    return np.stack([20 * x, 12 * y + 3 * x, 200 - 10 * y], axis=-1).astype("uint8")


@pytest.fixture(scope="module")
def lesion():
    """(48, 48, 3) uint8."""
    return paint_lesion(1.0, 48, np.random.default_rng(0))


def changed(image, row, policy="light"):
    return get_policy(policy)(image, record_generator(0, 0, row))


def test_policies_are_known_by_these_names():
    assert set(POLICIES) == {
        "none",
        "light",
        "medium",
        "geometric",
        "geometric-brightness",
        "winner-2020",
        "rand-augment",
        "menezes",
    }


@pytest.mark.parametrize("policy", sorted(POLICIES))
@settings(deadline=None, max_examples=60)
@given(image=SQUARES, row=st.integers(0, 10**6))
def test_shape_and_type_are_kept_and_the_image_is_not_touched(policy, image, row):
    before = image.copy()
    image.flags.writeable = False  # as pixels kept on disk are
    result = changed(image, row, policy)
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_images_stay_images(policy, level, image):
    for row in range(20):
        result = changed(np.full_like(image, level), row, policy)
        assert result.shape == (SIZE, SIZE, 3)
        assert result.dtype == np.uint8


@pytest.mark.parametrize("policy", CHANGING)
def test_the_same_record_looks_the_same_and_others_differ(policy, lesion):
    first = [changed(lesion, row, policy) for row in range(20)]
    for row in (3, 0, 19):  # another order, a policy made anew
        np.testing.assert_array_equal(changed(lesion, row, policy), first[row])
    # RandAugment draws "unchanged" twice for one record in 144.
    assert len({result.tobytes() for result in first}) >= (15 if policy == "rand-augment" else 20)


@pytest.mark.parametrize("policy", CHANGING)
def test_no_policy_wipes_the_lesion_out(policy, lesion):
    contrast = [changed(lesion, row, policy).astype(float).std() for row in range(100)]
    assert np.quantile(contrast, 0.05) > 0.4 * lesion.std()
    assert np.median(contrast) > 0.7 * lesion.std()


def test_policy_none_changes_nothing(image):
    for row in range(5):
        np.testing.assert_array_equal(changed(image, row, "none"), image)


def test_light_turns_and_mirrors_in_all_eight_ways(image):
    # Strong structure and mild colour changes: the orientation is that of the most alike view.
    views = [dihedral_view(image, view).astype(float) for view in range(VIEWS)]
    normalised = [(view - view.mean()) / view.std() for view in views]
    found = set()
    for row in range(60):
        result = changed(image, row).astype(float)
        result = (result - result.mean()) / result.std()
        found.add(int(np.argmax([np.mean(result * view) for view in normalised])))
    assert found == set(range(VIEWS))


def test_light_changes_colours_by_at_most_its_bounds(image):
    grey = np.full_like(image, 100)
    levels = {int(changed(grey, row)[0, 0, 0]) for row in range(200)}
    assert len(levels) > 25
    assert 85 <= min(levels) < 88
    assert 112 < max(levels) <= 115


def test_light_covers_nothing_and_moves_nothing_in(image):
    # Every pixel of the result is one of the image's, lighter or darker in a way common to all: order is kept.
    flat = np.repeat(image[..., :1], 3, axis=-1)
    for row in range(20):
        result = changed(flat, row)
        ranked = np.sort(result[..., 0].ravel())
        counts = np.unique(flat[..., 0], return_counts=True)[1]
        np.testing.assert_array_equal(np.unique(ranked, return_counts=True)[1], counts)


@pytest.mark.parametrize("colour", [(0, 0, 0), (200, 120, 90), (255, 255, 255)])
def test_geometric_leaves_colours_as_they_are(colour, image):
    flat = np.empty_like(image)
    flat[:] = colour
    for row in range(50):
        np.testing.assert_array_equal(changed(flat, row, "geometric"), flat)


def test_geometric_brings_in_no_colour_that_was_not_there(lesion):
    for row in range(30):
        result = changed(lesion, row, "geometric")
        assert (result.min(axis=(0, 1)) >= lesion.min(axis=(0, 1))).all()
        assert (result.max(axis=(0, 1)) <= lesion.max(axis=(0, 1))).all()


def centre_of(mask):
    return np.array([axis.mean() for axis in np.nonzero(mask)])


@pytest.mark.parametrize(("policy", "shifted"), [("geometric", True), ("geometric-brightness", False)])
def test_the_middle_of_the_image_moves_only_where_shift_is_meant(policy, shifted):
    """Turns, mirrorings and zoom leave the centre where it is; shift takes it away by up to a fifth."""
    side = 65
    spot = np.zeros((side, side, 3), dtype="uint8")
    spot[31:34, 31:34] = 200
    moved = [centre_of(changed(spot, row, policy)[..., 0] > 60) - 32 for row in range(60)]
    far = np.abs(moved).max(axis=1)
    if shifted:
        assert 0.15 * side < far.max() <= 0.2 * side + 1.5
        assert np.median(far) > 2
    else:
        assert far.max() <= 1


@pytest.mark.parametrize("policy", ["geometric", "geometric-brightness"])
def test_zoom_is_up_to_a_fifth_to_either_side(policy):
    side = 129
    y, x = np.mgrid[0:side, 0:side] - side // 2
    disc = np.repeat((np.hypot(x, y) < 24)[..., None] * np.uint8(200), 3, axis=-1)
    areas = np.array([(changed(disc, row, policy)[..., 0] > 80).sum() for row in range(200)])
    zoom = np.sqrt(areas / (disc[..., 0] > 80).sum())
    assert 0.78 < zoom.min() < 0.83
    assert 1.17 < zoom.max() < 1.22


@pytest.mark.parametrize("policy", ["geometric", "geometric-brightness"])
def test_rotation_is_up_to_twenty_degrees_from_a_turn(policy):
    side = 129
    bar = np.zeros((side, side, 3), dtype="uint8")
    bar[62:67, 24:105] = 220
    angles = []
    for row in range(200):
        y, x = np.nonzero(changed(bar, row, policy)[..., 0] > 80)
        direction = np.linalg.svd(np.stack([x - x.mean(), y - y.mean()]), full_matrices=False)[0][:, 0]
        angle = np.degrees(np.arctan2(direction[1], direction[0])) % 90
        angles.append(min(angle, 90 - angle))
    assert 17 < max(angles) < 21


def test_geometric_brightness_makes_images_lighter_and_darker_by_up_to_a_fifth(image):
    grey = np.full_like(image, 100)
    levels = [int(changed(grey, row, "geometric-brightness")[0, 0, 0]) for row in range(300)]
    assert 79 <= min(levels) < 83
    assert 117 < max(levels) <= 121
    coloured = np.empty_like(image)
    coloured[:] = 40, 80, 120
    for row in range(30):  # brightness alone: channels keep their ratio
        red, green, blue = changed(coloured, row, "geometric-brightness")[6, 6].astype(float)
        assert (green / red, blue / red) == pytest.approx((2, 3), abs=0.1)


def test_menezes_has_the_published_steps():
    names = [type(step).__name__ for step in get_policy("menezes").steps]
    assert names == ["ResizedCrop", "Dihedral", "Affine", "Sometimes", "ColourJitter", "RandAugment", "Sometimes"]
    choices = [
        [type(choice).__name__ for choice in step.choices]
        for step in get_policy("menezes").steps
        if type(step).__name__ == "Sometimes"
    ]
    assert choices == [["Perspective"], ["Erasing"]]


def test_menezes_changes_place_colour_and_covers_parts(lesion):
    results = [changed(lesion, row, "menezes").astype(float) for row in range(100)]
    means = np.array([result.mean(axis=(0, 1)) for result in results])
    assert means.std(axis=0).min() > 5
    assert len({result.tobytes() for result in results}) == 100


def test_the_winners_policy_has_the_published_steps_and_probabilities():
    # Ha, Liu, Liu 2020, arXiv 2010.05351, and the table of augmentations in their repository.
    steps = get_policy("winner-2020").steps[1:]
    assert [(step.probability, {type(choice).__name__ for choice in step.choices}) for step in steps] == [
        (0.75, {"BrightnessContrast"}),
        (0.7, {"MotionBlur", "MedianBlur", "GaussianBlur", "GaussianNoise"}),
        (0.7, {"OpticalDistortion", "GridDistortion", "ElasticDistortion"}),
        (0.7, {"Clahe"}),
        (0.5, {"HueSaturationValue"}),
        (0.85, {"Affine"}),
        (0.7, {"Cutout"}),
    ]


def test_the_winners_policy_shows_a_black_border_and_hole_as_often_as_published():
    image = np.full((64, 64, 3), 180, dtype="uint8")
    results = np.array([(changed(image, row, "winner-2020") < 20).all(axis=-1) for row in range(400)])
    centre_dark = results[:, 30:34, 30:34].all(axis=(1, 2)).mean()
    corner_dark = results[:, [0, 0, -1, -1], [0, -1, 0, -1]].any(axis=1).mean()
    # The hole of 24 pixels covers a centre of 4 when its own lies within 20 by 20 of 64²: 0.7 · 0.098 = 0.07.
    assert 0.02 < centre_dark < 0.13
    assert 0.75 < corner_dark <= 0.95


def test_rand_augment_is_two_of_at_least_ten_changes(image):
    policy = get_policy("rand-augment")
    assert isinstance(policy, RandAugment)
    assert policy.count == 2
    assert len(policy.choices) >= 10
    same = sum(np.array_equal(changed(image, row, "rand-augment"), image) for row in range(500))
    # "unchanged" twice (1 in 144), or an eighth of dihedral with it: 500 · (1/144 + 2/96 · 1/12) = 4.
    assert same < 30


@pytest.mark.parametrize("unknown", ["lihgt", "", "Light", None, 5])
def test_unknown_policy_is_refused(unknown):
    with pytest.raises(RecipeError, match=r"Known augmentations: none, light.*Received: augmentation="):
        get_policy(unknown)


def test_a_function_of_the_users_own_is_a_policy(image):
    policy = get_policy(lambda picture, rng: picture[::-1])
    np.testing.assert_array_equal(policy(image, np.random.default_rng(0)), image[::-1])


def test_a_function_of_the_users_own_is_looked_at(image):
    def shrink(picture, rng):
        del rng
        return picture[::2, ::2]

    with pytest.raises(ImageError, match="shrink"):
        get_policy(shrink)(image, np.random.default_rng(0))


def test_a_policy_of_the_librarys_own_steps_can_be_given_as_a_function(lesion):
    np.testing.assert_array_equal(
        get_policy(POLICIES["medium"]())(lesion, record_generator(0, 0, 3)), changed(lesion, 3, "medium")
    )
