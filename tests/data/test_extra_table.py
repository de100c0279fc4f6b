"""Further columns from a table of their own."""

import numpy as np
import pandas as pd
import pytest

import melanomafusion as mf
from melanomafusion.data.extra_table import join_table
from melanomafusion.data.schema import COLUMNS
from melanomafusion.errors import TableError


@pytest.fixture
def data():
    frame = pd.DataFrame(index=range(2), columns=list(COLUMNS), dtype="object").assign(
        image_name=["b", "a"], source="here", target=pd.array([0, 1], dtype="Int8")
    )
    return mf.Dataset(frame)


def join(data, tmp_path, text):
    path = tmp_path / "extra.csv"
    path.write_text(text, encoding="utf-8")
    return join_table(data, path)


def test_columns_are_joined_by_name_numbers_as_numbers(data, tmp_path):
    frame = join(data, tmp_path, "isic_id,width,kind\na.jpg,10,x\nc,30,z\nb,,y\n").frame
    assert np.isnan(frame["width"][0])
    assert frame["width"][1] == 10.0
    assert frame["kind"].tolist() == ["y", "x"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("width\n3\n", "no column for the image names"),
        ("image_name,image,width\na,a,1\nb,b,1\n", "image_name and image for"),
        ("image_name,width\na,1\n", "1 of 2 records have no row, e.g. b"),
        ("image_name,width\na,1\nb,2\na,3\n", "row 4: 'a' stands twice"),
        ("image_name,width\na,1\nb,2\n,3\n", "row 4: the image name is empty"),
        ("image_name,target\na,1\nb,0\n", "column target: the data set has one"),
        ("image_name\na\nb\n", "no column beside"),
        ("", "empty"),
    ],
)
def test_what_does_not_fit_is_refused(data, tmp_path, text, told):
    with pytest.raises(TableError, match=told):
        join(data, tmp_path, text)


def test_all_that_does_not_fit_is_told_at_once(data, tmp_path):
    with pytest.raises(TableError) as error:
        join(data, tmp_path, "image_name,sex\nc,male\nc,female\n")
    assert len(error.value.problems) == 3
