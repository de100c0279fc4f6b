"""`melanomafusion explain`: what it writes, and that bad input ends in one message and the right exit code."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import melanomafusion as mf
from melanomafusion.data.metadata import MetadataEncoder
from melanomafusion.deploy.bundle import write_bundle
from melanomafusion.deploy.bundling import write_ensemble_bundle
from melanomafusion.images.spec import ImageSpec
from melanomafusion.models.fusion_model import build_fusion_model
from melanomafusion.notice import NOT_A_MEDICAL_DEVICE
from melanomafusion.recipes.catalogue import get_recipe
from melanomafusion.testing import make_records, paint_lesion


def make_bundle(folder, name="tiny", seed=0, **changes):
    """A bundle of a model with random weights, as after training."""
    recipe = get_recipe(name).replace(**changes)
    keras.utils.set_random_seed(seed)
    records = make_records(30, rng=np.random.default_rng(0))[0].assign(width=600)
    encoder = MetadataEncoder(recipe.metadata_features).fit(records) if recipe.uses_metadata else None
    model = build_fusion_model(
        recipe.backbone,
        metadata_width=encoder.width if encoder else 0,
        image_size=recipe.image_size,
        fusion=recipe.fusion,
        weights=None,
        metadata_units=recipe.metadata_units,
    )
    spec = ImageSpec(recipe.image_size) if recipe.uses_images else None
    write_bundle(folder, recipe=recipe, model=model, encoder=encoder, spec=spec, metrics={})
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two folds."""
    folder = tmp_path_factory.mktemp("explain") / "run"
    for fold in range(2):
        make_bundle(folder / f"fold-{fold}" / "bundle", seed=fold)
    return folder


@pytest.fixture(scope="module")
def bundle(run):
    return run / "fold-0" / "bundle"


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(2):
        Image.fromarray(paint_lesion(1.0, 64, np.random.default_rng(i))).save(folder / f"lesion_{i}.jpg")
    return sorted(folder.iterdir())


def read(folder, name="lesion_0"):
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def test_a_picture_and_json_for_each_image(shell, bundle, images, tmp_path):
    out = tmp_path / "out"
    options = ("--sex", "Female", "--age", "45", "--site", "back")
    code, said, err = shell("explain", bundle, *images, "--out", out, *options)
    assert code == 0, err
    assert sorted(p.name for p in out.iterdir()) == ["lesion_0.json", "lesion_0.png", "lesion_1.json", "lesion_1.png"]
    content = read(out)
    assert content["notice"] == NOT_A_MEDICAL_DEVICE
    assert NOT_A_MEDICAL_DEVICE in said
    assert content["fields"] == {"sex": "female", "age": "45", "site": "torso"}
    assert content["models"] == 1
    assert 0 < content["score"] < 1
    assert content["score"] != read(out, "lesion_1")["score"]
    with Image.open(out / "lesion_0.png") as picture:
        assert picture.format == "PNG"


def test_a_run_is_the_mean_of_its_folds(shell, run, images, tmp_path):
    assert shell("explain", run, images[0], "--out", tmp_path / "run", "--age", "0")[0] == 0
    scores = []
    for fold in range(2):
        out = tmp_path / f"fold-{fold}"
        assert shell("explain", run / f"fold-{fold}" / "bundle", images[0], "--out", out, "--age", "0")[0] == 0
        scores.append(read(out)["score"])
    content = read(tmp_path / "run")
    assert content["models"] == 2
    assert content["fields"]["age"] == "0"
    assert content["score"] == pytest.approx(np.mean(scores), abs=1e-6)


def test_metadata_not_given_are_missing(shell, bundle, images, tmp_path):
    assert shell("explain", bundle, images[0], "--out", tmp_path)[0] == 0
    content = read(tmp_path)
    assert content["fields"] == {"sex": None, "age": None, "site": None}
    assert list(content["contributions"]) == ["image"]


def test_empty_and_unknown_are_missing(shell, bundle, images, tmp_path):
    options = ("--sex", "", "--age", "NA", "--site", "unknown")
    code, _, err = shell("explain", bundle, images[0], "--out", tmp_path, *options)
    assert code == 0, err
    assert read(tmp_path)["fields"] == {"sex": None, "age": None, "site": None}


def test_a_table_gives_each_image_its_row(shell, bundle, images, tmp_path):
    table = pd.DataFrame(
        {
            "image": ["other", "lesion_1.jpg", "lesion_0"],
            "age": [80, 30, np.nan],
            "sex": ["male", "male", "female"],
            "localization": ["face", None, "hand"],
        }
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    assert shell("explain", bundle, *images, "--out", tmp_path, "--csv", tmp_path / "t.csv")[0] == 0
    assert read(tmp_path)["fields"] == {"sex": "female", "age": None, "site": "upper extremity"}
    assert read(tmp_path, "lesion_1")["fields"] == {"sex": "male", "age": "30", "site": None}
    assert not (tmp_path / "other.json").exists()


def test_the_method_is_that_asked_for(shell, bundle, images, tmp_path):
    assert shell("explain", bundle, images[0], "--out", tmp_path, "--method", "hirescam")[0] == 0
    assert read(tmp_path)["method"] == "hirescam"
    assert shell("explain", bundle, images[0], "--out", tmp_path, "--method", "lime")[0] == 2


def test_an_image_only_model_takes_no_metadata(shell, images, tmp_path):
    blind = make_bundle(tmp_path / "bundle", "image-tiny")
    assert shell("explain", blind, images[0], "--out", tmp_path / "out")[0] == 0
    assert read(tmp_path / "out")["fields"] == {}
    code, _, err = shell("explain", blind, images[0], "--out", tmp_path / "out", "--sex", "female", "--age", "4")
    assert code == 1
    assert "does not use --sex, --age; it uses the image alone" in err


def test_a_field_that_the_model_does_not_use_is_refused(shell, images, tmp_path):
    bundle = make_bundle(tmp_path / "bundle", metadata_features=["age"])
    code, _, err = shell("explain", bundle, images[0], "--out", tmp_path / "out", "--site", "torso")
    assert code == 1
    assert "does not use --site; it uses the image and --age" in err


def test_a_feature_of_the_file_is_that_of_the_image_and_one_of_the_patient_missing(shell, images, tmp_path):
    bundle = make_bundle(tmp_path / "bundle", metadata_features=["age", "width", "images_per_patient"])
    assert shell("explain", bundle, images[0], "--out", tmp_path / "out", "--age", "50")[0] == 0
    assert read(tmp_path / "out")["fields"] == {"age": "50", "width": "64", "images_per_patient": None}


def test_a_number_of_a_table_is_read_and_a_word_in_its_place_is_named(shell, images, tmp_path):
    bundle = make_bundle(tmp_path / "bundle", metadata_features=["age", "width"])
    table = tmp_path / "t.csv"
    table.write_text("image_name,age,width\nlesion_0,50,1024\nlesion_1,50,wide\n")
    code, _, err = shell("explain", bundle, images[0], "--out", tmp_path / "out", "--csv", table)
    assert code == 1
    assert "Column width holds 1 values that are no numbers above 0: 'wide'" in " ".join(err.split())
    assert not (tmp_path / "out").exists()
    table.write_text("image_name,age,width\nlesion_0,50,1024\nlesion_1,50,\n")
    assert shell("explain", bundle, *images, "--out", tmp_path / "out", "--csv", table)[0] == 0
    assert read(tmp_path / "out")["fields"] == {"age": "50", "width": "1024"}
    assert read(tmp_path / "out", "lesion_1")["fields"]["width"] is None


def test_a_model_without_images_is_refused(shell, images, tmp_path):
    bundle = make_bundle(tmp_path / "bundle", "metadata-tiny")
    code, _, err = shell("explain", bundle, images[0], "--out", tmp_path / "out")
    assert code == 1
    assert "looks at no image" in err


def make_ensemble_bundle(folder, ensemble, runs):
    """A bundle of an ensemble of runs, with out-of-fold scores that were drawn."""
    rng = np.random.default_rng(0)
    target = np.arange(80) % 4 == 0
    members = {}
    for name in runs:
        scores = {"score": 0.3 * target + 0.5 * rng.random(80), "target": target.astype(int)}
        table = {"image_name": [f"i{n}" for n in range(80)], "patient_id": [f"p{n}" for n in range(80)]}
        members[name] = mf.Predictions(pd.DataFrame({**table, **scores, "fold": np.arange(80) % 3}), "oof")
    ensemble.fit(members)
    source = folder / "ensemble"
    source.mkdir()
    ensemble.cross_val_predict(members).write_csv(source / "oof.csv")
    state = {**json.loads(ensemble.to_json()), "runs": {name: str(path) for name, path in runs.items()}}
    (source / "ensemble.json").write_text(json.dumps(state), encoding="utf-8")
    return write_ensemble_bundle(source, folder / "bundle").path


def test_an_ensemble_that_weighs_is_refused_and_one_of_its_bundles_is_named(shell, run, images, tmp_path):
    ensemble = mf.WeightedEnsemble.from_weights({"a": 0.9, "b": 0.1})
    place = make_ensemble_bundle(tmp_path, ensemble, {"a": run, "b": run})
    code, _, err = shell("explain", place, images[0], "--out", tmp_path / "out")
    assert code == 1
    assert "a WeightedEnsemble combines its members" in " ".join(err.split())
    one = place / "member-0" / "fold-0"
    assert str(one) in err.replace("\n", "")
    assert not (tmp_path / "out").exists()
    assert shell("explain", one, images[0], "--out", tmp_path / "out")[0] == 0


def test_the_plain_mean_of_an_ensemble_is_explained(shell, run, images, tmp_path):
    place = make_ensemble_bundle(tmp_path, mf.MeanEnsemble(), {"a": run, "b": run})
    assert shell("explain", place, images[0], "--out", tmp_path / "out")[0] == 0
    assert shell("explain", run, images[0], "--out", tmp_path / "run")[0] == 0
    assert read(tmp_path / "out")["models"] == 4
    assert read(tmp_path / "out")["score"] == pytest.approx(read(tmp_path / "run")["score"], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("metadata-tiny", {}, "differ in image spec"),
        ("tiny", {"image_size": 40}, "differ in image spec"),
        ("tiny", {"metadata_features": ["age"]}, "differ in metadata features"),
    ],
)
def test_an_ensemble_of_models_that_differ_is_refused(shell, run, images, tmp_path, name, changes, words):
    make_bundle(tmp_path / "other" / "fold-0" / "bundle", name, **changes)
    place = make_ensemble_bundle(tmp_path, mf.MeanEnsemble(), {"a": tmp_path / "other", "b": run})
    code, _, err = shell("explain", place, images[0], "--out", tmp_path / "out")
    assert code == 1
    assert words in " ".join(err.split())
    member = "member-1" if name == "metadata-tiny" else "member-0"  # one that looks at images
    assert str(place / member / "fold-0") in err.replace("\n", "")


def test_every_problem_is_said_before_anything_is_written(shell, bundle, images, tmp_path):
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "other").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "other" / "lesion_0.jpg")
    out = tmp_path / "out"
    files = [images[0], tmp_path / "empty.jpg", tmp_path / "text.png", tmp_path / "none.jpg", tmp_path / "other"]
    options = ("--sex", "robot", "--age", "-5", "--site", "moon")
    code, _, err = shell("explain", bundle, *files, tmp_path / "other" / "lesion_0.jpg", "--out", out, *options)
    assert code == 1
    for words in ("empty.jpg", "text.png", "none.jpg", "a folder", "overwrite each other"):
        assert words in err
    for words in ("--sex 'robot'", "--age '-5'", "--site 'moon'", "head/neck"):
        assert words in err
    assert not out.exists()


@pytest.mark.parametrize("age", ["old", "nan?", "1e9", "-1"])
def test_an_age_that_is_none_is_refused(shell, bundle, images, tmp_path, age):
    code, _, err = shell("explain", bundle, images[0], "--out", tmp_path / "out", "--age", age)
    assert code == 1
    assert f"--age {age!r}; expected a number of years" in err


def test_an_image_without_a_row_is_named(shell, bundle, images, tmp_path):
    (tmp_path / "t.csv").write_text("image_name,sex\nlesion_0,female\n")
    code, _, err = shell("explain", bundle, *images, "--out", tmp_path / "out", "--csv", tmp_path / "t.csv")
    assert code == 1
    assert "no row for image 'lesion_1'" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "empty"), ("image_name,sex\nlesion_0,robot\n", "'robot'"), ("a,b\n1,2\n", "image_name is missing")],
)
def test_a_table_that_cannot_be_read_is_explained(shell, bundle, images, tmp_path, text, words):
    (tmp_path / "t.csv").write_text(text)
    code, _, err = shell("explain", bundle, images[0], "--out", tmp_path / "out", "--csv", tmp_path / "t.csv")
    assert code == 1
    assert words in err


def test_a_table_and_options_exclude_each_other(shell, bundle, images, tmp_path):
    (tmp_path / "t.csv").write_text("image_name\nlesion_0\n")
    code, _, err = shell("explain", bundle, images[0], "--out", tmp_path, "--csv", tmp_path / "t.csv", "--sex", "male")
    assert code == 2
    assert "--csv" in err


def test_what_is_no_bundle_is_refused(shell, images, tmp_path):
    code, _, err = shell("explain", tmp_path, images[0], "--out", tmp_path / "out")
    assert code == 1
    assert "neither a bundle nor a run" in err


def test_an_out_folder_that_is_a_file_is_named(shell, bundle, images, tmp_path):
    (tmp_path / "out").write_text("")
    code, _, err = shell("explain", bundle, images[0], "--out", tmp_path / "out")
    assert code == 1
    assert "Cannot write" in err


def test_help_says_research_use_only(shell):
    code, out, _ = shell("explain", "--help")
    assert code == 0
    assert "Not a medical device" in " ".join(out.split())
