"""Extra records: every fold learns from them and none scores them (another year's data, pseudo-labels)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pandas as pd

from ..data.combine import ID_COLUMNS, concat
from ..data.dataset import Dataset
from ..data.groups import id_space
from ..errors import RunError, TableError

Extra = Dataset | Mapping[int, Dataset]
LABELLED_BY = "pseudo_labelled_by"


def extra_by_fold(dataset: Dataset, extra: Extra | None, folds: list[int]) -> dict[int, Dataset]:
    """Extra records by fold, checked: with targets, and nobody in them who stands in the data set.

    Args:
        dataset: records with folds.
        extra: records that all folds learn from, or those of each fold (`pseudo_label`).
        folds: all of the data set.

    Raises:
        RunError: a fold has no entry, records lack a target, share an image, patient or lesion with the data set, or
            carry pseudo-labels made over other folds.
        ImageError: images whose files cannot be read.
    """
    if not extra:
        return {}
    by_fold = dict.fromkeys(folds, extra) if isinstance(extra, Dataset) else dict(extra)
    strangers = [fold for fold in folds if not isinstance(by_fold.get(fold), Dataset)]
    if strangers:
        raise RunError(
            f"Extra records are a Dataset, or one for each fold; fold {strangers[0]} has none. Give "
            "fold → Dataset for every fold, or one Dataset for all."
        )
    chosen = {fold: by_fold[fold] for fold in folds if len(by_fold[fold])}
    for records in {id(records): records for records in chosen.values()}.values():
        _check(dataset, records)
    return chosen


def with_extra(fit: Dataset, extra: Dataset | None) -> Dataset:
    """The records to learn from, the extra ones behind them."""
    if extra is None:
        return fit
    return Dataset(pd.concat([fit.frame, extra.frame.drop(columns=["fold", "grouped_by"], errors="ignore")]))


def folds_hash(table: pd.DataFrame) -> str:
    """SHA-256 of which record (image_name) is in which fold, whatever their order."""
    frame = table.sort_values("image_name")
    return hashlib.sha256(frame[["image_name", "fold"]].to_csv(index=False).encode()).hexdigest()


def _check(dataset: Dataset, extra: Dataset) -> None:
    if not extra.has_target:
        raise RunError(
            f"{int(extra.frame['target'].isna().sum()):,} of {len(extra):,} extra records have no target. "
            "To learn from records without one, label them: pseudo_label(run, records)."
        )
    if LABELLED_BY in extra.frame and set(extra.frame[LABELLED_BY].dropna()) - {folds_hash(dataset.frame)}:
        raise RunError(
            "The pseudo-labels come from a run over other folds: its models have seen records that this run holds out. "
            "Take the folds of that run (read_folds), or label the records with a run over these folds."
        )
    try:
        concat([dataset, extra])
    except TableError as error:
        raise RunError(f"Extra records are images of the data set too, which some fold holds out. {error}") from None
    for column in ID_COLUMNS:
        shared = set(_ids(dataset, column)) & set(_ids(extra, column))
        if shared:
            raise RunError(
                f"{len(shared):,} values of {column} stand in the data set and in the extra records, e.g. "
                f"{sorted(shared)[0]!r}: a fold would learn from those it holds out. Leave them out "
                "of the extra records."
            )


def _ids(dataset: Dataset, column: str) -> pd.Series:
    frame = dataset.frame
    known = frame[column].notna()
    return (id_space(frame, column).astype(str) + "/" + frame[column].astype(str))[known]
