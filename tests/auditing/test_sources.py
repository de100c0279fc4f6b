"""Several sources: prevalence, and whether metadata tell them apart."""

import numpy as np
import pytest

from melanomafusion.auditing.sources import source_findings, source_table


def two(records, n=200, *, share=(0.1, 0.5), shift=20.0):
    rng = np.random.default_rng(0)
    second = np.arange(n) % 2
    return records(
        n,
        source=np.where(second, "two", "one"),
        target=(rng.random(n) < np.array(share)[second]).astype(int),
        age_approx=rng.normal(50 + shift * second, 8),
    )


def test_one_source_has_nothing_to_say(records):
    assert not source_findings(records(10))


def test_different_prevalence_is_a_shortcut(records):
    findings = {finding.kind: finding for finding in source_findings(two(records))}
    assert findings["source_predicts_target"].level == "warning"
    assert findings["sources_told_apart"].level == "warning"
    table = findings["source_predicts_target"].table.set_index("source")
    data = two(records).frame
    assert table["prevalence"].to_dict() == data.groupby("source")["target"].mean().astype(float).to_dict()
    assert table["records"].tolist() == [100, 100]
    # Two normals 2.5 deviations apart: the AUC is Φ(2.5 / √2) = 0.961.
    assert table["auc"].tolist() == pytest.approx([0.961, 0.961], abs=0.03)


def test_equal_prevalence_and_equal_metadata_are_a_note(records):
    findings = source_findings(two(records, share=(0.3, 0.3), shift=0.0))
    assert [(finding.kind, finding.level) for finding in findings] == [("prevalence_by_source", "note")]


def test_a_source_without_targets_or_metadata_breaks_nothing(records):
    data = two(records).with_columns(age_approx=np.nan)
    data = data.with_columns(target=data.frame["target"].where(data.frame["source"] == "one"))
    table = source_table(data).set_index("source")
    assert np.isnan(table.loc["two", "prevalence"])
    assert table["auc"].isna().all()
    assert "two without targets" in source_findings(data)[0].title


def test_a_source_of_one_record_is_not_measured(records):
    data = records(5, source=["one"] * 4 + ["two"], age_approx=[1.0, 2, 3, 4, 5], target=[0, 1, 0, 1, 1])
    assert source_table(data)["auc"].isna().all()
