"""Members side by side: the join, what is known of the records, and the ensemble's predictions from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..errors import PredictionsError
from ..predictions import Predictions, align
from ..predictions.doubts import refuse_constant

Members = Mapping[str, Predictions]
_KEPT = ("image_name", "patient_id", "lesion_id", "cluster", "target", "diagnosis", "fold", "grouped_by")


@dataclass(frozen=True)
class Inputs:
    """Members on one scale, in the order of their names, so that the order given changes no bit of a result.

    Attributes:
        names: (k,) sorted.
        scores: (k, n).
        targets: (n,) of 0 and 1; None for test records.
        table: what the members' tables know of the records, with metadata.
        positions: (n,) rows of the table that these records are.
    """

    names: tuple[str, ...]
    scores: np.ndarray
    targets: np.ndarray | None
    table: pd.DataFrame
    positions: np.ndarray

    @property
    def frame(self) -> pd.DataFrame:
        """(n rows) the records' table, cut out when asked for: most ensembles never ask."""
        return self.table.iloc[self.positions]

    def rows(self, which: np.ndarray) -> Inputs:
        """The records where the mask is true."""
        targets = None if self.targets is None else self.targets[which]
        return Inputs(self.names, self.scores[:, which], targets, self.table, self.positions[which])

    def only(self, names: Collection[str]) -> Inputs:
        """Some of the members."""
        kept = [i for i, name in enumerate(self.names) if name in names]
        names = tuple(self.names[i] for i in kept)
        return Inputs(names, self.scores[kept], self.targets, self.table, self.positions)


def aligned_oof(members: Members, missing: str) -> dict[str, Predictions]:
    """Out-of-fold members on the same records.

    Raises:
        PredictionsError: another kind, records or folds that differ, or a constant score.
    """
    wrong = [f"{name} ({member.kind})" for name, member in members.items() if member.kind != "oof"]
    if wrong:
        raise PredictionsError(f"Only out-of-fold predictions may be fitted on. Received: {', '.join(wrong)}")
    aligned = align(members, missing=missing)
    for member in aligned.values():
        refuse_constant(member)
    return aligned


def as_inputs(aligned: dict[str, Predictions]) -> Inputs:
    """Members in the order of their names."""
    names = tuple(sorted(aligned))
    first = known_records(aligned)
    scores = np.stack([aligned[name].scores for name in names])
    targets = None if first.kind == "test" else first.targets
    return Inputs(names, scores, targets, first.frame, np.arange(len(first)))


def known_records(aligned: dict[str, Predictions]) -> Predictions:
    """The member whose name comes first, with what only other members know of the records (patients, metadata).

    So neither the order in which members are given nor a member without patients decides how folds are made.
    """
    first, *others = (aligned[name] for name in sorted(aligned))
    frame, more = first.frame, False
    for other in others:
        table = other.frame
        for column in table:
            own = str(column).startswith(("score", "fold")) or column == "grouped_by"
            if not own and (column not in frame or frame[column].isna().all()):
                frame[column], more = table[column], True
    return Predictions(frame, first.kind, name=first.name, lines=first.lines) if more else first


def combined(
    aligned: dict[str, Predictions], scores: np.ndarray, name: str, *, folds: np.ndarray | None = None
) -> Predictions:
    """The ensemble's predictions; members of other folds keep theirs in columns `fold_<member>`.

    Members of the same classes give `score_<class>` too: their plain mean, as what is fitted weighs the one score only.

    Args:
        aligned: the members.
        scores: (n,) of the ensemble.
        name: of the result.
        folds: (n,) that it was nested in; the members' own without it.
    """
    first, *others = aligned.values()
    known = known_records(aligned).frame
    frame = known[[c for c in _KEPT if c in known]].assign(score=scores)
    if all("fold" in member.frame for member in aligned.values()):
        frame["fold"] = first.frame["fold"]
    else:
        frame = frame.drop(columns="fold", errors="ignore")
    if "fold" in frame and any((member.frame["fold"] != frame["fold"]).any() for member in others):
        own = {f"fold_{member_name}": member.frame["fold"] for member_name, member in aligned.items()}
        frame = frame.assign(**own)
        frame["fold"] = pd.factorize(pd.MultiIndex.from_frame(frame[list(own)]))[0]
    if folds is not None:
        frame["fold"] = folds
    frame = frame.assign(**_class_means(aligned))
    if any("grouped_by" in member.frame for member in aligned.values()):
        words = [word for member in aligned.values() for word in (member.grouped_by or "").split(" + ") if word]
        frame["grouped_by"] = " + ".join(dict.fromkeys(words))
    return Predictions(frame, first.kind, name=name, lines=first.lines)


def _class_means(aligned: dict[str, Predictions]) -> dict[str, np.ndarray]:
    """Column → (n,) mean over the members, summed in the order of their names; none where they know other classes."""
    classes = next(iter(aligned.values())).classes
    if any(set(member.classes) != set(classes) for member in aligned.values()):
        return {}
    tables = [aligned[name].frame for name in sorted(aligned)]
    return {
        column: np.asarray(np.mean([table[column] for table in tables], axis=0))
        for column in (f"score_{label}" for label in classes)
    }
