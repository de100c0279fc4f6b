"""The gradient of a model's output with respect to its last feature map, written down layer by layer.

Between the feature map and the logits lie few layers, each with a short derivative. Following the functional graph
backwards with `keras.ops` gives the gradient as a part of a functional model: it runs on every Keras backend and is
exported like any other layer, which automatic differentiation is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from ..errors import MelanomaFusionError
from ..models.layers import GeneralisedMeanPooling2D, LogitDifference

Tensor = Any
Rule = Callable[[Any, list[Tensor], Tensor, Tensor], list[Tensor]]

POOLING = "pooling"  # the layer behind the last feature map in every model of `build_fusion_model`


def feature_map_of(model: keras.Model) -> Tensor:
    """The symbolic last feature map of a model, (B, h, w, C).

    Raises:
        MelanomaFusionError: the model has no image branch.
    """
    has_map = isinstance(model, keras.Model) and POOLING in [layer.name for layer in model.layers]
    if not has_map or not isinstance(model.input, dict):
        raise MelanomaFusionError(
            f"A heat map needs a model of build_fusion_model with an image branch (a layer {POOLING!r} behind its last "
            f"feature map). Received: model={getattr(model, 'name', model)!r}"
        )
    return model.get_layer(POOLING).input


def gradient(output: Tensor, source: Tensor, output_gradient: Tensor) -> Tensor:
    """d(output · output_gradient) / d source, for two symbolic tensors of one functional graph.

    Args:
        output: (B, k), symbolic.
        source: tensor the output is computed from, symbolic.
        output_gradient: (B, k), symbolic or not: what each output counts.

    Returns:
        The gradient, float32; (B, 1, 1, C) for a feature map where it is the same at every place, as behind average
        pooling.

    Raises:
        MelanomaFusionError: a layer between the two has no rule here, or the output does not depend on the source.
    """
    nodes = _nodes_between(output, source)
    gradients = {id(output): output_gradient}
    for node in reversed(nodes):
        result = node.output_tensors[0]
        rule = _rule_of(node.operation)
        flows = rule(node.operation, [_float32(x) for x in node.input_tensors], _float32(result), gradients[id(result)])
        for tensor, flow in zip(node.input_tensors, flows, strict=True):
            known = gradients.get(id(tensor))
            gradients[id(tensor)] = flow if known is None else known + flow
    return gradients[id(source)]


def _nodes_between(output: Tensor, source: Tensor) -> list[Any]:
    """The layer calls on the ways from source to output, each behind those it needs."""
    depends = {id(source): True}
    ordered: list[Any] = []

    def visit(tensor: Tensor) -> bool:
        if id(tensor) not in depends:
            layer, index, _ = tensor._keras_history
            node = layer._inbound_nodes[index]
            reached = [visit(x) for x in node.input_tensors]
            depends[id(tensor)] = any(reached)
            if depends[id(tensor)]:
                ordered.append(node)
        return depends[id(tensor)]

    if not visit(output):
        raise MelanomaFusionError("The output of this model does not depend on its feature map.")
    return ordered


def _rule_of(layer: Any) -> Rule:
    if type(layer) not in _RULES:
        known = ", ".join(kind.__name__ for kind in _RULES)
        raise MelanomaFusionError(
            f"No rule for the gradient of layer {layer.name!r} ({type(layer).__name__}) behind the feature map. "
            f"Known layers: {known}."
        )
    return _RULES[type(layer)]


def _float32(x: Tensor) -> Tensor:
    return ops.cast(x, "float32")


def _activation(layer: Any, x: Tensor, y: Tensor, g: Tensor) -> Tensor:
    """g · f′, from the activation's input x or, where that is enough, from its output y."""
    name = getattr(layer.activation, "__name__", "")
    if name == "linear":
        return g
    if name == "relu":
        return g * ops.cast(y > 0, "float32")
    if name == "sigmoid":
        return g * y * (1 - y)
    if name == "tanh":
        return g * (1 - y * y)
    if name == "log_sigmoid":
        return g * (1 - ops.exp(y))
    if name == "silu":  # swish
        s = ops.sigmoid(x)
        return g * (s + x * s * (1 - s))
    raise MelanomaFusionError(
        f"No rule for the gradient of activation {name!r} of layer {layer.name!r}. "
        "Known: linear, log_sigmoid, relu, sigmoid, swish, tanh."
    )


def _dense(layer: Any, inputs: list[Tensor], y: Tensor, g: Tensor) -> list[Tensor]:
    before = ops.matmul(inputs[0], layer.kernel)
    if layer.use_bias:
        before = before + layer.bias
    flow = _activation(layer, before, y, g)
    return [ops.transpose(ops.matmul(layer.kernel, ops.transpose(flow)))]


def _activated(layer: Any, inputs: list[Tensor], y: Tensor, g: Tensor) -> list[Tensor]:
    return [_activation(layer, inputs[0], y, g)]


def _identity(layer: Any, inputs: list[Tensor], y: Tensor, g: Tensor) -> list[Tensor]:
    del layer, inputs, y
    return [g]


def _add(layer: Any, inputs: list[Tensor], y: Tensor, g: Tensor) -> list[Tensor]:
    _check_one_shape(layer, inputs, y)
    return [g for _ in inputs]


def _average(layer: Any, inputs: list[Tensor], y: Tensor, g: Tensor) -> list[Tensor]:
    _check_one_shape(layer, inputs, y)
    return [g / len(inputs) for _ in inputs]


def _multiply(layer: Any, inputs: list[Tensor], y: Tensor, g: Tensor) -> list[Tensor]:
    _check_one_shape(layer, inputs, y)
    flows = []
    for i in range(len(inputs)):
        flow = g
        for j, other in enumerate(inputs):
            flow = flow if j == i else flow * other
        flows.append(flow)
    return flows


def _check_one_shape(layer: Any, inputs: list[Tensor], y: Tensor) -> None:
    if any(tuple(x.shape) != tuple(y.shape) for x in inputs):
        shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
        raise MelanomaFusionError(f"Layer {layer.name!r}: no rule for inputs of different shapes. Received: {shapes}")


def _concatenate(layer: Any, inputs: list[Tensor], y: Tensor, g: Tensor) -> list[Tensor]:
    if layer.axis not in (-1, len(y.shape) - 1):
        raise MelanomaFusionError(f"Layer {layer.name!r}: only the last axis has a rule. Received: axis={layer.axis!r}")
    flows, start = [], 0
    for x in inputs:
        flows.append(g[..., start : start + x.shape[-1]])
        start += x.shape[-1]
    return flows


def _batch_normalisation(layer: Any, inputs: list[Tensor], y: Tensor, g: Tensor) -> list[Tensor]:
    """In use, not in training: the statistics are constants."""
    del inputs
    variance = ops.zeros_like(y) + layer.moving_variance
    flow = g * ops.rsqrt(variance + layer.epsilon)
    return [flow * layer.gamma if layer.scale else flow]


def _average_pooling(layer: Any, inputs: list[Tensor], y: Tensor, g: Tensor) -> list[Tensor]:
    del layer, y
    height, width = inputs[0].shape[1:3]
    return [_over_map(g) / (height * width)]


def _generalised_mean(layer: Any, inputs: list[Tensor], y: Tensor, g: Tensor) -> list[Tensor]:
    """y = mean(max(x, ε)^p)^(1/p), so dy/dx = (max(x, ε) / y)^(p−1) / (h·w) where x > ε, else 0."""
    x = inputs[0]
    height, width = x.shape[1:3]
    ratio = ops.maximum(x, layer.epsilon) / _over_map(y)
    inside = ops.cast(x > layer.epsilon, "float32")
    return [_over_map(g) * inside * ops.power(ratio, layer.power) / ratio / (height * width)]


def _over_map(features: Tensor) -> Tensor:
    """(B, C) → (B, 1, 1, C)."""
    return ops.expand_dims(ops.expand_dims(features, 1), 1)


def _logit_difference(layer: Any, inputs: list[Tensor], y: Tensor, g: Tensor) -> list[Tensor]:
    del layer, inputs, y
    return [ops.concatenate([-g, g], axis=-1)]


# A rule takes the layer, its inputs, its output y and the gradient g with respect to y, and gives the gradient with
# respect to each input. Weights are combined with symbolic tensors only: an operation on weights alone would be
# computed when the graph is built, and the result would not follow weights that are loaded or trained later.
_RULES: dict[type, Rule] = {
    keras.layers.Dense: _dense,
    keras.layers.Activation: _activated,
    keras.layers.Dropout: _identity,
    keras.layers.Add: _add,
    keras.layers.Average: _average,
    keras.layers.Multiply: _multiply,
    keras.layers.Concatenate: _concatenate,
    keras.layers.BatchNormalization: _batch_normalisation,
    keras.layers.GlobalAveragePooling2D: _average_pooling,
    GeneralisedMeanPooling2D: _generalised_mean,
    LogitDifference: _logit_difference,
}
