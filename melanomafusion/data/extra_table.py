"""Further columns for the records, from a table of their own, joined by name and verified."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from ..csv_rows import header_key
from ..errors import TableError
from .dataset import Dataset
from .schema import ALIASES
from .table import read_text_table

_SUFFIX = r"\.(?:jpe?g|png)$"


def join_table(dataset: Dataset, path: str | Path) -> Dataset:
    """Add the columns of a CSV to the records, e.g. the original image sizes.

    Args:
        dataset: records.
        path: CSV with image_name (or a name like it, such as image or isic_id) and further columns; rows of records
            that are not in the data set are passed over. A column of numbers becomes numbers, any other stays text.

    Raises:
        TableError: the file cannot be read; no column of names or several; names that stand twice; records without a
            row; columns that the data set has already; no further column.
    """
    text = read_text_table(path)
    where = str(path)
    headers = [name for name in text.columns if header_key(name) in ALIASES["image_name"]]
    if len(headers) != 1:
        found = " and ".join(headers) or "no column"
        raise TableError(where, [f"{found} for the image names"], f"The table has: {', '.join(text.columns)}.")
    names = text[headers[0]].str.replace(_SUFFIX, "", regex=True, flags=re.IGNORECASE)
    columns = text.drop(columns=headers[0])
    records = pd.Index(dataset.frame["image_name"])
    known = set(dataset.frame.columns)
    problems = [f"row {line}: the image name is empty" for line in names.index[names.isna()]]
    problems += [
        f"row {line}: {names[line]!r} stands twice" for line in names.index[names.notna() & names.duplicated()]
    ]
    problems += [f"column {name}: the data set has one of that name; rename it" for name in columns if name in known]
    without = records[~records.isin(names)]
    if len(without):
        shown = ", ".join(without[:5])
        problems.append(f"{len(without):,} of {len(records):,} records have no row, e.g. {shown}")
    if columns.empty:
        problems.append("there is no column beside the image names")
    if problems:
        raise TableError(where, problems, "Expected one row for each record.")
    rows = columns.set_axis(pd.Index(names), axis=0).loc[records]
    return dataset.with_columns(**{str(name): _typed(rows[name]).to_numpy() for name in rows})


def _typed(values: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce")
    return numbers.astype("float64") if (numbers.notna() == values.notna()).all() else values
