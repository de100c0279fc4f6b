"""All systems and their recipes by name."""

from __future__ import annotations

import difflib

from ..errors import RecipeError
from . import awan_2026, bamania, best, fusion, jagtap_2026, menezes, raksha, winner_2020
from .recipe import Recipe
from .system import System

SYSTEMS: tuple[System, ...] = (
    awan_2026.SYSTEM,
    bamania.SYSTEM,
    raksha.SYSTEM,
    jagtap_2026.SYSTEM,
    menezes.SYSTEM,
    winner_2020.SYSTEM,
    best.SYSTEM,
    fusion.SYSTEM,
)
_RECIPES: dict[str, Recipe] = {recipe.name: recipe for system in SYSTEMS for recipe in system.recipes}
PLANS: dict[str, tuple[str, ...]] = {name: members for system in SYSTEMS for name, members in system.plans.items()}
_SYSTEM_OF: dict[str, System] = {
    name: system for system in SYSTEMS for name in (*(recipe.name for recipe in system.recipes), *system.plans)
}


def list_recipes() -> list[str]:
    """Names that `get_recipe` takes."""
    return list(_RECIPES)


def get_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        RecipeError: there is none.
    """
    if name not in _RECIPES:
        wanted = str(name)
        begun = [known for known in _SYSTEM_OF if wanted and known.startswith(wanted)]
        near = begun or difflib.get_close_matches(wanted, _SYSTEM_OF, n=1)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        if wanted in PLANS:
            hint = f" It is a plan of {' and '.join(PLANS[wanted])}."
        raise RecipeError(f"No recipe {name!r}.{hint} Known: {', '.join(_RECIPES)}")
    return _RECIPES[name]


def get_system(name: str) -> System:
    """The published system, or ours, that a recipe belongs to: reference, what was reported, what was reproduced.

    Args:
        name: of a recipe or a plan.

    Raises:
        RecipeError: there is none.
    """
    if name not in _SYSTEM_OF:
        get_recipe(name)
    return _SYSTEM_OF[name]
