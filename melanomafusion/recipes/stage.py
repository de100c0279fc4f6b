"""`Stage`: one stage of training, and how it is read from plain values."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import RecipeError

Augmentation = Literal[
    "none", "light", "medium", "geometric", "geometric-brightness", "winner-2020", "rand-augment", "menezes"
]


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Attributes:
        trainable: "head" (the backbone frozen), "all", or "top" (the upper part of the backbone).
        epochs: at most this many.
        learning_rate: of everything but the backbone.
        backbone_learning_rate: of the backbone; the same where None.
        top_share: share of the backbone's layers that "top" trains, counted from the output.
        optimizer: "adam", "adamw", "rmsprop" or "sgd".
        weight_decay: for "adamw".
        schedule: "plateau" (cut the rate when the monitor stops improving), "cosine" (to zero at the end, after
            `warmup_epochs` of linear rise) or "constant".
        warmup_epochs: of "cosine"; may be a fraction.
        plateau_factor: the rate is multiplied by it.
        plateau_patience: epochs without improvement before that.
        early_stopping_patience: epochs without improvement before the stage ends; None to run all epochs.
        early_stopping_min_delta: a smaller gain is no improvement to early stopping.
        image_scale: side of the images that this stage learns from, as a share of the recipe's; 32 pixels at least.
            Steps cost its square, and what is learnt from smaller images often scores larger ones better (Touvron et
            al. 2019, arXiv 1906.06423). What is watched and scored has the recipe's size.
        augmentation: of this stage; the recipe's where None. With "head", "none" and no mixing the frozen backbone sees
            each image once, whatever the number of epochs.
    """

    trainable: Literal["head", "all", "top"] = "all"
    epochs: int = 10
    learning_rate: float = 1e-3
    backbone_learning_rate: float | None = None
    top_share: float = 0.3
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] = "adam"
    weight_decay: float = 0.0
    schedule: Literal["plateau", "cosine", "constant"] = "plateau"
    warmup_epochs: float = 0.0
    plateau_factor: float = 0.3
    plateau_patience: int = 2
    early_stopping_patience: int | None = 6
    early_stopping_min_delta: float = 0.0
    image_scale: float = 1.0
    augmentation: Augmentation | None = None


def shortened(stage: Stage, epochs: int) -> Stage:
    """The stage with at most so many epochs, the warm-up within their first half."""
    if epochs >= stage.epochs:
        return stage
    return dataclasses.replace(stage, epochs=epochs, warmup_epochs=min(stage.warmup_epochs, epochs / 2))


def to_stage(stage: Stage | dict[str, Any]) -> Stage:
    """A stage of plain values.

    Raises:
        RecipeError: not an object, or an unknown key.
    """
    if isinstance(stage, Stage):
        return stage
    if not isinstance(stage, dict):
        raise RecipeError(f"A stage is an object of its fields. Received: {stage!r}")
    refuse_unknown(Stage, stage, "stage")
    return Stage(**stage)


def refuse_unknown(kind: type, content: dict[str, Any], word: str) -> None:
    """Name each key that the data class does not have, with the nearest that it has.

    Raises:
        RecipeError: there is one.
    """
    known = [f.name for f in dataclasses.fields(kind)]
    problems = []
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            problems.append(f"  {key}" + (f" (did you mean {near[0]}?)" if near else ""))
    if problems:
        raise RecipeError(f"Unknown key of a {word}:\n" + "\n".join(problems) + f"\nKnown: {', '.join(known)}")
