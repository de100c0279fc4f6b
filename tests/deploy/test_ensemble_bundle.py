"""`EnsembleBundle`: a run or ensemble as one folder, its scores those of the runs, its files checked."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import melanomafusion as mf
from melanomafusion.deploy.bundle import find_bundles
from melanomafusion.deploy.bundling import write_ensemble_bundle
from melanomafusion.deploy.card import fold_card, model_card
from melanomafusion.deploy.ensemble_bundle import EnsembleBundle
from melanomafusion.deploy.onnx_export import export_onnx
from melanomafusion.deploy.prediction import to_table
from melanomafusion.deploy.predictor import Predictor
from melanomafusion.deploy.sums import write_sums
from melanomafusion.errors import BundleError, OutputError
from melanomafusion.notice import NOT_A_MEDICAL_DEVICE
from melanomafusion.training.cross_validation import predict_run

CLASSES = ("melanoma", "nevus", "unknown")


@pytest.fixture(scope="module")
def trained(folded, tmp_path_factory):
    """Two runs of three folds on the same records."""
    folder = tmp_path_factory.mktemp("runs")
    quick = {"epochs": 2, "tta": 1}
    rng = np.random.default_rng(0)
    for name, recipe in (("fused", "tiny"), ("metadata", "metadata-tiny")):
        data = folded
        for fold in range(3):
            mf.fit_fold(mf.get_recipe(recipe).replace(**quick), data, fold, out=folder / name / f"fold-{fold}")
        parts = [pd.read_csv(folder / name / f"fold-{fold}" / "oof.csv") for fold in range(3)]
        oof = pd.concat(parts)
        # Two epochs learn little: scores that say something, so that calibrating them is worth it.
        oof["score"] = 0.3 * oof["target"] + 0.5 * rng.random(len(oof))
        oof.to_csv(folder / name / "oof.csv", index=False)
        data.write_parquet(folder / name / "dataset.parquet")
    return folder


def write_ensemble(folder, ensemble, runs):
    """A folder as the `ensemble` command writes it."""
    members = {name: mf.Predictions.read_csv(path / "oof.csv") for name, path in runs.items()}
    ensemble.fit(members)
    folder.mkdir()
    ensemble.cross_val_predict(members).write_csv(folder / "oof.csv")
    state = {**json.loads(ensemble.to_json()), "runs": {name: str(path) for name, path in runs.items()}}
    (folder / "ensemble.json").write_text(json.dumps(state), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def weighted(trained):
    runs = {name: trained / name for name in ("fused", "metadata")}
    ensemble = mf.WeightedEnsemble.from_weights({"fused": 0.7, "metadata": 0.3})
    return write_ensemble(trained / "ensemble", ensemble, runs)


@pytest.fixture(scope="module")
def of_run(trained, tmp_path_factory):
    return write_ensemble_bundle(
        trained / "fused", tmp_path_factory.mktemp("bundle") / "fused", rule="sensitivity", at=0.9
    )


@pytest.fixture(scope="module")
def records(folded):
    return folded.select(np.arange(len(folded)) < 9)


def test_the_bundle_of_a_run_scores_as_the_run_does(trained, of_run, records):
    assert list(of_run.bundles) == ["fold-0", "fold-1", "fold-2"]
    expected = predict_run(trained / "fused", records, on_event=lambda event: None).frame["score"]
    found = to_table(Predictor(of_run.path).iter_predictions(list(records.frame["path"]), records.frame))
    np.testing.assert_allclose(found["score"], expected, atol=1e-5)


def test_probability_and_threshold_are_those_of_the_pooled_out_of_fold_scores(trained, of_run, records):
    oof = mf.Predictions.read_csv(trained / "fused" / "oof.csv")
    predictor = Predictor(of_run.path)
    prediction = predictor.predict(records.frame["path"].iloc[0], sex="male")
    expected = mf.Calibrator("platt").fit(oof).transform(np.array([prediction.score]))[0]
    assert prediction.probability == pytest.approx(expected)
    assert prediction.threshold == pytest.approx(mf.operating_threshold(oof, "sensitivity", 0.9).value)
    assert prediction.above_threshold == (prediction.score >= prediction.threshold)
    assert f"{len(oof):,} records" in prediction.calibrated_on
    assert prediction.to_dict()["probability"] == prediction.probability
    assert of_run.metrics["auc"]["estimate"] == pytest.approx(mf.roc_auc(oof.targets, oof.scores))


def test_an_ensemble_of_runs_weighs_the_means_of_their_folds(trained, weighted, records, tmp_path):
    bundle = write_ensemble_bundle(weighted, tmp_path / "out")
    assert len(bundle.bundles) == 6
    assert "metadata/fold-2" in bundle.bundles
    found = to_table(Predictor(tmp_path / "out").iter_predictions(list(records.frame["path"]), records.frame))
    parts = [
        predict_run(trained / name, records, on_event=lambda e: None).frame["score"] for name in ("fused", "metadata")
    ]
    np.testing.assert_allclose(found["score"], 0.7 * parts[0] + 0.3 * parts[1], atol=1e-5)
    members = found[[f"member_fused/fold-{fold}" for fold in range(3)]].mean(axis=1)
    np.testing.assert_allclose(members, parts[0], atol=1e-5)


def test_submit_scores_a_bundle_of_several_runs_as_predict_does(
    shell, in_this_process, weighted, synthetic_root, tmp_path
):
    bundle = write_ensemble_bundle(weighted, tmp_path / "bundle").path
    code, _, err = shell("submit", bundle, "--test", synthetic_root, "--out", tmp_path / "s.csv")
    assert code == 0, err
    test = mf.load_siim_isic_2020(synthetic_root, split="test")
    expected = to_table(Predictor(bundle).iter_predictions(list(test.frame["path"]), test.frame))
    found = pd.read_csv(tmp_path / "s.csv")
    assert list(found["image_name"]) == list(expected["image_name"])
    np.testing.assert_allclose(found["target"], expected["score"], atol=1e-5)
    code, _, err = shell("bundle", bundle, "--out", tmp_path / "again")
    assert code == 1
    assert "has no oof.csv. Name a run whose folds are done, or a folder of `ensemble`" in " ".join(err.split())


def test_stacking_with_metadata_gives_what_it_gives_from_files(trained, records, tmp_path, folded):
    runs = {name: trained / name for name in ("fused", "metadata")}
    members = {name: mf.Predictions.read_csv(path / "oof.csv") for name, path in runs.items()}
    ensemble = mf.StackingEnsemble(features=("sex", "age")).fit(members, data=folded)
    mf.MeanEnsemble().fit(members).cross_val_predict(members).write_csv(tmp_path / "oof.csv")
    state = {**json.loads(ensemble.to_json()), "runs": {name: str(path) for name, path in runs.items()}}
    (tmp_path / "ensemble.json").write_text(json.dumps(state), encoding="utf-8")
    write_ensemble_bundle(tmp_path, tmp_path / "out")
    found = to_table(Predictor(tmp_path / "out").iter_predictions(list(records.frame["path"]), records.frame))
    scored = {name: predict_run(path, records, on_event=lambda e: None) for name, path in runs.items()}
    np.testing.assert_allclose(found["score"], ensemble.predict(scored, data=records).scores, atol=1e-5)


def test_the_folder_can_be_carried_anywhere(trained, of_run, records, tmp_path):
    image = records.frame["path"].iloc[0]
    expected = Predictor(of_run.path).predict(image).to_dict()
    shutil.copytree(of_run.path, tmp_path / "elsewhere")
    assert Predictor(tmp_path / "elsewhere").predict(image).to_dict() == expected
    text = "".join(file.read_text("utf-8", "replace") for file in (tmp_path / "elsewhere").rglob("*") if file.is_file())
    assert str(of_run.path.parent) not in text
    assert str(trained) not in text


def test_exporting_goes_into_every_model_and_the_sums_still_hold(of_run, records, tmp_path):
    copy = shutil.copytree(of_run.path, tmp_path / "copy")
    image = records.frame["path"].iloc[0]
    expected = Predictor(copy, engine="keras").predict(image, heatmap=True, age_approx=50)
    files = export_onnx(copy)
    assert [file.is_file() for file in files] == [True] * 3
    for engine in ("onnxruntime", "openvino"):
        found = Predictor(copy, engine=engine).predict(image, heatmap=True, age_approx=50)
        assert found.score == pytest.approx(expected.score, abs=1e-5)
        assert found.probability == pytest.approx(expected.probability, abs=1e-5)
        np.testing.assert_allclose(found.heatmap, expected.heatmap, atol=1e-4)
    assert [p.name for p in tmp_path.iterdir()] == ["copy"]


def test_an_export_that_fails_at_the_end_leaves_the_bundle_as_it_was(trained, tmp_path, monkeypatch):
    write_ensemble_bundle(trained / "metadata", tmp_path / "bundle")
    before = (tmp_path / "bundle" / "SHA256SUMS").read_bytes()

    def write_sums_and_stop(folder):
        write_sums(folder)
        raise OSError("stopped")

    monkeypatch.setattr("melanomafusion.deploy.onnx_export.write_sums", write_sums_and_stop)
    with pytest.raises(OutputError, match="stopped"):
        export_onnx(tmp_path / "bundle")
    assert (tmp_path / "bundle" / "SHA256SUMS").read_bytes() == before
    assert EnsembleBundle.read(tmp_path / "bundle").bundles


@pytest.mark.parametrize("given", ["link", "."])
def test_a_bundle_is_exported_where_it_lies(shell, trained, tmp_path, monkeypatch, given):
    write_ensemble_bundle(trained / "metadata", tmp_path / "bundle")
    (tmp_path / "link").symlink_to("bundle")
    monkeypatch.chdir(tmp_path / "bundle" if given == "." else tmp_path)
    code, printed, err = shell("export", given)
    assert code == 0, err
    assert printed.count("model.onnx") == 3
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "link"]
    engines = {member.engine_name for member in Predictor(tmp_path / "link", engine="onnxruntime").members}
    assert engines == {"onnxruntime"}


@pytest.mark.parametrize("calibration", ["platt", "temperature", "isotonic", None])
def test_one_onnx_file_holds_all_folds_and_the_calibration(trained, records, tmp_path, calibration):
    write_ensemble_bundle(trained / "metadata", tmp_path / "bundle", calibration=calibration)
    export_onnx(tmp_path / "bundle", tmp_path / "all.onnx")
    table = pd.concat([records.frame, records.frame.assign(sex=pd.NA, age_approx=np.nan)])
    blank = [None] * len(table)
    expected = to_table(Predictor(tmp_path / "bundle", engine="keras").iter_predictions(blank, table))
    for engine in ("onnxruntime", "openvino"):
        predictor = Predictor(tmp_path / "all.onnx", engine=engine)
        found = to_table(predictor.iter_predictions(blank, table))
        np.testing.assert_allclose(found["score"], expected["score"], atol=1e-5)
        assert ("probability" in found) == (calibration is not None)
        if calibration:
            np.testing.assert_allclose(found["probability"], expected["probability"], atol=1e-4)
            graph = predictor.members[0].engine.run({"metadata": predictor.members[0].header.encoder.transform(table)})
            np.testing.assert_allclose(graph["probability"], expected["probability"], atol=1e-4)


@pytest.mark.parametrize("ending", ["onnx", "tflite"])
@pytest.mark.parametrize(
    "ensemble", [mf.WeightedEnsemble.from_weights({"a": 0.9, "b": 0.1}), mf.RankMeanEnsemble(), mf.MeanEnsemble()]
)
def test_one_file_of_members_that_are_not_plainly_averaged_is_refused(shell, trained, tmp_path, ensemble, ending):
    runs = {"a": trained / "metadata", "b": shutil.copytree(trained / "metadata", tmp_path / "b")}
    if type(ensemble) is mf.MeanEnsemble:
        shutil.rmtree(tmp_path / "b" / "fold-0")  # two models of b weigh as much as three of a
    write_ensemble_bundle(write_ensemble(tmp_path / "ensemble", ensemble, runs), tmp_path / "bundle")
    code, _, err = shell("export", tmp_path / "bundle", "--out", tmp_path / f"all.{ending}")
    assert code == 1
    assert f"a {type(ensemble).__name__} combines its members" in " ".join(err.split())
    assert "Leave out away" in err
    assert not (tmp_path / f"all.{ending}").exists()


def test_one_onnx_file_of_members_of_one_recipe_is_their_mean(trained, tmp_path):
    runs = {"a": trained / "metadata", "b": shutil.copytree(trained / "metadata", tmp_path / "b")}
    write_ensemble_bundle(write_ensemble(tmp_path / "ensemble", mf.MeanEnsemble(), runs), tmp_path / "bundle")
    export_onnx(tmp_path / "bundle", tmp_path / "all.onnx")
    expected = Predictor(tmp_path / "bundle").predict(sex="male")
    found = Predictor(tmp_path / "all.onnx").predict(sex="male")
    assert found.score == pytest.approx(expected.score, abs=1e-5)
    assert found.threshold == expected.threshold


def test_one_onnx_file_of_a_run_with_images_has_the_mean_heat_map(of_run, records, tmp_path):
    export_onnx(of_run.path, tmp_path / "all.onnx")
    image, fields = records.frame["path"].iloc[0], {"sex": "male", "age_approx": 50}
    expected = Predictor(of_run.path, engine="keras").predict(image, heatmap=True, **fields)
    found = Predictor(tmp_path / "all.onnx").predict(image, heatmap=True, **fields)
    assert found.score == pytest.approx(expected.score, abs=1e-5)
    assert found.threshold == expected.threshold
    assert found.calibrated_on == expected.calibrated_on
    np.testing.assert_allclose(found.heatmap, expected.heatmap, atol=1e-4)


def test_a_run_of_several_classes_in_one_file(folded, tmp_path):
    data = folded.select(folded.frame["diagnosis"].isin(CLASSES).to_numpy())
    recipe = mf.get_recipe("metadata-tiny").replace(epochs=1, classes=CLASSES, loss="categorical", imbalance="none")
    for fold in range(2):
        mf.fit_fold(recipe, data, fold, out=tmp_path / "run" / f"fold-{fold}")
    pd.concat([pd.read_csv(tmp_path / "run" / f"fold-{f}" / "oof.csv") for f in range(2)]).to_csv(
        tmp_path / "run" / "oof.csv", index=False
    )
    write_ensemble_bundle(tmp_path / "run", tmp_path / "bundle")
    export_onnx(tmp_path / "bundle", tmp_path / "all.onnx")
    expected = Predictor(tmp_path / "bundle", engine="keras").predict(sex="male")
    found = Predictor(tmp_path / "all.onnx").predict(sex="male")
    assert found.classes == pytest.approx(expected.classes, abs=1e-5)
    assert found.probability == pytest.approx(expected.probability, abs=1e-4)


def test_the_card_says_what_is_known_and_what_was_not_done(of_run):
    text = (of_run.path / "README.md").read_text(encoding="utf-8")
    estimate = of_run.metrics["auc"]["estimate"]
    for part in (
        NOT_A_MEDICAL_DEVICE,
        f"{estimate:.3f}",
        "sensitivity ≥ 0.9",
        "grouped by patient",
        "| External validation | not done |",
        "sex female",
    ):
        assert part in text
    assert NOT_A_MEDICAL_DEVICE in fold_card(mf.Bundle.read(of_run.bundles["fold-0"]))


def test_words_in_a_card_are_not_markup(of_run, tmp_path):
    copy = shutil.copytree(of_run.path, tmp_path / "copy")
    content = json.loads((copy / "ensemble_bundle.json").read_text(encoding="utf-8"))
    content["name"] = "<script>alert(1)</script> | [x](http://x) `y`\n# z"
    (copy / "ensemble_bundle.json").write_text(json.dumps(content), encoding="utf-8")
    write_sums(copy)
    line = model_card(EnsembleBundle.read(copy)).splitlines()[0]
    assert line == "# Model card: \\<script\\>alert(1)\\</script\\> \\| \\[x\\](http://x) \\`y\\` \\# z"


def test_probabilities_that_say_nothing_are_not_given(trained, tmp_path):
    run = shutil.copytree(trained / "metadata", tmp_path / "run")
    table = pd.read_csv(run / "oof.csv")
    # Every fold on a scale of its own: cross-fitted, each fold's probabilities are wrong.
    table["score"] = (0.01 + 0.45 * table["fold"] + 0.05 * table["target"]).clip(0, 1)
    rng = np.random.default_rng(0)
    table["score"] = (table["score"] + rng.uniform(0, 0.04, len(table))).clip(0, 1)
    table.loc[rng.random(len(table)) < 0.2, "score"] = 0.5
    table.to_csv(run / "oof.csv", index=False)
    bundle = write_ensemble_bundle(run, tmp_path / "out")
    assert any(note.startswith("Not calibrated: cross-fitted") for note in bundle.metrics["notes"])
    assert bundle.calibrator is None
    assert Predictor(tmp_path / "out").predict().probability is None


def test_scores_that_cannot_be_calibrated_are_not_and_the_reason_is_told(trained, tmp_path):
    run = shutil.copytree(trained / "metadata", tmp_path / "run")
    table = pd.read_csv(run / "oof.csv")
    table["score"] = 1 - table["score"]
    table.to_csv(run / "oof.csv", index=False)
    bundle = write_ensemble_bundle(run, tmp_path / "out")
    assert bundle.calibrator is None
    assert any("higher scores are less often positive" in note for note in bundle.metrics["notes"])
    assert len(set(bundle.metrics["notes"])) == len(bundle.metrics["notes"])
    assert str(tmp_path) not in json.dumps(bundle.metrics)


def test_a_stored_ensemble_bundle_of_format_1_is_still_read():
    folder = Path(__file__).parent / "bundles" / "ensemble-format-1"
    found = Predictor(folder).predict(sex="female", age_approx=60, anatom_site_general_challenge="torso")
    stored = json.loads((folder.parent / "ensemble-format-1.json").read_text(encoding="utf-8"))
    assert found.score == pytest.approx(stored["score"], abs=1e-5)
    assert found.probability == pytest.approx(stored["probability"], abs=1e-5)
    assert found.threshold == stored["threshold"]


def spoil(folder, how):
    content = json.loads((folder / "ensemble_bundle.json").read_text(encoding="utf-8"))
    if how == "changed byte":
        path = folder / "member-0" / "fold-1" / "model.weights.h5"
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(bytes(data))
    elif how == "missing file":
        (folder / "metrics.json").unlink()
    elif how == "missing model":
        shutil.rmtree(folder / "member-0" / "fold-1")
    elif how == "model exchanged":
        shutil.rmtree(folder / "member-0" / "fold-1")
        shutil.copytree(folder / "member-0" / "fold-0", folder / "member-0" / "fold-1")
    elif how == "added file":
        (folder / "member-0" / "run.sh").write_text("x", encoding="utf-8")
    elif how == "symlink":
        shutil.move(folder / "member-0", folder.parent / "outside")
        (folder / "member-0").symlink_to(folder.parent / "outside")
    elif how == "newer format":
        content["format"] = 99
    elif how == "absolute path":
        content["members"] = {"fused": ["/etc"]}
    elif how == "way out":
        content["members"] = {"fused": ["../../fold-0"]}
    elif how == "no members":
        content["members"] = {}
    elif how == "huge JSON":
        content["name"] = "x" * 17 * 1024 * 1024
    if json.loads((folder / "ensemble_bundle.json").read_text(encoding="utf-8")) != content:
        (folder / "ensemble_bundle.json").write_text(json.dumps(content), encoding="utf-8")
        write_sums(folder)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("changed byte", r"model\.weights\.h5 was altered"),
        ("missing file", r"metrics\.json is missing"),
        ("missing model", "member-0/fold-1/SHA256SUMS is missing"),
        ("model exchanged", "member-0/fold-1/SHA256SUMS was altered"),
        ("added file", r"member-0/run\.sh is not listed"),
        ("symlink", "is a symbolic link"),
        ("newer format", "format 99; this version reads 1"),
        ("absolute path", "is not listed in SHA256SUMS"),
        ("way out", "is not listed in SHA256SUMS"),
        ("no members", "expected a name, and members"),
        ("huge JSON", "bytes; at most"),
    ],
)
def test_a_folder_that_is_not_as_it_was_written_is_refused(of_run, tmp_path, how, message):
    copy = shutil.copytree(of_run.path, tmp_path / "copy")
    spoil(copy, how)
    with pytest.raises(BundleError, match=message):
        Predictor(copy)


def test_sources_that_cannot_be_bundled_are_refused(trained, tmp_path):
    with pytest.raises(BundleError, match=r"has no oof\.csv"):
        write_ensemble_bundle(tmp_path, tmp_path / "out")
    with pytest.raises(BundleError, match="holds the models themselves"):
        write_ensemble_bundle(trained / "fused", trained)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x", encoding="utf-8")
    with pytest.raises(BundleError, match="not empty and not an ensemble bundle"):
        write_ensemble_bundle(trained / "fused", tmp_path / "full")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["x"]
    assert not (tmp_path / "out").exists()


def test_explain_finds_the_models_of_an_ensemble_bundle(of_run):
    assert len(find_bundles(of_run.path)) == 3
