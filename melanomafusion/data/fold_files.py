"""Folds as files: our own `folds.csv`, and the shards that 2020 competitors made their folds of."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..atomic import atomic_file
from ..errors import FoldError, TableError
from .dataset import Dataset
from .folds import check_folds
from .groups import group_keys


def write_folds(dataset: Dataset, path: str | Path) -> None:
    """Write `folds.csv`: image_name, patient_id, fold, grouped_by."""
    frame = dataset.frame
    if "fold" not in frame:
        raise FoldError("The data set has no folds. Call assign_folds first.")
    with atomic_file(path) as part:
        frame[["image_name", "patient_id", "fold", "grouped_by"]].to_csv(part, index=False, lineterminator="\n")


def read_folds(dataset: Dataset, path: str | Path) -> Dataset:
    """Give a data set the folds of a `folds.csv`, joined by name, checked both ways.

    Raises:
        FoldError: records without a fold, folds of other records, or folds that `check_folds` refuses.
        TableError: the file cannot be read.
    """
    path = Path(path)
    table = _read_table(path, ("image_name", "fold"), "write_folds makes it.")
    return _join_folds(dataset, table, path)


def read_competition_folds(
    dataset: Dataset, path: str | Path, n_folds: int = 5, *, on_dropped: str = "error"
) -> Dataset:
    """The folds that most 2020 competitors used: 15 shards without shared patients, shard modulo `n_folds`.

    Args:
        dataset: SIIM-ISIC 2020 training records.
        path: `image_sizes_and_tfrecord.csv` (image_name, width, height, tfrecord).
        n_folds: 3, 5 or 15.
        on_dropped: what to do about records that the shards leave out as duplicates (tfrecord −1): "error" or "drop".

    Returns:
        The data set with `fold`, `grouped_by`, `width` and `height`.

    Raises:
        FoldError: the records differ, a tfrecord is no whole number, or some records were left out of the shards and
            `on_dropped` is "error".
        TableError: the file cannot be read.
    """
    if n_folds not in (3, 5, 15):
        raise FoldError(f"15 shards give 3, 5 or 15 folds. Received: n_folds={n_folds!r}")
    if on_dropped not in ("error", "drop"):
        raise FoldError(f'on_dropped must be "error" or "drop". Received: on_dropped={on_dropped!r}')
    path = Path(path)
    table = _read_table(path, ("image_name", "tfrecord", "width", "height"), "It is image_sizes_and_tfrecord.csv.")
    table = table.assign(tfrecord=_whole_numbers(table, "tfrecord", path))
    inside = table["image_name"].isin(dataset.frame["image_name"])
    left_out = set(table.loc[inside & (table["tfrecord"] < 0), "image_name"])
    if left_out and on_dropped == "error":
        raise FoldError(
            f"{len(left_out):,} records are in no shard (duplicates, tfrecord −1), e.g. {min(left_out)}. "
            'on_dropped="drop" leaves them out.'
        )
    kept = dataset.select(~dataset.frame["image_name"].isin(left_out).to_numpy())
    table = table[inside & (table["tfrecord"] >= 0)]
    table = table.assign(fold=table["tfrecord"] % n_folds, grouped_by="patient").drop(columns="tfrecord")
    return _join_folds(kept, table, path)


def _read_table(path: Path, columns: tuple[str, ...], advice: str) -> pd.DataFrame:
    if not path.is_file():
        raise TableError(str(path), ["there is no such file"], advice)
    try:
        table = pd.read_csv(path, dtype={"image_name": str, "patient_id": str})
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise TableError(str(path), [f"not a table of folds: {str(error).strip()}"], advice) from None
    absent = [name for name in columns if name not in table]
    if absent:
        raise TableError(str(path), [f"column {name} is missing" for name in absent], f"Expected {', '.join(columns)}.")
    return table


def _whole_numbers(table: pd.DataFrame, column: str, path: Path) -> pd.Series:
    numbers = pd.to_numeric(table[column], errors="coerce")
    wrong = numbers.isna() | (numbers % 1 != 0)
    if wrong.any():
        cells = table.loc[wrong, ["image_name", column]].head().itertuples(index=False)
        shown = ", ".join(f"{name} {number!r}" for name, number in cells)
        raise FoldError(f"{path}: {column} must be a whole number. Found: {shown}")
    return numbers.astype("int64")


def _join_folds(dataset: Dataset, table: pd.DataFrame, path: Path) -> Dataset:
    names = dataset.frame["image_name"]
    without_fold = names[~names.isin(table["image_name"])]
    strangers = table.loc[~table["image_name"].isin(names), "image_name"]
    twice = table.loc[table["image_name"].duplicated(), "image_name"]
    for found, what in (
        (without_fold, "records of the data set have no fold in the file"),
        (strangers, "records of the file are not in the data set"),
        (twice, "records stand twice in the file"),
    ):
        if len(found):
            raise FoldError(f"{path}: {len(found):,} {what}, e.g. {', '.join(map(str, found[:5]))}.")
    table = table.assign(fold=_whole_numbers(table, "fold", path)).set_index("image_name").loc[names]
    stamps: list[str] = list(table["grouped_by"].dropna().unique()) if "grouped_by" in table else []
    grouped_by = stamps[0] if stamps else group_keys(dataset)[1]
    extra = {name: table[name].to_numpy() for name in ("width", "height") if name in table}
    result = dataset.with_columns(fold=table["fold"].to_numpy(), grouped_by=grouped_by, **extra)
    check_folds(result)
    return result
