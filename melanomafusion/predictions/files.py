"""Read a table of scores from CSV or Parquet, whoever wrote it: every bad value is named by file, row and column."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from ..csv_rows import read_rows
from ..errors import PredictionsError, TableError

SHOWN = 5
TEXT_COLUMNS = (
    "image_name",
    "patient_id",
    "lesion_id",
    "cluster",
    "grouped_by",
    "diagnosis",
    "sex",
    "anatom_site_general_challenge",
    "source",
)
_NAME_ALIASES = ("image", "image_id", "isic_id")
_NAMES = ("image_name", *_NAME_ALIASES)
_MISSING = ("", "na", "n/a", "nan", "null", "none")


def read_table(
    path: str | Path, columns: Mapping[str, str] | None = None, *, text: Collection[str] = ()
) -> pd.DataFrame:
    """Read a table of scores.

    Args:
        path: `.parquet`, or CSV otherwise.
        columns: our column name → the file's own. `image`, `image_id` and `isic_id` are known as `image_name`.
        text: further columns that stay text.

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
    frame = _read_parquet(path) if path.suffix.lower() in (".parquet", ".pq") else _read_csv(path, text)
    wanted = dict(columns or {})
    absent = [f"{theirs!r} (given as {ours})" for ours, theirs in wanted.items() if theirs not in frame]
    if absent:
        raise PredictionsError(f"{path}: there is no column {', '.join(absent)}. It has: {_listed(frame)}.")
    taken = [ours for ours in wanted if ours in frame and ours not in wanted.values()]
    frame = frame.drop(columns=taken).rename(columns={theirs: ours for ours, theirs in wanted.items()})
    aliases = [alias for alias in _NAME_ALIASES if alias in frame]
    if "image_name" not in frame and len(aliases) == 1:
        frame = frame.rename(columns={aliases[0]: "image_name"})
    if "image_name" not in frame:
        raise PredictionsError(
            f"{path}: column image_name is missing; records are joined by it. The file has: {_listed(frame)}. "
            'Name the column that holds it: columns={"image_name": "..."}.'
        )
    return _with_text_names(frame, str(path))


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
    if pd.api.types.is_datetime64_any_dtype(values) or pd.api.types.is_timedelta64_dtype(values):
        raise PredictionsError(f"{where}: row {values.index[0]}, column {column}: {values.iloc[0]!s} is not a number.")
    if pd.api.types.is_numeric_dtype(values):
        result = values.astype("float64")
        bad = result.isna()
    else:
        text = values.astype(str).str.strip()
        empty = values.isna() | text.str.lower().isin(_MISSING)
        odd = text.str.contains("_", regex=False) & ~empty  # "1_000" is a number to Python only
        try:
            result = values.mask(empty | odd).astype("float64")
            bad = odd if odd.any() else empty
        except (ValueError, TypeError):
            result = pd.to_numeric(values.mask(empty | odd), errors="coerce")
            bad = result.isna() & ~empty
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


def _read_csv(path: Path, text: Collection[str]) -> pd.DataFrame:
    try:
        header, rows, lines = read_rows(path)
    except TableError as error:
        problems = "; ".join(error.problems[:SHOWN]) + (" …" if len(error.problems) > SHOWN else "")
        raise PredictionsError(f"{path}: not a table of scores ({problems}). {error.advice}".rstrip()) from None
    frame = pd.DataFrame(rows, index=pd.Index(lines), columns=pd.Index(header), dtype="str")
    for column in frame:
        known = frame[column].str.lower()
        # An image may be called "NA".
        frame[column] = frame[column].mask(known == "" if column in _NAMES else known.isin(_MISSING))
        if column not in TEXT_COLUMNS and column not in _NAMES and column not in text:
            try:
                # "1_000" is a number to Python only.
                frame[column] = frame[column].mask(known.str.contains("_", regex=False), "text").astype("float64")
            except (ValueError, TypeError):
                continue  # text; `numbers` names the rows where it should not be
    return frame


def _with_text_names(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """Names and ids as text: Parquet holds them in whatever type they were written."""
    for column in ("image_name", "patient_id", "lesion_id"):
        if column not in frame or pd.api.types.is_string_dtype(frame[column].dropna()):
            continue
        values = frame[column]
        whole = pd.api.types.is_integer_dtype(values)
        if not whole and pd.api.types.is_float_dtype(values):
            whole = bool((values.dropna() % 1 == 0).all())
            values = values.astype("Int64") if whole else values
        if not whole and values.notna().any():
            line = values.first_valid_index()
            shown: object = values[line]
            raise PredictionsError(f"{where}: row {line!s}, column {column}: {shown!r} is neither text nor a number.")
        frame = frame.assign(**{column: values.astype("str").where(values.notna())})
    return frame


def _listed(frame: pd.DataFrame) -> str:
    names = [str(name) for name in frame.columns]
    return ", ".join(names[:20]) + (", …" if len(names) > 20 else "")


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def score_from_classes(frame: pd.DataFrame) -> pd.DataFrame:
    """Scores per class alone: melanoma's is the score, and the target says whether the diagnosis is melanoma."""
    melanoma = [c for c in frame if str(c).lower() in ("score_melanoma", "score_mel")]
    if "score" in frame or len(melanoma) != 1:
        return frame
    frame = frame.assign(score=frame[melanoma[0]])
    if "target" not in frame and "diagnosis" in frame and frame["diagnosis"].notna().all():
        frame["target"] = frame["diagnosis"].str.lower().isin(("melanoma", "mel")).astype("float64")
    return frame
