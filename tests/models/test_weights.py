"""Pretrained weights: the same function of the pixels wherever they come from, and a clear error for a wrong file."""

import dataclasses
import sys

import keras
import numpy as np
import pytest

from melanomafusion.errors import MelanomaFusionError, RecipeError, WeightsError
from melanomafusion.models.backbones import BACKBONES
from melanomafusion.models.fusion_model import build_fusion_model
from melanomafusion.models.weights import load_backbone

SIZE = 64
SHAPE = (SIZE, SIZE, 3)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def pixels():
    """(2, 64, 64, 3) float32 in 0–255."""
    return np.random.default_rng(0).uniform(0, 255, (2, *SHAPE)).astype("float32")


@pytest.fixture(scope="module")
def efficientnet(tmp_path_factory):
    """Keras's own EfficientNet-B0 and the file it saves."""
    keras.utils.set_random_seed(1)
    application = keras.applications.EfficientNetB0(weights=None, include_top=False, pooling="avg", input_shape=SHAPE)
    path = tmp_path_factory.mktemp("weights") / "b0.weights.h5"
    application.save_weights(path)
    return application, path


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    """Keras's own MobileNetV2 and the file it saves."""
    keras.utils.set_random_seed(2)
    application = keras.applications.MobileNetV2(weights=None, include_top=False, pooling="avg", input_shape=SHAPE)
    path = tmp_path_factory.mktemp("weights") / "mobilenet.weights.h5"
    application.save_weights(path)
    return application, path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The tiny backbone and the file it saves."""
    application = BACKBONES["tiny"].constructor(input_shape=SHAPE, weights=None)
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    application.save_weights(path)
    return application, path


def values(tensor):
    return keras.ops.convert_to_numpy(tensor)


def pooled_features(backbone, weights, pixels):
    """Our features of pixels 0–255: (B, width)."""
    model = build_fusion_model(backbone, fusion="image", image_size=SIZE, weights=weights)
    return values(keras.Model(model.input, model.get_layer("pooling").output)({"image": pixels}))


def assert_same_features(found, wanted):
    # Random weights give features of any scale, so the tolerance is relative to the largest.
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def assert_other_features(found, wanted):
    assert np.abs(found - wanted).max() > 0.05 * np.abs(wanted).max()


def test_efficientnet_file_gives_the_features_of_standardised_pixels(efficientnet, pixels):
    application, path = efficientnet
    behind = keras.Model(application.get_layer("stem_conv_pad").input, application.output)
    wanted = values(behind(((pixels / 255 - MEAN) / STD).astype("float32")))
    assert_same_features(pooled_features("efficientnet_b0", path, pixels), wanted)
    # What the application itself makes of such pixels with weights=None is something else.
    assert_other_features(values(application(pixels)), wanted)


def test_efficientnet_from_imagenet_is_the_same_function_as_from_a_file(efficientnet, pixels, monkeypatch):
    # With "imagenet" Keras builds one more Rescaling into the network than with None.
    _, path = efficientnet
    module = sys.modules[keras.applications.EfficientNetB0.__module__]
    monkeypatch.setattr(module.file_utils, "get_file", lambda *args, **options: str(path))
    from_imagenet = pooled_features("efficientnet_b0", "imagenet", pixels)
    assert_same_features(from_imagenet, pooled_features("efficientnet_b0", path, pixels))


def test_normalisation_stored_in_an_efficientnet_file_is_not_used(efficientnet, pixels, tmp_path):
    application, path = efficientnet
    wanted = pooled_features("efficientnet_b0", path, pixels)
    normalisation = next(x for x in application.layers if isinstance(x, keras.layers.Normalization))
    before = normalisation.get_weights()
    normalisation.set_weights([np.full(3, 0.7), np.full(3, 9.0), *before[2:]])
    application.save_weights(tmp_path / "other.weights.h5")
    normalisation.set_weights(before)
    np.testing.assert_array_equal(pooled_features("efficientnet_b0", tmp_path / "other.weights.h5", pixels), wanted)


def test_mobilenet_file_gives_the_features_of_the_application(mobilenet, pixels):
    application, path = mobilenet
    wanted = values(application((pixels / 127.5 - 1).astype("float32")))
    assert_same_features(pooled_features("mobilenet_v2", path, pixels), wanted)
    assert_other_features(values(application(pixels)), wanted)


def test_path_as_text_is_understood(tiny, pixels):
    _, path = tiny
    np.testing.assert_array_equal(pooled_features("tiny", str(path), pixels), pooled_features("tiny", path, pixels))


def test_file_is_loaded_rather_than_left_random(tiny):
    application, path = tiny
    loaded = load_backbone(BACKBONES["tiny"], SHAPE, path)
    for found, wanted in zip(loaded.get_weights(), application.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_random_weights_follow_the_seed():
    weights = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        weights.append(load_backbone(BACKBONES["tiny"], SHAPE, None).get_weights()[0])
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("backbone", "of"), [("tiny", "mobilenet"), ("mobilenet_v2", "tiny"), ("tiny", "efficientnet")]
)
def test_weights_of_another_backbone_are_refused(backbone, of, request):
    path = request.getfixturevalue(of)[1]
    with pytest.raises(WeightsError, match=f"does not hold the weights of {backbone}") as error:
        load_backbone(BACKBONES[backbone], SHAPE, path)
    assert str(path) in str(error.value)


def test_deeper_network_of_the_same_widths_is_refused(tmp_path):
    # EfficientNet-B1 has the widths of B0 and more layers, so every layer of B0 finds one of its name in the file.
    deeper = keras.applications.EfficientNetB1(weights=None, include_top=False, pooling="avg", input_shape=SHAPE)
    deeper.save_weights(tmp_path / "b1.weights.h5")
    with pytest.raises(WeightsError, match="does not hold the weights of efficientnet_b0"):
        load_backbone(BACKBONES["efficientnet_b0"], SHAPE, tmp_path / "b1.weights.h5")


def test_layers_of_other_widths_are_refused(tmp_path):
    inputs = x = keras.Input(SHAPE)
    for i, filters in enumerate((16, 32, 40), start=1):  # tiny has 48 at last
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False, name=f"conv{i}")(x)
        x = keras.layers.BatchNormalization(name=f"bn{i}")(x)
        x = keras.layers.ReLU(name=f"relu{i}")(x)
    outputs = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    keras.Model(inputs, outputs).save_weights(tmp_path / "wide.weights.h5")
    with pytest.raises(WeightsError, match="does not hold the weights of tiny"):
        load_backbone(BACKBONES["tiny"], SHAPE, tmp_path / "wide.weights.h5")


def test_file_that_lacks_the_last_layers_is_refused(tmp_path):
    inputs = keras.Input(SHAPE)
    x = keras.layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="conv1")(inputs)
    keras.Model(inputs, x).save_weights(tmp_path / "short.weights.h5")
    with pytest.raises(WeightsError, match="does not hold the weights of tiny"):
        load_backbone(BACKBONES["tiny"], SHAPE, tmp_path / "short.weights.h5")


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"There is no weights file .*nowhere"):
        load_backbone(BACKBONES["tiny"], SHAPE, tmp_path / "nowhere.weights.h5")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89HDF\r\n\x1a\n" + bytes(100)])
@pytest.mark.parametrize("name", ["a.weights.h5", "a.h5", "a.bin"])
def test_garbage_is_refused(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match="does not hold the weights of tiny"):
        load_backbone(BACKBONES["tiny"], SHAPE, tmp_path / name)


def test_truncated_file_is_refused(tiny, tmp_path):
    content = tiny[1].read_bytes()
    (tmp_path / "half.weights.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match="does not hold the weights of tiny"):
        load_backbone(BACKBONES["tiny"], SHAPE, tmp_path / "half.weights.h5")


@pytest.mark.parametrize(
    "failure",
    [
        Exception("URL fetch failure on https://storage.googleapis.com/x: None -- [Errno -3] no name"),
        OSError("disk full"),
    ],
)
def test_failed_download_says_what_to_do(failure, monkeypatch):
    def fail(**options):
        raise failure

    monkeypatch.setitem(BACKBONES, "mobilenet_v2", dataclasses.replace(BACKBONES["mobilenet_v2"], constructor=fail))
    with pytest.raises(WeightsError) as error:
        build_fusion_model("mobilenet_v2", fusion="image", image_size=SIZE, weights="imagenet")
    message = str(error.value)
    assert "ImageNet weights of mobilenet_v2 could not be downloaded" in message
    assert str(failure) in message
    assert "weights=None" in message


def test_other_errors_while_building_are_not_called_a_download_failure(monkeypatch):
    def fail(**options):
        raise ZeroDivisionError

    monkeypatch.setitem(BACKBONES, "tiny", dataclasses.replace(BACKBONES["tiny"], constructor=fail))
    with pytest.raises(ZeroDivisionError):
        load_backbone(BACKBONES["tiny"], SHAPE, "imagenet")


def test_tiny_has_no_imagenet_weights():
    with pytest.raises(RecipeError, match="no ImageNet weights"):
        build_fusion_model("tiny", fusion="image", image_size=SIZE, weights="imagenet")


def test_errors_are_the_librarys_own():
    assert issubclass(WeightsError, MelanomaFusionError)
