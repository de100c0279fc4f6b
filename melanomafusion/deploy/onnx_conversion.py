"""From a TensorFlow function to an ONNX graph, with tf2onnx."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .quiet import quiet

OPSET = 18  # ReduceMax and ReduceSum take their axes as input; onnxruntime knows it since 1.14
_KEPT_APART = ("_XlaMustCompile", "_noinline")  # what keeps a function from being put where it is called


def converted(function: Callable[..., dict[str, Any]], signature: Sequence[Any]) -> Any:
    """Trace a function and write it down as an ONNX graph.

    Args:
        function: of tensors, gives tensors by name.
        signature: a `tf.TensorSpec` with a name for each input; its first dimension is the batch.

    Returns:
        `onnx.ModelProto`; inputs and outputs have the names given, in their order.
    """
    import tensorflow as tf

    traced = tf.function(function, input_signature=signature).get_concrete_function()
    names = list(traced.structured_outputs)
    frozen, inputs, outputs = _frozen(traced)
    with quiet():
        graph = _onnx(frozen, inputs, outputs)
    # TensorFlow flattens a dictionary in the order of its sorted keys.
    return _named(graph, dict(zip(outputs, sorted(names), strict=True)), names)


def _frozen(traced: Any) -> tuple[Any, list[str], list[str]]:
    """Graph without variables and without function calls, and the names of its inputs and outputs.

    Keras compiles grouped convolutions (ConvNeXt) with XLA, in functions that are kept apart; ONNX has no such calls.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    constant = convert_variables_to_constants_v2(traced, lower_control_flow=False)
    graph = constant.graph.as_graph_def()
    for part in (*graph.library.function, *graph.node):
        for name in _KEPT_APART:
            part.attr.pop(name, None)
    return graph, [tensor.name for tensor in constant.inputs], [tensor.name for tensor in constant.outputs]


def _onnx(frozen: Any, inputs: list[str], outputs: list[str]) -> Any:
    import tensorflow as tf
    import tf2onnx

    with tf.Graph().as_default():
        frozen = tf2onnx.tf_loader.tf_optimize(inputs, outputs, frozen)
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(frozen, name="")
        handlers: dict[str, Any] = {"Erfc": (_erfc, [])}
        found = tf2onnx.tfonnx.process_tf_graph(
            graph, opset=OPSET, input_names=inputs, output_names=outputs, custom_op_handlers=handlers
        )
    # Without catching errors it does not copy the weights before each of its passes, which took most of the time.
    return tf2onnx.optimizer.optimize_graph(found, catch_errors=False).make_model("melanomafusion")


def _erfc(graph: Any, node: Any, name: str, arguments: Any) -> None:
    """erfc(x) = 1 − erf(x); ONNX has the latter alone."""
    del name, arguments
    source, result = node.input[0], node.output[0]
    shape, dtype = graph.get_shape(result), graph.get_dtype(result)
    graph.remove_node(node.name)
    error = graph.make_node("Erf", [source])
    one = graph.make_const(f"{node.name}_one", np.array(1, "float32"))
    graph.make_node("Sub", [one.output[0], error.output[0]], outputs=[result], shapes=[shape], dtypes=[dtype])


def _named(model: Any, names: dict[str, str], order: list[str]) -> Any:
    """Give inputs and outputs their names and order, and call the open dimension "batch" everywhere."""
    graph = model.graph
    new = {**{value.name: value.name.split(":")[0] for value in graph.input}, **names}
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = new.get(name, name)
        for place, name in enumerate(node.output):
            node.output[place] = new.get(name, name)
    for value in [*graph.input, *graph.output]:
        value.name = new[value.name]
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    ordered = sorted(graph.output, key=lambda value: order.index(value.name))
    del graph.output[:]
    graph.output.extend(ordered)
    model.producer_name = "melanomafusion"
    return model
