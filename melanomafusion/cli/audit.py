"""`melanomafusion data audit`: leaks, duplicates and columns that tell the label, before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
    console,
    load_all,
)
from .data import data_app

if TYPE_CHECKING:
    from ..auditing.audit import Audit
    from ..data.dataset import Dataset


@data_app.command("audit")
def data_audit(
    root: Annotated[Path, typer.Option(help="Folder of the data set, or its CSV.")],
    source: SourceOption = Source.siim,
    split: str = "train",
    images: ImagesOption = None,
    missing_images: MissingOption = MissingImages.error,
    extra_images: ExtraOption = ExtraImages.error,
    also: AlsoOption = None,
    overlaps: OverlapsOption = Overlaps.error,
    folds_file: Annotated[Path | None, typer.Option(help="folds.csv to judge by.")] = None,
    n_folds: Annotated[int | None, typer.Option(help="Assign so many folds first, and judge by them.")] = None,
    group: Annotated[str | None, typer.Option(help="With --n-folds: patient, lesion, a column, or record.")] = None,
    seed: int = 0,
    duplicates: Annotated[Path | None, typer.Option(help="Your copy of the published list of duplicates.")] = None,
    table: Annotated[Path | None, typer.Option(help="CSV of more columns to judge, joined by image_name.")] = None,
    features: Annotated[str, typer.Option(help="What you train on: features or columns.")] = "sex,age,site",
    table_only: TableOnly = False,
    out: Annotated[Path | None, typer.Option(help="Folder for audit.html, audit.json and duplicates.csv.")] = None,
    as_json: AsJson = False,
) -> None:
    """Look for leaks, duplicates and columns that tell the label. Exit code 1 when a leak stands."""
    from rich.console import Console

    from ..auditing.audit import audit
    from ..data.extra_table import join_table
    from ..progress import progress_bar

    if folds_file and n_folds:
        raise typer.BadParameter("--folds-file and --n-folds exclude each other.")
    if group and not n_folds:
        raise typer.BadParameter("--group needs --n-folds.")
    dataset = load_all(source, root, split, images, missing_images, extra_images, table_only, also, overlaps)
    if table:
        dataset = join_table(dataset, table)
    dataset = _divided(dataset, folds_file, n_folds, group, seed)
    with progress_bar(Console(stderr=True), "audit") as show:
        result = audit(
            dataset,
            images=not table_only,
            duplicates=duplicates,
            features=tuple(name.strip() for name in features.split(",") if name.strip()),
            seed=seed,
            on_event=show,
        )
    if out:
        result.write(out)
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=2, ensure_ascii=False))
    else:
        _print(result)
        if out:
            console.print(f"Wrote {out / 'audit.html'}, audit.json and duplicates.csv.", markup=False)
    if not result.clean:
        raise typer.Exit(1)


def _divided(dataset: Dataset, folds_file: Path | None, n_folds: int | None, group: str | None, seed: int) -> Dataset:
    from ..data.fold_files import read_folds
    from ..data.folds import assign_folds

    if folds_file:
        return read_folds(dataset, folds_file)
    return assign_folds(dataset, n_folds, seed=seed, group=group) if n_folds else dataset


def _print(result: Audit) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    console.print(f"Audit of {result.about['name']}: {result.looked_at}", markup=False)
    styles = {"leak": "bold red", "warning": "yellow", "note": "dim"}
    table = Table("", "found", "what to do", box=box.SIMPLE_HEAD, show_lines=True)
    for finding in result.findings:
        table.add_row(
            f"[{styles[finding.level]}]{finding.level}[/]",
            escape(finding.title),
            escape("\n".join(filter(None, (finding.action, finding.call)))),
        )
    if result.findings:
        console.print(table)
    console.print(f"{result.summary[0].upper()}{result.summary[1:]}.", markup=False)
