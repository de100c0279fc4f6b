"""Curves: axes in, axes out; legible in print and to the colour-blind. Image-level splits are named on the figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ..atomic import atomic_file
from ..errors import PredictionsError
from ..predictions import Predictions
from .checks import check_binary, check_probabilities
from .decisions import net_benefit
from .intervals import wilson_interval
from .metrics import average_precision, precision_recall_points, roc_auc, roc_points
from .plot_style import COLOURS, GREY, MARKERS, as_label, line_style, new_axes, short_name, stamped
from .probabilities import calibration_intercept, calibration_points, calibration_slope

_FINEST = 1000  # steps across the axes; finer ones are not seen, on paper either
_RARE = 0.1
_TICKS = (0, 0.1, 0.01, 1, 0.5, 0.2, 0.03, 0.001, 0.3, 0.7, 0.06, 0.003)  # where there is room, the first of these


def plot_roc(members: Mapping[str, Predictions], *, ax: Axes | None = None) -> Axes:
    """ROC curves with their AUC, exact however finely the curve is drawn.

    Args:
        members: name → oof or held_out predictions.
        ax: axes to draw on; new ones without it.

    Raises:
        PredictionsError: no member, or one of a single class.
    """
    _check(members, "plot_roc")
    curves = {name: roc_points(member.targets, member.scores) for name, member in members.items()}
    ax = ax or new_axes(5.2, 5.4)
    for i, (name, (false, hits, _)) in enumerate(curves.items()):
        auc = roc_auc(members[name].targets, members[name].scores)
        ax.plot(*_thinned(false, hits), label=as_label(f"{short_name(name)}: AUC {auc:.3f}"), **line_style(i))
    ax.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    ax.set(xlabel="False positive rate (1 − specificity)", ylabel="True positive rate (sensitivity)", aspect="equal")
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    ax.legend(loc="lower right", frameon=False)
    return _titled(ax, members)


def plot_precision_recall(members: Mapping[str, Predictions], *, ax: Axes | None = None) -> Axes:
    """Precision at each recall, in steps whose area is the average precision, and the prevalence: what chance reaches.

    Args:
        members: name → oof or held_out predictions.
        ax: axes to draw on; new ones without it.

    Raises:
        PredictionsError: no member, or one of a single class.
    """
    _check(members, "plot_precision_recall")
    curves = {name: precision_recall_points(member.targets, member.scores) for name, member in members.items()}
    ax = ax or new_axes(5.2, 5.4)
    for i, (name, (precision, recall, _)) in enumerate(curves.items()):
        rises = np.diff(recall, prepend=0.0) > 0  # the others have no width
        x = np.repeat(np.concatenate([[0.0], recall[rises]]), 2)[1:-1]
        label = f"{short_name(name)}: AP {average_precision(members[name].targets, members[name].scores):.3f}"
        ax.plot(*_thinned(x, np.repeat(precision[rises], 2)), label=as_label(label), **line_style(i))
    for prevalence in _prevalences(members):
        ax.axhline(prevalence, color=GREY, linewidth=0.9, linestyle=(0, (2, 2)), label=f"prevalence {prevalence:.3g}")
    ax.set(xlabel="Recall (sensitivity)", ylabel="Precision (positive predictive value)", aspect="equal")
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    ax.legend(loc="best", frameon=False)
    return _titled(ax, members)


def plot_calibration(members: Mapping[str, Predictions], *, bins: int = 10, ax: Axes | None = None) -> Axes:
    """Share of positives against mean score, in bins of as many records each, with Wilson intervals.

    The axes end where the bins do; above them is a histogram of the scores, counts on a log scale. Where positives are
    rarer than one in ten both axes have square-root scales, so that the many low scores do not lie on one spot.

    Args:
        members: name → oof or held_out predictions with scores within [0, 1].
        bins: how many at most; ties can make fewer.
        ax: axes to draw on; new ones without it.

    Raises:
        PredictionsError: no member, one of a single class, or scores outside [0, 1].
    """
    _check(members, "plot_calibration", probabilities=True)
    points = {name: calibration_points(member.targets, member.scores, bins) for name, member in members.items()}
    wilson = {
        name: np.array([wilson_interval(float(p * n), int(n)) for p, n in zip(share, count, strict=True)]).T
        for name, (_, share, count) in points.items()
    }
    reach = max(max(mean.max(), wilson[name][1].max()) for name, (mean, _, _) in points.items())
    limit = min(1.0, 1.06 * float(reach))
    ax = ax or new_axes(5.2, 5.9)
    _spread(ax, rare=min(_prevalences(members)) < _RARE, limit=limit)
    ax.plot([0, limit], [0, limit], color="0.6", linewidth=0.8, label="ideal")
    for i, (name, (mean, share, _)) in enumerate(points.items()):
        low, high = wilson[name]
        bars = np.maximum(0, [share - low, high - share])
        slope = calibration_slope(members[name].targets, members[name].scores)
        intercept = calibration_intercept(members[name].targets, members[name].scores)
        figures = f"slope {slope:.2f}, intercept {round(intercept, 2) + 0:.2f}".replace("-", "−").replace("nan", "none")
        ax.errorbar(
            mean, share, bars, **line_style(i), marker=MARKERS[i % len(MARKERS)], markersize=4.5, elinewidth=1,
            label=as_label(f"{short_name(name)}\n{figures}"), clip_on=False, zorder=3,
        )  # fmt: skip
    scale = ", square-root scale" if ax.get_xscale() == "function" else ""
    ax.set(xlabel=f"Mean score of the bin{scale}", ylabel=f"Share of positives (95 % interval){scale}", box_aspect=1)
    ax.legend(loc="best", frameon=False, fontsize=9)
    _histogram(ax, members, limit)
    return _titled(ax, members)


def plot_decision_curve(
    members: Mapping[str, Predictions], *, highest: float | None = None, ax: Axes | None = None
) -> Axes:
    """Net benefit of treating where the probability reaches a threshold, against that threshold.

    Only calibrated probabilities can be read so (Vickers and Elkin 2006, doi:10.1177/0272989X06295361).

    Args:
        members: name → oof or held_out predictions with scores within [0, 1].
        highest: the highest threshold, within (0, 1); without it ten times the prevalence, but 0.5 at most (twice the
            prevalence where that is more).
        ax: axes to draw on; new ones without it.

    Raises:
        PredictionsError: no member, one of a single class, scores outside [0, 1], or `highest` out of range.
    """
    _check(members, "plot_decision_curve", probabilities=True)
    prevalences = _prevalences(members)
    best = max(prevalences)
    top = min(0.95, max(2 * best, min(0.5, 10 * best))) if highest is None else highest
    if not 0 < top < 1:
        raise PredictionsError(f"highest lies between 0 and 1. Received: highest={highest!r}")
    thresholds = np.linspace(0, top, 121)[1:]
    ax = ax or new_axes(5.2, 5.9)
    for i, (name, member) in enumerate(members.items()):
        benefit = [net_benefit(member.targets, member.scores, float(threshold)) for threshold in thresholds]
        ax.plot(thresholds, benefit, label=as_label(short_name(name)), **line_style(i))
    for prevalence in prevalences:
        everyone = prevalence - (1 - prevalence) * thresholds / (1 - thresholds)
        ax.plot(thresholds, everyone, color="black", linewidth=1.3, linestyle=(0, (1, 1.5)), label="treat all")
    ax.axhline(0, color="black", linewidth=1, label="treat none")
    ax.set(xlabel="Threshold probability", ylabel="Net benefit per record")
    ax.set(xlim=(0, top), ylim=(-0.15 * best, 1.08 * best))
    ax.legend(loc="upper right", frameon=False)
    return _titled(ax, members)


def save_figure(figure: Figure | Axes, path: str | Path) -> None:
    """Write a figure (or the figure of some axes) as PNG at 150 dpi, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    whole = figure.get_figure(root=True) if isinstance(figure, Axes) else figure
    assert whole is not None
    with atomic_file(path) as part:
        whole.savefig(part, dpi=150, format="png")


def _check(members: Mapping[str, Predictions], what: str, *, probabilities: bool = False) -> None:
    if not members:
        raise PredictionsError(f"{what} needs at least one member.")
    for member in members.values():
        check_binary(member.targets, member.scores)
        if probabilities:
            check_probabilities(member.targets, member.scores)


def _prevalences(members: Mapping[str, Predictions]) -> list[float]:
    return sorted({float(member.targets.mean()) for member in members.values()})


def _titled(ax: Axes, members: Mapping[str, Predictions]) -> Axes:
    first = next(iter(members.values()))
    title = f"{len(first):,} records, {int(first.targets.sum()):,} positive"
    split = any(member.image_level_split for member in members.values())
    ax.set_title(stamped(title, split), fontsize=10)
    return ax


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A curve in [0, 1]² without points that nobody sees: those within a straight run, and, of very long curves, all
    but the ends of each stay within one cell of a fine grid."""
    dx, dy = np.diff(x), np.diff(y)
    bends = np.concatenate([[True], np.abs(dx[:-1] * dy[1:] - dx[1:] * dy[:-1]) > 1e-15, [True]])
    x, y = x[bends], y[bends]
    if len(x) > 4 * _FINEST:
        cell = np.floor(x * _FINEST) * (_FINEST + 1) + np.floor(y * _FINEST)
        moves = np.diff(cell) != 0
        ends = np.append(True, moves) | np.append(moves, True)
        x, y = x[ends], y[ends]
    return x, y


def _spread(ax: Axes, *, rare: bool, limit: float) -> None:
    if rare:
        ax.set_xscale("function", functions=(_root, np.square))
        ax.set_yscale("function", functions=(_root, np.square))
        shown: list[float] = []
        for tick in _TICKS:
            if tick <= limit and all(abs(np.sqrt(tick) - np.sqrt(t)) > 0.11 * np.sqrt(limit) for t in shown):
                shown.append(tick)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(FixedLocator(shown))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set(xlim=(0, limit), ylim=(0, limit))


def _root(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.maximum(values, 0)))


def _histogram(ax: Axes, members: Mapping[str, Predictions], limit: float) -> None:
    strip = ax.inset_axes((0, 1.01, 1, 0.11), sharex=ax)
    rare = ax.get_xscale() == "function"
    edges = np.linspace(0, np.sqrt(limit), 51) ** 2 if rare else np.linspace(0, limit, 51)
    for i, member in enumerate(members.values()):
        style = line_style(i)
        strip.stairs(np.histogram(member.scores, edges)[0], edges, color=COLOURS[i % len(COLOURS)],
                     linestyle=style["linestyle"], linewidth=1, baseline=None)  # fmt: skip
    strip.set_yscale("symlog", linthresh=1)
    strip.set_ylim(0)
    strip.set_ylabel("records\n(log)", fontsize=7, rotation=0, ha="right", va="center")
    strip.tick_params(labelbottom=False, bottom=False, left=False, labelleft=False, which="both")
    for side in ("top", "right", "left"):
        strip.spines[side].set_visible(False)
