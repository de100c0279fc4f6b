"""Files of scores as people have them: what is read as it was meant, and refusals that name file, row and value."""

import gzip
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.errors import PredictionsError, PredictionsWarning
from melanomafusion.predictions import Predictions
from melanomafusion.predictions.files import numbers, read_table

HEADER = "image_name,target,fold,score\n"


@pytest.fixture
def read(tmp_path):
    def call(content, kind=None, *, file="scores.csv", columns=None):
        (tmp_path / file).write_bytes(content.encode() if isinstance(content, str) else content)
        return Predictions.read_csv(tmp_path / file, kind, columns=columns)

    return call


@pytest.fixture
def parquet(tmp_path):
    def call(frame, kind=None, *, file="scores.parquet", columns=None, index=None):
        frame.to_parquet(tmp_path / file, index=index)
        return Predictions.read_parquet(tmp_path / file, kind, columns=columns)

    return call


def refused(call, *parts):
    with pytest.raises(PredictionsError) as error:
        call()
    for part in parts:
        assert part in str(error.value)
    return str(error.value)


def rows(member):
    return list(zip(member.image_names, member.scores, member.lines, strict=True))


# --- CSV as it comes --------------------------------------------------------------------------------------------------

GOOD = [("a", 0.5, 2), ("b", 0.25, 3)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("image_name,score\na,0.5\nb,0.25\n", GOOD),
        ("image_name,score\na,0.5\nb,0.25", GOOD),
        (b"\xef\xbb\xbfimage_name,score\na,0.5\nb,0.25\n", GOOD),
        (b"\xef\xbb\xbfimage_name,score\r\na,0.5\r\nb,0.25\r\n", GOOD),
        ("image_name,score\r\na,0.5\nb,0.25\r\n", GOOD),
        ("image_name,score\ra,0.5\rb,0.25\r", GOOD),
        ("image_name,score\n\n\na,0.5\n\nb,0.25\n\n", [("a", 0.5, 4), ("b", 0.25, 6)]),
        ("image_name,score\n,\na,0.5\n   \nb,0.25\n , \n", [("a", 0.5, 3), ("b", 0.25, 5)]),
        (" image_name , score \na, 0.5\nb,0.25 \n", GOOD),
        ('"image_name","score"\n"a","0.5"\n"b","0.25"\n', GOOD),
        ('image_name,score\n"a,1",0.5\n"say ""b""",0.25\n', [("a,1", 0.5, 2), ('say "b"', 0.25, 3)]),
        ("score,image_name\n0.5,a\n0.25,b\n", GOOD),
        (",image_name,score\n0,a,0.5\n1,b,0.25\n", GOOD),
        ("image_name,score\n0012,0.5\n012,0.25\n", [("0012", 0.5, 2), ("012", 0.25, 3)]),
        ("image_name,score\n1e3,0.5\n1000,0.25\n", [("1e3", 0.5, 2), ("1000", 0.25, 3)]),
        ("image_name,score\nTrue,0.5\n2020-01-01,0.25\n", [("True", 0.5, 2), ("2020-01-01", 0.25, 3)]),
        ("image_name,score\nläsion_é,0.5\n病变,0.25\n", [("läsion_é", 0.5, 2), ("病变", 0.25, 3)]),
        ("image_name,score\na,5e-1\nb,+.25\n", GOOD),
        ("image,score\na,0.5\nb,0.25\n", GOOD),
        ("image_id,score\na,0.5\nb,0.25\n", GOOD),
        ("isic_id,score\na,0.5\nb,0.25\n", GOOD),
    ],
)
def test_csv_is_read_as_it_was_meant(read, content, expected):
    assert rows(read(content)) == expected


@pytest.mark.parametrize(
    ("content", "row"),
    [
        (HEADER + "a,0,0,0.5\nb,1,1,oops\n", 3),
        (HEADER + "\na,0,0,0.5\n\n\nb,1,1,oops\n", 6),
        (HEADER.replace("\n", "\r\n") + "a,0,0,0.5\r\n\r\n,,,\r\nb,1,1,oops\r\n", 5),
        ("\ufeff" + HEADER + "a,0,0,0.5\n  \nb,1,1,oops\n", 4),
    ],
)
def test_rows_are_counted_as_an_editor_counts_them(read, content, row):
    refused(lambda: read(content), "scores.csv", f"row {row}, column score: 'oops' is not a number")


def test_rows_are_counted_as_an_editor_counts_them_after_a_line_break_in_a_cell(read):
    refused(lambda: read('image_name,score\n"a\nx",0.5\nb,oops\n'), "row 4")


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.text("ab0 ,\"'é-_\t", min_size=1, max_size=4).filter(lambda s: s.strip()), min_size=1, unique_by=str.strip
    ),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.lists(st.integers(0, 3), min_size=30, max_size=30),
)
def test_any_names_come_back_with_their_lines(tmp_path_factory, names, end, bom, blanks):
    path = tmp_path_factory.mktemp("names") / "scores.csv"
    text, line, lines = "image_name,score" + end, 1, []
    for i, (name, blank) in enumerate(zip(names, blanks, strict=False)):
        quoted = name.replace('"', '""')
        text += end * blank + f'"{quoted}",{(i + 1) / 64}{end}'
        line += blank + 1
        lines.append(line)
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + text.encode())
    member = Predictions.read_csv(path)
    assert list(member.image_names) == [name.strip() for name in names[: len(lines)]]
    assert list(member.lines) == lines
    assert list(member.scores) == [(i + 1) / 64 for i in range(len(lines))]


@pytest.mark.parametrize("word", ["NA", "None", "null"])
def test_an_image_may_have_the_name_of_nothing(read, word):
    assert list(read(f"image_name,score\na,0.5\n{word},0.25\n").image_names) == ["a", word]


@pytest.mark.parametrize("word", ["", " "])
def test_an_empty_name_is_refused(read, word):
    refused(lambda: read(f"image_name,score\na,0.5\n{word},0.25\n"), "scores.csv", "row 3: image_name is empty")


@pytest.mark.parametrize("word", ["", " ", "NA", "n/a", "NaN", "null", "None"])
def test_words_for_nothing_are_no_scores_and_no_patients(read, word):
    refused(lambda: read(f"image_name,score\na,0.5\nb,{word}\n"), "scores.csv", "row 3", "score", "of b")
    member = read(f"image_name,patient_id,score\na,p,0.5\nb,{word},0.25\n")
    assert list(member.frame["patient_id"].isna()) == [False, True]


def test_names_that_look_like_two_image_columns_are_not_guessed(read):
    refused(lambda: read("image,isic_id,score\na,x,0.5\nb,y,0.25\n"), "image_name is missing", "image, isic_id, score")
    assert rows(read("image,image_name,score\nx,a,0.5\ny,b,0.25\n")) == GOOD


def test_columns_that_differ_by_case_alone_are_refused(read):
    refused(lambda: read("image_name,score,Score\na,0.5,0.1\nb,0.25,0.2\n"), "'Score' stands twice")
    refused(lambda: read("Image_Name,Score\na,0.5\n"), "image_name is missing", "Image_Name, Score")


def test_names_of_patients_stay_text(read):
    member = read("image_name,patient_id,lesion_id,score\na,007,1e2,0.5\nb,07,100,0.25\n")
    assert list(member.frame["patient_id"]) == ["007", "07"]
    assert list(member.frame["lesion_id"]) == ["1e2", "100"]
    assert len(set(member.clusters[0])) == 2


# --- columns that have other names ------------------------------------------------------------------------------------


def test_columns_are_renamed(read):
    text = "file,label,cv,p\na,0,0,0.5\nb,1,1,0.25\n"
    member = read(text, columns={"image_name": "file", "target": "label", "fold": "cv", "score": "p"})
    assert member.kind == "oof"
    assert rows(member) == GOOD
    assert list(member.targets) == [0, 1]
    assert list(member.frame) == ["image_name", "target", "fold", "score"]


def test_the_column_that_was_named_wins_over_one_that_has_our_name(read):
    member = read("image_name,score,p\na,0.9,0.5\nb,0.8,0.25\n", columns={"score": "p"})
    assert rows(member) == GOOD
    member = read("image_name,image,score\nx,a,0.5\ny,b,0.25\n", columns={"image_name": "image"})
    assert rows(member) == GOOD


def test_our_name_may_be_named(read):
    assert rows(read("image_name,score\na,0.5\nb,0.25\n", columns={"score": "score"})) == GOOD


def test_a_named_column_that_is_not_there_is_refused(read):
    text = "image_name,score\na,0.5\n"
    refused(lambda: read(text, columns={"score": "p"}), "scores.csv", "'p' (given as score)", "image_name, score")


def test_columns_may_swap_their_names(read):
    text = "image_name,score,target\na,0,0.5\nb,1,0.25\n"
    member = read(text, "held_out", columns={"score": "target", "target": "score"})
    assert rows(member) == GOOD


# --- submissions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["image_name,target", "isic_id,target", "target,image_name"])
def test_a_kaggle_submission_is_test_predictions(read, header):
    cells = [("a", "0.5"), ("b", "0.25")]
    text = header + "\n" + "".join(f"{s},{n}\n" if header.startswith("target") else f"{n},{s}\n" for n, s in cells)
    member = read(text)
    assert member.kind == "test"
    assert rows(member) == GOOD


def test_a_sample_submission_is_refused(read):
    text = refused(lambda: read("image_name,target\na,0\nb,0\nc,0\n"), "scores.csv", "constant: 0 in all 3 rows")
    assert "row 2" in text
    assert "sample submission" in text


def test_a_single_record_is_not_constant(read):
    assert rows(read("image_name,score\na,0.5\n")) == [("a", 0.5, 2)]


def test_a_score_that_is_nearly_constant_is_not(read):
    assert len(read("image_name,score\na,0.5\nb,0.5\nc,0.5000000001\n")) == 3


# --- what is no table -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("", ("not a table of scores",)),
        ("\n\n", ("not a table of scores",)),
        ("image_name,score\n", ("not a table of scores", "no rows")),
        ("image_name,score\n\n,\n", ("not a table of scores", "no rows")),
        ("image_name;score\na;0.5\n", ("separated by ';'", "image_name;score")),
        ("image_name\tscore\na\t0.5\n", ("separated by '\\t'", "image_name\\tscore")),
        ("image_name,score,score\na,0.5,0.6\n", ("'score' stands twice in the header",)),
        ("image_name,score, score \na,0.5,0.6\n", ("'score' stands twice in the header",)),
        ("a,b,b,a\n1,2,3,4\n", ("'a' stands twice", "'b' stands twice")),
        ("image_name,score\na,0.5\nb,0.25,7\n", ("not a table of scores", "row 3")),
        ("image_name,score\na,0.5\nb,0.25\nc,1,2,3\n", ("not a table of scores", "row 4")),
        ('image_name,score\n"a,0.5\nb,0.25\n', ("not a table of scores",)),
        ("# by a tool\nimage_name,score\na,0.5\n", ("scores.csv",)),
        ("sep=,\nimage_name,score\na,0.5\n", ("image_name is missing",)),
        ("score\n0.5\n", ("image_name is missing", "columns={")),
        ("image_name,target,fold\na,0,0\n", ("column score is missing",)),
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe\x80", ("not a table of scores",)),
        (gzip.compress(b"image_name,score\na,0.5\n", mtime=0), ("not a table of scores",)),
        ("image_name,score\na,0.5\n".encode("utf-16"), ("not a table of scores",)),
        ("image_name,score\na,0.5\n".encode("utf-16-le"), ("not a table of scores",)),
        ("image_name,score\nl\xe4,0.5\n".encode("latin-1"), ("not a table of scores",)),
        (b"image_name,sc\x00ore\na,0.5\n", ("column score is missing",)),
        (b"image_name,score\na,0.\x005\nb,0.25\n", ("row 2", "is not a number")),
    ],
)
def test_what_is_no_table_of_scores_is_refused(read, content, parts):
    refused(lambda: read(content), "scores.csv", *parts)


LONG_ROWS = [
    "image_name,score\na,0.5,1\nb,0.25,2\n",
    "image_name,score\na,0.5,1\nb,0.25\n",
    "image_name,score\na,2,5\nb,-1,25\n",  # 2,5 and -1,25 with decimal commas
    HEADER + "a,1,0,0,5\nb,0,1,0,6\nc,0,1,1,0\n",
]


@pytest.mark.parametrize("content", LONG_ROWS)
def test_rows_longer_than_the_header_are_refused(read, content):
    refused(lambda: read(content), "scores.csv", "not a table of scores")


@pytest.mark.parametrize("content", LONG_ROWS)
def test_rows_longer_than_the_header_are_refused_where_warnings_are_no_errors(read, content):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refused(lambda: read(content), "scores.csv")


def test_a_short_row_is_refused(read):
    refused(lambda: read(HEADER + "a,0,0,0.5\nb,1,1\n"), "scores.csv", "row 3: 3 values, the header has 4")


def test_missing_files_and_folders_are_refused(tmp_path):
    refused(lambda: Predictions.read_csv(tmp_path / "nowhere.csv"), "There is no file", "nowhere.csv")
    refused(lambda: Predictions.read_csv(tmp_path), "is a folder", "oof.csv")
    refused(lambda: Predictions.read_csv(str(tmp_path / "nowhere.parquet")), "There is no file", "nowhere.parquet")
    (tmp_path / "folder.parquet").mkdir()
    refused(lambda: Predictions.read_parquet(tmp_path / "folder.parquet"), "is a folder")


# --- values that cannot be used ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ("b,1,1,high", ("column score: 'high' is not a number",)),
        ('b,1,1,"0,25"', ("column score: '0,25' is not a number",)),
        ("b,1,1,10%", ("column score: '10%' is not a number",)),
        ("b,1,1,0x1F", ("column score: '0x1F' is not a number",)),
        ("b,1,1,True", ("column score: 'True' is not a number",)),
        ("b,1,1,2020-01-01", ("column score: '2020-01-01' is not a number",)),
        ("b,1,1,", ("score", "of b is not a finite number")),
        ("b,1,1,nan", ("score", "of b is not a finite number")),
        ("b,1,1,inf", ("score", "inf", "of b is not a finite number")),
        ("b,1,1,-Infinity", ("score", "-inf", "of b is not a finite number")),
        ("b,1,1,1e400", ("score", "inf", "of b is not a finite number")),
        ("b,2,1,0.25", ("target", "2", "of b")),
        ("b,-1,1,0.25", ("target", "-1", "of b")),
        ("b,0.5,1,0.25", ("target", "0.5", "of b")),
        ("b,malignant,1,0.25", ("target 'malignant' of b",)),
        ("b,True,1,0.25", ("target 'True' of b",)),
        ("b,,1,0.25", ("target", "of b")),
        ("b,1,-1,0.25", ("fold", "-1", "of b")),
        ("b,1,0.5,0.25", ("fold", "0.5", "of b")),
        ("b,1,fold1,0.25", ("fold 'fold1' of b",)),
        ("b,1,inf,0.25", ("fold", "inf", "of b")),
        ("b,1,,0.25", ("fold", "of b")),
        ("a,1,1,0.25", ("image_name 'a' stands twice",)),
        (",1,1,0.25", ("image_name is empty",)),
    ],
)
def test_a_value_that_cannot_be_used_is_named_by_file_row_and_value(read, row, parts):
    refused(lambda: read(HEADER + f"\na,0,0,0.5\n\n{row}\nc,1,0,0.75\n"), "scores.csv", "row 5", *parts)


@pytest.mark.parametrize("target", ["1", "1.0", "1e0", " 1 "])
def test_targets_and_folds_may_be_written_as_decimals(read, target):
    member = read(HEADER + f"a,0,0,0.5\nb,{target},{target},0.25\n")
    assert list(member.targets) == [0, 1]
    assert list(member.frame["fold"]) == [0, 1]


def test_five_rows_are_named_of_many(read):
    text = refused(lambda: read(HEADER + "".join(f"i{i},0,0,bad{i}\n" for i in range(9))), "and 4 more rows")
    assert "row 2, column score: 'bad0'" in text
    assert "row 6, column score: 'bad4'" in text
    assert "row 7" not in text
    text = refused(lambda: read(HEADER + "".join(f"i{i},{i + 2},0,0.{i}\n" for i in range(9))), "and 4 more such rows")
    assert "row 6" in text
    assert "row 7" not in text


def test_exactly_five_rows_are_all_there_are(read):
    text = refused(lambda: read(HEADER + "".join(f"i{i},0,0,bad{i}\n" for i in range(5))))
    assert "more" not in text


def test_numbers_may_be_missing_where_that_is_allowed(tmp_path):
    (tmp_path / "t.csv").write_text("image_name,m,n\na,0.5,\nb,,x\nc,NA,0.1\n")
    frame = read_table(tmp_path / "t.csv")
    np.testing.assert_array_equal(numbers(frame, "m", "t", empty_is_missing=True), [0.5, np.nan, np.nan])
    refused(lambda: numbers(frame, "m", "t"), "t:", "row 3, column m", "row 4, column m")
    message = refused(lambda: numbers(frame, "n", "t", empty_is_missing=True), "row 3, column n: 'x' is not a number")
    assert "row 2" not in message


def test_numbers_of_text_keep_their_lines():
    frame = pd.DataFrame({"m": ["0.5", " 1e-3 ", "none"]}, index=[4, 7, 9], dtype=object)
    result = numbers(frame, "m", "here", empty_is_missing=True)
    assert list(result.index) == [4, 7, 9]
    np.testing.assert_array_equal(result, [0.5, 0.001, np.nan])
    refused(lambda: numbers(frame, "m", "here"), "here:", "row 9, column m: 'none' is not a number")


def test_underscores_make_no_number(read):
    refused(lambda: read("image_name,score\na,0.1_5\nb,0.25\n"), "row 2")


def test_spaces_around_names_do_not_count(read):
    assert rows(read("image_name,score\na ,0.5\n b,0.25\n")) == GOOD


# --- scores that can be used, but perhaps not as meant ----------------------------------------------------------------


def warned(call):
    """What was read, and the only warning that was given."""
    with pytest.warns(PredictionsWarning) as caught:
        member = call()
    assert [warning.category for warning in caught] == [PredictionsWarning]
    return member, str(caught[0].message)


@pytest.mark.parametrize(
    ("value", "shown"), [("1.5", "1.5"), ("-0.25", "-0.25"), ("1.0000001", "1"), ("1e308", "1e+308")]
)
def test_scores_outside_0_and_1_are_read_with_a_warning_that_names_row_and_value(read, value, shown):
    member, message = warned(lambda: read(f"image_name,score\n\na,0.5\nb,{value}\nc,{value}\n"))
    assert rows(member)[1] == ("b", float(value), 4)
    assert "scores.csv" in message
    assert f"2 scores lie outside [0, 1], e.g. {shown} in row 4" in message


def test_hard_answers_are_read_with_a_warning(read):
    member, message = warned(lambda: read("image_name,score\na,0\nb,1\nc,1.0\n"))
    assert list(member.scores) == [0, 1, 1]
    assert "scores.csv: every score is exactly 0 or 1 (2 of 3 are 1)" in message


@pytest.mark.parametrize("text", ["a,0\nb,1\n", "a,0\nb,1\nc,0.5\n", "a,0.0\nb,0.1\nc,1.0\n"])
def test_scores_of_0_and_1_among_others_are_no_hard_answers(read, text):
    read("image_name,score\n" + text)  # a warning would be an error


# --- what a file is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "kind"),
    [("image_name,target,fold,score", "oof"), ("image_name,score", "test"), ("image_name,score,sex", "test")],
)
def test_kind_is_seen_from_the_columns(read, header, kind):
    width = header.count(",")
    text = f"{header}\na,{','.join(['0'] * (width - 1) + ['0.5'])}\nb,{','.join(['1'] * (width - 1) + ['0.25'])}\n"
    if "sex" in header:
        text = header + "\na,0.5,male\nb,0.25,female\n"
    assert read(text).kind == kind


@pytest.mark.parametrize("kind", ["oof", "held_out", "test"])
def test_kind_may_be_said(read, kind):
    assert read(HEADER + "a,0,0,0.5\nb,1,1,0.25\n", kind).kind == kind
    refused(lambda: read(HEADER + "a,0,0,0.5\nb,1,1,0.25\n", "train"), "kind is one of")


def test_what_a_kind_does_not_need_is_not_checked(read):
    member = read(HEADER + "a,9,,0.5\nb,,0.5,0.25\n", "test")
    assert rows(member) == GOOD


# --- scores per class -------------------------------------------------------------------------------------------------

CLASSES = "image_name,fold,diagnosis,score_melanoma,score_nevus,score_other\n"


def test_scores_per_class_give_the_score_of_melanoma_and_the_target(read):
    member = read(CLASSES + "a,0,nevus,0.2,0.7,0.1\nb,1,melanoma,0.6,0.3,0.1\nc,1,other,0.1,0.1,0.8\n")
    assert member.kind == "oof"
    assert member.classes == ("melanoma", "nevus", "other")
    assert list(member.scores) == [0.2, 0.6, 0.1]
    assert list(member.targets) == [0, 1, 0]
    assert list(member.frame["score_nevus"]) == [0.7, 0.3, 0.1]
    assert list(member.frame["diagnosis"]) == ["nevus", "melanoma", "other"]


def test_the_short_name_of_melanoma_is_known(read):
    text = CLASSES.replace("melanoma", "mel") + "a,0,nevus,0.2,0.7,0.1\nb,1,mel,0.6,0.3,0.1\n"
    member = read(text)
    assert list(member.scores) == [0.2, 0.6]
    assert list(member.targets) == [0, 1]


def test_a_score_and_a_target_that_are_there_are_kept(read):
    text = "image_name,fold,target,score,score_melanoma,diagnosis\na,0,1,0.9,0.2,nevus\nb,1,0,0.8,0.1,melanoma\n"
    member = read(text)
    assert list(member.scores) == [0.9, 0.8]
    assert list(member.targets) == [1, 0]


def test_a_target_that_is_there_is_not_made_of_the_diagnosis(read):
    text = "image_name,fold,target,score_melanoma,diagnosis\na,0,1,0.2,melanoma in situ\nb,1,0,0.1,melanoma\n"
    member = read(text)
    assert list(member.scores) == [0.2, 0.1]
    assert list(member.targets) == [1, 0]


def test_scores_per_class_alone_are_test_predictions(read):
    member = read("image_name,score_melanoma,score_nevus\na,0.2,0.8\nb,0.6,0.4\n")
    assert (member.kind, list(member.scores)) == ("test", [0.2, 0.6])


def test_diagnoses_with_holes_give_no_target(read):
    text = "image_name,diagnosis,score_melanoma,score_nevus\na,nevus,0.2,0.8\nb,,0.6,0.4\n"
    assert read(text).kind == "test"
    refused(lambda: read(text, "held_out"), "column target is missing")


def test_scores_per_class_without_melanoma_have_no_score(read):
    refused(lambda: read("image_name,score_a,score_b\nx,0.2,0.8\n"), "column score is missing")


@pytest.mark.parametrize("cell", ["high", "", "inf"])
def test_a_score_of_a_class_that_cannot_be_used_is_named(read, cell):
    text = CLASSES + f"a,0,nevus,0.2,0.7,0.1\nb,1,melanoma,0.6,{cell},0.1\n"
    refused(lambda: read(text), "scores.csv", "row 3", "score_nevus")


@pytest.mark.parametrize(
    ("column", "diagnosis"), [("score_MEL", "mel"), ("score_melanoma", "MEL"), ("score_mel", "melanoma")]
)
def test_melanoma_is_melanoma_in_any_writing(read, column, diagnosis):
    text = f"image_name,fold,diagnosis,{column},score_nv\na,0,nv,0.2,0.8\nb,1,{diagnosis},0.6,0.4\n"
    assert list(read(text).targets) == [0, 1]


# --- Parquet ----------------------------------------------------------------------------------------------------------


def frame(**changes):
    columns = {"image_name": ["a", "b"], "target": [0, 1], "fold": [0, 1], "score": [0.5, 0.25]}
    return pd.DataFrame({k: v for k, v in {**columns, **changes}.items() if v is not None})


PARQUET = [("a", 0.5, 1), ("b", 0.25, 2)]


def test_parquet_is_read_with_rows_from_1(parquet):
    member = parquet(frame())
    assert member.kind == "oof"
    assert rows(member) == PARQUET
    refused(lambda: parquet(frame(target=[0, 7])), "scores.parquet", "row 2: target", "7", "of b")
    refused(lambda: parquet(frame(score=["0.5", "x"])), "row 2, column score: 'x' is not a number")


@pytest.mark.parametrize("file", ["scores.PARQUET", "scores.pq"])
def test_parquet_is_known_by_the_end_of_its_name(parquet, file):
    assert rows(parquet(frame(), file=file)) == PARQUET


@pytest.mark.parametrize(
    "changes",
    [
        {"score": pd.array([0.5, 0.25], dtype="float32")},
        {"score": ["0.5", "0.25"]},
        {"score": pd.Categorical([0.5, 0.25])},
        {"image_name": pd.Categorical(["a", "b"])},
        {"target": [False, True], "fold": pd.array([0, 1], dtype="Int8")},
        {"target": [0.0, 1.0], "fold": [0.0, 1.0]},
    ],
)
def test_parquet_of_other_types_is_read_as_it_was_meant(parquet, changes):
    member = parquet(frame(**changes))
    assert rows(member) == PARQUET
    assert list(member.targets) == [0, 1]


def test_parquet_may_hold_the_names_as_index(parquet):
    assert rows(parquet(frame().set_index("image_name"))) == PARQUET
    assert rows(parquet(frame().iloc[::-1])) == [("b", 0.25, 1), ("a", 0.5, 2)]
    assert rows(parquet(frame().set_axis([7, 9]))) == PARQUET


def test_parquet_columns_are_renamed_and_known(parquet):
    member = parquet(frame().rename(columns={"image_name": "isic_id", "score": "p"}), columns={"score": "p"})
    assert rows(member) == PARQUET


@pytest.mark.parametrize(
    "changes",
    [
        {"score": [0.5, np.nan]},
        {"score": [0.5, None]},
        {"score": [0.5, np.inf]},
        {"score": [[0.5], [0.25, 0.1]]},
        {"score": [{"x": 0.5}, {"x": 0.25}]},
        {"image_name": ["a", None]},
        {"image_name": ["a", "a"]},
        {"fold": [0, None]},
        {"target": [0, None]},
    ],
)
def test_parquet_with_values_that_cannot_be_used_is_refused(parquet, changes):
    refused(lambda: parquet(frame(**changes)), "scores.parquet", "row 2")


@pytest.mark.parametrize("content", [b"", b"image_name,score\na,0.5\n", b"PAR1" + b"\x00" * 40 + b"PAR1"])
def test_what_is_no_parquet_is_refused(read, content):
    refused(lambda: read(content, file="scores.parquet"), "scores.parquet", "not a Parquet table of scores")


def test_a_parquet_without_rows_is_refused(parquet):
    refused(lambda: parquet(frame().head(0)), "scores.parquet", "has no rows")


@pytest.mark.parametrize("names", [[1, 2], [1.0, 2.0]])
def test_names_in_parquet_are_text(parquet, names):
    assert [str(name) for name in parquet(frame(image_name=names)).image_names] == ["1", "2"]
    assert all(isinstance(name, str) for name in parquet(frame(image_name=names)).image_names)


@pytest.mark.parametrize("names", [[["a"], ["b"]], [b"1", b"2"], [{"x": "a"}, {"x": "b"}]])
def test_nested_names_in_parquet_are_refused(parquet, names):
    refused(lambda: parquet(frame(image_name=names)), "scores.parquet", "image_name")


@pytest.mark.parametrize("unit", ["2020-01-01", "2020-01-02"])
def test_dates_in_parquet_are_no_scores(parquet, unit):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refused(lambda: parquet(frame(score=pd.to_datetime(["2020-02-01", unit]))), "row 1")
