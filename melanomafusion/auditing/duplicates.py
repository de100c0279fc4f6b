"""The pairs of duplicates in a data set, from the published list and from the images, and which of them leak."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..data.dataset import Dataset
from ..data.duplicates import PAIR
from .finding import Finding, counted
from .groups import default_groups
from .hashes import ImageHashes
from .near import compare_pairs

HOWS = {"official": "on the list of duplicates", "exact": "byte-identical", "near": "nearly identical"}
_PAIRS = {
    "official": "of images on the list of duplicates",
    "exact": "of byte-identical images",
    "near": "of nearly identical images",
}
CONFLICTS = {
    "target": "target",
    "diagnosis": "diagnosis",
    "age_approx": "age",
    "sex": "sex",
    "anatom_site_general_challenge": "site",
}
_BESIDE = ("source", "patient_id", "lesion_id", "target", "diagnosis", "split", "fold")


def duplicate_table(
    dataset: Dataset,
    found: dict[str, pd.DataFrame],
    hashes: ImageHashes | None = None,
) -> pd.DataFrame:
    """One row per pair, the certain ones first.

    Args:
        dataset: records.
        found: "official", "exact", "near" → pairs; those that name records not in the data set are passed over, and a
            pair found in several ways is told by the first.
        hashes: of the images that could be looked at.

    Returns:
        image_name_1, image_name_2 (in the order of the table), how, same_bytes, distance (bits of 256) and similarity
        (NaN where not both images were seen), turned (mirrored or rotated), source_1, source_2, …, fold_1, fold_2,
        same_group (by default grouping), conflicts ("target, age"), apart ("folds", "splits", "groups" or ""), leak.
    """
    frame = dataset.frame
    position = pd.Index(frame["image_name"])
    parts = []
    for how in HOWS:
        pairs = found.get(how, pd.DataFrame(columns=PAIR, dtype="str"))
        at = np.column_stack([position.get_indexer(pd.Index(pairs[name])) for name in PAIR])
        at = np.sort(at[(at >= 0).all(axis=1) & (at[:, 0] != at[:, 1])], axis=1)
        parts.append(pd.DataFrame({"i": at[:, 0], "j": at[:, 1], "how": how}))
    pairs = pd.concat(parts, ignore_index=True).drop_duplicates(["i", "j"], ignore_index=True)
    i, j = pairs["i"].to_numpy(dtype="int64"), pairs["j"].to_numpy(dtype="int64")
    table = pd.DataFrame({name: frame["image_name"].to_numpy()[at] for name, at in zip(PAIR, (i, j), strict=True)})
    table["how"] = pairs["how"].astype("str")
    table = table.assign(**_seen(table, hashes))
    for column in _BESIDE:
        if column in frame and (column in ("source", "target") or frame[column].notna().any()):
            for number, at in ((1, i), (2, j)):
                table[f"{column}_{number}"] = frame[column].iloc[at].reset_index(drop=True)
    groups = default_groups(dataset)[0].to_numpy()
    table["same_group"] = groups[i] == groups[j]
    table["conflicts"] = _conflicts(frame, i, j)
    table["apart"] = _apart(frame, i, j, table["same_group"].to_numpy())
    table["leak"] = table["apart"] != ""
    return table


def _seen(table: pd.DataFrame, hashes: ImageHashes | None) -> dict[str, np.ndarray]:
    m = len(table)
    if hashes is None:
        unknown = np.full(m, np.nan)
        return {
            "same_bytes": np.zeros(m, dtype=bool),
            "distance": unknown,
            "similarity": unknown,
            "turned": np.zeros(m, dtype=bool),
        }
    position = pd.Index(hashes.names)
    i, j = (position.get_indexer(pd.Index(table[name])) for name in PAIR)
    both = (i >= 0) & (j >= 0)
    distance, similarity, turned = compare_pairs(hashes, i, j)
    digests = pd.Series(hashes.sha256, dtype="object")
    one, other = digests.iloc[i].to_numpy(), digests.iloc[j].to_numpy()
    return {
        "same_bytes": both & (one == other) & pd.notna(one),
        "distance": np.where(both, distance, np.nan),
        "similarity": np.where(both, similarity, np.nan),
        "turned": both & turned,
    }


def _conflicts(frame: pd.DataFrame, i: np.ndarray, j: np.ndarray) -> pd.Series:
    """The words of the columns in which both have a value, and another one."""
    texts = pd.Series("", index=range(len(i)), dtype="str")
    for column, word in CONFLICTS.items():
        one, other = (frame[column].iloc[at].reset_index(drop=True) for at in (i, j))
        differ = (one.notna() & other.notna() & (one != other)).fillna(False).astype(bool)
        texts = texts.mask(differ & (texts != ""), texts + ", " + word).mask(differ & (texts == ""), word)
    return texts


def _apart(frame: pd.DataFrame, i: np.ndarray, j: np.ndarray, same_group: np.ndarray) -> np.ndarray:
    """Where a pair stands on two sides, by what is there: folds, a published split, or the groups of assign_folds.

    A split counts as a division only in sources where more than one side has targets: a test split without truth does
    not say how the training records will be divided.
    """
    apart = np.where(same_group, "", "groups").astype(object)
    if "split" in frame:
        labelled = frame[frame["target"].notna() & frame["split"].notna()]
        divided = labelled.groupby("source")["split"].nunique()
        in_divided = frame["source"].isin(divided.index[divided > 1]).to_numpy()
        one, other = (frame["split"].iloc[at].reset_index(drop=True) for at in (i, j))
        known = (one.notna() & other.notna()).to_numpy()
        differ = known & (one != other).fillna(False).to_numpy(dtype=bool)
        apart[known & ~differ & in_divided[i] & in_divided[j]] = ""
        apart[differ] = "splits"
    if "fold" in frame:
        one, other = (frame["fold"].iloc[at].reset_index(drop=True) for at in (i, j))
        known = (one.notna() & other.notna()).to_numpy()
        differ = known & (one != other).fillna(False).to_numpy(dtype=bool)
        apart[known & (apart == "groups")] = ""
        apart[differ] = "folds"
    return apart


def duplicate_findings(table: pd.DataFrame) -> list[Finding]:
    """What the pairs mean: leaks, copies within a group, copies that contradict each other."""
    findings = []
    for how in HOWS:
        pairs = table[table["how"] == how]
        for leak in (True, False):
            cases = pairs[pairs["leak"] == leak]
            if len(cases):
                findings.append(_copies(how, leak, cases))
    return [*findings, *_disagreeing(table)]


def _copies(how: str, leak: bool, cases: pd.DataFrame) -> Finding:
    where = {"folds": "different folds", "splits": "different splits", "groups": "different groups"}
    sides = " and ".join(where[side] for side in where if (cases["apart"] == side).any())
    across = int((cases["source_1"] != cases["source_2"]).sum())
    detail = [
        "A model is scored on images that it was trained on, so its scores are too high."
        if leak
        else "They stay on one side, but count twice in training and in every figure."
    ]
    if (cases["apart"] == "groups").any():
        detail.append("No folds are assigned yet: assign_folds would put such pairs into different groups.")
    if across:
        detail.append(f"{counted(across, 'pair')} across two sources.")
    if cases["turned"].any():
        detail.append(f"{int(cases['turned'].sum()):,} of them mirrored or rotated.")
    conflict = ', on_conflict="drop"' if cases["conflicts"].str.contains("target").any() else ""
    look = " Look at them first: the report shows them side by side." if how == "near" else ""
    return Finding(
        kind=f"{how}_duplicates_apart" if leak else f"{how}_duplicates",
        level="leak" if leak else "warning",
        title=f"{counted(len(cases), 'pair')} {_PAIRS[how]}" + (f", in {sides}" if leak else ""),
        detail=" ".join(detail),
        count=len(cases),
        action="Keep one image of each." + look,
        call=f"data = mf.drop_duplicates(data, audit.duplicates.query(\"how == '{how}'\"){conflict})",
        table=cases.drop(columns=["leak"]),
    )


def _disagreeing(table: pd.DataFrame) -> list[Finding]:
    findings = []
    hard = table[table["conflicts"].str.contains("target|diagnosis", regex=True)]
    soft = table[table["conflicts"].str.contains("age|sex|site", regex=True)]
    if len(hard):
        targets = int(hard["conflicts"].str.contains("target").sum())
        findings.append(
            Finding(
                kind="duplicates_conflicting_label",
                level="warning",
                title=f"{counted(len(hard), 'pair')} of duplicates with different diagnosis or target"
                + (f", {targets:,} with different target" if targets else ""),
                detail="At least one of the two labels is wrong, and a model can learn neither.",
                count=len(hard),
                action="Mend the labels; where nobody knows, leave both records out.",
                call='data = mf.drop_duplicates(data, audit.duplicates, on_conflict="drop")',
                table=hard,
            )
        )
    if len(soft):
        counts = {word: int(soft["conflicts"].str.contains(word).sum()) for word in ("age", "sex", "site")}
        told = ", ".join(f"{word} {count:,}" for word, count in counts.items() if count)
        findings.append(
            Finding(
                kind="duplicates_conflicting_metadata",
                level="warning",
                title=f"{counted(len(soft), 'pair')} of duplicates with different metadata ({told})",
                detail="One photograph has one age, sex and site: at least one of the two records is wrong, or the "
                "pair shows one lesion at two visits.",
                count=len(soft),
                action="Keep one record of each, or mend the values.",
                call="data = mf.drop_duplicates(data, audit.duplicates)",
                table=soft,
            )
        )
    return findings
