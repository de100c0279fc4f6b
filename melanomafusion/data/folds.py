"""Folds that never split a patient, stratified by target and by images per patient.

A group is a patient; a lesion in a source without patients; a record (with its exact copies) in a source without
either. Ids are compared within their source, or within the id space that `concat` found several sources to share.
Groups are dealt one after another, those with melanomas first, each to the fold that has the fewest so far, so
the result depends on the groups' contents and the seed, never on the order of rows.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from ..atomic import atomic_file
from ..errors import FoldError, TableError
from .components import connected_components
from .containers import read_image_bytes, stored_bytes
from .dataset import Dataset

_COPIES = "record and its exact copies"
LINK = "linked_group"
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


def group_keys(dataset: Dataset, group: str | None = None) -> tuple[pd.Series, str]:
    """The group of each record, and the word for it.

    Args:
        dataset: records.
        group: as for `assign_folds`.

    Returns:
        (n,) text keys, unique across sources but for ids that sources share (`id_space`); and "patient", "lesion",
        "record", … (several joined by " + "). Groups that `concat` found to be one have one key.

    Raises:
        FoldError: unknown column, or a group column with holes.
    """
    keys, words = _own_keys(dataset, group)
    frame = dataset.frame
    if group == "record" or LINK not in frame or frame[LINK].isna().all():
        return keys, words
    return keys.groupby(connected_components(keys, frame[LINK])).transform("min"), words


def cluster_keys(dataset: Dataset) -> pd.Series | None:
    """What records depend on each other in figures: their patient, else their lesion, else the record itself.

    Returns:
        (n,) text keys, as in `group_keys`; None of one source, where the ids alone tell.
    """
    frame = dataset.frame
    if frame["source"].nunique(dropna=False) < 2:
        return None
    keys = "record/" + frame["image_name"].astype("str")
    for column in ("lesion_id", "patient_id"):  # the patient has the last word
        keys = keys.mask(frame[column].notna(), id_space(frame, column) + f"/{column}/" + frame[column].astype("str"))
    if LINK in frame and frame[LINK].notna().any():
        keys = keys.groupby(connected_components(keys, frame[LINK])).transform("min")
    return keys


def id_space(frame: pd.DataFrame, column: str) -> pd.Series:
    """Where an id of `column` means one thing: the source, or what `concat` found several sources to share.

    Args:
        frame: the table of a data set.
        column: "patient_id", "lesion_id", or any other (whose space is the source).

    Returns:
        (n,) text; equal ids in equal spaces are one patient or lesion.
    """
    shared = f"{column}_space"
    return frame[shared].fillna(frame["source"]) if shared in frame else frame["source"]


def _own_keys(dataset: Dataset, group: str | None) -> tuple[pd.Series, str]:
    frame = dataset.frame
    column = {"patient": "patient_id", "lesion": "lesion_id"}.get(group or "", group)
    names = frame["image_name"]
    if group == "record":
        return "record/" + names, "record"
    if column is not None:
        if column not in frame:
            raise FoldError(f"There is no column {column!r} to group by. Columns: {', '.join(frame.columns)}.")
        # Lesion ids have holes in published sets (ISIC 2019): such a record is a group of its own.
        if column == "lesion_id" and frame[column].notna().any():
            return _lesions(frame), "lesion"
        _refuse_holes(frame, column, dataset.name)
        return id_space(frame, column) + "/" + frame[column].astype(str), group or column
    parts, words, bare = [], [], []
    for source, rows in frame.groupby("source", sort=True, dropna=False):
        if rows["patient_id"].notna().any():
            _refuse_holes(rows, "patient_id", str(source))
            parts.append(id_space(rows, "patient_id") + "/patient/" + rows["patient_id"].astype("str"))
            words.append("patient")
        elif rows["lesion_id"].notna().any():
            parts.append(_lesions(rows))
            words.append("lesion")
        else:
            bare.append(rows)
    if bare:  # together: copies may lie in two sources
        parts.append(_copies(pd.concat(bare)))
        words.append(_COPIES)
    return pd.concat(parts).sort_index(), " + ".join(dict.fromkeys(words))


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


def _lesions(rows: pd.DataFrame) -> pd.Series:
    alone = rows["source"] + "/record/" + rows["image_name"]
    return (id_space(rows, "lesion_id") + "/lesion/" + rows["lesion_id"].astype("str")).fillna(alone)


def _refuse_holes(rows: pd.DataFrame, column: str, where: str) -> None:
    holes = rows.loc[rows[column].isna(), "image_name"]
    if len(holes):
        raise FoldError(
            f"{where}: {len(holes):,} of {len(rows):,} records have no {column}, e.g. {', '.join(holes[:5])}. "
            "Fill the column, leave these records out with select(), or group by another column."
        )


def _copies(rows: pd.DataFrame) -> pd.Series:
    """Key by content where two files have one size; reading only those keeps it cheap."""
    keys = rows["source"] + "/record/" + rows["image_name"]
    files = rows["path"].dropna()
    sizes = files.map(stored_bytes)
    for index in sizes.index[sizes.duplicated(keep=False)]:
        keys[index] = "content/" + hashlib.sha256(read_image_bytes(files[index])).hexdigest()
    return keys
