"""Class weights against scikit-learn's; oversampling against its promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from melanomafusion.data.imbalance import class_weights, epoch_rows, imbalance_report, sample_weights
from melanomafusion.errors import RecipeError

PROPERTY = settings(max_examples=60, deadline=None, database=None)
BINARY = st.lists(st.integers(0, 1), min_size=2, max_size=60).filter(lambda t: 0 < sum(t) < len(t)).map(np.array)
CLASSES = st.lists(st.integers(0, 4), min_size=2, max_size=60).filter(lambda t: len(set(t)) > 1).map(np.array)


@PROPERTY
@given(CLASSES)
def test_class_weights_are_those_of_scikit_learn(targets):
    classes = np.unique(targets)
    golden = compute_class_weight("balanced", classes=classes, y=targets)
    weights = class_weights(targets)
    assert list(weights) == classes.tolist()
    np.testing.assert_allclose(list(weights.values()), golden, rtol=1e-12)


@PROPERTY
@given(CLASSES)
def test_sample_weights_are_those_of_scikit_learn_and_have_mean_1(targets):
    weights = sample_weights(targets, "class_weight")
    assert weights.dtype == np.float32
    assert weights.mean() == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(weights, compute_sample_weight("balanced", targets), rtol=1e-6)
    # Each class has the same weight in all.
    totals = [weights[targets == value].sum() for value in np.unique(targets)]
    np.testing.assert_allclose(totals, totals[0], rtol=1e-5)


def test_weights_of_a_rare_class_as_a_number():
    assert class_weights(np.array([0] * 98 + [1] * 2)) == {0: pytest.approx(100 / 196), 1: 25.0}


@pytest.mark.parametrize("treatment", ["none", "oversample"])
def test_other_treatments_weigh_all_records_alike(treatment):
    assert sample_weights(np.array([0, 0, 1]), treatment).tolist() == [1, 1, 1]


@pytest.mark.parametrize("targets", [[0, 0], [1], []])
def test_weights_of_one_class_are_refused(targets):
    with pytest.raises(RecipeError, match="at least two classes"):
        class_weights(np.array(targets))


@PROPERTY
@given(BINARY, st.floats(0.05, 0.9))
def test_oversampling_keeps_each_record_and_reaches_the_share(targets, share):
    rows = epoch_rows(targets, "oversample", share)
    assert rows.dtype == np.int64
    assert set(rows) == set(range(len(targets)))
    repeated = np.bincount(rows, minlength=len(targets))
    # Negatives stand once; positives as evenly often as can be.
    assert (repeated[targets == 0] == 1).all()
    assert np.ptp(repeated[targets == 1]) <= 1
    # To within the one record that rounding may cost.
    positives = repeated[targets == 1].sum()
    wanted = share * (targets == 0).sum() / (1 - share)
    if wanted > (targets == 1).sum():
        assert abs(positives - wanted) <= 0.5 + 1e-9
    else:
        assert len(rows) == len(targets)


def test_oversampling_a_rare_class_to_a_quarter():
    targets = np.array([0] * 990 + [1] * 10)
    rows = epoch_rows(targets, "oversample", 0.25)
    assert targets[rows].mean() == pytest.approx(0.25, abs=0.001)
    assert len(rows) == 990 + 330


def test_oversampling_without_positives_changes_nothing():
    assert epoch_rows(np.zeros(5, dtype=int), "oversample", 0.5).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("treatment", ["none", "class_weight"])
def test_other_treatments_take_each_record_once(treatment):
    assert epoch_rows(np.array([0, 1, 0]), treatment, 0.9).tolist() == [0, 1, 2]


def test_the_report_counts_and_warns_of_the_cost():
    targets = np.array([0] * 98 + [1] * 2)
    weighted = imbalance_report(targets, "class_weight")
    assert weighted.startswith("100 training records, 2.00% positive.")
    assert "class 0: 0.51, class 1: 25.00" in weighted
    assert "no probabilities" in weighted
    assert "no probabilities until calibrated" in imbalance_report(targets, "oversample")
    assert "No weights and no oversampling." in imbalance_report(targets, "none")


SOURCES = np.array(["a"] * 4 + ["b"] * 6)
SOURCED = st.lists(st.tuples(st.integers(0, 1), st.sampled_from("abc")), min_size=1, max_size=60)


def split_pairs(pairs):
    return np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])


@PROPERTY
@given(SOURCED, st.floats(0.1, 10), st.floats(0.1, 10))
def test_source_weights_are_in_proportion_and_have_mean_1(pairs, a, b):
    targets, sources = split_pairs(pairs)
    known = {"a": a, "b": b}
    given_weights = {name: value for name, value in known.items() if name in sources}
    weights = sample_weights(targets, "none", sources=sources, source_weights=given_weights)
    assert weights.dtype == np.float32
    assert weights.mean() == pytest.approx(1.0, abs=1e-5)
    factors = np.array([known.get(name, 1.0) for name in sources])
    np.testing.assert_allclose(weights, factors / factors.mean(), rtol=1e-5)


def test_source_weights_multiply_class_weights():
    targets = np.array([0, 1, 0, 0, 1, 0, 0, 0, 1, 0])
    both = sample_weights(targets, "class_weight", sources=SOURCES, source_weights={"b": 3.0})
    golden = compute_sample_weight("balanced", targets) * np.where(SOURCES == "b", 3.0, 1.0)
    np.testing.assert_allclose(both, golden / golden.mean(), rtol=1e-6)


@PROPERTY
@given(SOURCED, st.floats(0.05, 3.0), st.integers(0, 5))
def test_source_sampling_draws_the_share_of_each_source(pairs, share, seed):
    targets, sources = split_pairs(pairs)
    name = sources[0]
    rng = np.random.default_rng(seed)
    rows = epoch_rows(targets, "none", 0.5, sources=sources, source_sampling={name: share}, rng=rng)
    assert rows.dtype == np.int64
    times = np.bincount(rows, minlength=len(targets))
    assert (times[sources != name] == 1).all()
    # Positives and the rest apart, so that no epoch is without the rare ones by chance.
    for target in (0, 1):
        drawn = times[(sources == name) & (targets == target)]
        if len(drawn):
            assert drawn.sum() == max(1, round(len(drawn) * share))
            # As evenly as can be: no record twice before each stands once.
            assert np.ptp(drawn) <= 1


def test_other_records_are_drawn_in_each_epoch_and_the_same_by_the_same_seed():
    sources = np.array(["a"] * 1000)
    options = {"sources": sources, "source_sampling": {"a": 0.5}}
    draws = [
        epoch_rows(np.zeros(1000, dtype=int), "none", 0.5, rng=np.random.default_rng([0, epoch]), **options)
        for epoch in (0, 1, 0)
    ]
    assert draws[0].tolist() == draws[2].tolist()
    common = len(set(draws[0]) & set(draws[1]))
    assert 200 < common < 300
    assert draws[0].tolist() == sorted(set(draws[0]))


def test_a_source_sampled_twice_stands_twice():
    rows = epoch_rows(
        np.zeros(10, dtype=int),
        "none",
        0.5,
        sources=SOURCES,
        source_sampling={"a": 2},
        rng=np.random.default_rng(0),
    )
    assert rows.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9]


def test_positives_are_repeated_among_the_drawn():
    targets = np.array([1] * 10 + [0] * 1000)
    sources = np.array(["few"] * 10 + ["many"] * 1000)
    rng = np.random.default_rng(0)
    rows = epoch_rows(targets, "oversample", 0.5, sources=sources, source_sampling={"many": 0.1}, rng=rng)
    assert (targets[rows] == 0).sum() == 100
    assert (targets[rows] == 1).sum() == 100


def test_only_drawn_positives_are_repeated():
    targets, sources = np.array([1] * 10 + [0] * 100), np.array(["few"] * 10 + ["many"] * 100)
    rng = np.random.default_rng(0)
    rows = epoch_rows(targets, "oversample", 0.5, sources=sources, source_sampling={"few": 0.5}, rng=rng)
    assert (targets[rows] == 1).sum() == 100
    assert len(set(rows[targets[rows] == 1])) == 5


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "2", None, True])
@pytest.mark.parametrize("option", ["source_weights", "source_sampling"])
def test_a_factor_that_is_no_number_above_0_is_refused(option, value):
    with pytest.raises(RecipeError, match=rf"{option}\['a'\] must be a number above 0"):
        call(option, {"a": value})


@pytest.mark.parametrize("option", ["source_weights", "source_sampling"])
def test_an_unknown_source_is_refused_with_those_known(option):
    with pytest.raises(RecipeError, match=r"names 'isic', which is no source.*Sources: a, b"):
        call(option, {"isic": 2.0})


@pytest.mark.parametrize("option", ["source_weights", "source_sampling"])
@pytest.mark.parametrize("sources", [None, np.array(["a"])])
def test_factors_without_the_source_of_each_record_are_refused(option, sources):
    with pytest.raises(RecipeError, match="needs the source of each of the 10 records"):
        call(option, {"a": 2.0}, sources=sources)


@pytest.mark.parametrize("option", ["source_weights", "source_sampling"])
def test_factors_that_are_no_table_are_refused(option):
    with pytest.raises(RecipeError, match=f"{option} is a table"):
        call(option, [1.0])


def test_sampling_without_a_generator_or_a_hundredfold_is_refused():
    with pytest.raises(RecipeError, match="give rng="):
        epoch_rows(np.zeros(10), "none", 0.5, sources=SOURCES, source_sampling={"a": 0.5})
    with pytest.raises(RecipeError, match="give rng="):
        epoch_rows(np.zeros(10), "none", 0.5, sources=SOURCES, source_sampling={"a": 0.5}, rng=3)
    with pytest.raises(RecipeError, match="above 0 up to 100"):
        call("source_sampling", {"a": 101})


def call(option, value, sources=SOURCES):
    targets = np.zeros(10, dtype=int)
    if option == "source_weights":
        return sample_weights(targets, "none", sources=sources, source_weights=value)
    rng = np.random.default_rng(0)
    return epoch_rows(targets, "none", 0.5, sources=sources, source_sampling=value, rng=rng)
