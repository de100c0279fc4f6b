"""`melanomafusion status`: where the folds of a run stand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from .app import AsJson, app, console

if TYPE_CHECKING:
    from ..training.status import FoldStatus


@app.command()
def status(
    run: Annotated[Path, typer.Argument(help="Run folder, or that of a plan; trained right now or not.")],
    as_json: AsJson = False,
) -> None:
    """Show which folds of a run are done, running, failed or waiting, and how long the rest will take."""
    from ..training.status import run_status

    members = sorted(file.parent for file in run.glob("*/recipe.json"))
    if (run / "recipe.json").is_file() or not members:
        folds = run_status(run)
        if as_json:
            typer.echo(json.dumps([dataclasses.asdict(fold) for fold in folds], indent=2))
        else:
            _print(folds)
        return
    found = {member.name: run_status(member) for member in members}
    if as_json:
        content = {name: [dataclasses.asdict(fold) for fold in folds] for name, folds in found.items()}
        typer.echo(json.dumps(content, indent=2))
        return
    for name, folds in found.items():
        console.print(name, markup=False)
        _print(folds)


def _print(folds: list[FoldStatus]) -> None:
    table = Table("fold", "", "epochs", "trained for", "left, at most")
    for fold in folds:
        left = "–" if fold.state == "done" else "not known" if fold.left is None else duration(fold.left)
        table.add_row(str(fold.fold), fold.state, f"{fold.epoch} of {fold.epochs}", duration(fold.seconds), left)
    console.print(table)
    for fold in folds:
        if fold.reason:
            console.print(f"Fold {fold.fold}: {fold.reason}", markup=False)
    open_folds = [fold for fold in folds if fold.state != "done"]
    if open_folds and all(fold.left is not None for fold in open_folds):
        total = sum(fold.left or 0.0 for fold in open_folds)
        console.print(f"All that is left, one fold after another: {duration(total)} at most.")


def duration(seconds: float) -> str:
    """Hours, minutes or seconds, in words."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
