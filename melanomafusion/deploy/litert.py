"""`export_litert`: trained models as one LiteRT (TensorFlow Lite) file, compared with Keras before it is kept."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..atomic import atomic_file
from ..errors import BundleError, OutputError
from .bundle import Bundle, find_bundles
from .engines import Arrays
from .ensemble_bundle import CONTENT, EnsembleBundle
from .onnx_header import PROPERTY
from .onnx_parity import Together
from .quiet import quiet

_SIGNATURE = "serving_default"


def export_litert(path: str | Path, out: str | Path) -> dict[str, float]:
    """Write the LiteRT file of a model, or of the mean of a run's folds.

    Inputs, outputs and header are those of `export_onnx`; the header stands in the file's metadata under
    "melanomafusion". It is written only if logits and heat maps of 64 random records differ from Keras by at most 1e-4.

    Args:
        path: bundle, run folder, or ensemble bundle; of one recipe, combined by their plain mean.
        out: file to write, `.tflite`.

    Returns:
        The largest difference from Keras of each output.

    Raises:
        BundleError: the models cannot be used or converted, or the file computes something else.
        OutputError: the file cannot be written.
    """
    path, out = Path(path), Path(out)
    if out.is_dir():
        raise OutputError(f"{out} is a folder. Name a .tflite file.")
    ensemble = EnsembleBundle.read(path) if (path / CONTENT).is_file() else None
    together = Together.of_one_recipe([Bundle.read(folder) for folder in find_bundles(path)], ensemble)
    content = _converted(together)
    differences = together.differences(LiteRt(content))
    together.check(differences, "LiteRT file")
    with atomic_file(out) as part:
        part.write_bytes(content)
    return differences


class LiteRt:
    """A LiteRT file by TensorFlow's interpreter.

    Args:
        content: of the file.
    """

    def __init__(self, content: bytes) -> None:
        import tensorflow as tf

        self._run = tf.lite.Interpreter(model_content=content).get_signature_runner(_SIGNATURE)

    def run(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """See `Engine`; the file takes any batch."""
        return dict(self._run(**inputs))


def _converted(together: Together) -> bytes:
    """The file's content, with its header."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    from .onnx_graph import traceable

    header = together.header
    run, signature = traceable(
        together.models, header.recipe, translations=together.translations, calibrator=header.calibrator
    )
    traced = tf.function(run, input_signature=signature).get_concrete_function()
    constant, names = convert_variables_to_constants_v2(traced), sorted(traced.structured_outputs)
    module = tf.Module()
    module.run = tf.function(lambda *tensors: dict(zip(names, constant(*tensors), strict=True)), signature)
    with quiet(), tempfile.TemporaryDirectory() as folder:  # only a saved model keeps the names of inputs and outputs
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(module, folder, {_SIGNATURE: module.run}, options)
        try:
            content = bytes(tf.lite.TFLiteConverter.from_saved_model(folder).convert())
        except Exception as error:  # of many kinds, all of the converter's own
            reason = " ".join(str(error).split())[:200]
            raise BundleError(f"{together.bundles[0].path}: LiteRT cannot hold this model ({reason}).") from None
    return _with_header(content, header.to_json())


def _with_header(content: bytes, text: str) -> bytes:
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(text.encode("utf-8"), dtype="uint8")
    model.buffers.append(buffer)
    entry.name, entry.buffer = PROPERTY, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
