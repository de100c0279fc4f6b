"""The application, what its commands share, and how errors end."""

from __future__ import annotations

import os
import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ..errors import MelanomaFusionError, PredictionsWarning, RunError
from ..execution import stopping
from ..notice import NOT_A_MEDICAL_DEVICE
from ..tensorflow_log import import_tensorflow_quietly

if TYPE_CHECKING:
    from ..data.dataset import Dataset

app = typer.Typer(
    help=f"Learn from skin-lesion images together with patient metadata.\n\n{NOT_A_MEDICAL_DEVICE}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# Piped output is not folded at 80 columns.
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)


class Source(StrEnum):
    """Sources by name."""

    siim = "siim-isic-2020"
    isic_2019 = "isic-2019"
    ham10000 = "ham10000"
    isic_archive = "isic-archive"
    tfrecords = "tfrecords"
    folders = "folders"
    images = "images"
    csv = "csv"


class MissingImages(StrEnum):
    """What to do about rows without an image."""

    error = "error"
    drop = "drop"


class ExtraImages(StrEnum):
    """What to do about images without a row."""

    error = "error"
    ignore = "ignore"


class Overlaps(StrEnum):
    """What to do about images that stand in two data sets."""

    error = "error"
    first = "first"


_NO_TABLE = (Source.folders, Source.images, Source.tfrecords)  # read with their images in any case

PositiveOption = Annotated[
    str | None, typer.Option("--positive", help="Diagnoses that are target 1 (ham10000, folders): melanoma,BCC,AK.")
]
SourceOption = Annotated[Source, typer.Option("--source", help="How the folder is laid out.")]
ImagesOption = Annotated[Path | None, typer.Option("--images", help="Folder of images, where it has another name.")]
MissingOption = Annotated[MissingImages, typer.Option("--missing-images", help="Rows without an image.")]
ExtraOption = Annotated[ExtraImages, typer.Option("--extra-images", help="Images without a row.")]
TableOnly = Annotated[bool, typer.Option("--table-only", help="Leave the images alone.")]
AlsoOption = Annotated[
    list[str] | None,
    typer.Option("--also", metavar="SOURCE=DIR", help="A further data set, e.g. isic-2019=DIR; may be repeated."),
]
OverlapsOption = Annotated[
    Overlaps, typer.Option("--overlaps", help="Images in two data sets: refuse, or keep those of the first.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def load(
    source: Source,
    root: Path,
    split: str,
    images: Path | None,
    missing: MissingImages,
    extra: ExtraImages,
    table_only: bool,
    positive: str | None = None,
) -> Dataset:
    """Load a data set from its folder, from a folder of prepared images, or from a demo folder."""
    if (root / "prepared.json").is_file():
        from ..images.prepared import load_prepared

        if positive is not None:
            raise RunError(
                f"{root} is prepared and has its targets. --positive belongs to data prepare and raw folders."
            )
        return load_prepared(root)
    from ..data.sources.catalogue import load_source

    demo_data = root / "data"
    return load_source(
        source.value,
        demo_data if (demo_data / "best_possible.json").is_file() else root,
        split=split,
        image_folder=images,
        with_images=not table_only,
        missing_images=missing.value,
        extra_images=extra.value,
        positive=None if positive is None else positive.split(","),
    )


def load_all(
    source: Source,
    root: Path,
    split: str,
    images: Path | None,
    missing: MissingImages,
    extra: ExtraImages,
    table_only: bool,
    also: list[str] | None = None,
    overlaps: Overlaps = Overlaps.error,
    positive: str | None = None,
) -> Dataset:
    """Load a data set and those of `--also`, combined; sources without a table are read with their images."""
    from ..data.combine import concat

    first = load(source, root, split, images, missing, extra, table_only and source not in _NO_TABLE, positive)
    further = load_further(also, split, missing, extra, table_only, "--also")
    return concat([first, *further], on_overlap=overlaps.value) if further else first


def load_further(
    values: list[str] | None, split: str, missing: MissingImages, extra: ExtraImages, table_only: bool, option: str
) -> list[Dataset]:
    """Load each SOURCE=DIR of an option."""
    chosen = [_source_and_folder(value, option) for value in values or []]
    return [
        load(which, folder, split, None, missing, extra, table_only and which not in _NO_TABLE)
        for which, folder in chosen
    ]


def _source_and_folder(value: str, option: str) -> tuple[Source, Path]:
    name, _, folder = value.partition("=")
    if not folder or name not in list(Source):
        raise typer.BadParameter(f"{value!r}; expected SOURCE=DIR with one of {', '.join(Source)}", param_hint=option)
    return Source(name), Path(folder)


def fold_numbers(text: str | None) -> list[int] | None:
    """The folds of `--folds 0,1`."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"--folds takes numbers such as 0,1. Received: {text!r}") from None


def main() -> None:
    """Entry point: errors that a user can put right end in one message and exit code 1."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's notes on drivers are no part of an answer
    import_tensorflow_quietly()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", PredictionsWarning)
            warnings.showwarning = _show_warning
            app()
    except stopping.Stopped:
        message = "Stopped, as asked (SIGTERM). What was done is saved; run the same command again to go on."
        _fail(message, stopping.EXIT_STOPPED)
    except MelanomaFusionError as error:
        _fail(str(error), 1)
    except OSError as error:
        _fail(f"{error.filename or 'file'}: {error.strerror or error}", 1)
    except SystemExit as end:
        if end.code == 130:  # Ctrl-C, as typer tells it
            _fail("Stopped. What was finished is kept; the same command goes on.", 130)
        raise
    except KeyboardInterrupt:
        _fail("Stopped. What was finished is kept; the same command goes on.", 130)


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    if issubclass(category, PredictionsWarning):
        Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(f"Warning: {message}")


def _fail(message: str, code: int) -> None:
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(message)
    sys.exit(code)
