"""What `melanomafusion train` prints of a plan: its cost before, its curve and ensemble after."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

from .app import console
from .status import duration

if TYPE_CHECKING:
    from ..data.dataset import Dataset
    from ..recipes.plan import EnsemblePlan
    from ..recipes.recipe import Recipe
    from ..training.extra import Extra


def print_estimates(
    screen: Console,
    recipes: Sequence[Recipe],
    dataset: Dataset,
    folds: list[int] | None,
    workers: int,
    extra: Extra | None,
) -> None:
    """Time a few steps of each recipe (once for all its seeds) and print what the training will take."""
    from ..progress import progress_bar
    from ..training.estimate import Estimate, estimate_cost

    known: dict[Recipe, Estimate] = {}
    table = Table("", "folds", "a training step", "a fold, at most", "all folds", "memory")
    total = 0.0
    with progress_bar(screen, "estimate") as on_event:
        for number, recipe in enumerate(recipes):
            on_event({"done": number, "total": len(recipes), "what": recipe.name})
            key = recipe.replace(name="", seed=0)
            if key not in known:
                known[key] = estimate_cost(recipe, dataset, folds=folds, extra=extra, on_event=lambda event: None)
            found = known[key]
            total += found.seconds
            memory = "–" if found.peak_memory is None else f"{found.peak_memory / 2**30:.1f} GiB"
            step = f"{found.step_seconds:.3f} s"
            table.add_row(
                recipe.name, str(found.folds), step, duration(found.fold_seconds), duration(found.seconds), memory
            )
    screen.print(table)
    screen.print(
        f"At most {duration(total)} of computing, one fold after another; early stopping ends sooner. "
        "Decoding the images comes on top, once a run."
        + (f" {workers} folds at once share the cores." if workers > 1 else "")
    )


def train_and_print_plan(
    plan: EnsemblePlan, dataset: Dataset, options: dict[str, Any], screen: Console, as_json: bool
) -> None:
    """Train a plan and print what each member brought."""
    from ..console import print_diagnosis
    from ..run_progress import PlanProgress
    from ..training.plan import train_plan

    with PlanProgress(screen) as progress:
        trained = train_plan(plan, dataset, on_event=progress, **options)
    if as_json:
        content = {
            "curve": json.loads(trained.curve.to_json(orient="records")),
            "left_out": trained.left_out,
            "diagnosis": trained.diagnosis.to_dict() if trained.diagnosis else None,
        }
        typer.echo(json.dumps(content, indent=2))
        return
    if trained.diagnosis is not None:
        print_diagnosis(console, trained.diagnosis)
    if trained.left_out:
        left_out = ", ".join(trained.left_out)
        console.print(f"Not trained, for the last member brought too little: {left_out}", markup=False)
    console.print(f"Runs in {trained.path}, and ensemble/: melanomafusion bundle {trained.path / 'ensemble'} --out DIR")
