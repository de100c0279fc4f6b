"""`compress_onnx`: a smaller ONNX file (fp16 or int8), and what that costs in AUC on given records, kept in the file.

int8 "static" fixes the range of every activation beforehand, from records of the data; "dynamic" finds it for each
batch. Heat map and scores stay float32. Weights are int8 per channel (Jacob et al. 2018, arXiv 1712.05877).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..atomic import atomic_file
from ..data.dataset import Dataset
from ..errors import BundleError
from ..evaluation.metrics import roc_auc
from ..images.prepared import check_spec
from .engines import is_installed
from .onnx_header import OnnxHeader
from .onnx_properties import read_properties
from .predictor import Predictor
from .quiet import quiet

Compression = Literal["fp16", "int8-dynamic", "int8-static"]
COMPRESSIONS: tuple[Compression, ...] = ("fp16", "int8-dynamic", "int8-static")
_CALIBRATED_ON = 200  # records whose activations set the ranges of int8-static
# From logits to scores: half precision would round a score near 0 or 1 away.
_IN_FLOAT32 = ("IsInf", "IsNaN", "Softplus", "Exp", "Log", "ReduceMax", "Max")
_KEY = "melanomafusion.compression"


def compress_onnx(
    path: str | Path,
    out: str | Path,
    kind: Compression,
    dataset: Dataset,
    *,
    on_event: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Write a compressed copy of an ONNX file, with what it costs.

    Args:
        path: ONNX file of `export_onnx`.
        out: file to write.
        kind: one of `COMPRESSIONS`.
        dataset: records with targets, on which both files are scored. "int8-static" takes its ranges from every fourth
            or rarer of them, 200 at most, without a look at their targets; those are left out of the figures.
        on_event: called with progress events.

    Returns:
        kind, records, auc_float32, auc, change (auc − auc_float32), largest_difference (of a score), bytes_float32,
        bytes and versions; the same stands in the file's metadata under "melanomafusion.compression".

    Raises:
        BundleError: no such kind, not a file of `export_onnx`, or packages that are not installed.
        MelanomaFusionError: the records lack targets, images or one of the classes, or their images were prepared
            otherwise than those that the model was trained on.
        OutputError: the file cannot be written.
    """
    if kind not in COMPRESSIONS:
        raise BundleError(f"kind is one of {', '.join(COMPRESSIONS)}. Received: kind={kind!r}")
    absent = [name for name in ("onnx", "onnxruntime") if not is_installed(name)]
    if absent:
        raise BundleError(f'Compressing needs {", ".join(absent)}: pip install "melanomafusion[onnx]"')
    path = Path(path)
    if path.is_dir():
        raise BundleError(f"{path} is a folder. Name an ONNX file: melanomafusion export {path} --out model.onnx")
    predictor = Predictor(path, engine="onnxruntime")
    if _KEY in read_properties(str(path)):
        raise BundleError(f"{path} was compressed already. Compress the file that `export` wrote.")
    for spec in predictor.specs:
        check_spec(dataset, spec)
    rows = np.arange(len(dataset))
    calibrating = rows[:: max(4, -(-len(rows) // _CALIBRATED_ON))] if kind == "int8-static" else rows[:0]
    measured = dataset.select(~np.isin(rows, calibrating))
    targets = measured.targets
    roc_auc(targets, np.zeros(len(targets)))  # records of one class are refused before any is scored
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "model.onnx"
        with quiet():
            _write(path, draft, kind, _batches(predictor, dataset.select(np.isin(rows, calibrating))))
        scores = [
            _scores(Predictor(file, engine="onnxruntime"), measured, stage, on_event)
            for stage, file in enumerate((path, draft))
        ]
        before, after = (roc_auc(targets, values) for values in scores)
        facts = {
            "kind": kind,
            "records": len(measured),
            "auc_float32": before,
            "auc": after,
            "change": after - before,
            "largest_difference": float(np.abs(scores[0] - scores[1]).max()),
            "bytes_float32": path.stat().st_size,
            "bytes": draft.stat().st_size,
            "versions": {name: version(name) for name in ("onnx", "onnxruntime")},
        }
        _keep(draft, out, facts)
    return facts


def _write(path: Path, draft: Path, kind: Compression, batches: Iterator[dict[str, np.ndarray]]) -> None:
    """The compressed graph, its metadata those of the original."""
    import onnx

    original = onnx.load(path)
    if kind == "fp16":
        from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel

        blocked = [*DEFAULT_OP_BLOCK_LIST, *_IN_FLOAT32]
        written = convert_float_to_float16(original, keep_io_types=True, op_block_list=blocked)
        # Where a tensor goes to several nodes that stay float32, the converter writes its cast once for each.
        once = {tuple(node.output): node for node in written.graph.node}
        kept = [node for node in written.graph.node if once[tuple(node.output)] is node]
        del written.graph.node[:]
        written.graph.node.extend(kept)
        OnnxModel(written).topological_sort()
        onnx.save(written, draft)
    else:
        from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static

        # Dense layers are MatMul in these graphs, and so is the heat map: they stay, they are small.
        options = {"op_types_to_quantize": ["Conv"], "per_channel": True, "weight_type": QuantType.QInt8}
        if kind == "int8-dynamic":
            # The only kernel of dynamic convolutions in onnxruntime takes unsigned weights of one scale.
            options |= {"weight_type": QuantType.QUInt8, "per_channel": False}
            quantize_dynamic(path, draft, **options)
        else:

            class Reader(CalibrationDataReader):  # type: ignore[misc]
                def get_next(self) -> dict[str, np.ndarray] | None:
                    return next(batches, None)

            quantize_static(path, draft, Reader(), activation_type=QuantType.QUInt8, **options)
    written, original = onnx.load(draft), onnx.load(path)
    del written.metadata_props[:]
    written.metadata_props.extend(original.metadata_props)
    onnx.save(written, draft)


def _batches(predictor: Predictor, dataset: Dataset) -> Iterator[dict[str, np.ndarray]]:
    """Inputs of the graph, record by record."""
    header: OnnxHeader = predictor.members[0].header
    frame = dataset.frame
    encoded = header.encoder.transform(frame) if header.encoder else None
    for row in range(len(dataset)):
        given = {} if encoded is None else {"metadata": encoded[row : row + 1]}
        if header.spec is not None:
            given["image"] = header.spec.load(frame["path"].iloc[row])[None]
        yield given


def _scores(
    predictor: Predictor, dataset: Dataset, stage: int, on_event: Callable[[dict[str, Any]], None] | None
) -> np.ndarray:
    images = list(dataset.frame["path"]) if predictor.specs else [None] * len(dataset)
    found = []
    for prediction in predictor.iter_predictions(images, dataset.frame):
        found.append(prediction.score)
        if on_event:
            on_event({"done": stage * len(dataset) + len(found), "total": 2 * len(dataset)})
    return np.array(found)


def _keep(draft: Path, out: str | Path, facts: dict[str, Any]) -> None:
    import onnx

    graph = onnx.load(draft)
    entry = graph.metadata_props.add()
    entry.key, entry.value = _KEY, json.dumps(facts)
    onnx.checker.check_model(graph)
    with atomic_file(out) as part:
        onnx.save(graph, part)
