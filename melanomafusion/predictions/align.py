"""Bring members to the same records by image name, never by row."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..errors import PredictionsError
from .files import SHOWN
from .predictions import Predictions


def align(members: Mapping[str, Predictions], *, missing: str = "error") -> dict[str, Predictions]:
    """Bring members to the same records in the same order, by image name.

    Args:
        members: name → predictions, all of one kind.
        missing: "error" refuses members that lack records or were trained on other folds; "intersect" keeps the common
            records, each member with its own folds.

    Returns:
        The members in the order given, their records in the order of the first.

    Raises:
        PredictionsError: no members, mixed kinds, other records or folds, targets that differ; every member that does
            not fit is named, with the first few records, rows and values.
    """
    if not members:
        raise PredictionsError("No members were given.")
    if missing not in ("error", "intersect"):
        raise PredictionsError(f'missing is "error" or "intersect". Received: missing={missing!r}')
    kinds = {name: member.kind for name, member in members.items()}
    if len(set(kinds.values())) > 1:
        raise PredictionsError(
            "Members of different kinds cannot be joined: "
            + ", ".join(f"{_label(name, members)} {kind}" for name, kind in kinds.items())
        )
    names = {name: pd.Index(member.image_names, dtype=object) for name, member in members.items()}
    first, *others = members
    common = names[first]
    for name in others:
        common = common[names[name].get_indexer(common) >= 0]
    problems = [] if missing == "intersect" else _other_records(members, names, first, others)
    if not len(common):
        raise PredictionsError("\n".join(["The members have no record in common.", *problems]))
    positions = {name: names[name].get_indexer(common) for name in members}
    problems += _other_values("target", members, positions, first, others)
    folds = _other_values("fold", members, positions, first, others)
    if folds and missing == "error":
        problems += [*folds, 'missing="intersect" joins them, each with its own folds.']
    if problems:
        raise PredictionsError("\n".join(problems))
    return {name: member.take(positions[name]) for name, member in members.items()}


def _other_records(
    members: Mapping[str, Predictions], names: dict[str, pd.Index], first: str, others: list[str]
) -> list[str]:
    problems = []
    for name in others:
        without, extra = names[first].difference(names[name]), names[name].difference(names[first])
        if len(without) or len(extra):
            problems.append(
                f"{_label(name, members)} lacks {len(without):,} records of {_label(first, members)} "
                f"({_shown(without, members[first], names[first])}) and has {len(extra):,} that {first} lacks "
                f"({_shown(extra, members[name], names[name])})."
            )
    return [*problems, 'missing="intersect" keeps the common ones.'] if problems else []


def _other_values(
    column: str, members: Mapping[str, Predictions], positions: dict[str, np.ndarray], first: str, others: list[str]
) -> list[str]:
    problems = []
    reference = members[first]
    for name in others:
        member = members[name]
        if column not in reference.frame or column not in member.frame:
            continue
        ours, theirs = positions[first], positions[name]
        expected, found = reference.frame[column].to_numpy()[ours], member.frame[column].to_numpy()[theirs]
        differ = np.flatnonzero((expected != found) & ~(pd.isna(expected) & pd.isna(found)))
        if not len(differ):
            continue
        shown = ", ".join(
            f"{reference.image_names[ours[i]]} ({found[i]} in row {member.lines[theirs[i]]} against {expected[i]} in "
            f"row {reference.lines[ours[i]]})"
            for i in differ[:SHOWN]
        ) + (", …" if len(differ) > SHOWN else "")
        a, b = _label(name, members), _label(first, members)
        problems.append(
            f"{a} and {b} disagree on the target of {len(differ):,} records: {shown}."
            if column == "target"
            else f"{a} was trained on other folds than {b}: {len(differ):,} records differ: {shown}."
        )
    return problems


def _label(name: str, members: Mapping[str, Predictions]) -> str:
    file = members[name].name
    return name if file in (name, "predictions") else f"{name} ({file})"


def _shown(wanted: pd.Index, member: Predictions, names: pd.Index) -> str:
    rows = member.lines[names.get_indexer(wanted[:SHOWN])]
    text = ", ".join(f"{name}, row {row}" for name, row in zip(wanted, rows, strict=False))
    return (text + (", …" if len(wanted) > SHOWN else "")) or "none"
