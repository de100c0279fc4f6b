"""CSV files as they are found in the wild."""

import pandas as pd
import pytest

from melanomafusion.data.schema import ALIASES
from melanomafusion.data.table import MISSING_WORDS, read_text_table, to_vocabulary
from melanomafusion.errors import TableError


@pytest.fixture
def write(tmp_path):
    def write_bytes(content, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write_bytes


def read(path, **options):
    return to_vocabulary(read_text_table(path), where=str(path), **options)


def test_rows_are_numbered_as_lines_of_the_file(write):
    text = read_text_table(write("image_name,sex\na,male\nb,female\n"))
    assert text.index.tolist() == [2, 3]
    assert text["image_name"].tolist() == ["a", "b"]


def test_blank_lines_are_left_out_without_moving_the_numbers(write):
    text = read_text_table(write("image_name,sex\na,male\n\n,\nb,female\n"))
    assert text.index.tolist() == [2, 5]


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(write):
    plain = read_text_table(write("image_name,sex\na,male\nb,\n"))
    windows = read_text_table(write(b"\xef\xbb\xbfimage_name,sex\r\na,male\r\nb,\r\n", "windows.csv"))
    pd.testing.assert_frame_equal(plain, windows)


def test_values_are_stripped_and_stay_text(write):
    text = read_text_table(write("image_name , age\n 0012 ,050\n"))
    assert text.columns.tolist() == ["image_name", "age"]
    assert text.iloc[0].tolist() == ["0012", "050"]


@pytest.mark.parametrize("word", [*MISSING_WORDS, "NaN", "NULL", "N/A", "None", "  "])
def test_words_for_missing_are_missing(write, word):
    text = read_text_table(write(f"image_name,sex,age\na,{word},5\n"))
    assert text.loc[2].isna().tolist() == [False, True, False]


def test_quoted_commas_stay_in_their_value(write):
    assert read_text_table(write('image_name,note\na,"left, upper"\n'))["note"].tolist() == ["left, upper"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"image_name,target\n", "the table has a header but no rows"),
        (b"image_name,target\n,\n\n", "the table has a header but no rows"),
        (b"image_name,target\na,0,5\nb,1\n", "row 2: 3 values, the header has 2"),
        (b"image_name,target\na,0\nb,1,5\n", "row 3: 3 values, the header has 2"),
        ("image_name,note\na,naïve\n".encode("latin-1"), "not UTF-8 text"),
    ],
    ids=["empty", "header-only", "header-and-blanks", "first-row-long", "later-row-long", "latin-1"],
)
def test_a_file_that_is_no_table_is_refused_by_name(write, content, problem):
    path = write(content)
    with pytest.raises(TableError) as caught:
        read_text_table(path)
    assert str(path) in str(caught.value)
    assert caught.value.problems[0].startswith(problem)


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_another_separator_than_the_comma_is_named(write, mark):
    with pytest.raises(TableError, match=r"row 1: one column") as refused:
        read_text_table(write(mark.join(["image_name", "sex"]) + "\n" + mark.join(["a", "male"]) + "\n"))
    assert f"separated by {mark!r}. Save the table with commas." in str(refused.value)


def test_every_row_that_is_too_long_is_reported_with_its_line(write):
    with pytest.raises(TableError) as caught:
        read_text_table(write('image_name,note\na,left, upper\nb,"left, upper"\nc,x,y,z\n'))
    assert caught.value.problems == ["row 2: 3 values, the header has 2", "row 4: 4 values, the header has 2"]


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path):
    for path in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(TableError, match="there is no such file") as caught:
            read_text_table(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(("ours", "alias"), [(ours, alias) for ours, names in ALIASES.items() for alias in names])
def test_each_alias_is_found_in_any_case(write, ours, alias):
    for header in (alias, alias.upper(), alias.title().replace("_", " ")):
        text = read(write(f"{header},other\nx,y\n"))
        assert ours in text
        assert "other" in text


def test_values_are_spelt_in_our_words(write):
    text = read(
        write(
            "Image,Gender,Age,Site,DX\n"
            "a.jpg,F,0,Anterior Torso,MEL\n"
            "b.JPEG,Male,35,SCALP,Nv\n"
            "c.Png,unknown,UNKNOWN,Unknown,Lentigo NOS\n"
            "d,m,,acral,\n"
            "e.jpg.jpg,FEMALE,7,oral/genital,strange\n"
        )
    )
    assert text["image_name"].tolist() == ["a", "b", "c", "d", "e.jpg"]
    assert text["sex"].fillna("-").tolist() == ["female", "male", "-", "male", "female"]
    assert text["age_approx"].fillna("-").tolist() == ["0", "35", "-", "-", "7"]
    assert text["anatom_site_general_challenge"].fillna("-").tolist() == [
        "torso",
        "head/neck",
        "-",
        "palms/soles",
        "oral/genital",
    ]
    # An unknown word is left for the check to report; the published words are kept beside ours.
    assert text["diagnosis"].fillna("-").tolist() == ["melanoma", "nevus", "BKL", "-", "strange"]
    assert text["diagnosis_as_published"].fillna("-").tolist() == ["MEL", "Nv", "Lentigo NOS", "-", "strange"]


def test_an_unknown_diagnosis_is_no_nevus_and_not_missing(write):
    assert read(write("image_name,diagnosis\na,unknown\nb,UNK\n"))["diagnosis"].tolist() == ["unknown", "unknown"]


def test_two_headers_with_one_meaning_are_refused_by_name(write):
    with pytest.raises(TableError) as caught:
        read(write("image,isic_id,sex,gender\na,b,male,male\n"))
    assert len(caught.value.problems) == 2
    assert "columns image and isic_id both mean image_name" in caught.value.problems[0]
    assert "columns sex and gender both mean sex" in caught.value.problems[1]


def test_own_headers_are_named_with_columns(write):
    text = read(write("file,cancer,sex\na.png,1,f\n"), columns={"image_name": "file", "target": "cancer"})
    assert text.columns.tolist() == ["image_name", "target", "sex"]
    assert text.loc[2].tolist() == ["a", "1", "female"]


def test_a_header_taken_by_columns_is_not_taken_by_its_alias_too(write):
    # "site" is an alias of the body site; here it holds the hospital's patient number.
    text = read(write("image,site\na,P1\n"), columns={"patient_id": "site"})
    assert text["patient_id"].tolist() == ["P1"]
    assert "anatom_site_general_challenge" not in text


def test_named_columns_that_are_not_there_or_not_ours_are_all_refused(write):
    with pytest.raises(TableError) as caught:
        read(write("image,sex\na,male\n"), columns={"target": "cancer", "hospital": "sex", "patient_id": "who"})
    problems = caught.value.problems
    assert "column 'cancer' (given as target) is not in the table" in problems
    assert "column 'who' (given as patient_id) is not in the table" in problems
    assert any(problem.startswith("'hospital' is not a column of ours") for problem in problems)
    assert "The table has: image, sex." in str(caught.value)


def test_the_text_given_is_not_changed(write):
    text = read_text_table(write("image,sex\na.jpg,F\n"))
    before = text.copy()
    to_vocabulary(text, where="x")
    pd.testing.assert_frame_equal(text, before)
