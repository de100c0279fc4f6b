"""The command line. Every heavy import is inside its command; wrong data end in one message and exit code 1."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from .errors import MelanomaFusionError, OutputError, RecipeError
from .notice import NOT_A_MEDICAL_DEVICE

if TYPE_CHECKING:
    from .data.dataset import Dataset
    from .predictions import Predictions
    from .recipes.recipe import Recipe

app = typer.Typer(
    help=f"Learn from skin-lesion images together with patient metadata.\n\n{NOT_A_MEDICAL_DEVICE}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Check data and assign folds.", no_args_is_help=True)
app.add_typer(data_app, name="data")
# Piped output is not folded at 80 columns.
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)


class Source(StrEnum):
    """Sources by name."""

    siim = "siim-isic-2020"
    isic_2019 = "isic-2019"
    ham10000 = "ham10000"
    folders = "folders"
    csv = "csv"


class Missing(StrEnum):
    """What to do about rows without an image."""

    error = "error"
    drop = "drop"


class Extra(StrEnum):
    """What to do about images without a row."""

    error = "error"
    ignore = "ignore"


class OnBadImage(StrEnum):
    """What to do about unreadable images."""

    error = "error"
    skip = "skip"


class Method(StrEnum):
    """Kinds of ensemble."""

    mean = "mean"
    rank_mean = "rank-mean"


SourceOption = Annotated[Source, typer.Option("--source", help="How the folder is laid out.")]
ImagesOption = Annotated[Path | None, typer.Option("--images", help="Folder of images, where it has another name.")]
MissingOption = Annotated[Missing, typer.Option("--missing-images", help="Rows without an image.")]
ExtraOption = Annotated[Extra, typer.Option("--extra-images", help="Images without a row.")]
TableOnly = Annotated[bool, typer.Option("--table-only", help="Leave the images alone.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def demo(out: Annotated[Path, typer.Option(help="Folder for data, runs and plots.")] = Path("demo")) -> None:
    """Run the whole job on built-in synthetic data: minutes on two cores."""
    from .demo import run_demo

    run_demo(out, console=console)


@data_app.command("verify")
def data_verify(
    root: Annotated[Path, typer.Option(help="Folder of the data set, or its CSV.")],
    source: SourceOption = Source.siim,
    split: str = "train",
    images: ImagesOption = None,
    missing_images: MissingOption = Missing.error,
    extra_images: ExtraOption = Extra.error,
    table_only: TableOnly = False,
    as_json: AsJson = False,
) -> None:
    """Join tables and images, and compare the counts with the published ones. Exit code 1 where they differ."""
    from .data.manifest import list_manifests, verify

    dataset = _load(source, root, split, images, missing_images, extra_images, table_only)
    checks = verify(dataset, source.value, split=split) if source.value in list_manifests() else []
    wrong = [check for check in checks if not check.holds]
    if as_json:
        rows = [{"what": c.what, "expected": c.expected, "found": c.found, "holds": c.holds} for c in checks]
        typer.echo(json.dumps({"records": len(dataset), "checks": rows}, indent=2))
    else:
        console.print(repr(dataset))
        if checks:
            table = Table("published figure", "expected", "found", "")
            for check in checks:
                table.add_row(check.what, f"{check.expected:,}", f"{check.found:,}", "" if check.holds else "differs")
            console.print(table)
            console.print(f"{len(checks) - len(wrong)} of {len(checks)} published figures hold.")
        else:
            console.print("The tables and the images fit together. There is no manifest to compare with.")
    if wrong:
        raise typer.Exit(1)


@data_app.command("folds")
def data_folds(
    root: Annotated[Path, typer.Option(help="Folder of the data set, or its CSV.")],
    out: Annotated[Path, typer.Option(help="CSV to write.")] = Path("folds.csv"),
    source: SourceOption = Source.siim,
    n_folds: int = 5,
    seed: int = 0,
    group: Annotated[str | None, typer.Option(help="patient, lesion, a column, or record (image-level).")] = None,
) -> None:
    """Assign folds from the table alone and write folds.csv."""
    from .data.folds import assign_folds, write_folds

    dataset = _load(source, root, "train", None, Missing.error, Extra.error, table_only=source is not Source.folders)
    dataset = assign_folds(dataset, n_folds, seed=seed, group=group)
    write_folds(dataset, out)
    table = Table("fold", "records", "positives", "share")
    for fold, rows in dataset.frame.groupby("fold"):
        table.add_row(str(fold), f"{len(rows):,}", f"{int(rows['target'].sum()):,}", f"{rows['target'].mean():.2%}")
    console.print(table)
    console.print(f"Wrote {out}, grouped by {dataset.frame['grouped_by'].iloc[0]}.")


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="One recipe, as JSON.")] = None, as_json: AsJson = False
) -> None:
    """List the recipes, or show one."""
    from .recipes.catalogue import get_recipe, list_recipes

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
    missing_images: MissingOption = Missing.error,
    extra_images: ExtraOption = Extra.error,
    folds: Annotated[str | None, typer.Option(help="Some of the folds, e.g. 0,1.")] = None,
    n_folds: int = 5,
    fold_seed: int = 0,
    folds_file: Annotated[Path | None, typer.Option(help="A folds.csv, instead of new folds.")] = None,
    group: Annotated[str | None, typer.Option(help="patient, lesion, a column, or record (image-level).")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change a field: image_size=256.")] = None,
    on_bad_image: OnBadImage = OnBadImage.error,
    tensorboard: bool = False,
    restart: Annotated[bool, typer.Option(help="Throw away an earlier run in the folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a recipe over patient-grouped folds; goes on where an earlier run stopped."""
    from .console import RunProgress, print_scores
    from .data.folds import assign_folds, read_folds

    chosen = _recipe(recipe, set_ or [])
    wanted = _numbers(folds)
    dataset = _load(source, data, "train", images, missing_images, extra_images, not chosen.uses_images)
    dataset = (
        read_folds(dataset, folds_file) if folds_file else assign_folds(dataset, n_folds, seed=fold_seed, group=group)
    )
    screen = Console(stderr=True, highlight=False, soft_wrap=True) if as_json else console
    screen.print(repr(dataset))
    from .training.cross_validation import cross_validate

    with RunProgress(screen, chosen.name) as progress:
        cv = cross_validate(
            chosen,
            dataset,
            out=out,
            folds=wanted,
            on_bad_image=on_bad_image.value,
            restart=restart,
            tensorboard=tensorboard,
            on_event=progress,
        )
    if as_json:
        typer.echo(json.dumps(cv.metrics, indent=2))
    else:
        print_scores(console, {chosen.name: cv.oof})
        console.print(f"Run in {out}: oof.csv, history.csv, metrics.json, report/, a bundle per fold.")


@app.command()
def ensemble(
    members: Annotated[list[Path], typer.Argument(help="oof.csv files or run folders.")],
    out: Annotated[Path, typer.Option(help="Folder for oof.csv and ensemble.json.")],
    method: Method = Method.mean,
    within_fold: Annotated[bool, typer.Option(help="Rank within fold (rank-mean).")] = False,
    missing: Annotated[str, typer.Option(help="error, or intersect: keep the common records.")] = "error",
    as_json: AsJson = False,
) -> None:
    """Combine out-of-fold scores and score the result."""
    from .atomic import make_folder, write_json
    from .console import print_scores
    from .ensemble.averages import MeanEnsemble, RankMeanEnsemble
    from .ensemble.scales import rank_scores
    from .predictions import align

    files = [path / "oof.csv" if path.is_dir() else path for path in members]
    read = _read_members(files)
    kind = (
        RankMeanEnsemble(within_fold=within_fold, missing=missing)
        if method is Method.rank_mean
        else MeanEnsemble(missing=missing)
    )
    fitted = kind.fit(read)
    combined = fitted.cross_val_predict(read)
    make_folder(out)
    combined.write_csv(out / "oof.csv")
    runs = {name: str(f.parent) for name, f in zip(read, files, strict=True) if (f.parent / "recipe.json").is_file()}
    write_json(out / "ensemble.json", {**json.loads(fitted.to_json()), "runs": runs})
    aligned = align(read, missing=missing)
    if within_fold and method is Method.rank_mean:  # one currency for members and ensemble
        aligned = {name: rank_scores(member, within_fold=True) for name, member in aligned.items()}
    print_scores(console, {**aligned, method.value: combined}, as_json=as_json)


@app.command()
def evaluate(
    oof: Annotated[Path, typer.Argument(help="oof.csv or a run folder.")],
    against: Annotated[Path | None, typer.Option(help="Another one, compared in pairs.")] = None,
    as_json: AsJson = False,
) -> None:
    """AUC with its patient-bootstrap interval, and the paired difference to another file."""
    from .console import print_scores

    files = [path / "oof.csv" if path.is_dir() else path for path in (oof, *([against] if against else []))]
    read = _read_members(files)
    print_scores(console, read, as_json=as_json, difference=against is not None)


@app.command()
def submit(
    run: Annotated[Path, typer.Argument(help="Run folder, bundle, or ensemble folder.")],
    test: Annotated[Path, typer.Option(help="Folder of the data set (or CSV with --source csv).")],
    out: Annotated[Path, typer.Option(help="CSV to write.")] = Path("submission.csv"),
    source: SourceOption = Source.siim,
    images: ImagesOption = None,
    missing_images: MissingOption = Missing.error,
    extra_images: ExtraOption = Extra.error,
) -> None:
    """Score a test split with the mean of the folds and write a Kaggle submission."""
    from .console import RunProgress
    from .deploy.bundle import Bundle, find_bundles
    from .training.cross_validation import predict_run

    if out.is_dir():
        raise OutputError(f"{out} is a folder. Name a CSV file.")
    runs, combine = _runs_of(run)
    uses_images = any(Bundle.read(find_bundles(path)[0]).recipe.uses_images for path in runs.values())
    dataset = _load(source, test, "test", images, missing_images, extra_images, not uses_images)
    scores: dict[str, Predictions] = {}
    for name, path in runs.items():
        with RunProgress(console, name) as progress:
            scores[name] = predict_run(path, dataset, on_event=progress)
    combined = combine.predict(scores) if combine else next(iter(scores.values()))
    combined.write_submission(out)
    console.print(f"Wrote {len(combined):,} scores to {out}.")


def _runs_of(path: Path) -> tuple[dict[str, Path], Any]:
    """The runs to predict with, and the ensemble that combines them (None for one run)."""
    from .ensemble.averages import MeanEnsemble, RankMeanEnsemble
    from .errors import PredictionsError

    state = path / "ensemble.json"
    if not state.is_file():
        return {path.name: path}, None
    try:
        text = state.read_text(encoding="utf-8")
        content = json.loads(text)
        kinds = {kind.__name__: kind for kind in (MeanEnsemble, RankMeanEnsemble)}
        combine = kinds[content["kind"]].from_json(text)
        runs = {name: Path(folder) for name, folder in content.get("runs", {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PredictionsError(f"{state} was not written by the ensemble command: {error}") from None
    without = [name for name in combine.members if name not in runs]
    if without:
        raise PredictionsError(
            f"{state}: members {', '.join(without)} came from files without a run; they cannot predict."
        )
    return runs, combine


def _load(
    source: Source, root: Path, split: str, images: Path | None, missing: Missing, extra: Extra, table_only: bool
) -> Dataset:
    from .data.sources.catalogue import load_source

    demo_data = root / "data"
    return load_source(
        source.value,
        demo_data if (demo_data / "best_possible.json").is_file() else root,
        split=split,
        image_folder=images,
        with_images=not table_only,
        missing_images=missing.value,
        extra_images=extra.value,
    )


def _recipe(name: str, changes: list[str]) -> Recipe:
    from .recipes.catalogue import get_recipe
    from .recipes.recipe import Recipe

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


def _read_members(files: list[Path]) -> dict[str, Predictions]:
    """Members by the name of their folder, or of their file where folders share a name."""
    from .predictions import Predictions

    names = [file.parent.name if file.name == "oof.csv" and file.parent.name else file.stem for file in files]
    if len(set(names)) < len(names):
        names = [f"{file} ({number})" for number, file in enumerate(files, start=1)]
    return {name: Predictions.read_csv(file) for name, file in zip(names, files, strict=True)}


def main() -> None:
    """Entry point: errors that a user can put right end in one message and exit code 1."""
    try:
        app()
    except MelanomaFusionError as error:
        _fail(str(error), 1)
    except OSError as error:
        _fail(f"{error.filename or 'file'}: {error.strerror or error}", 1)
    except KeyboardInterrupt:
        _fail("Stopped. Finished folds are kept; the same command goes on.", 130)


def _fail(message: str, code: int) -> None:
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(message)
    sys.exit(code)
