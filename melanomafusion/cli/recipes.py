"""`melanomafusion demo` and `recipes`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from .app import AsJson, app, console


@app.command()
def demo(out: Annotated[Path, typer.Option(help="Folder for data, runs and plots.")] = Path("demo")) -> None:
    """Run the whole job on built-in synthetic data: minutes on two cores."""
    from ..demo import run_demo

    run_demo(out, console=console)


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="One recipe or plan, as JSON.")] = None,
    about: Annotated[bool, typer.Option("--about", help="Its reference, figures, commands and deviations.")] = False,
    compare: Annotated[bool, typer.Option("--compare", help="What their backbones cost.")] = False,
    timing: Annotated[bool, typer.Option("--timing/--no-timing", help="With --compare: measure here.")] = True,
    as_json: AsJson = False,
) -> None:
    """List the systems and their recipes, show one, or compare the cost of their backbones."""
    from ..recipes.catalogue import PLANS, SYSTEMS, get_recipe, get_system

    if compare:
        from .compare import print_comparison

        named = PLANS.get(name, (name,)) if name else ()
        chosen = [get_recipe(one) for one in named] or [recipe for system in SYSTEMS for recipe in system.recipes]
        print_comparison(console, chosen, timing, as_json)
        return
    if name is not None:
        if about:
            typer.echo(get_system(name).about.strip())
        elif name in PLANS:
            typer.echo(json.dumps([get_recipe(member).to_dict() for member in PLANS[name]], indent=2))
        else:
            typer.echo(get_recipe(name).to_json(), nl=False)
        return
    if as_json:
        typer.echo(json.dumps([recipe.to_dict() for system in SYSTEMS for recipe in system.recipes], indent=2))
        return
    table = Table("recipe", "backbone", "size", "fusion", "classes", "epochs", "batch")
    for system in SYSTEMS:
        for recipe in system.recipes:
            image = (recipe.backbone, str(recipe.image_size)) if recipe.uses_images else ("–", "–")
            classes = str(len(recipe.classes) or 2)
            table.add_row(recipe.name, *image, recipe.fusion, classes, str(recipe.epochs), str(recipe.batch_size))
        table.add_section()
    console.print(table)
    for plan, members in PLANS.items():
        console.print(f"{plan} is a plan of {' and '.join(members)}.")
    figures = Table(Column("system", overflow="fold"), "task", "reported", "reproduced", "reference", show_lines=True)
    for system in SYSTEMS:
        figures.add_row(system.name, system.task, system.reported, system.reproduced, system.reference)
    console.print(figures)
    console.print("melanomafusion recipes NAME --about: data, figures, commands, cost and deviations.")
