"""Our own layers against NumPy and against Keras written another way."""

import itertools
import json

import keras
import numpy as np
import pytest

from melanomafusion.errors import RecipeError
from melanomafusion.models.layers import AtLeastOne, GeneralisedMeanPooling2D, IsKnown, LogitDifference, get_pooling


@pytest.fixture(scope="module")
def features():
    """(4, 3, 5, 6) float32, between 0.1 and 1."""
    return np.random.default_rng(0).uniform(0.1, 1.0, (4, 3, 5, 6)).astype("float32")


@pytest.fixture(scope="module")
def logits():
    """(7, 2) float32, the last row far apart."""
    rows = np.random.default_rng(1).normal(scale=3, size=(7, 2)).astype("float32")
    rows[-1] = -40.0, 40.0
    return rows


@pytest.fixture
def half_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def generalised_mean(x, power, epsilon=1e-6):
    x = np.maximum(np.asarray(x, dtype="float64"), epsilon)
    return np.mean(x**power, axis=(1, 2)) ** (1 / power)


def trained_power(start, target, steps=20):
    """The power after some steps towards a pooled value."""
    pooling = GeneralisedMeanPooling2D(power=start)
    model = keras.Sequential([keras.Input((2, 2, 1)), pooling])
    model.compile(keras.optimizers.SGD(50.0), "mse", jit_compile=False, run_eagerly=True)
    image = np.array([0.1, 0.2, 0.3, 1.0], "float32").reshape(1, 2, 2, 1)
    powers = []
    for _ in range(steps):
        model.train_on_batch(image, np.array([[target]], "float32"))
        powers.append(float(pooling.power.numpy()))
    return powers


# --- generalised mean -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [1.0, 1.5, 3.0, 7.0])
def test_pooling_is_the_generalised_mean_of_each_channel(features, power):
    pooled = numbers(GeneralisedMeanPooling2D(power=power)(features))
    assert pooled.shape == (4, 6)
    np.testing.assert_allclose(pooled, generalised_mean(features, power), rtol=1e-5)


def test_power_one_is_the_average(features):
    np.testing.assert_allclose(
        numbers(GeneralisedMeanPooling2D(power=1.0)(features)),
        numbers(keras.layers.GlobalAveragePooling2D()(features)),
        rtol=1e-5,
    )


def test_a_large_power_comes_near_the_maximum(features):
    scaled = features / features.max(axis=(1, 2), keepdims=True)  # float32 holds 1 to any power
    pooled = numbers(GeneralisedMeanPooling2D(power=400.0)(scaled))
    # One of fifteen is the maximum: (1/15)^(1/400) = 0.993 at the least.
    assert pooled.min() > 0.99
    assert pooled.max() <= 1.0 + 1e-5


def test_the_pooled_value_rises_with_the_power_from_average_to_maximum(features):
    values = [numbers(GeneralisedMeanPooling2D(power=power)(features)) for power in (1.0, 2.0, 4.0, 8.0)]
    for lower, higher in itertools.pairwise(values):
        assert (lower < higher).all()
    assert (values[-1] <= features.max(axis=(1, 2))).all()


def test_features_below_epsilon_count_as_epsilon():
    image = np.array([-5.0, 0.0, 0.001, 2.0], "float32").reshape(1, 2, 2, 1)
    pooled = numbers(GeneralisedMeanPooling2D(power=1.0, epsilon=0.5)(image))
    assert pooled[0, 0] == pytest.approx((0.5 + 0.5 + 0.5 + 2.0) / 4)


def test_features_that_are_all_zero_have_a_finite_gradient():
    import tensorflow as tf

    pooling, image = GeneralisedMeanPooling2D(), tf.zeros((1, 2, 2, 3))
    with tf.GradientTape() as tape:
        tape.watch(image)
        pooled = tf.reduce_sum(pooling(image))
    for gradient in tape.gradient(pooled, [image, pooling.power.value]):
        assert np.isfinite(gradient.numpy()).all()


def test_the_power_starts_at_three_and_is_one_number_that_is_learnt():
    pooling = GeneralisedMeanPooling2D()
    pooling.build((None, 4, 4, 8))
    assert [weight.name for weight in pooling.trainable_weights] == ["power"]
    assert pooling.power.shape == ()
    assert float(pooling.power.numpy()) == 3.0


def test_training_moves_the_power():
    rising = trained_power(2.0, target=0.99, steps=5)
    assert rising == sorted(rising)
    assert rising[-1] > 2.5


def test_the_power_never_falls_below_one():
    powers = trained_power(1.2, target=-5.0)
    assert min(powers) == 1.0
    assert powers[-1] == 1.0
    assert numbers(AtLeastOne()(np.array([0.2, 1.0, 3.0], "float32"))).tolist() == [1.0, 1.0, 3.0]


def test_half_precision_is_left_for_the_sum_and_taken_up_again(half_precision):
    pooling = GeneralisedMeanPooling2D()
    image = np.full((1, 8, 8, 2), 100.0, "float16")  # cubed it is more than float16 holds
    pooled = pooling(image)
    assert keras.backend.standardize_dtype(pooled.dtype) == "float16"
    np.testing.assert_allclose(numbers(pooled), 100.0, rtol=1e-3)
    assert pooling.power.dtype == "float32"


def test_the_layer_is_made_again_from_its_configuration(features):
    model = keras.Sequential([keras.Input(features.shape[1:]), GeneralisedMeanPooling2D(power=2.5, epsilon=0.2)])
    again = keras.models.model_from_json(json.dumps(json.loads(model.to_json())))
    assert (again.layers[0].initial_power, again.layers[0].epsilon) == (2.5, 0.2)
    np.testing.assert_allclose(numbers(again(features)), generalised_mean(features, 2.5, 0.2), rtol=1e-5)
    assert again.output_shape == (None, 6)


@pytest.mark.parametrize(
    ("name", "kind"), [("avg", keras.layers.GlobalAveragePooling2D), ("gem", GeneralisedMeanPooling2D)]
)
def test_poolings_are_known_by_these_names(name, kind):
    assert type(get_pooling(name)) is kind
    assert get_pooling(name).name == "pooling"


@pytest.mark.parametrize("name", ["max", "GeM", "", None])
def test_an_unknown_pooling_is_refused_with_the_known_ones(name):
    with pytest.raises(RecipeError) as error:
        get_pooling(name)
    assert f"Known kinds of pooling: avg, gem. Received: pooling={name!r}" in str(error.value)


# --- two logits -------------------------------------------------------------------------------------------------------


def test_the_sigmoid_of_the_difference_is_the_softmax_of_the_second_logit(logits):
    difference = LogitDifference()(logits)
    assert difference.shape == (7, 1)
    np.testing.assert_allclose(
        numbers(keras.ops.sigmoid(difference))[:, 0], numbers(keras.ops.softmax(logits))[:, 1], rtol=1e-5, atol=1e-12
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_that_of_a_softmax_over_two_classes(logits, smoothing):
    targets = np.array([0, 1, 1, 0, 1, 0, 1])
    ours = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing)(
        targets[:, None].astype("float32"), LogitDifference()(logits)
    )
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)(
        np.eye(2, dtype="float32")[targets], logits
    )
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


def test_the_two_logits_are_trained_as_by_a_softmax():
    """Keras as people write a two-class head, with the same start: the same weights after some steps."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(32, 5)).astype("float32")
    targets = (x[:, 0] + rng.normal(size=32) > 0).astype(int)

    def trained(layers, loss, labels):
        keras.utils.set_random_seed(4)
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2), *layers])
        model.compile(keras.optimizers.Adam(0.05), loss, jit_compile=False, run_eagerly=True)
        for _ in range(6):
            model.train_on_batch(x, labels)
        return model.layers[0].get_weights()

    ours = trained([LogitDifference()], keras.losses.BinaryCrossentropy(from_logits=True), targets[:, None])
    theirs = trained([], keras.losses.CategoricalCrossentropy(from_logits=True), np.eye(2)[targets])
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-5)


def test_the_difference_layer_is_made_again_from_its_configuration(logits):
    model = keras.Sequential([keras.Input((2,)), LogitDifference()])
    assert model.output_shape == (None, 1)
    again = keras.models.model_from_json(model.to_json())
    np.testing.assert_array_equal(numbers(again(logits)), numbers(model(logits)))


def test_a_record_is_known_unless_it_is_the_missing_one():
    layer = IsKnown()
    missing = np.array([0, 1, 0, 1], "float32")
    rows = np.stack([missing, missing + np.array([0.5, 0, 0, 0], "float32"), np.zeros(4, "float32"), 1 - missing])
    model = keras.Sequential([keras.Input((4,)), layer])
    assert model.output_shape == (None, 1)
    assert layer.trainable_weights == []
    np.testing.assert_array_equal(numbers(model(rows)), [[1], [1], [0], [1]])  # until it is told which is missing
    layer.missing.assign(missing)
    np.testing.assert_array_equal(numbers(model(rows)), [[0], [1], [1], [1]])
    again = keras.models.model_from_json(model.to_json())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(numbers(again(rows)), numbers(model(rows)))
