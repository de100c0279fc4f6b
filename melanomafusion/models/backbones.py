"""The image branches, one table row each: constructor, native size, feature width, normalisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from ..errors import RecipeError

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Normalisation:
    """pixel (0–255) · scale + offset, per channel."""

    scale: Triple
    offset: Triple


# What the published ImageNet weights were trained on.
STANDARDISED = Normalisation(
    tuple(1.0 / (255.0 * s) for s in _IMAGENET_STD),  # type: ignore[arg-type]
    tuple(-m / s for m, s in zip(_IMAGENET_MEAN, _IMAGENET_STD, strict=True)),  # type: ignore[arg-type]
)
MINUS_ONE_TO_ONE = Normalisation((1 / 127.5,) * 3, (-1.0,) * 3)
BY_128 = Normalisation((1 / 128,) * 3, (-1.0,) * 3)
ZERO_TO_ONE = Normalisation((1 / 255,) * 3, (0.0,) * 3)


@dataclass(frozen=True)
class Backbone:
    """One image branch.

    Attributes:
        name: key for `build_fusion_model` and recipes.
        constructor: builds the Keras application, `(input_shape=, weights=) -> keras.Model` with pooled output.
        native_size: image side in pixels it was designed for.
        width: number of pooled features.
        normalisation: applied by us to pixels 0–255, whatever the weights.
        first_layer: first layer behind the application's own normalisation, where it has one (EfficientNet).
    """

    name: str
    constructor: Callable[..., keras.Model]
    native_size: int
    width: int
    normalisation: Normalisation
    first_layer: str | None = None


def _application(function: Callable[..., keras.Model], **options: Any) -> Callable[..., keras.Model]:
    def build(*, input_shape: tuple[int, int, int], weights: str | None) -> keras.Model:
        return function(include_top=False, weights=weights, input_shape=input_shape, pooling="avg", **options)

    return build


def _tiny(*, input_shape: tuple[int, int, int], weights: str | None) -> keras.Model:
    """Three strided convolutions, 20,000 weights: for tests and the demo."""
    if weights == "imagenet":
        raise RecipeError('The backbone "tiny" has no ImageNet weights. Use weights=None or a file.')
    inputs = x = keras.Input(input_shape)
    for i, filters in enumerate((16, 32, 48), start=1):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False, name=f"conv{i}")(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"bn{i}")(x)
        x = keras.layers.ReLU(name=f"relu{i}")(x)
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.Model(inputs, x, name="tiny")


def _plain_cnn(*, input_shape: tuple[int, int, int], weights: str | None) -> keras.Model:
    """Four times convolution and max-pooling, 390,000 weights: what a deep network has to beat."""
    if weights == "imagenet":
        raise RecipeError('The backbone "plain_cnn" has no ImageNet weights. Use weights=None or a file.')
    inputs = x = keras.Input(input_shape)
    for i, filters in enumerate((32, 64, 128, 256), start=1):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{i}")(x)
        x = keras.layers.MaxPooling2D(name=f"pool{i}")(x)
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.Model(inputs, x, name="plain_cnn")


def _efficientnet(version: int, size: int, width: int) -> Backbone:
    return Backbone(
        f"efficientnet_b{version}",
        _application(getattr(keras.applications, f"EfficientNetB{version}")),
        size,
        width,
        STANDARDISED,
        "stem_conv_pad",
    )


BACKBONES: dict[str, Backbone] = {
    backbone.name: backbone
    for backbone in (
        _efficientnet(0, 224, 1280),
        _efficientnet(1, 240, 1280),
        _efficientnet(2, 260, 1408),
        _efficientnet(3, 300, 1536),
        _efficientnet(4, 380, 1792),
        _efficientnet(5, 456, 2048),
        _efficientnet(6, 528, 2304),
        _efficientnet(7, 600, 2560),
        Backbone("inception_v3", _application(keras.applications.InceptionV3), 299, 2048, MINUS_ONE_TO_ONE),
        Backbone("mobilenet_v2", _application(keras.applications.MobileNetV2), 224, 1280, MINUS_ONE_TO_ONE),
        Backbone("densenet121", _application(keras.applications.DenseNet121), 224, 1024, STANDARDISED),
        Backbone(
            "efficientnet_v2_s",
            _application(keras.applications.EfficientNetV2S, include_preprocessing=False),
            384,
            1280,
            BY_128,
        ),
        Backbone(
            "convnext_tiny",
            _application(keras.applications.ConvNeXtTiny, include_preprocessing=False),
            224,
            768,
            STANDARDISED,
        ),
        Backbone("plain_cnn", _plain_cnn, 128, 256, ZERO_TO_ONE),
        Backbone("tiny", _tiny, 32, 48, STANDARDISED),
    )
}


def list_backbones() -> list[str]:
    """Names that `build_fusion_model` and recipes take."""
    return list(BACKBONES)


def get_backbone(name: str) -> Backbone:
    """The table row of that name.

    Raises:
        RecipeError: there is none.
    """
    if name not in BACKBONES:
        raise RecipeError(f"Known backbones: {', '.join(BACKBONES)}. Received: backbone={name!r}")
    return BACKBONES[name]


def build_backbone(backbone: Backbone, image_size: int, load: Callable[[Backbone, Any], keras.Model]) -> keras.Model:
    """The network from normalised pixels to the feature map, without the application's own normalisation or pooling.

    Args:
        backbone: table row.
        image_size: side in pixels.
        load: makes the application with its weights, `(backbone, input_shape)`.

    Returns:
        Model (B, H, H, 3) normalised → (B, h, w, width), named like the backbone.
    """
    application = load(backbone, (image_size, image_size, 3))
    # Keras builds another normalisation into EfficientNet for "imagenet" than for None. Cut it off: ours is in front.
    start = application.get_layer(backbone.first_layer).input if backbone.first_layer else application.input
    # ConvNeXt has a last normalisation behind its pooling; the map before pooling goes without it.
    pooling = [x for x in application.layers if isinstance(x, keras.layers.GlobalAveragePooling2D)][-1]
    feature_map = pooling.input
    return keras.Model(start, feature_map, name=backbone.name)
