"""A run: every fold in a process of its own, what lies in the folder, how it goes on."""

import json
import os
import shutil
import sys

import pandas as pd
import pytest

import melanomafusion as mf
from melanomafusion.errors import ImageError, RunError, WeightsError
from melanomafusion.execution.lock import in_use
from melanomafusion.training.predict import predict_scores
from melanomafusion.training.run import open_run
from melanomafusion.training.tasks import train_fold

RECIPE = mf.get_recipe("metadata-tiny").replace(epochs=2, validation_fraction=0.25, name="metadata-test")


@pytest.fixture(scope="module")
def run(folded, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "metadata"
    events = []
    cv = mf.cross_validate(RECIPE, folded, out=out, on_event=events.append)
    return cv, events


def test_each_record_is_scored_once_in_the_order_of_the_table(run, folded):
    cv, _ = run
    frame = cv.oof.frame
    assert list(frame["image_name"]) == list(folded.image_names)
    assert (frame["fold"].to_numpy() == folded.frame["fold"].to_numpy()).all()
    assert (cv.oof.targets == folded.targets).all()


def test_the_run_folder_holds_what_the_design_says(run):
    cv, _ = run
    names = {path.name for path in cv.path.iterdir()}
    assert {"recipe.json", "folds.csv", "oof.csv", "oof.parquet", "history.csv", "metrics.json", "report"} <= names
    assert {"fold-0", "fold-1", "fold-2"} <= names
    assert "pixels" not in names
    assert (cv.path / "report" / "history.png").stat().st_size > 10_000
    again = mf.Predictions.read_csv(cv.path / "oof.csv")
    assert (again.scores == cv.oof.scores).all()
    assert pd.read_parquet(cv.path / "oof.parquet")["score"].tolist() == cv.oof.scores.tolist()
    history = pd.read_csv(cv.path / "history.csv")
    assert history.groupby("fold").size().tolist() == [2, 2, 2]


def test_metrics_hold_the_interval_and_every_fold(run):
    cv, _ = run
    metrics = json.loads((cv.path / "metrics.json").read_text())
    assert metrics["auc_interval"][0] < metrics["auc"] < metrics["auc_interval"][1]
    assert metrics["interval_cluster"] == "patient"
    assert [fold["fold"] for fold in metrics["folds"]] == [0, 1, 2]


def test_events_tell_of_folds_and_epochs(run):
    _, events = run
    assert [event["fold"] for event in events if event["kind"] == "fold"] == [0, 1, 2]
    assert len([event for event in events if event["kind"] == "epoch"]) == 6


def test_a_finished_run_does_nothing_when_started_again(run, folded):
    cv, _ = run
    before = {path: path.stat().st_mtime_ns for path in cv.path.glob("fold-*/metrics.json")}
    again = mf.cross_validate(RECIPE, folded, out=cv.path)
    assert {path: path.stat().st_mtime_ns for path in cv.path.glob("fold-*/metrics.json")} == before
    assert (again.oof.scores == cv.oof.scores).all()


@pytest.mark.parametrize(
    ("name", "content"),
    [("oof.csv", None), ("history.csv", b""), ("metrics.json", b"{"), ("oof.csv", b"\xff\xfe")],
)
def test_a_damaged_fold_is_refused_and_never_pooled_in_part(run, folded, tmp_path, name, content):
    copy = shutil.copytree(run[0].path, tmp_path / "run")
    file = copy / "fold-1" / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2].rsplit(b"\n", 1)[0] if content is None else content)
    before = (copy / "oof.csv").read_bytes()
    with pytest.raises(RunError, match=r"fold-1 is damaged.*Delete that folder"):
        mf.cross_validate(RECIPE, folded, out=copy)
    assert (copy / "oof.csv").read_bytes() == before


def test_a_fold_whose_model_tells_nothing_apart_is_refused_in_those_words(run, folded, tmp_path):
    copy = shutil.copytree(run[0].path, tmp_path / "run")
    file = copy / "fold-1" / "oof.csv"
    pd.read_csv(file).assign(score=0.25).to_csv(file, index=False)
    with pytest.raises(RunError, match=r"Fold 1: all \d+ held-out records have the score 0\.25.*restart"):
        mf.cross_validate(RECIPE, folded, out=copy)


def test_a_run_on_images_draws_its_most_confident_errors(folded, tmp_path, in_this_process):
    recipe = mf.get_recipe("image-tiny").replace(epochs=1, tta=1, validation_fraction=0.25)
    cv = mf.cross_validate(recipe, folded, out=tmp_path / "run", folds=[0, 1])
    picture = cv.path / "report" / "errors.png"
    assert picture.stat().st_size > 10_000
    drawn = picture.stat().st_mtime_ns
    mf.cross_validate(recipe, folded, out=tmp_path / "run", folds=[0, 1])
    assert picture.stat().st_mtime_ns == drawn


def test_scores_that_were_changed_are_noticed(run, folded, tmp_path):
    copy = shutil.copytree(run[0].path, tmp_path / "run")
    table = pd.read_csv(copy / "fold-1" / "oof.csv")
    table.assign(score=1 - table["score"]).to_csv(copy / "fold-1" / "oof.csv", index=False)
    with pytest.raises(RunError, match=r"metrics\.json says"):
        mf.cross_validate(RECIPE, folded, out=copy)


def test_a_run_whose_recipe_cannot_be_read_is_left_alone(run, folded, tmp_path):
    copy = shutil.copytree(run[0].path, tmp_path / "run")
    (copy / "recipe.json").write_text("x")
    with pytest.raises(RunError, match=r"recipe\.json cannot be read"):
        mf.cross_validate(RECIPE, folded, out=copy)
    assert (copy / "fold-0" / "oof.csv").is_file()


def test_a_run_goes_on_with_the_folds_that_are_not_done(folded, run, tmp_path):
    cv, _ = run
    part = mf.cross_validate(RECIPE, folded, out=tmp_path / "run", folds=[1])
    assert set(part.oof.frame["fold"]) == {1}
    whole = mf.cross_validate(RECIPE, folded, out=tmp_path / "run")
    assert (whole.oof.scores == cv.oof.scores).all()


def test_another_recipe_or_other_data_in_the_same_folder_is_refused(run, folded):
    cv, _ = run
    with pytest.raises(RunError, match=r"dropout: 0\.1 → 0\.4"):
        mf.cross_validate(RECIPE.replace(dropout=0.4), folded, out=cv.path)
    older = folded.with_columns(age_approx=folded.frame["age_approx"] + 1)
    with pytest.raises(RunError, match="other records or folds"):
        mf.cross_validate(RECIPE, older, out=cv.path)
    assert (cv.path / "metrics.json").exists()


def test_a_run_without_a_finished_fold_may_be_started_with_a_corrected_recipe(folded, tmp_path, in_this_process):
    wrong = RECIPE.replace(fusion="image", weights=str(tmp_path / "nowhere.weights.h5"), freeze_batch_norm=True)
    with pytest.raises(WeightsError, match="no weights file"):
        mf.cross_validate(wrong, folded, out=tmp_path / "run")
    right = mf.cross_validate(RECIPE.replace(epochs=1), folded, out=tmp_path / "run", folds=[0])
    assert len(right.oof) == (folded.frame["fold"] == 0).sum()


def test_a_folder_with_something_else_is_left_alone(folded, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty and not a run"):
        mf.cross_validate(RECIPE, folded, out=tmp_path)
    with pytest.raises(RunError, match="not empty and not a run"):
        mf.cross_validate(RECIPE, folded, out=tmp_path, restart=True)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_what_a_start_that_was_cut_short_left_is_in_nobodys_way(folded, tmp_path):
    open_run(tmp_path, RECIPE, folded)
    (tmp_path / "recipe.json").unlink()
    (tmp_path / ".recipe.json.12345678.part").write_text("half")
    assert open_run(tmp_path, RECIPE, folded).recipe == RECIPE


def test_unreadable_images_stop_the_run_or_are_left_out_and_listed(folded, tmp_path, in_this_process):
    paths = folded.frame["path"].copy()
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff nothing more")
    paths.iloc[3] = str(broken)
    data, name = folded.with_columns(path=paths), folded.image_names[3]
    recipe = mf.get_recipe("image-tiny").replace(epochs=1, tta=1, validation_fraction=0.25)
    with pytest.raises(ImageError, match=name):
        mf.cross_validate(recipe, data, out=tmp_path / "run", folds=[0])
    assert not (tmp_path / "run" / "fold-0" / "history.csv").exists()
    cv = mf.cross_validate(recipe, data, out=tmp_path / "run", folds=[0], on_bad_image="skip")
    listed = pd.read_csv(tmp_path / "run" / "bad_images.csv")
    assert listed["image_name"].tolist() == [name]
    assert name not in set(cv.oof.frame["image_name"])
    assert len(pd.read_csv(tmp_path / "run" / "folds.csv")) == len(folded)
    again = mf.cross_validate(recipe, data, out=tmp_path / "run", folds=[0, 1], on_bad_image="skip")
    assert len(again.oof) == int(folded.frame["fold"].isin([0, 1]).sum()) - 1


def test_what_was_left_out_as_unreadable_is_looked_at_anew_by_another_recipe(folded, tmp_path):
    run = open_run(tmp_path, RECIPE, folded)
    name = folded.image_names[3]
    (tmp_path / "bad_images.csv").write_text(f"image_name,reason\n{name},cut off\n")
    same = open_run(tmp_path, RECIPE, folded)
    assert same.left_out == [name]
    assert name not in set(same.dataset.image_names)
    (tmp_path / "fold-0" / "checkpoints" / "1").mkdir(parents=True)
    assert open_run(tmp_path, RECIPE, folded).left_out == [name]  # a started run goes on with the same data
    shutil.rmtree(tmp_path / "fold-0")
    other = open_run(tmp_path, RECIPE.replace(seed=1), folded)
    assert other.left_out == []
    assert list(other.dataset.image_names) == list(run.dataset.image_names) == list(folded.image_names)


def test_a_run_in_use_by_another_command_is_not_thrown_away(folded, tmp_path):
    open_run(tmp_path, RECIPE, folded)
    with in_use(tmp_path / "lock"):
        open_run(tmp_path, RECIPE, folded)  # the same one may train other folds
        for recipe, restart in ((RECIPE.replace(seed=1), False), (RECIPE, True)):
            with pytest.raises(RunError, match="in use: another command"):
                open_run(tmp_path, recipe, folded, restart=restart)
    assert open_run(tmp_path, RECIPE, folded, restart=True).recipe == RECIPE


def test_paths_of_a_run_hold_in_every_folder(folded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [os.path.relpath(path) for path in folded.frame["path"]]
    open_run("run", RECIPE, folded.with_columns(path=paths))
    assert open_run("run", RECIPE, folded).dataset.frame["path"].tolist() == folded.frame["path"].tolist()


def test_the_picture_of_errors_is_of_the_folds_asked_for(folded, tmp_path, in_this_process, monkeypatch):
    recipe = mf.get_recipe("image-tiny").replace(epochs=1, tta=1, validation_fraction=0.25)
    shown = tmp_path / "run" / "report" / "errors.json"
    for folds in ([0], [2], [0, 2], [2]):
        mf.cross_validate(recipe, folded, out=tmp_path / "run", folds=folds, on_event=print)
        assert json.loads(shown.read_text()) == folds
        assert (shown.parent / "errors.png").stat().st_size > 10_000
    drawn = shown.stat().st_mtime_ns
    mf.cross_validate(recipe, folded, out=tmp_path / "run", folds=[2], on_event=print)
    assert shown.stat().st_mtime_ns == drawn

    def fail(*args):
        raise ImageError("no picture")

    monkeypatch.setattr("melanomafusion.training.tasks.write_contact_sheet", fail)
    events = []
    mf.cross_validate(recipe, folded, out=tmp_path / "run", folds=[0], on_event=events.append)
    assert "errors.png could not be drawn: no picture" in events[-1]["text"]


def test_a_fold_that_is_done_is_not_trained_again(run, folded):
    cv, _ = run
    train_fold(
        on_event=pytest.fail,
        run=str(cv.path),
        fold=0,
        folds=[0, 1, 2],
        features="",
        tensorboard=False,
        checkpoint_every_minutes=None,
    )


def test_an_image_level_split_is_stamped_on_the_scores(folded, tmp_path, in_this_process):
    plain = mf.Dataset(folded.frame.drop(columns=["fold", "grouped_by"]))
    data = mf.assign_folds(plain, 2, group="record")
    cv = mf.cross_validate(RECIPE.replace(epochs=1), data, out=tmp_path / "run", folds=[0])
    assert cv.oof.grouped_by == "record"
    assert cv.metrics["grouped_by"] == "record"
    assert "image-level split" in mf.plot_roc({"x": cv.oof}).get_title()


def test_the_test_split_gets_the_mean_of_the_folds(run, synthetic_root, folded):
    cv, _ = run
    test = mf.load_siim_isic_2020(synthetic_root, split="test", with_images=False)
    mean = mf.predict_run(cv.path, test)
    assert mean.kind == "test"
    assert list(mean.frame["image_name"]) == list(test.image_names)
    single = []
    for path in cv.bundles:
        bundle = mf.Bundle.read(path)
        table = predict_scores(bundle.build_model(), bundle.recipe, test, encoder=bundle.encoder, spec=None)
        single.append(table["score"].to_numpy())
    assert mean.scores == pytest.approx(sum(single) / 3, abs=1e-6)  # oneDNN there, not here


def test_importing_the_runner_loads_no_keras():
    """The parent process stays small: Keras lives in the processes of the folds."""
    import subprocess

    code = "import sys, melanomafusion.training.cross_validation; print('keras' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_progress_is_shown_where_nobody_asks_for_events(folded, tmp_path, capsys):
    mf.cross_validate(RECIPE.replace(epochs=1), folded, out=tmp_path / "run", folds=[0])
    shown = capsys.readouterr().out
    assert "fold 0 done, 1 epochs" in shown
    assert "training records" in shown
