"""What runs in processes of their own: the check of a run, and each of its folds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from ..atomic import make_folder, write_json
from ..data.dataset import Dataset
from ..data.metadata import MetadataEncoder
from ..deploy.bundle import Bundle
from ..errors import ImageError
from ..explain.contact_sheet import write_contact_sheet
from ..images.epochs import EpochCounter
from ..images.pixels import bad_images_message, decode_images, open_pixels
from ..images.prepared import image_spec
from ..recipes.recipe import Recipe
from .checks import inner_split
from .devices import peak_memory, set_up_keras
from .extra import with_extra
from .features import trains_on_features
from .fit import build_model, fit_fold
from .micro_batch_size import with_micro_batch_size
from .predict import predict_scores
from .results import pooled_oof
from .run import Run
from .stage_inputs import StageInputs
from .trial import Trial, seconds_of

OnEvent = Callable[[dict[str, Any]], None]


def check_weights(*, on_event: OnEvent, run: str) -> None:
    """Build the model of a run once, so that weights that cannot be loaded fail before images are decoded."""
    del on_event
    opened = Run(Path(run))
    recipe = opened.recipe
    set_up_keras(recipe, recipe.seed)
    build_model(
        recipe, MetadataEncoder(recipe.metadata_features).fit(opened.dataset.frame) if recipe.uses_metadata else None
    )


def find_micro_batch_size(*, on_event: OnEvent, run: str, processes: int) -> int | None:
    """Try what fits in memory, for all folds of a run."""
    del on_event
    opened = Run(Path(run))
    found = with_micro_batch_size(opened.recipe, opened.dataset, opened.path, processes=processes).micro_batch_size
    return found if isinstance(found, int) else None


def train_fold(
    *,
    on_event: OnEvent,
    run: str,
    fold: int,
    folds: list[int],
    features: str,
    tensorboard: bool,
    checkpoint_every_minutes: float | None,
) -> None:
    """Train one fold of a run that was prepared; whoever ends last of these folds draws what they get wrong."""
    opened = Run(Path(run))
    if opened.is_done(fold):  # its process died after that
        return
    dataset = opened.dataset
    recipe = with_micro_batch_size(opened.recipe, dataset, opened.path)
    on_event({"kind": "fold", "fold": fold, "folds": len(folds), "epochs": recipe.epochs})
    pixels = None
    if recipe.uses_images:
        pixels = open_pixels(opened.with_images, image_spec(opened.with_images, recipe.image_size), opened.pixels)
    result = fit_fold(
        recipe,
        dataset,
        fold,
        out=opened.fold(fold),
        extra=opened.extra.get(fold),
        pixels=pixels,
        features=features,
        tensorboard=tensorboard,
        checkpoint_every_minutes=checkpoint_every_minutes,
        on_event=on_event,
    )
    peaks = {name: result.metrics[name] for name in ("peak_memory", "peak_gpu_memory") if name in result.metrics}
    on_event({"kind": "fold_done", "fold": fold, **peaks})
    if recipe.uses_images and all(opened.is_done(other) for other in folds):
        draw_errors(on_event=on_event, run=run, folds=folds)


def draw_errors(*, on_event: OnEvent, run: str, folds: list[int]) -> None:
    """Draw the most confident errors of some folds into the run's report."""
    del on_event
    opened = Run(Path(run))
    oof = pooled_oof(opened, folds)
    bundles = {fold: Bundle.read(opened.fold(fold) / "bundle") for fold in folds}
    report = make_folder(opened.path / "report")
    write_contact_sheet(oof, opened.dataset, bundles, report / "errors.png")
    write_json(report / "errors.json", sorted(folds))  # last: whose errors these are


def predict_bundles(*, on_event: OnEvent, bundles: list[str], dataset: str, out: str) -> None:
    """Score a data set with some bundles and write the mean score of each record.

    Args:
        on_event: called with progress.
        bundles: folders.
        dataset: Parquet file.
        out: Parquet file of image_name, score.
    """
    records = Dataset.read_parquet(dataset)
    pixels, total = None, None
    for number, path in enumerate(bundles, start=1):
        bundle = Bundle.read(path)
        if bundle.spec and pixels is None:
            folder = Path(out).parent / "pixels"
            bad = decode_images(
                records,
                bundle.spec,
                folder,
                on_progress=lambda done, count: on_event({"kind": "decode", "done": done, "total": count}),
            )
            if bad:
                raise ImageError(bad_images_message(bad, len(records), leave_out="leave their records out"))
            pixels = open_pixels(records, bundle.spec, folder)
        table = predict_scores(
            bundle.build_model(), bundle.recipe, records, encoder=bundle.encoder, spec=bundle.spec, pixels=pixels
        ).set_index("image_name")
        total = table if total is None else total + table
        on_event({"kind": "bundle", "done": number, "total": len(bundles)})
    assert total is not None
    pd.DataFrame(total / len(bundles)).reset_index().to_parquet(out, index=False)


def measure_cost(
    *, on_event: OnEvent, recipe: dict[str, Any], dataset: str, fold: int, extra: str | None = None
) -> dict[str, Any]:
    """Time a few steps: what a fold takes, all epochs run (the fields of an `Estimate`)."""
    del on_event
    chosen, records = Recipe.from_dict(recipe), Dataset.read_parquet(dataset)
    fit, validation = inner_split(chosen, records.held_out(fold)[0])
    fit = with_extra(fit, Dataset.read_parquet(extra) if extra else None)
    held_out = records.held_out(fold)[1]
    width = MetadataEncoder(chosen.metadata_features).fit(fit.frame).width if chosen.uses_metadata else 0
    with set_up_keras(chosen, chosen.seed).scope():
        chosen = with_micro_batch_size(chosen, records, Path(dataset).parent)
        trial = Trial(chosen, width)
        plain = chosen.replace(mixup=0.0, cutmix=0.0)
        inputs = StageInputs(
            plain, fit, validation, None, None, None, Path(), chosen.seed, EpochCounter(), lambda event: None
        )
        steps = inputs.steps()
        predicted = seconds_of(trial.prediction_step()) / trial.records
        watched, features, slowest, total = 0 if validation is None else len(validation), 0, 0.0, 0.0
        for stage in chosen.stages:
            step = seconds_of(trial.training_step(stage))
            slowest = max(slowest, step)
            on_features = chosen.uses_images and trains_on_features(chosen, stage)
            features = max(features, on_features * (len(fit) + watched))  # one pass for all such stages
            total += stage.epochs * (steps * step + (0 if on_features else watched * predicted))
    views = chosen.tta if chosen.uses_images else 1
    total += predicted * (features + len(held_out) * views)
    return {
        "step_seconds": slowest,
        "fold_seconds": total,
        "peak_memory": peak_memory().get("memory"),
    }
