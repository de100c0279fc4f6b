"""Data sets combined: overlaps found, resolved as asked, and no group torn apart."""

import itertools
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import melanomafusion as mf
from melanomafusion.data.combine import concat, find_overlaps
from melanomafusion.data.dataset import Dataset
from melanomafusion.data.folds import assign_folds, check_folds
from melanomafusion.data.groups import group_keys, id_space
from melanomafusion.data.schema import COLUMNS
from melanomafusion.errors import FoldError, ImageError, TableError

PROPERTY = settings(max_examples=20, deadline=None, database=None)


def dataset(source, names, **columns):
    """A table of records of one source; columns not given are missing."""
    n = len(names)
    table = pd.DataFrame({name: pd.Series([None] * n, dtype="str") for name in COLUMNS})
    table["image_name"] = pd.Series(names, dtype="str")
    table["target"] = pd.Series(columns.pop("target", [1] * n), dtype="Int8")
    table["source"] = source
    for name, values in columns.items():
        table[name] = pd.Series(values, dtype="str")
    return Dataset(table)


def groups(data):
    """Image name → names of its group."""
    keys = group_keys(data)[0]
    names = data.frame["image_name"]
    return {name: frozenset(names[keys == key]) for name, key in zip(names, keys, strict=True)}


@pytest.fixture
def pictures(tmp_path):
    """A data set whose images are files of given bytes."""

    def write(source, contents, **columns):
        folder = tmp_path / source
        folder.mkdir()
        for name, content in contents.items():
            (folder / f"{name}.jpg").write_bytes(content)
        return dataset(source, list(contents), path=[str(folder / f"{name}.jpg") for name in contents], **columns)

    return write


# Overlaps


def test_data_sets_without_overlap_are_one_after_another():
    both = concat([dataset("a", ["x", "y"]), dataset("b", ["z"], camera=["c"])])
    assert both.image_names.tolist() == ["x", "y", "z"]
    assert both.frame["camera"].isna().tolist() == [True, True, False]
    assert not [name for name in both.frame if name.endswith("_space") or name == "linked_group"]


@pytest.mark.parametrize(
    "other", ["ISIC_1", "isic_1", "ISIC_1.jpg", "ISIC_1_downsampled", "Isic_1_Downsampled.JPEG", "ISIC_1.png"]
)
def test_case_suffix_and_downsampled_do_not_matter_to_a_name(other):
    found = find_overlaps([dataset("a", ["ISIC_1", "ISIC_2"]), dataset("b", ["ISIC_3", other])])
    assert found[["image_name_1", "source_1", "image_name_2", "source_2", "by"]].to_numpy().tolist() == [
        ["ISIC_1", "a", other, "b", "name"]
    ]


@pytest.mark.parametrize(
    "other", ["ISIC_11", "ISIC_1_a", "downsampled_ISIC_1", "ISIC_downsampled_1", "ISIC_1_downsampled_2", "XISIC_1"]
)
def test_other_names_are_other_images(other):
    assert find_overlaps([dataset("a", ["ISIC_1"]), dataset("b", [other])]).empty


def test_copies_are_found_by_content(pictures):
    one = pictures("a", {"p": b"same", "q": b"other"})
    two = pictures("b", {"r": b"diff", "s": b"same"})
    found = find_overlaps([one, two])
    assert found[["image_name_1", "image_name_2", "by"]].to_numpy().tolist() == [["p", "s", "content"]]
    with pytest.raises(TableError, match=r"1 images of b are in a too \(0 by name, 1 by content"):
        one.concat(two)


def test_a_pair_found_by_name_and_content_is_told_once_by_name(pictures):
    found = find_overlaps([pictures("a", {"p": b"same"}), pictures("b", {"p": b"same"})])
    assert found["by"].tolist() == ["name"]


def test_only_files_whose_size_stands_in_two_data_sets_are_read(pictures, monkeypatch):
    one = pictures("a", {"p": b"1", "q": b"22", "r": b"22"})
    two = pictures("b", {"s": b"333", "t": b"4444", "u": b"4444", "v": b"5"})
    read = []

    def spy(path):
        read.append(str(path).rsplit("/", 1)[1])
        return b"x"

    monkeypatch.setattr("melanomafusion.data.combine.read_image_bytes", spy)
    find_overlaps([one, two])
    assert sorted(read) == ["p.jpg", "v.jpg"]


def test_empty_files_are_no_copies_of_each_other(pictures):
    assert find_overlaps([pictures("a", {"p": b""}), pictures("b", {"q": b""})]).empty


def test_copies_within_one_data_set_are_none_of_its_business(pictures):
    one = pictures("a", {"p": b"same", "q": b"same", "p_downsampled": b"x"})
    assert find_overlaps([one, dataset("b", ["r"])]).empty
    assert len(concat([one, dataset("b", ["r"])])) == 4


def test_images_that_cannot_be_read_are_named_and_counted(pictures, tmp_path):
    one, two = pictures("a", {"p": b"1", "q": b"2"}), pictures("b", {"r": b"3"})
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(ImageError, match="2 of 3 images cannot be read") as caught:
        concat([one, two])
    assert "p.jpg" in str(caught.value)


def test_an_overlap_tells_whether_target_diagnosis_and_lesion_agree():
    one = dataset("a", ["x", "y"], target=[1, 0], diagnosis=["melanoma", "nevus"], lesion_id=["L", None])
    two = dataset("b", ["x", "y"], target=[0, None], diagnosis=["melanoma", "AK"], lesion_id=["L", "M"])
    found = find_overlaps([one, two])
    assert found["same_target"].tolist() == [False, pd.NA]
    assert found["same_diagnosis"].tolist() == [True, False]
    assert found["same_lesion"].tolist() == [True, pd.NA]


def test_an_error_counts_overlaps_names_the_first_and_says_what_to_do():
    names = [f"i{k}" for k in range(7)]
    with pytest.raises(TableError) as caught:
        concat([dataset("a", names, target=[0] * 7), dataset("b", [*names, "j"], target=[1] + [0] * 7)])
    message = str(caught.value)
    assert (
        "7 images of b are in a too (7 by name, 0 by content; 1 with another target): i0, i1, i2, i3, i4, …" in message
    )
    assert 'on_overlap="first"' in message
    assert "i5" not in message


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_first_keeps_the_record_of_the_data_set_that_stands_earlier(order):
    sets = [dataset("a", ["x", "y"], sex=["female"] * 2), dataset("b", ["y", "z"], sex=["male"] * 2)]
    both = concat([sets[k] for k in order], on_overlap="first")
    kept = both.frame.set_index("image_name")["source"].to_dict()
    assert kept == {"x": "a", "y": "ab"[order[0]], "z": "b"}


def test_a_chain_of_copies_is_one_image_in_every_order(pictures):
    # p and s by name, s and t by content; p and t share neither.
    sets = [dataset("a", ["p"]), pictures("b", {"P_downsampled": b"same"}), pictures("c", {"t": b"same"})]
    for order in itertools.permutations(sets):
        both = concat(order, on_overlap="first")
        assert both.frame["source"].tolist() == [order[0].name]


@pytest.mark.parametrize(
    ("datasets", "options", "message"),
    [
        ([], {}, "received none"),
        (["table.csv"], {}, "received str"),
        (None, {}, "received a NoneType"),
        (dataset("a", ["x"]), {}, "received a Dataset"),
        ([dataset("a", ["x"])], {"on_overlap": "last"}, "expected error or first"),
        ([dataset(None, ["x"]), dataset("b", ["y"])], {}, "1 of 1 records have no source"),
    ],
)
def test_what_cannot_be_combined_is_refused(datasets, options, message):
    with pytest.raises(TableError, match=message):
        concat(datasets, **options)


def test_one_data_set_stays_as_it_is_without_its_folds():
    one = dataset("a", ["x", "y"])
    pd.testing.assert_frame_equal(concat([one.with_columns(fold=[0, 1], grouped_by="patient")]).frame, one.frame)


def test_ids_that_are_numbers_are_ids():
    numbers = dataset("a", ["x", "y"]).with_columns(patient_id=[1, 1])
    both = concat([numbers, dataset("b", ["z"], patient_id=["1"])])
    assert groups(both) == {"x": {"x", "y"}, "y": {"x", "y"}, "z": {"z"}}
    assert groups(numbers)["x"] == {"x", "y"}


def test_an_empty_data_set_adds_nothing():
    one = dataset("a", ["x"])
    assert concat([one.select([False]), one]).image_names.tolist() == ["x"]


# Groups


def lesions(source, **lesion_of):
    return dataset(source, list(lesion_of), lesion_id=list(lesion_of.values()))


def test_sources_whose_overlap_carries_equal_ids_share_them():
    # Of lesion L one image is in both, one in each alone.
    both = concat([lesions("ham", x="L", y="L", p="M"), lesions("isic", x="L", z="L", q="N")], on_overlap="first")
    assert groups(both)["y"] == {"x", "y", "z"}
    assert both.frame["lesion_id_space"].unique().tolist() == ["ham"]
    assert "linked_group" not in both.frame


def test_sources_share_patients_as_they_share_lesions():
    one = dataset("a", ["x", "y", "w"], patient_id=["1", "1", "2"])
    two = dataset("b", ["x", "z"], patient_id=["1", "1"])
    both = concat([one, two], on_overlap="first")
    assert groups(both)["z"] == {"x", "y", "z"}
    assert groups(both)["w"] == {"w"}
    assert both.frame["patient_id_space"].unique().tolist() == ["a"]
    assert "linked_group" not in both.frame


def test_equal_ids_without_an_overlap_are_different_patients():
    both = concat([dataset("a", ["x"], patient_id=["1"]), dataset("b", ["y"], patient_id=["1"])])
    assert groups(both) == {"x": {"x"}, "y": {"y"}}


def test_equal_ids_of_sources_whose_overlap_differs_are_different_patients():
    one = dataset("a", ["x", "y"], patient_id=["1", "2"])
    two = dataset("b", ["x", "z"], patient_id=["9", "2"])
    both = concat([one, two], on_overlap="first")
    assert groups(both)["y"] == {"y"}
    assert not [name for name in both.frame if name.endswith("_space")]


def test_the_group_of_a_dropped_copy_is_tied_to_that_of_the_kept_one():
    one = dataset("a", ["x", "y"], patient_id=["1", "1"])
    two = dataset("b", ["x", "z"], patient_id=["9", "9"])
    for order in ([one, two], [two, one]):
        both = concat(order, on_overlap="first")
        assert groups(both)["x"] == {"x", "y", "z"}
        assert both.frame["linked_group"].tolist() == ["x"] * 3


def test_a_kept_record_without_ids_takes_the_group_of_its_dropped_copy():
    both = concat([dataset("archive", ["x"]), lesions("isic", x="L", y="L", z="M")], on_overlap="first")
    assert groups(both) == {"x": {"x", "y"}, "y": {"x", "y"}, "z": {"z"}}


def test_exact_copies_of_a_linked_record_stay_with_it(pictures):
    bare = pictures("bare", {"x": b"same", "x2": b"same"})
    both = concat([lesions("isic", x="L", y="L"), bare], on_overlap="first")
    # x2 is a copy within its source: as before only bytes tell, and the record that is left is another's.
    assert groups(both)["x"] == {"x", "y"}
    other_way = concat([bare, lesions("isic", x="L", y="L")], on_overlap="first")
    assert groups(other_way)["x2"] == {"x", "x2", "y"}


def test_a_lesion_of_a_source_with_patients_and_of_one_without_is_one_group():
    one = dataset("siim", ["x", "y"], patient_id=["P", "Q"], lesion_id=["L", "M"])
    two = lesions("archive", x="L", z="M")
    both = concat([one, two], on_overlap="first")
    assert groups(both)["z"] == {"y", "z"}
    assert groups(both)["x"] == {"x"}


def test_a_few_wrong_ids_do_not_hide_a_shared_id_space():
    names = [f"i{k}" for k in range(40)]
    ids = [f"L{k}" for k in range(40)]
    one = dataset("a", [*names, "y"], lesion_id=[*ids, "Z"])
    two = dataset("b", [*names, "z"], lesion_id=["typo", *ids[1:], "Z"])
    assert groups(concat([one, two], on_overlap="first"))["y"] == {"y", "z"}
    many = dataset("b", [*names, "z"], lesion_id=[*(f"t{k}" for k in range(4)), *ids[4:], "Z"])
    assert groups(concat([one, many], on_overlap="first"))["y"] == {"y"}


def test_a_shared_space_is_kept_for_a_third_data_set():
    # The lesion that c shares with a is in b's dropped records and a's own: c overlaps with b's alone.
    a, b = lesions("a", x="L", y="L"), lesions("b", x="L", w="M")
    c = lesions("c", w="M", z="L")
    chained = concat([concat([a, b], on_overlap="first"), c], on_overlap="first")
    assert groups(chained)["z"] == {"x", "y", "z"}
    assert set(id_space(chained.frame, "lesion_id")) == {"a"}


def test_a_source_that_comes_again_alone_takes_the_space_it_has():
    first = concat([lesions("ham", x="L", y="L"), lesions("isic", x="L", v="V")], on_overlap="first")
    chained = concat([first, lesions("isic", z="L", w="M")])
    assert groups(chained)["z"] == {"x", "y", "z"}


def test_a_tie_lasts_when_its_copies_are_gone():
    # Only b knows that the patients 1 and 2 of a are one; its records are dropped, and then c joins.
    a = dataset("a", ["x", "y"], patient_id=["1", "2"])
    b = dataset("b", ["x", "y"], patient_id=["9", "9"])
    tied = concat([a, b], on_overlap="first")
    chained = concat([tied, dataset("c", ["z"], patient_id=["1"])])
    assert groups(chained) == {"x": {"x", "y"}, "y": {"x", "y"}, "z": {"z"}}


def test_what_a_source_says_of_its_own_patients_and_lesions_is_left_as_it_is():
    one = dataset("a", ["x", "y"], patient_id=["1", "2"], lesion_id=["L", "L"])
    both = concat([one, dataset("b", ["z"], patient_id=["1"])])
    assert groups(both) == {"x": {"x"}, "y": {"y"}, "z": {"z"}}


def test_the_same_source_in_two_data_sets_has_one_id_space():
    whole = lesions("a", x="L", y="L", z="M")
    parts = [whole.select(["x"]), whole.select(["y", "z"])]
    assert groups(concat(parts)) == groups(whole)


def test_links_hold_for_groups_of_another_column_and_not_for_records():
    one = dataset("a", ["x", "y"], patient_id=["1", "1"], clinic=["c", "c"])
    two = dataset("b", ["x", "z"], patient_id=["9", "9"], clinic=["d", "d"])
    both = concat([one, two], on_overlap="first")
    assert len(set(group_keys(both, "clinic")[0])) == 1
    assert len(set(group_keys(both, "record")[0])) == 3


def test_folds_that_split_a_link_or_a_shared_lesion_are_refused():
    linked = concat(
        [dataset("a", ["x", "y"], patient_id=["1", "1"]), dataset("b", ["x", "z"], patient_id=["9", "9"])],
        on_overlap="first",
    )
    with pytest.raises(FoldError, match="linked_group stand in several folds: x"):
        check_folds(linked.with_columns(fold=[0, 0, 1], grouped_by="patient"))
    shared = concat([lesions("a", x="L", y="L"), lesions("b", x="L", z="L")], on_overlap="first")
    with pytest.raises(FoldError, match="lesion_id stand in several folds: L"):
        check_folds(shared.with_columns(fold=[0, 0, 1], grouped_by="lesion"))
    apart = concat([lesions("a", x="L"), lesions("b", z="L")])
    check_folds(apart.with_columns(fold=[0, 1], grouped_by="lesion"))


def test_a_split_lesion_beside_a_source_with_patients_is_refused():
    both = concat([dataset("a", ["p", "q"], patient_id=["1", "2"]), lesions("b", x="L", y="L")])
    with pytest.raises(FoldError, match="lesion_id"):
        check_folds(both.with_columns(fold=[0, 1, 0, 1], grouped_by="patient + lesion"))


# A world of images, each with a true patient, shown by three sources that name patients and lesions their own way.

IMAGES = st.lists(st.tuples(st.integers(0, 4), st.sets(st.integers(0, 2))), min_size=1, max_size=14)
STYLES = st.tuples(*[st.sampled_from(["patient", "lesion", "both", "bare"])] * 3)
SPACES = st.tuples(*[st.sampled_from(["shared", "own"])] * 3)


def world(images, styles, spaces):
    """Three data sets; of the images (true patient, the sources that show it)."""
    sets = []
    for number, (style, space) in enumerate(zip(styles, spaces, strict=True)):
        rows = [(f"img{k}", patient) for k, (patient, shown) in enumerate(images) if number in shown]
        if not rows:
            continue
        # Ids of their own count from 0 in another order, so that equal ids mean different patients.
        ids = [f"{patient if space == 'shared' else (patient + 1 + number) % 5}" for _, patient in rows]
        columns = {}
        if style in ("patient", "both"):
            columns["patient_id"] = ids
        if style in ("lesion", "both"):
            columns["lesion_id"] = [f"l{value}" for value in ids]
        suffix = "_downsampled" if number == 1 else ""
        sets.append(dataset(f"s{number}", [name + suffix for name, _ in rows], **columns))
    return sets


def partition(data):
    """Groups as sets of images, whichever copy stayed."""
    keys = group_keys(data)[0]
    images = data.frame["image_name"].str.removesuffix("_downsampled")
    return {frozenset(images[keys == key]) for key in keys.unique()}


@PROPERTY
@given(IMAGES, STYLES, SPACES)
def test_the_order_of_data_sets_decides_only_which_copy_stays(images, styles, spaces):
    sets = world(images, styles, spaces)
    if not sets:
        return
    orders = (sets, sets[::-1], sets[1:] + sets[:1])
    found = [partition(concat(order, on_overlap="first")) for order in orders]
    assert found[1] == found[0]
    assert found[2] == found[0]
    assert set().union(*found[0]) == {f"img{k}" for k, (_, sources) in enumerate(images) if sources}


@PROPERTY
@given(IMAGES, STYLES, SPACES, st.randoms())
def test_two_records_that_any_source_puts_in_one_group_stay_in_one_group(images, styles, spaces, random):
    sets = world(images, styles, spaces)
    random.shuffle(sets)
    if not sets:
        return
    group_of = {image: group for group in partition(concat(sets, on_overlap="first")) for image in group}
    for data in sets:
        for group in partition(data):
            assert len({group_of[image] for image in group}) == 1


@PROPERTY
@given(IMAGES, STYLES, SPACES)
def test_records_of_different_patients_never_merge(images, styles, spaces):
    """The overlap proves or refutes that ids are shared: with all ids true, groups never mix two patients."""
    sets = world(images, styles, spaces)
    patient_of = {f"img{k}": patient for k, (patient, _) in enumerate(images)}
    for group in partition(concat(sets, on_overlap="first")) if sets else ():
        assert len({patient_of[image] for image in group}) == 1


@PROPERTY
@given(IMAGES, STYLES, SPACES, st.integers(0, 3))
def test_no_group_ever_spans_folds(images, styles, spaces, seed):
    sets = world(images, styles, spaces)
    if not sets:
        return
    both = concat(sets, on_overlap="first")
    if group_keys(both)[0].nunique() < 2:
        return
    folds = assign_folds(both, 2, seed=seed).frame
    fold_of = dict(zip(folds["image_name"].str.removesuffix("_downsampled"), folds["fold"], strict=True))
    for data in sets:
        for group in partition(data):
            assert len({fold_of[image] for image in group}) == 1


def test_many_records_combine_quickly():
    names = np.array([f"ISIC_{k:07d}" for k in range(30_000)])
    one = dataset("a", names, lesion_id=[f"L{k // 3}" for k in range(30_000)])
    two = dataset("b", names[::2], lesion_id=[f"L{k // 3}" for k in range(0, 30_000, 2)])
    both = mf.concat([two, one], on_overlap="first")
    assert len(both) == 30_000
    assert group_keys(both)[0].nunique() == 10_000
