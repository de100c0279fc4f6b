"""Where the cells of a feature map lie in the image, held against what they answer to."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from melanomafusion.errors import MelanomaFusionError
from melanomafusion.explain.geometry import cell_centres
from melanomafusion.explain.gradients import feature_map_of
from melanomafusion.explain.interpolation import interpolation
from melanomafusion.models.fusion_model import build_fusion_model


def seen_centre(network, cell, size):
    """Centre of gravity of the pixels that move one cell, by automatic differentiation."""
    with tf.GradientTape() as tape:
        image = tf.ones((1, size, size, 1))
        tape.watch(image)
        total = tf.reduce_sum(network(image, training=False)[0, cell, cell])
    weight = np.abs(tape.gradient(total, image).numpy()[0, :, :, 0]).sum(axis=1)
    return float((weight * np.arange(size)).sum() / weight.sum())


def ones(kind, *arguments, **options):
    name = "depthwise_initializer" if kind is keras.layers.DepthwiseConv2D else "kernel_initializer"
    return kind(*arguments, use_bias=False, **{name: "ones"}, **options)


CHAINS = {
    "same, even": lambda: [ones(keras.layers.Conv2D, 1, 3, strides=2, padding="same")],
    "valid": lambda: [ones(keras.layers.Conv2D, 1, 3, strides=2), ones(keras.layers.Conv2D, 1, 5)],
    "padded by hand": lambda: [
        keras.layers.ZeroPadding2D(((2, 1), (2, 1))),
        ones(keras.layers.DepthwiseConv2D, 3, strides=2),
    ],
    "dilated": lambda: [ones(keras.layers.Conv2D, 1, 3, dilation_rate=2)],
    "pooled": lambda: [
        keras.layers.AveragePooling2D(2),
        ones(keras.layers.Conv2D, 1, 4, strides=2, padding="same"),
        keras.layers.AveragePooling2D(3, strides=2, padding="same"),
    ],
    "patches": lambda: [ones(keras.layers.Conv2D, 1, 4, strides=4), keras.layers.Activation("relu")],
}


@pytest.mark.parametrize("size", [48, 47])
@pytest.mark.parametrize("chain", CHAINS)
def test_the_centre_is_that_of_the_pixels_a_cell_answers_to(chain, size):
    inputs = x = keras.Input((size, size, 1))
    for layer in CHAINS[chain]():
        x = layer(x)
    centres = cell_centres(x)
    middle = len(centres) // 2
    assert centres[middle] == pytest.approx(seen_centre(keras.Model(inputs, x), middle, size), abs=1e-3)


def test_branches_with_a_channel_gate_keep_their_place():
    inputs = keras.Input((32, 32, 1))
    x = ones(keras.layers.Conv2D, 4, 3, strides=2, padding="same")(inputs)
    gate = keras.layers.Reshape((1, 1, 4))(keras.layers.GlobalAveragePooling2D()(x))
    gate = keras.layers.Conv2D(4, 1, activation="sigmoid")(gate)
    assert cell_centres(keras.layers.Multiply()([gate, x])).tolist() == cell_centres(x).tolist()


@pytest.mark.parametrize(
    ("backbone", "size", "first", "step"),
    # By hand. tiny and MobileNetV2: each strided layer of width 3 pads only behind, 1 + 2 + 4 (+ 8 + 16). ConvNeXt:
    # patches of 4, then three times 2. Plain CNN: four times pooling by 2.
    [("tiny", 64, 7, 8), ("mobilenet_v2", 64, 31, 32), ("convnext_tiny", 64, 15.5, 32), ("plain_cnn", 64, 7.5, 16)],
)
def test_backbones_by_hand(backbone, size, first, step):
    model = build_fusion_model(backbone, fusion="image", image_size=size, weights=None)
    centres = cell_centres(feature_map_of(model))
    np.testing.assert_allclose(centres, first + step * np.arange(size // step))


def test_a_layer_that_moves_pixels_in_an_unknown_way_is_named():
    x = keras.layers.UpSampling2D(2, name="odd")(keras.Input((8, 8, 3)))
    with pytest.raises(MelanomaFusionError, match="'odd'"):
        cell_centres(x)


@given(st.integers(1, 12), st.floats(-3, 20), st.floats(1, 32), st.integers(8, 96))
def test_weights_of_a_pixel_are_positive_and_sum_to_one(cells, first, step, size):
    weights = interpolation(first + step * np.arange(cells), size)
    assert weights.shape == (size, cells)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-5)


def test_a_ramp_stays_a_ramp_between_the_centres_and_flat_beyond():
    weights = interpolation(np.array([2.0, 6.0, 10.0]), 13)
    np.testing.assert_allclose(weights @ [2.0, 6.0, 10.0], np.clip(np.arange(13), 2, 10))
