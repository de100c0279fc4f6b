"""The published systems from end to end at reduced size: small synthetic images, random weights, one epoch."""

import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import melanomafusion as mf
from melanomafusion.data.folds import published_split
from melanomafusion.data.metadata import MetadataEncoder
from melanomafusion.recipes.catalogue import SYSTEMS, get_recipe
from melanomafusion.testing import make_siim_isic, paint_lesion
from melanomafusion.training.compiled import set_trainable
from melanomafusion.training.devices import set_up_keras
from melanomafusion.training.features import build_head
from melanomafusion.training.fit import build_model
from melanomafusion.training.stages import train_stages

CODES = ("akiec", "bcc", "bkl", "df", "vasc", "mel", "nv")
SMALL = {"weights": None, "freeze_batch_norm": False, "precision": "float32", "batch_size": 8}


def quiet(event):
    del event


@pytest.fixture(autouse=True)
def eagerly(monkeypatch):
    """Networks of hundreds of layers take longer to be traced than to do a few steps without a graph."""
    compile_ = keras.Model.compile

    def compile_eagerly(self, *arguments, **options):
        compile_(self, *arguments, **{**options, "run_eagerly": True})

    monkeypatch.setattr(keras.Model, "compile", compile_eagerly)
    predict = keras.Model.predict

    def predict_eagerly(self, *arguments, **options):
        self.run_eagerly = True
        return predict(self, *arguments, **options)

    monkeypatch.setattr(keras.Model, "predict", predict_eagerly)
    yield
    keras.backend.clear_session()


def paint(path, evidence, rng, size=75):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(paint_lesion(evidence, size, rng)).save(path)


@pytest.fixture(scope="module")
def three_folders(tmp_path_factory):
    """train, valid and test of melanoma, nevus and seborrheic_keratosis: 12, 6 and 6 images of 75 pixels."""
    root, rng = tmp_path_factory.mktemp("three"), np.random.default_rng(0)
    for split, count in (("train", 4), ("valid", 2), ("test", 2)):
        for name in ("melanoma", "nevus", "seborrheic_keratosis"):
            for k in range(count):
                paint(root / split / name / f"{k}.png", 2.0 * (name == "melanoma"), rng)
    return published_split(mf.load_image_folders(root))


@pytest.fixture(scope="module")
def two_folders(tmp_path_factory):
    """malignant and benign, 12 images of 32 pixels each, in three folds of records."""
    root, rng = tmp_path_factory.mktemp("two"), np.random.default_rng(1)
    for name in ("malignant", "benign"):
        for k in range(12):
            paint(root / name / f"{name}{k}.png", 2.0 * (name == "malignant"), rng, size=32)
    return mf.assign_folds(mf.load_image_folders(root), 3, group="record")


@pytest.fixture(scope="module")
def seven_classes(tmp_path_factory):
    """56 records in the layout of HAM10000, eight of each diagnosis, in two folds of lesions."""
    root, rng = tmp_path_factory.mktemp("ham10000"), np.random.default_rng(2)
    rows = [
        {
            "lesion_id": f"HAM_{k}",
            "image_id": f"ISIC_{k:02d}",
            "dx": CODES[k % 7],
            "dx_type": "histo",
            "age": f"{5 * rng.integers(4, 18)}.0",
            "sex": ("male", "female")[rng.integers(2)],
            "localization": ("back", "face", "foot")[rng.integers(3)],
        }
        for k in range(56)
    ]
    pd.DataFrame(rows).to_csv(root / "HAM10000_metadata.csv", index=False)
    for row in rows:
        paint(root / "images" / f"{row['image_id']}.png", 2.0 * (row["dx"] == "mel"), rng, size=32)
    return mf.assign_folds(mf.load_ham10000(root), 2, group="record")


@pytest.fixture(scope="module")
def malignant_or_not(seven_classes):
    """The same records, where melanoma, BCC and AK are the positive ones."""
    root = Path(seven_classes.frame["path"].iloc[0]).parents[1]
    return mf.assign_folds(mf.load_ham10000(root, positive=("melanoma", "BCC", "AK")), 2, group="record")


@pytest.fixture(scope="module")
def siim(tmp_path_factory):
    """Some forty records in the layout of SIIM-ISIC 2020, in two folds of patients, with the sizes of their files."""
    root = tmp_path_factory.mktemp("siim")
    make_siim_isic(root, n_patients=12, n_test_patients=1, image_size=32, prevalence=0.4, seed=3)
    data = mf.load_siim_isic_2020(root)
    sizes = [Path(path).stat().st_size for path in data.frame["path"]]
    return mf.assign_folds(data.with_columns(file_bytes=sizes), 2)


def short(name, **changes):
    """The recipe with random weights, small images and one epoch of each stage."""
    return get_recipe(name).replace(**{**SMALL, "image_size": 32, "validation_fraction": 0.34, "epochs": 1, **changes})


def fit(recipe, data, folder, fold=0):
    result = mf.fit_fold(recipe, data, fold, out=folder, on_event=quiet)
    held_out = data.held_out(fold)[1]
    assert list(result.oof.frame["image_name"]) == list(held_out.image_names)
    assert np.isfinite(result.oof.scores).all()
    assert len(result.history) == len(recipe.stages)
    assert np.isfinite(result.history["loss"]).all() if len(recipe.stages) else True
    assert mf.Bundle.read(result.bundle).recipe == recipe
    return result


def step(recipe, data, count=8):
    """One epoch of a few records without a bundle: the loss is finite and the weights move."""
    records = data.select(np.arange(len(data)) < count)
    set_up_keras(recipe, 0)
    encoder = MetadataEncoder(recipe.metadata_features).fit(data.frame) if recipe.uses_metadata else None
    model = build_model(recipe, encoder)
    before = [weights.copy() for weights in model.get_layer(recipe.backbone).get_weights()[:1]]
    history, _ = train_stages(
        model,
        recipe,
        records,
        data.select(np.arange(len(data)) < 8),
        encoder=encoder,
        spec=mf.ImageSpec(recipe.image_size),
        pixels=None,
        features=None,
        seed=0,
        report=quiet,
        tensorboard=None,
    )
    assert len(history) == recipe.epochs
    assert np.isfinite([history[0]["loss"], history[0]["val_loss"]]).all()
    assert not np.array_equal(before[0], model.get_layer(recipe.backbone).get_weights()[0])
    return model


def test_every_published_system_runs_here():
    tested = {"awan-2026", "bamania", "raksha", "jagtap-2026", "menezes", "winner-2020", "best-ham10000", "fusion"}
    assert {next(word for word in tested if system.name.startswith(word)) for system in SYSTEMS} == tested


def test_awan_trains_2049_of_21804833_parameters_on_kept_features(three_folders, tmp_path):
    recipe = short("awan-2026-inceptionv3", image_size=75)
    result = fit(recipe, three_folders, tmp_path)
    assert result.metrics["parameters"] == 21_804_833
    assert result.metrics["threshold"]["rule"] == "sensitivity"
    assert result.metrics["grouped_by"] == "published split"
    kept = [len(json.loads(path.read_text())) for path in tmp_path.glob("features/*/part-*/images.json")]
    assert sorted(kept) == [6, 12]  # each training and validation image once, and no test image
    model = mf.Bundle.read(result.bundle).build_model()
    assert set_trainable(model, recipe, recipe.stages[0]) == []
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == 2_049
    assert sum(int(np.prod(v.shape)) for v in build_head(model).trainable_variables) == 2_049


def test_bamania_trains_a_frozen_and_a_tuned_stage(two_folders, tmp_path):
    result = fit(short("bamania-mobilenetv2", batch_size=16), two_folders, tmp_path)
    assert result.history["stage"].tolist() == [1, 2]
    assert result.oof.image_level_split
    assert {"accuracy", "val_accuracy", "val_loss"} <= set(result.history)


def test_raksha_fuses_image_and_metadata(siim, tmp_path):
    result = fit(short("raksha-efficientnet-fusion", backbone="tiny"), siim, tmp_path)
    assert result.metrics["monitor"] == "val_loss"


@pytest.mark.parametrize("short_name", ["", "-b5", "-b7"])
def test_raksha_trains_each_efficientnet(siim, short_name):
    recipe = short(f"raksha-efficientnet-fusion{short_name}")
    model = step(recipe, siim)
    assert model.get_layer(recipe.backbone).output_shape[-1] == {"": 1792, "-b5": 2048, "-b7": 2560}[short_name]


@pytest.mark.parametrize(("short_name", "size"), [("inceptionv3", 75), ("densenet121", 32)])
def test_raksha_trains_both_networks_on_ham10000(malignant_or_not, short_name, size):
    recipe = short(f"raksha-efficientnet-fusion-{short_name}", image_size=size)
    model = step(recipe, malignant_or_not)
    assert set(model.input) == {"image"}
    assert model.output_shape == (None, 1)


@pytest.mark.parametrize("name", ["jagtap-2026-mobilenetv2", "jagtap-2026-plain-cnn"])
def test_jagtap_names_seven_classes(seven_classes, tmp_path, name):
    result = fit(short(name), seven_classes, tmp_path)
    assert len(result.metrics["multiclass"]["classes"]) == 7 + 2
    assert result.oof.image_level_split
    kept = list(tmp_path.glob("features/*/part-*"))
    assert bool(kept) == (name == "jagtap-2026-mobilenetv2")


def test_menezes_warms_up_and_trains_two_logits(three_folders, tmp_path):
    result = fit(short("menezes-efficientnetb3", batch_size=16), three_folders, tmp_path)
    model = mf.Bundle.read(result.bundle).build_model()
    assert model.get_layer("head").units == 2
    assert model.get_layer("head").kernel.shape == (1536, 2)
    assert result.metrics["threshold"]["rule"] == "accuracy"


@pytest.mark.parametrize(("variant", "epochs"), [("frozen", 1), ("untrained", 0)])
def test_what_menezes_compares_with_runs_too(three_folders, tmp_path, variant, epochs):
    recipe = short(f"menezes-efficientnetb3-{variant}", backbone="tiny")
    result = fit(recipe, three_folders, tmp_path)
    assert len(result.history) == epochs
    assert result.metrics["best_epoch"] == epochs


NINE = ("AK", "BCC", "BKL", "DF", "SCC", "VASC", "melanoma", "nevus", "unknown")


@pytest.mark.parametrize("name", ["winner-2020", "winner-2020-honest"])
def test_the_winner_names_nine_classes(siim, name):
    diagnoses = np.resize(NINE, len(siim))
    data = siim.with_columns(diagnosis=diagnoses, target=pd.Series((diagnoses == "melanoma").astype(int), dtype="Int8"))
    # Two epochs: the warm-up alone is one.
    recipe = short(name, backbone="tiny", tta=1, epochs=2)
    model = step(recipe, data, count=16)  # each class among them
    assert model.output_shape == (None, 9)
    assert sum(layer.name.startswith("head_dropout_sample") for layer in model.layers) == 5
    encoder = MetadataEncoder(recipe.metadata_features).fit(data.frame)
    assert model.input["metadata"].shape == (None, encoder.width)


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("best-ham10000", "tiny"),
        ("best-ham10000-image", "tiny"),
        ("best-ham10000-additive", "mobilenet_v2"),
        ("best-ham10000-additive-240", "tiny"),
    ],
)
def test_our_best_learns_from_all_training_records(seven_classes, tmp_path, name, backbone):
    changes = {"backbone": backbone, "validation_fraction": 0.0, "tta": 1, "batch_size": 16}
    result = fit(short(name, **changes), seven_classes, tmp_path)
    assert (result.metrics["monitor"], result.metrics["validation_records"]) == ("last epoch", 0)
    assert result.metrics["train_records"] == len(seven_classes.held_out(0)[0])
    assert len(result.metrics["multiclass"]["classes"]) == 7 + 2


@pytest.mark.parametrize("backbone", ["efficientnet_v2_s", "convnext_tiny"])
def test_newer_backbones_train(siim, backbone):
    family = {"efficientnet_v2_s": "efficientnetv2s", "convnext_tiny": "convnext"}[backbone]
    recipe = get_recipe(f"fusion-{family}")
    step(recipe.replace(**SMALL, image_size=32, epochs=1, stages=recipe.stages[1:]), siim)
