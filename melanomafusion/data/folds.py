"""Folds that never split a patient, stratified by target and by images per patient.

Groups are dealt one after another, those with melanomas first, each to the fold that has the fewest so far, so
the result depends on the groups' contents and the seed, never on the order of rows.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from ..errors import FoldError
from .dataset import Dataset
from .groups import LINK, group_keys, id_space

PUBLISHED_SPLIT = "published split"


def assign_folds(dataset: Dataset, n_folds: int = 5, *, seed: int = 0, group: str | None = None) -> Dataset:
    """Give each record a fold, 0 … n_folds − 1.

    Args:
        dataset: records with targets.
        n_folds: number of folds, at least 2.
        seed: another seed gives other folds of the same quality.
        group: what must stay together. None: the patient, else the lesion, else the record and its exact copies.
            "patient", "lesion", or a column of the table. "record" splits images of one patient: scores on such folds
            are too high, and every figure made of them says so.

    Returns:
        The data set with the columns `fold` (int64) and `grouped_by`. No fold is empty or without positives.

    Raises:
        FoldError: too few groups or groups with positives, or a group column with holes.
    """
    if not isinstance(n_folds, (int, np.integer)) or n_folds < 2:
        raise FoldError(f"n_folds must be a whole number of at least 2. Received: n_folds={n_folds!r}")
    keys, grouped_by = group_keys(dataset, group)
    table = pd.DataFrame({"key": keys, "target": dataset.targets}).groupby("key")["target"].agg(["size", "sum"])
    with_positive = int((table["sum"] > 0).sum())
    if len(table) < n_folds or with_positive < n_folds:
        raise FoldError(
            f"{n_folds} folds need {n_folds} groups, each with a positive record. The data set has {len(table):,} "
            f"groups ({grouped_by}), of which {with_positive:,} have a positive one. Use fewer folds or more data."
        )
    fold_of = deal_groups(table, n_folds, seed)
    result = dataset.with_columns(fold=keys.map(fold_of).astype("int64"), grouped_by=grouped_by)
    check_folds(result)
    return result


def published_split(dataset: Dataset) -> Dataset:
    """Folds of a data set's own split: fold 0 is "test", fold 1 is "train" (and "valid").

    Train with `folds=[0]`; records of "valid" then choose the epoch.

    Returns:
        The data set with `fold` and `grouped_by` ("published split": whether patients are kept apart is the
        publisher's affair; where patients or lesions are known, one in both folds is refused).

    Raises:
        FoldError: no column `split`, records without one, no train or test, other words in it, or a patient in both.
    """
    frame = dataset.frame
    if "split" not in frame:
        raise FoldError("The data set has no column split; load_image_folders makes one of folders train and test.")
    words = set(frame["split"].dropna())
    if frame["split"].isna().any() or not {"train", "test"} <= words <= {"train", "valid", "test"}:
        found = ", ".join(f"{word} ({count:,})" for word, count in frame["split"].value_counts(dropna=False).items())
        raise FoldError(f"A published split has train and test, and perhaps valid, for every record. Found: {found}.")
    folds = (frame["split"] != "test").astype("int64").to_numpy()
    result = dataset.with_columns(fold=folds, grouped_by=PUBLISHED_SPLIT)
    check_folds(result)
    return result


def check_folds(dataset: Dataset) -> None:
    """Refuse folds that are empty, lack positives, or split a patient or lesion (unless grouped by record).

    Raises:
        FoldError: with the folds or groups concerned.
    """
    frame = dataset.frame
    folds = sorted(frame["fold"].unique())
    if folds != list(range(len(folds))) or len(folds) < 2:
        raise FoldError(f"Folds must be 0 … n−1 with none empty, at least two. Found: {', '.join(map(str, folds))}.")
    if dataset.has_target:
        positives = frame.groupby("fold")["target"].sum()
        bare = [str(fold) for fold in positives.index[positives == 0]]
        if bare:
            raise FoldError(f"Fold {', '.join(bare)} has no positive record, so it cannot be scored. Use fewer folds.")
    if frame["grouped_by"].iloc[0] != "record":
        # A lesion id decides only in sources without patients.
        no_patients = frame["patient_id"].isna().groupby(frame["source"], dropna=False).transform("all")
        for column in ("patient_id", "lesion_id", *([LINK] if LINK in frame else [])):
            known = frame[frame[column].notna() & (no_patients if column == "lesion_id" else True)]
            space = "" if column == LINK else id_space(known, column)
            per_group = known.assign(space=space).groupby(["space", column])["fold"].nunique()
            split = per_group.index[per_group > 1]
            if len(split):
                named = ", ".join(str(key) for _, key in split[:5])
                raise FoldError(
                    f"{len(split):,} values of {column} stand in several folds: {named}. Assign folds anew."
                )


def deal_groups(table: pd.DataFrame, n_folds: int, seed: int) -> dict[str, int]:
    """Deal groups (index key; columns size, sum of targets) to folds, the fullest strata first."""
    rows = [
        (int(positives), int(size).bit_length(), hashlib.sha256(f"{seed}/{key}".encode()).hexdigest(), key, int(size))
        for key, size, positives in zip(table.index, table["size"], table["sum"], strict=True)
    ]
    rows.sort(key=lambda row: (-row[0], -row[1], row[2]))
    positives_in, records_in = [0] * n_folds, [0] * n_folds
    strata: dict[tuple[bool, int], list[int]] = {}
    fold_of: dict[str, int] = {}
    for positives, size_class, digest, key, size in rows:
        # A stratum: groups of about one number of images (powers of two), with or without positives.
        groups_in = strata.setdefault((positives > 0, size_class), [0] * n_folds)
        start = int(digest[:8], 16)
        fold = min(
            range(n_folds),
            key=lambda f: (
                positives_in[f] if positives else 0,
                groups_in[f],
                records_in[f],
                (start + f) % n_folds,
            ),
        )
        fold_of[key] = fold
        positives_in[fold] += positives
        records_in[fold] += size
        groups_in[fold] += 1
    return fold_of
