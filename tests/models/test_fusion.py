"""Each kind of fusion against its formula in NumPy."""

import keras
import numpy as np
import pytest

from melanomafusion.models.fusion import FUSIONS, get_fusion

IMAGE, METADATA, BATCH = 6, 4, 5


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    return rng.normal(size=(BATCH, IMAGE)).astype("float32"), rng.normal(size=(BATCH, METADATA)).astype("float32")


def fused(name):
    """A model of both features, every weight drawn at random (batch-norm variances above 0)."""
    image, metadata = keras.Input((IMAGE,)), keras.Input((METADATA,))
    model = keras.Model([image, metadata], get_fusion(name)[0](image, metadata))
    rng = np.random.default_rng(1)
    for weight in model.weights:
        values = rng.normal(size=weight.shape)
        weight.assign(np.abs(values) + 0.1 if "variance" in weight.name else values)
    return model


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def dense(model, name, x):
    kernel, *bias = model.get_layer(name).get_weights()
    return x @ kernel + sum(bias)


def norm(model, name, x):
    gamma, beta, mean, variance = model.get_layer(name).get_weights()
    return gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta


def test_kinds_are_known_by_these_names():
    assert list(FUSIONS) == ["concat", "metanet", "metablock", "additive", "additive_joint", "image", "metadata"]
    assert {name: takes for name, (_, *takes) in FUSIONS.items()} == {
        "concat": [True, True],
        "metanet": [True, True],
        "metablock": [True, True],
        "additive": [True, True],
        "additive_joint": [True, True],
        "image": [True, False],
        "metadata": [False, True],
    }


def test_metanet_gates_each_image_feature(inputs):
    image, metadata = inputs
    model = fused("metanet")
    hidden = np.maximum(dense(model, "fusion_gate_hidden", metadata), 0)
    expected = image * sigmoid(dense(model, "fusion_gate", hidden))
    np.testing.assert_allclose(numbers(model(list(inputs))), expected, rtol=1e-4, atol=1e-6)
    assert (hidden == 0).any()  # the ReLU did something
    assert model.get_layer("fusion_gate_hidden").units == IMAGE


def test_metanet_on_the_pooled_features_is_metanet_on_the_map():
    """As published the gate stands before the pooling; both give the same."""
    rng = np.random.default_rng(3)
    feature_map = rng.normal(size=(BATCH, 3, 3, IMAGE)).astype("float32")
    metadata = rng.normal(size=(BATCH, METADATA)).astype("float32")
    model = fused("metanet")
    gate = sigmoid(dense(model, "fusion_gate", np.maximum(dense(model, "fusion_gate_hidden", metadata), 0)))
    on_the_map = (feature_map * gate[:, None, None, :]).mean(axis=(1, 2))
    np.testing.assert_allclose(
        numbers(model([feature_map.mean(axis=(1, 2)), metadata])), on_the_map, rtol=1e-4, atol=1e-6
    )


def test_metablock_scales_shifts_and_squashes(inputs):
    image, metadata = inputs
    model = fused("metablock")
    scale = norm(model, "fusion_scale_norm", dense(model, "fusion_scale", metadata))
    shift = norm(model, "fusion_shift_norm", dense(model, "fusion_shift", metadata))
    expected = sigmoid(np.tanh(image * scale) + shift)
    np.testing.assert_allclose(numbers(model(list(inputs))), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["metanet", "metablock"])
def test_gates_keep_the_width_of_the_image_features(name):
    assert fused(name).output_shape == (None, IMAGE)


def test_concat_puts_the_image_first(inputs):
    np.testing.assert_array_equal(numbers(fused("concat")(list(inputs))), np.hstack(inputs))


@pytest.mark.parametrize("name", ["concat", "metanet", "metablock"])
def test_the_layer_that_ends_the_fusion_is_named_after_it(name):
    model = fused(name)
    assert model.get_layer("fusion").output is model.outputs[0]


@pytest.mark.parametrize("name", ["metanet", "metablock"])
def test_both_inputs_matter(name, inputs):
    model = fused(name)
    before = numbers(model(list(inputs)))
    for place in (0, 1):
        other = [x[::-1].copy() if i == place else x for i, x in enumerate(inputs)]
        assert np.abs(numbers(model(other)) - before).max() > 1e-3


def test_additive_is_the_sum_of_two_sets_of_logits(inputs):
    image, metadata = keras.Input((IMAGE,)), keras.Input((IMAGE,))
    model = keras.Model([image, metadata], get_fusion("additive")[0](image, metadata))
    np.testing.assert_allclose(numbers(model([inputs[0], inputs[0] * 2])), inputs[0] * 3, rtol=1e-6)
