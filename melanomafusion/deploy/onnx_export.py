"""`export_onnx`: a trained model as one ONNX file that suffices alone, compared with Keras before it is kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..atomic import atomic_file
from ..data.metadata import MetadataEncoder
from ..errors import BundleError, OutputError
from .bundle import Bundle, add_onnx, find_bundles
from .engines import Engine, Keras, OnnxRuntime, is_installed
from .onnx_header import OnnxHeader

if TYPE_CHECKING:
    import keras

TOLERANCE = 1e-4
INPUTS = 64  # random records on which both are compared
_BATCHES = (1, 3)


def export_onnx(
    path: str | Path, out: str | Path | None = None, *, on_event: Callable[[dict[str, Any]], None] | None = None
) -> list[Path]:
    """Write the ONNX file of a bundle, or of each fold of a run.

    A file has inputs `image` (B, H, H, 3) uint8 and `metadata` (B, D) float32 (a single-branch model has its one), and
    outputs `logit` (B, 1) or (B, k), `score` (B,), `class_scores` (B, k) of a multi-class model, and of a model with an
    image branch `heatmap` (B, H, H) in 0–1 (Grad-CAM) and `signed_map` (B, h, h), which it is made of. Metadata
    encoder, image spec, classes, views and versions stand in the file. It is written only if logits and heat maps of 64
    random records, in batches of 1 and of 3, differ from Keras by at most 1e-4; the largest difference is kept in
    `bundle.json`.

    Args:
        path: bundle or run folder.
        out: for one model: a file, which then lies outside its bundle. Without it each file becomes `model.onnx` in its
            bundle.
        on_event: called with progress events.

    Returns:
        The files.

    Raises:
        BundleError: the bundle cannot be used, or the graph computes something else than the model.
        OutputError: the file cannot be written.
    """
    absent = [name for name in ("onnx", "tf2onnx", "onnxruntime") if not is_installed(name)]
    if absent:
        raise BundleError(f'Exporting needs {", ".join(absent)}: pip install "melanomafusion[onnx]"')
    import onnx

    bundles = [Bundle.read(bundle) for bundle in find_bundles(path)]
    if out is not None and len(bundles) > 1:
        raise BundleError(f"{path} holds {len(bundles)} models, out names one file. Leave it out, or name one bundle.")
    if out is not None and Path(out).is_dir():
        raise OutputError(f"{out} is a folder. Name an ONNX file.")
    files = []
    for done, bundle in enumerate(bundles):
        if on_event:
            on_event({"done": done, "total": len(bundles)})
        model = bundle.build_model()
        graph, facts = checked_graph(bundle, model)
        if out is None:
            add_onnx(bundle, partial(onnx.save_model, graph), facts)
            files.append(bundle.path / "model.onnx")
        else:
            with atomic_file(out) as part:
                onnx.save_model(graph, part)
            files.append(Path(out))
    return files


def checked_graph(bundle: Bundle, model: keras.Model) -> tuple[Any, dict[str, Any]]:
    """The model's graph with its header, and how far it is from Keras.

    Raises:
        BundleError: further than the tolerance.
    """
    import onnx

    from .onnx_conversion import OPSET
    from .onnx_graph import onnx_graph

    graph = onnx_graph([model], [None], bundle.recipe)
    OnnxHeader.of(bundle, model).write(graph)
    onnx.checker.check_model(graph, full_check=True)
    differences = compared(graph.SerializeToString(), bundle, model)
    for name, difference in differences.items():
        if not difference <= TOLERANCE:
            raise BundleError(
                f"{bundle.path}: {name} of the ONNX graph differs from Keras by {difference:.2g}; at most "
                f"{TOLERANCE:g} is allowed. Nothing was written. Very large logits, as of a model that diverged, have "
                "no exact copy."
            )
    facts = {
        "opset": OPSET,
        "inputs_compared": INPUTS,
        "tolerance": TOLERANCE,
        "largest_difference": differences,
        "versions": {name: version(name) for name in ("onnx", "tf2onnx", "onnxruntime")},
    }
    return graph, facts


def compared(graph: bytes, bundle: Bundle, model: keras.Model) -> dict[str, float]:
    """Largest difference of onnxruntime from Keras over random records, of logits and heat maps."""
    inputs = random_inputs(bundle, INPUTS)
    names = ("logit", "heatmap") if bundle.recipe.uses_images else ("logit",)
    expected = _computed(Keras(model, bundle.recipe), inputs, 4, names)
    engine = OnnxRuntime(graph)
    largest = dict.fromkeys(names, 0.0)
    for size in _BATCHES:
        found = _computed(engine, inputs, size, names)
        for name in names:
            difference = float(np.abs(found[name] - expected[name]).max())
            largest[name] = max(largest[name], difference if np.isfinite(difference) else np.inf)
    return largest


def _computed(
    engine: Engine, inputs: dict[str, np.ndarray], size: int, names: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Some outputs of all records, computed in batches."""
    batches = [
        engine.run({name: values[start : start + size] for name, values in inputs.items()})
        for start in range(0, INPUTS, size)
    ]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in names}


def random_inputs(bundle: Bundle, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Records that no model has seen: half noise, half smooth colours; metadata of every kind, missing ones too.

    Returns:
        `image` (count, H, H, 3) uint8 and `metadata` (count, D) float32, what of them the model takes.
    """
    rng = np.random.default_rng(seed)
    inputs: dict[str, np.ndarray] = {}
    if bundle.spec is not None:
        size = bundle.spec.size
        noise = rng.integers(0, 256, (count, size, size, 3), dtype="uint8")
        coarse = rng.integers(0, 256, (count, 4, 4, 3), dtype="uint8")
        smooth = coarse.repeat(-(-size // 4), axis=1).repeat(-(-size // 4), axis=2)[:, :size, :size]
        inputs["image"] = np.where(np.arange(count)[:, None, None, None] % 2, noise, smooth)
    if bundle.encoder is not None:
        inputs["metadata"] = _random_rows(bundle.encoder, count, rng)
    return inputs


def _random_rows(encoder: MetadataEncoder, count: int, rng: np.random.Generator) -> np.ndarray:
    rows = np.zeros((count, encoder.width), dtype="float32")
    for name, columns in encoder.slices.items():
        if encoder.feature_names[columns.start] == name:  # a number and its mark of missing
            rows[:, columns.start] = rng.normal(size=count)
        else:
            rows[np.arange(count), rng.integers(columns.start, columns.stop, count)] = 1.0
    return encoder.drop_fields(rows, 0.2, rng)
