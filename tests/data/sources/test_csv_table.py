"""Any CSV with any column names."""

import pytest
from PIL import Image

from melanomafusion.data.folds import assign_folds
from melanomafusion.data.groups import group_keys
from melanomafusion.data.sources.csv_table import load_csv
from melanomafusion.errors import TableError


@pytest.fixture
def write(tmp_path):
    def write_text(text, name="clinic.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


OWN = "file,verdict,years,where,person\na.jpg,Cancer,50,back,p1\nb.jpg,fine,0,face,p1\nc.jpg,in situ,,,p2\n"
COLUMNS = {
    "image_name": "file",
    "target": "verdict",
    "age_approx": "years",
    "anatom_site_general_challenge": "where",
    "patient_id": "person",
}


def test_known_headers_are_found_by_themselves(write):
    data = load_csv(write("Image,Gender,Age,Target,Patient\na.png,F,30,1,p\nb.png,M,,0,q\n"))
    frame = data.frame
    assert data.image_names.tolist() == ["a", "b"]
    assert frame["sex"].tolist() == ["female", "male"]
    assert frame["patient_id"].tolist() == ["p", "q"]
    assert data.targets.tolist() == [1, 0]
    assert data.name == "clinic"
    assert frame["path"].isna().all()


def test_own_headers_and_own_words_for_positive(write):
    data = load_csv(write(OWN), columns=COLUMNS, positive=("Cancer", "in situ"), source="hospital")
    frame = data.frame
    assert data.targets.tolist() == [1, 0, 1]
    assert frame["age_approx"].fillna(-1).tolist() == [50, 0, -1]
    assert frame["anatom_site_general_challenge"].fillna("-").tolist() == ["torso", "head/neck", "-"]
    assert data.name == "hospital"


def test_own_words_without_saying_which_are_positive_are_refused_with_their_rows(write):
    with pytest.raises(TableError) as caught:
        load_csv(write(OWN), columns=COLUMNS)
    assert [problem.split(";")[0] for problem in caught.value.problems] == [
        "row 2, column target: 'Cancer'",
        "row 3, column target: 'fine'",
        "row 4, column target: 'in situ'",
    ]


def test_a_positive_word_that_never_occurs_is_refused_with_those_found(write):
    with pytest.raises(TableError) as caught:
        load_csv(write(OWN), columns=COLUMNS, positive=("cancer", "in situ"))
    assert caught.value.problems == ["positive value 'cancer' is not in column target"]
    assert "Found: 'Cancer', 'fine', 'in situ'." in str(caught.value)


def test_an_empty_target_is_no_negative(write):
    with pytest.raises(TableError, match="row 3, column target: is empty"):
        load_csv(write("image,target\na,bad\nb,\nc,good\n"), positive=("bad",))


def test_a_table_of_records_to_predict_needs_no_target(write):
    data = load_csv(write("image,sex\na,male\nb,\n"), has_target=False)
    assert not data.has_target
    assert len(data) == 2
    # A target column that is there is not believed either.
    assert not load_csv(write("image,target\na,1\nb,?\n"), has_target=False).has_target


def test_a_training_table_without_target_is_refused(write):
    with pytest.raises(TableError, match="column target is missing"):
        load_csv(write("image,sex\na,male\n"))


def test_images_are_joined_both_ways(write, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a", "b", "x"):
        Image.new("RGB", (8, 8)).save(folder / f"{name}.jpg")
    table = write(OWN)
    options = {"columns": COLUMNS, "positive": ("Cancer", "in situ"), "image_folder": folder}
    with pytest.raises(TableError) as caught:
        load_csv(table, **options)
    assert caught.value.problems == ["1 of 3 rows have no image: c", "1 of 3 images have no row: x"]
    data = load_csv(table, **options, missing_images="drop", extra_images="ignore")
    assert data.image_names.tolist() == ["a", "b"]
    assert data.frame["path"].tolist() == [str(folder / "a.jpg"), str(folder / "b.jpg")]


def test_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(TableError, match="there is no such file"):
        load_csv(tmp_path / "nowhere.csv")


def test_all_kinds_of_wrong_cells_are_reported_at_once(write):
    table = write(
        "isic_id,sex,age,site,diagnosis,benign_malignant,target\n"
        "a,male,999,torso,nevus,benign,0\n"
        "b,x,forty,elbow,,benign,2\n"
        "a,male,30,torso,mole,malignant,0\n"
    )
    with pytest.raises(TableError) as caught:
        load_csv(table)
    assert [problem.split(";")[0] for problem in caught.value.problems] == [
        "row 2, column age_approx: '999'",
        "row 3, column age_approx: 'forty'",
        "row 3, column anatom_site_general_challenge: 'elbow'",
        "row 3, column sex: 'x'",
        "row 3, column target: '2'",
        "row 4, column diagnosis: 'mole'",
        "row 4, column image_name: 'a' stands already in row 2",
        "row 4: target 0 contradicts benign_malignant 'malignant'",
    ]


def test_folds_of_a_table_are_grouped_by_its_patients(write):
    rows = "".join(f"i{k},p{k // 3},{k % 2}\n" for k in range(30))
    frame = assign_folds(load_csv(write("image,patient,target\n" + rows)), 5).frame
    assert (frame.groupby("patient_id")["fold"].agg("nunique") == 1).all()
    assert set(frame["grouped_by"]) == {"patient"}


SOURCES = "image,Source,patient,target\na,north,p,0\nb,south,p,1\nc,,p,0\n"


def test_a_table_that_names_its_sources_keeps_them(write):
    data = load_csv(write(SOURCES))
    assert data.frame["source"].tolist() == ["north", "south", "clinic"]
    assert group_keys(data)[0].nunique() == 3  # patients of three sources
    assert "source_in_file" not in data.frame


def test_a_source_that_was_named_wins_and_that_of_the_table_is_kept_aside(write):
    frame = load_csv(write(SOURCES), source="mine").frame
    assert frame["source"].tolist() == ["mine"] * 3
    assert frame["source_in_file"].fillna("-").tolist() == ["north", "south", "-"]


def test_columns_named_like_ours_for_folds_and_groups_are_kept_aside(write):
    rows = "".join(f"i{k},{k % 2},{k % 3},x,y,p,l,old\n" for k in range(6))
    names = ("fold", "grouped_by", "linked_group", "patient_id_space", "lesion_id_space")
    data = load_csv(write("image,target," + ",".join(names) + ",fold_in_file\n" + rows))
    assert "6 records" in repr(data)
    assert not set(names) & set(data.frame)
    assert data.frame["fold_in_file_in_file"].tolist() == [*"012012"]
    assert set(data.frame["linked_group_in_file"]) == {"y"}
    assert set(assign_folds(data, 2).frame["fold"]) == {0, 1}


def test_one_header_may_stand_for_two_of_our_columns(write):
    table = write("image,dx\na,mel\nb,nv\n")
    frame = load_csv(table, columns={"diagnosis": "dx", "target": "dx"}, positive=["mel"]).frame
    assert frame["diagnosis"].tolist() == ["melanoma", "nevus"]
    assert frame["target"].tolist() == [1, 0]


def test_benign_malignant_may_be_named_as_the_target(write):
    table = write("image,benign_malignant\na,malignant\nb,benign\n")
    data = load_csv(table, columns={"target": "benign_malignant"}, positive=["malignant"])
    assert data.targets.tolist() == [1, 0]
