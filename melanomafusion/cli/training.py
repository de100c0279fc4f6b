"""`melanomafusion demo`, `recipes` and `train`."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

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

if TYPE_CHECKING:
    from ..console import RunProgress
    from ..data.dataset import Dataset
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
def demo(out: Annotated[Path, typer.Option(help="Folder for data, runs and plots.")] = Path("demo")) -> None:
    """Run the whole job on built-in synthetic data: minutes on two cores."""
    from ..demo import run_demo

    run_demo(out, console=console)


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="One recipe, as JSON.")] = None,
    about: Annotated[bool, typer.Option("--about", help="Its reference, figures, commands and deviations.")] = False,
    compare: Annotated[bool, typer.Option("--compare", help="What their backbones cost.")] = False,
    timing: Annotated[bool, typer.Option("--timing/--no-timing", help="With --compare: measure here.")] = True,
    as_json: AsJson = False,
) -> None:
    """List the systems and their recipes, show one, or compare the cost of their backbones."""
    from ..recipes.catalogue import SYSTEMS, get_recipe, get_system

    if compare:
        from .compare import print_comparison

        chosen = [get_recipe(name)] if name else [recipe for system in SYSTEMS for recipe in system.recipes]
        print_comparison(console, chosen, timing, as_json)
        return
    if name is not None:
        typer.echo(get_system(name).about.strip() + "\n" if about else get_recipe(name).to_json(), nl=False)
        return
    if as_json:
        typer.echo(json.dumps([recipe.to_dict() for system in SYSTEMS for recipe in system.recipes], indent=2))
        return
    table = Table("recipe", "backbone", "size", "fusion", "classes", "epochs", "batch")
    for system in SYSTEMS:
        for recipe in system.recipes:
            image = (recipe.backbone, str(recipe.image_size)) if recipe.uses_images else ("–", "–")
            classes = str(len(recipe.classes) or 2)
            table.add_row(recipe.name, *image, recipe.fusion, classes, str(recipe.epochs), str(recipe.batch_size))
        table.add_section()
    console.print(table)
    figures = Table(Column("system", overflow="fold"), "task", "reported", "reproduced", "reference", show_lines=True)
    for system in SYSTEMS:
        figures.add_row(system.name, system.task, system.reported, system.reproduced, system.reference)
    console.print(figures)
    console.print("melanomafusion recipes NAME --about: data, figures, commands, cost and deviations.")


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, or a JSON file.")],
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
    workers: Annotated[int, typer.Option(help="Folds trained at once, each with its share of the cores.")] = 1,
    executor: Annotated[Executor, typer.Option(help="Where folds are trained.")] = Executor.local,
    address: Annotated[str, typer.Option(help="Of the Ray cluster: auto, local, ray://HOST:10001.")] = "auto",
    num_cpus: Annotated[float, typer.Option(help="Cores of a fold, on Ray.")] = 1,
    num_gpus: Annotated[float, typer.Option(help="GPUs of a fold, on Ray.")] = 0,
    restart: Annotated[bool, typer.Option(help="Throw away an earlier run in the folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a recipe over patient-grouped folds; goes on where an earlier run stopped."""
    from ..console import RunProgress, print_scores
    from ..data.folds import assign_folds, published_split, read_folds

    if bool(unlabelled) != bool(pseudo_labels) or (extra and unlabelled):
        raise typer.BadParameter("--unlabelled and --pseudo-labels belong together, without --extra.")
    chosen = _recipe(recipe, set_ or [])
    wanted = fold_numbers(folds)
    dataset = load_all(
        source, data, "train", images, missing_images, extra_images, not chosen.uses_images, also, overlaps, positive
    )
    if published:
        if folds_file or wanted or group:
            raise typer.BadParameter(
                "--published-split has its own folds: leave out --folds, --folds-file and --group."
            )
        dataset, wanted = published_split(dataset), [0]
    elif folds_file:
        dataset = read_folds(dataset, folds_file)
    else:
        dataset = assign_folds(dataset, n_folds, seed=fold_seed, group=group)
    option, split = ("--unlabelled", "test") if unlabelled else ("--extra", "train")
    further = load_further(unlabelled or extra, split, missing_images, extra_images, not chosen.uses_images, option)
    screen = Console(stderr=True, highlight=False, soft_wrap=True) if as_json else console
    screen.print(repr(dataset))
    from ..execution.ray import RayExecutor
    from ..training.cross_validation import cross_validate

    stopping.listen()
    with RunProgress(screen, chosen.name) as progress:
        cv = cross_validate(
            chosen,
            dataset,
            out=out,
            folds=wanted,
            extra=_extra(further, pseudo_labels, progress) if further else None,
            on_bad_image=on_bad_image.value,
            restart=restart,
            features=features,
            tensorboard=tensorboard,
            checkpoint_every_minutes=checkpoint_every_minutes or None,
            workers=workers,
            executor=RayExecutor(address, num_cpus, num_gpus) if executor is Executor.ray else None,
            on_event=progress,
        )
    if as_json:
        typer.echo(json.dumps(cv.metrics, indent=2))
    else:
        print_scores(console, {chosen.name: cv.oof})
        console.print(f"Run in {out}: oof.csv, history.csv, metrics.json, report/, a bundle per fold.")


def _extra(datasets: list[Dataset], run: Path | None, progress: RunProgress) -> Dataset | dict[int, Dataset]:
    from ..data.combine import concat
    from ..training.pseudo_labels import pseudo_label

    records = concat(datasets)
    return records if run is None else pseudo_label(run, records, on_event=progress)


def _recipe(name: str, changes: list[str]) -> Recipe:
    from ..recipes.catalogue import get_recipe
    from ..recipes.recipe import Recipe

    path = Path(name)
    if path.suffix == ".json" and path.is_file():
        try:
            chosen = Recipe.from_json(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise RecipeError(f"{path} is not a recipe in JSON: {error}") from None
    else:
        chosen = get_recipe(name)
    values: dict[str, Any] = {}
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise RecipeError(f"--set takes field=value. Received: {change!r}")
        try:
            values[key] = json.loads(text)
        except ValueError:
            values[key] = text
    return chosen.replace(**values)
