"""Pretrained weights of a backbone: by download, a file, or none. A wrong file never loads in part."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import keras

from ..errors import RecipeError, WeightsError
from .backbones import Backbone
from .download import download
from .efficientnet_weights import load_layers, noisy_student_file, read_layers


def load_backbone(backbone: Backbone, input_shape: tuple[int, int, int], weights: str | Path | None) -> keras.Model:
    """Build the Keras application of a backbone with its weights.

    Args:
        backbone: table row.
        input_shape: (H, H, 3).
        weights: "imagenet" (downloaded by Keras into its cache: only Keras knows the address and hash of each),
            "noisy-student" (EfficientNet B0 to B7; downloaded into our cache), None (random), or a file: written by
            `save_weights` of `keras.applications.X(include_top=False, pooling="avg")`, or for the 2020 package
            `efficientnet`.

    Raises:
        WeightsError: the download cannot be had, the file is missing, or it belongs to another network.
        OutputError: the download cannot be written.
    """
    if weights is None:
        return _random(backbone, input_shape)
    if weights == "imagenet":
        return _imagenet(backbone, input_shape)
    if weights == "noisy-student":
        file = noisy_student_file(backbone)
        application = _random(backbone, input_shape)  # a size that cannot be built fails before the download
        return _from_file(application, backbone, download(file))
    path = Path(weights)
    if not path.is_file():
        raise WeightsError(
            f'There is no weights file {path}. Expected "imagenet", "noisy-student", None or a file (.weights.h5, or '
            ".h5 of the package efficientnet)."
        )
    return _from_file(_random(backbone, input_shape), backbone, path)


def _from_file(application: keras.Model, backbone: Backbone, path: Path) -> keras.Model:
    layers = read_layers(path) if backbone.name.startswith("efficientnet_b") else None
    if layers is not None:
        load_layers(application, layers, f"{path} does not hold the weights of {backbone.name}")
        return application
    try:
        load_whole(application, path)
    except WeightsError as error:
        raise WeightsError(
            f'{path} does not hold the weights of {backbone.name} (include_top=False, pooling="avg"): '
            f"{error}. Use a file of that very backbone, or weights=None."
        ) from None
    return application


def load_whole(model: keras.Model, path: str | Path) -> None:
    """Load weights into every layer of a model, or fail.

    Raises:
        WeightsError: the file is not of this model; the message is the reason alone.
    """
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            model.load_weights(os.fspath(path))
    except (ValueError, KeyError, OSError, TypeError) as error:
        raise WeightsError(_reason(error)) from None
    # Keras only warns where a layer finds nothing in the file and stays random: here that is an error.
    if any("freshly-initialized" in str(warning.message) for warning in heard):
        raise WeightsError("some layers of the network are not in the file")


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    shapes = [line for line in lines if "shape" in line]
    return (shapes or lines or [type(error).__name__])[0].rstrip(".")[:200]


def _random(backbone: Backbone, input_shape: tuple[int, int, int]) -> keras.Model:
    try:
        return backbone.constructor(input_shape=input_shape, weights=None)
    except ValueError as error:  # InceptionV3 wants at least 75 pixels
        raise RecipeError(f"{backbone.name} cannot be built for images of {input_shape[0]} pixels: {error}") from None


def _imagenet(backbone: Backbone, input_shape: tuple[int, int, int]) -> keras.Model:
    reason: Exception
    try:
        return backbone.constructor(input_shape=input_shape, weights="imagenet")
    except OSError as error:
        reason = error
    except ValueError as error:
        _random(backbone, input_shape)  # a size that cannot be built is not the download's fault
        reason = error
    except Exception as error:  # Keras wraps every failed download in a plain Exception
        if type(error) is not Exception:
            raise
        reason = error
    raise WeightsError(
        f"The ImageNet weights of {backbone.name} could not be downloaded: {reason}. "
        'With a network, try again; without one, give a file (weights="path.weights.h5") or weights=None.'
    ) from None
