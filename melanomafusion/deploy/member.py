"""One model of a predictor: what computes it, and what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import BundleError
from .bundle import ONNX, Bundle, find_bundles
from .engines import Engine, EngineName, Keras, OnnxRuntime, OpenVino, is_installed
from .onnx_header import OnnxHeader

_Graph = type[OpenVino] | type[OnnxRuntime]
_GRAPH_ENGINES: dict[str, _Graph] = {"openvino": OpenVino, "onnxruntime": OnnxRuntime}  # in the order of "auto"
_EXTRAS = {"openvino": "openvino", "onnxruntime": "onnx"}


@dataclass(frozen=True)
class Member:
    """A model that is ready to compute.

    Attributes:
        name: "fold-0", or the name of its bundle or file.
        header: recipe, encoder, image spec and the rest.
        engine: computes it.
        engine_name: "onnxruntime", "openvino" or "keras".
    """

    name: str
    header: OnnxHeader
    engine: Engine
    engine_name: str


def open_members(path: Path, engine: EngineName, threads: int | None) -> list[Member]:
    """The models of a bundle, a run or an ONNX file.

    Raises:
        BundleError: nothing usable lies there, or the engine is not installed.
    """
    if path.suffix.lower() == ".onnx":
        return [_of_graph(path, path.stem, engine, threads)]
    members = []
    for folder in find_bundles(path):
        bundle = Bundle.read(folder)
        name = folder.parent.name if folder != path else folder.name
        if engine == "keras" or (engine == "auto" and (bundle.onnx is None or not _installed())):
            members.append(_of_bundle(bundle, name))
        elif bundle.onnx is None:
            raise BundleError(f"{folder} has no {ONNX}. Make it first: melanomafusion export {path}")
        else:
            members.append(_of_graph(folder / ONNX, name, engine, threads))
    return members


def _of_bundle(bundle: Bundle, name: str) -> Member:
    model = bundle.build_model()
    return Member(name, OnnxHeader.of(bundle, model), Keras(model, bundle.recipe), "keras")


def _of_graph(path: Path, name: str, engine: EngineName, threads: int | None) -> Member:
    if not path.is_file():
        raise BundleError(f"{path}: there is no such file.")
    if engine == "keras":
        raise BundleError(f"{path}: Keras reads bundles, not ONNX files. Name the bundle.")
    wanted = [engine] if engine != "auto" else _installed()
    if not wanted or not is_installed(wanted[0]):
        raise BundleError(
            f"{path}: {wanted[0] if wanted else 'onnxruntime'} is not installed. "
            f'pip install "melanomafusion[{_EXTRAS[wanted[0] if wanted else "onnxruntime"]}]"'
        )
    opened = _GRAPH_ENGINES[wanted[0]](str(path), threads=threads)
    return Member(name, OnnxHeader.read(opened.properties, str(path)), opened, wanted[0])


def _installed() -> list[EngineName]:
    return [name for name in _GRAPH_ENGINES if is_installed(name)]  # type: ignore[misc]
