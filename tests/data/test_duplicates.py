"""Lists of duplicates: what they may look like, what is refused, and which record of a cluster stays."""

import hashlib

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import melanomafusion as mf
from melanomafusion.data import duplicates as module
from melanomafusion.data.schema import COLUMNS
from melanomafusion.errors import TableError


def dataset(targets):
    frame = pd.DataFrame(index=range(len(targets)), columns=list(COLUMNS), dtype="object")
    frame["image_name"] = [f"r{i}" for i in range(len(targets))]
    frame["source"] = "here"
    frame["target"] = pd.array(targets, dtype="Int8")
    return mf.Dataset(frame)


def table(*pairs):
    return pd.DataFrame(pairs, columns=["image_name_1", "image_name_2"], dtype="str")


def listed(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_list_may_name_its_columns_as_it_likes_and_carry_suffixes(tmp_path):
    pairs = mf.read_duplicates(listed(tmp_path / "a.csv", "\ufeffisic_id,duplicate of\r\nA.jpg, B.JPEG\r\n"))
    assert pairs.to_dict("records") == [{"image_name_1": "A", "image_name_2": "B"}]


def test_a_list_written_by_an_audit_is_read_by_its_two_columns(tmp_path):
    text = "how,image_name_2,image_name_1,distance\nnear,B,A,3\n"
    assert mf.read_duplicates(listed(tmp_path / "a.csv", text)).to_numpy().tolist() == [["A", "B"]]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        ("a,b\n", "no rows"),
        ("a,b,c\n1,2,3\n", r"3 columns \(a, b, c\)"),
        ("a,b\n1,2\n3\n", "row 3: 1 values"),
        ("a,b\nx,x\ny,\n", "2 problems"),
    ],
)
def test_a_list_that_is_none_is_refused_with_what_is_wrong(tmp_path, text, told):
    with pytest.raises(TableError, match=told):
        mf.read_duplicates(listed(tmp_path / "a.csv", text))


def test_all_bad_rows_are_named_by_their_line(tmp_path):
    with pytest.raises(TableError) as error:
        mf.read_duplicates(listed(tmp_path / "a.csv", "a,b\nx,x\ny,\nu,v\n"))
    assert error.value.problems == ["row 2: 'x' is paired with itself", "row 3: a name is missing"]


def test_no_file_or_a_folder_is_refused(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(TableError, match="no such file"):
            mf.read_duplicates(path)


def test_another_list_than_the_published_one_is_told_not_refused(tmp_path, monkeypatch):
    path = listed(tmp_path / "a.csv", "image_name_1,image_name_2\nA,B\n")
    pairs, same_file = mf.verify_duplicates(path)
    assert (pairs.expected, pairs.found, pairs.holds) == (425, 1, False)
    assert not same_file.holds
    published = {"duplicates": {"pairs": 1, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}}
    monkeypatch.setattr(module, "read_manifest", lambda name: published)
    assert all(check.holds for check in mf.verify_duplicates(path))


def test_a_data_set_without_published_list_says_so(tmp_path):
    with pytest.raises(TableError, match="names no list"):
        mf.verify_duplicates(listed(tmp_path / "a.csv", "a,b\nA,B\n"), "ham10000")


def test_the_first_record_of_the_table_stays_whatever_the_order_of_the_pair():
    kept = mf.drop_duplicates(dataset([0, 0, 0, 1]), table(("r2", "r0")))
    assert list(kept.image_names) == ["r0", "r1", "r3"]


def test_pairs_that_share_an_image_are_one_cluster_also_over_an_absent_image():
    kept = mf.drop_duplicates(dataset([0] * 6), table(("r1", "r2"), ("r2", "r4"), ("r3", "gone"), ("gone", "r5")))
    assert list(kept.image_names) == ["r0", "r1", "r3"]


def test_pairs_of_other_data_sets_change_nothing():
    data = dataset([0, 1])
    assert list(mf.drop_duplicates(data, table(("x", "y"), ("r1", "z"))).image_names) == ["r0", "r1"]
    assert len(mf.drop_duplicates(data, table())) == 2


def test_clusters_whose_targets_differ_are_refused_by_name():
    with pytest.raises(TableError, match="targets differ") as error:
        mf.drop_duplicates(dataset([0, 1, 0, 0, 1, 1]), table(("r0", "r1"), ("r2", "r3"), ("r3", "r4")))
    assert error.value.problems == [
        "r0 (target 0), r1 (target 1)",
        "r2 (target 0), r3 (target 0), r4 (target 1)",
    ]


def test_clusters_whose_targets_differ_go_whole_when_asked():
    pairs = table(("r0", "r1"), ("r2", "r3"))
    kept = mf.drop_duplicates(dataset([0, 1, 0, 0, 1]), pairs, on_conflict="drop")
    assert list(kept.image_names) == ["r2", "r4"]


def test_a_record_without_target_contradicts_nothing():
    kept = mf.drop_duplicates(dataset([1, None, 0]), table(("r0", "r1")))
    assert list(kept.image_names) == ["r0", "r2"]


def test_folds_are_kept_and_the_data_set_is_left_as_it_was():
    data = dataset([0, 0, 1]).with_columns(fold=[0, 0, 1], grouped_by="record")
    kept = mf.drop_duplicates(data, table(("r0", "r1")))
    assert kept.frame["fold"].tolist() == [0, 1]
    assert len(data) == 3


def test_a_path_is_taken_for_a_list(tmp_path):
    path = listed(tmp_path / "a.csv", "image_name_1,image_name_2\nr0,r1\n")
    assert len(mf.drop_duplicates(dataset([0, 0]), path)) == len(mf.drop_duplicates(dataset([0, 0]), str(path))) == 1


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        (pd.DataFrame({"image_name_1": ["r0"]}), "image_name_2 is missing"),
        (pd.DataFrame({"image_name_1": ["r0", None], "image_name_2": ["r1", "r0"]}), "1 of 2 pairs lack a name"),
        ([("r0", "r1")], "Received: list"),
    ],
)
def test_what_is_no_table_of_pairs_is_refused(pairs, told):
    with pytest.raises(TableError, match=told):
        mf.drop_duplicates(dataset([0, 0]), pairs)


def test_an_unknown_rule_is_refused():
    with pytest.raises(TableError, match="on_conflict"):
        mf.drop_duplicates(dataset([0]), table(), on_conflict="first")


@given(
    st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=20),
    st.lists(st.sampled_from([0, 1, None]), min_size=1, max_size=12),
)
def test_one_record_of_each_cluster_stays_and_nobody_else_goes(numbers, targets):
    data = dataset(targets)
    pairs = table(*((f"r{a}", f"r{b}") for a, b in numbers if a != b))
    cluster = {f"r{i}": {f"r{i}"} for i in range(15)}  # by hand: merge sets until nothing changes
    for _ in range(15):
        for a, b in zip(pairs["image_name_1"], pairs["image_name_2"], strict=True):
            cluster[a] |= cluster[b]
            cluster[b] |= cluster[a]
    target_of = dict(zip(data.image_names, targets, strict=True))
    expected = []
    for name in data.image_names:
        members = [other for other in data.image_names if other in cluster[name]]
        known = {target_of[other] for other in members} - {None}
        if len(known) < 2 and members[0] == name:
            expected.append(name)
    assert list(mf.drop_duplicates(data, pairs, on_conflict="drop").image_names) == expected
