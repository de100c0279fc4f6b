"""Constant batch norm folded into convolutions: the same function, gradients and weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import melanomafusion as mf
from melanomafusion.models.fusion_model import build_fusion_model
from melanomafusion.training.compiled import set_trainable
from melanomafusion.training.folded_norm import with_folded_norm

# Backbone → batch norms that stand directly behind a convolution, of all its batch norms.
FOLDED = {"mobilenet_v2": (52, 52), "efficientnet_b0": (49, 49), "densenet121": (59, 121), "tiny": (3, 3)}
SIZE = 64


def norms(network):
    return [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]


def built(backbone, **options):
    """A model whose batch norm is as far from 1 and 0 as a trained one's, and frozen."""
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(0)
    model = build_fusion_model(backbone, image_size=SIZE, weights=None, n_classes=3, **options)
    for layer in norms(model.get_layer(backbone)):
        layer.trainable = False
        for variable in layer.weights:
            usual = 0.0 if variable.name in ("beta", "moving_mean") else 1.0
            variable.assign(usual + rng.uniform(-0.3, 0.3, variable.shape))
    return model


def batch(model):
    rng = np.random.default_rng(1)
    inputs = {"image": rng.uniform(0, 255, (2, SIZE, SIZE, 3)).astype("float32")}
    if "metadata" in model.input:
        inputs["metadata"] = rng.normal(size=(2, 4)).astype("float32")
    return inputs


def outputs_and_gradients(model):
    with tf.GradientTape() as tape:
        outputs = model(batch(model), training=False)
        weighted = tf.reduce_sum(outputs * np.random.default_rng(2).normal(size=(2, 3)).astype("float32"))
    return outputs.numpy(), [np.asarray(values) for values in tape.gradient(weighted, model.trainable_variables)]


def count_folded(model, backbone):
    return sum(layer.name.endswith("_folded") for layer in model.get_layer(backbone).layers)


@pytest.mark.parametrize("backbone", list(FOLDED))
def test_function_gradients_and_weights_stay(backbone):
    model = built(backbone, metadata_width=4)
    folded = with_folded_norm(model, backbone, learns=True)
    assert (count_folded(folded, backbone), len(norms(model.get_layer(backbone)))) == FOLDED[backbone]
    assert all(a is b for a, b in zip(folded.trainable_variables, model.trainable_variables, strict=True))
    assert {id(weight) for weight in folded.weights} == {id(weight) for weight in model.weights}
    (wanted, plain), (found, ours) = outputs_and_gradients(model), outputs_and_gradients(folded)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    for mine, theirs in zip(ours, plain, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max() + 1e-7)


def test_in_training_only_frozen_batch_norm_is_folded_in_prediction_all():
    model = built("tiny", fusion="image")
    first = norms(model.get_layer("tiny"))[0]
    first.trainable = True
    assert count_folded(with_folded_norm(model, "tiny", learns=True), "tiny") == 2
    predicts = with_folded_norm(model, "tiny", learns=False)
    assert count_folded(predicts, "tiny") == 3
    np.testing.assert_allclose(predicts(batch(model)), model(batch(model)), atol=1e-5)


def test_weights_set_afterwards_are_those_computed_with():
    model = built("tiny", fusion="image")
    folded = with_folded_norm(model, "tiny", learns=True)
    model.set_weights([weight * 1.1 for weight in model.get_weights()])
    np.testing.assert_allclose(folded(batch(model)), model(batch(model)), atol=1e-5)


def test_a_model_where_nothing_can_be_folded_stays_itself():
    metadata = build_fusion_model(fusion="metadata", metadata_width=4)
    assert with_folded_norm(metadata, "tiny", learns=True) is metadata
    learns = build_fusion_model("tiny", fusion="image", image_size=SIZE, weights=None)
    assert with_folded_norm(learns, "tiny", learns=True) is learns
    convnext = build_fusion_model("convnext_tiny", fusion="image", image_size=SIZE, weights=None)
    assert with_folded_norm(convnext, "convnext_tiny", learns=False) is convnext


def test_half_precision_keeps_its_batch_norm():
    policy = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_float16")
        model = built("tiny", fusion="image")
    finally:
        keras.config.set_dtype_policy(policy)
    assert with_folded_norm(model, "tiny", learns=True) is model


@pytest.mark.parametrize("trainable", ["head", "top", "all"])
def test_what_a_stage_freezes_stays_frozen(trainable):
    model = built("mobilenet_v2", fusion="image")
    stage = {"trainable": trainable, "top_share": 0.3}
    recipe = mf.get_recipe("fusion-mobilenetv2").replace(stages=[stage])
    set_trainable(model, recipe, recipe.stages[0])
    folded = with_folded_norm(model, "mobilenet_v2", learns=True)
    assert all(a is b for a, b in zip(folded.trainable_variables, model.trainable_variables, strict=True))
    before = [weight.numpy() for weight in model.weights]
    folded.compile(keras.optimizers.SGD(1e-3), keras.losses.CategoricalCrossentropy(from_logits=True))
    folded.train_on_batch(batch(model), np.eye(3, dtype="float32")[[0, 1]])
    moves = {id(weight) for weight in model.trainable_variables}
    for weight, old in zip(model.weights, before, strict=True):
        if id(weight) not in moves and "seed_generator" not in weight.path:
            np.testing.assert_array_equal(weight.numpy(), old)
    moved = [not np.array_equal(w.numpy(), old) for w, old in zip(model.weights, before, strict=True) if id(w) in moves]
    assert any(moved)
