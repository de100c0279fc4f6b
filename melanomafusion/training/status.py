"""`run_status`: which folds of a run are done, under way, failed or waiting, and how long the rest will take."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import RunError
from ..execution.lock import is_held
from .checkpoints import Checkpoints
from .run import FAILED, Run


@dataclass(frozen=True)
class FoldStatus:
    """Where a fold stands.

    Attributes:
        fold: its number.
        state: "done", "running", "failed" (its process said why, or died three times), "stopped" (it goes on from its
            checkpoint when the run is started again) or "waiting".
        epoch: epochs that are done and saved.
        epochs: at most, of all stages.
        seconds: trained so far, up to the last checkpoint.
        left: seconds that it will take yet, at most, at the speed so far; None where that is not known.
        reason: why it failed.
    """

    fold: int
    state: Literal["done", "running", "failed", "stopped", "waiting"]
    epoch: int
    epochs: int
    seconds: float
    left: float | None
    reason: str = ""


def run_status(path: str | Path) -> list[FoldStatus]:
    """Read where every fold of a run stands, while it is trained or not.

    Args:
        path: run folder.

    Raises:
        RunError: there is no run.
    """
    run = Run(Path(path))
    if not (run.path / "recipe.json").is_file() or not (run.path / "dataset.parquet").is_file():
        raise RunError(
            f"{path} is not a run: it has no recipe.json and dataset.parquet. Name the folder given to --out."
        )
    epochs = run.recipe.epochs
    folds = [_fold(run, int(fold), epochs) for fold in sorted(run.dataset.frame["fold"].unique())]
    speeds = [fold.seconds / fold.epoch for fold in folds if fold.epoch and fold.state != "done"]
    known = [fold.seconds for fold in folds if fold.state == "done"]
    whole = max(known) if known else epochs * max(speeds) if speeds else None
    return [
        fold if fold.left is not None or whole is None else FoldStatus(**{**vars(fold), "left": whole})
        for fold in folds
    ]


def _fold(run: Run, fold: int, epochs: int) -> FoldStatus:
    folder = run.fold(fold)
    if run.is_done(fold):
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        trained = len((folder / "history.csv").read_text(encoding="utf-8").splitlines()) - 1
        return FoldStatus(fold, "done", trained, epochs, float(metrics["seconds"]), 0.0)
    facts = Checkpoints(folder / "checkpoints").facts()
    epoch, seconds, left = 0, 0.0, None
    if facts is not None:
        epoch, seconds = int(facts["position"]["epoch"]), float(facts["seconds"])
        left = seconds / epoch * (epochs - epoch) if epoch else None
    failed = folder / FAILED
    if is_held(folder / "lock"):
        return FoldStatus(fold, "running", epoch, epochs, seconds, left)
    if failed.is_file():
        reason = failed.read_text(encoding="utf-8").strip()
        return FoldStatus(fold, "failed", epoch, epochs, seconds, left, reason)
    return FoldStatus(fold, "stopped" if facts else "waiting", epoch, epochs, seconds, left)
