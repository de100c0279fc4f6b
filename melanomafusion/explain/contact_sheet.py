"""The contact sheet: the most confident errors of a run, each with its heat map, by the model that had not seen it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..data.dataset import Dataset
from ..errors import MelanomaFusionError, PredictionsError
from ..evaluation.plot_style import COLOURS, GREY, as_label, stamped
from ..evaluation.plots import save_figure
from ..evaluation.thresholds import choose_threshold
from ..notice import NOT_A_MEDICAL_DEVICE
from ..predictions import Predictions
from ..recipes.recipe import Recipe
from .explanation import Explainer, Trained, explained_in_words
from .gradcam import Method
from .panel import draw_overlay

_COLUMNS = 4


def most_confident_errors(oof: Predictions, count: int = 12) -> pd.DataFrame:
    """The records that the scores get wrong most clearly, false negatives first.

    An error is a record on the wrong side of the threshold with the highest sensitivity + specificity (Youden, chosen
    on these scores: it only says which records to look at). False negatives come with the lowest scores first, then
    false positives with the highest. Half of the places are for each; what one side leaves free goes to the other.

    Args:
        oof: out-of-fold predictions.
        count: at most this many.

    Returns:
        Rows of `oof.frame` with a column `error`: "missed" or "false alarm".

    Raises:
        PredictionsError: not out-of-fold, or a count below 1.
    """
    if oof.kind != "oof":
        raise PredictionsError(f"{oof.name} ({oof.kind}): a contact sheet needs out-of-fold predictions.")
    if not isinstance(count, int) or count < 1:
        raise PredictionsError(f"count is a whole number of at least 1. Received: count={count!r}")
    frame, threshold = oof.frame, choose_threshold(oof.targets, oof.scores)
    below = (frame["score"] < threshold).to_numpy()
    missed = frame[below & (oof.targets == 1)].sort_values("score", kind="stable")
    alarms = frame[~below & (oof.targets == 0)].sort_values("score", ascending=False, kind="stable")
    half = (count + 1) // 2
    n_missed = min(len(missed), max(half, count - len(alarms)))
    parts = [missed.head(n_missed).assign(error="missed"), alarms.head(count - n_missed).assign(error="false alarm")]
    errors: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return errors


def write_contact_sheet(
    oof: Predictions,
    dataset: Dataset,
    bundles: Mapping[int, Trained],
    out: str | Path,
    *,
    count: int = 12,
    method: Method = "gradcam",
    on_progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Draw the most confident errors of a run as one PNG: name, target, score and heat map of each.

    Args:
        oof: out-of-fold predictions of the run.
        dataset: its records, with images.
        bundles: fold → its trained model (a `Bundle`), with an image branch.
        out: PNG to write.
        count: at most this many errors.
        method: "gradcam" or "hirescam".
        on_progress: called with (done, all).

    Returns:
        Names of the images shown, in order; none, and no file, where there are no errors.

    Raises:
        MelanomaFusionError: a record without image, a fold without model, an unreadable image, or a file that cannot be
            written.
    """
    errors = most_confident_errors(oof, count)
    _check(errors, dataset, bundles)
    drawn: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    frame = dataset.frame
    places = {name: row for row, name in enumerate(dataset.image_names)}
    for fold in sorted(set(errors["fold"].astype(int))):
        bundle = bundles[fold]
        explainer = Explainer([bundle], method=method)
        assert bundle.spec is not None
        for name in errors.loc[errors["fold"] == fold, "image_name"]:
            row = places[name]
            image = bundle.spec.load(frame["path"].iloc[row])
            drawn[name] = (image, explainer.explain(image, frame, row=row, name=name).heatmap)
            if on_progress:
                on_progress(len(drawn), len(errors))
    if drawn:
        save_figure(_sheet(errors, drawn, next(iter(bundles.values())).recipe, oof.image_level_split), out)
    return list(errors["image_name"])


def _check(errors: pd.DataFrame, dataset: Dataset, bundles: Mapping[int, Trained]) -> None:
    paths = dict(zip(dataset.image_names, dataset.frame["path"], strict=True))
    problems = [f"{name}: not in the data set" for name in errors["image_name"] if name not in paths]
    problems += [f"{n}: no image" for n in errors["image_name"] if n in paths and pd.isna(paths[n])]
    problems += [f"fold {fold}: no model" for fold in sorted(set(errors["fold"]) - set(bundles))]
    problems += [f"fold {n}: its model takes no image" for n, b in bundles.items() if b.spec is None]
    if problems:
        raise MelanomaFusionError("No contact sheet can be made:\n" + "\n".join(f"  {line}" for line in problems))


def _sheet(
    errors: pd.DataFrame, drawn: Mapping[str, tuple[np.ndarray, np.ndarray]], recipe: Recipe, image_level_split: bool
) -> Figure:
    rows = -(-len(errors) // _COLUMNS)
    figure = Figure(figsize=(3 * _COLUMNS, 3.5 * rows + 1.0), layout="constrained")
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for ax in axes[len(errors) :]:
        ax.axis("off")
    for ax, row in zip(axes, errors.to_dict("records"), strict=False):
        image, heatmap = drawn[row["image_name"]]
        draw_overlay(ax, image, heatmap)
        ax.set(xticks=[], yticks=[])
        colour = COLOURS[1] if row["error"] == "missed" else COLOURS[0]
        for spine in ax.spines.values():
            spine.set(edgecolor=colour, linewidth=2.5)
        ax.set_title(f"{row['error']}: target {row['target']:.0f}, score {row['score']:.3f}", fontsize=10, color=colour)
        ax.set_xlabel(as_label(row["image_name"]), fontsize=9)
    missed = int((errors["error"] == "missed").sum())
    counts = f"{missed} missed, {len(errors) - missed} false alarms"
    title = f"{recipe.name}: most confident errors for {explained_in_words(recipe)}, {counts}"
    figure.suptitle(stamped(as_label(title), image_level_split), fontsize=13)
    figure.supxlabel(f"Scores are out of fold. {NOT_A_MEDICAL_DEVICE}", fontsize=8.5, color=GREY)
    return figure
