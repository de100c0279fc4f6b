"""What a published system reported, and what of it was reproduced here: one row of the table of recipes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .recipe import Recipe


@dataclass(frozen=True)
class System:
    """A published system (or one of ours) and its recipes.

    Attributes:
        name: of its first recipe.
        task: what it predicts, on which data.
        reference: DOI, arXiv id, or what there is.
        reported: figures and their split, as published; "none" where none were.
        reproduced: figures, split, command and date; "not run" where not.
        recipes: the system as published first, then its variants.
        about: all of it in words: data, figures, commands, cost, deviations.
        plans: name of a mean of several recipes → their names.
    """

    name: str
    task: str
    reference: str
    reported: str
    reproduced: str
    recipes: tuple[Recipe, ...]
    about: str
    plans: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
