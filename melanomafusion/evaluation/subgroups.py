"""AUC within subgroups: sex, age band, site, source, image size, and any column the user names."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from ..errors import PredictionsError
from ..predictions import Predictions
from .bootstrap import resampled_aucs
from .metrics import roc_auc

FEWEST = 10  # positives and negatives, below which an AUC says nothing
AGE_EDGES = (0, 30, 40, 50, 60, 70, 80)
DEFAULT = ("sex", "age_band", "anatom_site_general_challenge", "source", "image_size")
MISSING = "missing"


def join_columns(predictions: Predictions, table: pd.DataFrame | None) -> pd.DataFrame:
    """The predictions' own columns and those of a table, joined by image name, rows in the predictions' order.

    Raises:
        PredictionsError: the table has no image_name, names twice, or lacks records.
    """
    frame = predictions.frame
    if table is None:
        return frame
    if "image_name" not in table:
        raise PredictionsError("The data set's table has no column image_name to join by.")
    index = pd.Index(table["image_name"].astype(str))
    if not index.is_unique:
        raise PredictionsError(f"The data set has {index[index.duplicated()][0]} twice.")
    positions = index.get_indexer(pd.Index(frame["image_name"].astype(str)))
    absent = frame["image_name"][positions < 0]
    if len(absent):
        raise PredictionsError(
            f"{len(absent):,} of {len(frame):,} records of {predictions.name} are not in the data set, e.g. "
            f"{', '.join(map(str, absent[:5]))}. Subgroups need all of them."
        )
    more = table.iloc[positions].reset_index(drop=True)
    return pd.concat([frame, more[[column for column in more if column not in frame]]], axis=1)


def subgroup_columns(frame: pd.DataFrame, wanted: Sequence[str] | None) -> dict[str, pd.Series]:
    """The columns to group by, as text with "missing" for holes; column name → values.

    Args:
        frame: of `join_columns`.
        wanted: names; `age_band` and `image_size` are made of age_approx and of width and height. None: those of
            `DEFAULT` that can be had and that tell records apart.

    Raises:
        PredictionsError: a wanted column is not there, or has more than 50 values.
    """
    columns = {}
    for name in DEFAULT if wanted is None else wanted:
        values = _column(frame, name)
        if values is None:
            if wanted is not None:
                raise PredictionsError(
                    f"There is no column {name!r} for subgroups. There are: {', '.join(map(str, frame.columns))}."
                )
            continue
        count = len(values.unique())
        if count > 50:
            raise PredictionsError(f"Column {name!r} has {count:,} values; subgroups take at most 50.")
        if wanted is not None or count > 1:
            columns[name] = values
    return columns


def subgroup_table(
    predictions: Predictions, columns: dict[str, pd.Series], *, resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """AUC of each subgroup, with its patient-bootstrap interval.

    Args:
        predictions: oof or held_out.
        columns: of `subgroup_columns`.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        A row per subgroup: column, value, records, positives, auc, low, high, enough. Where there are fewer than 10
        positives or negatives `enough` is False, and auc, low and high are NaN: such a figure would say nothing.
        No correction for looking at many subgroups is made.
    """
    targets, scores = predictions.targets, predictions.scores
    codes, _ = predictions.clusters
    rows = []
    for column, values in columns.items():
        for value in _sorted_values(values):
            inside = (values == value).to_numpy()
            target, score = targets[inside], scores[inside]
            positives = int(target.sum())
            enough = min(positives, len(target) - positives) >= FEWEST
            row = {"column": column, "value": value, "records": len(target), "positives": positives}
            auc = low = high = np.nan
            if enough:
                auc = roc_auc(target, score)
                own = np.unique(codes[inside], return_inverse=True)[1]
                drawn = resampled_aucs(target, [score], own, resamples=resamples, seed=seed)[0]
                low, high = map(float, np.quantile(drawn, (0.025, 0.975)))
            rows.append({**row, "auc": auc, "low": low, "high": high, "enough": enough})
    return pd.DataFrame(rows, columns=["column", "value", "records", "positives", "auc", "low", "high", "enough"])


def _column(frame: pd.DataFrame, name: str) -> pd.Series | None:
    if name in frame:
        return _text(frame[name])
    if name == "age_band" and "age_approx" in frame:
        ages = pd.to_numeric(frame["age_approx"], errors="coerce")
        labels = [f"{low}–{high - 1}" for low, high in pairwise(AGE_EDGES)]
        labels[0] = f"under {AGE_EDGES[1]}"
        cut = pd.cut(ages, [*AGE_EDGES, np.inf], right=False, labels=[*labels, f"{AGE_EDGES[-1]} and over"])
        return _text(cut.astype(object))
    if name == "image_size" and {"width", "height"} <= set(frame):
        longest = frame[["width", "height"]].apply(pd.to_numeric, errors="coerce").max(axis=1)
        labels = ["up to 1024", "1025–2048", "2049–4096", "over 4096"]
        return _text(pd.cut(longest, [0, 1024, 2048, 4096, np.inf], labels=labels).astype(object))
    return None


def _text(values: pd.Series) -> pd.Series:
    return values.astype(object).where(values.notna(), MISSING).map(str)


def _sorted_values(values: pd.Series) -> list[str]:
    order = ["under 30", "up to 1024"]
    last = ["over 4096", MISSING]
    return sorted(values.unique(), key=lambda v: (v in last, v == MISSING, v not in order, v))
