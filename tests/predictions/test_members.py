"""Several members from one table: wide (a column per member) and long (a column that names the member)."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.errors import PredictionsError, PredictionsWarning
from melanomafusion.predictions import align, read_members

WIDE = """image_name,patient_id,target,fold,b4,b5,sex,note
a,p,0,0,0.1,0.3,male,x
b,p,1,0,0.9,0.5,female,y
c,q,0,1,0.2,0.6,,z
"""


@pytest.fixture
def read(tmp_path):
    def call(text, scores=None, **options):
        (tmp_path / "table.csv").write_text(text, encoding="utf-8")
        return read_members(tmp_path / "table.csv", scores, **options)

    return call


def refused(call, *parts):
    with pytest.raises(PredictionsError) as error:
        call()
    for part in parts:
        assert part in str(error.value)
    return str(error.value)


def rows(member):
    return list(zip(member.image_names, member.scores, member.lines, strict=True))


def found(members):
    return {name: rows(member) for name, member in members.items()}


# --- wide tables ------------------------------------------------------------------------------------------------------


def test_columns_are_members_in_the_order_asked_for(read):
    members = read(WIDE, ["b5", "b4"])
    assert found(members) == {
        "b5": [("a", 0.3, 2), ("b", 0.5, 3), ("c", 0.6, 4)],
        "b4": [("a", 0.1, 2), ("b", 0.9, 3), ("c", 0.2, 4)],
    }
    for name, member in members.items():
        assert member.kind == "oof"
        assert list(member.targets) == [0, 1, 0]
        assert list(member.frame["fold"]) == [0, 0, 1]
        assert member.clusters[1] == "patient"
        assert member.name.endswith(f"table.csv, column {name}")


def test_columns_about_records_are_kept_and_others_left_behind(read):
    columns = list(read(WIDE, ["b4"])["b4"].frame)
    assert columns == ["image_name", "patient_id", "target", "fold", "score", "sex"]


def test_members_are_named_by_a_mapping(read):
    assert found(read(WIDE, {"small": "b4", "large": ["b5"]})) == {
        "small": [("a", 0.1, 2), ("b", 0.9, 3), ("c", 0.2, 4)],
        "large": [("a", 0.3, 2), ("b", 0.5, 3), ("c", 0.6, 4)],
    }


def test_several_columns_of_a_member_are_averaged(read):
    text = "image_name,f0,f1,f2,g0\na,0.1,0.2,0.6,1\nb,0.5,0.5,0.8,0.5\n"
    members = read(text, {"f": ["f0", "f1", "f2"], "g": "g0"})
    np.testing.assert_allclose(members["f"].scores, [0.3, 0.6], rtol=0, atol=1e-15)
    assert list(members["g"].scores) == [1, 0.5]
    assert {member.kind for member in members.values()} == {"test"}
    assert members["f"].name.endswith("column f0+f1+f2")


@pytest.mark.parametrize("empty", ["", "NA", " ", "nan", "None"])
def test_an_empty_cell_means_that_the_member_lacks_the_record(read, empty):
    members = read(f"image_name,m,n\na,0.1,0.5\n\nb,{empty},0.6\nc,0.3,0.7\n", ["m", "n"])
    assert found(members) == {
        "m": [("a", 0.1, 2), ("c", 0.3, 5)],
        "n": [("a", 0.5, 2), ("b", 0.6, 4), ("c", 0.7, 5)],
    }
    refused(lambda: align(members), "n", "has 1 that m lacks (b, row 4)")


def test_a_row_with_some_but_not_all_of_a_members_columns_is_refused(read):
    text = "image_name,f0,f1\na,0.1,0.2\nb,,\nc,,0.5\nd,0.2,\n"
    refused(lambda: read(text, {"f": ["f0", "f1"]}), "table.csv", "row 4", "f0, f1 of f", "2 such rows")
    text = "image_name,f0,f1\na,0.1,0.2\nb,,\nc,0.3,0.5\n"
    members = read(text, {"f": ["f0", "f1"]})
    assert list(members["f"].image_names) == ["a", "c"]


@pytest.mark.parametrize("cell", ["high", '"0,5"', "True"])
def test_text_in_a_cell_is_refused_with_its_row(read, cell):
    text = f"image_name,m,n\na,0.1,0.5\n\nb,,{cell}\nc,0.3,0.7\n"
    refused(lambda: read(text, ["m", "n"]), "table.csv", "row 4, column n:", f"{cell.strip(chr(34))!r} is not a number")
    assert list(read(text, ["m"])["m"].image_names) == ["a", "c"]


@pytest.mark.parametrize("cell", ["inf", "1e400", "-Infinity"])
def test_infinity_in_a_cell_is_refused_with_its_row(read, cell):
    text = f"image_name,m,n\na,0.1,0.5\nb,0.2,{cell}\n"
    refused(lambda: read(text, ["m", "n"]), "table.csv, column n", "row 3", "inf", "of b is not a finite number")
    refused(lambda: read(text, {"both": ["m", "n"]}), "table.csv, column m+n", "row 3", "of b")


def test_one_fold_column_serves_all_members(read):
    text = WIDE.replace("fold", "cv")
    members = read(text, ["b4", "b5"], fold="cv")
    assert [list(member.frame["fold"]) for member in members.values()] == [[0, 0, 1]] * 2
    assert [member.kind for member in members.values()] == ["oof"] * 2


def test_each_member_may_have_its_own_folds(read):
    text = "image_name,target,f4,f5,b4,b5\na,0,0,1,0.1,0.3\nb,1,1,2,0.9,0.5\n"
    members = read(text, ["b4", "b5"], fold={"b4": "f4", "b5": "f5"})
    assert [list(member.frame["fold"]) for member in members.values()] == [[0, 1], [1, 2]]
    refused(lambda: align(members), "other folds")


def test_folds_are_empty_where_the_member_is_only(read):
    text = "image_name,target,f4,f5,b4,b5\na,0,0,,0.1,\nb,1,1,2,0.9,0.5\nc,0,1,0,0.7,0.6\n"
    members = read(text, ["b4", "b5"], fold={"b4": "f4", "b5": "f5"})
    assert list(members["b5"].image_names) == ["b", "c"]
    assert list(members["b5"].frame["fold"]) == [2, 0]


def test_partly_empty_fold_columns_are_refused(read):
    text = "image_name,target,cv,b4,b5\na,0,0,0.1,0.3\nb,1,,0.9,0.5\n"
    refused(lambda: read(text, ["b4", "b5"], fold="cv"), "table.csv, column b4", "row 3", "fold", "of b")
    text = text.replace("cv", "fold")
    refused(lambda: read(text, ["b4", "b5"]), "table.csv, column b4", "row 3", "fold", "of b")


def test_folds_of_some_members_only_leave_the_others_without(read):
    text = "image_name,target,f4,b4,b5\na,0,0,0.1,0.3\nb,1,1,0.9,0.5\n"
    refused(lambda: read(text, ["b4", "b5"], fold={"b4": "f4"}), "table.csv, column b5", "has target but not both")


@pytest.mark.parametrize(
    ("scores", "fold", "named"),
    [
        (["b4", "b6"], None, "'b6'"),
        ({"x": "b6"}, None, "'b6'"),
        ({"x": ["b4", "b6", "b7"]}, None, "'b6', 'b7'"),
        (["b4"], "cv", "'cv'"),
        (["b4"], {"b4": "cv"}, "'cv'"),
        (["b4"], {"b5": "fold"}, "'b5'"),
        (["b6"], {"b6": "b6"}, "'b6'. It"),
    ],
)
def test_unknown_columns_and_members_are_refused(read, scores, fold, named):
    refused(
        lambda: read(WIDE, scores, fold=fold), "table.csv", "no column or member " + named, "image_name, patient_id"
    )


@pytest.mark.parametrize("scores", ["b4", [], {}, ()])
def test_scores_that_name_no_columns_are_refused(read, scores):
    refused(lambda: read(WIDE, scores), "scores is a list of columns", f"scores={scores!r}")


@pytest.mark.filterwarnings("ignore:Boolean Series key")
@pytest.mark.parametrize("scores", [{"b4": []}, {"b4": 4}])
def test_a_member_of_no_columns_is_refused(read, scores):
    refused(lambda: read(WIDE, scores), "b4")


def test_kind_may_be_said_for_all(read):
    for kind in ("oof", "held_out", "test"):
        assert {member.kind for member in read(WIDE, ["b4", "b5"], kind=kind).values()} == {kind}
    text = "image_name,target,m\na,0,0.1\nb,1,0.3\n"
    refused(lambda: read(text, ["m"]), "table.csv, column m", 'kind="held_out"')
    assert read(text, ["m"], kind="held_out")["m"].kind == "held_out"


def test_a_column_that_is_constant_is_refused_by_its_name(read):
    text = "image_name,m,n\na,0.1,0.5\nb,0.2,0.5\n"
    refused(lambda: read(text, ["m", "n"]), "table.csv, column n", "constant: 0.5 in all 2 rows")


def test_a_column_without_any_score_is_refused_by_its_name(read):
    refused(lambda: read("image_name,m,n\na,0.1,\nb,0.2,\n", ["m", "n"]), "table.csv, column n", "has no rows")


def test_names_that_stand_twice_are_refused_with_their_row(read):
    text = "image_name,m,n\na,0.1,0.2\na,,0.3\nb,0.3,0.4\n"
    refused(lambda: read(text, ["n"]), "table.csv, column n", "row 3: image_name 'a' stands twice")
    assert rows(read(text, ["m"])["m"]) == [("a", 0.1, 2), ("b", 0.3, 4)]


def test_a_column_of_scores_outside_0_and_1_is_read_with_a_warning(read):
    with pytest.warns(PredictionsWarning, match=r"column n: 1 scores lie outside \[0, 1\], e.g. 2 in row 3") as caught:
        members = read("image_name,m,n\na,0.1,0.5\nb,0.2,2\n", ["m", "n"])
    assert len(caught) == 1
    assert list(members["n"].scores) == [0.5, 2]


def test_columns_are_renamed_before_they_are_picked(read):
    text = "isic,y,m\na,0,0.1\nb,1,0.3\n"
    names = {"image_name": "isic", "target": "y", "score of m": "m"}
    assert rows(read(text, ["score of m"], columns=names, kind="held_out")["score of m"]) == [
        ("a", 0.1, 2),
        ("b", 0.3, 3),
    ]


def test_parquet_is_read_with_rows_from_1(tmp_path):
    frame = pd.DataFrame({"image_name": ["a", "b", "c"], "m": [0.1, None, 0.3], "n": ["0.1", "0.2", "x"]})
    frame.to_parquet(tmp_path / "t.parquet")
    assert rows(read_members(tmp_path / "t.parquet", ["m"])["m"]) == [("a", 0.1, 1), ("c", 0.3, 3)]
    refused(lambda: read_members(tmp_path / "t.parquet", ["n"]), "t.parquet", "row 3, column n: 'x'")


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.lists(st.one_of(st.none(), st.integers(1, 9)), min_size=3, max_size=3), min_size=2, max_size=6).filter(
        lambda t: all(len({r[k] for r in t} - {None}) > 1 for k in range(3))
    )
)
def test_any_wide_table_gives_each_member_its_own_records(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("wide") / "t.csv"
    lines = [f"i{i}," + ",".join("" if cell is None else f"0.{cell}" for cell in row) for i, row in enumerate(table)]
    path.write_text("\n".join(["image_name,x,y,z", *lines]) + "\n")
    for k, member in enumerate(read_members(path, ["x", "y", "z"]).values()):
        expected = [(f"i{i}", row[k] / 10, i + 2) for i, row in enumerate(table) if row[k] is not None]
        assert rows(member) == expected


# --- long tables ------------------------------------------------------------------------------------------------------

LONG = """member,image_name,target,fold,score
b5,a,0,0,0.1
b5,b,1,1,0.9
b4,b,1,1,0.8

b4,a,0,0,0.2
"""
PARTS = {"b5": [("a", 0.1, 2), ("b", 0.9, 3)], "b4": [("b", 0.8, 4), ("a", 0.2, 6)]}


def test_long_tables_are_split_by_member_in_the_order_of_the_file(read):
    members = read(LONG)
    assert found(members) == PARTS
    assert list(members) == ["b5", "b4"]
    for name, member in members.items():
        assert member.kind == "oof"
        assert member.name.endswith(f"table.csv, member {name}")
        assert list(member.frame) == ["image_name", "target", "fold", "score"]


def test_the_column_of_members_may_be_named(read):
    assert found(read(LONG.replace("member", "model"), member="model")) == PARTS
    assert found(read(LONG.replace("member", "model"), columns={"member": "model"})) == PARTS


def test_rows_of_members_may_be_mixed(read):
    text = "member,image_name,score\nx,a,0.1\ny,b,0.3\nx,b,0.2\ny,a,0.4\n"
    assert found(read(text)) == {"x": [("a", 0.1, 2), ("b", 0.2, 4)], "y": [("b", 0.3, 3), ("a", 0.4, 5)]}


def test_members_of_a_long_table_are_named_in_refusals(read):
    refused(lambda: read(LONG.replace("b4,a", "b4,b")), "table.csv, member b4", "row 6: image_name 'b' stands twice")
    refused(lambda: read(LONG.replace("0.2", "oops")), "table.csv, member b4", "row 6", "'oops'")
    refused(
        lambda: read(LONG.replace("0.2", "0.8")), "table.csv, member b4", "constant: 0.8 in all 2 rows (from row 4)"
    )
    refused(lambda: read(LONG.replace("b4,a,0,0", "b4,a,0,")), "table.csv, member b4", "row 6", "fold")


def test_rows_without_member_are_refused(read):
    refused(lambda: read(LONG.replace("b4,a", ",a")), "table.csv", "column member is empty in row 6")


def test_a_table_that_is_neither_wide_nor_long_asks(read):
    refused(lambda: read("image_name,b4\na,0.1\n"), "table.csv", "scores=[...]", "member=...", "image_name, b4")


def test_a_column_of_members_that_is_not_there_is_refused(read):
    refused(lambda: read(LONG, member="model"), "table.csv", "no column 'model'", "member, image_name")


def test_wide_and_long_at_once_is_refused(read):
    refused(lambda: read(LONG, ["score"], member="member"), "Give one")


def test_kind_of_long_tables_may_be_said(read):
    assert {member.kind for member in read(LONG, kind="held_out").values()} == {"held_out"}
    text = "member,image_name,target,score\nx,a,0,0.1\nx,b,1,0.2\n"
    refused(lambda: read(text), "table.csv, member x", 'kind="held_out"')
    assert read(text, kind="held_out")["x"].kind == "held_out"


@pytest.mark.parametrize("column", ["member", "model"])
def test_members_named_by_digits_keep_their_names(read, column):
    text = f"{column},image_name,score\n1,a,0.1\n1,b,0.2\n02,a,0.3\n02,b,0.4\n"
    assert list(read(text, member=column)) == ["1", "02"]
