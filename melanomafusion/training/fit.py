"""`fit_fold`: train one fold through all stages of a recipe, score its held-out records once, write a bundle."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from ..atomic import atomic_file, delete_parts, make_folder, write_json
from ..data.dataset import Dataset
from ..data.imbalance import imbalance_report
from ..data.metadata import MetadataEncoder
from ..deploy.bundle import write_bundle
from ..deploy.trained_on import TrainedOn
from ..errors import ImageError
from ..evaluation.metrics import average_precision, roc_auc
from ..execution.lock import only_one
from ..images.pixels import Pixels, bad_images_message, decode_images, open_pixels
from ..images.prepared import image_spec
from ..images.spec import ImageSpec
from ..models.fusion_model import build_fusion_model, divide_logits
from ..predictions import Predictions
from ..recipes.recipe import Recipe
from ..run_progress import shown
from .checkpoints import Checkpoints
from .checks import check_minutes, check_run, inner_split
from .devices import peak_memory, set_up_keras
from .extra import with_extra
from .micro_batch_size import with_micro_batch_size
from .operating import operating_metrics
from .predict import held_out_scores, predict_scores
from .resume import Resume
from .run import data_hash
from .stages import OnEvent, train_stages

# Seconds that a process may take to die when the node is lost that it ran on; its fold may be begun again before.
_TIME_TO_DIE = 20.0


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
    extra: Dataset | None = None,
    pixels: Pixels | None = None,
    features: str | Path | None = None,
    tensorboard: bool = False,
    checkpoint_every_minutes: float | None = 10.0,
    on_event: OnEvent | None = None,
) -> FoldResult:
    """Train on all folds but one, in this process, and score that one.

    A fold that was stopped, in whatever way, goes on where its last checkpoint stands when it is called again with the
    same recipe, records and `out`, and ends with the weights that it would have had; on a CPU bit for bit.

    The best epoch is chosen on an inner validation split of the training patients (the last one counts where the recipe
    makes no such split); the held-out fold is scored once, by the weights of that epoch.

    Args:
        recipe: what to build and how to train it.
        dataset: records with folds.
        fold: the one to hold out.
        out: folder for oof.csv, history.csv, metrics.json and bundle/.
        extra: further records to learn from, which are never scored.
        pixels: decoded images of the data set; decoded for this call alone without it.
        features: folder where features of a frozen backbone are kept (stages that train the head without
            augmentation), for other folds and runs; `out/features` without it.
        tensorboard: write TensorBoard logs to `out/tensorboard`.
        checkpoint_every_minutes: a checkpoint within a long epoch after so long; None for the ends of epochs only.
        on_event: called with progress events; they are shown on the terminal without it.

    Raises:
        MelanomaFusionError: wrong set-up, found before the first epoch; a checkpoint of another recipe, other records
            or other versions, with the differences; a fold that another process is training.

    Notes:
        Sets the seeds of Python, NumPy and Keras. `cross_validate` runs it in a process of its own.
    """
    with shown(on_event, recipe.name) as report:
        check_minutes(checkpoint_every_minutes)
        further = check_run(recipe, dataset, [fold], extra)[1].get(fold)
        out = make_folder(out)
        policy = keras.config.dtype_policy()
        kept = make_folder(features) if features else out / "features"
        with only_one(out / "lock", f"Fold {fold} of {recipe.name}", wait=_TIME_TO_DIE):
            try:
                delete_parts(out)
                recipe = with_micro_batch_size(recipe, dataset, out)
                with set_up_keras(recipe, _seed(recipe, fold)).scope():
                    return _fit_fold(
                        recipe,
                        dataset,
                        fold,
                        out,
                        further,
                        pixels,
                        kept,
                        tensorboard,
                        checkpoint_every_minutes,
                        lambda event: report({"fold": fold, **event}),
                    )
            finally:
                keras.config.set_dtype_policy(policy)
                if pixels is None:
                    shutil.rmtree(out / "pixels", ignore_errors=True)


def _fit_fold(
    recipe: Recipe,
    dataset: Dataset,
    fold: int,
    out: Path,
    extra: Dataset | None,
    pixels: Pixels | None,
    features: Path,
    tensorboard: bool,
    checkpoint_every_minutes: float | None,
    report: OnEvent,
) -> FoldResult:
    started = time.monotonic()
    checkpoints = Checkpoints(out / "checkpoints", lambda text: report({"kind": "warning", "text": text}))
    identity = {
        "recipe": recipe.to_dict(),
        "records": data_hash(dataset, {fold: extra} if extra else {}),
        "fold": fold,
        "precision": keras.config.dtype_policy().name,  # "auto" is another one where a GPU came or went
    }
    resume = Resume(checkpoints, identity, checkpoint_every_minutes, report)
    train, held_out = dataset.held_out(fold)
    fit, validation = inner_split(recipe, train)
    fit = with_extra(fit, extra)
    encoder = MetadataEncoder(recipe.metadata_features).fit(fit.frame) if recipe.uses_metadata else None
    spec = _spec_of(recipe, with_extra(dataset, extra), pixels)
    model = build_model(recipe, encoder)
    if spec is not None and pixels is None:
        pixels = _decode(with_extra(dataset, extra), spec, out / "pixels", report)
    report({"kind": "note", "text": imbalance_report(fit.targets, recipe.imbalance)})
    history, best = train_stages(
        model,
        recipe,
        fit,
        validation,
        encoder=encoder,
        spec=spec,
        pixels=pixels,
        features=features,
        seed=_seed(recipe, fold),
        report=report,
        tensorboard=out / "tensorboard" if tensorboard else None,
        resume=resume,
    )
    divide_logits(model, recipe.temperature)
    report({"kind": "predict", "fold": fold, "records": len(held_out)})
    oof = held_out_scores(model, recipe, dataset, fold, encoder=encoder, spec=spec, pixels=pixels)
    watched = None
    if recipe.threshold_rule and validation is not None:
        watched = predict_scores(model, recipe, validation, encoder=encoder, spec=spec, pixels=pixels)["score"]
    metrics = {
        "fold": fold,
        "auc": roc_auc(oof.targets, oof.scores),
        "average_precision": average_precision(oof.targets, oof.scores),
        "best_epoch": best.epoch,
        "monitor": best.monitor,
        "monitor_value": best.best_value,
        **operating_metrics(recipe, oof, validation, watched),
        "train_records": len(fit),
        "extra_records": 0 if extra is None else len(extra),
        "validation_records": 0 if validation is None else len(validation),
        "held_out_records": len(held_out),
        "grouped_by": oof.grouped_by,
        "parameters": int(model.count_params()),
        "seconds": round(resume.seconds + time.monotonic() - started, 1),
        **{f"peak_{name}": peak for name, peak in peak_memory().items()},
    }
    table = pd.DataFrame(history).assign(fold=fold)
    with atomic_file(out / "history.csv") as part:
        table.to_csv(part, index=False, lineterminator="\n")
    oof.write_csv(out / "oof.csv")
    trained_on = TrainedOn.measure(fit.frame, pixels.load if pixels else None)
    write_bundle(
        out / "bundle", recipe=recipe, model=model, encoder=encoder, spec=spec, metrics=metrics, trained_on=trained_on
    )
    write_json(out / "metrics.json", metrics)  # last: its presence says that the fold is done
    checkpoints.clear()
    return FoldResult(fold, oof, metrics, table, out / "bundle")


def _seed(recipe: Recipe, fold: int) -> int:
    return recipe.seed * 1000 + fold


def build_model(recipe: Recipe, encoder: MetadataEncoder | None) -> keras.Model:
    """The recipe's model, with its pretrained weights."""
    return build_fusion_model(
        weights=recipe.weights,
        missing_metadata=encoder.missing_row() if encoder else None,
        **recipe.model_options(encoder.width if encoder else 0),
    )


def _spec_of(recipe: Recipe, records: Dataset, pixels: Pixels | None) -> ImageSpec | None:
    """How images are prepared: as the pixels at hand were, where they have the recipe's size; None without images."""
    if not recipe.uses_images:
        return None
    if pixels is not None and pixels.spec.size == recipe.image_size:
        return pixels.spec
    return image_spec(records, recipe.image_size)


def _decode(dataset: Dataset, spec: ImageSpec, folder: Path, report: OnEvent) -> Pixels:
    bad = decode_images(
        dataset, spec, folder, on_progress=lambda done, total: report({"kind": "decode", "done": done, "total": total})
    )
    if bad:
        raise ImageError(bad_images_message(bad, len(dataset), leave_out="leave their records out"))
    return open_pixels(dataset, spec, folder)
