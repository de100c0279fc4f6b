"""The report of an audit: one HTML file that needs nothing else, audit.json and duplicates.csv."""

from __future__ import annotations

import base64
import math
from collections.abc import Hashable
from datetime import date
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from PIL import Image

from .. import __version__
from ..atomic import atomic_file, make_folder, write_json, write_text
from ..data.containers import read_image_bytes
from ..errors import ImageError
from ..images.decode import opened_image, upright_rgb
from ..notice import NOT_A_MEDICAL_DEVICE
from .audit import Audit
from .duplicates import HOWS

MAX_PAIRS = 40
MAX_ROWS = 25
_SIDE = 240
# What stands under each picture of a pair, and its word.
_UNDER = {
    "source": "source",
    "target": "target",
    "diagnosis": "diagnosis",
    "patient_id": "patient",
    "lesion_id": "lesion",
    "split": "split",
    "fold": "fold",
}
_DECIMALS = ("auc", "p", "prevalence", "share_positive_missing", "share_positive_present")
_APART = {"folds": "different folds", "splits": "different splits", "groups": "different groups"}


def write_report(audit: Audit, folder: str | Path, *, written: date | None = None) -> None:
    """Write audit.json, audit.html and duplicates.csv; each whole or not at all.

    The same audit and date give the same bytes.

    Args:
        audit: of `audit`.
        folder: made if it is not there.
        written: the date on the page; today without it.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    folder = make_folder(folder)
    page = report_html(audit, written or date.today())
    write_json(folder / "audit.json", audit.to_dict())
    with atomic_file(folder / "duplicates.csv") as part:
        audit.duplicates.to_csv(part, index=False, lineterminator="\n")
    write_text(folder / "audit.html", page)


def report_html(audit: Audit, written: date) -> str:
    """The page.

    Args:
        audit: of `audit`.
        written: the date on the page.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"cell": _cell, "words": _words}
    template = environment.from_string(files(__package__).joinpath("audit.html").read_text(encoding="utf-8"))
    pairs = worst_pairs(audit.duplicates)
    return template.render(
        audit=audit,
        about=audit.about,
        notice=NOT_A_MEDICAL_DEVICE,
        version=__version__,
        written=written.isoformat(),
        counts={how: int((audit.duplicates["how"] == how).sum()) for how in HOWS},
        pairs=[_shown(row, audit.paths) for row in pairs.to_dict("records")],
        max_rows=MAX_ROWS,
    )


def worst_pairs(duplicates: pd.DataFrame) -> pd.DataFrame:
    """At most 40 pairs: conflicting labels on two sides first, then other leaks, then conflicts, each by distance."""
    label = duplicates["conflicts"].str.contains("target|diagnosis", regex=True)
    order = pd.DataFrame(
        {
            "rank": 2 - 2 * (duplicates["leak"] & label).astype(int) - (duplicates["leak"] & ~label).astype(int),
            "conflict": duplicates["conflicts"] == "",
            "distance": duplicates["distance"].fillna(math.inf),
        }
    )
    return duplicates.loc[order.sort_values(["rank", "conflict", "distance"], kind="stable").index].head(MAX_PAIRS)


def _shown(row: dict[Hashable, Any], paths: dict[str, str]) -> dict[str, Any]:
    """One pair as the page shows it."""
    sides = []
    for number in (1, 2):
        name = row[f"image_name_{number}"]
        facts = [
            (word, _cell(row[f"{column}_{number}"]), row[f"{column}_1"] != row[f"{column}_2"])
            for column, word in _UNDER.items()
            if f"{column}_{number}" in row and not pd.isna(row[f"{column}_{number}"])
        ]
        sides.append({"name": name, "image": _picture(paths.get(name)), "facts": facts})
    how = HOWS[row["how"]]
    if row["same_bytes"] and row["how"] != "exact":
        how += ", byte-identical"
    elif not math.isnan(row["distance"]) and not row["same_bytes"]:
        how += f", {row['distance']:.0f} of 256 bits differ"
    if row["turned"]:
        how += ", mirrored or rotated"
    return {
        "sides": sides,
        "how": how[0].upper() + how[1:],
        "apart": _APART.get(row["apart"], ""),
        "conflicts": row["conflicts"],
    }


def _picture(path: str | None) -> str | None:
    """A small JPEG as a data URI; None where there is no image to show."""
    if path is None:
        return None
    try:
        with opened_image(read_image_bytes(path)) as opened:
            picture = upright_rgb(opened, path, at_least=(2 * _SIDE, 2 * _SIDE))
            picture.load()
            picture.thumbnail((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    except (ImageError, ValueError):
        return None
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _words(column: Any) -> str:
    """A column's name as a heading."""
    return {"auc": "AUC", "p": "p"}.get(str(column), str(column).replace("_", " ").capitalize())


def _cell(value: Any, column: str = "") -> str:
    """A value as the page shows it: a dash for missing, yes and no, few decimals."""
    if not isinstance(value, (list, dict)) and pd.isna(value):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if column not in _DECIMALS and value.is_integer():
            return f"{value:,.0f}"
        return f"{value:.1e}" if 0 < abs(value) < 0.001 else f"{value:,.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
