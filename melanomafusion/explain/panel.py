"""The panel of one explanation: image, heat map, overlay, and what the image and each field add to the score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evaluation.plot_style import COLOURS, GREY, as_label
from ..evaluation.plots import save_figure
from ..notice import NOT_A_MEDICAL_DEVICE
from .attribution import IMAGE
from .explanation import Explanation

# Even in lightness and the same to the colour-blind; none of its colours is a colour of skin.
COLOUR_MAP = "viridis"
_LEVEL = 0.5  # outlined: where the map reaches half of its highest value
_NAMES = {"gradcam": "Grad-CAM", "hirescam": "HiResCAM"}


def write_panel(explanation: Explanation, image: np.ndarray, path: str | Path) -> None:
    """Draw the panel and write it as PNG, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    save_figure(plot_explanation(explanation, image), path)


def plot_explanation(explanation: Explanation, image: np.ndarray) -> Figure:
    """Draw the panel.

    Args:
        explanation: of the image.
        image: (H, W, 3) uint8, of any size but the same field of view as the model's.
    """
    figure = Figure(figsize=(13, 4.5), layout="constrained")
    axes = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.1))
    for ax, title in zip(axes, ("Image", "Heat map", "Overlay"), strict=False):
        ax.set_title(title, fontsize=11)
        ax.set(xticks=[], yticks=[])
    axes[0].imshow(image)
    extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
    shown = axes[1].imshow(explanation.heatmap, cmap=COLOUR_MAP, vmin=0, vmax=1, extent=extent)
    # Inside the axes of the map, so that the three pictures keep one size.
    beside = axes[1].inset_axes((0, -0.09, 1, 0.05))
    bar = figure.colorbar(shown, cax=beside, orientation="horizontal", ticks=(0, 0.5, 1))
    bar.set_label("raises the score, relative to the highest place" + _against(explanation.signed_map), fontsize=8.5)
    draw_overlay(axes[2], image, explanation.heatmap)
    _draw_contributions(axes[3], explanation)
    name = as_label(explanation.name)
    folds = f", mean of {explanation.models} models" if explanation.models > 1 else ""
    figure.suptitle(f"{name}     score for {as_label(explanation.explained)}: {explanation.score:.3f}", fontsize=13)
    note = f"{as_label(explanation.recipe)}{folds} · {_NAMES[explanation.method]} · the score is no probability"
    figure.supxlabel(f"{note}\n{NOT_A_MEDICAL_DEVICE}", fontsize=8.5, color=GREY)
    return figure


def draw_overlay(ax: Axes, image: np.ndarray, heatmap: np.ndarray) -> None:
    """Draw the image, tinted the stronger the higher the heat map, with an outline at half of its highest value."""
    extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
    ax.imshow(image)
    if not heatmap.max() > 0:
        ax.text(0.5, 0.04, "nothing here raises the score", transform=ax.transAxes, ha="center", fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2})  # fmt: skip
        return
    ax.imshow(heatmap, cmap=COLOUR_MAP, vmin=0, vmax=1, alpha=0.6 * heatmap, extent=extent)
    x = (np.arange(heatmap.shape[1]) + 0.5) * image.shape[1] / heatmap.shape[1] - 0.5
    y = (np.arange(heatmap.shape[0]) + 0.5) * image.shape[0] / heatmap.shape[0] - 0.5
    ax.contour(x, y, heatmap, levels=[_LEVEL], colors="black", linewidths=2.4)
    ax.contour(x, y, heatmap, levels=[_LEVEL], colors="white", linewidths=1.1)


def _against(signed_map: np.ndarray) -> str:
    """A line where what lowers the score is stronger than what raises it, and the map shows the lesser part."""
    highest, lowest = float(signed_map.max()), float(signed_map.min())
    if not 0 < highest < -lowest:
        return ""
    return f"\n(places at 0 lower it, up to {-lowest / highest:.1f} times as strongly)"


def _draw_contributions(ax: Axes, explanation: Explanation) -> None:
    """Horizontal bars in log odds, the image first; fields that were not given stand there without a bar."""
    contributions = explanation.attribution.contributions
    words = {part: "not given" if word is None else as_label(word) for part, word in explanation.fields.items()}
    labels = [IMAGE, *(f"{part}: {word}" for part, word in words.items())]
    values = [contributions.get(part) for part in (IMAGE, *words)]
    heights = [0.0 if value is None else value for value in values]
    colours = [COLOURS[1] if height > 0 else COLOURS[0] for height in heights]
    places = range(len(labels))
    ax.barh(places, heights, color=colours, height=0.6)
    low, high = min(0.0, *heights), max(0.0, *heights)
    margin = 0.28 * max(high - low, 1e-6)  # room for the figures
    for place, value in zip(places, values, strict=True):
        if value is not None:
            side = "left" if value >= 0 else "right"
            at = value + np.copysign(0.08 * margin, value)
            ax.text(at, place, _signed(value), va="center", ha=side, fontsize=9)
    ax.axvline(0, color="0.3", linewidth=0.8)
    ax.set(xlim=(low - margin, high + margin), ylim=(len(labels) - 0.4, -0.6))
    ax.set_yticks(places, labels)
    for label, value in zip(ax.get_yticklabels(), values, strict=True):
        label.set_color(GREY if value is None else "black")
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.tick_params(left=False)
    attribution = explanation.attribution
    ax.set_title("What adds to the log odds", fontsize=11)
    start = "blank image" if not explanation.fields else "blank image, no metadata"
    ax.set_xlabel(
        f"Shapley values\n{_signed(attribution.baseline)}: {start}\n{_signed(attribution.output)}: this record",
        fontsize=9,
    )


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")
