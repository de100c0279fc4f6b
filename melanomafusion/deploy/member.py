"""One model of a predictor: what computes it, and what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import BundleError
from .bundle import ONNX, Bundle, find_bundles
from .engines import Engine, EngineName, Keras, OnnxRuntime, OpenVino, OpenVinoBfloat16, is_installed
from .ensemble_bundle import CONTENT, EnsembleBundle
from .onnx_header import OnnxHeader

_Graph = type[OpenVino] | type[OnnxRuntime]
_GRAPH_ENGINES: dict[str, _Graph] = {
    "openvino": OpenVino,
    "openvino-bf16": OpenVinoBfloat16,
    "onnxruntime": OnnxRuntime,
}
_AUTO: tuple[EngineName, ...] = ("openvino", "onnxruntime")  # in this order, and in float32
_PACKAGES = {"openvino-bf16": "openvino"}  # of engines that are named otherwise
_EXTRAS = {"openvino": "openvino", "onnxruntime": "onnx"}


@dataclass(frozen=True)
class Member:
    """A model that is ready to compute.

    Attributes:
        name: "fold-0", "b4/fold-0" where there are several recipes, or the name of its bundle or file.
        group: the member of an ensemble that it is a fold of; the same for all models of a run.
        header: recipe, encoder, image spec and the rest.
        engine: computes it.
        engine_name: "onnxruntime", "openvino", "openvino-bf16" or "keras".
    """

    name: str
    group: str
    header: OnnxHeader
    engine: Engine
    engine_name: str


def open_members(
    path: Path, engine: EngineName, threads: int | None, at_once: int = 1
) -> tuple[list[Member], EnsembleBundle | None]:
    """The models of a bundle, a run, an ensemble bundle or an ONNX file, and what combines those of an ensemble bundle.

    Raises:
        BundleError: nothing usable lies there, or the engine is not installed.
    """
    if path.suffix.lower() == ".onnx":
        return [_of_graph(path, path.stem, path.stem, engine, threads, at_once)], None
    if (path / CONTENT).is_file():
        together = EnsembleBundle.read(path)
        group_of = {folder: member for member, folders in together.members.items() for folder in folders}
        named = {name: (folder, group_of[folder]) for name, folder in together.bundles.items()}
    else:
        together = None
        named = {(p.parent.name if p != path else p.name): (p, path.name) for p in find_bundles(path)}
    members = []
    for name, (folder, group) in named.items():
        bundle = Bundle.read(folder)
        if engine == "keras" or (engine == "auto" and (bundle.onnx is None or not _installed())):
            members.append(_of_bundle(bundle, name, group))
        elif bundle.onnx is None:
            raise BundleError(f"{folder} has no {ONNX}. Make it first: melanomafusion export {path}")
        else:
            members.append(_of_graph(folder / ONNX, name, group, engine, threads, at_once))
    return members, together


def _of_bundle(bundle: Bundle, name: str, group: str) -> Member:
    model = bundle.build_model()
    return Member(name, group, OnnxHeader.of(bundle, model), Keras(model, bundle.recipe), "keras")


def _of_graph(path: Path, name: str, group: str, engine: EngineName, threads: int | None, at_once: int) -> Member:
    if not path.is_file():
        raise BundleError(f"{path}: there is no such file.")
    if engine == "keras":
        raise BundleError(f"{path}: Keras reads bundles, not ONNX files. Name the bundle.")
    wanted = [engine] if engine != "auto" else _installed()
    package = _PACKAGES.get(wanted[0], wanted[0]) if wanted else "onnxruntime"
    if not wanted or not is_installed(package):
        raise BundleError(f'{path}: {package} is not installed. pip install "melanomafusion[{_EXTRAS[package]}]"')
    opened = _GRAPH_ENGINES[wanted[0]](str(path), threads=threads, at_once=at_once)
    return Member(name, group, OnnxHeader.read(opened.properties, str(path)), opened, wanted[0])


def _installed() -> list[EngineName]:
    return [name for name in _AUTO if is_installed(name)]
