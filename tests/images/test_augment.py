"""Augmentation: pictures stay pictures, and chance follows from the seed alone."""

import numpy as np
import pytest
import tensorflow as tf

from melanomafusion.errors import RecipeError
from melanomafusion.images.augment import POLICIES, VIEWS, dihedral_view, get_policy, light

SIZE = 12


@pytest.fixture
def image():
    """(12, 12, 3) float32 in 0–255 without any symmetry."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    return np.stack([20 * x, 12 * y + 3 * x, 200 - 10 * y], axis=-1).astype("float32")


def changed(image, seed, policy="light"):
    return get_policy(policy)(tf.constant(image), tf.constant(seed, tf.int32)).numpy()


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("level", [0.0, 128.0, 255.0])
def test_shape_type_and_range_are_kept(policy, level, image):
    for picture in (image, np.full_like(image, level), 255.0 * (image > 100)):
        for seed in range(5):
            result = changed(picture.astype("float32"), (seed, 1), policy)
            assert result.shape == (SIZE, SIZE, 3)
            assert result.dtype == np.float32
            assert result.min() >= 0
            assert result.max() <= 255


def test_same_seed_gives_the_same_picture(image):
    np.testing.assert_array_equal(changed(image, (3, 7)), changed(image, (3, 7)))


def test_both_halves_of_the_seed_matter(image):
    pictures = [changed(image, seed) for seed in ((3, 7), (3, 8), (4, 7))]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(pictures[i] - pictures[j]).max() > 1


def test_graph_mode_gives_the_picture_of_eager_mode(image):
    in_graph = tf.function(light)(tf.constant(image), tf.constant((3, 7), tf.int32)).numpy()
    np.testing.assert_allclose(in_graph, changed(image, (3, 7)), atol=1e-3)


def test_policy_none_changes_nothing(image):
    np.testing.assert_array_equal(changed(image, (0, 0), "none"), image)


def test_light_turns_and_mirrors_in_all_eight_ways(image):
    # Strong structure and mild colour changes: the orientation is that of the most alike view.
    views = [dihedral_view(image, view) for view in range(VIEWS)]
    normalised = [(view - view.mean()) / view.std() for view in views]
    found = set()
    for seed in range(60):
        result = changed(image, (seed, 0))
        result = (result - result.mean()) / result.std()
        found.add(int(np.argmax([np.mean(result * view) for view in normalised])))
    assert found == set(range(VIEWS))


def test_light_changes_colours_by_at_most_its_bounds(image):
    grey = np.full_like(image, 100.0)
    levels = {round(float(changed(grey, (seed, 0)).mean()), 3) for seed in range(40)}
    assert len(levels) > 30
    assert min(levels) >= 85 - 1e-3
    assert max(levels) <= 115 + 1e-3


def test_eight_views_are_distinct(image):
    views = {dihedral_view(image, view).tobytes() for view in range(VIEWS)}
    assert len(views) == VIEWS


def test_eight_views_are_the_turns_and_mirrorings_of_a_square(image):
    wanted = {np.rot90(start, turns).tobytes() for start in (image, image[:, ::-1]) for turns in range(4)}
    assert {dihedral_view(image, view).tobytes() for view in range(VIEWS)} == wanted


def test_each_bit_of_a_view_is_one_step(image):
    np.testing.assert_array_equal(dihedral_view(image, 0), image)
    np.testing.assert_array_equal(dihedral_view(image, 1), image.transpose(1, 0, 2))
    np.testing.assert_array_equal(dihedral_view(image, 2), image[::-1])
    np.testing.assert_array_equal(dihedral_view(image, 4), image[:, ::-1])
    np.testing.assert_array_equal(dihedral_view(image, 7), image.transpose(1, 0, 2)[::-1, ::-1])


def test_unknown_policy_is_refused():
    with pytest.raises(RecipeError, match="Known augmentations: none, light"):
        get_policy("lihgt")
