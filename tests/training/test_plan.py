"""Several members in one go: stopped where the next no longer pays, combined, gone on with."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import melanomafusion as mf
from melanomafusion.cli import app
from melanomafusion.errors import RunError
from melanomafusion.testing import make_siim_isic
from melanomafusion.training import plan as module


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    make_siim_isic(root, n_patients=60, n_test_patients=6, image_size=32, prevalence=0.3, seed=1)
    return root


@pytest.fixture(scope="module")
def folded(data):
    return mf.assign_folds(mf.load_siim_isic_2020(data), 2)


@pytest.fixture
def trained(folded, tmp_path, monkeypatch):
    """Members whose scores are made up: (plan, calls); what is tested is what is done with them."""
    calls = []

    def cross_validate(recipe, dataset, *, out, on_event, **options):
        calls.append((recipe.name, options))
        on_event({"kind": "fold", "fold": 0, "folds": 2, "epochs": 1})
        frame = dataset.frame[["image_name", "patient_id", "target", "fold", "grouped_by"]].copy()
        noise = pd.util.hash_pandas_object(frame["image_name"] + str(recipe.seed), index=False) % 1000 / 1000
        frame["score"] = (
            noise.to_numpy() if recipe.seed == 9 else 0.3 * frame["target"].to_numpy() + 0.7 * noise.to_numpy()
        )
        return module.CrossValidation(out, recipe, mf.Predictions(frame, "oof", name=recipe.name), [], {})

    monkeypatch.setattr(module, "cross_validate", cross_validate)
    return calls


def plan_of(seeds, stop_below=None):
    tiny = mf.get_recipe("metadata-tiny")
    return mf.EnsemblePlan(tuple(tiny.replace(name=f"m{seed}", seed=seed) for seed in seeds), stop_below)


def test_training_stops_where_the_last_member_brought_too_little(folded, trained, tmp_path):
    events = []
    result = mf.train_plan(plan_of([1, 2, 9, 3, 4], 0.01), folded, out=tmp_path, on_event=events.append)
    assert [name for name, _ in trained] == ["m1", "m2", "m9"]
    assert result.left_out == ["m3", "m4"]
    assert list(result.curve["member"]) == ["m1", "m2", "m9"]
    assert result.curve["gain"].iloc[1] >= 0.01 > result.curve["gain"].iloc[2]
    assert pd.isna(result.curve["gain"].iloc[0])
    assert {event["run"] for event in events if event["kind"] == "fold"} == {"m1", "m2", "m9"}
    expected = mf.WeightedEnsemble().cross_val_predict({name: result.members[name].oof for name in ("m1", "m2")})
    assert result.curve["ensemble_auc"].iloc[1] == mf.roc_auc(expected.targets, expected.scores)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "curve.csv"), result.curve)


def test_without_a_limit_all_members_are_trained_and_combined(folded, trained, tmp_path):
    result = mf.train_plan(plan_of([1, 9, 2]), folded, out=tmp_path, workers=2, features="x", on_event=print)
    assert [name for name, _ in trained] == ["m1", "m9", "m2"]
    assert all(options["features"] == "x" and options["executor"].workers == 2 for _, options in trained)
    assert result.left_out == []
    content = json.loads((tmp_path / "ensemble" / "ensemble.json").read_text())
    assert content["runs"] == {name: str(tmp_path / name) for name in ("m1", "m9", "m2")}
    oof = mf.Predictions.read_csv(tmp_path / "ensemble" / "oof.csv", "oof")
    assert mf.roc_auc(oof.targets, oof.scores) == pytest.approx(result.curve["ensemble_auc"].iloc[-1], abs=1e-12)


def test_members_of_a_plain_mean_count_alike(folded, trained, tmp_path):
    plan = mf.EnsemblePlan(plan_of([1, 9]).recipes, combine="mean")
    result = mf.train_plan(plan, folded, out=tmp_path, on_event=print)
    first, second = (result.members[name].oof.frame.set_index("image_name")["score"] for name in ("m1", "m9"))
    written = mf.Predictions.read_csv(tmp_path / "ensemble" / "oof.csv", "oof").frame.set_index("image_name")["score"]
    pd.testing.assert_series_equal(written, (first + second) / 2, rtol=1e-12)
    assert json.loads((tmp_path / "ensemble" / "ensemble.json").read_text())["kind"] == "MeanEnsemble"
    assert result.curve["gain"].iloc[1] < 0  # weights would have left the second, which is noise, out


def test_one_member_is_no_ensemble(folded, trained, tmp_path):
    result = mf.train_plan(plan_of([1], 0.5), folded, out=tmp_path, on_event=print)
    assert result.diagnosis is None
    assert not (tmp_path / "ensemble").exists()


def test_on_a_cluster_all_members_are_trained_at_once_unless_one_may_be_left_out(folded, trained, tmp_path):
    executor = mf.RayExecutor()
    result = mf.train_plan(plan_of([1, 2, 3]), folded, out=tmp_path / "all", executor=executor, on_event=print)
    assert list(result.members) == ["m1", "m2", "m3"]
    assert all(options["executor"] == executor for _, options in trained)
    mf.train_plan(plan_of([1, 9, 3], 0.05), folded, out=tmp_path / "some", executor=executor, on_event=print)
    assert [name for name, _ in trained][3:] == ["m1", "m9"]


def test_wrong_set_up_of_any_member_ends_it_before_the_first(folded, trained, tmp_path):
    bad = mf.get_recipe("tiny").replace(source_weights={"nowhere": 2.0})
    plan = mf.EnsemblePlan((*plan_of([1]).recipes, bad, bad.replace(name="worse")))
    with pytest.raises(RunError, match=r"(?s)tiny: .*nowhere.*worse: .*nowhere"):
        mf.train_plan(plan, folded, out=tmp_path / "out", on_event=print)
    assert not trained


def test_weights_need_two_folds(folded, trained, shell, data, tmp_path):
    for folds in ([0], [1, 1]):
        with pytest.raises(RunError, match=r"needs two or more\. Received: folds=\["):
            mf.train_plan(plan_of([1, 2]), folded, out=tmp_path / "out", folds=folds, on_event=print)
    (tmp_path / "plan.toml").write_text('[[members]]\nrecipe = "metadata-tiny"\nseeds = [0, 1]\n')
    for option in (["--folds", "0"], ["--folds", "1,1"], ["--published-split"]):
        code, _, err = shell("train", tmp_path / "plan.toml", "--data", data, "--out", tmp_path / "out", *option)
        assert code == 2
        assert "a plan needs two or more" in " ".join(err.replace("│", " ").split())
    assert not trained
    assert not (tmp_path / "out").exists()


def test_the_command_trains_a_plan_says_the_cost_before_and_goes_on(data, tmp_path, in_this_process):
    (tmp_path / "plan.toml").write_text('[[members]]\nrecipe = "metadata-tiny"\nseeds = [0, 1]\nset = {epochs = 2}\n')
    command = [
        "train",
        str(tmp_path / "plan.toml"),
        "--data",
        str(data),
        "--n-folds",
        "2",
        "--out",
        str(tmp_path / "out"),
    ]
    costs = CliRunner().invoke(app, [*command, "--estimate"])
    assert costs.exit_code == 0, costs.output
    assert "At most" in costs.output
    assert "a training step" in costs.output
    assert not (tmp_path / "out").exists()
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "metadata-tiny-seed1: AUC" in done.output
    assert "GiB of memory at most" in done.output
    scores = (tmp_path / "out" / "ensemble" / "oof.csv").read_bytes()
    again = CliRunner().invoke(app, [*command, "--json"])
    assert again.exit_code == 0, again.output
    stands = CliRunner().invoke(app, ["status", str(tmp_path / "out")])
    assert stands.output.count("done") == 4
    told = json.loads(CliRunner().invoke(app, ["status", str(tmp_path / "out"), "--json"]).output)
    assert list(told) == ["metadata-tiny-seed0", "metadata-tiny-seed1"]
    assert again.output.count("nothing to do: 2 folds were trained already") == 2
    assert (tmp_path / "out" / "ensemble" / "oof.csv").read_bytes() == scores


def test_some_folds_and_a_changed_field_are_those_of_every_member(data, tmp_path, in_this_process):
    (tmp_path / "plan.toml").write_text('[[members]]\nrecipe = "metadata-tiny"\nseeds = [0, 1]\n')
    command = ["train", str(tmp_path / "plan.toml"), "--data", str(data), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*command, "--n-folds", "4", "--folds", "0,2", "--set", "epochs=1"])
    assert done.exit_code == 0, done.output
    for seed in (0, 1):
        run = tmp_path / "out" / f"metadata-tiny-seed{seed}"
        recipe = mf.Recipe.from_json((run / "recipe.json").read_text())
        assert (recipe.seed, recipe.epochs) == (seed, 1)
        assert sorted(path.name for path in run.glob("fold-*")) == ["fold-0", "fold-2"]
    oof = mf.Predictions.read_csv(tmp_path / "out" / "ensemble" / "oof.csv", "oof")
    folds = mf.assign_folds(mf.load_siim_isic_2020(data), 4).frame["fold"]
    assert len(oof) == folds.isin([0, 2]).sum()


def test_a_plan_of_several_classes_scores_each_of_them(data, tmp_path, in_this_process, shell):
    records = mf.load_siim_isic_2020(data)
    names = np.where(records.targets == 1, "melanoma", np.resize(["nevus", "BKL"], len(records)))
    records = mf.assign_folds(records.with_columns(diagnosis=pd.array(names, dtype="str")), 3)
    classes = {"classes": ("melanoma", "nevus", "BKL"), "loss": "categorical", "epochs": 1}
    recipes = (mf.get_recipe("metadata-tiny"), mf.get_recipe("tiny"))
    plan = mf.EnsemblePlan(recipes, combine="mean").replace(**classes, image_size=32, tta=1)
    mf.train_plan(plan, records, out=tmp_path / "out", folds=[0, 2], on_event=lambda event: None)
    test = mf.load_siim_isic_2020(data, split="test")
    members = [mf.predict_run(tmp_path / "out" / name, test, on_event=print) for name in ("metadata-tiny", "tiny")]
    together = mf.predict_run(tmp_path / "out" / "ensemble", test, on_event=print)
    columns = [f"score_{name}" for name in ("melanoma", "nevus", "BKL")]
    expected = np.mean([member.frame[columns] for member in members], axis=0)
    np.testing.assert_allclose(together.frame[columns], expected, rtol=1e-12)
    np.testing.assert_allclose(together.scores, together.frame["score_melanoma"], rtol=1e-12)
    code, _, err = shell(
        "submit", tmp_path / "out" / "ensemble", "--test", data, "--classes", "--out", tmp_path / "scores.csv"
    )
    assert (code, err) == (0, "")
    code, _, err = shell("submit", tmp_path / "out", "--test", data, "--out", tmp_path / "none.csv")
    assert code == 1
    assert f"It holds an ensemble: name {tmp_path / 'out' / 'ensemble'}" in err
    assert not (tmp_path / "none.csv").exists()
    written = pd.read_csv(tmp_path / "scores.csv").set_index("image_name").loc[together.image_names]
    np.testing.assert_allclose(written[["score", *columns]], together.frame[["score", *columns]], rtol=1e-12)
