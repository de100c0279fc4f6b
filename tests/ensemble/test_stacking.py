"""Stacking: scikit-learn's regression on standardised logits or ranks, with metadata where asked."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from melanomafusion.data.dataset import Dataset
from melanomafusion.data.metadata import MetadataEncoder
from melanomafusion.data.schema import COLUMNS
from melanomafusion.ensemble.scales import rank_among, score_quantiles, to_scale
from melanomafusion.ensemble.stacking import StackingEnsemble, fit_ridge_logistic, with_metadata
from melanomafusion.errors import MetadataError, PredictionsError
from melanomafusion.predictions import Predictions

FEATURES = ("sex", "age", "site")
METADATA = ["sex", "age_approx", "anatom_site_general_challenge"]


def records(members, seed=0):
    """A table of metadata of all the members' records, in another order; older men are at more risk."""
    frame = members["a"].frame
    rng, count = np.random.default_rng(seed), len(frame)
    table = pd.DataFrame(
        {
            "image_name": frame["image_name"],
            "sex": np.where(rng.random(count) < 0.1, None, rng.choice(["female", "male"], count)),
            "age_approx": np.where(rng.random(count) < 0.1, np.nan, rng.choice([30.0, 50.0, 70.0], count)),
            "anatom_site_general_challenge": rng.choice(["torso", "head/neck", "palms/soles"], count),
        }
    )
    return table.sample(frac=1, random_state=seed).reset_index(drop=True)


def sklearns(design, targets, C):
    model = LogisticRegression(C=C, tol=1e-10, max_iter=100_000).fit(design, targets)
    return float(model.intercept_[0]), model.coef_[0]


def standardised(columns):
    return (columns - columns.mean(axis=0)) / columns.std(axis=0)


# --- the regression ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("C", [1e-3, 0.1, 1.0, 100.0])
def test_regression_is_scikit_learns(C):
    rng = np.random.default_rng(0)
    design = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5))
    targets = (rng.random(300) < expit(design[:, 0] - 1.5)).astype(int)
    intercept, found = fit_ridge_logistic(design, targets, C=C)
    wanted_intercept, wanted = sklearns(design, targets, C)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-7)
    assert intercept == pytest.approx(wanted_intercept, rel=1e-4)


@pytest.mark.parametrize(("on", "C"), [("logit", 0.01), ("logit", 50.0), ("rank", 1.0), ("rank_within_fold", 0.1)])
def test_coefficients_are_scikit_learns_on_the_standardised_logits(on, C, trio):
    ensemble = StackingEnsemble(on, C=C).fit(trio)
    scale = "score" if on == "logit" else on
    columns = np.column_stack([logit(to_scale(trio[name], scale).scores) for name in "abc"])
    intercept, wanted = sklearns(standardised(columns), trio["a"].targets, C)
    np.testing.assert_allclose(list(ensemble.coefficients.values()), wanted, rtol=1e-4)
    assert ensemble.intercept == pytest.approx(intercept, rel=1e-4)
    found = ensemble.fit_predict(trio).scores
    np.testing.assert_allclose(found, expit(intercept + standardised(columns) @ wanted), rtol=1e-4)


def test_the_intercept_is_free_of_the_penalty():
    rng = np.random.default_rng(1)
    targets = (rng.random(400) < 0.1).astype(int)
    intercept, found = fit_ridge_logistic(rng.normal(size=(400, 3)), targets, C=1e-8)
    np.testing.assert_allclose(found, 0, atol=1e-5)
    assert intercept == pytest.approx(logit(targets.mean()), abs=1e-4)


@pytest.mark.parametrize("C", [0.05, 1.0])
def test_nonnegative_keeps_the_first_coefficients_at_0_or_above(C):
    rng = np.random.default_rng(2)
    design = rng.normal(size=(300, 4))
    targets = (rng.random(300) < expit(design @ [1.0, -1.0, 0.5, -1.0])).astype(int)
    _, found = fit_ridge_logistic(design, targets, C=C, nonnegative=3)
    assert (found[:3] >= 0).all()
    assert found[1] == 0
    assert found[3] < 0
    # The best without the member that may not be negative.
    _, wanted = sklearns(design[:, [0, 2, 3]], targets, C)
    np.testing.assert_allclose(found[[0, 2, 3]], wanted, rtol=1e-4)


def test_nonnegative_changes_nothing_where_nothing_is_negative(trio):
    free, bound = StackingEnsemble().fit(trio), StackingEnsemble(nonnegative=True).fit(trio)
    assert min(free.coefficients.values()) > 0
    assert bound.coefficients == pytest.approx(free.coefficients, rel=1e-5)


def test_a_member_that_is_turned_round_gets_0_of_a_nonnegative_stack(trio):
    trio["d"] = trio["a"].replace_scores(1 - trio["c"].scores ** 2)
    assert StackingEnsemble().fit(trio).coefficients["d"] < 0
    bound = StackingEnsemble(nonnegative=True).fit(trio)
    assert bound.coefficients["d"] == 0
    assert min(bound.coefficients.values()) == 0


def test_metadata_may_weigh_either_way_in_a_nonnegative_stack(trio):
    table = records(trio)
    found = StackingEnsemble(features=FEATURES, nonnegative=True).fit(trio, data=table).coefficients
    assert min(found[name] for name in "abc") >= 0
    assert min(value for name, value in found.items() if name.startswith("metadata")) < 0


def test_scores_of_exactly_0_and_1_do_not_drown_the_others(trio):
    scores = np.where(trio["b"].scores > 0.9, 1.0, np.where(trio["b"].scores < 0.05, 0.0, trio["b"].scores))
    trio["b"] = trio["b"].replace_scores(scores)
    found = StackingEnsemble().fit_predict(trio).scores
    assert np.isfinite(logit(found)).all()


@pytest.mark.parametrize("value", [-0.01, 1.01])
def test_logits_of_scores_outside_0_and_1_are_refused(value, trio, new):
    fitted = StackingEnsemble().fit(trio)
    for members, method in ((trio, fitted.fit), (new, fitted.predict)):
        scores = members["b"].scores.copy()
        scores[3] = value
        with pytest.raises(PredictionsError, match=r'within \[0, 1\]; member b has .* Use on="rank"'):
            method({**members, "b": members["b"].replace_scores(scores)})
    StackingEnsemble("rank").fit({**trio, "b": trio["b"].replace_scores(trio["b"].scores * 9 - 4)})


# --- new records ------------------------------------------------------------------------------------------------------


def test_new_scores_are_standardised_by_the_fitted_records(trio, new):
    ensemble = StackingEnsemble().fit(trio)
    logits = ensemble.intercept
    for name in "abc":
        known = logit(trio[name].scores)
        logits = logits + ensemble.coefficients[name] * (logit(new[name].scores) - known.mean()) / known.std()
    np.testing.assert_allclose(ensemble.predict(new).scores, expit(logits), rtol=1e-12)


@pytest.mark.parametrize("on", ["rank", "rank_within_fold"])
def test_new_scores_are_ranked_among_the_fitted_ones(on, trio, new):
    ensemble = StackingEnsemble(on).fit(trio)
    logits = ensemble.intercept
    for name in "abc":
        known = logit(to_scale(trio[name], on).scores)
        rank = rank_among(score_quantiles(trio[name].scores), new[name].scores)
        column = logit(np.clip(rank, 1e-5, 1 - 1e-5))
        logits = logits + ensemble.coefficients[name] * (column - known.mean()) / known.std()
    np.testing.assert_allclose(ensemble.predict(new).scores, expit(logits), rtol=1e-12)


# --- metadata ---------------------------------------------------------------------------------------------------------


def test_metadata_columns_are_the_encoders(trio):
    table = records(trio)
    ensemble = StackingEnsemble(features=FEATURES, C=0.5).fit(trio, data=table)
    joined = table.set_index("image_name").loc[trio["a"].image_names].reset_index()
    encoder = MetadataEncoder(FEATURES).fit(joined)
    columns = standardised(np.column_stack([logit(trio[name].scores) for name in "abc"]))
    intercept, wanted = sklearns(np.column_stack([columns, encoder.transform(joined)]), trio["a"].targets, 0.5)
    assert list(ensemble.coefficients) == ["a", "b", "c", *(f"metadata {name}" for name in encoder.feature_names)]
    np.testing.assert_allclose(list(ensemble.coefficients.values()), wanted, rtol=1e-3, atol=1e-5)
    assert ensemble.intercept == pytest.approx(intercept, rel=1e-3)


@pytest.mark.parametrize("method", ["fit", "cross_val_predict", "predict"])
def test_metadata_come_from_the_predictions_or_from_a_table_or_data_set(method, trio):
    table = records(trio)
    full = table.reindex(columns=list(COLUMNS)).assign(target=0, source="made")
    own = {n: Predictions(m.frame.merge(table, on="image_name"), "oof") for n, m in trio.items()}
    results = []
    for members, data in ((own, None), (trio, table), (trio, Dataset(full))):
        ensemble = StackingEnsemble(features=FEATURES)
        if method == "predict":
            ensemble.fit(trio, data=table)
        result = getattr(ensemble, method)(members, data=data)
        results.append(result.to_json() if method == "fit" else result.scores.tolist())
    assert results[0] == results[1] == results[2]


def test_metadata_change_the_result(trio):
    table = records(trio)
    plain = StackingEnsemble().cross_val_predict(trio).scores
    assert np.abs(StackingEnsemble(features=("sex",)).cross_val_predict(trio, data=table).scores - plain).max() > 1e-3
    np.testing.assert_array_equal(StackingEnsemble().cross_val_predict(trio, data=table).scores, plain)


@pytest.mark.parametrize("method", ["fit", "cross_val_predict"])
def test_data_that_lack_records_are_refused(method, trio):
    table = records(trio)
    short = table[table["image_name"] != "i007"]
    with pytest.raises(PredictionsError, match=r"1 of 241 records of m0\.csv are not in the data set, e\.g\. i007"):
        getattr(StackingEnsemble(features=FEATURES), method)(trio, data=short)
    with pytest.raises(PredictionsError, match="no column image_name"):
        getattr(StackingEnsemble(features=FEATURES), method)(trio, data=table.drop(columns="image_name"))
    with pytest.raises(PredictionsError, match="twice"):
        getattr(StackingEnsemble(features=FEATURES), method)(trio, data=pd.concat([table, table.head(1)]))


def test_prediction_without_the_metadata_is_refused(trio, new):
    fitted = StackingEnsemble(features=FEATURES).fit(trio, data=records(trio))
    with pytest.raises(MetadataError, match="needs column sex"):
        fitted.predict(new)
    with pytest.raises(MetadataError, match="needs column sex"):
        StackingEnsemble(features=FEATURES).fit(trio)
    assert len(fitted.predict(new, data=records(new, seed=2))) == len(new["a"])


def test_nested_encoders_have_not_seen_the_records_they_encode(trio, monkeypatch):
    """A site that stands in one fold alone is unknown to the fit that scores that fold."""
    table = records(trio)
    frame = trio["a"].frame
    alone = frame.loc[frame["fold"] == 1, "image_name"].head(30)
    site = "anatom_site_general_challenge"
    table.loc[table["image_name"].isin(alone), site] = "oral/genital"
    levels, unknown = [], []
    transform = MetadataEncoder.transform

    def watched(encoder, rows):
        encoded = transform(encoder, rows)
        levels.append("site=oral/genital" in encoder.feature_names)
        unknown.append(int(encoded[:, encoder.feature_names.index("site=unknown")].sum()))
        return encoded

    monkeypatch.setattr(MetadataEncoder, "transform", watched)
    StackingEnsemble(features=("site",)).cross_val_predict(trio, data=table)
    # Fold by fold: the fit, then the score.
    assert levels == [True, True, False, False, True, True]
    assert unknown == [0, 0, 0, 30, 0, 0]


def test_nested_ages_are_standardised_by_the_other_folds(trio):
    table = records(trio)
    inside = trio["a"].frame["fold"].to_numpy() == 2
    names = set(trio["a"].image_names[inside])
    older = table.assign(age_approx=table["age_approx"].where(~table["image_name"].isin(names), 100.0))
    ensemble = StackingEnsemble(features=("age",))
    found = logit(ensemble.cross_val_predict(trio, data=older).scores[inside])
    others = {n: Predictions(m.frame[~inside], "oof") for n, m in trio.items()}
    fitted = StackingEnsemble(features=("age",)).fit(others, data=table)
    held = {n: Predictions(m.frame[inside], "held_out") for n, m in trio.items()}
    wanted = logit(fitted.predict(held, data=older).scores)
    np.testing.assert_allclose(found - wanted, (found - wanted)[0], atol=1e-10)


def test_fitting_encodes_by_the_rows_given_each_time(trio):
    ensemble = StackingEnsemble(features=("site",))
    first = records(trio).assign(anatom_site_general_challenge="torso")
    ensemble.fit(trio, data=first)
    ensemble.fit(trio, data=records(trio))
    assert "metadata site=head/neck" in ensemble.coefficients


def test_order_of_members_and_rows_with_metadata(trio, shuffle, by_name):
    table = records(trio)
    build = lambda: StackingEnsemble(features=FEATURES)  # noqa: E731
    wanted = build().cross_val_predict(trio, data=table)
    found = build().cross_val_predict({n: trio[n] for n in "cab"}, data=table.iloc[::-1])
    np.testing.assert_array_equal(found.scores, wanted.scores)
    turned = {n: shuffle(m, i) for i, (n, m) in enumerate(trio.items())}
    np.testing.assert_allclose(
        by_name(build().cross_val_predict(turned, data=table)), by_name(wanted), rtol=0, atol=1e-7
    )


def test_json_with_metadata_predicts_the_same(trio, new):
    table, later = records(trio), records(new, seed=3).assign(anatom_site_general_challenge="oral/genital")
    ensemble = StackingEnsemble(features=FEATURES, nonnegative=True, C=0.3).fit(trio, data=table)
    again = StackingEnsemble.from_json(ensemble.to_json())
    assert again.to_json() == ensemble.to_json()
    np.testing.assert_array_equal(again.predict(new, data=later).scores, ensemble.predict(new, data=later).scores)
    assert (again.features, again.nonnegative, again.C) == (FEATURES, True, 0.3)


def test_with_metadata_joins_by_name_and_keeps_the_rest(trio):
    table = records(trio)
    joined = with_metadata(trio, table)
    for name, member in trio.items():
        assert (joined[name].kind, joined[name].name) == (member.kind, member.name)
        pd.testing.assert_frame_equal(joined[name].frame[list(member.frame)], member.frame)
        found = joined[name].frame.set_index("image_name")[METADATA]
        pd.testing.assert_frame_equal(found, table.set_index("image_name")[METADATA].loc[found.index])
    assert with_metadata(trio, None)["a"].frame.equals(trio["a"].frame)


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("C", [0, -1.0, np.inf, np.nan, "1", True, None])
def test_a_penalty_that_cannot_work_is_refused(C):
    with pytest.raises(PredictionsError, match=r"C is a number above 0\. Received: C="):
        StackingEnsemble(C=C)


def test_an_unknown_feature_is_refused_at_once():
    with pytest.raises(MetadataError, match="Received: features="):
        StackingEnsemble(features=("sex", "shoe size"))
