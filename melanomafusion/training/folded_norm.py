"""Batch norm that is constant, computed as a part of the convolution before it.

In prediction, and in training while its statistics are frozen, batch norm multiplies and shifts each channel by numbers
that no image of the batch changes. A convolution whose kernel is multiplied by them and which adds the shift is the
same function, has the same gradients, and spares two passes over each feature map (`benchmarks/folded_norm.py`).
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

Tensor = Any
_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)


def with_folded_norm(model: keras.Model, backbone: str, *, frozen_statistics: bool) -> keras.Model:
    """The model, of the same layers and weights, with batch norm folded.

    Args:
        model: from `build_fusion_model`; to be trained, it is frozen as the stage wants it.
        backbone: its name.
        frozen_statistics: no batch norm of the backbone takes statistics from batches, as in prediction, even where its
            scale and shift learn; otherwise only frozen batch norm takes none.

    Returns:
        A model that computes the same but for rounding and trains the same weights; `model` itself where there is
        nothing to do (no backbone, half precision, no such batch norm directly behind a convolution).
    """
    network = next((layer for layer in model.layers if layer.name == backbone), None)
    if network is None:
        return model
    pairs = _pairs(network, frozen_statistics)
    done = {norm.name for _, norm in pairs}
    folded: dict[str, Any] = {convolution.name: _FoldedConvolution(convolution, norm) for convolution, norm in pairs}
    if frozen_statistics:
        folded |= {norm.name: _FrozenStatistics(norm) for norm in _learning_norms(network) if norm.name not in done}
    if not folded:
        return model

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


def _learning_norms(network: keras.Model) -> list[Any]:
    return [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]


def _pairs(network: keras.Model, frozen_statistics: bool) -> list[tuple[Any, Any]]:
    """Each convolution whose output goes into a batch norm of fixed statistics alone, and that batch norm."""
    # A layer may have nodes of other networks too, which share it.
    nodes = [node for depth in network._nodes_by_depth.values() for node in depth]
    readers: dict[int, list[Any]] = {id(output): [None] for output in network.outputs}
    for node in nodes:
        for tensor in node.input_tensors:
            readers.setdefault(id(tensor), []).append(node.operation)
    pairs = []
    for node in nodes:
        behind = readers[id(node.outputs[0])]
        if len(behind) == 1 and _folds(node.operation) and _is_fixed_norm(behind[0], frozen_statistics):
            pairs.append((node.operation, behind[0]))
    return pairs


def _folds(layer: Any) -> bool:
    if type(layer) not in _CONVOLUTIONS:
        return False
    alone = not layer.use_bias and layer.activation is keras.activations.linear
    plain = set(layer.dilation_rate) == {1} and getattr(layer, "groups", 1) == 1 and len(set(layer.strides)) == 1
    return alone and plain and layer.data_format == "channels_last" and layer.compute_dtype == "float32"


def _is_fixed_norm(layer: Any, frozen_statistics: bool) -> bool:
    norm = type(layer) is keras.layers.BatchNormalization and layer.axis in (-1, 3)
    return norm and (frozen_statistics or not layer.trainable)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _shifted(output: Tensor, shift: Tensor) -> tuple[Tensor, Any]:
    """A bias whose gradient is a sum.

    On a CPU, TensorFlow joins the gradient it would use to that of the kernel, and oneDNN computes both together four
    times slower than the kernel's alone where channels are few: a tenth of a step of MobileNetV2 without AVX-512.
    """

    def gradient(upstream: Tensor) -> tuple[Tensor, Tensor]:
        return upstream, tf.reduce_sum(upstream, axis=list(range(len(upstream.shape) - 1)))

    return tf.nn.bias_add(output, shift), gradient


class _FoldedConvolution(keras.layers.Layer):  # type: ignore[misc]
    """A convolution and the batch norm behind it, whose weights stay theirs.

    Args:
        convolution: without bias and activation, channels last.
        norm: of its channels.
    """

    def __init__(self, convolution: Any, norm: Any) -> None:
        super().__init__(name=f"{convolution.name}_folded", trainable=convolution.trainable or norm.trainable)
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
        return _shifted(output, shift)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """That of the convolution."""
        return tuple(self.convolution.compute_output_shape(input_shape))


class _FrozenStatistics(keras.layers.Layer):  # type: ignore[misc]
    """A batch norm that is not folded, whose scale and shift may learn and whose statistics stay.

    Args:
        norm: any batch norm.
    """

    def __init__(self, norm: Any) -> None:
        super().__init__(name=f"{norm.name}_of_frozen_statistics", dtype=norm.dtype_policy)
        self.norm = norm
        self.built = True

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """The batch norm as in prediction."""
        return self.norm(inputs, training=False, mask=mask)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """That of its input."""
        return input_shape
