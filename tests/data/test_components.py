"""Connected components against a search by hand."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.data.components import connected_components

PROPERTY = settings(max_examples=100, deadline=None, database=None)
ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "d", None]), st.sampled_from(["a", "x", "y", "z", None])), max_size=12
)


def reached(rows, start):
    """All rows that a chain of equal values joins to one."""
    seen, todo = {start}, [start]
    while todo:
        here = rows[todo.pop()]
        for number, other in enumerate(rows):
            if number not in seen and any(p is not None and p == q for p, q in zip(here, other, strict=True)):
                seen.add(number)
                todo.append(number)
    return seen


@PROPERTY
@given(ROWS)
def test_rows_joined_by_a_chain_of_equal_values_are_one(rows):
    first, second = (pd.Series([row[k] for row in rows], dtype="object") for k in (0, 1))
    found = connected_components(first, second)
    for number in range(len(rows)):
        assert set(np.flatnonzero(found == found[number])) == reached(rows, number)


def test_components_are_numbered_in_the_order_of_first_rows():
    assert connected_components(np.array(["q", "p", "q", None, "p"], dtype=object)).tolist() == [0, 1, 0, 2, 1]


def test_missing_values_join_nothing():
    assert connected_components(np.array([None, np.nan, pd.NA], dtype=object)).tolist() == [0, 1, 2]


def test_no_rows_are_no_components():
    assert connected_components(pd.Series([], dtype="object")).tolist() == []
