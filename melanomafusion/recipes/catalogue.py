"""All recipes by name."""

from __future__ import annotations

from ..errors import RecipeError
from . import fusion
from .recipe import Recipe

_RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in fusion.RECIPES}


def list_recipes() -> list[str]:
    """Names that `get_recipe` takes."""
    return list(_RECIPES)


def get_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        RecipeError: there is none.
    """
    if name not in _RECIPES:
        raise RecipeError(f"Known recipes: {', '.join(_RECIPES)}. Received: {name!r}")
    return _RECIPES[name]
