"""Plots of tables: a confusion matrix, subgroups, and what members of an ensemble share. Axes in, axes out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ..errors import PredictionsError
from .plot_style import COLOURS, GREY, as_label, new_axes, short_name, stamped

# A subgroup's column as people read it.
COLUMN_WORDS = {
    "age_band": "age (years)",
    "anatom_site_general_challenge": "anatomical site",
    "image_size": "longest side (pixels)",
}
TOO_FEW = "too few to say"
# Beside the axes of a forest plot, in points: its headings at the left; records, positives and AUCs at the right.
_BESIDE = ((-4, "right"), (52, "right"), (104, "right"), (114, "left"))


def plot_confusion_matrix(
    matrix: np.ndarray, *, title: str = "", image_level_split: bool = False, ax: Axes | None = None
) -> Axes:
    """Counts of a confusion matrix, each with its share of the row: specificity and sensitivity on the diagonal.

    Args:
        matrix: (2, 2) counts [[tn, fp], [fn, tp]], as `confusion_matrix` gives them.
        title: of the figure, e.g. the rule of the threshold.
        image_level_split: name it on the figure.
        ax: axes to draw on; new ones without it.

    Raises:
        PredictionsError: another shape, or counts below 0.
    """
    counts = np.asarray(matrix)
    if counts.shape != (2, 2) or not (counts >= 0).all():
        raise PredictionsError(f"A confusion matrix is (2, 2) counts [[tn, fp], [fn, tp]]. Received: {matrix!r}")
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros((2, 2)), where=total > 0)
    ax = ax or new_axes(4.8, 3.3)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=2, aspect="auto")  # pale enough for black figures
    for row in range(2):
        for column in range(2):
            share = f"{shares[row, column]:.1%}".replace("%", " %") if total[row, 0] else "no records"
            ax.text(column, row - 0.08, f"{counts[row, column]:,}", ha="center", va="center", fontsize=15)
            ax.text(column, row + 0.18, f"{share} of the row", ha="center", va="center", fontsize=9)
    ax.axhline(0.5, color="white", linewidth=2)
    ax.axvline(0.5, color="white", linewidth=2)
    ax.set_xticks([0, 1], ["called negative", "called positive"])
    ax.set_yticks([0, 1], [f"negative\n(n = {total[0, 0]:,})", f"positive\n(n = {total[1, 0]:,})"])
    ax.set_ylabel("truth")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_title(stamped(as_label(title), image_level_split), fontsize=10)
    return ax


def plot_subgroups(table: pd.DataFrame, auc: float, *, image_level_split: bool = False, ax: Axes | None = None) -> Axes:
    """A forest plot: AUC of each subgroup with its interval, beside records and positives.

    Args:
        table: of `subgroup_table`. Rows with too few records to say anything are shown in grey, without a figure.
        auc: of all records, the dashed line.
        image_level_split: name it on the figure.
        ax: axes to draw on; new ones, as tall as the table, without it.

    Raises:
        PredictionsError: no rows, or columns are missing.
    """
    _check_columns(table, "plot_subgroups", ("column", "value", "records", "positives", "auc", "low", "high", "enough"))
    groups = list(table.groupby("column", sort=False))
    ax = ax or new_axes(7.4, 1.2 + 0.23 * (len(table) + len(groups)))

    def write(column: int, y: float, text: str, **style: Any) -> None:
        at, side = _BESIDE[column]
        ax.annotate(
            text,
            (float(at > 0), y),
            (at, 0),
            xycoords=ax.get_yaxis_transform(),
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize=9,
            **style,
        )

    for column, text in enumerate(("records", "positive", "AUC (95 % interval)"), 1):
        write(column, 0, text, fontweight="bold")
    y = 0.3
    ticks: dict[float, str] = {}
    for name, rows in groups:
        y -= 1.3
        write(0, y, as_label(COLUMN_WORDS.get(str(name), str(name))), fontweight="bold")
        for row in rows.to_dict("records"):
            y -= 1
            ticks[y] = as_label(str(row["value"]))
            figures, style = TOO_FEW, {"color": GREY}
            if row["enough"]:
                figures, style = f"{row['auc']:.3f} ({row['low']:.3f} to {row['high']:.3f})", {}
                ax.plot([row["low"], row["high"]], [y, y], color=COLOURS[0], linewidth=1.5, solid_capstyle="butt")
                ax.plot(row["auc"], y, marker="s", color=COLOURS[0], markersize=5)
            for i, text in enumerate((f"{row['records']:,}", f"{row['positives']:,}", figures), 1):
                write(i, y, text, **style)
    ax.axvline(auc, color=COLOURS[1], linestyle="--", linewidth=1.1)
    ax.set_yticks(list(ticks), list(ticks.values()))
    ax.tick_params(axis="y", length=0, labelsize=9)
    known = table[table["enough"].astype(bool)]
    left = np.floor(20 * (min([auc, *known["low"]]) - 0.01)) / 20
    right = min(1.0, np.ceil(20 * (max([auc, *known["high"]]) + 0.01)) / 20)
    ax.set(xlim=(left, right), ylim=(y - 0.7, 0.6), xlabel="AUC")
    ax.grid(axis="x", color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.set_title(stamped(f"dashed line: all records, AUC {auc:.3f}", image_level_split), fontsize=10)
    return ax


def plot_member_correlation(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """A heat map of the rank correlations of members' scores, with the numbers; the mirrored half is left out.

    Args:
        frame: (k, k) Spearman correlations, the same members in rows and columns; NaN where there is none.
        ax: axes to draw on; new ones, as large as the table, without it.

    Raises:
        PredictionsError: not square, other members in columns than in rows, or values outside [-1, 1].
    """
    values = frame.to_numpy(dtype="float64")
    if not len(frame) or list(frame.index) != list(frame.columns):
        raise PredictionsError(
            "plot_member_correlation takes the same members in rows and columns. Received rows "
            f"{', '.join(map(str, frame.index))}; columns {', '.join(map(str, frame.columns))}"
        )
    if (np.abs(values) > 1 + 1e-9).any():
        raise PredictionsError(f"Correlations lie within [-1, 1]. Received: {values[np.abs(values) > 1 + 1e-9][0]:g}")
    count = len(values)
    ax = ax or new_axes(1.6 + 0.55 * max(count, 4), 1.2 + 0.5 * max(count, 4))
    shown = np.where(np.tri(count, dtype=bool), values, np.nan)
    low = float(np.nanmin(shown, initial=1.0))
    ax.imshow(shown, cmap="Blues", vmin=low - 0.1 * (1 - low) - 0.01, vmax=2 - low + 0.01)  # pale: figures are black
    for row in range(count):
        for column in range(row + 1):
            value = values[row, column]
            text = "–" if np.isnan(value) else f"{value:.2f}".replace("-", "−")
            ax.text(column, row, text, ha="center", va="center", fontsize=9)
    names = [as_label(short_name(str(name))) for name in frame.index]
    ax.set_xticks(range(count), names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(count), names)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_title("Spearman correlation of the scores", fontsize=10)
    return ax


def plot_member_curve(frame: pd.DataFrame, *, image_level_split: bool = False, ax: Axes | None = None) -> Axes:
    """AUC against the number of members, with its interval.

    Args:
        frame: columns members (how many), auc, low, high; a row per size of the ensemble.
        image_level_split: name it on the figure.
        ax: axes to draw on; new ones without it.

    Raises:
        PredictionsError: no rows, or columns are missing.
    """
    _check_columns(frame, "plot_member_curve", ("members", "auc", "low", "high"))
    rows = frame.sort_values("members")
    ax = ax or new_axes(5.6, 4.0)
    ax.fill_between(rows["members"], rows["low"], rows["high"], color=COLOURS[0], alpha=0.15, linewidth=0)
    for end in ("low", "high"):
        ax.plot(rows["members"], rows[end], color=COLOURS[0], linewidth=0.7, linestyle=":")
    ax.plot(rows["members"], rows["auc"], color=COLOURS[0], linewidth=1.6, marker="o", markersize=4.5)
    ax.set(xlabel="Number of members", ylabel="AUC (95 % interval)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.set_title(stamped("", image_level_split), fontsize=10)
    return ax


def _check_columns(table: pd.DataFrame, what: str, columns: tuple[str, ...]) -> None:
    absent = [column for column in columns if column not in table]
    if absent:
        raise PredictionsError(f"{what}: column {', '.join(absent)} is missing from the table.")
    if not len(table):
        raise PredictionsError(f"{what}: the table has no rows.")
