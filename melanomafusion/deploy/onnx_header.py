"""What stands in an ONNX file beside the graph: all that predicting needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.metadata import MetadataEncoder
from ..errors import BundleError, MelanomaFusionError
from ..evaluation.calibration import Calibrator
from ..images.spec import ImageSpec
from ..notice import NOT_A_MEDICAL_DEVICE
from ..recipes.recipe import Recipe
from .sums import sha256
from .trained_on import TrainedOn

if TYPE_CHECKING:
    import keras
    import onnx

    from .bundle import Bundle

PROPERTY = "melanomafusion"  # under which it stands in a file's metadata
_FORMAT = 2
_READ = (1, 2)  # 1 knew no calibration, and one weights file only


@dataclass(frozen=True)
class OnnxHeader:
    """Recipe, encoder, image spec, threshold and origin of a model in an ONNX file.

    Attributes:
        recipe: classes, views at prediction and the rest.
        encoder: None for an image-only model.
        spec: None for a metadata-only model.
        trained_on: ranges of the training records; None where not known.
        centres: pixel of the image where each row of the feature map lies; None without an image branch.
        threshold: of the score; None where none was chosen.
        calibrator: from the score to a probability; None where the model was not calibrated.
        calibrated_on: what it was fitted on, in words.
        weights_sha256: digest of each weights file it was made of, so that a file can be traced to its bundles.
        version: of melanomafusion that wrote it.
    """

    recipe: Recipe
    encoder: MetadataEncoder | None
    spec: ImageSpec | None
    trained_on: TrainedOn | None
    centres: list[float] | None
    threshold: float | None
    calibrator: Calibrator | None
    calibrated_on: str | None
    weights_sha256: tuple[str, ...]
    version: str

    @classmethod
    def of(cls, bundle: Bundle, model: keras.Model) -> OnnxHeader:
        """Of the model in a bundle."""
        from ..explain.geometry import cell_centres
        from ..explain.gradients import feature_map_of
        from .bundle import WEIGHTS

        has_images = bundle.recipe.uses_images
        return cls(
            bundle.recipe,
            bundle.encoder,
            bundle.spec,
            bundle.trained_on,
            [float(x) for x in cell_centres(feature_map_of(model))] if has_images else None,
            bundle.threshold,
            None,
            None,
            (sha256(bundle.path / WEIGHTS),),
            version("melanomafusion"),
        )

    def write(self, graph: onnx.ModelProto) -> None:
        """Put it into a graph's metadata."""
        entry = graph.metadata_props.add()
        entry.key, entry.value = PROPERTY, self.to_json()
        graph.doc_string = NOT_A_MEDICAL_DEVICE

    def to_json(self) -> str:
        """As JSON text."""
        content = {
            "format": _FORMAT,
            "notice": NOT_A_MEDICAL_DEVICE,
            "version": self.version,
            "weights_sha256": self.weights_sha256,
            "recipe": _without_folders(self.recipe).to_dict(),
            "metadata_encoder": _text(self.encoder),
            "image_spec": _text(self.spec),
            "trained_on": _text(self.trained_on),
            "centres": self.centres,
            "threshold": self.threshold,
            "calibration": _text(self.calibrator),
            "calibrated_on": self.calibrated_on,
        }
        return json.dumps(content, ensure_ascii=False)

    @classmethod
    def read(cls, properties: Mapping[str, str], where: str) -> OnnxHeader:
        """Read it back.

        Args:
            properties: the file's metadata.
            where: the file, for messages.

        Raises:
            BundleError: the file was not written by `export_onnx`, or by a newer version.
        """
        if PROPERTY not in properties:
            raise BundleError(f"{where}: not an ONNX file of melanomafusion; it does not say how images are prepared.")
        try:
            content: dict[str, Any] = json.loads(properties[PROPERTY])
            if content["format"] not in _READ:
                raise BundleError(
                    f"{where}: header of format {content['format']!r}; this version reads 1 to {_FORMAT}."
                )
            if content["format"] == 1:
                content |= {"calibration": None, "calibrated_on": None, "weights_sha256": [content["weights_sha256"]]}
            threshold, centres = content["threshold"], content["centres"]
            return cls(
                Recipe.from_dict(content["recipe"]),
                _from(MetadataEncoder, content["metadata_encoder"]),
                _from(ImageSpec, content["image_spec"]),
                _from(TrainedOn, content["trained_on"]),
                None if centres is None else [float(x) for x in centres],
                None if threshold is None else float(threshold),
                _from(Calibrator, content["calibration"]),
                None if content["calibrated_on"] is None else str(content["calibrated_on"]),
                tuple(map(str, content["weights_sha256"])),
                str(content["version"]),
            )
        except BundleError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, MelanomaFusionError) as error:
            raise BundleError(f"{where}: its header is damaged ({error}). Export it again.") from None


def _without_folders(recipe: Recipe) -> Recipe:
    """Where a weights file lay on the machine that trained is nobody's business who gets the model."""
    return recipe if recipe.weights is None else recipe.replace(weights=Path(recipe.weights).name)


def _text(value: Any) -> str | None:
    return None if value is None else value.to_json()


def _from(kind: Any, text: str | None) -> Any:
    return None if text is None else kind.from_json(text)
