"""`export_onnx`: trained models as ONNX files that suffice alone, compared with Keras before they are kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..atomic import atomic_file, atomic_folder
from ..errors import BundleError, OutputError
from .bundle import ONNX, Bundle, add_onnx, copy_linked, find_bundles
from .engines import is_installed
from .ensemble_bundle import CONTENT, EnsembleBundle
from .onnx_parity import INPUTS, TOLERANCE, Together
from .sums import SUMS, write_sums


def export_onnx(
    path: str | Path, out: str | Path | None = None, *, on_event: Callable[[dict[str, Any]], None] | None = None
) -> list[Path]:
    """Write the ONNX file of each model, or one file for the folds of a run together.

    A file has inputs `image` (B, H, H, 3) uint8 and `metadata` (B, D) float32 (a single-branch model has its one), and
    outputs `logit` (B, 1) or (B, k), `score` (B,), `probability` (B,) of a calibrated ensemble bundle, `class_scores`
    (B, k) of a multi-class model, and of a model with an image branch `heatmap` (B, H, H) in 0–1 (Grad-CAM) and
    `signed_map` (B, h, h), which it is made of. Metadata encoder, image spec, classes, views, threshold, calibration
    and versions stand in the file. It is written only if logits and heat maps of 64 random records, in batches of 1 and
    of 3, differ from Keras by at most 1e-4; the largest difference is kept in `bundle.json`.

    Args:
        path: bundle, run folder, or ensemble bundle.
        out: file to write, with the mean of all folds in it; they must be of one recipe, and nothing else than their
            plain mean may combine them. Without it each model's file becomes `model.onnx` in its bundle.
        on_event: called with progress events.

    Returns:
        The files.

    Raises:
        BundleError: the bundle cannot be used, or the graph computes something else than the models.
        OutputError: the file cannot be written.
    """
    absent = [name for name in ("onnx", "tf2onnx", "onnxruntime") if not is_installed(name)]
    if absent:
        raise BundleError(f'Exporting needs {", ".join(absent)}: pip install "melanomafusion[onnx]"')
    path = Path(path)
    if out is not None:
        return [_one_file(path, Path(out))]
    path = path.resolve()  # a folder can be replaced where it lies, not through a link to it nor as "."
    if not (path / CONTENT).is_file():
        return _into_bundles(find_bundles(path), on_event)
    EnsembleBundle.read(path)
    with atomic_folder(path) as part:  # all or none: its SHA256SUMS lists them
        copy_linked(path, part, without=(SUMS,))  # written anew: through a link it would be the original's
        files = _into_bundles(find_bundles(part), on_event)
        write_sums(part)
    return [path / file.relative_to(part) for file in files]


def _into_bundles(folders: list[Path], on_event: Callable[[dict[str, Any]], None] | None) -> list[Path]:
    import onnx

    bundles = [Bundle.read(folder.resolve()) for folder in folders]
    for done, bundle in enumerate(bundles):
        if on_event:
            on_event({"done": done, "total": len(bundles)})
        together = Together.of([bundle])
        graph, differences = together.checked_graph()
        add_onnx(bundle, partial(onnx.save_model, graph), _facts(differences))
    return [bundle.path / ONNX for bundle in bundles]


def _one_file(path: Path, out: Path) -> Path:
    import onnx

    if out.is_dir():
        raise OutputError(f"{out} is a folder. Name an ONNX file.")
    ensemble = EnsembleBundle.read(path) if (path / CONTENT).is_file() else None
    bundles = [Bundle.read(folder) for folder in find_bundles(path)]
    graph, _ = Together.of_one_recipe(bundles, ensemble).checked_graph()
    with atomic_file(out) as part:
        onnx.save_model(graph, part)
    return out


def _facts(differences: dict[str, float]) -> dict[str, Any]:
    from .onnx_conversion import OPSET

    return {
        "opset": OPSET,
        "inputs_compared": INPUTS,
        "tolerance": TOLERANCE,
        "largest_difference": differences,
        "versions": {name: version(name) for name in ("onnx", "tf2onnx", "onnxruntime")},
    }
