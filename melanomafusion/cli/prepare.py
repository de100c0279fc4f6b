"""`melanomafusion data prepare`: shrink the images once."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich import filesize
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from ..errors import SHOWN_PROBLEMS
from ..progress import progress_bar
from .app import (
    AlsoOption,
    AsJson,
    ExtraImages,
    ExtraOption,
    ImagesOption,
    MissingImages,
    MissingOption,
    Overlaps,
    OverlapsOption,
    Source,
    SourceOption,
    console,
    load_all,
)
from .data import data_app


class ModeOption(StrEnum):
    """How a picture that is not square becomes one, or not."""

    resize = "resize"
    centre_crop = "centre-crop"
    longest_side = "longest-side"


@data_app.command("prepare")
def data_prepare(
    root: Annotated[Path, typer.Option(help="Folder of the data set, or its CSV.")],
    out: Annotated[Path, typer.Option(help="Folder for the shards.")],
    source: SourceOption = Source.siim,
    split: str = "train",
    images: ImagesOption = None,
    missing_images: MissingOption = MissingImages.error,
    extra_images: ExtraOption = ExtraImages.error,
    also: AlsoOption = None,
    overlaps: OverlapsOption = Overlaps.error,
    image_size: Annotated[int, typer.Option(help="Side in pixels.")] = 512,
    mode: Annotated[ModeOption, typer.Option(help="Squeeze, cut a square, or keep the shape.")] = ModeOption.resize,
    crop_border: Annotated[bool, typer.Option("--crop-border", help="Cut off black borders.")] = False,
    colour_constancy: Annotated[bool, typer.Option("--colour-constancy", help="Take out the light's colour.")] = False,
    quality: Annotated[int, typer.Option(help="Of the JPEG files.", min=1, max=100)] = 95,
    lossless: Annotated[bool, typer.Option("--lossless", help="PNG instead of JPEG.")] = False,
    shard_size: Annotated[int, typer.Option(help="Records per shard.", min=1)] = 256,
    workers: Annotated[int | None, typer.Option(help="Processes; one per core without it.", min=1)] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Throw away what lies in the folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Shrink the images into Parquet shards, on all cores; goes on where it stopped. Bad files are listed."""
    from ..images.prepare import prepare

    dataset = load_all(source, root, split, images, missing_images, extra_images, False, also, overlaps)
    screen = Console(stderr=True, highlight=False, soft_wrap=True) if as_json else console
    with progress_bar(screen, "preparing", unit="images") as on_event:
        prepared = prepare(
            dataset,
            out,
            image_size=image_size,
            mode=mode.value,
            crop_border=crop_border,
            colour_constancy=colour_constancy,
            quality=None if lossless else quality,
            shard_size=shard_size,
            workers=workers,
            restart=restart,
            on_event=on_event,
        )
    if as_json:
        summary = {"records": prepared.records, "shards": len(prepared.shards), "bytes": prepared.bytes}
        typer.echo(json.dumps({**summary, "refused": prepared.refused}, indent=2))
        return
    if prepared.refused:
        table = Table(Column("refused image", no_wrap=True), Column("why", overflow="fold"))
        for entry in prepared.refused[:SHOWN_PROBLEMS]:
            table.add_row(escape(entry["image_name"]), escape(entry["reason"]))
        console.print(table)
        more = len(prepared.refused) - SHOWN_PROBLEMS
        console.print(
            f"{len(prepared.refused):,} of {len(dataset):,} images cannot be used and are in no shard"
            + (f" ({more:,} more than shown; all in {out / 'prepared.json'})." if more > 0 else "."),
            markup=False,
        )
    if not prepared.records:
        raise typer.Exit(1)
    size = filesize.decimal(prepared.bytes)
    console.print(f"{prepared.records:,} images in {len(prepared.shards):,} shards, {size}: {out}", markup=False)
    console.print(f"Train on them: melanomafusion train RECIPE --data {out} --out RUN", markup=False)
