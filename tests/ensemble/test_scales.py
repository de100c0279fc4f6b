"""Ranks over all records and within fold, and the rank of a new score among out-of-fold scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from melanomafusion.ensemble.scales import SCALES, rank_among, rank_scores, score_quantiles, to_scale
from melanomafusion.errors import PredictionsError

SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("decimals", [None, 1])
def test_ranks_are_scaled_mean_ranks(make, decimals):
    member = make(decimals=decimals)
    np.testing.assert_allclose(rank_scores(member).scores, (rankdata(member.scores) - 0.5) / len(member), rtol=1e-15)


@pytest.mark.parametrize("decimals", [None, 1])
def test_ranks_within_fold_are_ranks_of_each_fold_alone(make, decimals):
    member = make(decimals=decimals)
    frame, ranks = member.frame, rank_scores(member, within_fold=True).scores
    for fold in range(3):
        part = frame.loc[frame["fold"] == fold, "score"]
        np.testing.assert_allclose(ranks[frame["fold"] == fold], (rankdata(part) - 0.5) / len(part), rtol=1e-15)


@pytest.mark.parametrize("within_fold", [False, True])
def test_ranks_change_nothing_but_the_score(make, within_fold):
    member = make()
    before = member.frame
    ranked = rank_scores(member, within_fold=within_fold)
    assert ranked.frame.drop(columns="score").equals(before.drop(columns="score"))
    assert ranked.kind == member.kind
    assert ranked.name == member.name
    assert member.frame.equals(before)
    assert 0 < ranked.scores.min() < ranked.scores.max() < 1


@settings(deadline=None, max_examples=20)
@given(SEEDS, st.booleans())
def test_ranks_do_not_depend_on_the_order_of_rows(make, shuffle, by_name, seed, within_fold):
    member = make(decimals=1)
    turned = rank_scores(shuffle(member, seed), within_fold=within_fold)
    assert by_name(turned).equals(by_name(rank_scores(member, within_fold=within_fold)))


@settings(deadline=None, max_examples=20)
@given(SEEDS, st.booleans())
def test_ranks_keep_order_and_ties(make, seed, within_fold):
    member = make(seed, decimals=1)
    ranks, folds = rank_scores(member, within_fold=within_fold).scores, member.frame["fold"].to_numpy()
    for rows in [folds == fold for fold in range(3)] if within_fold else [folds >= 0]:
        sign = np.sign(member.scores[rows][:, None] - member.scores[rows])
        np.testing.assert_array_equal(np.sign(ranks[rows][:, None] - ranks[rows]), sign)


def test_scale_score_is_the_member_itself(make):
    member = make()
    assert to_scale(member, "score") is member


@pytest.mark.parametrize(("scale", "within_fold"), [("rank", False), ("rank_within_fold", True)])
def test_rank_scales_are_the_ranks(make, scale, within_fold):
    member = make()
    wanted = rank_scores(member, within_fold=within_fold).scores
    np.testing.assert_array_equal(to_scale(member, scale).scores, wanted)
    assert set(SCALES) == {"score", "rank", "rank_within_fold"}


def test_ranks_within_fold_need_folds(make):
    with pytest.raises(PredictionsError, match=r"m0\.csv has no folds to rank within"):
        to_scale(make(kind="test"), "rank_within_fold")


def test_quantiles_are_1001_of_the_scores(make):
    scores = make().scores
    quantiles = score_quantiles(scores)
    assert len(quantiles) == 1001
    assert all(isinstance(value, float) for value in quantiles)
    assert (quantiles[0], quantiles[500], quantiles[-1]) == (scores.min(), np.median(scores), scores.max())
    np.testing.assert_array_equal(quantiles, np.quantile(scores, np.linspace(0, 1, 1001)))


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.sampled_from([0, 1, 2, 8]), st.integers(2, 1500))
def test_rank_among_is_the_share_below_plus_half_the_ties(seed, decimals, count):
    rng = np.random.default_rng(seed)
    known = np.round(rng.random(count), decimals)
    new = np.concatenate([np.round(rng.uniform(-0.2, 1.2, 50), decimals), known[:20]])
    ranks = rank_among(score_quantiles(known), new)
    below, ties = (known < new[:, None]).mean(axis=1), (known == new[:, None]).mean(axis=1)
    # Of `count` scores there are `count` − 1 steps from rank 0 to rank 1, and quantiles are 0.001 apart.
    np.testing.assert_allclose(ranks, below + ties / 2, atol=1.0 / (count - 1) + 0.0021)


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.sampled_from([0, 1, 8]))
def test_rank_among_rises_with_the_score_from_0_to_1(seed, decimals):
    rng = np.random.default_rng(seed)
    known = np.round(rng.random(300), decimals)
    ranks = rank_among(score_quantiles(known), np.sort(rng.uniform(-0.5, 1.5, 400)))
    assert (np.diff(ranks) >= 0).all()
    assert ranks[0] == 0
    assert ranks[-1] == 1


def test_rank_among_ties_takes_the_middle():
    known = np.repeat([0.1, 0.5, 0.9], [250, 500, 250])
    ranks = rank_among(score_quantiles(known), np.array([0.1, 0.3, 0.5, 0.7, 0.9]))
    np.testing.assert_allclose(ranks, [0.125, 0.25, 0.5, 0.75, 0.875], atol=2e-3)


def test_rank_among_follows_a_strictly_increasing_change_of_both():
    rng = np.random.default_rng(0)
    known = rng.random(1001)  # each is a quantile itself
    new = rng.permutation(known)[:100]
    wanted = rank_among(score_quantiles(known), new)
    for change in (lambda x: x**3, lambda x: np.log(x) - 7, lambda x: 1e6 * x):
        np.testing.assert_allclose(rank_among(score_quantiles(change(known)), change(new)), wanted, atol=1e-12)


def test_rank_of_one_score_does_not_depend_on_the_others():
    rng = np.random.default_rng(1)
    quantiles, new = score_quantiles(rng.random(500)), rng.random(20)
    np.testing.assert_array_equal(
        [rank_among(quantiles, new[i : i + 1])[0] for i in range(20)], rank_among(quantiles, new)
    )
