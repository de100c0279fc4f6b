"""What is wrong with a table of scores: every kind of problem, by line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from .files import SHOWN

_EXPECTED = {"target": "0 or 1", "fold": "a whole number from 0"}


def table_problems(frame: pd.DataFrame, needed: tuple[str, ...]) -> list[str]:
    """Every kind of problem, the first few rows of each, by line."""
    problems = ["has no rows"] if frame.empty else []
    names = frame["image_name"]
    problems += _first(names.duplicated() & names.notna(), lambda line: f"image_name {names.loc[line]!r} stands twice")
    problems += _first(names.isna(), lambda _: "image_name is empty")
    for column in ["score", *(c for c in frame if str(c).startswith("score_"))]:
        values = pd.to_numeric(frame[column], errors="coerce").astype("float64")
        bad = pd.Series(~np.isfinite(values), index=frame.index)
        problems += _first(
            bad, lambda line, c=column: f"{c} {_shown(frame[c].loc[line])} of {names.loc[line]} is not a finite number"
        )
    for column in needed:
        values = pd.to_numeric(frame[column], errors="coerce").astype("float64")
        usable = values.isin((0, 1)) if column == "target" else values.between(0, 2**31) & values.mod(1).eq(0)
        problems += _first(
            ~usable.astype(bool),
            lambda line, c=column: f"{c} {_shown(frame[c].loc[line])} of {names.loc[line]} is not {_EXPECTED[c]}",
        )
    return problems


def _shown(value: Any) -> str:
    return repr(value.item() if isinstance(value, np.generic) else value)


def _first(bad: pd.Series, text: Callable[..., str]) -> list[str]:
    lines = bad.index[bad.to_numpy(dtype=bool)]
    more = [f"… and {len(lines) - SHOWN:,} more such rows"] if len(lines) > SHOWN else []
    return [f"row {line}: {text(line)}" for line in lines[:SHOWN]] + more
