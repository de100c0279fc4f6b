"""What computes a model: onnxruntime, OpenVINO or Keras, behind one call."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from ..errors import BundleError
from ..explain.interpolation import heatmap_of
from ..recipes.recipe import Recipe
from .onnx_properties import read_properties
from .scores import probabilities, scores_of

if TYPE_CHECKING:
    import keras

EngineName = Literal["auto", "onnxruntime", "openvino", "openvino-bf16", "keras"]
ENGINES: tuple[EngineName, ...] = ("auto", "onnxruntime", "openvino", "openvino-bf16", "keras")
_LONGEST = 120  # characters of an engine's message that are shown
Arrays = dict[str, np.ndarray]


class Engine(Protocol):
    """Computes a batch."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """Compute every output.

        Args:
            inputs: `image` (B, H, H, 3) uint8 and `metadata` (B, D) float32, what of them the model takes.

        Returns:
            `logit` (B, 1) or (B, k), `score` (B,), `class_scores` (B, k) of a multi-class model, and with an image
            branch `heatmap` (B, H, H) and `signed_map` (B, h, h).
        """
        ...


class OnnxRuntime:
    """An ONNX file by onnxruntime; may be called from several threads.

    Args:
        graph: the file's path, or its bytes.
        threads: of one call; all cores without it.
        at_once: calls that may be computed at the same time; of no effect here.

    Raises:
        BundleError: onnxruntime cannot read it.
    """

    def __init__(self, graph: str | bytes, *, threads: int | None = None, at_once: int = 1) -> None:
        import onnxruntime

        self._name = _name(graph)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 4  # what goes wrong is raised
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of many kinds, all of onnxruntime's own
            raise _unreadable(graph, "onnxruntime", error) from None
        self._outputs = [output.name for output in self._session.get_outputs()]

    @property
    def properties(self) -> dict[str, str]:
        """The file's metadata."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """See `Engine`.

        Raises:
            BundleError: onnxruntime cannot compute the graph.
        """
        try:
            found = self._session.run(None, dict(inputs))
        except Exception as error:  # of many kinds, all of onnxruntime's own
            raise BundleError(f"{self._name}: onnxruntime cannot compute it ({_in_short(error)}).") from None
        return dict(zip(self._outputs, found, strict=True))


class OpenVino:
    """An ONNX file by OpenVINO, in float32; may be called from several threads.

    One record is computed by all threads together. The records of a batch are computed side by side, where no other
    calls are: threads wait less for each other then.

    Args:
        graph: the file's path, or its bytes.
        threads: of one call; all cores without it.
        at_once: calls that may be computed at the same time.

    Raises:
        BundleError: OpenVINO cannot read it.
    """

    _precision = "f32"  # by name: where the processor has bfloat16, OpenVINO would choose it

    def __init__(self, graph: str | bytes, *, threads: int | None = None, at_once: int = 1) -> None:
        import openvino

        self._name, self._graph = _name(graph), graph
        self._options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": self._precision}
        if threads:
            self._options["INFERENCE_NUM_THREADS"] = threads * at_once
        if at_once > 1:
            self._options["NUM_STREAMS"] = at_once
        self._splits = at_once == 1
        self._of_thread = threading.local()  # a request computes one call at a time
        try:
            self._core = openvino.Core()
            self._check_processor(self._core)
            self._model = self._core.read_model(graph)
            self._compiled = {"LATENCY": self._compile("LATENCY")}
        except RuntimeError as error:
            raise _unreadable(graph, "OpenVINO", error) from None

    def _check_processor(self, core: Any) -> None:
        """Any processor computes in float32."""

    @property
    def properties(self) -> dict[str, str]:
        """The file's metadata, which OpenVINO does not keep."""
        return read_properties(self._graph)

    def run(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """See `Engine`.

        Raises:
            BundleError: OpenVINO cannot compute the graph.
        """
        records = len(next(iter(inputs.values())))
        try:
            requests = self._requests(records)
            parts = np.array_split(np.arange(records), len(requests))
            for request, part in zip(requests, parts, strict=True):
                request.start_async({name: values[part] for name, values in inputs.items()})
            for request in requests:
                request.wait()
        except RuntimeError as error:
            self._of_thread = threading.local()  # what was begun may still be computing
            raise BundleError(f"{self._name}: OpenVINO cannot compute it ({_in_short(error)}).") from None
        found = [request.results for request in requests]
        return {
            output.get_any_name(): np.concatenate([part[place] for part in found])
            for place, output in enumerate(self._compiled["LATENCY"].outputs)
        }

    def _requests(self, records: int) -> list[Any]:
        """Those of this thread for a batch of that size: each computes a part of it."""
        hint = "THROUGHPUT" if self._splits and records > 1 else "LATENCY"
        if hint not in self._compiled:
            self._compiled[hint] = self._compile(hint)
        known: list[Any] = self._of_thread.__dict__.setdefault(hint, [])
        if not known:
            compiled = self._compiled[hint]
            count = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") if hint == "THROUGHPUT" else 1
            known += [compiled.create_infer_request() for _ in range(count)]
        return known[: max(records, 1)]

    def _compile(self, hint: str) -> Any:
        return self._core.compile_model(self._model, "CPU", {**self._options, "PERFORMANCE_HINT": hint})


class OpenVinoBfloat16(OpenVino):
    """The same in bfloat16, on processors that have it: faster, with other scores, by up to 0.4 for a MobileNetV2.

    Raises:
        BundleError: OpenVINO cannot read the file, or the processor has no bfloat16.
    """

    _precision = "bf16"

    def _check_processor(self, core: Any) -> None:
        if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise BundleError('This processor has no bfloat16. Use engine="openvino".')


class Keras:
    """The model itself: the reference that the others are compared with.

    Args:
        model: trained.
        recipe: of the model.

    Attributes:
        weights: (H, h) that make a heat map of a signed map; of a model with an image branch.
    """

    def __init__(self, model: keras.Model, recipe: Recipe) -> None:
        from ..explain.explanation import class_index_of
        from ..explain.gradcam import build_gradcam_model, image_weights

        self._recipe, self._model = recipe, model
        if recipe.uses_images:
            self._model = build_gradcam_model(model, class_index=class_index_of(recipe), signed=True)
            self.weights = image_weights(model)
        self._model.jit_compile = False  # XLA makes EfficientNet on a CPU several times slower

    def run(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """See `Engine`."""
        found = self._model.predict_on_batch({name: values.astype("float32") for name, values in inputs.items()})
        if self._recipe.uses_images:
            maps = np.stack([heatmap_of(signed, self.weights) for signed in found[1]])
            outputs = {"logit": found[0], "signed_map": found[1], "heatmap": maps}
        else:
            outputs = {"logit": found}
        values = probabilities(outputs["logit"])
        classes = {"class_scores": values} if self._recipe.classes else {}
        return {**outputs, **classes, "score": scores_of(values, self._recipe)}


def is_installed(engine: str) -> bool:
    """Whether the package of an engine is there."""
    return find_spec(engine) is not None


def _unreadable(graph: str | bytes, engine: str, error: Exception) -> BundleError:
    return BundleError(
        f"{_name(graph)}: {engine} cannot read it: not an ONNX file, or a damaged one, or out of memory "
        f"({_in_short(error)}). Export it again: melanomafusion export BUNDLE"
    )


def _in_short(error: Exception) -> str:
    """The engines' messages run over lines and name places in their own sources."""
    line = " ".join(str(error).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _name(graph: str | bytes) -> str:
    return "the ONNX graph" if isinstance(graph, bytes) else graph
