"""Shapley values: their axioms, and that those of a record add up to its output."""

import functools
import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from melanomafusion.data.metadata import MetadataEncoder
from melanomafusion.errors import MelanomaFusionError, MetadataError
from melanomafusion.explain.attribution import attribute, blank_image, shapley_values
from melanomafusion.testing import make_records, paint_lesion

SIZE = 32
GAMES = arrays("float64", st.integers(1, 5).map(lambda n: 2**n), elements=st.floats(-100, 100))


@pytest.fixture(scope="module")
def encoder():
    return MetadataEncoder().fit(make_records(40, rng=np.random.default_rng(0))[0])


@pytest.fixture(scope="module")
def build(tiny, encoder):
    """A model for the encoder's columns."""
    return lambda **options: tiny(**{"metadata_width": encoder.width, "image_size": SIZE, **options})


def record(sex="female", age=70.0, site="torso"):
    return pd.DataFrame({"sex": [sex], "age_approx": [age], "anatom_site_general_challenge": [site]}).astype(
        {"sex": object, "anatom_site_general_challenge": object}
    )


def image(seed=0):
    return paint_lesion(2.0, SIZE, np.random.default_rng(seed))


def output(model, pixels, encoded):
    inputs = {"image": np.asarray(pixels, "float32")[None], "metadata": encoded[None]}
    return np.asarray(model({name: inputs[name] for name in model.input}), "float64")[0]


@given(GAMES)
def test_values_are_the_mean_over_all_orders(values):
    count = len(values).bit_length() - 1
    expected = np.zeros(count)
    for order in itertools.permutations(range(count)):
        coalition = 0
        for player in order:
            expected[player] += values[coalition | 1 << player] - values[coalition]
            coalition |= 1 << player
    np.testing.assert_allclose(shapley_values(values), expected / math.factorial(count), atol=1e-9)


@given(GAMES)
def test_values_sum_to_what_all_add_together(values):
    assert shapley_values(values).sum() == pytest.approx(values[-1] - values[0], abs=1e-9)


def test_the_glove_game():
    # One has a left glove, two have a right one; a pair is worth 1. The values are 2/3, 1/6, 1/6 (Shapley 1953).
    worth = [0, 0, 0, 1, 0, 1, 0, 1]
    np.testing.assert_allclose(shapley_values(worth), [2 / 3, 1 / 6, 1 / 6])


def test_a_player_who_adds_nothing_gets_nothing():
    np.testing.assert_allclose(shapley_values([0.0, 3.0, 0.0, 3.0]), [3.0, 0.0])


OPTIONS = [{}, {"fusion": "metanet", "pooling": "gem"}, {"fusion": "metablock", "two_logits": True}]


@pytest.mark.parametrize("options", OPTIONS, ids=["concat", "metanet", "metablock"])
def test_contributions_sum_to_the_difference_of_the_logits(build, encoder, options):
    model = build(**options)
    encoded = encoder.transform(record())[0]
    result = attribute(model, encoder, image=image(), metadata=encoded)
    assert list(result.contributions) == ["image", "sex", "age", "site"]
    whole = output(model, image(), encoded)[0]
    nothing = output(model, blank_image(image()), encoder.missing_row())[0]
    assert result.output == pytest.approx(whole, abs=1e-5)
    assert result.baseline == pytest.approx(nothing, abs=1e-5)
    assert sum(result.contributions.values()) == pytest.approx(whole - nothing, abs=1e-5)
    assert all(abs(value) > 1e-6 for value in result.contributions.values())


def test_contributions_are_those_of_all_coalitions_computed_one_by_one(build, encoder):
    model = build(fusion="metanet")
    encoded, parts = encoder.transform(record())[0], ["image", "sex", "age", "site"]

    @functools.cache
    def worth(coalition):
        row = encoder.missing_row()
        for name in coalition - {"image"}:
            row[encoder.slices[name]] = encoded[encoder.slices[name]]
        return output(model, image() if "image" in coalition else blank_image(image()), row)[0]

    expected = dict.fromkeys(parts, 0.0)
    for order in itertools.permutations(parts):
        for i, part in enumerate(order):
            expected[part] += (worth(frozenset(order[: i + 1])) - worth(frozenset(order[:i]))) / 24
    result = attribute(model, encoder, image=image(), metadata=encoded)
    assert result.contributions == pytest.approx(expected, abs=1e-5)


def test_fields_that_are_missing_have_no_part(build, encoder):
    model = build()
    encoded = encoder.transform(record(sex=None, age=np.nan))[0]
    assert list(attribute(model, encoder, image=image(), metadata=encoded).contributions) == ["image", "site"]
    result = attribute(model, encoder, image=image(), metadata=encoder.missing_row())
    assert result.contributions["image"] == pytest.approx(result.output - result.baseline, abs=1e-9)


def test_an_age_of_zero_and_a_site_never_seen_are_present(build, encoder):
    encoded = encoder.transform(record(age=0.0, site="nowhere"))[0]
    assert list(attribute(build(), encoder, image=image(), metadata=encoded).contributions)[2:] == ["age", "site"]


def test_a_field_the_model_does_not_listen_to_contributes_nothing(build, encoder):
    model = build(metadata_units=())
    head = model.get_layer("head")
    kernel, bias = head.get_weights()
    kernel[48:][encoder.slices["sex"]] = 0.0
    head.set_weights([kernel, bias])
    encoded = encoder.transform(record())[0]
    result = attribute(model, encoder, image=image(), metadata=encoded).contributions
    assert result["sex"] == pytest.approx(0.0, abs=1e-6)
    # A linear head: what a field adds is its own columns times their weights, whatever the others are.
    where = encoder.slices["site"]
    change = (encoded[where] - encoder.missing_row()[where]) @ kernel[48:][where, 0]
    assert result["site"] == pytest.approx(change, abs=1e-5)


def test_single_branch_models(build, encoder):
    encoded = encoder.transform(record())[0]
    only_image = attribute(build(fusion="image"), None, image=image())
    assert list(only_image.contributions) == ["image"]
    only_metadata = attribute(build(fusion="metadata"), encoder, metadata=encoded)
    assert list(only_metadata.contributions) == ["sex", "age", "site"]
    assert sum(only_metadata.contributions.values()) == pytest.approx(
        only_metadata.output - only_metadata.baseline, abs=1e-9
    )


def test_the_predicted_class_is_explained_in_every_coalition(build, encoder):
    model = build(n_classes=3)
    encoded = encoder.transform(record())[0]
    predicted = int(output(model, image(), encoded).argmax())
    by_default = attribute(model, encoder, image=image(), metadata=encoded)
    assert by_default == attribute(model, encoder, image=image(), metadata=encoded, class_index=predicted)
    assert by_default != attribute(model, encoder, image=image(), metadata=encoded, class_index=(predicted + 1) % 3)


def test_a_blank_image_has_the_mean_colour_and_nothing_else():
    picture = image(4)
    blank = blank_image(picture)
    assert blank.shape == picture.shape
    assert blank.dtype == np.float32
    np.testing.assert_allclose(blank.mean(axis=(0, 1)), picture.mean(axis=(0, 1)), rtol=1e-4)
    assert np.ptp(blank, axis=(0, 1)).max() == 0
    both = blank_image(np.stack([picture, np.zeros_like(picture)]))
    assert both[1].max() == 0
    np.testing.assert_allclose(both[0], blank)


def test_a_blank_image_adds_nothing(build, encoder):
    flat = np.full((SIZE, SIZE, 3), 120, "uint8")
    result = attribute(build(), encoder, image=flat, metadata=encoder.missing_row())
    assert result.contributions["image"] == pytest.approx(0.0, abs=1e-6)


@settings(max_examples=6, deadline=None)
@given(
    sex=st.sampled_from(["female", "male", None, "other"]),
    age=st.sampled_from([0.0, 35.0, 90.0, np.nan]),
    site=st.sampled_from(["torso", "palms/soles", None]),
)
def test_the_sum_holds_for_any_metadata(build, encoder, shared_model, sex, age, site):
    encoded = encoder.transform(record(sex, age, site))[0]
    result = attribute(shared_model, encoder, image=image(), metadata=encoded)
    assert sum(result.contributions.values()) == pytest.approx(result.output - result.baseline, abs=1e-9)
    assert result.output == pytest.approx(output(shared_model, image(), encoded)[0], abs=1e-5)


@pytest.fixture(scope="module")
def shared_model(build):
    return build()


def test_more_than_one_record_is_refused(build, encoder):
    batch = np.stack([image(), image()])
    rows = np.stack([encoder.missing_row()] * 2)
    with pytest.raises(MelanomaFusionError, match="one record"):
        attribute(build(), encoder, image=batch, metadata=rows)


def test_metadata_without_their_encoder_are_refused(build, encoder, shared_model):
    with pytest.raises(MelanomaFusionError, match="Give the encoder"):
        attribute(shared_model, None, image=image(), metadata=encoder.missing_row())
    with pytest.raises(MelanomaFusionError, match="Give the encoder"):
        attribute(build(fusion="image"), encoder, image=image())


def test_an_encoder_of_another_model_is_refused(shared_model, encoder):
    other = MetadataEncoder(["sex"]).fit(make_records(10, rng=np.random.default_rng(0))[0])
    with pytest.raises(MetadataError, match="encoder"):
        attribute(shared_model, other, image=image(), metadata=encoder.missing_row())
