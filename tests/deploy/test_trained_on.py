"""`TrainedOn`: what lies outside of what a model has seen is said in words, what lies inside is not."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from melanomafusion.deploy.trained_on import TrainedOn, image_statistics
from melanomafusion.errors import BundleError
from melanomafusion.testing import make_records

USED = ("sex", "age_approx", "anatom_site_general_challenge")


def pictures(count=120, low=80, high=160):
    rng = np.random.default_rng(0)
    return {
        f"i{k}": np.clip(rng.normal(rng.uniform(low, high), 20, (24, 24, 3)), 0, 255).astype("uint8")
        for k in range(count)
    }


@pytest.fixture(scope="module")
def seen():
    images = pictures()
    frame = pd.DataFrame(
        {
            "image_name": list(images),
            "sex": ["female", "male"] * 60,
            "age_approx": np.linspace(20, 70, 120),
            "anatom_site_general_challenge": ["torso"] * 120,
        }
    )
    return TrainedOn.measure(frame, images.__getitem__), images


def doubts(trained_on, image=None, **fields):
    return trained_on.doubts(image, fields, USED)


def test_training_records_themselves_raise_hardly_any_doubt(seen):
    trained_on, images = seen
    doubted = [name for name, image in images.items() if doubts(trained_on, image, sex="male", age_approx=20.0)]
    assert len(doubted) <= 0.05 * len(images)  # a hundredth on each side of two ranges


@pytest.mark.parametrize(
    ("image", "word"),
    [
        (np.zeros((24, 24, 3), "uint8"), "darker"),
        (np.full((24, 24, 3), 255, "uint8"), "brighter"),
        (np.full((24, 24, 3), 120, "uint8"), "more blurred"),
        (np.random.default_rng(1).integers(0, 2, (24, 24, 3), dtype="uint8") * 255, "sharper"),
    ],
)
def test_an_image_unlike_the_training_images_is_told(seen, image, word):
    assert any(word in doubt for doubt in doubts(seen[0], image))


def test_metadata_outside_are_told_and_missing_ones_are_not(seen):
    assert "outside the training records' 20 to 70 years" in doubts(seen[0], age_approx=85)[0]
    assert "'palms/soles'" in doubts(seen[0], anatom_site_general_challenge="palms/soles")[0]
    assert doubts(seen[0], sex=None, age_approx=float("nan")) == []
    assert doubts(seen[0], sex="male", age_approx=45.0, anatom_site_general_challenge="torso") == []


def test_fields_that_the_model_does_not_look_at_raise_no_doubt(seen):
    assert seen[0].doubts(None, {"age_approx": 99}, ("sex",)) == []


@given(st.integers(0, 2**32 - 1))
def test_json_gives_back_the_same(seed):
    frame, _ = make_records(20, rng=np.random.default_rng(seed))
    trained_on = TrainedOn.measure(frame)
    assert TrainedOn.from_json(trained_on.to_json()) == trained_on


def test_ages_that_are_all_missing_make_no_range(seen):
    frame = pd.DataFrame({"image_name": ["a"], "sex": [None], "age_approx": [np.nan]})
    trained_on = TrainedOn.measure(frame.assign(anatom_site_general_challenge=None))
    assert trained_on.age_approx is None
    assert doubts(trained_on, age_approx=5) == []


@pytest.mark.parametrize(
    "change",
    [{"format": 2}, {"records": "many"}, {"values": {}}, {"age_approx": [5, 1]}, {"age_approx": [1, 2, 3]}, {"sex": 1}],
)
def test_what_was_not_written_here_is_refused(seen, change):
    content = json.loads(seen[0].to_json())
    content.update(change)
    if change == {"sex": 1}:
        content.pop("brightness")
    with pytest.raises(BundleError, match="ranges of training records"):
        TrainedOn.from_json(json.dumps(content))


def test_brightness_is_the_mean_of_opencvs_grey():
    image = np.zeros((8, 8, 3), "uint8")
    image[..., 1] = 100  # green weighs 0.587
    assert image_statistics(image)[0] == pytest.approx(59)
    assert image_statistics(image)[1] == 0
