"""`Bundle`: one trained model with everything that predicting needs, as a folder of readable files and weights.

Nothing is unpickled and no model graph is read: the network is built from the recipe, and the weights are put in.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import atomic_folder
from ..data.metadata import MetadataEncoder
from ..errors import BundleError, MelanomaFusionError, WeightsError
from ..images.spec import ImageSpec
from ..notice import NOT_A_MEDICAL_DEVICE
from ..recipes.recipe import Recipe
from .sums import SUMS, check_sums, read_json, read_text, write_sums
from .trained_on import TrainedOn

if TYPE_CHECKING:
    import keras

FORMAT = 2
_READ = (1, 2)  # 1 knew neither what the model was trained on nor ONNX
_CONTENT = "bundle.json"
_METRICS = "metrics.json"
WEIGHTS = "model.weights.h5"
_ENCODER = "metadata_encoder.json"
_SPEC = "image_spec.json"
_TRAINED_ON = "trained_on.json"
ONNX = "model.onnx"


@dataclass(frozen=True)
class Bundle:
    """A trained model on disk.

    Attributes:
        path: folder.
        recipe: what was built and how it was trained.
        encoder: fitted metadata encoder; None for an image-only model.
        spec: image spec; None for a metadata-only model.
        metrics: of its held-out fold.
        trained_on: ranges of its training records; None in bundles of format 1.
        onnx: what is known of its ONNX file (tolerance, largest difference from Keras, …); None before `export_onnx`.
    """

    path: Path
    recipe: Recipe
    encoder: MetadataEncoder | None
    spec: ImageSpec | None
    metrics: dict[str, Any]
    trained_on: TrainedOn | None = None
    onnx: dict[str, Any] | None = None

    @property
    def threshold(self) -> float | None:
        """Operating threshold of the score, chosen on the inner validation split; None where the recipe has no rule."""
        value = (self.metrics.get("threshold") or {}).get("value")
        return None if value is None else float(value)

    @classmethod
    def read(cls, path: str | Path) -> Bundle:
        """Open a bundle; every file is checked against its SHA-256.

        Raises:
            BundleError: files missing, altered or added, or a format this version does not know.
        """
        path = Path(path)
        files = check_sums(path, {_CONTENT, _METRICS, WEIGHTS})
        content = read_json(path / _CONTENT)
        number = content.get("format")
        if number not in _READ or isinstance(number, bool):
            newer = " It was written by a newer version." if isinstance(number, int) and number > FORMAT else ""
            raise BundleError(f"{path}: bundle of format {number!r}; this version reads 1 to {FORMAT}.{newer}")
        try:
            recipe = Recipe.from_dict(content.get("recipe"))  # type: ignore[arg-type]
            encoder = MetadataEncoder.from_json(read_text(path / _ENCODER)) if recipe.uses_metadata else None
            trained_on = TrainedOn.from_json(read_text(path / _TRAINED_ON)) if _TRAINED_ON in files else None
            spec = ImageSpec.from_json(read_text(path / _SPEC)) if recipe.uses_images else None
        except MelanomaFusionError as error:
            raise BundleError(f"{path}: {error}") from None
        if spec is not None and spec.size != recipe.image_size:
            raise BundleError(f"{path}: {_SPEC} has size {spec.size}, the recipe {recipe.image_size}.")
        onnx = content.get("onnx")
        if (onnx is None) == (ONNX in files) or not isinstance(onnx, dict | None):
            raise BundleError(f"{path}: {_CONTENT} and {ONNX} do not belong together. Export it again.")
        return cls(path, recipe, encoder, spec, read_json(path / _METRICS), trained_on, onnx)

    def build_model(self) -> keras.Model:
        """The trained Keras model: logits of {"image", "metadata"}, as in `build_fusion_model`."""
        from ..models.fusion_model import build_fusion_model
        from ..models.weights import load_whole

        model = build_fusion_model(weights=None, **self.recipe.model_options(self.encoder.width if self.encoder else 0))
        try:
            load_whole(model, self.path / WEIGHTS)
        except WeightsError as error:
            raise BundleError(f"{self.path}: the weights do not fit the recipe: {error}") from None
        return model


def write_bundle(
    path: str | Path,
    *,
    recipe: Recipe,
    model: keras.Model,
    encoder: MetadataEncoder | None,
    spec: ImageSpec | None,
    metrics: dict[str, Any],
    trained_on: TrainedOn | None = None,
) -> Bundle:
    """Write a bundle, whole or not at all.

    Raises:
        OutputError: the folder cannot be written.
    """
    import keras

    path = Path(path)
    versions = {name: version(name) for name in ("melanomafusion", "keras", "tensorflow", "numpy", "pillow")}
    content = {
        "format": FORMAT,
        "notice": NOT_A_MEDICAL_DEVICE,
        "recipe": recipe.to_dict(),
        "versions": versions,
    }
    with atomic_folder(path) as part:
        _write_json(part / _CONTENT, content)
        _write_json(part / _METRICS, metrics)
        if encoder is not None:
            (part / _ENCODER).write_text(encoder.to_json(), encoding="utf-8")
        if spec is not None:
            (part / _SPEC).write_text(spec.to_json(), encoding="utf-8")
        if trained_on is not None:
            (part / _TRAINED_ON).write_text(trained_on.to_json(), encoding="utf-8")
        # Of a model that knows no optimizer: a compiled one would save its state too, twice the size of the weights.
        keras.Model(model.input, model.output).save_weights(str(part / WEIGHTS))
        write_sums(part)
    return Bundle(path, recipe, encoder, spec, metrics, trained_on)


def add_onnx(bundle: Bundle, write: Callable[[Path], object], facts: dict[str, Any]) -> Bundle:
    """Put an ONNX file into a bundle, in the place of an older one; whole or not at all.

    Args:
        bundle: read before, so its files are as they were written.
        write: writes the file to the path given.
        facts: what `Bundle.onnx` will say.

    Raises:
        OutputError: the folder cannot be written.
    """
    content = read_json(bundle.path / _CONTENT)
    with atomic_folder(bundle.path) as part:
        copy_linked(bundle.path, part, without=(ONNX, _CONTENT, SUMS))
        write(part / ONNX)
        _write_json(part / _CONTENT, {**content, "format": FORMAT, "onnx": facts})
        write_sums(part)
    return replace(bundle, onnx=facts)


def copy_linked(folder: Path, place: Path, *, without: tuple[str, ...] = ()) -> None:
    """Fill a folder with the files of another, by hard links where the file system has them.

    Args:
        folder: from here.
        place: to here; it exists.
        without: names at the top that are left out.
    """
    for path in folder.iterdir():
        if path.name in without:
            continue
        if path.is_dir():
            (place / path.name).mkdir()
            copy_linked(path, place / path.name)
        else:
            _link_or_copy(path, place / path.name)


def _link_or_copy(file: Path, place: Path) -> None:
    try:
        os.link(file, place)
    except OSError:  # not every file system has hard links
        shutil.copyfile(file, place)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def find_bundles(path: str | Path) -> list[Path]:
    """The bundles of a run or of an ensemble bundle, by fold; or the bundle itself.

    Raises:
        BundleError: there is none.
    """
    path = Path(path)
    if (path / "bundle.json").is_file():
        return [path]
    if (path / "ensemble_bundle.json").is_file():
        return sorted(file.parent for file in path.glob(f"member-*/*/{_CONTENT}"))
    folds = [p for p in path.glob("fold-*/bundle") if p.parent.name.removeprefix("fold-").isdigit()]
    found = sorted(folds, key=lambda p: int(p.parent.name.removeprefix("fold-")))
    if not found:
        plan = path / "ensemble"  # the folder of a plan's runs
        hint = f" It holds an ensemble: name {plan}." if (plan / "ensemble.json").is_file() else ""
        raise BundleError(f"{path} is neither a bundle nor a run with trained folds (fold-0/bundle, …).{hint}")
    return found
