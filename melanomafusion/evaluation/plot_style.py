"""What all plots share: colours, line styles and markers, labels, and the stamp of image-level splits."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito 2008: told apart by the colour-blind.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
IMAGE_LEVEL = "image-level split: scores may be too high"
_LONGEST = 40
GREY = "0.45"  # for text and lines that step back; still readable on white


def new_axes(width: float, height: float) -> Axes:
    """Axes on a figure of their own, in inches; no window is opened."""
    return Figure(figsize=(width, height), layout="constrained").add_subplot()


def line_style(i: int) -> dict[str, Any]:
    """Colour and line style of the i-th line: 28 differ."""
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": LINES[i % len(LINES)], "linewidth": 1.6}


def as_label(text: str) -> str:
    """Any text as a label: dollar signs are no formula, and a leading underscore does not hide it from the legend."""
    text = str(text).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def short_name(name: str) -> str:
    """A member's name beside a plot: of a long one (a path) the end, so that it does not squeeze out the axes."""
    return f"…{name[1 - _LONGEST :]}" if len(name) > _LONGEST else name


def stamped(title: str, image_level_split: bool) -> str:
    """A title, with the warning where images of one patient lie on both sides of a split."""
    return "\n".join([*([title] if title else []), *([IMAGE_LEVEL] if image_level_split else [])])
