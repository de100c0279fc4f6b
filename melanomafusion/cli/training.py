"""`melanomafusion train`: a recipe, or a plan of several, over grouped folds."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ..errors import RecipeError
from ..execution import stopping
from .app import (
    AlsoOption,
    AsJson,
    ExtraImages,
    ExtraOption,
    ImagesOption,
    MissingImages,
    MissingOption,
    Overlaps,
    OverlapsOption,
    PositiveOption,
    Source,
    SourceOption,
    app,
    console,
    fold_numbers,
    load_all,
    load_further,
)
from .plan import print_estimates, train_and_print_plan

if TYPE_CHECKING:
    from ..data.dataset import Dataset
    from ..recipes.plan import EnsemblePlan
    from ..recipes.recipe import Recipe


class OnBadImage(StrEnum):
    """What to do about unreadable images."""

    error = "error"
    skip = "skip"


class Executor(StrEnum):
    """Where folds are trained."""

    local = "local"
    ray = "ray"


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe or a plan, or a file: recipe (JSON), plan (TOML).")],
    data: Annotated[Path, typer.Option(help="Folder of the data set.")],
    out: Annotated[Path, typer.Option(help="Run folder.")],
    source: SourceOption = Source.siim,
    images: ImagesOption = None,
    missing_images: MissingOption = MissingImages.error,
    extra_images: ExtraOption = ExtraImages.error,
    also: AlsoOption = None,
    overlaps: OverlapsOption = Overlaps.error,
    positive: PositiveOption = None,
    folds: Annotated[str | None, typer.Option(help="Some of the folds, e.g. 0,1.")] = None,
    n_folds: int = 5,
    fold_seed: int = 0,
    folds_file: Annotated[Path | None, typer.Option(help="A folds.csv, instead of new folds.")] = None,
    group: Annotated[str | None, typer.Option(help="patient, lesion, a column, or record (image-level).")] = None,
    published: Annotated[
        bool, typer.Option("--published-split", help="Train on train, choose on valid, score test once.")
    ] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change a field: image_size=256.")] = None,
    extra: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE=DIR", help="Learnt from in every fold, never scored; may be repeated."),
    ] = None,
    unlabelled: Annotated[
        list[str] | None, typer.Option(metavar="SOURCE=DIR", help="A test split to learn from by --pseudo-labels.")
    ] = None,
    pseudo_labels: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Finished run over the same folds that labels --unlabelled.")
    ] = None,
    on_bad_image: OnBadImage = OnBadImage.error,
    features: Annotated[
        Path | None, typer.Option(help="Folder for features of frozen backbones, shared by runs.")
    ] = None,
    tensorboard: bool = False,
    checkpoint_every_minutes: Annotated[
        float, typer.Option(help="A checkpoint within a long epoch after so long; 0: at the ends of epochs only.")
    ] = 10.0,
    workers: Annotated[int, typer.Option(min=1, help="Folds trained at once, each with its share of the cores.")] = 1,
    executor: Annotated[Executor, typer.Option(help="Where folds are trained.")] = Executor.local,
    address: Annotated[str, typer.Option(help="Of the Ray cluster: auto, local, ray://HOST:10001.")] = "auto",
    num_cpus: Annotated[float, typer.Option(help="Cores of a fold, on Ray.")] = 1,
    num_gpus: Annotated[float, typer.Option(help="GPUs of a fold, on Ray.")] = 0,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Time a few steps, say what it will cost, and end.")
    ] = False,
    restart: Annotated[bool, typer.Option(help="Throw away an earlier run in the folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a recipe, or a plan of several, over patient-grouped folds; goes on where an earlier run stopped."""
    from ..execution.local import LocalExecutor
    from ..execution.ray import RayExecutor
    from ..recipes.plan import read_recipe

    if bool(unlabelled) != bool(pseudo_labels) or (extra and unlabelled):
        raise typer.BadParameter("--unlabelled and --pseudo-labels belong together, without --extra.")
    changes = _changes(set_ or [])
    plan = _plan(recipe)
    picked = fold_numbers(folds)
    if plan and len(plan.recipes) > 1 and (published or (picked is not None and len(set(picked)) < 2)):
        raise typer.BadParameter("An ensemble is scored in nested folds: a plan needs two or more.")
    plan = plan.replace(**changes) if plan else None
    recipes = plan.recipes if plan else (read_recipe(recipe).replace(**changes),)
    metadata_only = not any(chosen.uses_images for chosen in recipes)
    dataset = load_all(
        source, data, "train", images, missing_images, extra_images, metadata_only, also, overlaps, positive
    )
    dataset, wanted = _folded(dataset, picked, published, folds_file, group, n_folds, fold_seed)
    option, split = ("--unlabelled", "test") if unlabelled else ("--extra", "train")
    further = load_further(unlabelled or extra, split, missing_images, extra_images, metadata_only, option)
    screen = Console(stderr=True, highlight=False, soft_wrap=True) if as_json else console
    screen.print(repr(dataset))
    stopping.listen()
    learnt_from_too = _extra(further, pseudo_labels, screen) if further else None
    if estimate or plan:
        print_estimates(screen, recipes, dataset, wanted, workers, learnt_from_too)
    if estimate:
        return
    options: dict[str, Any] = {
        "out": out,
        "extra": learnt_from_too,
        "on_bad_image": on_bad_image.value,
        "restart": restart,
        "features": features,
        "tensorboard": tensorboard,
        "checkpoint_every_minutes": checkpoint_every_minutes or None,
        "executor": RayExecutor(address, num_cpus, num_gpus) if executor is Executor.ray else LocalExecutor(workers),
    }
    if plan is not None:
        train_and_print_plan(plan, dataset, {**options, "folds": wanted}, screen, as_json)
    else:
        _train(recipes[0], dataset, wanted, options, screen, as_json)


def _train(
    recipe: Recipe, dataset: Dataset, folds: list[int] | None, options: dict[str, Any], screen: Console, as_json: bool
) -> None:
    from ..console import print_scores
    from ..run_progress import RunProgress
    from ..training.cross_validation import cross_validate

    with RunProgress(screen, recipe.name) as progress:
        cv = cross_validate(recipe, dataset, folds=folds, on_event=progress, **options)
    if as_json:
        typer.echo(json.dumps(cv.metrics, indent=2))
    else:
        print_scores(console, {recipe.name: cv.oof})
        console.print(f"Run in {cv.path}: oof.csv, history.csv, metrics.json, report/, a bundle per fold.")


def _folded(
    dataset: Dataset,
    wanted: list[int] | None,
    published: bool,
    folds_file: Path | None,
    group: str | None,
    n_folds: int,
    seed: int,
) -> tuple[Dataset, list[int] | None]:
    """The records with folds, and the folds to train."""
    from ..data.fold_files import read_folds
    from ..data.folds import assign_folds, published_split

    if published:
        if folds_file or wanted or group:
            raise typer.BadParameter(
                "--published-split has its own folds: leave out --folds, --folds-file and --group."
            )
        return published_split(dataset), [0]
    if folds_file:
        return read_folds(dataset, folds_file), wanted
    return assign_folds(dataset, n_folds, seed=seed, group=group), wanted


def _extra(datasets: list[Dataset], run: Path | None, screen: Console) -> Dataset | dict[int, Dataset]:
    from ..data.combine import concat
    from ..run_progress import RunProgress
    from ..training.pseudo_labels import pseudo_label

    records = concat(datasets)
    if run is None:
        return records
    with RunProgress(screen, "pseudo labels") as progress:
        return pseudo_label(run, records, on_event=progress)


def _plan(name: str) -> EnsemblePlan | None:
    """The plan, where one is named, or a file of one."""
    from ..recipes.catalogue import PLANS
    from ..recipes.plan import EnsemblePlan, get_plan

    if name in PLANS:
        return get_plan(name)
    return EnsemblePlan.read_toml(name) if Path(name).suffix == ".toml" else None


def _changes(changes: list[str]) -> dict[str, Any]:
    """Fields to change, and their values."""
    values: dict[str, Any] = {}
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise RecipeError(f"--set takes field=value. Received: {change!r}")
        try:
            values[key] = json.loads(text)
        except ValueError:
            values[key] = text
    return values
