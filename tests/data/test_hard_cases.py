"""Hard cases of tables, folds and files that users bring: each was wrong once."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from melanomafusion.atomic import atomic_file, atomic_folder
from melanomafusion.data.dataset import Dataset
from melanomafusion.data.fold_files import read_folds, write_folds
from melanomafusion.data.folds import assign_folds
from melanomafusion.data.groups import group_keys
from melanomafusion.data.metadata import MetadataEncoder
from melanomafusion.data.schema import find_problems
from melanomafusion.data.sources.catalogue import load_source
from melanomafusion.data.sources.csv_table import load_csv
from melanomafusion.data.sources.ham10000 import load_ham10000
from melanomafusion.data.sources.image_folders import load_image_folders
from melanomafusion.data.sources.isic_2019 import load_isic_2019
from melanomafusion.data.table import read_text_table
from melanomafusion.errors import FoldError, MelanomaFusionError, OutputError, TableError


@pytest.fixture
def write(tmp_path):
    def write_text(text, name="table.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


def test_a_patient_in_two_folds_is_refused_beside_a_source_without_patients(write, tmp_path):
    bare = load_csv(write("image,target\n" + "".join(f"x{k},{k % 2}\n" for k in range(8)), "a.csv"))
    patients = load_csv(
        write("image,patient,target\n" + "".join(f"y{k},p{k // 2},{k % 2}\n" for k in range(8)), "b.csv")
    )
    both = bare.concat(patients)
    write_folds(assign_folds(both, 2), tmp_path / "folds.csv")
    table = pd.read_csv(tmp_path / "folds.csv").set_index("image_name")
    table.loc["y0", "fold"] = 1 - table.loc["y1", "fold"]
    table.to_csv(tmp_path / "folds.csv")
    with pytest.raises(FoldError, match="patient_id"):
        read_folds(both, tmp_path / "folds.csv")


def test_exact_copies_of_two_sources_stay_together(write, tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        for k in range(4):
            (tmp_path / name / f"{name}{k}.jpg").write_bytes(b"x" * (k + 1))
    one, two = (
        load_csv(
            write("image,target\n" + "".join(f"{n}{k},1\n" for k in range(4)), f"{n}.csv"), image_folder=tmp_path / n
        )
        for n in "ab"
    )
    with pytest.raises(TableError, match="4 by content"):
        one.concat(two)
    assert group_keys(Dataset(pd.concat([one.frame, two.frame])))[0].nunique() == 4


@pytest.mark.parametrize("n", range(1, 20))
def test_a_number_that_is_constant_in_training_does_not_explode(n):
    encoder = MetadataEncoder(["width"]).fit(pd.DataFrame({"width": [450] * n}))
    assert abs(encoder.transform(pd.DataFrame({"width": [900]}))[0, 0]) < 10


@pytest.mark.parametrize(
    ("melanomas", "nevi", "counts"), [(50, 50, (50, 50)), (50, 50, (70, 15, 15)), (30, 70, (70, 15, 15))]
)
def test_a_new_split_is_in_proportion_to_within_one_record(tmp_path, melanomas, nevi, counts):
    for name, n in (("melanoma", melanomas), ("nevus", nevi)):
        (tmp_path / name).mkdir()
        for k in range(n):
            (tmp_path / name / f"{k}.jpg").write_bytes(b"")
    for seed in range(3):
        wanted = {f"s{k}": count for k, count in enumerate(counts)}
        frame = load_image_folders(tmp_path, counts=wanted, seed=seed).frame
        positives = frame.groupby("split")["target"].sum()
        for split, count in wanted.items():
            assert abs(positives[split] - count * melanomas / (melanomas + nevi)) <= 1


def test_a_file_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError), atomic_file(tmp_path / "file" / "result.csv") as part:
        part.write_text("new")


def test_a_file_in_the_way_of_a_folder_leaves_no_temporary_file(tmp_path):
    (tmp_path / "bundle").write_text("old")
    try:
        with atomic_folder(tmp_path / "bundle"):
            pass
    except OutputError:
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]


def test_a_folder_that_cannot_take_its_name_leaves_the_old_one(tmp_path, monkeypatch):
    import os

    path = tmp_path / "bundle"
    path.mkdir()
    (path / "old").write_text("old")
    replace, calls = os.replace, []

    def fail_second(source, target):
        calls.append(source)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_second)
    with pytest.raises(OutputError), atomic_folder(path):
        pass
    assert (path / "old").read_text() == "old"


def test_the_nested_image_folder_is_found(tmp_path):
    codes = "MEL,NV,BCC,AK,BKL,DF,VASC,SCC"
    (tmp_path / "ISIC_2019_Training_GroundTruth.csv").write_text(f"image,{codes}\na,1,0,0,0,0,0,0,0\n")
    (tmp_path / "ISIC_2019_Training_Metadata.csv").write_text("image,age_approx,sex\na,5,male\n")
    folder = tmp_path / "ISIC_2019_Training_Input" / "ISIC_2019_Training_Input"
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "a.jpg")
    assert len(load_isic_2019(tmp_path)) == 1


def test_a_record_without_diagnosis_is_no_negative(write):
    path = write("lesion_id,image_id,dx\nl1,a,mel\nl2,b,\n")
    with pytest.raises(TableError, match="row 3"):
        load_ham10000(path, with_images=False)


def test_one_of_two_headers_with_one_meaning_can_be_named(write):
    data = load_csv(write("image,image_name,target\na,b,1\nc,d,0\n"), columns={"image_name": "image"})
    assert data.image_names.tolist() == ["a", "c"]


@pytest.mark.parametrize("headers", ["sex,Sex", "Sex,sex"])
def test_two_headers_that_differ_in_case_only_are_refused(write, headers):
    with pytest.raises(TableError, match="stands twice in the header"):
        load_csv(write(f"image_name,{headers},target\na,male,female,1\n"))


def test_a_row_that_is_too_short_is_refused(write):
    with pytest.raises(TableError, match="row 2"):
        read_text_table(write("image_name,target,sex\na,1\nb,0,male\n"))


def test_an_unclosed_quote_in_a_large_file_is_a_table_error(write):
    rows = "".join(f"ISIC_{k:07d},0\n" for k in range(20000))
    with pytest.raises(TableError):
        read_text_table(write('image_name,target\n"x,1\n' + rows))


def test_an_empty_folds_file_is_a_table_error(write):
    data = load_csv(write("image,target\na,1\nb,0\n"))
    with pytest.raises(MelanomaFusionError):
        read_folds(data, write("", "folds.csv"))


def test_a_fraction_is_named_in_the_message(write):
    data = load_csv(write("image,target\na,1\nb,1\n"))
    with pytest.raises(FoldError, match=r"0\.5"):
        read_folds(data, write("image_name,fold\na,0\nb,0.5\n", "folds.csv"))


def test_unknown_names_are_shown_plainly(write):
    with pytest.raises(TableError, match="image_name 'x' is not"):
        load_csv(write("image,target\na,1\nb,0\n")).select(["x"])


def test_a_numpy_integer_is_a_number_of_folds(write):
    data = load_csv(write("image,target\n" + "".join(f"i{k},1\n" for k in range(4))))
    assert assign_folds(data, np.int64(2)).frame["fold"].nunique() == 2


def test_rows_are_lines_of_the_file_after_a_quoted_line_end(write):
    with pytest.raises(TableError, match="row 4"):
        load_csv(write('image_name,note,target\na,"two\nlines",1\nb,x,7\n'))


@pytest.mark.parametrize(("header", "suffix"), [("Image", ""), ("image", ".jpg")])
def test_the_two_files_are_joined_in_our_words(tmp_path, header, suffix):
    codes = "MEL,NV,BCC,AK,BKL,DF,VASC,SCC"
    (tmp_path / "ISIC_2019_Training_GroundTruth.csv").write_text(f"{header},{codes}\na{suffix},1,0,0,0,0,0,0,0\n")
    (tmp_path / "ISIC_2019_Training_Metadata.csv").write_text("image,age_approx,sex\na,5,male\n")
    assert len(load_isic_2019(tmp_path, with_images=False)) == 1


def test_an_option_that_folders_do_not_have_is_refused(tmp_path):
    for name in ("melanoma", "nevus"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"")
    with pytest.raises(TableError):
        load_source("folders", tmp_path, image_folder=tmp_path / "nowhere")


def test_benign_malignant_is_compared_in_any_case_of_its_header(write):
    with pytest.raises(TableError, match="contradicts"):
        load_csv(write("image_name,Benign_Malignant,target\na,malignant,0\n"))


@pytest.mark.parametrize("column", ["sex", "age_approx", "anatom_site_general_challenge"])
def test_a_required_column_must_be_there(column):
    table = pd.DataFrame({"image_name": ["a"], "patient_id": ["p"]}, dtype="str")
    (problem,) = find_problems(table, has_target=False, required=(column,))
    assert problem.startswith(f"column {column} is missing")
