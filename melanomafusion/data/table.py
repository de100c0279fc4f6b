"""Read a CSV as it is found in the wild: BOM, CRLF, mixed case, other people's headers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from ..csv_rows import header_key, read_rows
from ..errors import TableError
from .schema import ALIASES, DIAGNOSIS_SYNONYMS, DIVISION, SITE_SYNONYMS, free_name

MISSING_WORDS = ("", "na", "n/a", "nan", "null", "none")
_IMAGE_SUFFIX = r"\.(?:jpe?g|png)$"


def read_text_table(path: str | Path) -> pd.DataFrame:
    """Read a CSV as text, one row per line, index = line number in the file (header = 1).

    Values are stripped; `MISSING_WORDS` become NaN; lines without any value are left out.

    Raises:
        TableError: the file is missing, empty, not text, or its rows differ in length.
    """
    path = Path(path)
    if not path.is_file():
        raise TableError(str(path), ["there is no such file"], "Check the path, or name the file yourself.")
    header, rows, lines = read_rows(path)
    text = pd.DataFrame(rows, index=lines, columns=pd.Index(header), dtype="str")
    text = text.mask(text.apply(lambda column: column.str.lower().isin(MISSING_WORDS)))
    return text.dropna(how="all")


def to_vocabulary(text: pd.DataFrame, *, where: str, columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Rename headers and spell values in the words of `schema.py`; nothing is judged yet.

    A column that bears a name of ours but means something of its own is kept as `<name>_in_file`: one that was not the
    one chosen in `columns`, and those that say how a data set was divided or combined (`DIVISION`).

    Args:
        text: from `read_text_table`.
        where: file name for messages.
        columns: our column name → the table's own header, where the aliases do not tell.

    Raises:
        TableError: a named column is not there, or two headers mean the same column.
    """
    own = dict(columns or {})
    headers = {header_key(name): name for name in text.columns}
    problems = [
        f"column {header!r} (given as {ours}) is not in the table" for ours, header in own.items() if header not in text
    ]
    problems += [
        f"{ours!r} is not a column of ours; known: {', '.join(ALIASES)}" for ours in own if ours not in ALIASES
    ]
    renames: dict[str, str] = {header: ours for ours, header in own.items()}
    for ours, aliases in ALIASES.items():
        if ours in own:
            continue
        found = [headers[alias] for alias in aliases if alias in headers and headers[alias] not in renames]
        if len(found) > 1:
            problems.append(f"columns {' and '.join(found)} both mean {ours}; keep one, or name it with columns=")
        elif found:
            renames[found[0]] = ours
    if problems:
        raise TableError(where, problems, f"The table has: {', '.join(map(str, text.columns))}.")
    aside = {name: free_name(name, text) for name in (*own, *DIVISION) if name in text and name not in renames}
    for name in ("benign_malignant", "source"):
        if name in headers and headers[name] not in renames:
            renames[headers[name]] = name
    # One header may stand for several of our columns.
    copies = {ours: text[header] for ours, header in own.items() if renames[header] != ours}
    return _spell(text.rename(columns={**aside, **renames}).assign(**copies))


def _spell(text: pd.DataFrame) -> pd.DataFrame:
    text = text.copy()
    if "image_name" in text:
        text["image_name"] = text["image_name"].str.replace(_IMAGE_SUFFIX, "", case=False, regex=True)
    for name in ("sex", "age_approx", "anatom_site_general_challenge"):
        if name in text:
            lower = text[name].str.lower()
            text[name] = lower.mask(lower == "unknown")
    if "sex" in text:
        text["sex"] = text["sex"].replace({"f": "female", "m": "male"})
    if "anatom_site_general_challenge" in text:
        text["anatom_site_general_challenge"] = text["anatom_site_general_challenge"].replace(SITE_SYNONYMS)
    if "diagnosis" in text:
        published = text["diagnosis"]
        text["diagnosis"] = published.str.lower().map(DIAGNOSIS_SYNONYMS).where(published.notna()).fillna(published)
        text["diagnosis_as_published"] = published
    return text
