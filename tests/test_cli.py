"""The shell: what each command writes, and that bad input ends in one message and the right exit code."""

import json
import sys

import pandas as pd
import pytest
from PIL import Image

from melanomafusion import cli
from melanomafusion.notice import NOT_A_MEDICAL_DEVICE
from melanomafusion.testing import make_siim_isic

FAST = ["--n-folds", "2", "--set", "epochs=1", "--set", "validation_fraction=0.3"]


@pytest.fixture
def shell(monkeypatch, capsys):
    """Run the command line in this process: (exit code, standard output, standard error)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["melanomafusion", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return run


@pytest.fixture(scope="module")
def trained(synthetic_root, tmp_path_factory):
    """A finished metadata run, made from the shell."""
    out = tmp_path_factory.mktemp("cli") / "run"
    with pytest.MonkeyPatch.context() as patch:
        command = ["train", "metadata-tiny", "--data", str(synthetic_root), "--out", str(out), *FAST]
        patch.setattr(sys, "argv", ["melanomafusion", *command])
        with pytest.raises(SystemExit) as stop:
            cli.main()
    assert not stop.value.code
    return out


def test_help_says_research_use_only(shell):
    code, out, _ = shell("--help")
    assert code == 0
    assert NOT_A_MEDICAL_DEVICE.split(".")[0] in out


def test_train_writes_a_run_that_evaluate_ensemble_and_submit_read(shell, trained, synthetic_root, tmp_path):
    assert (trained / "oof.csv").is_file()
    code, out, _ = shell("evaluate", trained, "--json")
    assert code == 0
    assert 0 <= json.loads(out)["run"]["auc"] <= 1
    code, out, _ = shell("ensemble", trained, trained / "oof.csv", "--out", tmp_path / "ens", "--json")
    assert code == 0
    rows = json.loads(out)
    assert rows["mean"]["auc"] == pytest.approx(next(iter(rows.values()))["auc"], abs=1e-12)
    code, out, _ = shell("submit", tmp_path / "ens", "--test", synthetic_root, "--out", tmp_path / "submission.csv")
    assert code == 0
    submission = pd.read_csv(tmp_path / "submission.csv")
    assert list(submission) == ["image_name", "target"]
    assert submission["image_name"].tolist() == pd.read_csv(synthetic_root / "test.csv")["image_name"].tolist()


def test_evaluate_against_prints_the_paired_difference(shell, trained):
    code, out, _ = shell("evaluate", trained, "--against", trained)
    assert code == 0
    assert "+0.0000 (+0.0000 to +0.0000)" in out


def test_recipes_lists_and_shows(shell):
    code, out, _ = shell("recipes")
    assert code == 0
    assert "fusion-b7" in out
    code, out, _ = shell("recipes", "fusion-b5")
    assert json.loads(out)["image_size"] == 456


def test_verify_compares_with_the_published_counts_and_exits_1_where_they_differ(shell, synthetic_root):
    code, out, _ = shell("data", "verify", "--root", synthetic_root, "--json")
    assert code == 1
    checks = {row["what"]: row for row in json.loads(out)["checks"]}
    assert checks["records"]["expected"] == 33126
    code, out, _ = shell("data", "verify", "--root", synthetic_root / "train.csv", "--source", "csv", "--table-only")
    assert code == 0


def test_folds_are_written(shell, synthetic_root, tmp_path):
    code, _, _ = shell("data", "folds", "--root", synthetic_root, "--n-folds", 3, "--out", tmp_path / "folds.csv")
    assert code == 0
    assert pd.read_csv(tmp_path / "folds.csv")["fold"].nunique() == 3


def test_an_empty_folder_is_told_what_was_looked_for(shell, tmp_path):
    code, _, err = shell("data", "verify", "--root", tmp_path)
    assert code == 1
    assert "train.csv" in err


def test_a_missing_folder(shell, tmp_path):
    code, _, err = shell("train", "tiny", "--data", tmp_path / "nowhere", "--out", tmp_path / "run")
    assert code == 1
    assert "does not exist" in err
    assert not (tmp_path / "run").exists()


def test_all_problems_of_a_table_come_together(shell, tmp_path):
    table = tmp_path / "train.csv"
    table.write_text(
        "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,target\n"
        "a,p1,male,999,torso,0\na,p1,male,forty,torso,1\nb,p2,other,40,nose,0\n"
    )
    code, _, err = shell("data", "folds", "--root", table)
    assert code == 1
    for word in ("row 2", "'999'", "row 3", "'forty'", "stands already in row 2", "'other'", "'nose'"):
        assert word in err


def test_an_unknown_recipe_key_suggests_the_known_one(shell, synthetic_root, tmp_path):
    code, _, err = shell("train", "tiny", "--data", synthetic_root, "--out", tmp_path / "r", "--set", "imagesize=64")
    assert code == 1
    assert "did you mean image_size" in err


def test_a_recipe_file_with_an_unknown_key(shell, synthetic_root, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{"name": "mine", "bakbone": "tiny"}')
    code, _, err = shell("train", path, "--data", synthetic_root, "--out", tmp_path / "r")
    assert code == 1
    assert "did you mean backbone" in err


def test_wrong_usage_exits_2(shell, synthetic_root, tmp_path):
    assert shell("train")[0] == 2
    assert shell("train", "tiny", "--data", synthetic_root, "--out", tmp_path, "--folds", "a")[0] == 2
    assert shell("nonsense")[0] == 2


def test_unreadable_images_are_named_before_the_first_epoch(shell, tmp_path):
    make_siim_isic(tmp_path / "data", n_patients=40, n_test_patients=1, image_size=32, prevalence=0.3)
    names = pd.read_csv(tmp_path / "data" / "train.csv")["image_name"]
    folder = tmp_path / "data" / "jpeg" / "train"
    (folder / f"{names[0]}.jpg").write_text("text")
    Image.new("CMYK", (32, 32)).save(folder / f"{names[1]}.jpg")
    code, _, err = shell("train", "image-tiny", "--data", tmp_path / "data", "--out", tmp_path / "run", *FAST)
    assert code == 1
    assert names[0] in err
    assert "CMYK" in err
    assert not list((tmp_path / "run").glob("fold-*"))


def test_an_output_in_the_way(shell, synthetic_root, trained, tmp_path):
    (tmp_path / "file").write_text("x")
    code, _, err = shell("data", "folds", "--root", synthetic_root, "--out", tmp_path / "file" / "folds.csv")
    assert code == 1
    assert "Cannot write" in err
    code, _, err = shell("submit", trained, "--test", synthetic_root, "--out", tmp_path)
    assert code == 1
    assert "is a folder" in err


def test_scores_that_cannot_be_joined(shell, trained, tmp_path):
    table = pd.read_csv(trained / "oof.csv")
    table.iloc[1:].to_csv(tmp_path / "short.csv", index=False)
    code, _, err = shell("ensemble", trained, tmp_path / "short.csv", "--out", tmp_path / "ens")
    assert code == 1
    assert "lacks 1 records" in err
    assert not (tmp_path / "ens").exists()


def test_a_bundle_that_was_altered(shell, trained, synthetic_root, tmp_path):
    import shutil

    shutil.copytree(trained / "fold-0" / "bundle", tmp_path / "bundle")
    (tmp_path / "bundle" / "metrics.json").write_text("{}")
    code, _, err = shell("submit", tmp_path / "bundle", "--test", synthetic_root, "--out", tmp_path / "s.csv")
    assert code == 1
    assert "metrics.json was altered" in err


def test_files_that_are_no_text_end_in_one_message(shell, synthetic_root, tmp_path):
    for name in ("mine.json", "ensemble.json"):
        (tmp_path / name).write_bytes(b"\xff\xfe{")
    code, _, err = shell("train", tmp_path / "mine.json", "--data", synthetic_root, "--out", tmp_path / "r")
    assert code == 1
    assert "not a recipe in JSON" in err
    code, _, err = shell("submit", tmp_path, "--test", synthetic_root, "--out", tmp_path / "s.csv")
    assert code == 1
    assert "was not written by the ensemble command" in err
