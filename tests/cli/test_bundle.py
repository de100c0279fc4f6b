"""`bundle` and `card`: one folder of a run, told in one line; one message for whatever is wrong."""

import pandas as pd
import pytest

import melanomafusion as mf
from melanomafusion.notice import NOT_A_MEDICAL_DEVICE


@pytest.fixture(scope="module")
def run(folded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "metadata"
    for fold in range(3):
        mf.fit_fold(mf.get_recipe("metadata-tiny").replace(epochs=1), folded, fold, out=folder / f"fold-{fold}")
    pd.concat([pd.read_csv(folder / f"fold-{fold}" / "oof.csv") for fold in range(3)]).to_csv(
        folder / "oof.csv", index=False
    )
    return folder


def test_a_run_becomes_one_folder_that_predicts_and_has_a_card(shell, run, tmp_path):
    code, printed, _ = shell("bundle", run, "--out", tmp_path / "b", "--threshold", "sensitivity=0.9")
    assert code == 0
    assert "3 models" in printed
    assert "sensitivity ≥ 0.9" in printed
    code, printed, _ = shell("card", tmp_path / "b")
    assert code == 0
    assert printed == (tmp_path / "b" / "README.md").read_text(encoding="utf-8")
    code, printed, _ = shell("card", run / "fold-0" / "bundle", "--out", tmp_path / "card.md")
    assert code == 0
    assert NOT_A_MEDICAL_DEVICE in (tmp_path / "card.md").read_text(encoding="utf-8")


def test_without_calibration_no_probability_is_said(shell, run, tmp_path):
    code, printed, _ = shell("bundle", run, "--out", tmp_path / "b", "--calibration", "none")
    assert code == 0
    assert "Probabilities: none" in printed
    assert not (tmp_path / "b" / "calibration.json").exists()
    assert "the score is not a probability" in (tmp_path / "b" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("threshold", "code", "message"),
    [("sensitivity=x", 2, "takes a rule and a number"), ("best", 1, "rule is one of"), ("sensitivity", 1, "take at=")],
)
def test_rules_that_are_none_are_told(shell, run, tmp_path, threshold, code, message):
    found, _, err = shell("bundle", run, "--out", tmp_path / "b", "--threshold", threshold)
    assert found == code
    assert message in err
    assert not (tmp_path / "b").exists()


def test_what_is_no_run_or_bundle_is_told(shell, tmp_path):
    code, _, err = shell("bundle", tmp_path, "--out", tmp_path / "b")
    assert code == 1
    assert "has no oof.csv" in err
    code, _, err = shell("card", tmp_path)
    assert code == 1
    assert "is not a bundle" in err
