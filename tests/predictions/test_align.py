"""The join of members: by image name whatever the order, and everything that does not fit is named."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.errors import PredictionsError
from melanomafusion.predictions import Predictions, align

NAMES = ["a", "b", "c", "d"]


def table(**changes):
    columns = {
        "image_name": NAMES,
        "patient_id": ["p", "p", "q", "r"],
        "target": [0, 1, 0, 1],
        "fold": [0, 0, 1, 1],
        "score": [0.1, 0.9, 0.3, 0.4],
    }
    return pd.DataFrame({key: value for key, value in {**columns, **changes}.items() if value is not None})


def predictions(kind="oof", name="predictions", **changes):
    return Predictions(table(**changes), kind, name=name)


def refused(call, *parts):
    with pytest.raises(PredictionsError) as error:
        call()
    for part in parts:
        assert part in str(error.value)


def shuffled(member, seed=0):
    return Predictions(member.frame.sample(frac=1, random_state=seed), member.kind, name=member.name)


def test_join_is_by_name_whatever_the_order_of_rows():
    a, b = predictions(), predictions(score=[0.5, 0.6, 0.7, 0.8])
    aligned = align({"a": a, "b": shuffled(b, 1)})
    assert list(aligned["a"].frame["image_name"]) == list(aligned["b"].frame["image_name"]) == NAMES
    pd.testing.assert_frame_equal(aligned["b"].frame, b.frame)


def test_join_keeps_names_and_kinds():
    aligned = align({"x": predictions(name="b4"), "y": predictions(name="b5")})
    assert [(key, member.name, member.kind) for key, member in aligned.items()] == [
        ("x", "b4", "oof"),
        ("y", "b5", "oof"),
    ]


@pytest.mark.parametrize("turned", [False, True])
def test_missing_records_are_refused_counted_and_named(turned):
    members = {"all": predictions(), "few": Predictions(table().head(2), "oof")}
    if turned:
        members = dict(reversed(members.items()))
    refused(
        lambda: align(members),
        "few",
        "c, row 4, d, row 5",
        'missing="intersect"',
        "has 2 that" if turned else "lacks 2 records",
    )


def test_missing_records_among_test_predictions_are_refused():
    few = Predictions(table().drop(columns=["fold", "target"]).head(3), "test")
    refused(
        lambda: align({"all": predictions("test", fold=None, target=None), "few": few}), "lacks 1 records", "(d, row 5)"
    )


def test_other_folds_are_refused_counted_and_named():
    other = predictions(fold=[0, 1, 1, 1])
    refused(
        lambda: align({"a": predictions(), "b": other}),
        "b was trained on other folds than a",
        "1 records",
        "b (1 in row 3 against 0 in row 3)",
    )


def test_intersect_keeps_common_records_each_member_with_its_own_folds():
    other = shuffled(Predictions(table(fold=[3, 4, 3, 3]).tail(3), "oof"))
    aligned = align({"a": predictions(), "b": other}, missing="intersect")
    assert list(aligned["a"].frame["image_name"]) == list(aligned["b"].frame["image_name"]) == ["b", "c", "d"]
    assert list(aligned["a"].frame["fold"]) == [0, 1, 1]
    assert list(aligned["b"].frame["fold"]) == [4, 3, 3]


@pytest.mark.parametrize("missing", ["error", "intersect"])
def test_targets_that_differ_are_refused_always(missing):
    other = predictions(target=[0, 1, 1, 1])
    refused(
        lambda: align({"a": predictions(), "b": other}, missing=missing),
        "disagree on the target of 1 records",
        "c (1 in row 4 against 0 in row 4)",
    )


def test_kinds_cannot_be_mixed():
    members = {"a": predictions(), "b": predictions("held_out")}
    refused(lambda: align(members), "different kinds", "a oof", "b held_out")


def test_nothing_in_common_is_refused():
    other = predictions(image_name=["w", "x", "y", "z"])
    refused(lambda: align({"a": predictions(), "b": other}, missing="intersect"), "no record in common")


def test_no_members_are_refused():
    refused(lambda: align({}), "No members")


def test_unknown_missing_is_refused():
    refused(lambda: align({"a": predictions()}, missing="drop"), 'missing is "error" or "intersect"', "'drop'")


def test_members_are_not_changed_by_a_join():
    a, b = predictions(), shuffled(predictions())
    before = a.frame, b.frame
    align({"a": a, "b": b})
    pd.testing.assert_frame_equal(a.frame, before[0])
    pd.testing.assert_frame_equal(b.frame, before[1])


# --- any members ------------------------------------------------------------------------------------------------------


@st.composite
def families(draw, same_records=True):
    """(members, truth): one to four members over up to eight records, each with its own rows, order and scores."""
    pool = draw(st.lists(st.text("abc019_", min_size=1, max_size=4), min_size=1, max_size=8, unique=True))
    truth = {name: (draw(st.integers(0, 1)), draw(st.integers(0, 3))) for name in pool}
    members = {}
    for key in draw(st.lists(st.sampled_from("wxyz"), min_size=1, max_size=4, unique=True)):
        records = draw(st.permutations(pool))
        if not same_records:
            records = records[: draw(st.integers(1, len(records)))]
        frame = pd.DataFrame(
            {
                "image_name": records,
                "target": [truth[name][0] for name in records],
                "fold": [truth[name][1] for name in records],
                "score": [float(draw(st.integers(0, 9))) for _ in records],
            }
        )
        lines = draw(st.permutations(range(2, len(records) + 2)))
        members[key] = Predictions(frame, "oof", name=f"file {key}", lines=lines)
    return members, truth


def scores_by_name(member):
    return dict(zip(member.image_names, member.scores, strict=True))


def lines_by_name(member):
    return dict(zip(member.image_names, member.lines, strict=True))


@settings(deadline=None, max_examples=25)
@given(families())
def test_any_order_of_rows_and_members_gives_each_record_its_own_values(family):
    members, truth = family
    aligned = align(members)
    first = next(iter(members.values()))
    assert list(aligned) == list(members)
    for key, member in aligned.items():
        assert list(member.image_names) == list(first.image_names)
        assert scores_by_name(member) == scores_by_name(members[key])
        assert lines_by_name(member) == lines_by_name(members[key])
        assert {n: (t, f) for n, t, f in member.frame[["image_name", "target", "fold"]].to_numpy()} == truth
        assert (member.name, member.kind) == (f"file {key}", "oof")


@settings(deadline=None, max_examples=25)
@given(families(same_records=False))
def test_intersect_keeps_exactly_the_records_that_all_have(family):
    members, _ = family
    common = set.intersection(*(set(member.image_names) for member in members.values()))
    if not common:
        refused(lambda: align(members, missing="intersect"), "no record in common")
        return
    aligned = align(members, missing="intersect")
    first = next(iter(members.values()))
    for key, member in aligned.items():
        assert list(member.image_names) == [name for name in first.image_names if name in common]
        assert scores_by_name(member) == {n: s for n, s in scores_by_name(members[key]).items() if n in common}
        assert lines_by_name(member) == {n: s for n, s in lines_by_name(members[key]).items() if n in common}


@settings(deadline=None, max_examples=25)
@given(families(same_records=False))
def test_members_with_other_records_are_all_named_and_no_other(family):
    members, _ = family
    first, *others = members
    odd = [key for key in others if set(members[key].image_names) != set(members[first].image_names)]
    if not odd:
        assert list(align(members)) == list(members)
        return
    with pytest.raises(PredictionsError) as error:
        align(members)
    named = [line.split(" ", 1)[0] for line in str(error.value).splitlines() if " lacks " in line]
    assert named == odd


def test_every_member_that_does_not_fit_is_named_at_once():
    members = {
        "ok": predictions(name="ok.csv"),
        "few": Predictions(table().head(3), "oof", name="few.csv"),
        "same": predictions(name="same.csv"),
        "turned": predictions(target=[1, 1, 0, 1], name="turned.csv"),
        "folds": predictions(fold=[1, 1, 0, 0], name="folds.csv"),
        "many": predictions(image_name=["a", "b", "c", "e"], name="many.csv"),
    }
    with pytest.raises(PredictionsError) as error:
        align(members)
    lines = str(error.value).splitlines()
    assert lines == [
        "few (few.csv) lacks 1 records of ok (ok.csv) (d, row 5) and has 0 that ok lacks (none).",
        "many (many.csv) lacks 1 records of ok (ok.csv) (d, row 5) and has 1 that ok lacks (e, row 5).",
        'missing="intersect" keeps the common ones.',
        "turned (turned.csv) and ok (ok.csv) disagree on the target of 1 records: a (1 in row 2 against 0 in row 2).",
        "folds (folds.csv) was trained on other folds than ok (ok.csv): 3 records differ: a (1 in row 2 against 0 in "
        "row 2), b (1 in row 3 against 0 in row 3), c (0 in row 4 against 1 in row 4).",
        'missing="intersect" joins them, each with its own folds.',
    ]


def many(count, kind="oof", **changes):
    names = [f"i{i:02d}" for i in range(count)]
    columns = {"image_name": names, "target": 0, "fold": 0, "score": 0.5}
    return Predictions(pd.DataFrame({**columns, **changes}), kind, lines=range(100, 100 + count))


def test_five_records_are_shown_of_many():
    members = {"all": many(12), "few": many(12, image_name=[f"i{i:02d}" for i in range(9, 21)])}
    with pytest.raises(PredictionsError) as error:
        align(members)
    text = str(error.value)
    assert (
        "few lacks 9 records of all (i00, row 100, i01, row 101, i02, row 102, i03, row 103, i04, row 104, …)" in text
    )
    assert "has 9 that all lacks (i12, row 103, i13, row 104, i14, row 105, i15, row 106, i16, row 107, …)" in text


def test_five_targets_that_differ_are_shown_of_many_with_the_rows_of_both_files():
    members = {"a": many(12), "b": Predictions(many(12, target=1).frame.iloc[::-1], "oof")}
    refused(lambda: align(members), "of 12 records: i00 (1 in row 13 against 0 in row 100), i01 (", "row 104), ….")


def test_test_predictions_without_targets_are_joined():
    frame = table().drop(columns=["fold", "target"])
    a, b = Predictions(frame, "test"), Predictions(frame.iloc[::-1], "test")
    assert list(align({"a": a, "b": b})["b"].image_names) == NAMES


def test_held_out_members_with_and_without_folds_are_joined():
    a, b = predictions("held_out"), predictions("held_out", fold=None)
    assert list(align({"a": a, "b": b})["b"].image_names) == NAMES
    assert list(align({"b": b, "a": a})["a"].image_names) == NAMES


@pytest.mark.parametrize(("kind", "column"), [("test", "target"), ("test", "fold"), ("held_out", "fold")])
def test_columns_that_are_empty_in_both_do_not_differ(kind, column):
    a, b = (predictions(kind, **{column: [np.nan] * 4}) for _ in range(2))
    assert list(align({"a": a, "b": b})) == ["a", "b"]


def test_a_single_member_is_as_it_was():
    member = predictions()
    pd.testing.assert_frame_equal(align({"a": member})["a"].frame, member.frame)
