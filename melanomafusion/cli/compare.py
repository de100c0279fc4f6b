"""`melanomafusion recipes --compare`: what the backbones of the recipes cost."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from ..errors import RecipeError, RunError

if TYPE_CHECKING:
    from ..recipes.recipe import Recipe

BATCH_SIZES = (1, 8)


@dataclass
class Row:
    """A backbone at an image size.

    Attributes:
        backbone: its name.
        image_size: side in pixels.
        parameters: of the backbone, without head.
        multiply_adds: of one image.
        milliseconds: batch size → per image; empty where not measured.
        recipes: names of those that use it.
        reproduced: figures of systems whose first recipe is among them.
    """

    backbone: str
    image_size: int
    parameters: int = 0
    multiply_adds: int = 0
    milliseconds: dict[str, float] = field(default_factory=dict)
    recipes: list[str] = field(default_factory=list)
    reproduced: list[str] = field(default_factory=list)


def print_comparison(console: Console, recipes: list[Recipe], timing: bool, as_json: bool) -> None:
    """Print a row per backbone and image size of some recipes, the cheapest first.

    Args:
        console: where to; JSON goes to standard output.
        recipes: those that use no images are left out.
        timing: measure milliseconds per image too, each backbone in a process of its own.
        as_json: print JSON.

    Raises:
        RecipeError: no recipe uses images, a backbone cannot be built, or its cost cannot be counted.
    """
    from ..progress import progress_bar

    rows = _rows(recipes)
    if not rows:
        raise RecipeError(f"{', '.join(recipe.name for recipe in recipes)}: no images, so no backbone to compare.")
    screen = Console(stderr=True, highlight=False) if as_json else console
    machine: dict[str, Any] | None = None
    notes: list[str] = []
    with progress_bar(screen, "cost") as show:
        _count(rows, show)
        rows.sort(key=lambda row: (row.multiply_adds, row.backbone, row.image_size))
        for number, row in enumerate(rows if timing else []):
            name = f"{row.backbone} at {row.image_size}"
            show({"done": number, "total": len(rows), "what": f"time of {name}"})
            try:
                machine = _measure(row)
            except RunError as error:  # too little memory for this one is no reason to lose the others
                notes.append(f"{name} was not timed: {str(error).splitlines()[0]}")
    if as_json:
        content = {"machine": machine, "notes": notes, "rows": [asdict(row) for row in rows]}
        typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        _print(console, rows, machine, notes)


def _rows(recipes: list[Recipe]) -> list[Row]:
    rows: dict[tuple[str, int], Row] = {}
    for recipe in recipes:
        if recipe.uses_images:
            key = (recipe.backbone, recipe.image_size)
            row = rows.setdefault(key, Row(*key))
            row.recipes.append(recipe.name)
            row.reproduced += _reproduced(recipe)
    return list(rows.values())


def _reproduced(recipe: Recipe) -> list[str]:
    """What was reproduced with this very recipe: a system's figures are of its first one."""
    from ..recipes.catalogue import get_system

    system = get_system(recipe.name)
    is_first = system.recipes[0].name == recipe.name
    return [system.reproduced] if is_first and not system.reproduced.startswith("not run") else []


def _count(rows: list[Row], show: Callable[[dict[str, Any]], None]) -> None:
    """Fill in parameters and multiply-adds."""
    wanted = [(row.backbone, row.image_size) for row in rows]
    counted = _in_a_process(
        "count_backbones",
        {"backbones": wanted},
        lambda event: show({"done": event["done"], "total": len(rows), "what": "multiply-adds"}),
    )
    for row, cost in zip(rows, counted, strict=True):
        row.parameters, row.multiply_adds = cost["parameters"], cost["multiply_adds"]


def _measure(row: Row) -> dict[str, Any]:
    """Fill in the times; where they were measured."""
    arguments = {"backbone": row.backbone, "image_size": row.image_size, "batch_sizes": list(BATCH_SIZES)}
    result = _in_a_process("time_backbone", arguments)
    row.milliseconds = dict(zip(map(str, BATCH_SIZES), result["milliseconds"], strict=True))
    return dict(result["machine"])


def _in_a_process(
    function: str, arguments: dict[str, Any], on_event: Callable[[dict[str, Any]], None] | None = None
) -> Any:
    from ..execution.task import Task, run_task

    with tempfile.TemporaryDirectory() as folder:
        task = Task(function, f"melanomafusion.models.cost:{function}", arguments, Path(folder) / "log.txt")
        return run_task(task, on_event)


def _print(console: Console, rows: list[Row], machine: dict[str, Any] | None, notes: list[str]) -> None:
    timed = [Column(f"ms, batch {size}", justify="right") for size in BATCH_SIZES] if machine else []
    table = Table(
        "backbone",
        Column("size", justify="right"),
        Column("parameters", justify="right"),
        Column("GFLOPs", justify="right"),
        *timed,
        Column("recipes", overflow="fold"),
        Column("reproduced", overflow="fold"),
        show_lines=True,
    )
    for row in rows:
        times = [f"{row.milliseconds[str(size)]:,.1f}" if row.milliseconds else "–" for size in BATCH_SIZES]
        table.add_row(
            row.backbone,
            str(row.image_size),
            f"{row.parameters / 1e6:.2f} M",
            f"{row.multiply_adds / 1e9:.3g}",
            *(times if machine else []),
            ", ".join(row.recipes),
            "; ".join(row.reproduced) or "–",
        )
    console.print(table)
    console.print(
        "Backbone alone, without head. GFLOPs are 10⁹ multiply-adds of convolutions and dense layers, as papers count."
    )
    if machine:
        gpus = f", {machine['gpus']} GPU" if machine["gpus"] else ""
        console.print(
            f"Milliseconds per image, inference, median of several batches, on {machine['processor']}, "
            f"{machine['threads']} threads{gpus}; Keras {machine['keras']} with {machine['backend']}.",
            markup=False,
        )
    for note in notes:
        console.print(f"Note: {note}", markup=False)
