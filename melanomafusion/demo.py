"""The whole job on synthetic data: load, fold, train two members, ensemble, score beside the best possible."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .atomic import make_folder, write_json
from .data.fold_files import write_folds
from .data.folds import assign_folds
from .data.sources.siim_isic_2020 import load_siim_isic_2020
from .ensemble.averages import MeanEnsemble
from .errors import RunError
from .evaluation.intervals import auc_difference, auc_interval
from .evaluation.plots import plot_roc, save_figure
from .notice import NOT_A_MEDICAL_DEVICE
from .predictions import Predictions
from .recipes.catalogue import get_recipe
from .run_progress import RunProgress
from .testing import BestPossible, make_siim_isic
from .training.cross_validation import cross_validate

N_FOLDS = 3
MEMBERS = {"fused": "tiny", "image only": "image-tiny"}


def run_demo(out: str | Path, *, console: Console | None = None, n_patients: int = 600) -> dict[str, Any]:
    """Run the demo into a folder; started again, it goes on where it stopped.

    Args:
        out: folder: data/, folds.csv, runs/, ensemble/, roc.png, demo.json.
        console: for progress and the table; standard output without it.
        n_patients: of the synthetic training split.

    Returns:
        What is also written to demo.json: AUCs with intervals, the paired difference, the best possible, seconds.

    Raises:
        RunError: the folder holds something else.
    """
    started = time.monotonic()
    console = console or Console()
    out = Path(out)
    if out.is_dir() and any(out.iterdir()) and not (out / "data").is_dir():
        raise RunError(f"{out} is not empty and not a demo. Name a new folder.")
    make_folder(out)
    best = _data(out / "data", n_patients, console)
    data = load_siim_isic_2020(out / "data")
    console.print(repr(data), highlight=False)
    data = assign_folds(data, N_FOLDS, seed=0)
    write_folds(data, out / "folds.csv")
    members: dict[str, Predictions] = {}
    for name, recipe in MEMBERS.items():
        with RunProgress(console, name) as progress:
            members[name] = cross_validate(get_recipe(recipe), data, out=out / "runs" / recipe, on_event=progress).oof
    ensemble = MeanEnsemble().fit(members)
    combined = ensemble.cross_val_predict(members)
    make_folder(out / "ensemble")
    combined.write_csv(out / "ensemble" / "oof.csv")
    runs_of = {name: str(out / "runs" / recipe) for name, recipe in MEMBERS.items()}
    write_json(out / "ensemble" / "ensemble.json", {**json.loads(ensemble.to_json()), "runs": runs_of})
    scored = {**members, "mean of both": combined}
    save_figure(plot_roc(scored), out / "roc.png")
    ceiling = {"fused": best.both, "image only": best.image, "mean of both": best.both}
    summary: dict[str, Any] = {"auc": {}, "best_possible": vars(best)}
    table = Table("", "AUC", "95 % interval over patients", "best possible AUC")
    for name, predictions in scored.items():
        interval = auc_interval(predictions)
        summary["auc"][name] = [interval.estimate, interval.low, interval.high]
        table.add_row(
            name, f"{interval.estimate:.3f}", f"{interval.low:.3f} to {interval.high:.3f}", f"{ceiling[name]:.3f}"
        )
    gain = auc_difference(members["fused"], members["image only"])
    summary["fused_minus_image"] = [gain.estimate, gain.low, gain.high]
    summary["seconds"] = round(time.monotonic() - started, 1)
    write_json(out / "demo.json", summary)
    console.print(table)
    console.print(
        f"fused − image only: {gain.estimate:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}), paired over patients. "
        f"Metadata alone could reach {best.metadata:.3f}.",
        highlight=False,
    )
    runs = ", ".join(str(out / "runs" / recipe / "report") for recipe in MEMBERS.values())
    console.print(f"Plots: {out / 'roc.png'}; curves by epoch in {runs}.", highlight=False, soft_wrap=True)
    console.print(f"{summary['seconds']:.0f} s. {NOT_A_MEDICAL_DEVICE}", highlight=False)
    return summary


def _data(folder: Path, n_patients: int, console: Console) -> BestPossible:
    truth = folder / "best_possible.json"
    if truth.is_file():
        return BestPossible(**json.loads(truth.read_text(encoding="utf-8")))
    console.print(f"Painting {n_patients} synthetic patients into {folder} …", highlight=False)
    return make_siim_isic(folder, n_patients=n_patients)
