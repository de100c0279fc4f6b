"""`read_fields`: one record's metadata are spelt and judged as those of a table are."""

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.data.fields import FIELDS, read_fields
from melanomafusion.data.schema import SEXES, SITE_SYNONYMS, SITES, find_problems, to_records
from melanomafusion.data.table import MISSING_WORDS, to_vocabulary
from melanomafusion.errors import MetadataError

WORDS = {
    "sex": [*SEXES, "F", "m", "Female", "x", "unknown", "NA", " male "],
    "age_approx": ["0", "45", "45.5", "120", "121", "-1", "x", "inf", "nan", "1_0", " 30 ", "UNKNOWN", "1e1"],
    "anatom_site_general_challenge": [*SITES, *SITE_SYNONYMS, "Torso", "somewhere", "null"],
}


@settings(deadline=None)  # pandera is imported by the first example
@given(st.fixed_dictionaries({}, optional={field: st.sampled_from(words) for field, words in WORDS.items()}))
def test_a_record_is_read_as_a_row_of_a_table_is(given_fields):
    words = {k: [v.strip()] for k, v in given_fields.items() if v.strip().lower() not in MISSING_WORDS}
    text = to_vocabulary(pd.DataFrame({"image_name": ["a"], **words}, dtype="str"), where="table")
    problems = find_problems(text, has_target=False)
    if problems:
        with pytest.raises(MetadataError) as error:
            read_fields(given_fields)
        assert len(str(error.value).splitlines()) == len(problems)
        return
    row = to_records(text, where="table", source="x", has_target=False).iloc[0]
    found = read_fields(given_fields)
    assert set(found) == set(FIELDS)
    for field, value in found.items():
        assert (value is None) == pd.isna(row[field])
        assert value is None or value == row[field]


@pytest.mark.parametrize("missing", [None, math.nan, "", " ", "NA", "unknown", "Null"])
def test_what_is_missing_is_none(missing):
    assert read_fields(dict.fromkeys(FIELDS, missing)) == dict.fromkeys(FIELDS)
    assert read_fields({}) == dict.fromkeys(FIELDS)


def test_numbers_are_ages_and_zero_is_one():
    assert read_fields({"age_approx": 0})["age_approx"] == 0.0
    assert read_fields({"age_approx": 45})["age_approx"] == 45.0


def test_every_problem_is_told_by_the_name_that_was_used():
    with pytest.raises(MetadataError) as error:
        read_fields({"sex": "x", "age_approx": "old", "colour": "red"}, names={"age_approx": "--age", "sex": "--sex"})
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert lines[0] == "colour: no such field. Known: --sex, --age, anatom_site_general_challenge"
    assert any(line.startswith("--sex 'x'; expected one of female, male") for line in lines)
    assert any(line.startswith("--age 'old'; expected a number of years from 0 to 120") for line in lines)
