"""`cross_validate`: every fold in a process of its own, honest out-of-fold scores out. Loads no TensorFlow itself."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from rich.console import Console

from ..atomic import atomic_file, make_folder, write_json
from ..console import RunProgress
from ..data.dataset import Dataset
from ..deploy.bundle import Bundle, find_bundles
from ..errors import ImageError, PredictionsError, RunError
from ..evaluation.history_plot import plot_history
from ..evaluation.intervals import auc_interval
from ..evaluation.metrics import average_precision, roc_auc
from ..evaluation.plots import plot_roc, save_figure
from ..execution.local import Task, run_task
from ..images.pixels import bad_images_message, decode_images
from ..images.prepared import image_spec
from ..predictions import Predictions
from ..recipes.recipe import Recipe
from .checks import check_run
from .run import Run, open_run

OnEvent = Callable[[dict[str, Any]], None]
_TASKS = "melanomafusion.training.tasks"
# Settings that only count before a process loads TensorFlow; they make training on a CPU 1.3 to 1.9 times faster
# (benchmarks/cpu_settings.py). oneDNN is off by default on processors without AVX-512. glibc gives large tensors back to
# the system after each step, which then has to clear their pages anew: a third of the time.
_ON_CPU = {
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "GLIBC_TUNABLES": ":".join(
        f"glibc.malloc.{name}={value}"
        for name, value in {"arena_max": 1, "mmap_max": 0, "trim_threshold": 1 << 34, "hugetlb": 1}.items()
    ),
}


@dataclass(frozen=True)
class CrossValidation:
    """A finished run (or the part of its folds that was asked for).

    Attributes:
        path: run folder.
        recipe: what was trained.
        oof: score of each record by the model that has not seen its patient.
        bundles: folders, by fold.
        metrics: pooled AUC with its patient-bootstrap interval, average precision, and those of each fold.
    """

    path: Path
    recipe: Recipe
    oof: Predictions
    bundles: list[Path]
    metrics: dict[str, Any]


def cross_validate(
    recipe: Recipe,
    dataset: Dataset,
    *,
    out: str | Path,
    folds: Sequence[int] | None = None,
    on_bad_image: Literal["error", "skip"] = "error",
    restart: bool = False,
    features: str | Path | None = None,
    tensorboard: bool = False,
    on_event: OnEvent | None = None,
) -> CrossValidation:
    """Train a recipe over the folds of a data set.

    A run that was stopped goes on with the folds that are not done when it is started again with the same recipe, data
    and folder. All set-up is checked, and every image decoded once, before the first epoch.

    Args:
        recipe: what to build and how to train it.
        dataset: records with folds.
        out: run folder.
        folds: some of the folds; all without it.
        on_bad_image: "error" stops before the first epoch and names all unreadable images; "skip" leaves their records
            out and lists them in `bad_images.csv`.
        restart: begin anew where an earlier run lies.
        features: folder where features of a frozen backbone are kept (stages that train the head without
            augmentation); runs that share it compute them once. `out/features` without it.
        tensorboard: write TensorBoard logs into each fold's folder.
        on_event: called with progress events; they are shown on the terminal without it.

    Returns:
        Out-of-fold predictions, bundles and metrics; also in `out` (oof.csv, history.csv, metrics.json, and report/
        with curves and, for a model of images, the most confident errors with their heat maps).

    Raises:
        MelanomaFusionError: wrong set-up, or a fold that failed (the others stay; start it again to go on).
    """
    if on_event is None:
        with RunProgress(Console(), recipe.name) as progress:
            return cross_validate(
                recipe,
                dataset,
                out=out,
                folds=folds,
                on_bad_image=on_bad_image,
                restart=restart,
                features=features,
                tensorboard=tensorboard,
                on_event=progress,
            )
    report = on_event
    if on_bad_image not in ("error", "skip"):
        raise RunError(f'on_bad_image is "error" or "skip". Received: on_bad_image={on_bad_image!r}')
    wanted = check_run(recipe, dataset, list(folds) if folds is not None else None)
    run = _open(out, recipe, dataset, restart)
    kept = make_folder(features) if features else run.features
    to_train = [fold for fold in wanted if not run.is_done(fold)]
    if to_train:
        _prepare(run, recipe, on_bad_image, report)
    for fold in to_train:
        last = fold == to_train[-1]
        report({"kind": "fold", "fold": fold, "folds": len(wanted), "epochs": recipe.epochs})
        task = Task(
            f"fold {fold}",
            f"{_TASKS}:train_fold",
            {
                "run": str(run.path),
                "fold": fold,
                "features": str(kept),
                "tensorboard": tensorboard,
                # The process of the last fold has Keras loaded: it draws what the whole run gets wrong.
                "errors_of": wanted if last and recipe.uses_images else None,
            },
            run.fold(fold) / "log.txt",
            _ON_CPU,
        )
        run_task(task, lambda event, fold=fold: report({"fold": fold, **event}))  # type: ignore[misc]
    shutil.rmtree(run.pixels, ignore_errors=True)
    return collect(run, wanted)


def collect(run: Run, folds: Sequence[int]) -> CrossValidation:
    """Put the results of trained folds together: oof.csv, history.csv, metrics.json, plots."""
    recipe = run.recipe
    done = [_read_fold(run, fold) for fold in folds]
    oof = _pooled(run, [scores for scores, _, _ in done])
    history = pd.concat([rows for _, rows, _ in done], ignore_index=True)
    history = history[["fold", *[name for name in history if name != "fold"]]]
    interval = auc_interval(oof)
    metrics = {
        "recipe": recipe.name,
        "records": len(oof),
        "positives": int(oof.targets.sum()),
        "grouped_by": oof.grouped_by,
        "auc": interval.estimate,
        "auc_interval": [interval.low, interval.high],
        "interval_cluster": interval.cluster,
        "average_precision": average_precision(oof.targets, oof.scores),
        "folds": [figures for _, _, figures in done],
    }
    oof.write_csv(run.path / "oof.csv")
    oof.write_parquet(run.path / "oof.parquet")
    with atomic_file(run.path / "history.csv") as part:
        history.to_csv(part, index=False, lineterminator="\n")
    write_json(run.path / "metrics.json", metrics)
    report = make_folder(run.path / "report")
    save_figure(
        plot_history(history, title=recipe.name, image_level_split=oof.image_level_split), report / "history.png"
    )
    save_figure(plot_roc({recipe.name: oof}), report / "roc.png")
    return CrossValidation(run.path, recipe, oof, [run.fold(fold) / "bundle" for fold in folds], metrics)


def pooled_oof(run: Run, folds: Sequence[int]) -> Predictions:
    """Out-of-fold scores of finished folds, in the order of the data set."""
    return _pooled(run, [_read_fold(run, fold)[0] for fold in folds])


def _pooled(run: Run, parts: Sequence[Predictions]) -> Predictions:
    order = {name: row for row, name in enumerate(run.dataset.image_names)}
    frame = pd.concat([part.frame for part in parts], ignore_index=True)
    frame = frame.sort_values("image_name", key=lambda names: names.map(order), kind="stable")
    return Predictions(frame, "oof", name=run.recipe.name)


def predict_run(path: str | Path, dataset: Dataset, *, on_event: OnEvent | None = None) -> Predictions:
    """Score a data set with every fold of a run (or one bundle) and average the folds.

    Args:
        path: run folder or bundle.
        dataset: records, e.g. a test split.
        on_event: called with progress events; they are shown on the terminal without it.

    Returns:
        Test predictions in the data set's order.

    Raises:
        BundleError, ImageError: bundles or images that cannot be used.
    """
    if on_event is None:
        with RunProgress(Console(), Path(path).name) as progress:
            return predict_run(path, dataset, on_event=progress)
    bundles = find_bundles(path)
    opened = [Bundle.read(bundle) for bundle in bundles]  # checked before anything is computed
    missing = dataset.frame["path"].isna()
    if opened[0].recipe.uses_images and missing.any():
        raise ImageError(f"{int(missing.sum()):,} of {len(dataset):,} records have no image; the model needs them.")
    with tempfile.TemporaryDirectory() as folder:
        table, scores = Path(folder) / "dataset.parquet", Path(folder) / "scores.parquet"
        dataset.write_parquet(table)
        arguments = {"bundles": [str(bundle) for bundle in bundles], "dataset": str(table), "out": str(scores)}
        run_task(
            Task("prediction", f"{_TASKS}:predict_bundles", arguments, Path(folder) / "log.txt", _ON_CPU), on_event
        )
        return Predictions(pd.read_parquet(scores), "test", name=opened[0].recipe.name)


def _open(out: str | Path, recipe: Recipe, dataset: Dataset, restart: bool) -> Run:
    """Open the run; records that an earlier start left out as unreadable are left out again."""
    skipped = Path(out) / "bad_images.csv"
    if skipped.is_file() and not restart:
        names = pd.read_csv(skipped, dtype=str)["image_name"]
        dataset = dataset.select(~dataset.frame["image_name"].isin(names).to_numpy())
    return open_run(out, recipe, dataset, restart=restart)


def _prepare(run: Run, recipe: Recipe, on_bad_image: str, report: OnEvent) -> None:
    """Check the weights and decode every image, before the first epoch."""
    if not recipe.uses_images:
        return
    if recipe.weights is not None:
        log = run.path / "weights-log.txt"
        run_task(Task("the check of the weights", f"{_TASKS}:check_weights", {"run": str(run.path)}, log), report)
        log.unlink(missing_ok=True)
    bad = _decode(run, recipe, report)
    if not bad:
        return
    if on_bad_image == "error":
        shutil.rmtree(run.pixels, ignore_errors=True)
        raise ImageError(bad_images_message(bad, len(run.dataset)))
    with atomic_file(run.path / "bad_images.csv") as part:
        table = pd.DataFrame({"image_name": list(bad), "reason": list(bad.values())})
        table.to_csv(part, index=False, lineterminator="\n")
    report({"kind": "note", "text": f"{len(bad):,} unreadable images left out: {run.path / 'bad_images.csv'}"})
    kept = run.dataset.select(~run.dataset.frame["image_name"].isin(bad).to_numpy())
    check_run(recipe, kept)
    run.write_records(kept)
    _decode(run, recipe, report)


def _decode(run: Run, recipe: Recipe, report: OnEvent) -> dict[str, str]:
    return decode_images(
        run.dataset,
        image_spec(run.dataset, recipe.image_size),
        run.pixels,
        on_progress=lambda done, total: report({"kind": "decode", "done": done, "total": total}),
    )


def _read_fold(run: Run, fold: int) -> tuple[Predictions, pd.DataFrame, dict[str, Any]]:
    """Scores, history and metrics of a finished fold; scores that are not all there are refused, never pooled."""
    folder = run.fold(fold)
    try:
        metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        history = pd.read_csv(folder / "history.csv")
        scores = pd.read_csv(folder / "oof.csv")["score"]
        if len(scores) > 1 and scores.min() == scores.max():
            raise RunError(
                f"Fold {metrics['fold']}: all {len(scores):,} held-out records have the score {scores[0]:g}, so the "
                "model tells none from another and cannot be scored. Look at the learning rate and at the features; "
                "train anew with --restart (restart=True)."
            )
        oof = Predictions.read_csv(folder / "oof.csv", "oof")
        auc = roc_auc(oof.targets, oof.scores)
        held_out = run.dataset.held_out(fold)[1]
        if list(oof.frame["image_name"]) != [str(name) for name in held_out.image_names]:
            raise PredictionsError(f"oof.csv holds {len(oof):,} records, the fold has {len(held_out):,}")
        if abs(auc - metrics["auc"]) > 1e-12:
            raise PredictionsError(f"oof.csv gives AUC {auc}, metrics.json says {metrics['auc']}")
    except (OSError, ValueError, KeyError, TypeError, PredictionsError) as error:
        raise RunError(
            f"{folder} is damaged: {str(error).strip()}. "
            "Delete that folder and start again: only this fold is trained anew."
        ) from None
    return oof, history, metrics
