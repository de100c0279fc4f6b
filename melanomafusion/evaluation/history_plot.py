"""The course of training: a panel per metric, a line per fold."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from .plot_style import COLOURS, stamped

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
    figure.suptitle(stamped(caption, image_level_split), fontsize=11)
    return figure
