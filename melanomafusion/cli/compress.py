"""`melanomafusion compress`: a smaller ONNX file, with the change in AUC measured before it is kept."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..errors import OutputError
from ..notice import NOT_A_MEDICAL_DEVICE
from .app import (
    ExtraImages,
    ExtraOption,
    ImagesOption,
    MissingImages,
    MissingOption,
    Source,
    SourceOption,
    app,
    console,
    load,
)


class KindOption(StrEnum):
    """How an ONNX file is made smaller."""

    fp16 = "fp16"
    int8_dynamic = "int8-dynamic"
    int8_static = "int8-static"


@app.command(epilog=NOT_A_MEDICAL_DEVICE)
def compress(
    model: Annotated[Path, typer.Argument(help="ONNX file of `export`.")],
    kind: Annotated[KindOption, typer.Option("--to", help="Half precision, or 8-bit convolutions.")],
    data: Annotated[Path, typer.Option(help="Records with targets, to measure the change in AUC on.")],
    out: Annotated[Path, typer.Option(help="ONNX file to write.")],
    source: SourceOption = Source.siim,
    images: ImagesOption = None,
    missing_images: MissingOption = MissingImages.error,
    extra_images: ExtraOption = ExtraImages.error,
) -> None:
    """Write a smaller copy of an ONNX file, and say what it costs: both are scored on the same records."""
    if out.is_dir():
        raise OutputError(f"{out} is a folder. Name an ONNX file.")
    from ..deploy.compression import compress_onnx
    from ..progress import progress_bar

    dataset = load(source, data, "train", images, missing_images, extra_images, False)
    with progress_bar(Console(stderr=True), "scoring", unit="images") as show:
        found = compress_onnx(model, out, kind.value, dataset, on_event=show)  # type: ignore[arg-type]
    console.print(
        f"Wrote {out}: {found['bytes'] / 1e6:.2f} MB instead of {found['bytes_float32'] / 1e6:.2f}. On "
        f"{found['records']:,} records AUC {found['auc']:.4f} instead of {found['auc_float32']:.4f} "
        f"({found['change']:+.4f}); no score moved by more than {found['largest_difference']:.3g}.",
        markup=False,
    )
