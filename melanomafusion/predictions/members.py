"""Members from one table: a column per member (wide), or a column that names the member (long)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from ..errors import PredictionsError
from .files import SHOWN, numbers, read_table
from .predictions import Kind, Predictions, from_table

# What a wide table tells about records rather than about members; the rest is left behind.
RECORD_COLUMNS = (
    "image_name",
    "patient_id",
    "lesion_id",
    "cluster",
    "target",
    "diagnosis",
    "grouped_by",
    "sex",
    "age_approx",
    "anatom_site_general_challenge",
    "source",
)


def read_members(
    path: str | Path,
    scores: Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
    *,
    fold: str | Mapping[str, str] | None = None,
    member: str | None = None,
    kind: Kind | None = None,
    columns: Mapping[str, str] | None = None,
) -> dict[str, Predictions]:
    """Read several members from one CSV or Parquet file.

    Args:
        path: the table.
        scores: of a wide table, the columns that hold scores, or member name → column. Several columns for one member
            (its folds' scores of test records) are averaged. An empty cell means that the member lacks the record.
        fold: of a wide table, the column that holds the fold, or member name → column; "fold" where there is one.
        member: of a long table, the column that names the member; "member" where there is one.
        kind: as for `Predictions.read_csv`.
        columns: our column name → the file's own.

    Returns:
        Member name → predictions.

    Raises:
        PredictionsError: columns that are not there, values that are no numbers (named by row), or predictions that
            `Predictions.read_csv` would refuse.
    """
    frame = read_table(path, columns, text=("member", *([member] if member else [])))
    if scores is not None:
        if member is not None:
            raise PredictionsError("scores= picks columns of a wide table, member= the column of a long one. Give one.")
        return _wide(frame, scores, fold, kind, str(path))
    member = member or ("member" if "member" in frame else None)
    if member is None:
        raise PredictionsError(
            f"{path}: say which columns hold the members' scores (scores=[...]) or which one names the member "
            f"(member=...). It has: {', '.join(map(str, frame.columns))}."
        )
    if member not in frame:
        raise PredictionsError(f"{path}: there is no column {member!r}. It has: {', '.join(map(str, frame.columns))}.")
    unnamed = frame.index[frame[member].isna()]
    if len(unnamed):
        raise PredictionsError(f"{path}: column {member} is empty in row {', '.join(map(str, unnamed[:SHOWN]))}.")
    parts = frame.groupby(frame[member].astype(str), sort=False)
    return {str(name): from_table(rows.drop(columns=member), kind, f"{path}, member {name}") for name, rows in parts}


def _wide(
    frame: pd.DataFrame,
    scores: Sequence[str] | Mapping[str, str | Sequence[str]],
    fold: str | Mapping[str, str] | None,
    kind: Kind | None,
    path: str,
) -> dict[str, Predictions]:
    if isinstance(scores, str) or not scores:
        raise PredictionsError(f"scores is a list of columns, or member name → column. Received: scores={scores!r}")
    if isinstance(scores, Mapping) and not all(_is_column(columns) for columns in scores.values()):
        raise PredictionsError(f"Each member has a score column, or several. Received: scores={dict(scores)!r}")
    mapping = dict(scores) if isinstance(scores, Mapping) else {column: column for column in scores}
    chosen = {name: [c] if isinstance(c, str) else list(c) for name, c in mapping.items()}
    if fold is None and "fold" in frame:
        fold = "fold"
    fold_of = dict(fold) if isinstance(fold, Mapping) else ({name: fold for name in chosen} if fold else {})
    picked = [column for names in chosen.values() for column in names]
    unknown = [c for c in [*picked, *fold_of.values()] if c not in frame]
    unknown += [name for name in fold_of if name not in chosen]
    if unknown:
        raise PredictionsError(
            f"{path}: there is no column or member {', '.join(map(repr, dict.fromkeys(unknown)))}. "
            f"It has: {', '.join(map(str, frame.columns))}."
        )
    about_records = [c for c in RECORD_COLUMNS if c in frame and c not in picked]
    members = {}
    for name, names in chosen.items():
        values = pd.DataFrame({c: numbers(frame, c, path, empty_is_missing=True) for c in names})
        some = values.notna().any(axis=1) & values.isna().any(axis=1)
        if some.any():
            raise PredictionsError(
                f"{path}: row {some.index[some][0]} has some but not all of the scores {', '.join(names)} of {name} "
                f"({int(some.sum()):,} such rows)."
            )
        table = frame[about_records].assign(score=values.mean(axis=1))
        if name in fold_of:
            table["fold"] = frame[fold_of[name]]
        members[name] = from_table(table[values.notna().all(axis=1)], kind, f"{path}, column {'+'.join(names)}")
    return members


def _is_column(columns: object) -> bool:
    several = isinstance(columns, (list, tuple)) and len(columns) > 0 and all(isinstance(c, str) for c in columns)
    return several or isinstance(columns, str)
