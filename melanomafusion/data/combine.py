"""Several data sets as one: the same image is found and kept once, and no patient or lesion is torn apart by it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from ..errors import ImageError, TableError
from .components import connected_components
from .containers import read_image_bytes, stored_bytes
from .dataset import Dataset
from .groups import LINK, id_space

OnOverlap = Literal["error", "first"]
ID_COLUMNS = ("patient_id", "lesion_id")
# The share of overlapping records with ids on both sides that must carry equal ids for two sources to mean the same by
# an id. All of HAM10000 and ISIC 2019 do; a few slips of the pen must not hide that.
SAME_IDS = 0.95
_FEW = 5
_SUFFIX = r"\.(?:jpe?g|png)$"
_OVERLAP_COLUMNS = ["image_name_1", "source_1", "image_name_2", "source_2", "by"]


def concat(datasets: Iterable[Dataset], *, on_overlap: OnOverlap = "error") -> Dataset:
    """All records of several data sets, one after another; columns that one of them lacks are missing there.

    No row is dropped unless told so. The same image in two data sets (`find_overlaps`) is an error by default; with
    "first" the record of the data set that stands earlier is kept. HAM10000 is part of ISIC 2019: with
    `concat([isic_2019, ham10000], on_overlap="first")` the records of ISIC 2019 stay and nothing of HAM10000 is left
    over; the other way round HAM10000's records stay (with `dx_type`, and its own choice of positive
    diagnoses) and ISIC 2019 gives the remaining 15,316. Folds are dropped: assign them anew.

    What stays together in folds:

    - Ids of two sources are compared only where the data say that they mean the same: of the overlapping records with
      an id on both sides, at least 95 % carry equal ids. Such sources share an id space (column `patient_id_space` or
      `lesion_id_space`, only there if sources share one; by name the alphabetically first of them). HAM10000 and
      ISIC 2019 share lesions. Equal ids of other sources are never taken for one patient.
    - A record that was dropped ties its patient and lesion to those of the record that was kept, whatever their ids.
      Where ids alone do not show it, column `linked_group` (an image name) does: equal values are one group.
    - So two records are one group if a chain of the same image, patient or lesion joins them, over the records of all
      data sets, the dropped ones among them. The order of the data sets decides only which copy stays.
    - What was learned lasts in the result as long as a record of each source is left; combining all data sets in one
      call is the safest.
    - Data sets with one name of source share their ids: give tables of your own different names (`load_csv(source=)`).

    Args:
        datasets: at least one; image names need to be unique only within each.
        on_overlap: "error", or "first" to keep the record of the data set that stands earlier.

    Raises:
        TableError: overlaps and `on_overlap` is "error", an unknown `on_overlap`, or nothing to combine.
        ImageError: images whose files cannot be read.
    """
    datasets = _checked(datasets, on_overlap)
    table, member = _stack(datasets)
    names, contents = _canonical(table["image_name"]), _contents(table, member)
    pairs = _pairs(member, names, contents)
    if len(pairs) and on_overlap == "error":
        raise _overlap_error(_describe(table, pairs))
    spaces = {column: _shared_spaces(table, pairs, column) for column in ID_COLUMNS}
    image = pd.Series(connected_components(names, contents))
    kept = member == pd.Series(member).groupby(image).transform("min")
    added: dict[str, pd.Series] = {LINK: _links(table, spaces, image, names, kept)}
    added |= {f"{column}_space": space for column, space in spaces.items() if (space != table["source"])[kept].any()}
    frame = table.drop(columns=[LINK, *(f"{column}_space" for column in ID_COLUMNS)], errors="ignore")
    return Dataset(frame.assign(**{name: values for name, values in added.items() if values[kept].notna().any()})[kept])


def find_overlaps(datasets: Iterable[Dataset]) -> pd.DataFrame:
    """Records of different data sets that are the same image.

    By name: case, file suffix and a trailing `_downsampled` do not matter. By content: SHA-256 of the bytes where both
    have images; only files whose size stands in two data sets are read. Images that were encoded anew are not found by
    content; `audit` finds those by what they look like.

    Args:
        datasets: two or more.

    Returns:
        A row for each pair: image_name_1, source_1 (of the data set that stands earlier), image_name_2, source_2, by
        ("name", or "content" where the names differ), same_target, same_diagnosis, same_lesion (missing where a side
        has none; for lesions: equal text, though ids of two sources need not mean the same).

    Raises:
        ImageError: images whose files cannot be read.
    """
    table, member = _stack(_checked(datasets, "error"))
    return _describe(table, _pairs(member, _canonical(table["image_name"]), _contents(table, member)))


def _checked(given: Iterable[Dataset], on_overlap: str) -> list[Dataset]:
    """The data sets, if they are some and each record has a source."""
    datasets: list[Dataset] = list(given) if isinstance(given, Iterable) else []
    strangers = [type(data).__name__ for data in datasets if not isinstance(data, Dataset)]
    if not datasets or strangers:
        nothing = "none" if isinstance(given, Iterable) else f"a {type(given).__name__}"
        found = f"received {', '.join(strangers[:_FEW]) or nothing}"
        raise TableError("concat", [f"expected a list of data sets; {found}"], "Load each with a load_ function.")
    if on_overlap not in ("error", "first"):
        raise TableError("concat", [f"on_overlap={on_overlap!r}; expected error or first"])
    for data in datasets:
        without = int(data.frame["source"].isna().sum())
        if without:
            raise TableError(
                "concat",
                [f"{without:,} of {len(data):,} records have no source"],
                'Name it: with_columns(source="...").',
            )
    return datasets


def _stack(datasets: Sequence[Dataset]) -> tuple[pd.DataFrame, np.ndarray]:
    """All records, and the number of the data set that each comes from."""
    frames = [data.frame.drop(columns=["fold", "grouped_by"], errors="ignore") for data in datasets]
    member = np.repeat(np.arange(len(frames)), [len(frame) for frame in frames])
    table = pd.concat(frames, ignore_index=True)
    return table.astype({column: "str" for column in ID_COLUMNS}), member


def _canonical(names: pd.Series) -> pd.Series:
    """The name that copies of an image share."""
    bare = names.str.lower().str.replace(_SUFFIX, "", regex=True)
    return bare.str.replace(r"_downsampled$", "", regex=True)


def _contents(table: pd.DataFrame, member: np.ndarray) -> pd.Series:
    """SHA-256 of images whose size stands in two data sets; missing for all others, which cannot have a copy there."""
    hashes: dict[object, str] = {}
    paths = table["path"].dropna()
    if len(set(member[paths.index])) < 2:
        return pd.Series(np.nan, index=table.index, dtype="object")
    sizes, unreadable = {}, []
    for row, path in paths.items():
        try:
            sizes[row] = stored_bytes(path) or np.nan  # an empty file is no image, so no copy of another
        except ImageError as error:
            unreadable.append(str(error))
    if unreadable:
        shown = "\n  ".join(unreadable[:_FEW])
        raise ImageError(
            f"{len(unreadable):,} of {len(paths):,} images cannot be read:\n  {shown}\nLoad the data anew."
        )
    size = pd.Series(sizes, dtype="float64").dropna()
    members = pd.Series(member[size.index], index=size.index)
    for row in size.index[members.groupby(size).transform("nunique") > 1]:
        hashes[row] = hashlib.sha256(read_image_bytes(paths[row])).hexdigest()
    return pd.Series(hashes, dtype="object").reindex(table.index)


def _pairs(member: np.ndarray, names: pd.Series, contents: pd.Series) -> pd.DataFrame:
    """(m, 3): rows `one` < `two` of different data sets that are the same image, and by what."""
    found = []
    for by, keys in (("name", names), ("content", contents)):
        side = pd.DataFrame({"row": np.arange(len(keys)), "member": member, "key": keys}).dropna(subset="key")
        # Only keys that stand in two data sets: a join of all would pair each record with itself first.
        side = side[side.groupby("key")["member"].transform("nunique") > 1]
        both = side.merge(side, on="key", suffixes=("_1", "_2"))
        both = both[both["member_1"] < both["member_2"]]
        found.append(pd.DataFrame({"one": both["row_1"], "two": both["row_2"], "by": by}))
    pairs = pd.concat(found, ignore_index=True).drop_duplicates(["one", "two"])
    return pairs.sort_values(["one", "two"]).reset_index(drop=True)


def _describe(table: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    one, two = (table.iloc[pairs[side]].reset_index(drop=True) for side in ("one", "two"))
    columns = {
        f"{column}_{number}": side[column]
        for number, side in ((1, one), (2, two))
        for column in ("image_name", "source")
    }
    result = pd.DataFrame({**columns, "by": pairs["by"]})[_OVERLAP_COLUMNS]
    for word, column in (("target", "target"), ("diagnosis", "diagnosis"), ("lesion", "lesion_id")):
        known = one[column].notna() & two[column].notna()
        same = (one[column] == two[column]).astype("boolean")
        result[f"same_{word}"] = same.mask(~known)
    return result


def _overlap_error(overlaps: pd.DataFrame) -> TableError:
    problems = []
    for (one, two), rows in overlaps.groupby(["source_1", "source_2"], sort=False, dropna=False):
        shown = ", ".join(
            name if name == other else f"{name} = {other}"
            for name, other in rows[["image_name_1", "image_name_2"]].head(_FEW).itertuples(index=False)
        )
        by_name = int((rows["by"] == "name").sum())
        differ = int((~rows["same_target"].astype("boolean")).fillna(False).sum())
        problems.append(
            f"{len(rows):,} images of {two} are in {one} too ({by_name:,} by name, {len(rows) - by_name:,} by content; "
            f"{differ:,} with another target): {shown}{', …' if len(rows) > _FEW else ''}"
        )
    return TableError(
        "concat",
        problems,
        'on_overlap="first" (--overlaps first) keeps the record of the data set that stands earlier in the list. If '
        "different images merely bear one name, rename them: with_columns(image_name=...). find_overlaps lists all.",
    )


def _shared_spaces(table: pd.DataFrame, pairs: pd.DataFrame, column: str) -> pd.Series:
    """(n,) id space of each record: sources whose overlapping records carry equal ids, by the first of their names."""
    space = id_space(table, column).astype("object")
    one, two = (table[column].iloc[pairs[side]].to_numpy(dtype=object) for side in ("one", "two"))
    known = pd.notna(one) & pd.notna(two)
    evidence = pd.DataFrame(
        {
            "one": space.iloc[pairs["one"]].to_numpy()[known],
            "two": space.iloc[pairs["two"]].to_numpy()[known],
            "equal": one[known] == two[known],
        }
    )
    # Whichever of the two stands first in the list.
    lower, upper = evidence[["one", "two"]].min(axis=1), evidence[["one", "two"]].max(axis=1)
    share = evidence["equal"].groupby([lower, upper]).mean()
    edges = [*share.index[share >= SAME_IDS], *set(zip(table["source"], space, strict=True))]
    ends = pd.Series([end for edge in edges for end in edge], dtype="object")
    component = connected_components(ends, np.repeat(np.arange(len(edges)), 2))
    first = dict(zip(ends, ends.groupby(component).transform("min"), strict=True))
    return space.map(first).astype(table["source"].dtype)


def _links(
    table: pd.DataFrame, spaces: dict[str, pd.Series], image: pd.Series, names: pd.Series, kept: pd.Series
) -> pd.Series:
    """(n,) a name for each group that ids alone do not hold together, missing elsewhere."""
    patient, lesion = (spaces[column] + "/" + table[column] for column in ID_COLUMNS)
    old = table[LINK] if LINK in table else pd.Series(np.nan, index=table.index)
    component = connected_components(patient, lesion, image, old)
    own = (
        ("patient/" + patient)
        .fillna("lesion/" + lesion)
        .fillna("record/" + table["source"] + "/" + table["image_name"])
    )
    torn = own.where(kept).groupby(component).transform("nunique") > 1
    # What one source says of itself is left as it is.
    crosses = table["source"].groupby(component).transform("nunique") > 1
    return names.groupby(component).transform("min").where((torn & crosses) | old.notna())
