"""What a run will cost, measured on a few steps before it begins."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.dataset import Dataset
from ..execution.task import Task, run_task
from ..recipes.recipe import Recipe
from ..run_progress import OnEvent, shown
from .checks import check_run
from .cross_validation import TENSORFLOW_ON_CPU
from .extra import Extra


@dataclass(frozen=True)
class Estimate:
    """What one recipe costs on this machine.

    Attributes:
        recipe: its name.
        folds: to train.
        step_seconds: of a training step of the stage that trains most.
        fold_seconds: of a fold, all epochs run: computing alone; decoding the images, once, is not in it.
        peak_memory: bytes of the process while it trained on whole batches; None where that is not known.
    """

    recipe: str
    folds: int
    step_seconds: float
    fold_seconds: float
    peak_memory: int | None

    @property
    def seconds(self) -> float:
        """Of all folds, one after another; fewer where early stopping ends a stage."""
        return self.folds * self.fold_seconds


def estimate_cost(
    recipe: Recipe,
    dataset: Dataset,
    *,
    folds: list[int] | None = None,
    extra: Extra | None = None,
    on_event: OnEvent | None = None,
) -> Estimate:
    """Time a few steps of a recipe, on made-up images, in a process of its own.

    Args:
        recipe: what would be trained.
        dataset: records with folds.
        folds: some of the folds; all without it.
        extra: further records to learn from, as in `cross_validate`.
        on_event: called with progress events; they are shown on the terminal without it.

    Raises:
        MelanomaFusionError: wrong set-up, as in `cross_validate`.
    """
    wanted, further = check_run(recipe, dataset, folds, extra)
    with shown(on_event, recipe.name) as report, tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "dataset.parquet"
        dataset.write_parquet(table)
        arguments: dict[str, Any] = {"recipe": recipe.to_dict(), "dataset": str(table), "fold": wanted[0]}
        if wanted[0] in further:
            arguments["extra"] = str(Path(folder) / "extra.parquet")
            further[wanted[0]].write_parquet(arguments["extra"])
        task = "melanomafusion.training.tasks:measure_cost"
        log = Path(folder) / "log.txt"
        found = run_task(Task(f"The estimate of {recipe.name}", task, arguments, log, TENSORFLOW_ON_CPU), report)
    return Estimate(recipe.name, len(wanted), **found)
