"""`Predictor`: images and metadata → scores, with the models of a bundle, a run or an ONNX file.

The score is what training gave: the same decoding, encoder and test-time views, the mean of the folds. With onnxruntime
or OpenVINO neither TensorFlow nor Keras is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..data.fields import FIELDS, read_fields
from ..errors import BundleError, ImageError, MetadataError
from ..images.spec import ImageSpec
from .combining import Scores, combined, heat_maps, outputs_of
from .decoding import Decoded, Image, decoded_ahead
from .engines import ENGINES, EngineName
from .file_features import encoded_records
from .member import open_members
from .prediction import Prediction

_AT_ONCE = 8  # records computed together


class Predictor:
    """Trained models, ready to score images.

    Args:
        path: ensemble bundle, run folder (the mean of its folds), bundle, or ONNX file of `export_onnx`.
        engine: "onnxruntime", "openvino", "openvino-bf16" or "keras"; "auto" takes an exported ONNX file where it and
            its engine are there (OpenVINO in float32 before onnxruntime), otherwise Keras.
        threads: of one call; all cores without it.
        at_once: calls from several threads that may be computed at the same time (a server's).

    Attributes:
        engine: the one that computes.
        fields: columns of metadata that the models look at.
        ensemble: what combines the members of an ensemble bundle; None where a plain mean does.
        metrics: what an ensemble bundle knows of its worth; empty of the others.
        threshold: operating threshold of the score; None where none was chosen.
        calibrated_on: what probabilities were fitted on, in words; None where there are none.

    Raises:
        BundleError: nothing usable lies there, or the engine is not installed.
    """

    def __init__(
        self, path: str | Path, *, engine: EngineName = "auto", threads: int | None = None, at_once: int = 1
    ) -> None:
        if engine not in ENGINES:
            raise BundleError(f"engine is one of {', '.join(ENGINES)}. Received: engine={engine!r}")
        self.members, together = open_members(Path(path), engine, threads, at_once)
        self.name = together.name if together else Path(path).resolve().name
        self.ensemble = together.ensemble if together else None
        self.metrics = together.metrics if together else {}
        self.engine = " and ".join(sorted({member.engine_name for member in self.members}))
        headers = [member.header for member in self.members]
        self._lead = next((header for header in headers if header.spec is not None), headers[0])
        self.recipe = self._lead.recipe
        # Of a run that was not bundled, each fold has a threshold of its own, and none is that of their mean.
        source = together or (headers[0] if len(headers) == 1 else None)
        self.threshold = source.threshold if source else None
        self.calibrated_on = source.calibrated_on if source else None
        self._calibrator = source.calibrator if source else None
        encoders = [header.encoder for header in headers if header.encoder]
        self.fields = tuple(dict.fromkeys(column for encoder in encoders for column in encoder.columns))

    @property
    def specs(self) -> list[ImageSpec]:
        """How images are decoded: one for all members, or several; none for metadata-only models."""
        return list(dict.fromkeys(m.header.spec for m in self.members if m.header.spec is not None))

    def predict(self, image: Image | None = None, *, heatmap: bool = False, **fields: Any) -> Prediction:
        """Score one image.

        Args:
            image: path or bytes of a JPEG or PNG file; None for a metadata-only model.
            heatmap: compute where the evidence lies.
            fields: sex, age_approx, anatom_site_general_challenge; missing where left out.

        Raises:
            ImageError: the image cannot be read.
            MetadataError: a field is unknown, not used by the model, or has a value that cannot be meant.
        """
        unused = [name for name in fields if name in FIELDS and name not in self.fields]
        if unused:
            raise MetadataError(
                f"The model {self.recipe.name!r} does not look at {', '.join(unused)}; it looks at "
                f"{', '.join(self.fields) or 'the image alone'}."
            )
        table = pd.DataFrame([read_fields(fields)])
        found = next(self.iter_predictions([image], table, heatmap=heatmap, on_bad_image="skip"))
        if found.problem:
            raise ImageError(found.problem)
        return found

    def iter_predictions(
        self,
        images: Sequence[Image | None],
        metadata: pd.DataFrame | None = None,
        *,
        rows: Sequence[int] | None = None,
        heatmap: bool = False,
        on_bad_image: Literal["error", "skip"] = "error",
    ) -> Iterator[Prediction]:
        """Score many images, in order; decoding runs ahead of computing.

        Args:
            images: paths or bytes.
            metadata: table with a row for each image; columns that are not there are missing, but width, height and
                file_bytes are then the image's own. Some features need the patient's other images: they are taken from
                the whole table.
            rows: for each image its row in the table, from 0; the same order without it.
            heatmap: compute where the evidence lies.
            on_bad_image: what happens to images that cannot be read. "error": after the others were scored, an error
                that names them all. "skip": they come without a score, and say why.

        Raises:
            ImageError: images that cannot be read.
            MetadataError: an image without a row.
        """
        table = pd.DataFrame(index=range(len(images))) if metadata is None else metadata.reset_index(drop=True)
        places = list(range(len(table))) if rows is None else list(rows)
        if len(places) != len(images):
            raise MetadataError(f"{len(images):,} images, {len(places):,} rows of metadata: one for each is needed.")
        encoded, unknown = encoded_records([m.header.encoder for m in self.members], table, places, images)
        table = table.assign(**{name: np.nan for name in (*FIELDS, *self.fields) if name not in table})
        table = table.iloc[places]
        problems = []
        for batch, decoded in decoded_ahead(images, self.specs, _AT_ONCE):
            sound = [row for row, found in zip(batch, decoded, strict=True) if not isinstance(found, ImageError)]
            usable = [found for found in decoded if not isinstance(found, ImageError)]
            results = iter(self._batch(sound, usable, images, table, encoded, heatmap))
            for row, found in zip(batch, decoded, strict=True):
                if isinstance(found, ImageError):
                    problems.append(str(found))
                    if on_bad_image == "skip":
                        yield Prediction.refused(name_of(images[row], row), str(found))
                else:
                    prediction = next(results)
                    prediction.warnings.extend(unknown[row])
                    yield prediction
        if problems and on_bad_image == "error":
            raise ImageError(f"{len(problems):,} of {len(images):,} images cannot be read:\n" + "\n".join(problems))

    def _batch(
        self,
        rows: list[int],
        decoded: list[Decoded],
        images: Sequence[Image | None],
        table: pd.DataFrame,
        encoded: list[np.ndarray | None],
        heatmap: bool,
    ) -> list[Prediction]:
        if not rows:
            return []
        found = []
        for member, vectors in zip(self.members, encoded, strict=True):
            spec = member.header.spec
            batch = None if spec is None else np.stack([one.pixels[spec] for one in decoded])
            found.append(outputs_of(member, batch, None if vectors is None else vectors[rows]))
        records = table.iloc[rows]
        scores = combined(self.members, found, self.ensemble, self._calibrator, records)
        maps = heat_maps(self.members, found) if heatmap else None
        return [
            self._prediction(name_of(images[row], row), scores, place, decoded[place], dict(records.iloc[place]), maps)
            for place, row in enumerate(rows)
        ]

    def _prediction(
        self,
        name: str,
        scores: Scores,
        place: int,
        decoded: Decoded,
        fields: Mapping[str, Any],
        maps: np.ndarray | None,
    ) -> Prediction:
        used = tuple(column for column in self.fields if column in FIELDS)
        classes = scores.classes[place].tolist() if scores.classes is not None else []
        return Prediction(
            name=name,
            score=float(scores.score[place]),
            probability=None if scores.probability is None else float(scores.probability[place]),
            calibrated_on=self.calibrated_on,
            classes=dict(zip(self.members[0].header.recipe.classes, classes, strict=True)) if classes else {},
            members={model: float(values[place]) for model, values in scores.members.items()},
            threshold=self.threshold,
            fields={column: _plain(fields[column]) for column in used},
            heatmap=None if maps is None else maps[place],
            warnings=self._doubts(decoded, fields, used),
        )

    def _doubts(self, decoded: Decoded, fields: Mapping[str, Any], used: tuple[str, ...]) -> list[str]:
        """How an input differs from what the models were trained on, or is too small for them."""
        spec, known = self._lead.spec, self._lead.trained_on
        image = decoded.pixels[spec] if spec is not None else None
        doubts = known.doubts(image, fields, used) if known else []
        if spec is not None and decoded.size and min(decoded.size) < spec.size:
            width, height = decoded.size
            doubts.append(
                f"The image has {width} × {height} pixels, fewer than the {spec.size} × {spec.size} the model sees."
            )
        return doubts


def _plain(value: Any) -> str | float | None:
    """For JSON: a word, or a Python float."""
    if pd.isna(value):
        return None
    return value if isinstance(value, str) else float(value)


def name_of(image: Image | None, row: int) -> str:
    """What a record is called: its file's name without ending, or its number."""
    return Path(image).stem if isinstance(image, (str, Path)) else f"image {row + 1}"
