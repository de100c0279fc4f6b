"""The gradient written down layer by layer is the one that automatic differentiation finds."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from melanomafusion.errors import MelanomaFusionError
from melanomafusion.explain.gradients import feature_map_of, gradient

MODELS = {
    "concat": {},
    "image": {"fusion": "image"},
    "gem": {"pooling": "gem"},
    "metanet": {"fusion": "metanet", "pooling": "gem"},
    "metablock": {"fusion": "metablock", "pooling": "gem"},
    "deep head": {"head_units": (16, 8), "pooling": "gem"},
    "many dropouts": {"dropout_samples": 5},
    "two logits": {"two_logits": True, "head_units": (8,)},
    "four classes": {"n_classes": 4, "fusion": "metablock"},
    "additive": {"fusion": "additive", "head_units": (8,)},
    "one against the rest": {"n_classes": 4, "one_vs_rest": True},
}
WIDTH = 5


@pytest.fixture
def build(tiny):
    """A model of 48 pixels."""
    return lambda **options: tiny(metadata_width=WIDTH, image_size=48, **options)


def inputs_of(model, count=3):
    rng = np.random.default_rng(2)
    values = {"image": rng.uniform(0, 255, (count, 48, 48, 3)), "metadata": rng.normal(size=(count, WIDTH))}
    return {name: values[name].astype("float32") for name in model.input}


def both_gradients(model, features, seed=None):
    """Ours, and GradientTape's, of the seeded outputs with respect to the feature map."""
    weight = ops.ones_like(model.output) if seed is None else ops.zeros_like(model.output) + seed
    ours = keras.Model(model.input, gradient(model.output, features, weight))
    inputs = inputs_of(model)
    watched = keras.Model(model.input, features)(inputs)
    others = {name: tensor for name, tensor in model.input.items() if name != "image"}
    head = keras.Model([features, *others.values()], model.output)
    with tf.GradientTape() as tape:
        tape.watch(watched)
        logits = head([watched, *(tf.constant(inputs[name]) for name in others)], training=False)
        total = tf.reduce_sum(logits if seed is None else logits * seed)
    expected = tape.gradient(total, watched).numpy()
    return np.broadcast_to(ops.convert_to_numpy(ours(inputs)), expected.shape), expected


@pytest.mark.parametrize("kind", MODELS)
def test_the_gradient_is_that_of_automatic_differentiation(build, kind):
    model = build(**MODELS[kind])
    ours, expected = both_gradients(model, feature_map_of(model))
    assert np.abs(expected).max() > 1e-6
    np.testing.assert_allclose(ours, expected, atol=1e-5 * np.abs(expected).max(), rtol=1e-5)


def test_each_output_counts_as_its_weight_says(build):
    model = build(n_classes=4, pooling="gem")
    seed = np.array([[0.0, 2.0, -1.0, 0.5]], "float32")
    ours, expected = both_gradients(model, feature_map_of(model), seed)
    np.testing.assert_allclose(ours, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("activation", ["linear", "relu", "sigmoid", "tanh", "swish", "log_sigmoid"])
@pytest.mark.parametrize("kind", ["Dense", "Activation"])
def test_every_activation_has_its_derivative(kind, activation):
    x = keras.Input((6,))
    layer = keras.layers.Dense(6, activation=activation, bias_initializer="normal")
    y = layer(x) if kind == "Dense" else keras.layers.Activation(activation)(x)
    values = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    model = keras.Model(x, [y, gradient(y, x, ops.ones_like(y))])
    with tf.GradientTape() as tape:
        watched = tf.constant(values)
        tape.watch(watched)
        total = tf.reduce_sum(model(watched)[0])
    np.testing.assert_allclose(model(values)[1], tape.gradient(total, watched), atol=1e-6)


def branches(x):
    """One tensor that comes to the output on four ways, one of them through a layer used twice over."""
    norm = keras.layers.BatchNormalization(beta_initializer="normal", moving_variance_initializer="ones")
    a = keras.layers.Dense(6, activation="swish", use_bias=False)(x)
    b = norm(keras.layers.Activation("tanh")(x))
    product = keras.layers.Multiply()([a, b, x])
    total = keras.layers.Add()([product, a])
    mean = keras.layers.Average()([total, x, b])
    return keras.layers.Dense(2)(keras.layers.Concatenate()([mean, a, keras.layers.Dropout(0.5)(x)]))


def test_ways_that_part_and_meet_again_add_up():
    x = keras.Input((6,))
    y = branches(x)
    model = keras.Model(x, [y, gradient(y, x, ops.ones_like(y))])
    values = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    with tf.GradientTape() as tape:
        watched = tf.constant(values)
        tape.watch(watched)
        total = tf.reduce_sum(model(watched, training=False)[0])
    np.testing.assert_allclose(model(values)[1], tape.gradient(total, watched), atol=1e-5)


def test_batch_norm_without_a_scale():
    x = keras.Input((3,))
    layer = keras.layers.BatchNormalization(scale=False)
    y = layer(x)
    layer.moving_variance.assign([4.0, 1.0, 0.25])
    model = keras.Model(x, gradient(y, x, ops.ones_like(y)))
    expected = 1 / np.sqrt(np.array([4.0, 1.0, 0.25]) + layer.epsilon)
    np.testing.assert_allclose(model(np.ones((1, 3), "float32"))[0], expected, rtol=1e-6)


def test_a_layer_without_a_rule_is_named():
    x = keras.Input((6,))
    y = keras.layers.LayerNormalization(name="odd")(x)
    with pytest.raises(MelanomaFusionError, match=r"'odd' \(LayerNormalization\).*Known layers: Dense"):
        gradient(y, x, ops.ones_like(y))


def test_an_activation_without_a_rule_is_named():
    x = keras.Input((6,))
    y = keras.layers.Dense(2, activation="softplus", name="odd")(x)
    with pytest.raises(MelanomaFusionError, match="activation 'softplus' of layer 'odd'"):
        gradient(y, x, ops.ones_like(y))


def test_a_subclass_does_not_inherit_a_rule():
    class Doubled(keras.layers.Dropout):
        def call(self, inputs, training=False):
            return 2 * inputs

    x = keras.Input((6,))
    y = Doubled(0.1)(x)
    with pytest.raises(MelanomaFusionError, match="Doubled"):
        gradient(y, x, ops.ones_like(y))


def test_inputs_of_different_shapes_are_refused():
    x = keras.Input((6,))
    y = keras.layers.Multiply()([x, keras.layers.Dense(1)(x)])
    with pytest.raises(MelanomaFusionError, match="different shapes"):
        gradient(y, x, ops.ones_like(y))


def test_an_output_that_does_not_depend_on_the_source_is_refused():
    x, other = keras.Input((6,)), keras.Input((6,))
    y = keras.layers.Dense(1)(other)
    with pytest.raises(MelanomaFusionError, match="does not depend"):
        gradient(y, x, ops.ones_like(y))


@pytest.mark.parametrize("model", [None, "a model", keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])])
def test_a_model_without_an_image_branch_has_no_feature_map(model):
    with pytest.raises(MelanomaFusionError, match="image branch"):
        feature_map_of(model)


def test_a_layer_of_half_precision_still_gives_float32(build):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = build(head_units=(8,), pooling="gem")
    finally:
        keras.config.set_dtype_policy(before)
    result = keras.Model(model.input, gradient(model.output, feature_map_of(model), ops.ones_like(model.output)))(
        inputs_of(model)
    )
    assert result.dtype == "float32"
    assert np.isfinite(result).all()
