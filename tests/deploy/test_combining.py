"""From what each model computes to one score, within its bounds whatever rounding does; classes by name."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import melanomafusion as mf
from melanomafusion.deploy.combining import combined
from melanomafusion.deploy.member import Member
from melanomafusion.deploy.scores import scores_of


def member(name, classes=()):
    recipe = SimpleNamespace(classes=classes, positive_classes=classes[:2])
    return Member(name, name, SimpleNamespace(recipe=recipe), None, "keras")


def scores_with(members, found, ensemble=None):
    return combined(members, found, ensemble, None, pd.DataFrame(index=range(len(found[0]["score"]))))


ABOVE = np.nextafter(np.float32(1), np.float32(2)).astype("float64")


@pytest.mark.parametrize(
    "ensemble",
    [
        None,
        mf.PowerMeanEnsemble(3.0),
        mf.WeightedEnsemble.from_weights({"a": 0.7, "b": 0.2, "c": 0.1}),
        mf.WeightedEnsemble.from_weights({"a": 0.1, "b": 0.2, "c": 0.7000000001}),
    ],
)
def test_a_score_that_rounding_lifts_above_one_is_one(ensemble):
    members = [member(name) for name in "abc"]
    found = [{"score": np.array([ABOVE, 1.0, 0.5])} for _ in members]
    scores = scores_with(members, found, ensemble)
    assert scores.score[:2].max() == pytest.approx(1)
    assert scores.score.max() <= 1
    assert max(values.max() for values in scores.members.values()) == 1
    assert scores.score[2] == pytest.approx(0.5)


def test_the_sum_of_all_classes_is_at_most_one():
    rng = np.random.default_rng(0)
    recipe = SimpleNamespace(classes=tuple("abcdef"), positive_classes=tuple("abcdef"))
    values = rng.random((1000, 6)).astype("float32")
    values /= values.sum(axis=1, keepdims=True)
    assert (values.sum(axis=1) > 1).any()
    assert scores_of(values, recipe).max() == 1


def test_class_scores_are_averaged_by_name():
    members = [member("a", ("mel", "nevus", "BKL")), member("b", ("nevus", "BKL", "mel"))]
    found = [
        {"score": np.array([0.7]), "class_scores": np.array([[0.7, 0.2, 0.1]])},
        {"score": np.array([0.5]), "class_scores": np.array([[0.4, 0.1, 0.5]])},
    ]
    np.testing.assert_allclose(scores_with(members, found).classes, [[0.6, 0.3, 0.1]])


@pytest.mark.parametrize("classes", [("mel", "nevus"), ("mel", "nevus", "AK"), ()])
def test_members_of_other_classes_give_one_score_and_no_class_scores(classes):
    members = [member("a", ("mel", "nevus", "BKL")), member("b", classes)]
    found = [
        {"score": np.array([0.7]), "class_scores": np.array([[0.7, 0.2, 0.1]])},
        {"score": np.array([0.5]), "class_scores": np.full((1, len(classes)), 0.5)},
    ]
    if not classes:
        del found[1]["class_scores"]
    for order in (slice(None), slice(None, None, -1)):
        scores = scores_with(members[order], found[order])
        assert scores.classes is None
        assert scores.score == pytest.approx(0.6)
