"""Patients and lesions on both sides of a split or in two folds, and what the groups of a data set are."""

from __future__ import annotations

import pandas as pd

from ..data.components import connected_components
from ..data.dataset import Dataset
from ..data.groups import LINK, group_keys, id_space
from ..errors import MelanomaFusionError
from .finding import Finding, counted, first_few

_ID_COLUMNS = {"patient_id": "patient", "lesion_id": "lesion", LINK: "linked group"}
_ADVICE = {
    "fold": "Assign folds anew, so that each {word} stays together.",
    "split": "Keep each {word} on one side only, here by leaving its records out of the smaller side.",
}


def default_groups(dataset: Dataset) -> tuple[pd.Series, str]:
    """The groups that `assign_folds` keeps together, and the word for them, also where it would refuse to.

    Where it refuses (ids with holes, images that cannot be read), a record without patient counts by its lesion, and
    one without either alone.

    Returns:
        (n,) text with the index of the table; and e.g. "patient".
    """
    try:
        return group_keys(dataset)
    except (MelanomaFusionError, OSError):
        frame = dataset.frame
        keys = "record/" + frame["image_name"]
        for column in ("lesion_id", "patient_id"):
            known = frame[column].notna()
            space = id_space(frame, column).fillna("")
            keys = keys.mask(known, column + "/" + space + "/" + frame[column].astype("str"))
        if LINK in frame:
            keys = keys.groupby(connected_components(keys, frame[LINK])).transform("min")
        return keys, "patient or lesion where known"


def group_findings(dataset: Dataset) -> list[Finding]:
    """Patients and lesions that stand in two folds or splits, and ids that do not say where they belong."""
    frame = dataset.frame
    findings = [
        finding
        for column in _ID_COLUMNS
        for side in ("fold", "split")
        if side in frame and column in frame
        for finding in _on_both_sides(frame, column, side)
    ]
    return [*findings, *_holes(frame), *_lesions_of_several_patients(frame), *_no_groups(frame)]


def _on_both_sides(frame: pd.DataFrame, column: str, side: str) -> list[Finding]:
    known = frame[frame[column].notna() & frame[side].notna()]
    groups = known.groupby([_space(known, column), column], sort=True)
    apart = groups[side].nunique()
    apart = apart[apart > 1]
    if not len(apart):
        return []
    word, sides = _ID_COLUMNS[column], f"{side}s"
    rows = []
    for key in apart.index:
        records = groups.get_group(key)
        rows.append(
            {
                "source": first_few(records["source"].dropna().unique()),
                column: key[1],
                "records": len(records),
                "positives": int((records["target"] == 1).sum()),
                sides: ", ".join(map(str, sorted(records[side].unique()))),
                "images": first_few(records["image_name"]),
            }
        )
    image_level = side == "fold" and "grouped_by" in frame and (frame["grouped_by"] == "record").any()
    many = word + "s"
    if side == "fold":
        call = f"data = mf.assign_folds(data, n_folds={known['fold'].nunique()})"
    else:
        smaller = known[side].value_counts().index[-1]
        call = (
            f'both = data.frame.groupby("{column}")["split"].transform("nunique") > 1\n'
            f'data = data.select(~(both & (data.frame["split"] == {smaller!r})).to_numpy())'
        )
    finding = Finding(
        kind=f"{word.replace(' ', '_')}_in_several_{sides}",
        level="leak",
        title=f"{counted(len(apart), word, many)} {'stands' if len(apart) == 1 else 'stand'} in several {sides}: "
        f"{first_few(key[1] for key in apart.index)}",
        detail=(f"The {sides} were made image by image. " if image_level else "")
        + f"{sum(row['records'] for row in rows):,} of {len(frame):,} records belong to them. A model is scored on "
        f"{many} that it was trained on, so its scores are too high.",
        count=len(apart),
        action=_ADVICE[side].format(word=word),
        call=call,
        table=pd.DataFrame(rows),
    )
    return [finding]


def _space(frame: pd.DataFrame, column: str) -> pd.Series:
    """(n,) text: equal values of `column` are one group within one of these only. A link holds across sources."""
    spaces = pd.Series("", index=frame.index) if column == LINK else id_space(frame, column).fillna("")
    return spaces.rename(f"space of {column}")


def _holes(frame: pd.DataFrame) -> list[Finding]:
    known = frame.groupby(frame["source"].fillna(""))["patient_id"].agg(["count", "size"])
    partly = known[(known["count"] > 0) & (known["count"] < known["size"])]
    if not len(partly):
        return []
    without = int((partly["size"] - partly["count"]).sum())
    return [
        Finding(
            kind="records_without_patient",
            level="warning",
            title=f"{counted(without, 'record')} without patient_id, in a source whose other records have one",
            detail="Nobody can tell whether they show patients who stand elsewhere, and assign_folds refuses to guess.",
            count=without,
            action="Fill the column in, or leave these records out.",
            call='holes = data.frame["patient_id"].isna()\n'
            f'data = data.select(~(holes & data.frame["source"].isin({list(partly.index)!r})).to_numpy())',
            table=pd.DataFrame(
                {"source": partly.index, "records": partly["size"].values, "with_patient": partly["count"].values}
            ),
        )
    ]


def _lesions_of_several_patients(frame: pd.DataFrame) -> list[Finding]:
    known = frame[frame["lesion_id"].notna() & frame["patient_id"].notna()]
    # Patients of two sources may bear other names there: only ids that can be compared contradict each other.
    lesion = [_space(known, "lesion_id"), "lesion_id"]
    rows = known[known.groupby([*lesion, _space(known, "patient_id")])["patient_id"].transform("nunique") > 1]
    if not len(rows):
        return []
    several = rows.groupby([_space(rows, "lesion_id"), "lesion_id"]).size()
    return [
        Finding(
            kind="lesion_of_several_patients",
            level="warning",
            title=f"{counted(len(several), 'lesion id')} of more than one patient: "
            f"{first_few(several.index.get_level_values('lesion_id'))}",
            detail="One of the ids is wrong. Folds by patient may put such a lesion on both sides.",
            count=len(several),
            action="Mend the ids; until then group by lesion, or leave these records out.",
            call='data = mf.assign_folds(data, n_folds=5, group="lesion")',
            table=rows[["source", "lesion_id", "patient_id", "image_name"]].sort_values(["source", "lesion_id"]),
        )
    ]


def _no_groups(frame: pd.DataFrame) -> list[Finding]:
    ids = frame[["patient_id", "lesion_id"]].notna().any(axis=1).groupby(frame["source"].fillna("")).any()
    bare = list(ids.index[~ids])
    if not bare:
        return []
    return [
        Finding(
            kind="no_patients",
            level="note",
            title=f"No patient or lesion ids in {first_few(bare)}",
            detail="Several images of one patient cannot be told apart from several patients: scores may be too high, "
            "and nothing here can show it. Near duplicates below are the only trace.",
            count=len(bare),
        )
    ]
