"""A recipe's steps on made-up batches: what they take of memory and time, before the first epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..models.any_size import for_any_size
from ..models.fusion_model import build_fusion_model
from ..recipes.recipe import Recipe
from ..recipes.stage import Stage
from .compiled import as_trained, build_loss, set_trainable
from .devices import uses_xla
from .features import build_head, trains_on_features
from .image_alone import with_image_alone
from .micro_batches import ModelInParts
from .optimizers import build_optimizer


class Trial:
    """The model of a recipe, untrained, and a batch of noise for each device.

    Args:
        recipe: what to try.
        metadata_width: columns of the encoded metadata.
    """

    def __init__(self, recipe: Recipe, metadata_width: int) -> None:
        self.recipe = recipe
        self.model = build_fusion_model(weights=None, **recipe.model_options(metadata_width))
        self.records = -(-recipe.batch_size // tf.distribute.get_strategy().num_replicas_in_sync)
        rng = np.random.default_rng(0)
        self.inputs: dict[str, np.ndarray] = {}
        if recipe.uses_images:
            shape = (self.records, recipe.image_size, recipe.image_size, 3)
            self.inputs["image"] = rng.uniform(0, 255, shape).astype("float32")
        if recipe.uses_metadata:
            self.inputs["metadata"] = rng.normal(size=(self.records, metadata_width)).astype("float32")
        classes = len(recipe.classes) or 1
        labels = rng.integers(0, max(2, classes), self.records)
        self.labels = np.eye(classes, dtype="float32")[labels] if classes > 1 else labels[:, None].astype("float32")

    def training_step(self, stage: Stage) -> Callable[[], Any]:
        """A function that trains on a batch as the recipe says; its first call traces it.

        Args:
            stage: one of the recipe's; on the features of a frozen backbone where it trains on them.
        """
        set_trainable(self.model, self.recipe, stage)
        if not (self.recipe.uses_images and trains_on_features(self.recipe, stage)):
            model, inputs, size = self.model, self.inputs, self.recipe.image_size_of(stage)
            if self.recipe.uses_images and size < self.recipe.image_size:
                model = for_any_size(model, self.recipe.backbone)
                inputs = {**inputs, "image": inputs["image"][:, :size, :size]}
            return self._step(as_trained(model, self.recipe), stage, inputs)
        head = build_head(self.model)
        features = [np.zeros((self.records, *given.shape[1:]), "float32") for given in head.inputs]
        return self._step(as_trained(head, self.recipe), stage, features if len(features) > 1 else features[0])

    def step_in_parts(self, stage: Stage) -> Callable[[int], Any]:
        """A function that trains on a batch in parts of so many records; its first call traces it, for all sizes.

        Args:
            stage: one of the recipe's.
        """
        whole = with_image_alone(self.model, self.recipe.fusion)
        trained = ModelInParts(whole.input, whole.output)
        trained.micro_batch_size = tf.Variable(1)
        step = self._step(trained, stage, self.inputs)

        def train(number: int) -> None:
            trained.micro_batch_size.assign(number)
            step()

        return train

    def _step(self, trained: keras.Model, stage: Stage, inputs: Any) -> Callable[[], Any]:
        slow = set_trainable(self.model, self.recipe, stage)
        trained.compile(build_optimizer(stage, slow), build_loss(self.recipe), jit_compile=uses_xla(self.recipe))
        weights = np.ones(self.records, "float32")
        return lambda: trained.train_on_batch(inputs, self.labels, sample_weight=weights)

    def prediction_step(self) -> Callable[[], Any]:
        """A function that predicts a batch."""
        self.model.jit_compile = False
        return lambda: self.model.predict_on_batch(self.inputs)


def seconds_of(step: Callable[[], Any], *, repeats: int = 3) -> float:
    """Median time of a step, after a first one that traces it.

    Args:
        step: to be timed.
        repeats: timed calls.
    """
    step()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def heaviest_stage(recipe: Recipe) -> Stage | None:
    """The stage that trains most of the backbone; None where none passes images through it batch by batch."""
    order = ("head", "top", "all")
    stages = [stage for stage in recipe.stages if recipe.uses_images and not trains_on_features(recipe, stage)]
    return max(stages, key=lambda stage: (order.index(stage.trainable), stage.top_share), default=None)
