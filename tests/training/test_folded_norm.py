"""Constant batch norm folded into convolutions: the same function, gradients and weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import melanomafusion as mf
from melanomafusion.models.fusion_model import build_fusion_model
from melanomafusion.training.compiled import as_trained, set_trainable
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
    folded = with_folded_norm(model, backbone, frozen_statistics=False)
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
    assert count_folded(with_folded_norm(model, "tiny", frozen_statistics=False), "tiny") == 2
    predicts = with_folded_norm(model, "tiny", frozen_statistics=True)
    assert count_folded(predicts, "tiny") == 3
    np.testing.assert_allclose(predicts(batch(model)), model(batch(model)), atol=1e-5)


def test_weights_set_afterwards_are_those_computed_with():
    model = built("tiny", fusion="image")
    folded = with_folded_norm(model, "tiny", frozen_statistics=False)
    model.set_weights([weight * 1.1 for weight in model.get_weights()])
    np.testing.assert_allclose(folded(batch(model)), model(batch(model)), atol=1e-5)


def test_a_model_where_nothing_can_be_folded_stays_itself():
    metadata = build_fusion_model(fusion="metadata", metadata_width=4)
    assert with_folded_norm(metadata, "tiny", frozen_statistics=False) is metadata
    learns = build_fusion_model("tiny", fusion="image", image_size=SIZE, weights=None)
    assert with_folded_norm(learns, "tiny", frozen_statistics=False) is learns
    convnext = build_fusion_model("convnext_tiny", fusion="image", image_size=SIZE, weights=None)
    assert with_folded_norm(convnext, "convnext_tiny", frozen_statistics=True) is convnext


def test_half_precision_keeps_its_batch_norm():
    policy = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_float16")
        model = built("tiny", fusion="image")
    finally:
        keras.config.set_dtype_policy(policy)
    assert with_folded_norm(model, "tiny", frozen_statistics=False) is model


def test_all_layers_learn_after_a_stage_of_the_top():
    model = built("tiny", fusion="image")
    recipe = mf.get_recipe("fusion-mobilenetv2").replace(
        backbone="tiny", stages=[{"trainable": "top", "top_share": 0.3}, {"trainable": "all"}]
    )
    learning = [[weight.path for weight in set_trainable(model, recipe, stage)] for stage in recipe.stages]
    assert learning == [["conv3/kernel"], ["conv1/kernel", "conv2/kernel", "conv3/kernel"]]


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "densenet121", "tiny"])
def test_with_frozen_statistics_scales_and_shifts_learn(backbone):
    """The gradients are those that Keras gives where the batch norm is asked for its statistics of prediction."""
    model = built(backbone, fusion="image")
    for layer in norms(model.get_layer(backbone)):
        layer.trainable = True
    fixed = with_folded_norm(model, backbone, frozen_statistics=True)
    assert count_folded(fixed, backbone) == FOLDED[backbone][0]
    wanted, plain = outputs_and_gradients(model)
    found, ours = outputs_and_gradients(fixed)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    by_weight = {id(w): values for w, values in zip(model.trainable_variables, plain, strict=True)}
    assert len(by_weight) == len(fixed.trainable_variables)
    for weight, mine in zip(fixed.trainable_variables, ours, strict=True):
        theirs = by_weight[id(weight)]
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max() + 1e-7)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_training_with_frozen_statistics_leaves_them_and_moves_scales(precision):
    policy = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(precision)
        model = built("tiny", fusion="image")
    finally:
        keras.config.set_dtype_policy(policy)
    recipe = mf.get_recipe("fusion-mobilenetv2").replace(
        backbone="tiny", freeze_batch_norm="statistics", stages=[{"trainable": "all"}]
    )
    set_trainable(model, recipe, recipe.stages[0])
    before = {w.path: w.numpy() for layer in norms(model.get_layer("tiny")) for w in layer.weights}
    trained = as_trained(model, recipe)
    trained.compile(keras.optimizers.SGD(1e-1), keras.losses.CategoricalCrossentropy(from_logits=True))
    trained.train_on_batch(batch(model), np.eye(3, dtype="float32")[[0, 1]])
    moved = {
        w.path for layer in norms(model.get_layer("tiny")) for w in layer.weights if (w.numpy() != before[w.path]).any()
    }
    assert moved == {path for path in before if not path.endswith(("moving_mean", "moving_variance"))}


@pytest.mark.parametrize("trainable", ["head", "top", "all"])
@pytest.mark.parametrize("frozen", [True, "statistics"])
def test_what_a_stage_freezes_stays_frozen(trainable, frozen):
    model = built("mobilenet_v2", fusion="image")
    stage = {"trainable": trainable, "top_share": 0.3}
    recipe = mf.get_recipe("fusion-mobilenetv2").replace(stages=[stage], freeze_batch_norm=frozen)
    set_trainable(model, recipe, recipe.stages[0])
    folded = as_trained(model, recipe)
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
