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
from ..explain.interpolation import heatmap_of, interpolation
from ..images.augment import VIEWS, dihedral_view
from ..images.spec import ImageSpec
from .decoding import Decoded, Image, decoded_ahead
from .engines import ENGINES, EngineName
from .member import Member, open_members
from .prediction import Prediction

_AT_ONCE = 8  # records computed together


class Predictor:
    """Trained models, ready to score images.

    Args:
        path: bundle, run folder (the mean of its folds) or ONNX file of `export_onnx`.
        engine: "onnxruntime", "openvino" or "keras"; "auto" takes an exported ONNX file where it and its engine are
            there (OpenVINO before onnxruntime), otherwise Keras.
        threads: of one call; all cores without it.

    Attributes:
        engine: the one that computes.
        fields: columns of metadata that the models look at.

    Raises:
        BundleError: nothing usable lies there, or the engine is not installed.
    """

    def __init__(self, path: str | Path, *, engine: EngineName = "auto", threads: int | None = None) -> None:
        if engine not in ENGINES:
            raise BundleError(f"engine is one of {', '.join(ENGINES)}. Received: engine={engine!r}")
        self.members = open_members(Path(path), engine, threads)
        self.name = Path(path).name
        self.engine = " and ".join(sorted({member.engine_name for member in self.members}))
        self.recipe = self.members[0].header.recipe
        encoders = [member.header.encoder for member in self.members if member.header.encoder]
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
        return next(self.iter_predictions([image], table, heatmap=heatmap))

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
            metadata: table with a row for each image; columns that are not there are missing. Some features need the
                patient's other images: they are taken from the whole table.
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
        table = table.assign(**{name: np.nan for name in (*FIELDS, *self.fields) if name not in table})
        encoded = [m.header.encoder.transform(table)[places] if m.header.encoder else None for m in self.members]
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
                    yield next(results)
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
            found.append(_member_scores(member, batch, None if vectors is None else vectors[rows]))
        return [
            self._prediction(place, name_of(images[row], row), found, decoded[place], dict(table.iloc[row]), heatmap)
            for place, row in enumerate(rows)
        ]

    def _prediction(
        self,
        place: int,
        name: str,
        found: list[dict[str, np.ndarray]],
        decoded: Decoded,
        fields: Mapping[str, Any],
        heatmap: bool,
    ) -> Prediction:
        header = self.members[0].header
        scores = {m.name: float(f["score"][place]) for m, f in zip(self.members, found, strict=True)}
        classes = {}
        if self.recipe.classes:
            mean = np.mean([f["class_scores"][place] for f in found], axis=0)
            classes = {label: float(value) for label, value in zip(self.recipe.classes, mean, strict=True)}
        shown = None
        if heatmap and header.spec is not None and header.centres is not None:
            signed = np.mean([f["signed_map"][place] for f in found], axis=0)
            shown = heatmap_of(signed, interpolation(np.asarray(header.centres), header.spec.size))
        used = tuple(column for column in self.fields if column in FIELDS)
        image = decoded.pixels[header.spec] if header.spec is not None else None
        doubts = header.trained_on.doubts(image, fields, used) if header.trained_on else []
        if header.spec is not None and decoded.size and min(decoded.size) < header.spec.size:
            width, height = decoded.size
            size = header.spec.size
            doubts.append(f"The image has {width} × {height} pixels, fewer than the {size} × {size} the model sees.")
        threshold = header.threshold if len(self.members) == 1 else None
        return Prediction(
            name=name,
            score=float(np.mean(list(scores.values()))),
            classes=classes,
            members=scores,
            threshold=threshold,
            fields={column: _plain(fields[column]) for column in used},
            heatmap=shown,
            warnings=doubts,
        )


def _member_scores(member: Member, images: np.ndarray | None, metadata: np.ndarray | None) -> dict[str, np.ndarray]:
    """Scores averaged over the recipe's views, and the map of the image as it lies."""
    views = VIEWS if member.header.recipe.tta == VIEWS and images is not None else 1
    given = {} if metadata is None else {"metadata": metadata}
    total: dict[str, np.ndarray] = {}
    for view in range(views):
        if images is not None:
            given["image"] = np.stack([dihedral_view(image, view) for image in images])
        found = member.engine.run(given)
        if not view:
            total = {name: value.astype("float64") for name, value in found.items()}
        else:
            for name in total.keys() & {"score", "class_scores"}:
                total[name] = total[name] + found[name]
    for name in total.keys() & {"score", "class_scores"}:
        total[name] = total[name] / views
    return total


def _plain(value: Any) -> str | float | None:
    """For JSON: a word, or a Python float."""
    if pd.isna(value):
        return None
    return value if isinstance(value, str) else float(value)


def name_of(image: Image | None, row: int) -> str:
    """What a record is called: its file's name without ending, or its number."""
    return Path(image).stem if isinstance(image, (str, Path)) else f"image {row + 1}"
