"""A table is judged as a whole: every wrong cell is reported at once, by row, column and value."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.data.schema import (
    ALIASES,
    COLUMNS,
    DIAGNOSES,
    DIAGNOSIS_SYNONYMS,
    SITE_SYNONYMS,
    SITES,
    find_problems,
    to_records,
)
from melanomafusion.errors import TableError


def text_table(**columns):
    """A table as `read_text_table` gives it: text, index = line of the file."""
    table = pd.DataFrame(columns, dtype="str")
    table.index = pd.RangeIndex(2, len(table) + 2)
    return table


def records(table, has_target=True):
    return to_records(table, where="here.csv", source="synthetic", has_target=has_target)


def test_every_wrong_cell_is_reported_at_once_with_row_column_and_value():
    table = text_table(
        image_name=["a", "b", "c", "d", "a"],
        sex=["female", "femail", None, "male", "male"],
        age_approx=["0", "forty", "999", None, "-5"],
        anatom_site_general_challenge=["torso", "elbow", None, "palms/soles", "torso"],
        diagnosis=["melanoma", "nevus", "mole", None, "nevus"],
        target=["1", "0", "2", None, "0"],
    )
    with pytest.raises(TableError) as caught:
        records(table)
    error = caught.value
    starts = [
        "row 3, column age_approx: 'forty'; expected a number of years from 0 to 120",
        "row 3, column anatom_site_general_challenge: 'elbow'; expected one of head/neck",
        "row 3, column sex: 'femail'; expected one of female, male",
        "row 4, column age_approx: '999'; expected a number of years",
        "row 4, column diagnosis: 'mole'; expected one of AK",
        "row 4, column target: '2'; expected 0 (not melanoma) or 1 (melanoma)",
        "row 5, column target: is empty; expected 0",
        "row 6, column age_approx: '-5'; expected a number of years",
        "row 6, column image_name: 'a' stands already in row 2",
    ]
    assert len(error.problems) == len(starts)
    for problem, start in zip(error.problems, starts, strict=True):
        assert problem.startswith(start)
    assert str(error).startswith("here.csv: 9 problems\n")
    assert "the header is line 1" in str(error)


def test_a_name_twice_is_reported_with_both_rows():
    problems = find_problems(text_table(image_name=["a", "b", "a", "a"]), has_target=False)
    assert problems == [
        "row 4, column image_name: 'a' stands already in row 2",
        "row 5, column image_name: 'a' stands already in row 2",
    ]


def test_empty_names_are_reported():
    problems = find_problems(text_table(image_name=["a", None, None]), has_target=False)
    assert [problem.split(":")[0] for problem in problems] == ["row 3, column image_name", "row 4, column image_name"]
    assert all("is empty" in problem for problem in problems)


def test_rows_are_counted_as_lines_of_the_file_even_where_lines_were_left_out():
    table = text_table(image_name=["a", "b", "c"], sex=["female", "male", "other"])
    problems = find_problems(table.drop(index=3), has_target=False)
    assert problems == ["row 4, column sex: 'other'; expected one of female, male, or empty"]


def test_a_missing_column_is_reported_with_the_names_looked_for_and_those_there():
    with pytest.raises(TableError) as caught:
        records(text_table(photo=["a"], sex=["man"]))
    problems = caught.value.problems
    assert len(problems) == 3
    by_name = next(problem for problem in problems if problem.startswith("column image_name is missing"))
    for alias in ("isic_id", "image_id"):
        assert alias in by_name
    assert by_name.endswith("the table has photo, sex")
    assert any(problem.startswith("column target is missing") for problem in problems)
    assert any(problem.startswith("row 2, column sex: 'man'") for problem in problems)


def test_columns_that_a_source_requires_must_be_there_but_may_have_gaps():
    table = text_table(image_name=["a", "b"], sex=["male", None])
    assert find_problems(table, has_target=False, required=("sex",)) == []
    (problem,) = find_problems(table, has_target=False, required=("sex", "patient_id"))
    assert problem == "column patient_id is missing (also looked for patient); the table has image_name, sex"


@pytest.mark.parametrize(("target", "word"), [("0", "malignant"), ("1", "benign"), ("1.0", "Benign")])
def test_a_target_that_contradicts_benign_malignant_is_reported(target, word):
    table = text_table(image_name=["a", "b"], target=["0", target], benign_malignant=["benign", word])
    with pytest.raises(TableError) as caught:
        records(table)
    assert caught.value.problems == [f"row 3: target {target} contradicts benign_malignant {word!r}"]


def test_a_target_that_agrees_with_benign_malignant_or_stands_beside_none_is_accepted():
    table = text_table(
        image_name=["a", "b", "c"], target=["0", "1", "1"], benign_malignant=["benign", "malignant", None]
    )
    assert records(table)["target"].tolist() == [0, 1, 1]


@pytest.mark.parametrize("age", ["0", "0.5", "85", "120"])
def test_ages_from_0_to_120_are_accepted(age):
    assert records(text_table(image_name=["a"], age_approx=[age], target=["0"]))["age_approx"].tolist() == [float(age)]


@pytest.mark.parametrize("age", ["-1", "121", "999", "forty", "inf", "85+"])
def test_other_ages_are_refused_with_their_value(age):
    with pytest.raises(TableError, match="row 2, column age_approx") as caught:
        records(text_table(image_name=["a"], age_approx=[age], target=["0"]))
    assert repr(age) in caught.value.problems[0]


@pytest.mark.parametrize("target", ["2", "-1", "yes", "0.5", "malignant"])
def test_a_target_other_than_0_and_1_is_refused(target):
    with pytest.raises(TableError, match="row 2, column target"):
        records(text_table(image_name=["a"], target=[target]))


def test_the_message_shows_the_first_40_problems_and_the_error_holds_all():
    table = text_table(image_name=[f"i{n}" for n in range(100)], sex=["other"] * 100)
    with pytest.raises(TableError) as caught:
        records(table, has_target=False)
    assert len(caught.value.problems) == 100
    lines = str(caught.value).splitlines()
    assert lines[0] == "here.csv: 100 problems"
    assert sum("column sex" in line for line in lines) == 40
    assert "  … and 60 more (all in `error.problems`)" in lines


@settings(max_examples=25, deadline=None, database=None)
@given(st.data())
def test_the_problems_are_exactly_the_wrong_cells(data):
    n = data.draw(st.integers(1, 8))
    right = {
        "sex": ("female", "male", None),
        "age_approx": ("0", "35", "120", None),
        "anatom_site_general_challenge": (*SITES, None),
        "diagnosis": (*DIAGNOSES, None),
        "target": ("0", "1"),
    }
    wrong = {
        "sex": "both",
        "age_approx": "old",
        "anatom_site_general_challenge": "moon",
        "diagnosis": "?",
        "target": "9",
    }
    cells, expected = {"image_name": [f"i{row}" for row in range(n)]}, set()
    for column, values in right.items():
        cells[column] = []
        for row in range(n):
            is_wrong = data.draw(st.booleans())
            cells[column].append(wrong[column] if is_wrong else data.draw(st.sampled_from(values)))
            if is_wrong:
                expected.add(f"row {row + 2}, column {column}")
    problems = find_problems(text_table(**cells), has_target=True)
    assert len(problems) == len(expected)
    assert {problem.split(":")[0] for problem in problems} == expected
    # In row order.
    rows = [int(problem.split(",")[0].removeprefix("row ")) for problem in problems]
    assert rows == sorted(rows)


def test_records_have_all_columns_in_order_then_the_tables_own():
    table = text_table(image_name=["a", "b"], target=["1", "0"], camera=["x", None], age_approx=["40", None])
    frame = records(table)
    assert tuple(frame.columns) == (*COLUMNS, "camera")
    assert frame.index.tolist() == [0, 1]
    assert frame["age_approx"].dtype == np.float64
    assert str(frame["target"].dtype) == "Int8"
    assert frame["source"].tolist() == ["synthetic", "synthetic"]
    assert frame[["patient_id", "lesion_id", "sex", "diagnosis", "path"]].isna().all(axis=None)
    assert np.isnan(frame["age_approx"].iloc[1])


def test_no_row_is_dropped_and_the_order_stays():
    names = [f"i{n}" for n in (5, 3, 9, 1)]
    assert records(text_table(image_name=names, target=["0"] * 4))["image_name"].tolist() == names


def test_a_table_without_targets_gives_missing_targets_whatever_the_column_holds():
    frame = records(text_table(image_name=["a", "b"], target=["7", None]), has_target=False)
    assert frame["target"].isna().all()
    assert str(frame["target"].dtype) == "Int8"


def test_synonyms_end_in_the_vocabulary():
    assert set(SITE_SYNONYMS.values()) <= set(SITES)
    assert set(DIAGNOSIS_SYNONYMS.values()) <= set(DIAGNOSES)
    assert all(key == key.lower() for key in (*SITE_SYNONYMS, *DIAGNOSIS_SYNONYMS))
    assert all(DIAGNOSIS_SYNONYMS[name.lower()] == name for name in DIAGNOSES)


def test_an_alias_means_one_column_only():
    aliases = [alias for names in ALIASES.values() for alias in names]
    assert len(aliases) == len(set(aliases))
    assert all(ours in names for ours, names in ALIASES.items())
