"""`melanomafusion data audit`: tables, JSON, exit codes and messages."""

import json
from functools import partial

import pandas as pd
import pytest

import melanomafusion as mf
from melanomafusion.testing import make_siim_isic


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A small synthetic data set."""
    folder = tmp_path_factory.mktemp("audit")
    make_siim_isic(folder, n_patients=30, n_test_patients=2, image_size=32, prevalence=0.3, seed=2)
    return folder


@pytest.fixture
def shell(shell):
    """Run `data audit` in this process."""
    return partial(shell, "data", "audit")


def test_clean_data_end_with_0_and_a_table(shell, root):
    code, out, _ = shell("--root", root)
    assert code == 0
    assert "No leak stands" in out
    assert "images read" in out
    assert "must not be learnt from" in out


def test_a_leak_ends_with_1_in_json_and_on_disk(shell, root, tmp_path):
    code, out, _ = shell("--root", root, "--n-folds", 3, "--group", "record", "--out", tmp_path / "out", "--json")
    assert code == 1
    content = json.loads(out)
    assert content["findings"][0]["kind"] == "patient_in_several_folds"
    assert content == json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    code, out, _ = shell("--root", root, "--n-folds", 3, "--group", "record", "--table-only")
    assert code == 1
    assert "1 leak stands" in out
    assert "mf.assign_folds(data, n_folds=3)" in out


def test_assigned_or_written_folds_are_judged(shell, root, tmp_path):
    assert shell("--root", root, "--table-only", "--n-folds", 3)[0] == 0
    data = mf.load_siim_isic_2020(root, with_images=False)
    mf.write_folds(mf.assign_folds(data, 3, group="record"), tmp_path / "folds.csv")
    code, out, _ = shell("--root", root, "--table-only", "--folds-file", tmp_path / "folds.csv", "--json")
    assert code == 1
    assert "3 folds, grouped by record" in json.loads(out)["about"]["division"]


def test_a_list_and_a_table_of_more_columns_are_taken(shell, root, tmp_path):
    names = mf.load_siim_isic_2020(root, with_images=False).image_names
    pd.DataFrame({"a": names[:1], "b": names[-1:]}).to_csv(tmp_path / "list.csv", index=False)
    pd.DataFrame({"image_name": names, "width": range(len(names))}).to_csv(tmp_path / "sizes.csv", index=False)
    options = ("--root", root, "--table-only", "--json", "--table", tmp_path / "sizes.csv")
    code, out, _ = shell(*options, "--duplicates", tmp_path / "list.csv", "--features", "sex, width")
    assert code == 1
    levels = {finding["kind"]: finding["level"] for finding in json.loads(out)["findings"]}
    assert levels["official_duplicates_apart"] == levels["leaky_features"] == "leak"
    assert shell(*options)[0] == 0


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (("--root", "absent"), 1, "does not exist"),
        (("--features", "hue"), 1, "'hue'"),
        (("--duplicates", "absent.csv"), 1, "no such file"),
        (("--table", "absent.csv"), 1, "no such file"),
        (("--folds-file", "absent.csv"), 1, "no such file"),
        (("--n-folds", "1"), 1, "n_folds"),
        (("--n-folds", "3", "--group", "colour"), 1, "colour"),
        (("--group", "patient"), 2, "--n-folds"),
        (("--n-folds", "3", "--folds-file", "f.csv"), 2, "exclude"),
        (("--source", "moon"), 2, "moon"),
    ],
)
def test_what_cannot_be_done_is_one_message(shell, root, options, code, told):
    given = options if "--root" in options else ("--root", root, "--table-only", *options)
    found, out, err = shell(*given)
    assert found == code
    assert told in out + err
