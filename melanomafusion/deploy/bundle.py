"""`Bundle`: one trained model with everything that predicting needs, as a folder of readable files and weights.

Nothing is unpickled and no model graph is read: the network is built from the recipe, and the weights are put in.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import atomic_folder
from ..data.metadata import MetadataEncoder
from ..errors import BundleError, MelanomaFusionError, WeightsError
from ..images.spec import ImageSpec
from ..notice import NOT_A_MEDICAL_DEVICE
from ..recipes.recipe import Recipe

if TYPE_CHECKING:
    import keras

FORMAT = 1
_SUMS = "SHA256SUMS"
_WEIGHTS = "model.weights.h5"
_ENCODER = "metadata_encoder.json"
_SPEC = "image_spec.json"


@dataclass(frozen=True)
class Bundle:
    """A trained model on disk.

    Attributes:
        path: folder.
        recipe: what was built and how it was trained.
        encoder: fitted metadata encoder; None for an image-only model.
        spec: image spec; None for a metadata-only model.
        metrics: of its held-out fold.
    """

    path: Path
    recipe: Recipe
    encoder: MetadataEncoder | None
    spec: ImageSpec | None
    metrics: dict[str, Any]

    @classmethod
    def read(cls, path: str | Path) -> Bundle:
        """Open a bundle; every file is checked against its SHA-256.

        Raises:
            BundleError: files missing, altered or added, or a format this version does not know.
        """
        path = Path(path)
        _check_sums(path)
        content = _read_json(path / "bundle.json")
        if content.get("format") != FORMAT:
            raise BundleError(
                f"{path}: bundle of format {content.get('format')!r}; this version reads format {FORMAT}."
            )
        try:
            recipe = Recipe.from_dict(content.get("recipe"))  # type: ignore[arg-type]
            encoder = MetadataEncoder.from_json(_read_text(path / _ENCODER)) if recipe.uses_metadata else None
            spec = ImageSpec.from_json(_read_text(path / _SPEC)) if recipe.uses_images else None
        except MelanomaFusionError as error:
            raise BundleError(f"{path}: {error}") from None
        if spec is not None and spec.size != recipe.image_size:
            raise BundleError(f"{path}: {_SPEC} has size {spec.size}, the recipe {recipe.image_size}.")
        return cls(path, recipe, encoder, spec, _read_json(path / "metrics.json"))

    def build_model(self) -> keras.Model:
        """The trained Keras model: logits of {"image", "metadata"}, as in `build_fusion_model`."""
        from ..models.fusion_model import build_fusion_model
        from ..models.weights import load_whole

        model = build_fusion_model(weights=None, **self.recipe.model_options(self.encoder.width if self.encoder else 0))
        try:
            load_whole(model, self.path / _WEIGHTS)
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
) -> Bundle:
    """Write a bundle, whole or not at all.

    Raises:
        OutputError: the folder cannot be written.
    """
    path = Path(path)
    versions = {name: version(name) for name in ("melanomafusion", "keras", "tensorflow", "numpy", "pillow")}
    content = {
        "format": FORMAT,
        "notice": NOT_A_MEDICAL_DEVICE,
        "recipe": recipe.to_dict(),
        "versions": versions,
    }
    with atomic_folder(path) as part:
        (part / "bundle.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        (part / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        if encoder is not None:
            (part / _ENCODER).write_text(encoder.to_json(), encoding="utf-8")
        if spec is not None:
            (part / _SPEC).write_text(spec.to_json(), encoding="utf-8")
        model.save_weights(str(part / _WEIGHTS))
        names = sorted(file.name for file in part.iterdir())
        lines = [f"{_sha256(part / name)}  {name}\n" for name in names]
        (part / _SUMS).write_text("".join(lines), encoding="utf-8")
    return Bundle(path, recipe, encoder, spec, metrics)


def find_bundles(path: str | Path) -> list[Path]:
    """The bundles of a run, by fold; or the bundle itself.

    Raises:
        BundleError: there is none.
    """
    path = Path(path)
    if (path / "bundle.json").is_file():
        return [path]
    folds = [p for p in path.glob("fold-*/bundle") if p.parent.name.removeprefix("fold-").isdigit()]
    found = sorted(folds, key=lambda p: int(p.parent.name.removeprefix("fold-")))
    if not found:
        raise BundleError(f"{path} is neither a bundle nor a run with trained folds (fold-0/bundle, …).")
    return found


def _check_sums(path: Path) -> None:
    if not (path / _SUMS).is_file():
        raise BundleError(f"{path} is not a bundle: it has no {_SUMS}.")
    listed = {}
    for line in _read_text(path / _SUMS).splitlines():
        digest, _, name = line.partition("  ")
        if not name or Path(name).name != name:
            raise BundleError(f"{path / _SUMS}: line {line!r} does not name a file of the bundle.")
        listed[name] = digest
    needed = {"bundle.json", "metrics.json", _WEIGHTS}
    if not needed <= set(listed):
        raise BundleError(f"{path / _SUMS} does not list {', '.join(sorted(needed - set(listed)))}.")
    unlisted = {file.name for file in path.iterdir()} - set(listed) - {_SUMS}
    if unlisted:
        raise BundleError(f"{path}: {', '.join(sorted(unlisted))} is not listed in {_SUMS}.")
    for name, digest in listed.items():
        file = path / name
        if not file.is_file() or file.is_symlink():
            raise BundleError(f"{path}: file {name} is missing.")
        if _sha256(file) != digest:
            raise BundleError(f"{path}: file {name} was altered (its SHA-256 is not the one in {_SUMS}).")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_read_text(path))
    except ValueError as error:
        raise BundleError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise BundleError(f"{path}: expected a JSON object.")
    return content


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} cannot be read: {error}") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
