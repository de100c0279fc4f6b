"""`fit_fold`: train one fold through all stages of a recipe, score its held-out records once, write a bundle."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from ..atomic import atomic_file, make_folder, write_json
from ..data.dataset import Dataset
from ..data.imbalance import imbalance_report
from ..data.metadata import MetadataEncoder
from ..deploy.bundle import write_bundle
from ..errors import ImageError, RunError
from ..evaluation.metrics import average_precision, roc_auc
from ..images.pipeline import EpochCounter, inference_pipeline, training_pipeline
from ..images.pixels import Pixels, bad_images_message, decode_images, open_pixels
from ..images.spec import ImageSpec
from ..models.fusion_model import build_fusion_model
from ..predictions import Predictions
from ..recipes.recipe import Recipe, Stage
from .callbacks import MODES, BatchProgress, BestEpoch, EpochScores, SeenScores, WarmupCosine
from .checks import check_run, inner_split
from .optimizers import build_optimizer
from .predict import predict_scores, probabilities, scores_of

Event = dict[str, Any]
OnEvent = Callable[[Event], None]
_CLASS_WEIGHT = {"class_weight": "balanced", "oversample": "oversample", "none": None}


@dataclass(frozen=True)
class FoldResult:
    """What a fold gives.

    Attributes:
        fold: its number.
        oof: scores of its held-out records.
        metrics: auc, average_precision, best_epoch, records, seconds.
        history: one row per epoch.
        bundle: folder with everything that predicting needs.
    """

    fold: int
    oof: Predictions
    metrics: dict[str, Any]
    history: pd.DataFrame
    bundle: Path


def fit_fold(
    recipe: Recipe,
    dataset: Dataset,
    fold: int,
    *,
    out: str | Path,
    pixels: Pixels | None = None,
    tensorboard: bool = False,
    on_event: OnEvent | None = None,
) -> FoldResult:
    """Train on all folds but one, in this process, and score that one.

    The best epoch is chosen on an inner validation split of the training patients; the held-out fold is scored once, by
    the weights of that epoch.

    Args:
        recipe: what to build and how to train it.
        dataset: records with folds.
        fold: the one to hold out.
        out: folder for oof.csv, history.csv, metrics.json and bundle/.
        pixels: decoded images of the data set; decoded into `out` without it.
        tensorboard: write TensorBoard logs to `out/tensorboard`.
        on_event: called with progress events.

    Raises:
        MelanomaFusionError: wrong set-up, found before the first epoch.
    """
    started = time.monotonic()
    report = on_event or (lambda event: None)
    check_run(recipe, dataset, [fold])
    out = make_folder(out)
    seed = recipe.seed * 1000 + fold
    set_up_keras(recipe, seed)
    train, held_out = dataset.held_out(fold)
    fit, validation = inner_split(recipe, train)
    encoder = MetadataEncoder(recipe.metadata_features).fit(fit.frame) if recipe.uses_metadata else None
    spec = ImageSpec(recipe.image_size) if recipe.uses_images else None
    model = build_model(recipe, encoder)
    if spec is not None and pixels is None:
        pixels = _decode(dataset, spec, out / "pixels", report)
    report({"kind": "note", "text": imbalance_report(fit.targets, recipe.imbalance)})
    history, best = _train(
        model,
        recipe,
        fit,
        validation,
        encoder=encoder,
        spec=spec,
        pixels=pixels,
        seed=seed,
        report=report,
        tensorboard=out / "tensorboard" if tensorboard else None,
    )
    report({"kind": "predict", "fold": fold, "records": len(held_out)})
    oof = _held_out_scores(model, recipe, held_out, encoder, spec, pixels)
    metrics = {
        "fold": fold,
        "auc": roc_auc(oof.targets, oof.scores),
        "average_precision": average_precision(oof.targets, oof.scores),
        "best_epoch": best.epoch,
        "monitor": recipe.monitor,
        "monitor_value": best.sign * best.value,
        "train_records": len(fit),
        "validation_records": len(validation),
        "held_out_records": len(held_out),
        "grouped_by": oof.grouped_by,
        "parameters": int(model.count_params()),
        "seconds": round(time.monotonic() - started, 1),
    }
    table = pd.DataFrame(history).assign(fold=fold)
    with atomic_file(out / "history.csv") as part:
        table.to_csv(part, index=False, lineterminator="\n")
    oof.write_csv(out / "oof.csv")
    write_bundle(out / "bundle", recipe=recipe, model=model, encoder=encoder, spec=spec, metrics=metrics)
    write_json(out / "metrics.json", metrics)  # last: its presence says that the fold is done
    return FoldResult(fold, oof, metrics, table, out / "bundle")


def set_up_keras(recipe: Recipe, seed: int) -> None:
    """Seeds and precision of this process. Half precision only where a GPU is: on a CPU it halves the speed."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    precision = recipe.precision
    if precision == "auto":
        precision = "mixed_float16" if tf.config.list_physical_devices("GPU") else "float32"
    keras.config.set_dtype_policy(precision)


def build_model(recipe: Recipe, encoder: MetadataEncoder | None) -> keras.Model:
    """The recipe's model, with its pretrained weights."""
    return build_fusion_model(
        recipe.backbone,
        metadata_width=encoder.width if encoder else 0,
        image_size=recipe.image_size,
        fusion=recipe.fusion,
        weights=recipe.weights,
        metadata_units=recipe.metadata_units,
        dropout=recipe.dropout,
        n_classes=len(recipe.classes) or 1,
    )


def build_loss(recipe: Recipe) -> keras.losses.Loss:
    """The recipe's loss, of logits."""
    smoothing = recipe.label_smoothing
    if recipe.loss == "focal":
        return keras.losses.BinaryFocalCrossentropy(
            from_logits=True, gamma=recipe.focal_gamma, label_smoothing=smoothing
        )
    if recipe.loss == "categorical":
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing)


def set_trainable(model: keras.Model, recipe: Recipe, stage: Stage) -> list[Any]:
    """Freeze and thaw the backbone for a stage; the model must be compiled afterwards.

    Returns:
        Trainable variables of the backbone.
    """
    if not recipe.uses_images:
        return []
    backbone = model.get_layer(recipe.backbone)
    backbone.trainable = stage.trainable != "head"
    if stage.trainable == "top":
        for layer in backbone.layers[: round(len(backbone.layers) * (1 - stage.top_share))]:
            layer.trainable = False
    if recipe.freeze_batch_norm:
        for layer in backbone.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
    return list(backbone.trainable_variables)


def labels_of(recipe: Recipe, dataset: Dataset) -> np.ndarray | None:
    """(n,) class numbers for a multi-class recipe, None for a binary one."""
    if not recipe.classes:
        return None
    numbers = {name: number for number, name in enumerate(recipe.classes)}
    return dataset.frame["diagnosis"].map(numbers).to_numpy(dtype="int64")


def _train(
    model: keras.Model,
    recipe: Recipe,
    fit: Dataset,
    validation: Dataset,
    *,
    encoder: MetadataEncoder | None,
    spec: ImageSpec | None,
    pixels: Pixels | None,
    seed: int,
    report: OnEvent,
    tensorboard: Path | None,
) -> tuple[list[Event], BestEpoch]:
    counter, history, best = EpochCounter(), [], BestEpoch(recipe.monitor)
    pipeline = training_pipeline(
        fit,
        encoder,
        spec,
        batch_size=recipe.batch_size,
        class_weight=_CLASS_WEIGHT[recipe.imbalance],
        oversample_to=recipe.oversample_to,
        augmentation=recipe.augmentation if spec else "none",
        metadata_dropout=recipe.metadata_dropout,
        labels=labels_of(recipe, fit),
        seed=seed,
        pixels=pixels,
        counter=counter,
    )
    steps = int(pipeline.cardinality())
    watched = inference_pipeline(validation, encoder, spec, batch_size=max(recipe.batch_size, 32), pixels=pixels)
    classes = labels_of(recipe, validation)
    outputs = len(recipe.classes) or 1
    labels = validation.targets[:, None] if classes is None else np.eye(outputs)[classes]
    loss = build_loss(recipe)
    first_epoch = 0
    for number, stage in enumerate(recipe.stages, start=1):
        slow = set_trainable(model, recipe, stage)
        seen = SeenScores(steps * recipe.batch_size, outputs)
        # No XLA: on a CPU it makes EfficientNet seven to ten times slower.
        model.compile(build_optimizer(stage, slow), loss, weighted_metrics=[], metrics=[seen], jit_compile=False)
        scores = EpochScores(
            seen=seen,
            validation=watched,
            labels=labels.astype("float32"),
            to_scores=lambda logits: scores_of(probabilities(logits), recipe),
            is_positive=lambda rows: _is_positive(rows, recipe),
            loss=loss,
            counter=counter,
            history=history,
            stage=number,
            on_epoch=lambda row: report({"kind": "epoch", "epochs": recipe.epochs, **_plain(row)}),
        )
        callbacks = [scores, BatchProgress(steps, report), best, *_schedule(stage, recipe.monitor, steps)]
        if tensorboard:
            callbacks.append(keras.callbacks.TensorBoard(str(tensorboard)))
        model.fit(
            pipeline,
            initial_epoch=first_epoch,
            epochs=first_epoch + stage.epochs,
            callbacks=callbacks,
            shuffle=False,
            verbose=0,
        )
        if not math.isfinite(history[-1]["loss"]):
            raise RunError(
                f"The loss became {history[-1]['loss']} in epoch {history[-1]['epoch']} (stage {number}). "
                f"Lower the learning rate ({stage.learning_rate})."
            )
        first_epoch = history[-1]["epoch"]
        best.restore(model)
    return history, best


def _schedule(stage: Stage, monitor: str, steps: int) -> list[keras.callbacks.Callback]:
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
            keras.callbacks.EarlyStopping(monitor=monitor, mode=MODES[monitor], patience=stage.early_stopping_patience)
        )
    return callbacks


def _is_positive(labels: np.ndarray, recipe: Recipe) -> np.ndarray:
    return (scores_of(np.asarray(labels, dtype="float64"), recipe) > 0.5).astype("int64")


def _plain(row: Event) -> Event:
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}


def _decode(dataset: Dataset, spec: ImageSpec, folder: Path, report: OnEvent) -> Pixels:
    bad = decode_images(
        dataset, spec, folder, on_progress=lambda done, total: report({"kind": "decode", "done": done, "total": total})
    )
    if bad:
        raise ImageError(bad_images_message(bad, len(dataset)))
    return open_pixels(dataset, spec, folder)


def _held_out_scores(
    model: keras.Model,
    recipe: Recipe,
    held_out: Dataset,
    encoder: MetadataEncoder | None,
    spec: ImageSpec | None,
    pixels: Pixels | None,
) -> Predictions:
    scores = predict_scores(model, recipe, held_out, encoder=encoder, spec=spec, pixels=pixels)
    known = held_out.frame.set_index("image_name")
    columns = [c for c in ("patient_id", "lesion_id") if known[c].notna().any()] + ["target", "fold", "grouped_by"]
    return Predictions(scores.join(known[columns], on="image_name"), "oof", name=recipe.name)
