"""The table of backbones against Keras: one table drives all tests."""

import sys

import keras
import numpy as np
import pytest

from melanomafusion.errors import RecipeError
from melanomafusion.models.backbones import BACKBONES, build_backbone, get_backbone, list_backbones
from melanomafusion.models.weights import load_backbone

EFFICIENTNETS = [f"efficientnet_b{version}" for version in range(8)]
# Smallest image that each builds for, and native size as published (Keras keeps it in its documentation only).
OTHERS = {
    "inception_v3": (75, 299),
    "mobilenet_v2": (32, 224),
    "densenet121": (32, 224),
    "efficientnet_v2_s": (32, 384),
    "convnext_tiny": (32, 224),
    "plain_cnn": (32, 128),
    "tiny": (32, 32),
}
# Keras applications that bring their own preprocessing, and the layer whose output our features are.
OWN_PREPROCESSING = {
    "efficientnet_v2_s": (keras.applications.EfficientNetV2S, "avg_pool"),
    "convnext_tiny": (keras.applications.ConvNeXtTiny, "avg_pool"),
}
PREPROCESSING = {
    "inception_v3": keras.applications.inception_v3.preprocess_input,
    "mobilenet_v2": keras.applications.mobilenet_v2.preprocess_input,
    "densenet121": keras.applications.densenet.preprocess_input,
}


def build(name, size):
    return build_backbone(get_backbone(name), size, lambda row, shape: load_backbone(row, shape, None))


def test_names_are_those_of_the_design():
    assert list_backbones() == [*EFFICIENTNETS, *OTHERS]
    assert all(get_backbone(name).name == name for name in list_backbones())


def test_every_backbone_is_tested_here():
    assert set(EFFICIENTNETS) | set(OTHERS) == set(list_backbones())


def test_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(RecipeError, match=r"tiny.*Received: backbone='efficientnet-b4'"):
        get_backbone("efficientnet-b4")


@pytest.mark.parametrize("name", EFFICIENTNETS)
def test_size_and_width_of_efficientnets_are_those_keras_builds(name, monkeypatch):
    # Recorded instead of built: a B7 takes many seconds.
    module = sys.modules[keras.applications.EfficientNetB0.__module__]
    asked = {}

    def record(width_coefficient, depth_coefficient, default_size, *rest, **options):
        asked.update(options, width=width_coefficient, size=default_size)

    monkeypatch.setattr(module, "EfficientNet", record)
    BACKBONES[name].constructor(input_shape=(64, 64, 3), weights=None)
    # Filters are rounded to a multiple of 8, never by more than 10 % down (Tan and Le 2019).
    filters = max(8, int(1280 * asked["width"] + 4) // 8 * 8)
    assert (BACKBONES[name].native_size, BACKBONES[name].width) == (asked["size"], filters)
    assert asked["name"] == name.replace("_", "")
    assert (asked["include_top"], asked["pooling"], asked["weights"]) == (False, "avg", None)


@pytest.mark.parametrize("name", ["efficientnet_b0", *(name for name in OTHERS if name not in OWN_PREPROCESSING)])
def test_feature_map_has_the_width_of_the_table(name):
    row = BACKBONES[name]
    size = OTHERS.get(name, (64, 224))[0]
    network = build(name, size)
    assert network.name == name
    assert network.input_shape == (None, size, size, 3)
    assert len(network.output_shape) == 4
    assert network.output_shape[-1] == row.width
    if name in OTHERS:
        assert row.native_size == OTHERS[name][1]


@pytest.mark.parametrize("name", ["tiny", "mobilenet_v2", "efficientnet_b0"])
def test_forward_pass_is_finite_and_depends_on_the_image(name):
    network = build(name, 64)
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    features = keras.ops.convert_to_numpy(network(images))
    assert features.shape == (2, *network.output_shape[1:])
    assert np.isfinite(features).all()
    assert not np.allclose(features[0], features[1], rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", sorted(PREPROCESSING))
def test_normalisation_is_the_preprocessing_of_the_application(name):
    row = BACKBONES[name].normalisation
    pixels = np.random.default_rng(0).uniform(0, 255, (4, 4, 3)).astype("float32")
    np.testing.assert_allclose(pixels * row.scale + row.offset, PREPROCESSING[name](pixels.copy()), atol=1e-5)


@pytest.mark.parametrize("name", EFFICIENTNETS)
def test_efficientnets_get_standardised_pixels(name):
    row = BACKBONES[name].normalisation
    pixels = np.array([0.0, 128.0, 255.0])[:, None]
    wanted = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(pixels * row.scale + row.offset, wanted, atol=1e-12)


@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenet_v2", "tiny"])
def test_network_brings_no_scaling_of_its_own(name):
    kinds = {type(layer).__name__ for layer in build(name, 64).layers}
    assert not kinds & {"Normalization", "Rescaling"}


def test_image_too_small_for_a_backbone_is_refused():
    with pytest.raises(RecipeError, match="inception_v3 cannot be built for images of 64 pixels"):
        build("inception_v3", 64)


@pytest.mark.parametrize("name", sorted(OWN_PREPROCESSING))
def test_features_are_those_of_the_application_with_its_own_preprocessing(name):
    """The same random weights; of ConvNeXt up to the normalisation behind its pooling."""
    constructor, pooled = OWN_PREPROCESSING[name]
    size, native = OTHERS[name]
    row = BACKBONES[name]
    keras.utils.set_random_seed(0)
    theirs = constructor(include_top=False, weights=None, input_shape=(size, size, 3), pooling="avg")
    pooling = [x for x in theirs.layers if isinstance(x, keras.layers.GlobalAveragePooling2D)]
    assert len({layer.name for layer in pooling if "se_squeeze" not in layer.name}) == 1, pooled
    network = build(name, size)
    behind = 2 if name == "convnext_tiny" else 0  # scale and offset of that normalisation
    normalisation = len(
        [w for layer in theirs.layers if type(layer).__name__ == "Normalization" for w in layer.weights]
    )
    weights = theirs.get_weights()
    network.set_weights(weights[normalisation : len(weights) - behind])
    assert (network.name, network.input_shape) == (name, (None, size, size, 3))
    assert network.output_shape[-1] == row.width
    assert row.native_size == native
    assert not {type(layer).__name__ for layer in network.layers} & {"Normalization", "Rescaling"}

    pixels = np.random.default_rng(0).uniform(0, 255, (2, size, size, 3)).astype("float32")
    scaled = (pixels * row.normalisation.scale + row.normalisation.offset).astype("float32")
    ours = keras.ops.convert_to_numpy(network(scaled)).mean(axis=(1, 2))
    expected = keras.ops.convert_to_numpy(keras.Model(theirs.input, pooling[-1].output)(pixels))
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_the_plain_cnn_is_four_convolutions_with_pooling():
    layers = []
    for filters in (32, 64, 128, 256):
        layers += [keras.layers.Conv2D(filters, 3, padding="same", activation="relu"), keras.layers.MaxPooling2D(2)]
    theirs = keras.Sequential([keras.Input((32, 32, 3)), *layers])
    ours = build("plain_cnn", 32)
    theirs.set_weights(ours.get_weights())
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    row = BACKBONES["plain_cnn"].normalisation
    np.testing.assert_allclose(pixels * row.scale + row.offset, pixels / 255, atol=1e-6)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(ours(pixels / 255)), keras.ops.convert_to_numpy(theirs(pixels / 255)), atol=1e-5
    )


@pytest.mark.parametrize("name", ["tiny", "plain_cnn"])
def test_networks_of_our_own_have_no_imagenet_weights(name):
    with pytest.raises(RecipeError, match=f'"{name}" has no ImageNet weights'):
        BACKBONES[name].constructor(input_shape=(32, 32, 3), weights="imagenet")
