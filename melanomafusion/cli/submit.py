"""`melanomafusion submit`: score a test split with a run or an ensemble."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import OutputError, PredictionsError
from .app import (
    ExtraImages,
    ExtraOption,
    ImagesOption,
    MissingImages,
    MissingOption,
    Source,
    SourceOption,
    app,
    console,
    load,
)
from .members import read_metadata, read_named

if TYPE_CHECKING:
    from ..predictions import Predictions


@app.command()
def submit(
    run: Annotated[Path, typer.Argument(help="Run folder, bundle, ensemble folder or its bundle.")],
    test: Annotated[Path | None, typer.Option(help="Folder of the data set (or CSV with --source csv).")] = None,
    scores: Annotated[
        list[str] | None, typer.Option(help="Of an ensemble: NAME=FILE[:SCORE] with a member's test scores; repeat.")
    ] = None,
    metadata: Annotated[Path | None, typer.Option(help="With --scores: CSV of the test records' metadata.")] = None,
    out: Annotated[Path, typer.Option(help="CSV to write.")] = Path("submission.csv"),
    source: SourceOption = Source.siim,
    images: ImagesOption = None,
    missing_images: MissingOption = MissingImages.error,
    extra_images: ExtraOption = ExtraImages.error,
    classes: Annotated[bool, typer.Option("--classes", help="Write the score of every class too.")] = False,
) -> None:
    """Score a test split with the mean of the folds and write a Kaggle submission.

    An ensemble predicts with its members' runs (--test), or from files of their test scores (--scores).
    """
    if out.is_dir():
        raise OutputError(f"{out} is a folder. Name a CSV file.")
    if (test is None) == (not scores):
        raise typer.BadParameter("Give --test (a data set) or --scores (files of the members' test scores).")
    if scores:
        combined = _from_files(run, scores, metadata)
    else:
        assert test is not None
        combined = _from_runs(run, test, source, images, missing_images, extra_images)
    if classes and not combined.classes:
        raise PredictionsError(f"{run} gives one score; --classes is for multi-class models.")
    if classes:
        combined.write_csv(out)
    else:
        combined.write_submission(out)
    console.print(f"Wrote {len(combined):,} scores to {out}.")


def _from_files(folder: Path, scores: list[str], metadata: Path | None) -> Predictions:
    from ..ensemble.catalogue import read_ensemble
    from ..ensemble.stacking import with_metadata

    ensemble = read_ensemble(folder if folder.is_file() else folder / "ensemble.json")
    read, _ = read_named(scores, "test")
    return ensemble.predict(read if metadata is None else with_metadata(read, read_metadata(metadata)))


def _from_runs(
    run: Path, test: Path, source: Source, images: Path | None, missing: MissingImages, extra: ExtraImages
) -> Predictions:
    from ..deploy.bundling import runs_of
    from ..ensemble.stacking import with_metadata
    from ..run_progress import RunProgress
    from ..training.cross_validation import predict_run

    runs, ensemble = runs_of(run)
    uses_images = any(_uses_images(path) for path in runs.values())
    dataset = load(source, test, "test", images, missing, extra, not uses_images)
    scores: dict[str, Predictions] = {}
    for name, path in runs.items():
        with RunProgress(console, name) as progress:
            scores[name] = predict_run(path, dataset, on_event=progress)
    return ensemble.predict(with_metadata(scores, dataset)) if ensemble else next(iter(scores.values()))


def _uses_images(path: Path) -> bool:
    """Whether any member looks at images; a member's folds are of one recipe."""
    from ..deploy.bundle import Bundle, find_bundles
    from ..deploy.ensemble_bundle import CONTENT, EnsembleBundle

    together = EnsembleBundle.read(path).members.values() if (path / CONTENT).is_file() else [find_bundles(path)]
    return any(Bundle.read(folders[0]).recipe.uses_images for folders in together)
