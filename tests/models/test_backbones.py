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
OTHERS = {"inception_v3": (75, 299), "mobilenet_v2": (32, 224), "densenet121": (32, 224), "tiny": (32, 32)}
PREPROCESSING = {
    "inception_v3": keras.applications.inception_v3.preprocess_input,
    "mobilenet_v2": keras.applications.mobilenet_v2.preprocess_input,
    "densenet121": keras.applications.densenet.preprocess_input,
}


def build(name, size):
    return build_backbone(get_backbone(name), size, lambda row, shape: load_backbone(row, shape, None))


def test_names_are_those_of_the_design():
    assert list_backbones() == [*EFFICIENTNETS, "inception_v3", "mobilenet_v2", "densenet121", "tiny"]
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


@pytest.mark.parametrize("name", ["efficientnet_b0", *OTHERS])
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
