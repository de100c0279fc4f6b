"""The bilinear bootstrap against rows that are literally repeated."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from melanomafusion.errors import PredictionsError
from melanomafusion.evaluation import bootstrap
from melanomafusion.evaluation.bootstrap import draw_counts, resampled_aucs
from melanomafusion.evaluation.metrics import roc_auc

SPARSE, DENSE = 0, 10**9  # of bootstrap._DENSE: the matrix is never made, always made


def simulated(seed, share=0.3, patients=30, digits=1):
    """(targets, two scores, clusters) of some 120 images; scores tie, patients have images of both classes."""
    rng = np.random.default_rng(seed)
    clusters = rng.permutation(np.repeat(np.arange(patients), rng.integers(1, 8, patients)))
    targets = (rng.random(len(clusters)) < share).astype(int)
    score = rng.normal(size=len(clusters)) + rng.normal(size=patients)[clusters] + targets
    return targets, [np.round(score, digits), np.round(score + rng.normal(size=len(score)), digits)], clusters


def repeated_aucs(targets, scores, clusters, resamples, seed):
    """(k, resamples): each drawn cluster's rows are written down as often as it is drawn."""
    times = np.concatenate(list(draw_counts(targets, clusters, resamples, seed))).astype(int)[:, clusters]
    return np.array([[roc_auc(np.repeat(targets, n), np.repeat(score, n)) for n in times] for score in scores])


@pytest.mark.parametrize("path", [SPARSE, DENSE])
@pytest.mark.parametrize("digits", [0, 9])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_every_resample_is_the_auc_of_repeated_rows(share, digits, path, monkeypatch):
    monkeypatch.setattr(bootstrap, "_DENSE", path)
    data = simulated(1, share, digits=digits)
    values = resampled_aucs(*data, resamples=60, seed=4)
    assert values.shape == (2, 60)
    np.testing.assert_allclose(values, repeated_aucs(*data, 60, 4), rtol=0, atol=1e-12)


@st.composite
def clustered(draw):
    """(targets, [score], clusters): few records, many ties, clusters of any make-up, some of them empty."""
    row = st.tuples(st.integers(0, 1), st.integers(-2, 2).map(float), st.integers(0, draw(st.integers(0, 9))))
    rows = draw(st.lists(row, min_size=2, max_size=25))
    targets, scores, clusters = (np.array(column) for column in zip(*rows, strict=True))
    assume(0 < targets.sum() < len(targets))
    return targets, [scores], clusters


@settings(deadline=None, max_examples=50)
@given(clustered(), st.integers(0, 2**32 - 1))
def test_both_ways_agree_with_repeated_rows(data, seed):
    wanted = repeated_aucs(*data, 5, seed)
    with pytest.MonkeyPatch.context() as patch:
        for path in (SPARSE, DENSE):
            patch.setattr(bootstrap, "_DENSE", path)
            np.testing.assert_allclose(resampled_aucs(*data, resamples=5, seed=seed), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("limit", "used"), [(SPARSE, "_Sorted"), (DENSE, "_Pairs")])
def test_the_limit_decides_which_way_is_taken(limit, used, monkeypatch):
    other = "_Pairs" if used == "_Sorted" else "_Sorted"
    monkeypatch.setattr(bootstrap, "_DENSE", limit)
    monkeypatch.setattr(bootstrap, other, None)
    assert resampled_aucs(*simulated(2), resamples=3, seed=0).shape == (2, 3)


@pytest.mark.parametrize("path", [SPARSE, DENSE])
def test_a_draw_of_every_cluster_once_gives_the_auc(path, monkeypatch):
    targets, scores, clusters = simulated(3)
    monkeypatch.setattr(bootstrap, "_DENSE", path)
    monkeypatch.setattr(bootstrap, "_draw", lambda rng, count, size: np.ones((count, size)))
    values = resampled_aucs(targets, scores, clusters, resamples=2, seed=0)
    assert values[:, 0] == pytest.approx([roc_auc(targets, score) for score in scores], abs=1e-12)


@pytest.mark.parametrize("path", [SPARSE, DENSE])
@pytest.mark.parametrize("share", [0.05, 0.9])
def test_blocks_are_no_seams(share, path, monkeypatch):
    monkeypatch.setattr(bootstrap, "_DENSE", path)
    data = simulated(4, share)
    whole = resampled_aucs(*data, resamples=50, seed=1)
    for block in (1, 30, 7 * 30):  # one resample at a time, twice, and seven
        monkeypatch.setattr(bootstrap, "_BLOCK", block)
        values = resampled_aucs(*data, resamples=50, seed=1)
        # Draws that are drawn again come later in a larger block; as a whole the resamples are the same.
        for first, second in zip([*whole, whole[0] - whole[1]], [*values, values[0] - values[1]], strict=True):
            np.testing.assert_allclose(np.sort(second), np.sort(first), rtol=0, atol=1e-12)


def test_blocks_hold_no_more_than_they_may(monkeypatch):
    targets, _, clusters = simulated(4)
    monkeypatch.setattr(bootstrap, "_BLOCK", 7 * 30)
    sizes = [len(counts) for counts in draw_counts(targets, clusters, 50, 0)]
    assert sizes == [7] * 7 + [1]


def test_draws_are_as_many_clusters_as_there_are():
    targets, _, clusters = simulated(5)
    counts = np.concatenate(list(draw_counts(targets, clusters, 4000, 0)))
    assert counts.shape == (4000, 30)
    assert (counts.sum(axis=1) == 30).all()
    # Every cluster is drawn once on average, with the variance of a multinomial draw.
    assert counts.mean(axis=0) == pytest.approx(np.ones(30), abs=0.08)
    assert counts.var() == pytest.approx(1 - 1 / 30, abs=0.05)


@pytest.mark.parametrize("block", [1, 4_000_000])
def test_draws_without_both_classes_are_drawn_again(block, monkeypatch):
    monkeypatch.setattr(bootstrap, "_BLOCK", block)
    clusters = np.arange(6)
    for targets in (np.array([1, 0, 0, 0, 0, 0]), np.array([0, 1, 1, 1, 1, 1])):
        counts = np.concatenate(list(draw_counts(targets, clusters, 300, 0)))
        assert counts.shape == (300, 6)
        assert (counts.sum(axis=1) == 6).all()
        assert (counts[:, 0] > 0).all()
        assert (counts[:, 0] < 6).all()
        assert np.isfinite(resampled_aucs(targets, [np.arange(6.0)], clusters, resamples=300, seed=0)).all()


def test_seed_decides():
    data = simulated(6)
    first = resampled_aucs(*data, resamples=20, seed=1)
    np.testing.assert_array_equal(resampled_aucs(*data, resamples=20, seed=1), first)
    assert (resampled_aucs(*data, resamples=20, seed=2) != first).any(axis=1).all()


def test_scores_share_their_draws():
    targets, scores, clusters = simulated(7)
    both = resampled_aucs(targets, [scores[0], scores[1], scores[0]], clusters, resamples=20, seed=3)
    np.testing.assert_array_equal(both[0], both[2])
    np.testing.assert_array_equal(both[1], resampled_aucs(targets, [scores[1]], clusters, resamples=20, seed=3)[0])


@pytest.mark.parametrize("path", [SPARSE, DENSE])
def test_neither_order_of_rows_nor_scale_matters(path, monkeypatch):
    monkeypatch.setattr(bootstrap, "_DENSE", path)
    targets, scores, clusters = simulated(8)
    wanted = resampled_aucs(targets, scores, clusters, resamples=50, seed=0)
    order = np.random.default_rng(0).permutation(len(targets))
    shuffled = [np.exp(score[order]) for score in scores]
    values = resampled_aucs(targets[order], shuffled, clusters[order], resamples=50, seed=0)
    np.testing.assert_allclose(values, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("path", [SPARSE, DENSE])
def test_classes_turned_round_with_the_scores_change_nothing(path, monkeypatch):
    monkeypatch.setattr(bootstrap, "_DENSE", path)
    targets, scores, clusters = simulated(9)
    wanted = resampled_aucs(targets, scores, clusters, resamples=50, seed=0)
    turned = resampled_aucs(1 - targets, [-score for score in scores], clusters, resamples=50, seed=0)
    np.testing.assert_allclose(turned, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("only", [0, 1])
def test_one_class_alone_cannot_be_drawn(only):
    with pytest.raises(PredictionsError, match="both positive and negative"):
        next(draw_counts(np.full(3, only), np.arange(3), 10, 0))


@pytest.mark.parametrize("only", [0, 1])
def test_one_class_alone_is_refused(only):
    with pytest.raises(PredictionsError, match="both positive and negative"):
        resampled_aucs(np.full(3, only), [np.arange(3.0)], np.arange(3), resamples=10, seed=0)


def test_no_resamples_are_refused():
    clusters = np.arange(3)
    with pytest.raises(PredictionsError, match="resamples=0"):
        resampled_aucs(np.array([0, 1, 1]), [np.arange(3.0)], clusters, resamples=0, seed=0)
