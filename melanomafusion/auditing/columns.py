"""Columns that give the label away, by what they are or by the AUC that each reaches alone, out of fold."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..data.dataset import Dataset
from ..data.groups import LINK, id_space
from ..data.metadata_features import FEATURES
from ..errors import MetadataError
from .finding import Finding, counted
from .hashes import ImageHashes
from .single_column import N_FOLDS, grouped_folds, out_of_fold_auc

FLAG_AUC = 0.70
_IDENTIFIERS = (
    "image_name",
    "path",
    "patient_id",
    "lesion_id",
    "patient_id_space",
    "lesion_id_space",
    LINK,
    "target",
    "source",
    "split",
    "fold",
    "grouped_by",
)
_HONEST = ("sex", "age_approx", "anatom_site_general_challenge")
# What a column is, by its name in the published tables, and why it must not be learnt from.
_LEAKY = (
    (r"diagnosis.*|dx|iddx.*|benign_malignant|melanocytic|mel_.*|nevus_type|class_folder", "says what the lesion is"),
    (
        r"dx_type|diagnosis_confirm_type|concomitant_biopsy",
        "says how the diagnosis was made: what looks bad is excised",
    ),
    (r"width|height|pixels.*|.*file_?size.*|file_bytes|size_bytes", "says which camera or clinic the image is from"),
    (r"images_per_patient|images_per_lesion|rank_in_patient", "says how the images were collected"),
    (r"attribution|copyright_license|image_type|image_manipulation", "says who collected the images"),
)


def leaky_by_name(column: str) -> str:
    """Why a column is known to give the label away; empty where it is not known to."""
    # dx_type and diagnosis_confirm_type also match the first line; the second says more.
    if column in _IDENTIFIERS:
        return "is the label itself" if column == "target" else "says which record it is, or where it stands"
    reasons = [why for pattern, why in _LEAKY if re.fullmatch(pattern, column, re.IGNORECASE)]
    return reasons[-1] if reasons else ""


def feature_columns(features: Sequence[str], table: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Feature → columns: those of `MetadataEncoder`, else the column itself.

    Raises:
        MetadataError: names that are neither.
    """
    unknown = [name for name in features if name not in FEATURES and name not in table]
    if unknown:
        raise MetadataError(
            f"Unknown features: {', '.join(map(repr, unknown))}. Known: {', '.join(FEATURES)}, and the columns of the "
            f"table: {', '.join(table)}."
        )
    return {name: FEATURES[name].columns if name in FEATURES else (name,) for name in features}


def column_values(dataset: Dataset, hashes: ImageHashes | None = None) -> pd.DataFrame:
    """The columns to judge: all that are no identifiers, images per patient and lesion, and size from the files.

    Args:
        dataset: records.
        hashes: where the table has no width, height or file_bytes, they come from here.

    Returns:
        (n rows) in the order of the data set.
    """
    frame = dataset.frame
    # A column that says one thing of every record says nothing.
    told = [name for name in frame if name not in _IDENTIFIERS and len(frame[name].astype("str").unique()) > 1]
    values = frame[told].copy()
    for column in ("patient_id", "lesion_id"):
        if frame[column].notna().any():
            per_group = frame.groupby([id_space(frame, column).fillna("").rename("space"), column])[
                "image_name"
            ].transform("size")
            values[f"images_per_{column.removesuffix('_id')}"] = per_group
    if hashes is not None:
        at = pd.Index(hashes.names).get_indexer(pd.Index(frame["image_name"]))
        for name in ("width", "height", "file_bytes"):
            if name not in frame:
                sizes = np.where(at >= 0, getattr(hashes, name)[at], np.nan)
                if len(np.unique(sizes)) > 1:
                    values[name] = pd.Series(sizes, index=values.index)
    return values


def column_table(
    dataset: Dataset, values: pd.DataFrame, features: Sequence[str], *, seed: int = 0
) -> tuple[pd.DataFrame, str]:
    """Judge each column.

    Args:
        dataset: records; those with a target are measured on.
        values: of `column_values`.
        features: what is trained on: names of `MetadataEncoder`'s features, or columns.
        seed: of the folds.

    Returns:
        A row per column (AUC alone, records with a value, distinct values, why it is known to leak, flagged, used),
        the highest AUC first; and why nothing could be measured, or "".

    Raises:
        MetadataError: unknown features.
    """
    by_feature = feature_columns(features, [*dataset.frame.columns, *values.columns])
    # A feature made of an identifier (images_per_patient) counts by its own name; an identifier that is itself named
    # as a feature is judged like any column.
    used = set(by_feature) | {column for columns in by_feature.values() for column in columns} - set(_IDENTIFIERS)
    frame = dataset.frame
    beside = [name for name in by_feature if name not in values and (name in _IDENTIFIERS or leaky_by_name(name))]
    values = values.assign(**{name: frame.get(name, np.nan) for name in beside})
    folds, problem = grouped_folds(dataset, seed)
    rows = []
    for name in values:
        column = str(name)
        unknown = not values[column].notna().any()
        auc = np.nan if folds is None or unknown else out_of_fold_auc(values[column], frame["target"], folds)
        why = leaky_by_name(column)
        rows.append(
            {
                "column": column,
                "auc": auc,
                "records": int(values[column].notna().sum()),
                "distinct": int(values[column].astype("str").nunique()),
                "why": why,
                "flagged": bool(why) or (auc >= FLAG_AUC and column not in _HONEST),
                "used": column in used,
            }
        )
    table = pd.DataFrame(rows, columns=["column", "auc", "records", "distinct", "why", "flagged", "used"])
    table = table.astype({"auc": "float64", "flagged": "bool", "used": "bool"})  # also where there are no rows
    return table.sort_values("auc", ascending=False, kind="stable", ignore_index=True), problem


def column_findings(table: pd.DataFrame, features: Sequence[str], problem: str) -> list[Finding]:
    """Leaky features, leaky columns to stay away from, and what honest columns reach."""
    findings = []
    flagged = table[table["flagged"]]
    standing, others = flagged[flagged["used"]], flagged[~flagged["used"]]
    told = table.drop(columns=["flagged", "used"])
    gone = set(standing["column"])
    keep = [name for name in features if name in FEATURES and not {name, *FEATURES[name].columns} & gone]
    call = f"encoder = mf.MetadataEncoder(features={tuple(keep or ('sex', 'age', 'site'))!r})"
    if len(standing):
        findings.append(
            Finding(
                kind="leaky_features",
                level="leak",
                title=f"{counted(len(standing), 'feature')} that {'gives' if len(standing) == 1 else 'give'} the label "
                f"away: {_with_auc(standing)}",
                detail="They tell how the data were collected or how the diagnosis was made, not what the lesion looks "
                "like. Scores rise, and fall again on patients of another clinic.",
                count=len(standing),
                action="Leave them out of the features.",
                call=call,
                table=told.loc[standing.index],
            )
        )
    if len(others):
        findings.append(
            Finding(
                kind="leaky_columns",
                level="warning",
                title=f"{counted(len(others), 'column')} that must not be learnt from: {_with_auc(others)}",
                detail=f"Known as such by what they are, or with an AUC of {FLAG_AUC:.2f} or more alone. They are not "
                "among the features named, so no leak stands.",
                count=len(others),
                action="Never use them as features.",
                call=call,
                table=told.loc[others.index],
            )
        )
    honest = table[~table["flagged"]]
    if len(honest):
        findings.append(
            Finding(
                kind="columns_alone",
                level="note",
                title=f"What the other columns reach alone: {_with_auc(honest)}"
                if not problem
                else f"What columns reach alone could not be measured: {problem}",
                detail=f"Exact AUC out of fold in {N_FOLDS} folds that keep groups together, for comparison.",
                count=len(honest),
                table=told.loc[honest.index],
            )
        )
    return findings


def _with_auc(rows: pd.DataFrame, few: int = 6) -> str:
    named = [
        f"{column} (AUC {auc:.2f})" if np.isfinite(auc) else str(column)
        for column, auc in zip(rows["column"].head(few), rows["auc"].head(few).astype("float64"), strict=True)
    ]
    return ", ".join(named) + (f" and {len(rows) - few} more" if len(rows) > few else "")
