"""Gaps that tell the target, against scipy and by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency, fisher_exact

from melanomafusion.auditing.missing import missing_findings, missing_table


def test_shares_auc_and_p_are_those_of_the_four_counts():
    values = pd.DataFrame({"a": [None] * 100 + ["x"] * 300, "b": [1.0] * 398 + [None] * 2, "full": 1})
    targets = pd.Series([1] * 60 + [0] * 40 + [0] * 210 + [1] * 90)
    table = missing_table(values, targets).set_index("column")
    assert list(table.index) == ["a", "b"]
    row = table.loc["a"]
    assert (row["missing"], row["share_positive_missing"], row["share_positive_present"]) == (100, 0.6, 0.3)
    assert row["auc"] == pytest.approx(0.5 + (60 / 150 - 40 / 250) / 2)
    assert row["p"] == pytest.approx(2 * chi2_contingency([[60, 40], [90, 210]]).pvalue)
    assert table.loc["b", "p"] == pytest.approx(min(1, 2 * fisher_exact([[2, 0], [148, 250]]).pvalue))
    assert table["predicts"].tolist() == [True, False]
    kinds = {finding.kind: finding for finding in missing_findings(missing_table(values, targets))}
    assert kinds["missing_predicts_target"].level == "warning"
    assert "60.0% positive where missing, 30.0%" in kinds["missing_predicts_target"].title
    assert kinds["missing_values"].table["column"].tolist() == ["b"]


def test_many_columns_are_corrected_for():
    rng = np.random.default_rng(0)
    targets = pd.Series(rng.integers(0, 2, 300))
    values = pd.DataFrame({f"c{i}": np.where(rng.random(300) < 0.3, np.nan, 1.0) for i in range(200)})
    assert not missing_table(values, targets)["predicts"].any()


def test_only_labelled_records_count():
    targets = pd.Series([None, 1, 0, None], dtype="Int8")
    table = missing_table(pd.DataFrame({"a": [None, None, 1, None]}), targets)
    assert table[["missing", "share_positive_missing", "share_positive_present"]].to_numpy().tolist() == [[1, 1, 0]]
    assert missing_table(pd.DataFrame({"a": [None, 1, 1, None]}), targets).empty


@pytest.mark.parametrize("targets", [[1, 1, 1], [None, None, None]])
def test_one_class_or_none_says_nothing(targets):
    assert missing_table(pd.DataFrame({"a": [None, 1, 2]}), pd.Series(targets, dtype="Int8")).empty
    assert not missing_findings(missing_table(pd.DataFrame({"a": [None, 1, 2]}), pd.Series(targets, dtype="Int8")))
