"""The stages of a fold: one after another, on images or on features, at which rates, and what ends a stage."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..data.dataset import Dataset
from ..data.metadata import MetadataEncoder
from ..deploy.scores import probabilities, scores_of
from ..errors import RunError
from ..execution import stopping
from ..images.epochs import EpochCounter
from ..images.pixels import Pixels
from ..images.spec import ImageSpec
from ..recipes.recipe import Recipe
from ..recipes.stage import Stage
from .callbacks import (
    LAST_EPOCH,
    MODES,
    AveragedWeights,
    BatchProgress,
    BestEpoch,
    EpochScores,
    SeenScores,
    WarmupCosine,
)
from .compiled import as_trained, build_loss, set_trainable
from .devices import uses_xla
from .optimizers import build_optimizer
from .resume import Position, Resume, SaveProgress
from .stage_inputs import StageInputs, labels_of

Event = dict[str, Any]
OnEvent = Callable[[Event], None]


def train_stages(
    model: keras.Model,
    recipe: Recipe,
    fit: Dataset,
    validation: Dataset | None,
    *,
    encoder: MetadataEncoder | None,
    spec: ImageSpec | None,
    pixels: Pixels | None,
    features: Path,
    seed: int,
    report: OnEvent,
    tensorboard: Path | None,
    resume: Resume | None = None,
) -> tuple[list[Event], BestEpoch]:
    """Train a model in place through the recipe's stages; it ends with the weights of the best epoch.

    Args:
        model: from the recipe, with its pretrained weights.
        recipe: names the stages.
        fit: records to learn from.
        validation: records of other patients that choose the epoch; None: the last epoch counts.
        encoder: fitted on `fit`; None for an image-only model.
        spec: None for a metadata-only model.
        pixels: decoded images; None decodes files in each epoch.
        features: folder where features of a frozen backbone are kept.
        seed: of order, augmentation and metadata dropout.
        report: called with progress events.
        tensorboard: folder for TensorBoard logs, or None.
        resume: where an earlier process stopped, and where this one keeps its progress; nothing is kept without it.

    Returns:
        History, one row per epoch, and the best epoch.

    Raises:
        RunError: the loss is no longer a number.
    """
    counter = EpochCounter()
    inputs = StageInputs(recipe, fit, validation, encoder, spec, pixels, features, seed, counter, report)
    labels = None if validation is None else _shaped_labels(recipe, validation)
    best = BestEpoch(recipe.monitor if validation is not None else LAST_EPOCH, model)
    stages = _Stages(model, recipe, inputs, labels, build_loss(recipe), best, [], report, tensorboard, resume)
    begin, first_epoch = Position(), 0
    if resume is not None:
        resume.put_back(model, best, stages.history)
        begin = resume.position
    for number, stage in enumerate(recipe.stages, start=1):
        if number == begin.stage and begin.stage_done:
            best.restore(model)
            first_epoch = begin.epoch
        elif number >= begin.stage:
            at = begin if number == begin.stage else Position(number, first_epoch, first_epoch)
            first_epoch = stages.train(stage, at)
    return stages.history, best


@dataclass(frozen=True)
class _Stages:
    """What all stages of a fold share."""

    model: keras.Model
    recipe: Recipe
    inputs: StageInputs
    labels: np.ndarray | None
    loss: keras.losses.Loss
    best: BestEpoch
    history: list[Event]
    report: OnEvent
    tensorboard: Path | None
    resume: Resume | None

    def train(self, stage: Stage, at: Position) -> int:
        """Train one stage, or what an earlier process left of it; returns the number of epochs so far."""
        recipe, model = self.recipe, self.model
        slow = set_trainable(model, recipe, stage)
        trained, pipeline, watched = self.inputs.of(model, stage)
        trained, steps = as_trained(trained, recipe), int(pipeline.cardinality())
        seen = SeenScores(steps, recipe.batch_size, len(recipe.classes) or 1)
        trained.compile(
            build_optimizer(stage, slow), self.loss, weighted_metrics=[], metrics=[seen], jit_compile=uses_xla(recipe)
        )
        callbacks = self._callbacks(at.stage, stage, seen, watched, steps)
        last_epoch = at.first_epoch + stage.epochs
        if self.resume is None:
            _fit(trained, pipeline, at.epoch, last_epoch, callbacks)
        else:
            saver = SaveProgress(self.resume, model, seen, callbacks, self.history, at, last_epoch, steps)
            with stopping.saving():
                self._fit_and_save(trained, pipeline, stage, at, last_epoch, [*callbacks, saver])
        if not math.isfinite(self.history[-1]["loss"]):
            raise RunError(
                f"The loss became {self.history[-1]['loss']} in epoch {self.history[-1]['epoch']} (stage {at.stage}). "
                f"Lower the learning rate ({stage.learning_rate})."
            )
        self.best.restore(model)
        return int(self.history[-1]["epoch"])

    def _fit_and_save(
        self, trained: keras.Model, pipeline: Any, stage: Stage, at: Position, last_epoch: int, callbacks: list[Any]
    ) -> None:
        epoch = at.epoch
        if at.batch:  # the rest of an epoch, in a `fit` of its own
            _, rest, _ = self.inputs.of(self.model, stage, first_batch=at.batch)
            _fit(trained, rest, epoch, epoch + 1, callbacks)
            epoch += 1
            if trained.stop_training:
                return
            callbacks[-1].carry_over()
        if epoch < last_epoch:
            _fit(trained, pipeline, epoch, last_epoch, callbacks)

    def _callbacks(self, number: int, stage: Stage, seen: SeenScores, watched: Any, steps: int) -> list[Any]:
        recipe = self.recipe
        scores = EpochScores(
            seen=seen,
            validation=watched,
            labels=self.labels,
            to_scores=lambda logits: scores_of(probabilities(logits), recipe),
            is_positive=lambda rows: _is_positive(rows, recipe),
            loss=self.loss,
            counter=self.inputs.counter,
            history=self.history,
            stage=number,
            on_epoch=lambda row: self.report({"kind": "epoch", "epochs": recipe.epochs, **_plain(row)}),
        )
        callbacks: list[Any] = [AveragedWeights(recipe.ema)] if recipe.ema else []
        callbacks += [scores, BatchProgress(steps, self.report), self.best]
        callbacks += schedule_callbacks(stage, recipe.monitor, steps)
        if self.tensorboard:
            callbacks.append(keras.callbacks.TensorBoard(str(self.tensorboard)))
        return callbacks


def _fit(model: keras.Model, pipeline: Any, first_epoch: int, last_epoch: int, callbacks: list[Any]) -> None:
    model.fit(pipeline, initial_epoch=first_epoch, epochs=last_epoch, callbacks=callbacks, shuffle=False, verbose=0)


def schedule_callbacks(stage: Stage, monitor: str, steps: int) -> list[keras.callbacks.Callback]:
    """What changes the learning rate of a stage and ends it early; `mode` is explicit, as Keras would guess."""
    callbacks: list[keras.callbacks.Callback] = []
    if stage.schedule == "plateau":
        callbacks.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor=monitor,
                mode=MODES[monitor],
                factor=stage.plateau_factor,
                patience=stage.plateau_patience,
                min_delta=0.0,
            )
        )
    if stage.schedule == "cosine":
        callbacks.append(WarmupCosine(stage.learning_rate, stage.epochs * steps, round(stage.warmup_epochs * steps)))
    if stage.early_stopping_patience is not None:
        callbacks.append(
            keras.callbacks.EarlyStopping(
                monitor=monitor,
                mode=MODES[monitor],
                patience=stage.early_stopping_patience,
                min_delta=stage.early_stopping_min_delta,
            )
        )
    return callbacks


def _shaped_labels(recipe: Recipe, records: Dataset) -> np.ndarray:
    """(n, 1) targets or (n, k) one-hot classes, float32."""
    classes = labels_of(recipe, records)
    labels = records.targets[:, None] if classes is None else np.eye(len(recipe.classes))[classes]
    return np.asarray(labels, dtype="float32")


def _is_positive(labels: np.ndarray, recipe: Recipe) -> np.ndarray:
    return (scores_of(np.asarray(labels, dtype="float64"), recipe) > 0.5).astype("int64")


def _plain(row: Event) -> Event:
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}
