"""The shell: what each command writes, and that bad input ends in one message and the right exit code."""

import json
import sys

import pandas as pd
import pytest
from PIL import Image

from melanomafusion import cli
from melanomafusion.notice import NOT_A_MEDICAL_DEVICE
from melanomafusion.testing import make_members, make_siim_isic

FAST = ["--n-folds", "2", "--set", "epochs=1", "--set", "validation_fraction=0.3"]


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
    assert 0 <= json.loads(out)["auc"]["estimate"] <= 1
    code, out, _ = shell("ensemble", trained, trained / "oof.csv", "--out", tmp_path / "ens", "--json")
    assert code == 0
    diagnosis = json.loads(out)
    assert diagnosis["auc"] == pytest.approx(diagnosis["members"][0]["auc"], abs=1e-12)
    code, out, _ = shell("submit", tmp_path / "ens", "--test", synthetic_root, "--out", tmp_path / "submission.csv")
    assert code == 0
    submission = pd.read_csv(tmp_path / "submission.csv")
    assert list(submission) == ["image_name", "target"]
    assert submission["image_name"].tolist() == pd.read_csv(synthetic_root / "test.csv")["image_name"].tolist()


def test_evaluate_against_prints_the_paired_difference(shell, trained):
    code, out, _ = shell("evaluate", trained, "--against", trained)
    assert code == 0
    assert "+0.0000 to +0.0000, p = 1" in out


def test_recipes_lists_and_shows(shell):
    code, out, _ = shell("recipes")
    assert code == 0
    assert "fusion-b7" in out
    assert "best-ham10000-ensemble is a plan of best-ham10000 and best-ham10000-additive-240" in " ".join(out.split())
    code, out, _ = shell("recipes", "fusion-b5")
    assert json.loads(out)["image_size"] == 456
    code, out, _ = shell("recipes", "best-ham10000-ensemble")
    assert [member["image_size"] for member in json.loads(out)] == [256, 240]


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


# --- scores alone -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A folder with one file per member, a wide and a long table, test scores, and metadata."""
    folder = tmp_path_factory.mktemp("tables")
    members = make_members((1.0, 0.8, 0.1), n_patients=120, n_folds=3)
    frames = {name: member.frame for name, member in members.items()}
    records = frames["member_0"].drop(columns="score")
    for name, frame in frames.items():
        frame[["image_name", "patient_id", "target", "fold", "score"]].to_csv(folder / f"{name}.csv", index=False)
        test = frame[["image_name", "score"]].rename(columns={"score": "target"})
        test.to_csv(folder / f"test_{name}.csv", index=False)
    wide = records.assign(**{name: frame["score"] for name, frame in frames.items()})
    wide.rename(columns={"fold": "my_fold"}).to_csv(folder / "wide.csv", index=False)
    columns = ["image_name", "patient_id", "target", "fold", "score"]
    long = pd.concat([frame[columns].assign(model=name) for name, frame in frames.items()])
    long.to_csv(folder / "long.csv", index=False)
    return folder


METHODS = [
    ["mean"],
    ["geometric-mean"],
    ["power-mean", "--power", "3"],
    ["logit-mean"],
    ["rank-mean", "--within-fold"],
    ["weighted", "--objective", "partial-auc", "--max-members", "2"],
    ["weighted", "--search", "simplex", "--ranks"],
    ["stacking", "--nonnegative"],
]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: " ".join(method))
def test_every_kind_of_ensemble_is_fitted_and_applied_to_test_scores(shell, tables, tmp_path, method):
    files = [tables / f"member_{i}.csv" for i in range(3)]
    code, out, err = shell("ensemble", *files, "--method", *method, "--out", tmp_path / "e", "--no-diagnostics")
    assert (code, err) == (0, "")
    assert "best member" in out
    assert {"oof.csv", "ensemble.json", "diagnosis.json", "members.csv", "roc.png"} <= {
        path.name for path in (tmp_path / "e").iterdir()
    }
    scores = [word for i in range(3) for word in ("--scores", f"member_{i}={tables / f'test_member_{i}.csv'}")]
    code, _, err = shell("submit", tmp_path / "e", *scores, "--out", tmp_path / "s.csv")
    assert (code, err) == (0, "")
    submission = pd.read_csv(tmp_path / "s.csv")
    assert submission["image_name"].tolist() == pd.read_csv(tables / "member_0.csv")["image_name"].tolist()
    assert submission["target"].between(0, 1).all()


def test_wide_and_long_tables_give_what_single_files_give(shell, tables, tmp_path):
    wide = [f"m{i}={tables / 'wide.csv'}:member_{i}:my_fold" for i in range(3)]
    single = [f"m{i}={tables / f'member_{i}.csv'}" for i in range(3)]
    found = []
    for members in (wide, single, [tables / "long.csv", "--member-column", "model"]):
        code, out, _ = shell("ensemble", *members, "--out", tmp_path / "e", "--no-diagnostics", "--json")
        assert code == 0
        found.append(json.loads(out)["auc"])
    assert found[0] == found[1] == found[2]


def test_stacking_takes_metadata_from_a_table(shell, tables, tmp_path):
    files = [tables / f"member_{i}.csv" for i in range(2)]
    command = ["ensemble", *files, "--method", "stacking", "--features", "sex,age,site", "--out", tmp_path / "e"]
    code, _, err = shell(*command, "--no-diagnostics")
    assert code == 1
    assert "sex" in err
    code, _, _ = shell(*command, "--no-diagnostics", "--metadata", tables / "wide.csv")
    assert code == 0
    scores = ["--scores", f"member_0={tables / 'test_member_0.csv'}", "--scores", tables / "test_member_1.csv"]
    scores[-1] = f"member_1={scores[-1]}"
    metadata = ["--metadata", tables / "wide.csv"]
    assert shell("submit", tmp_path / "e", *scores, *metadata, "--out", tmp_path / "s.csv")[0] == 0
    assert (tmp_path / "s.csv").is_file()


def test_a_diagnosis_says_what_each_member_is_worth(shell, tables, tmp_path):
    files = [tables / f"member_{i}.csv" for i in range(3)]
    code, out, _ = shell("ensemble", *files, "--method", "weighted", "--out", tmp_path / "e")
    assert code == 0
    assert "without it the ensemble loses" in out
    assert "too high" in out
    diagnosis = json.loads((tmp_path / "e" / "diagnosis.json").read_text())
    assert diagnosis["auc_interval_method"] == "jackknife"
    assert {"contribution", "weight"} <= set(diagnosis["members"][0])
    assert (tmp_path / "e" / "member_curve.png").is_file()


def test_given_weights_blend_test_scores_and_nothing_else_does(shell, tables, tmp_path):
    files = [f"m{i}={tables / f'test_member_{i}.csv'}" for i in range(2)]
    code, _, _ = shell("ensemble", *files, "--weights", "m0=0.75,m1=0.25", "--out", tmp_path / "b")
    assert code == 0
    blend = pd.read_csv(tmp_path / "b" / "submission.csv")["target"]
    one, two = (pd.read_csv(tables / f"test_member_{i}.csv")["target"] for i in range(2))
    pd.testing.assert_series_equal(blend, 0.75 * one + 0.25 * two, rtol=1e-14)
    for method in ("weighted", "stacking", "rank-mean"):
        code, _, err = shell("ensemble", *files, "--method", method, "--out", tmp_path / "x")
        assert code == 1
        assert "without truth" in err
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weights", "m0=0.5,m1=0.5", "--ranks"], "--ranks: --weights combines the scores as they are"),
        (["--weights", "m0=0.5,m1=0.5", "--method", "weighted", "--search", "greedy"], "--search: --weights"),
        (["--weights", "m0=0.5,m1=0.5", "--method", "stacking"], "leave --method stacking out"),
        (["--ranks"], "--ranks is for --method weighted or stacking. Received: --method mean"),
        (["--method", "rank-mean", "--ranks"], "--ranks is for --method weighted or stacking"),
        (["--method", "mean", "--within-fold"], "--within-fold is for --method rank-mean or weighted or stacking"),
        (["--method", "weighted", "--features", "sex"], "--features is for --method stacking"),
        (["--method", "weighted", "--nonnegative"], "--nonnegative is for --method stacking"),
        (["--method", "stacking", "--search", "simplex"], "--search is for --method weighted"),
        (["--method", "stacking", "--objective", "auc"], "--objective is for --method weighted"),
        (["--method", "stacking", "--max-members", "2"], "--max-members is for --method weighted"),
        (["--method", "mean", "--power", "3"], "--power is for --method power-mean"),
        (["--json"], "--json tells the diagnosis"),
    ],
)
def test_options_that_the_method_would_pass_over_are_refused(shell, tables, tmp_path, options, message):
    files = [f"m{i}={tables / f'test_member_{i}.csv'}" for i in range(2)]
    code, _, err = shell("ensemble", *files, *options, "--out", tmp_path / "x")
    assert code == 2
    assert message in " ".join(err.replace("│", " ").split())
    assert not (tmp_path / "x").exists()


def test_evaluate_writes_a_report_with_subgroups(shell, tables, tmp_path):
    command = ["evaluate", tables / "member_0.csv", "--against", tables / "member_2.csv", "--resamples", "200"]
    code, out, _ = shell(*command, "--metadata", tables / "wide.csv", "--subgroup", "sex", "--out", tmp_path / "r")
    assert code == 0
    assert "female" in out
    assert "DeLong" in out
    assert {"report.html", "metrics.json", "roc.png"} <= {path.name for path in (tmp_path / "r").iterdir()}
    assert json.loads((tmp_path / "r" / "metrics.json").read_text())["against"]["difference"] > 0


def test_held_out_scores_are_evaluated_at_a_given_threshold(shell, tables, tmp_path):
    frame = pd.read_csv(tables / "member_0.csv").drop(columns="fold")
    frame.to_csv(tmp_path / "held.csv", index=False)
    code, _, err = shell("evaluate", tmp_path / "held.csv")
    assert code == 1
    assert "held_out" in err
    code, out, _ = shell("evaluate", tmp_path / "held.csv", "--kind", "held-out", "--threshold", "0.1")
    assert code == 0
    assert "given: 0.1" in out


def test_warnings_are_one_line_each(shell, tables, tmp_path):
    frame = pd.read_csv(tables / "member_0.csv")
    frame.assign(score=frame["score"] * 10).to_csv(tmp_path / "tens.csv", index=False)
    code, _, err = shell("evaluate", tmp_path / "tens.csv")
    assert code == 0
    assert err.startswith("Warning: ")
    assert "outside [0, 1]" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["evaluate", "nowhere.csv"], 1, "no file"),
        (["evaluate", "{t}/test_member_0.csv"], 1, "no target"),
        (["evaluate", "{t}/wide.csv"], 1, "score"),
        (["evaluate", "{t}/wide.csv:nothing:my_fold"], 1, "'nothing'"),
        (["evaluate", "{t}/member_0.csv", "--subgroup", "skin_type"], 1, "'skin_type'"),
        (["evaluate", "{t}/member_0.csv", "--metadata", "{t}/test_member_0.csv", "--subgroup", "sex"], 1, "'sex'"),
        (["evaluate", "{t}/member_0.csv", "--resamples", "0"], 1, "resample"),
        (["evaluate", "{t}"], 1, "oof.csv"),
        (["ensemble", "a=={t}/member_0.csv", "--out", "{o}"], 1, "no file"),
        (["ensemble", "a={t}/member_0.csv", "a={t}/member_1.csv", "--out", "{o}"], 1, "twice"),
        (["ensemble", "{t}/member_0.csv", "{t}/test_member_1.csv", "--out", "{o}"], 1, "test"),
        (["ensemble", "{t}/member_0.csv", "--method", "power-mean", "--power", "inf", "--out", "{o}"], 1, "power"),
        (
            ["ensemble", "{t}/member_0.csv", "--method", "weighted", "--max-members", "0", "--out", "{o}"],
            1,
            "max_members",
        ),
        (["ensemble", "{t}/member_0.csv", "--weights", "a:0.3", "--out", "{o}"], 1, "--weights"),
        (["ensemble", "{t}/member_0.csv", "--weights", "other=1", "--out", "{o}"], 1, "other"),
        (["ensemble", "{t}/member_0.csv", "--missing", "drop", "--out", "{o}"], 1, "missing"),
        (["ensemble", "{t}/member_0.csv", "--method", "stacking", "--features", "dx", "--out", "{o}"], 1, "dx"),
        (["ensemble", "{t}/long.csv", "--member-column", "nothing", "--out", "{o}"], 1, "nothing"),
        (["ensemble", "{t}/long.csv", "{t}/long.csv", "--member-column", "model", "--out", "{o}"], 2, ""),
        (["ensemble", "{t}/member_0.csv", "--method", "best", "--out", "{o}"], 2, ""),
        (["submit", "{t}", "--scores", "{t}/member_0.csv"], 1, "ensemble.json"),
        (["submit", "{t}"], 2, ""),
    ],
)
def test_wrong_scores_end_in_one_message(shell, tables, tmp_path, arguments, code, words):
    found, _, err = shell(*(a.format(t=tables, o=tmp_path / "o") for a in arguments))
    assert found == code
    assert words in err
    assert not (tmp_path / "o").exists()
