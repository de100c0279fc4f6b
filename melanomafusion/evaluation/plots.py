"""Plots: axes in, axes out; legible in print and to the colour-blind. Image-level splits are named on the figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..atomic import atomic_file
from ..errors import PredictionsError
from ..predictions import Predictions
from .metrics import roc_auc

# Okabe and Ito 2008: told apart by the colour-blind.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_PANELS = {
    "loss": "loss",
    "auc": "AUC",
    "average_precision": "average precision",
    "accuracy": "accuracy (score ≥ 0.5)",
    "precision": "precision (score ≥ 0.5)",
    "recall": "recall (score ≥ 0.5)",
    "f1": "F1 (score ≥ 0.5)",
    "learning_rate": "learning rate",
}
IMAGE_LEVEL = "image-level split: scores may be too high"
_LINES = ("-", "--", "-.", ":")


def plot_roc(members: Mapping[str, Predictions], *, ax: Axes | None = None) -> Axes:
    """ROC curves with their AUC.

    Args:
        members: name → oof or held_out predictions.
        ax: axes to draw on; new ones without it.
    """
    if not members:
        raise PredictionsError("plot_roc needs at least one member.")
    aucs = {name: roc_auc(member.targets, member.scores) for name, member in members.items()}
    ax = ax or Figure(figsize=(5.2, 5.0), layout="constrained").add_subplot()
    for i, (name, member) in enumerate(members.items()):
        order = np.argsort(-member.scores, kind="stable")
        target, score = member.targets[order], member.scores[order]
        last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
        hits = np.concatenate([[0], np.cumsum(target)[last] / target.sum()])
        false = np.concatenate([[0], np.cumsum(1 - target)[last] / (1 - target).sum()])
        label = f"{name}: AUC {aucs[name]:.3f}"
        ax.plot(false, hits, _LINES[i % 4], color=COLOURS[i % len(COLOURS)], label=label, linewidth=1.6)
    ax.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    ax.set(xlabel="False positive rate (1 − specificity)", ylabel="True positive rate (sensitivity)", aspect="equal")
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    ax.legend(loc="lower right", frameon=False)
    first = next(iter(members.values()))
    title = f"{len(first):,} records, {int(first.targets.sum()):,} positive"
    if any(member.image_level_split for member in members.values()):
        title += f"\n{IMAGE_LEVEL}"
    ax.set_title(title, fontsize=10)
    return ax


def plot_history(
    history: pd.DataFrame, *, title: str = "", image_level_split: bool = False, figure: Figure | None = None
) -> Figure:
    """Loss, AUC, average precision, accuracy, precision and recall, F1 and learning rate by epoch, a line per fold.

    Args:
        history: rows of `history.csv`: fold, stage, epoch, learning_rate, loss, auc, …, val_loss, val_auc, …
        title: of the figure.
        image_level_split: name it on the figure.
        figure: to draw on; a new one without it.
    """
    figure = figure or Figure(figsize=(11, 5.6), layout="constrained")
    grid = figure.subplots(2, 4, sharex=True).ravel()
    for ax, column in zip(grid, _PANELS, strict=True):
        for i, (_, rows) in enumerate(history.groupby("fold")):
            colour = COLOURS[i % len(COLOURS)]
            if f"val_{column}" in rows:
                ax.plot(rows["epoch"], rows[f"val_{column}"], color=colour, linewidth=1.5, marker="o", markersize=2.5)
                ax.plot(rows["epoch"], rows[column], color=colour, linewidth=0.9, linestyle=":")
            else:
                ax.plot(rows["epoch"], rows[column], color=colour, linewidth=1.5)
        ax.set_title(_PANELS[column], fontsize=10)
        ax.grid(color="0.92", linewidth=0.6)
        if column == "learning_rate":
            ax.set_yscale("log")
    for ax in grid[4:]:
        ax.set_xlabel("epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
    folds = ", ".join(str(fold) for fold in sorted(history["fold"].unique()))
    head = f"{title}: " if title else ""
    caption = f"{head}inner validation (solid) and training (dotted), a colour for each fold ({folds})"
    figure.suptitle(caption + (f"\n{IMAGE_LEVEL}" if image_level_split else ""), fontsize=11)
    return figure


def save_figure(figure: Figure | Axes, path: str | Path) -> None:
    """Write a figure (or the figure of some axes) as PNG at 150 dpi, whole or not at all."""
    whole = figure.get_figure(root=True) if isinstance(figure, Axes) else figure
    assert whole is not None
    with atomic_file(path) as part:
        whole.savefig(part, dpi=150, format="png")
