"""`cross_validate`: every fold in a process of its own, honest out-of-fold scores out. Loads no TensorFlow itself."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from ..atomic import atomic_file, make_folder, write_text
from ..data.dataset import Dataset
from ..deploy.bundle import Bundle, find_bundles
from ..deploy.bundling import runs_of
from ..deploy.ensemble_bundle import CONTENT, EnsembleBundle
from ..ensemble.stacking import with_metadata
from ..errors import ImageError, MelanomaFusionError, RunError
from ..execution.local import LocalExecutor
from ..execution.lock import in_use
from ..execution.ray import RayExecutor
from ..execution.task import Task, run_task
from ..images.pixels import bad_images_message, decode_images
from ..images.prepared import image_spec
from ..predictions import Predictions
from ..recipes.recipe import Recipe
from ..run_progress import OnEvent, shown
from .checks import check_minutes, check_records, check_run
from .extra import Extra
from .results import CrossValidation, collect, shows_errors_of
from .run import FAILED, Run, open_run

_TRIES = 3
_TASKS = "melanomafusion.training.tasks"
# They count only before a process loads TensorFlow; training on a CPU is 1.3 to 1.9 times faster with them
# (benchmarks/cpu_settings.py). oneDNN is off by default on processors without AVX-512. glibc gives large tensors back
# to the system after each step, which then has to clear their pages anew: a third of the time.
TENSORFLOW_ON_CPU = {
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "GLIBC_TUNABLES": ":".join(
        f"glibc.malloc.{name}={value}"
        for name, value in {"arena_max": 1, "mmap_max": 0, "trim_threshold": 1 << 34, "hugetlb": 1}.items()
    ),
}


def cross_validate(
    recipe: Recipe,
    dataset: Dataset,
    *,
    out: str | Path,
    folds: Sequence[int] | None = None,
    extra: Extra | None = None,
    on_bad_image: Literal["error", "skip"] = "error",
    restart: bool = False,
    features: str | Path | None = None,
    tensorboard: bool = False,
    checkpoint_every_minutes: float | None = 10.0,
    workers: int = 1,
    executor: LocalExecutor | RayExecutor | None = None,
    on_event: OnEvent | None = None,
) -> CrossValidation:
    """Train a recipe over the folds of a data set.

    A run that was stopped, in whatever way, goes on where it was when it is started again with the same recipe, data
    and folder, within a fold too (`fit_fold`). A fold whose process dies is begun again from its last checkpoint, twice
    at most; the other folds go on. All set-up is checked, and every image decoded once, before the first epoch.

    Args:
        recipe: what to build and how to train it.
        dataset: records with folds.
        out: run folder.
        folds: some of the folds; all without it.
        extra: further records that every fold learns from and none scores, or fold → such records (`pseudo_label`).
            They may share no image, patient or lesion with the data set.
        on_bad_image: "error" stops before the first epoch and names all unreadable images; "skip" leaves their records
            out and lists them in `bad_images.csv`.
        restart: begin anew where an earlier run lies.
        features: folder where features of a frozen backbone are kept (stages that train the head without
            augmentation); runs that share it compute them once. `out/features` without it.
        tensorboard: write TensorBoard logs into each fold's folder.
        checkpoint_every_minutes: a checkpoint within a long epoch after so long; None for the ends of epochs only.
        workers: folds trained at once, each with its share of the cores, and a GPU of its own where it can.
        executor: where folds are trained, instead of `workers` processes here: `RayExecutor()` for a Ray cluster, whose
            nodes see `out` and the images under the same paths.
        on_event: called with progress events; they are shown on the terminal without it.

    Returns:
        Out-of-fold predictions, bundles and metrics; also in `out` (oof.csv, history.csv, metrics.json, and report/
        with curves and, for a model of images, the most confident errors with their heat maps).

    Raises:
        MelanomaFusionError: wrong set-up, or a fold that failed (the others stay; start it again to go on).
    """
    with shown(on_event, recipe.name) as report:
        if on_bad_image not in ("error", "skip"):
            raise RunError(f'on_bad_image is "error" or "skip". Received: on_bad_image={on_bad_image!r}')
        check_minutes(checkpoint_every_minutes)
        executor = executor or LocalExecutor(workers)
        wanted, further = check_run(recipe, dataset, list(folds) if folds is not None else None, extra)
        run = open_run(out, recipe, dataset, extra=further, restart=restart)
        if run.left_out:
            listed = run.path / "bad_images.csv"
            report({"kind": "note", "text": f"{len(run.left_out):,} unreadable images stay left out: {listed}"})
        kept = make_folder(features) if features else run.features
        task = {
            "run": str(run.path.absolute()),
            "folds": wanted,
            "features": str(kept.absolute()),
            "tensorboard": tensorboard,
            "checkpoint_every_minutes": checkpoint_every_minutes,
        }
        with in_use(run.path / "lock") as alone:
            to_train = [fold for fold in wanted if not run.is_done(fold)]
            if to_train:
                _prepare(run, recipe, wanted, on_bad_image, report)
            else:
                folds_were = "1 fold was" if len(wanted) == 1 else f"{len(wanted)} folds were"
                report(
                    {"kind": "warning", "text": f"nothing to do: {folds_were} trained already. --restart begins anew."}
                )
            if to_train and recipe.micro_batch_size == "auto":
                _find_micro_batch_size(run, executor, report)
            _train_folds(run, to_train, task, executor, report)
            if alone():  # no other command is training further folds
                shutil.rmtree(run.pixels, ignore_errors=True)
        found = collect(run, wanted)
        if recipe.uses_images and not shows_errors_of(run, wanted):
            _draw_errors(run, wanted, executor, report)
        return found


def _find_micro_batch_size(run: Run, executor: LocalExecutor | RayExecutor, report: OnEvent) -> None:
    arguments = {"run": str(run.path), "processes": executor.per_machine}
    log = run.path / "trial-log.txt"
    task = Task("the trial of batch sizes", f"{_TASKS}:find_micro_batch_size", arguments, log, TENSORFLOW_ON_CPU)
    (found,) = executor.run([task], report)
    log.unlink(missing_ok=True)
    report({"kind": "warning", "text": f"batches of {run.recipe.batch_size} records, {found} at a time"})


def _train_folds(
    run: Run, folds: Sequence[int], arguments: dict[str, Any], executor: LocalExecutor | RayExecutor, report: OnEvent
) -> None:
    """Train folds in processes of their own; one that fails does not keep the others from it.

    Raises:
        MelanomaFusionError: what a fold failed of; of several, all of it.
    """
    tasks = [
        Task(
            f"Fold {fold}",
            f"{_TASKS}:train_fold",
            {**arguments, "fold": fold},
            run.fold(fold) / "log.txt",
            TENSORFLOW_ON_CPU,
        )
        for fold in folds
    ]
    for fold in folds:
        (run.fold(fold) / FAILED).unlink(missing_ok=True)
    results = executor.run(tasks, report, tries=_TRIES, return_errors=True)
    failed = {
        fold: result for fold, result in zip(folds, results, strict=True) if isinstance(result, MelanomaFusionError)
    }
    for fold, error in failed.items():
        write_text(run.fold(fold) / FAILED, f"{error}\n")
    if len(failed) == 1:
        raise next(iter(failed.values()))
    if failed:
        said = "\n".join(f"Fold {fold}: {error}" for fold, error in failed.items())
        raise RunError(f"{len(failed)} of {len(folds)} folds failed.\n{said}")


def _draw_errors(run: Run, folds: list[int], executor: LocalExecutor | RayExecutor, report: OnEvent) -> None:
    """The picture of the most confident errors, where the fold that ended last did not draw it."""
    log = run.path / "report" / "log.txt"
    task = Task(
        "The picture of errors",
        f"{_TASKS}:draw_errors",
        {"run": str(run.path.absolute()), "folds": folds},
        log,
        TENSORFLOW_ON_CPU,
    )
    try:
        executor.run([task], report)
    except MelanomaFusionError as error:  # the scores stand without it
        report({"kind": "warning", "text": f"report/errors.png could not be drawn: {error}"})
    log.unlink(missing_ok=True)


def predict_run(path: str | Path, dataset: Dataset, *, on_event: OnEvent | None = None) -> Predictions:
    """Score a data set with every fold of a run (or one bundle) and average the folds.

    Args:
        path: run folder, bundle, folder of `ensemble` or of a plan's, or ensemble bundle; the last three combine their
            members as they say, and average the scores of classes.
        dataset: records, e.g. a test split.
        on_event: called with progress events; they are shown on the terminal without it.

    Returns:
        Test predictions in the data set's order.

    Raises:
        BundleError, ImageError: bundles or images that cannot be used.
    """
    path = Path(path)
    together = EnsembleBundle.read(path) if (path / CONTENT).is_file() else None
    runs, ensemble = runs_of(path)
    with shown(on_event, path.name) as report:
        if together is not None and together.ensemble is not None:
            ensemble = together.ensemble
            scores = {name: _mean_scores(bundles, dataset, report) for name, bundles in together.members.items()}
        elif ensemble is not None:
            scores = {name: predict_run(run, dataset, on_event=report) for name, run in runs.items()}
        else:
            return _mean_scores(find_bundles(path), dataset, report)
        return ensemble.predict(with_metadata(scores, dataset))


def _mean_scores(bundles: Sequence[Path], dataset: Dataset, report: OnEvent) -> Predictions:
    opened = [Bundle.read(bundle) for bundle in bundles]  # checked before anything is computed
    missing = dataset.frame["path"].isna()
    if opened[0].recipe.uses_images and missing.any():
        raise ImageError(f"{int(missing.sum()):,} of {len(dataset):,} records have no image; the model needs them.")
    with tempfile.TemporaryDirectory() as folder:
        table, scores = Path(folder) / "dataset.parquet", Path(folder) / "scores.parquet"
        dataset.write_parquet(table)
        arguments = {"bundles": [str(bundle) for bundle in bundles], "dataset": str(table), "out": str(scores)}
        log = Path(folder) / "log.txt"
        run_task(Task("prediction", f"{_TASKS}:predict_bundles", arguments, log, TENSORFLOW_ON_CPU), report)
        return Predictions(pd.read_parquet(scores), "test", name=opened[0].recipe.name)


def _prepare(run: Run, recipe: Recipe, wanted: list[int], on_bad_image: str, report: OnEvent) -> None:
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
        raise ImageError(bad_images_message(bad, len(run.with_images)))
    with atomic_file(run.path / "bad_images.csv") as part:
        table = pd.DataFrame({"image_name": list(bad), "reason": list(bad.values())})
        table.to_csv(part, index=False, lineterminator="\n")
    report({"kind": "note", "text": f"{len(bad):,} unreadable images left out: {run.path / 'bad_images.csv'}"})
    run.write_records(run.dataset, run.extra)
    check_records(recipe, run.dataset, run.extra, wanted)
    _decode(run, recipe, report)


def _decode(run: Run, recipe: Recipe, report: OnEvent) -> dict[str, str]:
    return decode_images(
        run.with_images,
        image_spec(run.with_images, recipe.image_size),
        run.pixels,
        on_progress=lambda done, total: report({"kind": "decode", "done": done, "total": total}),
    )
