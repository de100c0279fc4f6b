"""`--sex --age --site` or `--csv`: the metadata of the images on a command line."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import MelanomaFusionError, MetadataError, TableError

if TYPE_CHECKING:
    import pandas as pd

SexOption = Annotated[str | None, typer.Option(help="female or male; missing without it.")]
AgeOption = Annotated[str | None, typer.Option(help="Years; missing without it.")]
SiteOption = Annotated[str | None, typer.Option(help="E.g. torso or head/neck; missing without it.")]
CsvOption = Annotated[Path | None, typer.Option(help="Table of the images' metadata, found by image name.")]

OPTIONS = {"sex": "--sex", "age_approx": "--age", "anatom_site_general_challenge": "--site"}


def given_fields(sex: str | None, age: str | None, site: str | None, csv: Path | None) -> dict[str, str]:
    """Column → text of the options that were given."""
    values = dict(zip(OPTIONS, (sex, age, site), strict=True))
    given = {column: value for column, value in values.items() if value is not None}
    if csv and given:
        raise typer.BadParameter("Give --csv, or --sex, --age and --site.")
    return given


def check_used(place: Path, recipe: str, used: Collection[str], given: dict[str, str], csv: Path | None) -> None:
    """Refuse metadata that the model does not look at.

    Args:
        place, recipe: the model, for messages.
        used: columns it looks at.
        given: of `given_fields`.
        csv: of the option.

    Raises:
        MelanomaFusionError: names the options.
    """
    unused = [OPTIONS[column] for column in given if column not in used] + (["--csv"] if csv and not used else [])
    if unused:
        known = [OPTIONS[column] for column in used if column in OPTIONS]
        raise MelanomaFusionError(
            f"{place}: the model {recipe!r} does not use {', '.join(unused)}; it uses the image"
            + (f" and {', '.join(known)}." if known else " alone.")
        )


def metadata_of(names: list[str], given: dict[str, str], csv: Path | None) -> tuple[pd.DataFrame, list[int]]:
    """A table of metadata, and the row of each image in it.

    Raises:
        TableError, MetadataError: every problem of the table or of the options.
    """
    if csv is not None:
        return _from_csv(csv, names)
    import pandas as pd

    from ..data.fields import read_fields

    try:
        fields = read_fields(given, names=OPTIONS)
    except MetadataError as error:
        raise TableError("metadata", str(error).splitlines()) from None
    return pd.DataFrame([{"image_name": "", **fields}]), [0] * len(names)


def _from_csv(csv: Path, names: list[str]) -> tuple[pd.DataFrame, list[int]]:
    """The whole table, because some features need the patient's other images, and the row of each image."""
    from ..data.sources.csv_table import load_csv

    frame = load_csv(csv, has_target=False).frame
    rows = {name: row for row, name in enumerate(frame["image_name"])}
    absent = [name for name in dict.fromkeys(names) if name not in rows]
    if absent:
        raise TableError(
            str(csv),
            [f"no row for image {name!r}" for name in absent],
            "Every image needs a row (image_name without its ending); leave cells empty that are not known.",
        )
    return frame, [rows[name] for name in names]
