"""`export` and `predict`: the scores of the run, one message for whatever is wrong, nothing half-written."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

import melanomafusion as mf
from melanomafusion.deploy.onnx_export import export_onnx
from melanomafusion.deploy.predictor import Predictor
from melanomafusion.notice import NOT_A_MEDICAL_DEVICE


@pytest.fixture(scope="module")
def run(folded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    recipe = mf.get_recipe("tiny").replace(epochs=1, tta=1)
    for fold in (0, 1):
        mf.fit_fold(recipe, folded, fold, out=folder / f"fold-{fold}", on_event=lambda event: None)
    export_onnx(folder)
    return folder


@pytest.fixture(scope="module")
def image_only(folded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("image") / "fold-0"
    mf.fit_fold(mf.get_recipe("image-tiny").replace(epochs=1), folded, 0, out=folder, on_event=lambda event: None)
    return folder / "bundle"


@pytest.fixture(scope="module")
def images(folded, tmp_path_factory):
    """A folder of six images and a table of their metadata."""
    folder = tmp_path_factory.mktemp("images")
    for path in folded.frame["path"].iloc[:6]:
        shutil.copy(path, folder)
    columns = ["image_name", "sex", "age_approx", "anatom_site_general_challenge"]
    folded.frame[columns].iloc[:6].to_csv(folder.parent / "table.csv", index=False)
    return folder


def table(path):
    return pd.read_csv(path, keep_default_na=False)


def test_a_folder_with_a_table_gets_the_scores_of_the_run(shell, run, images, folded, tmp_path):
    out = tmp_path / "scores.csv"
    code, printed, err = shell("predict", run, images, "--csv", images.parent / "table.csv", "--out", out)
    assert code == 0
    assert "Wrote 6 rows" in printed
    assert "openvino" in printed
    assert NOT_A_MEDICAL_DEVICE in err
    records = folded.frame.iloc[:6].set_index("image_name")
    expected = {
        p.name: p.score for p in Predictor(run, engine="keras").iter_predictions(list(records["path"]), records)
    }
    found = table(out).set_index("image_name")["score"].astype(float)
    assert sorted(found.index) == sorted(expected)
    np.testing.assert_allclose(found, [expected[name] for name in found.index], atol=1e-5)


def test_options_are_the_metadata_of_every_image(shell, run, images):
    paths = sorted(images.iterdir())[:2]
    code, printed, _ = shell("predict", run, *paths, "--sex", "F", "--age", "45", "--json")
    assert code == 0
    found = json.loads(printed)
    assert [record["image"] for record in found] == [path.stem for path in paths]
    assert found[0]["fields"] == {"sex": "female", "age_approx": 45.0, "anatom_site_general_challenge": None}
    expected = Predictor(run, engine="onnxruntime").predict(paths[0], sex="female", age_approx=45)
    assert found[0]["score"] == pytest.approx(expected.score, abs=1e-5)
    assert list(found[0]) == list(expected.to_dict())


def test_without_a_file_the_table_is_printed_alone(shell, run, images):
    code, printed, err = shell("predict", run, images, "--engine", "onnxruntime")
    lines = printed.splitlines()
    assert code == 0
    assert lines[0] == "image_name,score,member_fold-0,member_fold-1,warnings,problem"
    assert len(lines) == 7
    assert NOT_A_MEDICAL_DEVICE in err


def test_unreadable_images_are_all_named_and_nothing_is_written(shell, run, images, tmp_path):
    for name in ("a.jpg", "b.png"):
        (tmp_path / name).write_text("hello", encoding="utf-8")
    code, _, err = shell("predict", run, images, tmp_path, "--out", tmp_path / "scores.csv")
    assert code == 1
    assert "2 of 8 images cannot be read" in err
    assert all(name in err for name in ("a.jpg", "b.png"))
    assert not (tmp_path / "scores.csv").exists()


def test_unreadable_images_can_be_rows_without_a_score(shell, run, images, tmp_path):
    (tmp_path / "a.jpg").write_text("hello", encoding="utf-8")
    code, printed, _ = shell(
        "predict", run, images, tmp_path, "--out", tmp_path / "scores.csv", "--on-bad-image", "skip"
    )
    assert code == 0
    assert "1 without a score" in printed
    found = table(tmp_path / "scores.csv").set_index("image_name")
    assert found.loc["a", "score"] == ""
    assert "not a JPEG or PNG" in found.loc["a", "problem"]
    assert (found["score"] == "").sum() == 1


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["{images}", "--sex", "x", "--age", "old"], ["--sex 'x'", "--age 'old'"]),
        (["{images}/gone.jpg", "nowhere"], ["gone.jpg: there is no such file", "nowhere: there is no such file"]),
        (["{images}", "--csv", "{images}/none.csv"], ["there is no such file"]),
        (["{images}", "--out", "{images}"], ["is a folder. Name a CSV file"]),
        (["{empty}"], ["no image (.jpg, .jpeg, .png) below this folder"]),
    ],
)
def test_what_is_wrong_is_one_message(shell, run, images, tmp_path, arguments, parts):
    (tmp_path / "empty").mkdir()
    given = [argument.format(images=images, empty=tmp_path / "empty") for argument in arguments]
    code, _, err = shell("predict", run, *given)
    assert code == 1
    for part in parts:
        assert part in err


def test_two_images_of_one_name_are_refused(shell, run, images, tmp_path):
    shutil.copy(sorted(images.iterdir())[0], tmp_path)
    code, _, err = shell("predict", run, images, tmp_path)
    assert code == 1
    assert "has the same name" in err


def test_an_image_without_a_row_is_named(shell, run, images, tmp_path):
    rows = (images.parent / "table.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "short.csv").write_text("".join(rows[:-1]), encoding="utf-8")
    code, _, err = shell("predict", run, images, "--csv", tmp_path / "short.csv")
    assert code == 1
    assert f"no row for image {rows[-1].split(',')[0]!r}" in err


def test_a_field_without_any_value_in_the_table_is_told(shell, run, images, tmp_path):
    frame = pd.read_csv(images.parent / "table.csv").rename(columns={"age_approx": "years"})
    frame.to_csv(tmp_path / "renamed.csv", index=False)
    code, _, err = shell("predict", run, images, "--csv", tmp_path / "renamed.csv")
    assert code == 0
    assert "renamed.csv has no value of age_approx: missing for all images." in err
    assert "no value" not in shell("predict", run, images, "--csv", images.parent / "table.csv")[2]


def test_metadata_that_the_model_does_not_look_at_are_refused(shell, image_only, images):
    for option in (["--sex", "male"], ["--csv", images.parent / "table.csv"]):
        code, _, err = shell("predict", image_only, images, *option)
        assert code == 1
        assert f"does not use {option[0]}; it uses the image alone" in err


def test_options_and_a_table_together_are_wrong_usage(shell, run, images):
    code, _, err = shell("predict", run, images, "--sex", "male", "--csv", images.parent / "table.csv")
    assert code == 2
    assert "Give --csv, or --sex, --age and --site" in err


def test_export_writes_a_file_that_predicts_alone(shell, image_only, images, tmp_path):
    code, printed, _ = shell("export", image_only, "--out", tmp_path / "model.onnx")
    assert code == 0
    assert "model.onnx" in printed
    path = sorted(images.iterdir())[0]
    results = [
        json.loads(shell("predict", model, path, "--json")[1]) for model in (tmp_path / "model.onnx", image_only)
    ]
    assert results[0][0]["score"] == pytest.approx(results[1][0]["score"], abs=1e-5)


def test_export_into_bundles_and_its_refusals(shell, image_only, run, tmp_path):
    copy = shutil.copytree(image_only, tmp_path / "bundle")
    code, _, _ = shell("export", copy)
    assert code == 0
    assert (copy / "model.onnx").is_file()
    code, printed, _ = shell("export", run, "--out", tmp_path / "one.onnx")
    assert code == 0
    assert "one.onnx" in printed
    for folder in (tmp_path, "."):
        code, _, err = shell("export", image_only, "--out", folder)
        assert code == 1
        assert f"{folder} is a folder. Name an ONNX file" in err
    code, _, err = shell("export", tmp_path / "nowhere")
    assert code == 1
    assert "neither a bundle nor a run" in err
    code, _, err = shell("predict", image_only, tmp_path, "--engine", "openvino")
    assert code == 1
