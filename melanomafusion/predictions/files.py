"""Read a table of scores from CSV or Parquet, whoever wrote it: every bad value is named by file, row and column."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from ..errors import PredictionsError

SHOWN = 5
TEXT_COLUMNS = (
    "image_name",
    "patient_id",
    "lesion_id",
    "grouped_by",
    "diagnosis",
    "sex",
    "anatom_site_general_challenge",
    "source",
)
_NAME_ALIASES = ("image", "image_id", "isic_id")
_MISSING = ("", "na", "n/a", "nan", "null", "none")


def read_table(path: str | Path, columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Read a table of scores.

    Args:
        path: `.parquet`, or CSV otherwise.
        columns: our column name → the file's own. `image`, `image_id` and `isic_id` are known as `image_name`.

    Returns:
        The table; its index is the line of each row in the file (header = 1), or 1, 2, … in Parquet. Text of known
        columns stays text, so names of digits keep their zeros.

    Raises:
        PredictionsError: no such file, not a table, a header that stands twice, or a named column that is not there.
    """
    path = Path(path)
    if not path.exists():
        raise PredictionsError(f"There is no file {path}.")
    if path.is_dir():
        raise PredictionsError(f"{path} is a folder. Name a file of scores, such as {path / 'oof.csv'}.")
    frame = _read_parquet(path) if path.suffix.lower() in (".parquet", ".pq") else _read_csv(path)
    wanted = dict(columns or {})
    absent = [f"{theirs!r} (given as {ours})" for ours, theirs in wanted.items() if theirs not in frame]
    if absent:
        raise PredictionsError(f"{path}: there is no column {', '.join(absent)}. It has: {_listed(frame)}.")
    taken = [ours for ours, theirs in wanted.items() if ours in frame and ours != theirs]
    frame = frame.drop(columns=taken).rename(columns={theirs: ours for ours, theirs in wanted.items()})
    aliases = [alias for alias in _NAME_ALIASES if alias in frame]
    if "image_name" not in frame and len(aliases) == 1:
        frame = frame.rename(columns={aliases[0]: "image_name"})
    if "image_name" not in frame:
        raise PredictionsError(
            f"{path}: column image_name is missing; records are joined by it. The file has: {_listed(frame)}. "
            'Name the column that holds it: columns={"image_name": "..."}.'
        )
    return frame


def numbers(frame: pd.DataFrame, column: str, where: str, *, empty_is_missing: bool = False) -> pd.Series:
    """A column as float64.

    Args:
        frame: from `read_table`.
        column: its name.
        where: file, for messages.
        empty_is_missing: empty cells become NaN instead of an error.

    Raises:
        PredictionsError: a value is no number (or empty), named by row.
    """
    values = frame[column]
    if pd.api.types.is_numeric_dtype(values):
        result = values.astype("float64")
        bad = result.isna()
    else:
        empty = values.isna() | values.astype(str).str.strip().str.lower().isin(_MISSING)
        try:
            result = values.mask(empty).astype("float64")
            bad = empty
        except (ValueError, TypeError):
            parsed = pd.to_numeric(values.mask(empty), errors="coerce")
            bad, result = parsed.isna() & ~empty, parsed
    if bad.any() and not (empty_is_missing and result.isna().sum() == bad.sum() and _all_empty(values[bad])):
        shown = [
            f"row {line}, column {column}: {value!r} is not a number" for line, value in values[bad].head(SHOWN).items()
        ]
        more = f"\n  … and {int(bad.sum()) - SHOWN:,} more rows" if bad.sum() > SHOWN else ""
        raise PredictionsError("\n  ".join([f"{where}:", *shown]) + more)
    return result


def _all_empty(values: pd.Series) -> bool:
    return bool((values.isna() | values.astype(str).str.strip().str.lower().isin(_MISSING)).all())


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise PredictionsError(f"{path}: not a Parquet table of scores ({_first_line(error)}).") from None
    if frame.index.name == "image_name":
        frame = frame.reset_index()
    frame = frame.rename(columns=str)
    frame.index = pd.RangeIndex(1, len(frame) + 1)
    return frame


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = [name.strip() for name in next(csv.reader(file), [])]
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            raise PredictionsError(f"{path}: column {', '.join(map(repr, twice))} stands twice in the header.")
        frame: pd.DataFrame = pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skip_blank_lines=False, index_col=False
        )
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error, UnicodeError, ValueError, OSError) as error:
        raise PredictionsError(f"{path}: not a table of scores ({_first_line(error)}).") from None
    frame.columns = pd.Index(header)
    frame.index = pd.RangeIndex(2, len(frame) + 2)
    blank = frame.apply(lambda column: column.isna() | (column.str.strip() == "")).all(axis=1)
    frame = pd.DataFrame(frame[~blank])
    if frame.empty:
        raise PredictionsError(f"{path}: not a table of scores (it has no rows).")
    for column in frame:
        frame[column] = frame[column].mask(frame[column].str.strip().str.lower().isin(_MISSING))
    for column in frame.columns.difference([*TEXT_COLUMNS, *_NAME_ALIASES]):
        try:
            frame[column] = frame[column].astype("float64")
        except (ValueError, TypeError):
            continue  # text; `numbers` names the rows where it should not be
    return frame


def _listed(frame: pd.DataFrame) -> str:
    names = [str(name) for name in frame.columns]
    return ", ".join(names[:20]) + (", …" if len(names) > 20 else "")


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
