"""`melanomafusion baseline svm` and `baseline metadata`: what a network has to beat, on the same folds."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

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
)

if TYPE_CHECKING:
    from ..data.dataset import Dataset
    from ..predictions import Predictions

baseline_app = typer.Typer(no_args_is_help=True, help="Baselines without a network: an SVM on images, metadata alone.")
app.add_typer(baseline_app, name="baseline")


class ClassWeight(StrEnum):
    """Whether each class counts alike."""

    none = "none"
    balanced = "balanced"


DataOption = Annotated[Path, typer.Option(help="Folder of the data set.")]
OutOption = Annotated[Path, typer.Option(help="Folder for oof.csv, metrics.json and report/.")]
ClassesOption = Annotated[
    str | None,
    typer.Option(help="Diagnoses, e.g. AK,BCC,melanoma, or binary. HAM10000: its seven; else binary."),
]
FoldsOption = Annotated[str | None, typer.Option(help="Hold out some of the folds only, e.g. 0.")]
FoldsFile = Annotated[Path | None, typer.Option(help="A folds.csv, instead of new folds.")]
GroupOption = Annotated[str | None, typer.Option(help="patient, lesion, a column, or record (image-level).")]
WeightOption = Annotated[ClassWeight, typer.Option(help="Whether each class counts alike.")]


@baseline_app.command("svm")
def svm(
    data: DataOption,
    out: OutOption,
    source: SourceOption = Source.siim,
    images: ImagesOption = None,
    missing_images: MissingOption = MissingImages.error,
    extra_images: ExtraOption = ExtraImages.error,
    also: AlsoOption = None,
    overlaps: OverlapsOption = Overlaps.error,
    classes: ClassesOption = None,
    positive: PositiveOption = None,
    class_weight: WeightOption = ClassWeight.none,
    image_size: Annotated[int, typer.Option(help="Images are brought to this side first.")] = 128,
    penalty: Annotated[float, typer.Option(help="C of the support vector machine.")] = 5.0,
    folds: FoldsOption = None,
    n_folds: int = 5,
    fold_seed: int = 0,
    folds_file: FoldsFile = None,
    group: GroupOption = None,
    as_json: AsJson = False,
) -> None:
    """An RBF support vector machine on handcrafted colour and texture features."""
    from ..baselines.svm import svm_baseline
    from ..progress import progress_bar

    wanted = fold_numbers(folds)
    dataset = load_all(source, data, "train", images, missing_images, extra_images, False, also, overlaps, positive)
    dataset, screen = _folded(dataset, folds_file, n_folds, fold_seed, group, out, as_json)
    with progress_bar(screen, "SVM") as show:
        oof = svm_baseline(
            dataset,
            _classes(classes, source),
            positive_classes=_words(positive or "melanoma"),
            image_size=image_size,
            penalty=penalty,
            class_weight=_weight(class_weight),
            folds=wanted,
            on_event=show,
        )
    _finish(oof, dataset, out, as_json)


@baseline_app.command("metadata")
def metadata(
    data: DataOption,
    out: OutOption,
    source: SourceOption = Source.siim,
    also: AlsoOption = None,
    overlaps: OverlapsOption = Overlaps.error,
    classes: ClassesOption = None,
    positive: PositiveOption = None,
    features: Annotated[str, typer.Option(help="Metadata features.")] = "sex,age,site",
    class_weight: WeightOption = ClassWeight.none,
    folds: FoldsOption = None,
    n_folds: int = 5,
    fold_seed: int = 0,
    folds_file: FoldsFile = None,
    group: GroupOption = None,
    as_json: AsJson = False,
) -> None:
    """A logistic regression on sex, age and site; images are not looked at."""
    from ..baselines.metadata import metadata_baseline
    from ..progress import progress_bar

    wanted = fold_numbers(folds)
    dataset = load_all(
        source, data, "train", None, MissingImages.error, ExtraImages.error, True, also, overlaps, positive
    )
    dataset, screen = _folded(dataset, folds_file, n_folds, fold_seed, group, out, as_json)
    with progress_bar(screen, "metadata") as show:
        oof = metadata_baseline(
            dataset,
            _classes(classes, source),
            positive_classes=_words(positive or "melanoma"),
            features=_words(features),
            class_weight=_weight(class_weight),
            folds=wanted,
            on_event=show,
        )
    _finish(oof, dataset, out, as_json)


def _folded(
    dataset: Dataset, folds_file: Path | None, n_folds: int, seed: int, group: str | None, out: Path, as_json: bool
) -> tuple[Dataset, Console]:
    """The data set with folds, announced; and the screen for progress. The folder to write to is tried first."""
    from ..atomic import make_folder
    from ..data.fold_files import read_folds
    from ..data.folds import assign_folds

    dataset = read_folds(dataset, folds_file) if folds_file else assign_folds(dataset, n_folds, seed=seed, group=group)
    screen = Console(stderr=True, highlight=False, soft_wrap=True) if as_json else console
    screen.print(repr(dataset))
    make_folder(out)
    return dataset, screen


def _finish(oof: Predictions, dataset: Dataset, out: Path, as_json: bool) -> None:
    """Write oof.csv, metrics.json and the report; print the figures."""
    from ..atomic import write_json
    from ..baselines.out_of_fold import baseline_metrics
    from ..evaluation.summary import evaluate

    figures = baseline_metrics(oof)
    oof.write_csv(out / "oof.csv")
    evaluate(oof, data=dataset).write(out / "report")
    write_json(out / "metrics.json", figures)
    if as_json:
        typer.echo(json.dumps(figures, indent=2, ensure_ascii=False))
        return
    table = Table(oof.name, Column("", justify="right"))
    for key, value in figures.items():
        if isinstance(value, float):
            table.add_row(key.replace("_", " ").replace("auc", "AUC"), f"{value:.4f}")
    console.print(table)
    if oof.image_level_split:
        console.print("Image-level split: images of one patient may lie on both sides, so scores may be too high.")
    console.print(f"Wrote {out}: oof.csv, metrics.json and report/.", markup=False)


def _classes(text: str | None, source: Source) -> tuple[str, ...]:
    from ..recipes.jagtap_2026 import HAM10000_CLASSES

    if text is None:
        return HAM10000_CLASSES if source is Source.ham10000 else ()
    if not _words(text):
        raise typer.BadParameter("--classes takes diagnoses, or binary. Received: nothing")
    return () if text == "binary" else _words(text)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _weight(choice: ClassWeight) -> Any:
    return None if choice is ClassWeight.none else choice.value
