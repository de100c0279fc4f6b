"""`Finding`: one thing an audit has to say, what to do about it, and the call that does it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

Level = Literal["leak", "warning", "note"]
LEVELS: tuple[Level, ...] = ("leak", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        kind: which check found it, e.g. "patient_in_several_folds".
        level: "leak" stands: scores of a model trained so are too high. "warning" can become one or biases the data.
            "note" is worth knowing.
        title: what was found, in one line.
        detail: what that means.
        count: how many groups, pairs, columns or records it concerns.
        action: what to do; empty where nothing is to be done.
        call: code that does it, with `data` for the data set and `audit` for the audit; empty where there is none.
        table: the cases, one a row.
    """

    kind: str
    level: Level
    title: str
    detail: str
    count: int
    action: str = ""
    call: str = ""
    table: pd.DataFrame = field(default_factory=pd.DataFrame, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON values; missing cells are null."""
        plain = {name: value for name, value in vars(self).items() if name != "table"}
        return {**plain, "table": records_of(self.table)}


def records_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as JSON objects; missing and infinite cells are null."""
    rows: list[dict[str, Any]] = json.loads(table.to_json(orient="records", force_ascii=False, double_precision=6))
    return rows


def first_few(names: Any, few: int = 5) -> str:
    """The first few of some names, with … where there are more."""
    listed = [str(name) for name in names]
    return ", ".join(listed[:few]) + (", …" if len(listed) > few else "")


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun, in the singular where it is 1."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
