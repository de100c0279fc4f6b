"""`Dataset`: records in one vocabulary. Frozen; every method gives a new one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..atomic import atomic_file
from ..errors import FoldError, TableError
from .schema import COLUMNS


class Dataset:
    """A table of records: one row per image, with its metadata.

    The columns of `schema.COLUMNS` are always there; further columns of the source stand behind them. `fold` and
    `grouped_by` are added by `assign_folds`. A data set cannot be changed: `frame` hands out a copy.

    Args:
        frame: table with at least the columns of `schema.COLUMNS`; `image_name` unique.

    Raises:
        TableError: columns are missing, an image name stands twice, or `fold` stands without `grouped_by`.
    """

    _frame: pd.DataFrame
    __slots__ = ("_frame",)

    def __init__(self, frame: pd.DataFrame) -> None:
        missing = [name for name in COLUMNS if name not in frame]
        if missing:
            raise TableError(
                "Dataset",
                [f"column {name} is missing" for name in missing],
                "Load the table with one of the load_ functions (load_csv takes your own column names).",
            )
        twice = frame.loc[frame["image_name"].duplicated(), "image_name"].unique()
        if len(twice):
            raise TableError("Dataset", [f"image_name {name!r} stands more than once" for name in twice])
        if "fold" in frame and "grouped_by" not in frame:
            raise TableError(
                "Dataset",
                ["column fold stands without grouped_by, which says what the folds keep together"],
                "Use assign_folds, or read_folds for folds of a file; or give the column another name.",
            )
        object.__setattr__(self, "_frame", frame.reset_index(drop=True).copy())

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"A Dataset is frozen; {name} cannot be set. Make a new one with with_columns().")

    def __reduce__(self) -> Any:
        return Dataset, (self._frame,)

    @property
    def frame(self) -> pd.DataFrame:
        """A copy of the table, rows in order, index 0 … n−1."""
        return self._frame.copy()

    def __len__(self) -> int:
        return len(self._frame)

    @property
    def name(self) -> str:
        """The sources of the records, joined by " + "."""
        return " + ".join(dict.fromkeys(self._frame["source"].dropna())) or "data set"

    @property
    def image_names(self) -> np.ndarray:
        """(n,) names, in row order."""
        return np.asarray(self._frame["image_name"], dtype=object)

    @property
    def has_target(self) -> bool:
        """Whether every record has a target."""
        return bool(len(self)) and not self._frame["target"].isna().any()

    @property
    def targets(self) -> np.ndarray:
        """(n,) int64 of 0 and 1.

        Raises:
            TableError: some records have no target (a test split).
        """
        without = int(self._frame["target"].isna().sum())
        if without:
            raise TableError(self.name, [f"{without:,} of {len(self):,} records have no target"], "Is it a test split?")
        return np.asarray(self._frame["target"], dtype="int64")

    def select(self, which: Sequence[bool] | Sequence[str] | np.ndarray | pd.Series) -> Dataset:
        """The records where a boolean mask is true, or those of the given image names in that order.

        Raises:
            TableError: a mask of another length, or names that are not there.
        """
        values = np.asarray(which)
        if values.dtype == bool:
            if values.shape != (len(self),):
                raise TableError("Dataset.select", [f"mask of {values.shape[0]:,} for {len(self):,} records"])
            return Dataset(self._frame[values])
        positions = pd.Index(self._frame["image_name"]).get_indexer(pd.Index(values.astype(str)))
        unknown = values[positions < 0]
        if len(unknown):
            raise TableError("Dataset.select", [f"image_name {str(name)!r} is not in the data set" for name in unknown])
        return Dataset(self._frame.iloc[positions])

    def concat(self, *others: Dataset) -> Dataset:
        """All records one after another, as `melanomafusion.concat` with `on_overlap="error"`.

        Folds are dropped (`fold` and `grouped_by` belong to one data set); assign them anew.

        Raises:
            TableError: an image stands in two of the data sets, by name or by content.
        """
        from .combine import concat

        return concat([self, *others])

    def with_columns(self, **columns: Any) -> Dataset:
        """The same records with columns added or replaced."""
        return Dataset(self._frame.assign(**columns))

    def held_out(self, fold: int) -> tuple[Dataset, Dataset]:
        """Split by fold: (training records, held-out records of `fold`).

        Raises:
            FoldError: no folds were assigned, or there is no such fold.
        """
        if "fold" not in self._frame:
            raise FoldError("The data set has no folds. Call assign_folds or read_folds first.")
        inside = self._frame["fold"].to_numpy() == fold
        if not inside.any():
            known = ", ".join(map(str, sorted(self._frame["fold"].unique())))
            raise FoldError(f"There is no fold {fold}; the data set has folds {known}.")
        return self.select(~inside), self.select(inside)

    def describe(self) -> pd.DataFrame:
        """One row per column: records present, missing, distinct values, and the most frequent of them."""
        rows = []
        for name in self._frame.columns:
            values = self._frame[name].dropna()
            top = values.value_counts().head(3)
            rows.append(
                {
                    "column": name,
                    "present": len(values),
                    "missing": len(self) - len(values),
                    "distinct": int(values.nunique()),
                    "most_frequent": ", ".join(f"{value} ({count:,})" for value, count in top.items()),
                }
            )
        return pd.DataFrame(rows).set_index("column")

    def __repr__(self) -> str:
        frame = self._frame
        parts = [f"{len(self):,} records"]
        for column, word in (("patient_id", "patients"), ("lesion_id", "lesions")):
            if frame[column].notna().any():
                parts.append(f"{frame[column].nunique():,} {word}")
        if frame["target"].notna().any():
            positives = int((frame["target"] == 1).sum())
            word = "melanomas" if self._positives_are_melanomas() else "positives"
            parts.append(f"{positives:,} {word} ({positives / len(self):.2%})")
        gaps = {name: int(frame[name].isna().sum()) for name in COLUMNS[1:-1]}
        absent = [name for name, count in gaps.items() if count == len(self) and count]
        some = [f"{name} {count:,}" for name, count in gaps.items() if 0 < count < len(self)]
        lines = [f"Dataset {self.name}: " + ", ".join(parts)]
        lines.append("  missing values: " + (" · ".join(some) or "none"))
        if absent:
            lines.append("  columns without any value: " + " · ".join(absent))
        if "fold" in frame:
            lines.append(f"  folds: {frame['fold'].nunique()}, grouped by {frame['grouped_by'].iloc[0]}")
        return "\n".join(lines)

    def _positives_are_melanomas(self) -> bool:
        diagnosis = self._frame.loc[(self._frame["target"] == 1).fillna(False), "diagnosis"].dropna()
        return bool((diagnosis == "melanoma").all())

    def write_parquet(self, path: str | Path) -> None:
        """Write the table as Parquet, whole or not at all."""
        import pyarrow as pa

        with atomic_file(path) as part:
            try:
                self._frame.to_parquet(part, index=False)
            except (pa.ArrowException, ValueError) as error:
                reason = "; ".join(map(str, error.args))
                raise TableError(
                    self.name, [f"cannot be written as Parquet: {reason}"], "A column holds values of one type."
                ) from None

    @classmethod
    def read_parquet(cls, path: str | Path) -> Dataset:
        """Read what `write_parquet` wrote."""
        return cls(pd.read_parquet(path))
