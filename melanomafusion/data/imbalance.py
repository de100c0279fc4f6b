"""Rare positives: class weights as sample weights, oversampling, and what each costs."""

from __future__ import annotations

import typing
from typing import Literal

import numpy as np

from ..errors import RecipeError

Imbalance = Literal["class_weight", "oversample", "none"]


def class_weights(targets: np.ndarray) -> dict[int, float]:
    """Balanced weights n / (k · n_class), from training targets only.

    Args:
        targets: (n,) whole numbers 0 … k−1, each class present.

    Returns:
        Class → weight; weighted by class counts they have mean 1.

    Raises:
        RecipeError: fewer than two classes.
    """
    classes, counts = np.unique(np.asarray(targets), return_counts=True)
    if len(classes) < 2:
        raise RecipeError(f"Class weights need at least two classes. Received targets with classes {classes.tolist()}")
    return {int(c): float(len(targets) / (len(classes) * count)) for c, count in zip(classes, counts, strict=True)}


def sample_weights(targets: np.ndarray, imbalance: Imbalance) -> np.ndarray:
    """(n,) float32 weights of mean 1: balanced for "class_weight", all ones otherwise.

    The weight travels with the record rather than through `fit(class_weight=...)`, which Keras refuses for data that
    bring sample weights and which rounds soft labels.
    """
    targets = np.asarray(targets)
    if imbalance not in typing.get_args(Imbalance):
        known = ", ".join(typing.get_args(Imbalance))
        raise RecipeError(f"imbalance is one of {known}. Received: imbalance={imbalance!r}")
    if imbalance != "class_weight":
        return np.ones(len(targets), dtype="float32")
    weights = class_weights(targets)
    values = np.array([weights[int(target)] for target in targets])
    return np.asarray(values / values.mean(), dtype="float32")


def epoch_rows(targets: np.ndarray, imbalance: Imbalance, oversample_to: float) -> np.ndarray:
    """Row numbers of one epoch, before shuffling: each once, or positives repeated until they are a given share.

    Args:
        targets: (n,) of 0 and 1 (or classes; then class 0 is taken as the common one).
        imbalance: repeats only for "oversample".
        oversample_to: share of positives wanted in an epoch, in (0, 1).

    Returns:
        (m,) int64, m ≥ n; every record at least once.
    """
    if not 0 < oversample_to < 1:
        raise RecipeError(f"oversample_to must lie between 0 and 1. Received: oversample_to={oversample_to!r}")
    rows = np.arange(len(targets), dtype="int64")
    if imbalance != "oversample":
        return rows
    positive = rows[np.asarray(targets) > 0]
    negatives = len(rows) - len(positive)
    wanted = round(negatives * oversample_to / (1 - oversample_to))
    extra = max(0, wanted - len(positive))
    return np.concatenate([rows, np.resize(positive, extra)]) if len(positive) else rows


def imbalance_report(targets: np.ndarray, imbalance: Imbalance) -> str:
    """What the chosen treatment of rare positives does, and what it is known to cost."""
    targets = np.asarray(targets)
    share = float((targets > 0).mean())
    head = f"{len(targets):,} training records, {share:.2%} positive. "
    if imbalance == "class_weight":
        weights = class_weights(targets)
        shown = ", ".join(f"class {c}: {w:.2f}" for c, w in weights.items())
        return head + (
            f"Balanced class weights ({shown}). They always cost calibration (scores are no probabilities) and can "
            'cost AUC: one public SIIM-ISIC log fell from 0.878 to 0.722. Other ways: imbalance="oversample" (0.897 to '
            '0.910 in another log), or imbalance="none" with loss="focal".'
        )
    if imbalance == "oversample":
        return head + "Positives are repeated in each epoch; scores are no probabilities until calibrated."
    return head + "No weights and no oversampling."
