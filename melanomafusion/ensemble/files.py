"""The diagnosis of an ensemble as files: JSON, a table, and figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ..atomic import atomic_file, make_folder, write_json
from ..evaluation.plots import plot_roc, save_figure
from ..evaluation.table_plots import plot_member_correlation, plot_member_curve
from .diagnostics import Diagnosis
from .ensemble import Ensemble


def write_ensemble(ensemble: Ensemble, diagnosis: Diagnosis, runs: Mapping[str, str], folder: str | Path) -> None:
    """Write oof.csv, ensemble.json, and the diagnosis: what `bundle` and `submit` read.

    Args:
        ensemble: fitted.
        diagnosis: of the same members.
        runs: name → run folder of members that are runs.
        folder: to write to.

    Raises:
        OutputError: the folder cannot be written.
    """
    folder = make_folder(folder)
    diagnosis.oof.write_csv(folder / "oof.csv")
    write_json(folder / "ensemble.json", {**json.loads(ensemble.to_json()), "runs": dict(runs)})
    write_diagnosis(diagnosis, folder)


def write_diagnosis(diagnosis: Diagnosis, folder: str | Path) -> None:
    """Write diagnosis.json, members.csv, roc.png, and of several members member_correlation.png and member_curve.png.

    Raises:
        OutputError: the folder cannot be written.
    """
    folder = make_folder(folder)
    write_json(folder / "diagnosis.json", diagnosis.to_dict())
    with atomic_file(folder / "members.csv") as part:
        diagnosis.members.to_csv(part, lineterminator="\n")
    shown = {"ensemble": diagnosis.oof, f"best member, {diagnosis.best}": diagnosis.best_member}
    save_figure(plot_roc(shown), folder / "roc.png")
    stamp = diagnosis.oof.image_level_split
    if len(diagnosis.members) > 1:
        save_figure(plot_member_correlation(diagnosis.correlation), folder / "member_correlation.png")
    if len(diagnosis.curve):
        save_figure(plot_member_curve(diagnosis.curve, image_level_split=stamp), folder / "member_curve.png")
