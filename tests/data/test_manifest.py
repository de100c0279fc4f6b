"""The shipped manifests, and the comparison of a copy with one."""

import pandas as pd
import pytest

from melanomafusion.data.dataset import Dataset
from melanomafusion.data.manifest import Check, list_manifests, read_manifest, verify
from melanomafusion.data.schema import COLUMNS, DIAGNOSES, SEXES, SITES
from melanomafusion.errors import MelanomaFusionError

NAMES = ("ham10000", "isic-2019", "siim-isic-2020")


def splits():
    return [(name, split) for name in NAMES for split in read_manifest(name)["splits"]]


def copy_of(name, split="train"):
    """A table with exactly the counts of a manifest and nothing else in common with the data set."""
    expected = read_manifest(name)["splits"][split]
    n = expected["records"]
    table = pd.DataFrame({column: pd.Series([None] * n, dtype="str") for column in COLUMNS})
    table["image_name"] = [f"i{k}" for k in range(n)]
    positives = expected.get("positives")
    targets = [None] * n if positives is None else [1] * positives + [0] * (n - positives)
    table["target"] = pd.Series(targets, dtype="Int8")
    table["source"] = name
    for column, counts in expected.get("values", {}).items():
        values = [value for value, count in counts.items() for _ in range(count)]
        table[column] = pd.Series(values, dtype="str").reindex(range(n))
    for column, missing in expected.get("missing", {}).items():
        if column not in expected.get("values", {}):
            value = 40.0 if column == "age_approx" else "x"
            table[column] = pd.Series([value] * (n - missing) + [None] * missing)
    for column, distinct in expected.get("distinct", {}).items():
        present = n - expected.get("missing", {}).get(column, 0)
        table[column] = pd.Series([f"g{k % distinct}" for k in range(present)], dtype="str").reindex(range(n))
    return Dataset(table)


def test_all_manifests_are_listed():
    assert list_manifests() == ["ham10000", "isic-2019", "isic-archive", "siim-isic-2020"]


def test_a_manifest_without_counts_has_nothing_to_compare():
    assert verify(copy_of("ham10000"), "isic-archive") == []


@pytest.mark.parametrize("name", NAMES)
def test_each_manifest_names_licence_source_and_citation(name):
    manifest = read_manifest(name)
    for key in ("title", "licence", "source", "citation"):
        assert isinstance(manifest[key], str)
        assert manifest[key].strip()
    assert "https://" in manifest["source"]
    assert "doi" in manifest["citation"]
    assert "train" in manifest["splits"]


@pytest.mark.parametrize(("name", "split"), splits())
def test_the_counts_of_each_manifest_add_up(name, split):
    expected = read_manifest(name)["splits"][split]
    records, missing = expected["records"], expected.get("missing", {})
    assert records > 0
    assert 0 < expected.get("positives", 1) < records
    assert all(0 <= count < records for count in missing.values())
    for column, counts in expected.get("values", {}).items():
        assert all(count > 0 for count in counts.values())
        assert sum(counts.values()) + missing.get(column, 0) == records
    for column, count in expected.get("distinct", {}).items():
        assert 0 < count <= records - missing.get(column, 0)
    assert expected["files"]
    assert len(set(expected["columns"])) == len(expected["columns"])


@pytest.mark.parametrize(("name", "split"), splits())
def test_the_values_of_each_manifest_are_in_the_vocabulary(name, split):
    expected = read_manifest(name)["splits"][split]
    words = {"sex": SEXES, "anatom_site_general_challenge": SITES, "diagnosis": DIAGNOSES}
    for column, counts in expected.get("values", {}).items():
        if column in words:
            assert set(counts) <= set(words[column])
    melanomas = expected.get("values", {}).get("diagnosis", {}).get("melanoma")
    assert melanomas in (None, expected.get("positives"))


@pytest.mark.parametrize(("name", "split"), splits())
def test_all_figures_hold_for_a_whole_copy(name, split):
    checks = verify(copy_of(name, split), name, split=split)
    assert [check for check in checks if not check.holds] == []
    expected = read_manifest(name)["splits"][split]
    figures = 1 + ("positives" in expected) + len(expected.get("distinct", {})) + len(expected.get("missing", {}))
    figures += sum(len(counts) + 1 for counts in expected.get("values", {}).values())
    assert len(checks) == figures


def test_figures_that_differ_are_shown_with_both_numbers():
    whole = copy_of("ham10000")
    part = whole.select(whole.frame.index >= 5)
    wrong = {check.what: check for check in verify(part, "ham10000") if not check.holds}
    assert wrong["records"] == Check("records", expected=10015, found=10010)
    # The first rows of the copy are positive, and nevi.
    assert wrong["positives (target 1)"] == Check("positives (target 1)", expected=1113, found=1108)
    assert wrong["diagnosis = nevus"].found == 6700
    assert "diagnosis = melanoma" not in wrong


def test_a_value_that_the_manifest_does_not_know_is_a_figure_of_its_own():
    whole = copy_of("ham10000")
    diagnosis = whole.frame["diagnosis"]
    diagnosis[0] = "SCC"
    wrong = {check.what: check.found for check in verify(whole.with_columns(diagnosis=diagnosis), "ham10000")}
    assert wrong["diagnosis = anything else"] == 1
    assert wrong["diagnosis = nevus"] == 6704


def test_a_column_that_is_not_there_is_missing_in_every_record():
    whole = copy_of("siim-isic-2020", "test")
    bare = Dataset(whole.frame.drop(columns="anatom_site_general_challenge").assign(anatom_site_general_challenge=None))
    found = {check.what: check.found for check in verify(bare, "siim-isic-2020", split="test")}
    assert found["missing anatom_site_general_challenge"] == 10982
    assert found["anatom_site_general_challenge = torso"] == 0


def test_an_unknown_manifest_or_split_is_refused_with_those_known():
    data = copy_of("ham10000")
    with pytest.raises(
        MelanomaFusionError, match=r"ham10000, isic-2019, isic-archive, siim-isic-2020.*Received: 'imagenet'"
    ):
        verify(data, "imagenet")
    with pytest.raises(MelanomaFusionError, match=r"has splits train\. Received: split='test'"):
        verify(data, "ham10000", split="test")
