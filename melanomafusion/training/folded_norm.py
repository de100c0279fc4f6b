"""Batch norm that is constant, computed as a part of the convolution before it.

In prediction, and while it is frozen in training, batch norm multiplies and shifts each channel by constants. A
convolution whose kernel is multiplied by them and which adds the shift is the same function, has the same gradients,
and spares two passes over each feature map (`benchmarks/folded_norm.py`).
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

Tensor = Any
_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)


def with_folded_norm(model: keras.Model, backbone: str, *, learns: bool) -> keras.Model:
    """The model, of the same layers and weights, with batch norm folded.

    Args:
        model: from `build_fusion_model`; to be trained, it is frozen as the stage wants it.
        backbone: its name.
        learns: the model is to be trained, and only frozen batch norm is constant; otherwise all of it is.

    Returns:
        A model that computes the same but for rounding and trains the same weights, in the same order; `model` itself
        where nothing can be folded (no backbone, half precision, no such batch norm directly behind a convolution).
    """
    network = next((layer for layer in model.layers if layer.name == backbone), None)
    pairs = [] if network is None else _pairs(network, learns)
    if not pairs:
        return model
    folded = {convolution.name: _FoldedConvolution(convolution, norm) for convolution, norm in pairs}
    done = {norm.name for _, norm in pairs}

    def call(layer: Any, *args: Any, **options: Any) -> Any:
        if layer.name in done:
            return args[0]
        return folded.get(layer.name, layer)(*args, **options)

    inner = _of_the_same_layers(network, call)
    return _of_the_same_layers(
        model, lambda layer, *args, **options: (inner if layer is network else layer)(*args, **options)
    )


def _of_the_same_layers(model: keras.Model, call: Any) -> keras.Model:
    bare = keras.Model(model.input, model.output, name=model.name)  # what a model was compiled with is not wanted
    return keras.models.clone_model(bare, clone_function=lambda layer: layer, call_function=call)


def _pairs(network: keras.Model, learns: bool) -> list[tuple[Any, Any]]:
    """Each convolution whose output goes into one constant batch norm and nowhere else, and that batch norm."""
    # A layer may have nodes of other networks too, which share it.
    nodes = [node for depth in network._nodes_by_depth.values() for node in depth]
    readers: dict[int, list[Any]] = {id(output): [None] for output in network.outputs}
    for node in nodes:
        for tensor in node.input_tensors:
            readers.setdefault(id(tensor), []).append(node.operation)
    pairs = []
    for node in nodes:
        behind = readers[id(node.outputs[0])]
        if len(behind) == 1 and _folds(node.operation) and _is_constant_norm(behind[0], learns):
            pairs.append((node.operation, behind[0]))
    return pairs


def _folds(layer: Any) -> bool:
    if type(layer) not in _CONVOLUTIONS:
        return False
    alone = not layer.use_bias and layer.activation is keras.activations.linear
    plain = set(layer.dilation_rate) == {1} and getattr(layer, "groups", 1) == 1 and len(set(layer.strides)) == 1
    return alone and plain and layer.data_format == "channels_last" and layer.compute_dtype == "float32"


def _is_constant_norm(layer: Any, learns: bool) -> bool:
    norm = type(layer) is keras.layers.BatchNormalization and layer.axis in (-1, 3)
    return norm and not (learns and layer.trainable)


class _FoldedConvolution(keras.layers.Layer):  # type: ignore[misc]
    """A convolution and the frozen batch norm behind it, whose weights stay theirs.

    Args:
        convolution: without bias and activation, channels last.
        norm: of its channels.
    """

    def __init__(self, convolution: Any, norm: Any) -> None:
        super().__init__(name=f"{convolution.name}_folded", trainable=convolution.trainable)
        self.convolution, self.norm = convolution, norm
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        """The convolution with a scaled kernel and a bias, which TensorFlow computes together with what follows."""
        layer, norm = self.convolution, self.norm
        scale = tf.math.rsqrt(norm.moving_variance + norm.epsilon)
        if norm.scale:
            scale = scale * norm.gamma
        shift = (norm.beta if norm.center else 0.0) - norm.moving_mean * scale
        strides, padding = (1, *layer.strides, 1), layer.padding.upper()
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            kernel = layer.kernel * tf.reshape(scale, (1, 1, *layer.kernel.shape[2:]))
            output = tf.nn.depthwise_conv2d(inputs, kernel, strides, padding)
        else:
            output = tf.nn.conv2d(inputs, layer.kernel * scale, strides, padding)
        return tf.nn.bias_add(output, shift)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """That of the convolution."""
        return tuple(self.convolution.compute_output_shape(input_shape))
