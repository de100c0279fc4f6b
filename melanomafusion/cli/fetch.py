"""`melanomafusion data fetch`: the licence of a published data set and the official commands that download it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import console
from .data import data_app


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="siim-isic-2020, isic-2019, ham10000 or isic-archive.")],
    out: Annotated[Path, typer.Option(help="Folder to download into.")],
    run: Annotated[bool, typer.Option("--run", help="Run the commands instead of printing them alone.")] = False,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="I have read the licence and accept it.")
    ] = False,
) -> None:
    """Print licence, source, citation and the download commands of a data set; with --run, download it."""
    from ..data.fetch import fetch, read_download

    download = read_download(name, out)
    for label, value in (
        ("", download.title),
        ("Licence: ", download.licence),
        ("Source: ", download.source),
        ("Please cite: ", download.citation),
        ("Size: ", download.size),
        ("Note: ", download.note),
    ):
        if value:
            console.print(f"{label}{value}", markup=False)
    if run:
        way = fetch(
            name,
            out,
            accept_licence=accept_licence,
            on_command=lambda line: console.print(f"$ {line}", markup=False),
        )
        console.print(f"Downloaded to {out}. Next: melanomafusion data verify --source {way.load} --root {out}")
        return
    for way in download.ways:
        state = f"needs {', '.join(way.missing)}: {way.install}" if way.missing else "ready to run"
        console.print(f"\n# {way.name} ({state}); then --source {way.load}", markup=False)
        for line in way.lines():
            console.print(line, markup=False)
    console.print("\nNothing was downloaded. --run --accept-licence runs the first of these whose programs are there.")
