"""An ensemble planned in one file: its members and their seeds, and when to stop."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..errors import RecipeError
from .catalogue import PLANS, get_recipe
from .recipe import Recipe

ENSEMBLE = "ensemble"  # folder of what members make together
_PLAN = ("stop_below", "combine", "members")
COMBINE = ("weights", "mean")
_MEMBER = ("recipe", "name", "seeds", "set")


@dataclass(frozen=True)
class EnsemblePlan:
    """Recipes to train one after another over the same folds.

    Attributes:
        recipes: the members; a recipe with several seeds is as many of them. Names tell them apart.
        stop_below: train no further member once the last one raised the AUC of the ensemble by less; None trains all.
        combine: "weights" found on the out-of-fold scores, or "mean", which needs no score to be fitted on: for few
            folds or members that are worth the same.
    """

    recipes: tuple[Recipe, ...]
    stop_below: float | None = None
    combine: Literal["weights", "mean"] = "weights"

    def __post_init__(self) -> None:
        names = [recipe.name for recipe in self.recipes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise RecipeError(f"Members of a plan need names of their own. Twice: {', '.join(twice)}")
        if not names:
            raise RecipeError("A plan needs at least one member.")
        outside = [name for name in names if not name or Path(name).name != name or name[0] == "." or name == ENSEMBLE]
        if outside:
            raise RecipeError(
                f"A member's name is that of its folder, beside {ENSEMBLE!r}. Received: {', '.join(map(repr, outside))}"
            )
        stop = self.stop_below
        if stop is not None and (not isinstance(stop, (int, float)) or isinstance(stop, bool) or not -1 <= stop <= 1):
            raise RecipeError(f"stop_below is a difference of AUC, e.g. 0.001. Received: {stop!r}")
        if self.combine not in COMBINE:
            raise RecipeError(f"combine is {' or '.join(map(repr, COMBINE))}. Received: {self.combine!r}")

    def replace(self, **changes: Any) -> EnsemblePlan:
        """The plan with these fields of every member changed, as `Recipe.replace` does.

        Raises:
            RecipeError: a member cannot be so.
        """
        return replace(self, recipes=tuple(recipe.replace(**changes) for recipe in self.recipes))

    @classmethod
    def read_toml(cls, path: str | Path) -> EnsemblePlan:
        """Read a plan.

        Args:
            path: a file such as

                stop_below = 0.001
                combine = "weights"

                [[members]]
                recipe = "fusion-b4"           # a name, or a JSON file beside the plan
                seeds = [0, 1]                 # trained once for each: fusion-b4-seed0, fusion-b4-seed1

                [[members]]
                name = "b5-512"
                recipe = "fusion-b5"
                set = {image_size = 512}

        Raises:
            RecipeError: it cannot be read or hold; all problems at once.
        """
        path = Path(path)
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise RecipeError(f"{path} cannot be read: {error.strerror}.") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RecipeError(f"{path} is not TOML: {error}") from None
        members = content.get("members")
        if not isinstance(members, list) or not all(isinstance(member, dict) for member in members):
            raise RecipeError(f"{path} has no [[members]].")
        problems = [f"unknown key {key}; known: {', '.join(_PLAN)}" for key in content if key not in _PLAN]
        recipes: list[Recipe] = []
        for number, member in enumerate(members, start=1):
            try:
                recipes += _recipes(member, path.parent)
            except RecipeError as error:
                problems.append(f"member {number}: {error}")
        if problems:
            raise RecipeError(f"{path}:\n" + "\n".join(f"  {problem}" for problem in problems))
        try:
            return cls(tuple(recipes), content.get("stop_below"), content.get("combine", "weights"))
        except RecipeError as error:
            raise RecipeError(f"{path}: {error}") from None


def get_plan(name: str) -> EnsemblePlan:
    """The plan of that name.

    Raises:
        RecipeError: there is none.
    """
    if name not in PLANS:
        raise RecipeError(f"No plan {name!r}. Known: {', '.join(PLANS)}")
    return EnsemblePlan(tuple(get_recipe(member) for member in PLANS[name]), combine="mean")


def _recipes(member: dict[str, Any], folder: Path) -> list[Recipe]:
    unknown = [key for key in member if key not in _MEMBER]
    if unknown or not isinstance(member.get("recipe"), str):
        said = f"unknown key {', '.join(unknown)}" if unknown else "no recipe"
        raise RecipeError(f"{said}; known: {', '.join(_MEMBER)}")
    changes = member.get("set", {})
    seeds = member.get("seeds", [])
    if not isinstance(changes, dict) or not isinstance(seeds, list) or ("seed" in changes and seeds):
        raise RecipeError("set is a table of fields, seeds a list of numbers, and set.seed does not go with seeds")
    recipe = read_recipe(member["recipe"], folder).replace(**changes)
    name = member.get("name", recipe.name)
    if not seeds:
        return [recipe.replace(name=name)]
    return [recipe.replace(name=f"{name}-seed{seed}", seed=seed) for seed in seeds]


def read_recipe(name: str, folder: Path = Path()) -> Recipe:
    """A recipe by its name, or from a JSON file.

    Args:
        name: of the catalogue, or a file.
        folder: that a file's name counts from.

    Raises:
        RecipeError: neither, or not a recipe.
    """
    path = folder / name
    if path.suffix != ".json" or not path.is_file():
        return get_recipe(name)
    try:
        return Recipe.from_json(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not a recipe in JSON: {error}") from None
