"""`Explainer`: trained models explain an image; `Explanation`: the figures, ready for JSON and a panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
import pandas as pd
from keras import ops
from scipy.special import expit

from ..data.metadata import MetadataEncoder
from ..data.metadata_features import FEATURES, Feature
from ..errors import MelanomaFusionError
from ..images.spec import ImageSpec
from ..notice import NOT_A_MEDICAL_DEVICE
from ..recipes.recipe import Recipe
from .attribution import Attribution, attribute
from .gradcam import Method, build_gradcam_model, heatmap, image_weights
from .outputs import ClassIndex


class Trained(Protocol):
    """What an explanation needs of a trained model; a `Bundle` has it."""

    @property
    def recipe(self) -> Recipe: ...
    @property
    def encoder(self) -> MetadataEncoder | None: ...
    @property
    def spec(self) -> ImageSpec | None: ...
    def build_model(self) -> keras.Model: ...


@dataclass(frozen=True)
class Explanation:
    """Why a record has its score.

    Attributes:
        name: of the image.
        score: of the image as it lies, in [0, 1], mean over the models; not a calibrated probability. Predictions of a
            recipe with test-time views average over those too.
        heatmap: (H, H) float32 in 0–1.
        signed_map: (h, w) float32 at the resolution of the feature map, mean over the models.
        attribution: of the image and the fields, mean over the models.
        fields: metadata field → its value in words; None where missing.
        method: "gradcam" or "hirescam".
        recipe: name of the recipe.
        explained: what the score is of, in words.
        models: how many were averaged.
    """

    name: str
    score: float
    heatmap: np.ndarray
    signed_map: np.ndarray
    attribution: Attribution
    fields: dict[str, str | None]
    method: Method
    recipe: str
    explained: str
    models: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the research notice first."""
        row, column = np.unravel_index(int(np.argmax(self.heatmap)), self.heatmap.shape)
        height, width = self.heatmap.shape
        lit = bool(self.heatmap.max() > 0)
        return {
            "notice": NOT_A_MEDICAL_DEVICE,
            "image": self.name,
            "recipe": self.recipe,
            "models": self.models,
            "explained": self.explained,
            "score": self.score,
            "fields": self.fields,
            "log_odds": self.attribution.output,
            "baseline_log_odds": self.attribution.baseline,
            "contributions": self.attribution.contributions,
            "method": self.method,
            # Centre of the highest pixel, as shares of width and height from the upper left corner.
            "peak": {"x": float((column + 0.5) / width), "y": float((row + 0.5) / height)} if lit else None,
            "signed_map": [[float(value) for value in line] for line in self.signed_map],
        }


class Explainer:
    """Explain images by the mean of some trained models, e.g. the folds of a run.

    Args:
        bundles: trained models with an image branch, alike in what they take and tell (`differences`).
        method: "gradcam" or "hirescam".

    Raises:
        MelanomaFusionError: no model, models that differ, no image branch, or an unknown method.
    """

    def __init__(self, bundles: Sequence[Trained], *, method: Method = "gradcam") -> None:
        if not bundles:
            raise MelanomaFusionError("Explainer needs at least one trained model. Received: none")
        if found := differences(bundles):
            raise MelanomaFusionError(f"The models differ in {', '.join(found)}. Explain one of them at a time.")
        self.recipe = bundles[0].recipe
        self.method = method
        self._class_index = class_index_of(self.recipe)
        self._encoders = [bundle.encoder for bundle in bundles]
        self._models = [bundle.build_model() for bundle in bundles]
        weights = [image_weights(model) for model in self._models]
        if not all(np.array_equal(one, weights[0]) for one in weights):
            raise MelanomaFusionError("The models differ in their feature maps. Explain one of them at a time.")
        self._weights = weights[0]
        self._gradcams = [
            build_gradcam_model(model, method=method, class_index=self._class_index, signed=True)
            for model in self._models
        ]

    def explain(self, image: np.ndarray, metadata: pd.DataFrame, *, name: str, row: int = 0) -> Explanation:
        """Explain one image.

        Args:
            image: (H, H, 3) uint8 from `ImageSpec.load`.
            metadata: table with the columns that the encoders need; not looked at by image-only models.
            name: of the image.
            row: its place in the table, from 0.
        """
        maps, attributions = [], []
        for model, gradcam_model, encoder in zip(self._models, self._gradcams, self._encoders, strict=True):
            encoded = encoder.transform(metadata)[row] if encoder else None
            inputs = {"image": image, "metadata": encoded}
            batch = {key: np.asarray(inputs[key], dtype="float32")[None] for key in model.input}
            maps.append(ops.convert_to_numpy(gradcam_model(batch, training=False)[1])[0])
            attributions.append(attribute(model, encoder, image=image, metadata=encoded, class_index=self._class_index))
        signed = np.mean(maps, axis=0, dtype="float32")
        return Explanation(
            name=name,
            score=float(np.mean([expit(attribution.output) for attribution in attributions])),
            heatmap=ops.convert_to_numpy(heatmap(signed[None], self._weights))[0],
            signed_map=signed,
            attribution=_mean(attributions),
            fields=_in_words(self._encoders[0], metadata.iloc[row]),
            method=self.method,
            recipe=self.recipe.name,
            explained=explained_in_words(self.recipe),
            models=len(maps),
        )


def differences(bundles: Sequence[Trained]) -> list[str]:
    """What trained models differ in, so that no mean of their maps and contributions can be told; empty where alike."""
    told = [
        {
            "image spec": bundle.spec,
            "metadata features": bundle.encoder.features if bundle.encoder else (),
            "classes": (bundle.recipe.classes, bundle.recipe.positive_classes if bundle.recipe.classes else ()),
        }
        for bundle in bundles
    ]
    return [name for name in told[0] if any(one[name] != told[0][name] for one in told)]


def class_index_of(recipe: Recipe) -> ClassIndex:
    """The outputs that make the recipe's score, for `gradcam` and `attribute`."""
    return [recipe.classes.index(name) for name in recipe.positive_classes] if recipe.classes else None


def explained_in_words(recipe: Recipe) -> str:
    """What the score is of."""
    return " or ".join(recipe.positive_classes) if recipe.classes else "target 1"


def _mean(attributions: list[Attribution]) -> Attribution:
    """The mean of each figure. A field is present for all models or for none, because all have the same features."""
    parts = attributions[0].contributions
    return Attribution(
        {part: float(np.mean([a.contributions[part] for a in attributions])) for part in parts},
        float(np.mean([a.baseline for a in attributions])),
        float(np.mean([a.output for a in attributions])),
    )


def _in_words(encoder: MetadataEncoder | None, record: pd.Series) -> dict[str, str | None]:
    return {name: _in_word(FEATURES[name], record) for name in (encoder.features if encoder else ())}


def _in_word(feature: Feature, record: pd.Series) -> str | None:
    values = record[list(feature.columns)]
    if values.isna().any():
        return None
    value = values.iloc[0]
    if feature.needs == "patient":  # made of the patient's other images; the patient is nobody's business
        return "known"
    return f"{float(value):g}" if feature.kind == "number" else str(value)  # text of a table, maybe
