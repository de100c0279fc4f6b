"""Lists of duplicate images: read one, compare it with the published one, and drop what it names twice."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from ..csv_rows import read_rows
from ..errors import TableError
from .dataset import Dataset
from .manifest import Check, read_manifest

PAIR = ["image_name_1", "image_name_2"]
_SUFFIX = re.compile(r"\.(?:jpe?g|png)$", re.IGNORECASE)


def read_duplicates(path: str | Path) -> pd.DataFrame:
    """Read a list of duplicate images: your copy of the published list, or one that an audit wrote.

    Args:
        path: CSV with the columns image_name_1 and image_name_2, or with just two columns, whatever their names.

    Returns:
        Table with `image_name_1` and `image_name_2`, a row per pair, in the order of the file; file suffixes are cut.

    Raises:
        TableError: the file cannot be read, has other columns, or a row lacks a name or pairs an image with itself.
    """
    path = Path(path)
    if not path.is_file():
        raise TableError(str(path), ["there is no such file"], "Expected a CSV with two columns of image names.")
    header, rows, lines = read_rows(path)
    if len(header) != 2 and not set(PAIR) <= set(header):
        raise TableError(
            str(path),
            [f"{len(header)} columns ({', '.join(header)})"],
            f"Expected {PAIR[0]} and {PAIR[1]}, or just two columns of image names.",
        )
    at = [header.index(name) for name in PAIR] if set(PAIR) <= set(header) else [0, 1]
    pairs = [tuple(_SUFFIX.sub("", row[column]) for column in at) for row in rows]
    problems = [
        f"row {line}: {'a name is missing' if not all(pair) else f'{pair[0]!r} is paired with itself'}"
        for line, pair in zip(lines, pairs, strict=True)
        if not all(pair) or pair[0] == pair[1]
    ]
    if problems:
        raise TableError(str(path), problems, "Each row must name two different images.")
    return pd.DataFrame(pairs, columns=PAIR, dtype="str")


def verify_duplicates(path: str | Path, name: str = "siim-isic-2020") -> list[Check]:
    """Compare a list of duplicates with the published one of a manifest; a difference is told, not refused.

    Args:
        path: the list.
        name: from `list_manifests()`.

    Returns:
        The number of pairs, and whether the file is the published one byte by byte.

    Raises:
        TableError: the list cannot be read, or the manifest knows of none.
    """
    published = read_manifest(name).get("duplicates")
    if published is None:
        raise TableError(name, ["its manifest names no list of duplicates"])
    pairs = read_duplicates(path)
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return [
        Check("pairs of duplicates", published["pairs"], len(pairs)),
        Check("is the published file (1 yes, 0 no)", 1, int(digest == published["sha256"])),
    ]


def drop_duplicates(
    dataset: Dataset, pairs: pd.DataFrame | str | Path, *, on_conflict: Literal["error", "drop"] = "error"
) -> Dataset:
    """Keep one record of each cluster of duplicates: the one that stands first in the table.

    Pairs that share an image make one cluster, also where the shared image is not in the data set: a published list
    may be longer than the copy at hand.

    Args:
        dataset: records; folds they have are kept.
        pairs: table with `image_name_1` and `image_name_2` (e.g. the `duplicates` of an audit), or the path of a list.
        on_conflict: what to do about clusters whose targets differ: "error", or "drop" all of their records, since
            nobody can tell which target is right.

    Raises:
        TableError: pairs without these columns or with missing names, an unknown `on_conflict`, or clusters whose
            targets differ, all of them named.
    """
    if on_conflict not in ("error", "drop"):
        raise TableError("drop_duplicates", [f'on_conflict must be "error" or "drop". Received: {on_conflict!r}'])
    frame = dataset.frame
    cluster = duplicate_clusters(frame["image_name"], checked_pairs(pairs))
    known = frame["target"].notna()
    targets = frame["target"][known].astype("int64").groupby(cluster[known]).agg(["min", "max"])
    conflicting = targets.index[targets["min"] < targets["max"]]
    if len(conflicting) and on_conflict == "error":
        problems = []
        for number in conflicting:
            records = frame[cluster == number]
            named = zip(records["image_name"], records["target"], strict=True)
            problems.append(", ".join(f"{name} (target {target})" for name, target in named))
        raise TableError(
            f"{dataset.name}: duplicates whose targets differ",
            problems,
            'Mend the targets, or on_conflict="drop" leaves out all records of such clusters.',
        )
    keep = ~cluster.duplicated() & ~cluster.isin(conflicting)
    return dataset.select(keep.to_numpy())


def checked_pairs(pairs: pd.DataFrame | str | Path) -> pd.DataFrame:
    """The two columns of names of a table of pairs, or of a list on disk.

    Raises:
        TableError: not such a table.
    """
    if not isinstance(pairs, pd.DataFrame):
        if not isinstance(pairs, (str, Path)):
            raise TableError(
                "duplicates", [f"Received: {type(pairs).__name__}"], "Expected a table of pairs or the path of a CSV."
            )
        return read_duplicates(pairs)
    absent = [name for name in PAIR if name not in pairs]
    if absent:
        raise TableError("duplicates", [f"column {name} is missing" for name in absent], f"Expected {', '.join(PAIR)}.")
    holes = int(pairs[PAIR].isna().any(axis=1).sum())
    if holes:
        raise TableError("duplicates", [f"{holes:,} of {len(pairs):,} pairs lack a name"])
    return pairs[PAIR].astype("str").reset_index(drop=True)


def duplicate_clusters(names: pd.Series, pairs: pd.DataFrame) -> pd.Series:
    """The cluster of each record: a number that records share which pairs connect, directly or over others.

    Args:
        names: (n,) image names, unique.
        pairs: of `checked_pairs`.

    Returns:
        (n,) int64 with the index of `names`.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    both = pd.concat([names, pairs[PAIR[0]], pairs[PAIR[1]]], ignore_index=True)
    codes, distinct = pd.factorize(both)
    first, second = np.split(codes[len(names) :], 2)
    graph = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(len(distinct), len(distinct)))
    _, labels = connected_components(graph, directed=False)
    return pd.Series(labels[codes[: len(names)]].astype("int64"), index=names.index)
