"""`melanomafusion data`: check data and assign folds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

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
    TableOnly,
    app,
    console,
    load,
    load_all,
)

data_app = typer.Typer(help="Check data and assign folds.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@data_app.command("verify")
def data_verify(
    root: Annotated[Path, typer.Option(help="Folder of the data set, or its CSV.")],
    source: SourceOption = Source.siim,
    split: str = "train",
    images: ImagesOption = None,
    missing_images: MissingOption = MissingImages.error,
    extra_images: ExtraOption = ExtraImages.error,
    table_only: TableOnly = False,
    as_json: AsJson = False,
) -> None:
    """Join tables and images, and compare the counts with the published ones. Exit code 1 where they differ."""
    from ..data.manifest import list_manifests, verify

    dataset = load(source, root, split, images, missing_images, extra_images, table_only)
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
    also: AlsoOption = None,
    overlaps: OverlapsOption = Overlaps.error,
) -> None:
    """Assign folds from the tables alone (images in two data sets are found by name) and write folds.csv."""
    from ..data.fold_files import write_folds
    from ..data.folds import assign_folds

    dataset = load_all(
        source, root, "train", None, MissingImages.error, ExtraImages.error, True, also=also, overlaps=overlaps
    )
    dataset = assign_folds(dataset, n_folds, seed=seed, group=group)
    write_folds(dataset, out)
    table = Table("fold", "records", "positives", "share")
    for fold, rows in dataset.frame.groupby("fold"):
        table.add_row(str(fold), f"{len(rows):,}", f"{int(rows['target'].sum()):,}", f"{rows['target'].mean():.2%}")
    console.print(table)
    console.print(f"Wrote {out}, grouped by {dataset.frame['grouped_by'].iloc[0]}.")
