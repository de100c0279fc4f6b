"""`melanomafusion demo`, `recipes` and `train`."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ..errors import RecipeError
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
    Source,
    SourceOption,
    app,
    console,
    load_all,
)

if TYPE_CHECKING:
    from ..recipes.recipe import Recipe


class OnBadImage(StrEnum):
    """What to do about unreadable images."""

    error = "error"
    skip = "skip"


@app.command()
def demo(out: Annotated[Path, typer.Option(help="Folder for data, runs and plots.")] = Path("demo")) -> None:
    """Run the whole job on built-in synthetic data: minutes on two cores."""
    from ..demo import run_demo

    run_demo(out, console=console)


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="One recipe, as JSON.")] = None, as_json: AsJson = False
) -> None:
    """List the recipes, or show one."""
    from ..recipes.catalogue import get_recipe, list_recipes

    if name is not None:
        typer.echo(get_recipe(name).to_json(), nl=False)
        return
    found = [get_recipe(known) for known in list_recipes()]
    if as_json:
        typer.echo(json.dumps([recipe.to_dict() for recipe in found], indent=2))
        return
    table = Table("recipe", "backbone", "size", "fusion", "epochs", "batch")
    for recipe in found:
        image = (recipe.backbone, str(recipe.image_size)) if recipe.uses_images else ("–", "–")
        table.add_row(recipe.name, *image, recipe.fusion, str(recipe.epochs), str(recipe.batch_size))
    console.print(table)


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
    folds: Annotated[str | None, typer.Option(help="Some of the folds, e.g. 0,1.")] = None,
    n_folds: int = 5,
    fold_seed: int = 0,
    folds_file: Annotated[Path | None, typer.Option(help="A folds.csv, instead of new folds.")] = None,
    group: Annotated[str | None, typer.Option(help="patient, lesion, a column, or record (image-level).")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change a field: image_size=256.")] = None,
    on_bad_image: OnBadImage = OnBadImage.error,
    features: Annotated[
        Path | None, typer.Option(help="Folder for features of frozen backbones, shared by runs.")
    ] = None,
    tensorboard: bool = False,
    restart: Annotated[bool, typer.Option(help="Throw away an earlier run in the folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a recipe over patient-grouped folds; goes on where an earlier run stopped."""
    from ..console import RunProgress, print_scores
    from ..data.folds import assign_folds, read_folds

    chosen = _recipe(recipe, set_ or [])
    wanted = _numbers(folds)
    dataset = load_all(
        source, data, "train", images, missing_images, extra_images, not chosen.uses_images, also, overlaps
    )
    dataset = (
        read_folds(dataset, folds_file) if folds_file else assign_folds(dataset, n_folds, seed=fold_seed, group=group)
    )
    screen = Console(stderr=True, highlight=False, soft_wrap=True) if as_json else console
    screen.print(repr(dataset))
    from ..training.cross_validation import cross_validate

    with RunProgress(screen, chosen.name) as progress:
        cv = cross_validate(
            chosen,
            dataset,
            out=out,
            folds=wanted,
            on_bad_image=on_bad_image.value,
            restart=restart,
            features=features,
            tensorboard=tensorboard,
            on_event=progress,
        )
    if as_json:
        typer.echo(json.dumps(cv.metrics, indent=2))
    else:
        print_scores(console, {chosen.name: cv.oof})
        console.print(f"Run in {out}: oof.csv, history.csv, metrics.json, report/, a bundle per fold.")


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


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"--folds takes numbers such as 0,1. Received: {text!r}") from None
