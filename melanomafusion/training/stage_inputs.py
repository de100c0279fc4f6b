"""What a stage trains, and on what: the model on images, or its head on the features of a frozen backbone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..data.dataset import Dataset
from ..data.metadata import MetadataEncoder
from ..images.epochs import EpochCounter
from ..images.pipeline import inference_pipeline, training_pipeline
from ..images.pixels import Pixels
from ..images.spec import ImageSpec
from ..models.any_size import for_any_size
from ..recipes.recipe import Recipe
from ..recipes.stage import Stage
from .feature_store import Features
from .features import RowEncoder, attach_features, build_head, frozen_features, trains_on_features

_CLASS_WEIGHT = {"class_weight": "balanced", "oversample": "oversample", "none": None}


@dataclass(frozen=True)
class StageInputs:
    """What all stages of a fold learn from and are watched on; the fields are the arguments of `train_stages`.

    Attributes:
        counter: whose epoch comes next, for every pipeline made here.
    """

    recipe: Recipe
    fit: Dataset
    validation: Dataset | None
    encoder: MetadataEncoder | None
    spec: ImageSpec | None
    pixels: Pixels | None
    features: Path
    seed: int
    counter: EpochCounter
    report: Callable[[dict[str, Any]], None]

    def of(self, model: keras.Model, stage: Stage, *, first_batch: int = 0) -> tuple[keras.Model, Any, Any]:
        """What a stage trains (the model or, sharing its layers, its head or one for smaller images), its pipeline, and
        that of the validation records (None where there are none).

        Args:
            model: the whole model, frozen as the stage wants it.
            stage: one of the recipe's.
            first_batch: batches that each epoch of the pipeline leaves out.
        """
        if self.spec is not None and trains_on_features(self.recipe, stage):
            return self._of_features(model, self.spec, first_batch)
        augmentation = self.recipe.augmentation_of(stage) if self.spec else "none"
        size = self.recipe.image_size_of(stage) if self.spec else None
        if size is not None and size < self.recipe.image_size:
            model = for_any_size(model, self.recipe.backbone)
        watched = None
        if self.validation is not None:
            watched = inference_pipeline(
                self.validation, self.encoder, self.spec, batch_size=self._at_once, pixels=self.pixels
            )
        training = self._training(
            self.encoder,
            self.spec,
            image_size=size,
            augmentation=augmentation,
            pixels=self.pixels,
            first_batch=first_batch,
        )
        return model, training, watched

    def steps(self) -> int:
        """Batches of an epoch."""
        return int(self._training(RowEncoder(None), None, augmentation="none").cardinality())

    def _of_features(self, model: keras.Model, spec: ImageSpec, first_batch: int) -> tuple[keras.Model, Any, Any]:
        model.jit_compile = False  # it may predict without ever being compiled: no XLA there either
        rows: Any = RowEncoder(self.encoder)
        metadata = self.encoder is not None
        training = self._training(rows, None, augmentation="none", first_batch=first_batch)
        training = attach_features(training, self._features(model, spec, self.fit), metadata=metadata)
        watched = None
        if self.validation is not None:
            watched = inference_pipeline(self.validation, rows, None, batch_size=self._at_once)
            watched = attach_features(watched, self._features(model, spec, self.validation), metadata=metadata)
        return build_head(model), training, watched

    def _training(self, encoder: Any, spec: ImageSpec | None, **options: Any) -> Any:
        return training_pipeline(
            self.fit,
            encoder,
            spec,
            batch_size=self.recipe.batch_size,
            class_weight=_CLASS_WEIGHT[self.recipe.imbalance],
            oversample_to=self.recipe.oversample_to,
            source_weights=self._of_sources(self.recipe.source_weights),
            source_sampling=self._of_sources(self.recipe.source_sampling),
            mixup=self.recipe.mixup,
            cutmix=self.recipe.cutmix,
            metadata_dropout=self.recipe.metadata_dropout,
            modality_dropout=self.recipe.modality_dropout,
            labels=labels_of(self.recipe, self.fit),
            seed=self.seed,
            counter=self.counter,
            **options,
        )

    def _features(self, model: keras.Model, spec: ImageSpec, records: Dataset) -> Features:
        return frozen_features(
            model,
            records,
            backbone=self.recipe.backbone,
            spec=spec,
            pixels=self.pixels,
            folder=self.features,
            batch_size=self._at_once,
            report=self.report,
        )

    def _of_sources(self, values: dict[str, float]) -> dict[str, float]:
        """Those of sources that this fold trains on: a small source may lie in the held-out fold as a whole."""
        here = set(self.fit.frame["source"])
        return {source: value for source, value in values.items() if source in here}

    @property
    def _at_once(self) -> int:
        """Records per batch where nothing is learnt."""
        return max(self.recipe.batch_size, 32)


def labels_of(recipe: Recipe, dataset: Dataset) -> np.ndarray | None:
    """(n,) class numbers for a multi-class recipe, None for a binary one."""
    if not recipe.classes:
        return None
    numbers = {name: number for number, name in enumerate(recipe.classes)}
    return dataset.frame["diagnosis"].map(numbers).to_numpy(dtype="int64")
