"""Searches for weights: exact where they claim to be, and never below what they started from."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from melanomafusion.ensemble import auc_screen
from melanomafusion.ensemble.auc_screen import AucScreen
from melanomafusion.ensemble.objectives import OBJECTIVES
from melanomafusion.ensemble.search import GreedyPath, bagged_greedy, check_search, greedy_path, simplex_weights
from melanomafusion.errors import PredictionsError
from melanomafusion.evaluation.metrics import roc_auc

SEEDS = st.integers(0, 2**32 - 1)
# Few records are ranked without bounds and threads; here they go the way of many.
as_if_many = patch.object(auc_screen, "_FEW", 0)


def kaggle_partial_auc(targets, scores):
    """As the ISIC 2024 challenge computes it: the curve turned round, McClish's correction undone."""
    scaled = roc_auc_score(1 - targets, -scores, max_fpr=0.2)
    return 0.02 + (0.2 - 0.02) / 0.5 * (scaled - 0.5)


THEIRS = {
    "auc": roc_auc_score,
    "partial_auc": kaggle_partial_auc,
    "average_precision": average_precision_score,
    "log_loss": lambda targets, scores: -log_loss(targets, np.clip(scores, 1e-15, 1 - 1e-15)),
}


def data(seed=0, count=150, members=6):
    """(k, n) scores on a grid of 1/1024, so that sums are exact, and targets."""
    rng = np.random.default_rng(seed)
    targets = (rng.random(count) < 0.25).astype(int)
    targets[:2] = 0, 1
    signal = rng.uniform(0, 0.35, (members, 1)) * targets
    return np.round(rng.random((members, count)) * 0.6 * 1024 + signal * 1024) / 1024, targets


def hard_data(case, seed):
    scores, targets = data(seed)
    rng = np.random.default_rng(seed + 100)
    if case == "continuous":
        scores = scores + rng.random(scores.shape) * 1e-3
    elif case == "ties":
        scores = np.round(scores * 4) / 4
    elif case == "hard answers":
        scores = (scores > 0.4).astype(float)
    elif case == "copies":
        scores = scores[[0, 1, 0, 2, 1, 0]]
    elif case == "zeros and tiny":
        scores = np.where(scores < 0.3, 0.0, scores) * np.array([1, 1e-40, 1e-38, 1e-45, 1, 1e-40])[:, None]
    elif case == "all tiny":
        scores = np.where(scores < 0.1, 0.0, scores * 1e-40)
    elif case == "equal but for the last digits":
        scores = 1.0 + np.round(scores * 64) * 2.0**-40
    elif case == "sizes apart":
        scores = scores * np.array([1, 2.0**30, 2.0**-30, 1, 2.0**60, 4.0])[:, None]
    elif case == "negative":
        scores = scores - 0.5
    return scores, targets


CASES = (
    "continuous",
    "ties",
    "hard answers",
    "copies",
    "zeros and tiny",
    "all tiny",
    "equal but for the last digits",
    "sizes apart",
    "negative",
)


def plain_greedy(scores, targets, rounds, measure=roc_auc_score, divide=False):
    """The loop that anyone would write: ties within 1e-12 go to the first."""
    total, picks, values = np.zeros(scores.shape[1]), [], []
    for _ in range(rounds):
        count = len(picks) + 1 if divide else 1
        found = np.array([measure(targets, (total + row) / count) for row in scores])
        best = int(np.flatnonzero(found >= found.max() - 1e-12)[0])
        picks.append(best)
        values.append(found[best])
        total += scores[best]
    return picks, values


# --- greedy -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("case", CASES)
def test_greedy_picks_what_a_plain_loop_picks(case, seed):
    scores, targets = hard_data(case, seed)
    picks, values = plain_greedy(scores, targets, 7, divide=case == "negative")
    few = greedy_path(scores, targets, rounds=7)
    with as_if_many:
        many = greedy_path(scores, targets, rounds=7)
    assert few == many
    assert few.picks == picks
    np.testing.assert_allclose(few.values, values, rtol=0, atol=1e-13)
    assert all(isinstance(value, float) for value in few.values)


@pytest.mark.parametrize("objective", ["partial_auc", "average_precision", "log_loss"])
@pytest.mark.parametrize("seed", range(2))
def test_greedy_on_other_objectives_picks_what_a_plain_loop_picks(objective, seed):
    scores, targets = data(seed, members=4)
    picks, values = plain_greedy(scores, targets, 6, THEIRS[objective], divide=True)
    path = greedy_path(scores, targets, objective=objective, rounds=6)
    assert path.picks == picks
    np.testing.assert_allclose(path.values, values, rtol=1e-12)


@pytest.mark.parametrize("case", ["continuous", "ties", "hard answers", "negative"])
def test_values_are_those_of_the_mean_of_the_picks(case):
    scores, targets = hard_data(case, 5)
    path = greedy_path(scores, targets, rounds=16)
    for i in (0, 1, 3, 7, 15):  # means over powers of two, which are exact
        mean = np.mean(scores[path.picks[: i + 1]], axis=0)
        assert path.values[i] == roc_auc(targets, mean) or case == "continuous"
        assert path.values[i] == pytest.approx(roc_auc_score(targets, mean), abs=1e-12)


@pytest.mark.parametrize("rare", [0, 1])
def test_greedy_does_not_care_which_class_is_rare(rare):
    scores, targets = data(3)
    targets = targets if rare else 1 - targets
    assert greedy_path(scores, targets, rounds=8).picks == plain_greedy(scores, targets, 8)[0]


def test_ties_go_to_the_first_member():
    scores, targets = data(1)
    same = np.stack([scores[0], scores[0], scores[0]])
    assert greedy_path(same, targets, rounds=5).picks == [0] * 5
    assert greedy_path(same - 1, targets, rounds=5).picks == [0] * 5


def test_one_member_is_picked_again_and_again():
    scores, targets = data(2, members=1)
    path = greedy_path(scores, targets, rounds=4)
    assert path.picks == [0] * 4
    assert path.values == [roc_auc(targets, scores[0])] * 4
    np.testing.assert_array_equal(path.weights, [1.0])


def test_weights_are_shares_of_the_picks_up_to_the_first_best_round():
    np.testing.assert_array_equal(GreedyPath([2, 0, 2, 1], [0.7, 0.8, 0.9, 0.85], 4).weights, [1 / 3, 0, 2 / 3, 0])
    np.testing.assert_array_equal(GreedyPath([2, 0, 2], [0.9, 0.9, 0.9], 3).weights, [0, 0, 1])
    np.testing.assert_array_equal(GreedyPath([2, 0, 2], [0.8, 0.9, 0.9 + 1e-14], 3).weights, [0.5, 0, 0.5])
    np.testing.assert_array_equal(GreedyPath([1, 1], [-0.5, -0.4], 2).weights, [0, 1])


def test_greedy_weights_never_fall_below_the_best_member():
    for seed in range(5):
        scores, targets = data(seed)
        found = roc_auc(targets, greedy_path(scores, targets, rounds=20).weights @ scores)
        assert found >= max(roc_auc(targets, row) for row in scores) - 1e-12


@pytest.mark.parametrize("shift", [0, -0.5])
@pytest.mark.parametrize("limit", [1, 2, 3])
def test_greedy_path_obeys_max_members(limit, shift):
    scores, targets = data(4)
    free = greedy_path(scores + shift, targets, rounds=20)
    path = greedy_path(scores + shift, targets, rounds=20, max_members=limit)
    assert len(set(free.picks)) > 3
    assert len(set(path.picks)) == limit
    assert path.picks[:limit] == free.picks[:limit] or limit > 1
    assert path.picks[0] == free.picks[0]


def test_greedy_path_goes_on_with_the_best_of_the_allowed():
    scores, targets = data(4)
    path = greedy_path(scores, targets, rounds=12, max_members=2)
    allowed = sorted(set(path.picks))
    first = max(i for i in range(12) if len(set(path.picks[:i])) < 2)
    total = scores[path.picks[: first + 1]].sum(axis=0)
    for pick in path.picks[first + 1 :]:
        found = [roc_auc_score(targets, total + scores[member]) for member in allowed]
        assert pick == allowed[int(np.argmax(np.array(found) >= max(found) - 1e-12))]
        total += scores[pick]


@pytest.mark.parametrize("shift", [0, -0.5])
def test_without_replacement_every_member_comes_once(shift):
    scores, targets = data(6)
    path = greedy_path(scores + shift, targets, rounds=6, replacement=False)
    assert sorted(path.picks) == list(range(6))
    assert path.values[-1] == pytest.approx(roc_auc(targets, scores.mean(axis=0)), abs=1e-12)
    assert greedy_path(scores + shift, targets, rounds=100, replacement=False).picks == path.picks
    assert greedy_path(scores + shift, targets, rounds=3, replacement=False).picks == path.picks[:3]


# --- the screen -------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    SEEDS, st.sampled_from([2.0**-22, 2.0**-24, 2.0**-26, 2.0**-30, 0.1]), st.sampled_from([1.0, 1e-37, 1e-40, 1e30])
)
def test_bounds_hold_the_exact_auc_of_every_candidate(seed, grain, scale):
    rng = np.random.default_rng(seed)
    count, members = 120, 4
    targets = (rng.random(count) < 0.4).astype(int)
    targets[:2] = 0, 1
    # Many records lie closer together than float32 can tell; some are 0.
    scores = scale * (rng.random((members, 1)) + rng.integers(0, 60, (members, count)) * grain)
    scores[rng.random((members, count)) < 0.1] = 0.0
    screen = AucScreen(scores, targets)
    for member in rng.integers(0, members, rng.integers(0, 5)):
        screen.add(member)
    bounds = screen._bounds(np.arange(members), screen.sum_negative.astype("float32"))
    exact = np.array([screen._exact(member) for member in range(members)])
    assert (bounds[:, 0] <= exact + 1e-15).all()
    assert (exact <= bounds[:, 1] + 1e-15).all()
    with as_if_many:
        assert screen.best(np.arange(members)) == (int(np.argmax(exact >= exact.max() - 1e-12)), exact.max())


def test_bounds_are_narrow_where_scores_lie_apart():
    scores, targets = data(0)
    scores[:, targets == 1] += 2.0**-11  # between the steps of the negatives, so no pair is in doubt
    screen = AucScreen(scores, targets)
    bounds = screen._bounds(np.arange(6), screen.sum_negative.astype("float32"))
    np.testing.assert_array_equal(bounds[:, 0], bounds[:, 1])
    np.testing.assert_allclose(bounds[:, 0], [roc_auc(targets, row) for row in scores], rtol=1e-14)


def test_screen_looks_at_the_candidates_alone():
    scores, targets = data(0)
    screen = AucScreen(scores, targets)
    exact = [roc_auc(targets, row) for row in scores]
    for candidates in ([3], [1, 4], [0, 2, 5]):
        best = max(candidates, key=lambda i: exact[i])
        assert screen.best(np.array(candidates)) == (best, exact[best])
        with as_if_many:
            assert screen.best(np.array(candidates)) == (best, exact[best])


def test_scores_beyond_float32_are_searched_too():
    scores, targets = data(0)
    wanted = greedy_path(scores, targets, rounds=5)
    with as_if_many:
        assert greedy_path(scores * 2.0**1000, targets, rounds=5) == wanted


def test_many_records_are_screened(monkeypatch):
    scores, targets = data(0, count=20_001)
    asked = []
    bounds = AucScreen._bounds
    monkeypatch.setattr(AucScreen, "_bounds", lambda screen, *rest: asked.append(1) or bounds(screen, *rest))
    found = AucScreen(scores, targets).best(np.arange(6))
    exact = [roc_auc(targets, row) for row in scores]
    assert found == (int(np.argmax(exact)), max(exact))
    assert asked


# --- bags -------------------------------------------------------------------------------------------------------------


def bagged(scores, targets, **options):
    settings = {"objective": "auc", "rounds": 10, "bags": 6, "max_members": None, "seed": 0}
    return bagged_greedy(scores, targets, **{**settings, **options})


@pytest.mark.parametrize("members", [1, 3, 5])
def test_up_to_five_members_are_searched_once_whatever_the_bags(members):
    scores, targets = data(7, members=members)
    wanted = greedy_path(scores, targets, rounds=10).weights
    np.testing.assert_allclose(bagged(scores, targets), wanted, rtol=1e-15)
    np.testing.assert_array_equal(bagged(scores, targets, bags=1, seed=5), bagged(scores, targets))


@pytest.mark.parametrize(("members", "size"), [(6, 5), (9, 5), (12, 6), (13, 7)])
def test_a_bag_holds_half_of_the_members_but_five_at_least(members, size):
    # All members are alike, so the first of the bag takes all.
    scores, targets = data(8, count=20, members=1)
    alike = np.repeat(scores, members, axis=0)
    firsts = {int(np.argmax(bagged(alike, targets, bags=1, rounds=1, seed=seed))) for seed in range(40)}
    assert max(firsts) <= members - size
    assert len(firsts) > 1


def test_bags_are_averaged():
    scores, targets = data(9, members=12)
    single = [bagged(scores, targets, bags=1, seed=3)]
    both = bagged(scores, targets, bags=2, seed=3)
    # The first bag of two is the bag of one.
    second = 2 * both - single[0]
    assert (second >= -1e-15).all()
    assert second.sum() == pytest.approx(1)
    assert np.count_nonzero(second > 1e-12) <= 6


@settings(deadline=None, max_examples=10)
@given(SEEDS, st.integers(1, 14), st.sampled_from([None, 1, 2, 4]))
def test_bagged_weights_are_shares_of_at_most_max_members(seed, members, limit):
    scores, targets = data(seed, count=80, members=members)
    weights = bagged(scores, targets, max_members=limit, seed=seed, rounds=6, bags=4)
    assert weights.shape == (members,)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert np.count_nonzero(weights) <= (limit or members)


def test_bags_follow_the_seed():
    scores, targets = data(10, members=12)
    np.testing.assert_array_equal(bagged(scores, targets), bagged(scores, targets))
    assert not np.array_equal(bagged(scores, targets), bagged(scores, targets, seed=1))


def test_heaviest_members_are_kept_and_weighed_anew():
    scores, targets = data(11, members=12)
    free = bagged(scores, targets)
    assert np.count_nonzero(free) > 3
    np.testing.assert_array_equal(bagged(scores, targets, max_members=12), free)
    two = bagged(scores, targets, max_members=2)
    kept = np.flatnonzero(two)
    alone = greedy_path(scores[kept], targets, rounds=10).weights
    np.testing.assert_allclose(two[kept], alone, rtol=1e-15)


# --- simplex ----------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=15)
@given(SEEDS, st.integers(1, 5), st.sampled_from(list(OBJECTIVES)), st.sampled_from([None, 1, 2, 3]))
def test_simplex_weights_are_shares_and_pay(seed, members, objective, limit):
    scores, targets = data(seed, count=80, members=members)
    weights = simplex_weights(scores, targets, objective=objective, max_members=limit)
    measure = OBJECTIVES[objective]
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert np.count_nonzero(weights) <= (limit or members)
    # Rounding may tie or part a pair of records: less than a hundredth of one record's share.
    slack = 1e-12 if objective == "log_loss" else 1e-3
    found = measure(targets, weights @ scores)
    assert found >= max(measure(targets, row) for row in scores) - slack
    if limit is None or limit >= members:
        assert found >= measure(targets, scores.mean(axis=0)) - slack


@pytest.mark.parametrize("seed", range(4))
def test_simplex_never_ends_below_its_start(seed):
    scores, targets = data(seed, count=200)
    scores = scores + np.random.default_rng(seed).random(scores.shape) * 1e-3
    weights = simplex_weights(scores, targets, objective="auc", max_members=None)
    found = roc_auc(targets, weights @ scores)
    assert found >= max(roc_auc(targets, row) for row in scores)
    assert found >= roc_auc(targets, scores.mean(axis=0))


def test_simplex_starts_from_the_plain_mean_where_that_is_better_than_any_member():
    # From the best member of these eight no shift leads up to what their mean is worth.
    targets = np.tile([0, 1], 8)
    scores = np.random.default_rng(281).random((8, 16)) + 0.12 * targets
    weights = simplex_weights(scores, targets, objective="auc", max_members=None)
    mean = roc_auc(targets, scores.mean(axis=0))
    assert mean > max(roc_auc(targets, row) for row in scores)
    assert roc_auc(targets, weights @ scores) >= mean


@pytest.mark.parametrize(("objective", "tolerance"), [("auc", 2e-3), ("log_loss", 1e-4), ("average_precision", 2e-2)])
@pytest.mark.parametrize("seed", range(3))
def test_simplex_finds_the_best_of_a_fine_grid_for_two_members(objective, tolerance, seed):
    scores, targets = data(seed, count=400, members=2)
    measure = OBJECTIVES[objective]
    weights = simplex_weights(scores, targets, objective=objective, max_members=None)
    best = max(measure(targets, w * scores[0] + (1 - w) * scores[1]) for w in np.linspace(0, 1, 501))
    assert measure(targets, weights @ scores) >= best - tolerance


def test_simplex_finds_a_blend_that_is_known():
    rng = np.random.default_rng(0)
    targets = (rng.random(2000) < 0.4).astype(int)
    noise = rng.normal(size=2000) * 0.3
    # Only 0.3 of the first and 0.7 of the second take the noise out.
    scores = np.stack([0.5 + 0.1 * targets + noise / 0.3, 0.5 + 0.1 * targets - noise / 0.7, rng.random(2000)])
    weights = simplex_weights(scores, targets, objective="auc", max_members=None)
    assert roc_auc(targets, weights @ scores) > 0.999
    np.testing.assert_allclose(weights, [0.3, 0.7, 0], atol=0.06)


def test_simplex_gives_a_lone_expert_all_weight():
    rng = np.random.default_rng(1)
    targets = (rng.random(300) < 0.4).astype(int)
    scores = np.stack([rng.random(300), targets + 0.1 * rng.random(300), rng.random(300)])
    np.testing.assert_array_equal(simplex_weights(scores, targets, objective="auc", max_members=1), [0, 1, 0])


# --- objectives and settings ------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(SEEDS, st.sampled_from(list(OBJECTIVES)), st.sampled_from([1, 2, 6]))
def test_objectives_are_scikit_learns(seed, objective, decimals):
    rng = np.random.default_rng(seed)
    targets = (rng.random(60) < 0.4).astype(int)
    targets[:2] = 0, 1
    scores = np.round(np.clip(rng.random(60) * 0.8 + 0.2 * targets, 0, 1), decimals)
    assert OBJECTIVES[objective](targets, scores) == pytest.approx(THEIRS[objective](targets, scores), abs=1e-10)


def test_log_loss_forgives_rounding_beyond_0_and_1():
    targets = np.array([0, 1, 1])
    assert OBJECTIVES["log_loss"](targets, np.array([-1e-17, 1 + 1e-15, 0.5])) == pytest.approx(np.log(0.5) / 3)


@pytest.mark.parametrize("name", ["rounds", "bags", "max_members"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "3", True, None])
def test_settings_that_cannot_work_are_refused(name, value):
    settings = {"rounds": 5, "bags": 2, "max_members": 3, name: value}
    if (name, value) == ("max_members", None):
        check_search(**settings, objective="auc")
        return
    with pytest.raises(PredictionsError, match=f"{name} is a whole number of at least 1. Received: {name}="):
        check_search(**settings, objective="auc")


def test_an_unknown_objective_is_refused():
    with pytest.raises(PredictionsError, match="objective is one of auc, partial_auc, average_precision, log_loss"):
        check_search(5, 2, None, "f1")
    check_search(np.int64(5), 2, np.int64(1), "auc")
