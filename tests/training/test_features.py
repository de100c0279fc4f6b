"""A head trained on kept features is the head that plain training with the frozen backbone gives."""

import json
import shutil

import keras
import numpy as np
import pytest

import melanomafusion as mf
from melanomafusion.data.metadata import MetadataEncoder
from melanomafusion.errors import ImageError, OutputError
from melanomafusion.images.pipeline import EpochCounter, inference_pipeline, training_pipeline
from melanomafusion.images.pixels import decode_images, open_pixels
from melanomafusion.models.backbones import get_backbone
from melanomafusion.models.fusion import FUSIONS
from melanomafusion.recipes.stage import Stage
from melanomafusion.training import features as module
from melanomafusion.training.checks import inner_split
from melanomafusion.training.compiled import build_loss
from melanomafusion.training.devices import set_up_keras
from melanomafusion.training.feature_store import Features
from melanomafusion.training.features import (
    RowEncoder,
    attach_features,
    build_head,
    frozen_features,
    trains_on_features,
)
from melanomafusion.training.fit import build_model
from melanomafusion.training.image_alone import with_image_alone
from melanomafusion.training.run import open_run
from melanomafusion.training.stage_inputs import StageInputs, labels_of
from melanomafusion.training.stages import train_stages

HEAD = {
    "trainable": "head",
    "epochs": 3,
    "learning_rate": 3e-3,
    "schedule": "constant",
    "early_stopping_patience": None,
    "augmentation": "none",
}
SIZE = 32
SPEC = mf.ImageSpec(SIZE)
# A bias before batch norm has no gradient but rounding, and Adam walks at random along it.
IMAGE_FUSIONS = [name for name, (_, takes_image, _) in FUSIONS.items() if takes_image]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A tiny backbone whose batch norm has seen something: its two modes differ."""
    keras.utils.set_random_seed(3)
    application = get_backbone("tiny").constructor(input_shape=(SIZE, SIZE, 3), weights=None)
    rng = np.random.default_rng(0)
    application.set_weights(
        [w + rng.uniform(0.05, 0.3, w.shape).astype("float32") if w.ndim == 1 else w for w in application.get_weights()]
    )
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    application.save_weights(path)
    return path


@pytest.fixture(scope="module")
def recipe(weights):
    return mf.get_recipe("tiny").replace(
        weights=str(weights), freeze_batch_norm=True, tta=1, validation_fraction=0.25, stages=[HEAD]
    )


@pytest.fixture(scope="module")
def pixels(folded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pixels")
    assert decode_images(folded, SPEC, folder) == {}
    return open_pixels(folded, SPEC, folder)


def model_of(recipe, encoder=None, seed=0):
    set_up_keras(recipe, seed)
    return build_model(recipe, encoder)


def compute(model, records, pixels, folder, spec=SPEC, report=None):
    """Features as an array, and how many were computed."""
    events = []
    found = frozen_features(
        model,
        records,
        backbone="tiny",
        spec=spec,
        pixels=pixels,
        folder=folder,
        batch_size=32,
        report=report or events.append,
    )
    return found.take(np.arange(len(found))), events[-1]["total"] if events else 0


def same(a, b, **tolerance):
    return all(np.allclose(x, y, **{"rtol": 0, "atol": 0, **tolerance}) for x, y in zip(a, b, strict=True))


def plain_training(model, recipe, fit, encoder, pixels):
    """Keras as people write it: the weights after each epoch."""
    batches = training_pipeline(
        fit,
        encoder,
        SPEC,
        batch_size=recipe.batch_size,
        class_weight={"class_weight": "balanced", "oversample": "oversample", "none": None}[recipe.imbalance],
        augmentation="none",
        metadata_dropout=recipe.metadata_dropout,
        labels=labels_of(recipe, fit),
        seed=7,
        pixels=pixels,
        counter=EpochCounter(),
    )
    model.get_layer("tiny").trainable = False
    trained = with_image_alone(model, recipe.fusion)
    trained.compile(keras.optimizers.Adam(HEAD["learning_rate"]), build_loss(recipe), jit_compile=False)
    after = []
    trained.fit(
        batches,
        epochs=HEAD["epochs"],
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: after.append(model.get_weights()))],
        shuffle=False,
        verbose=0,
    )
    return after


@pytest.mark.parametrize(
    ("fusion", "changes"),
    [
        *[pytest.param(fusion, {"dropout": 0.0, "metadata_dropout": 0.0}) for fusion in IMAGE_FUSIONS],
        # Dropout is drawn by the same layers in the same order, so even its chance is the same.
        ("concat", {"dropout": 0.3, "metadata_dropout": 0.2, "classes": True, "loss": "categorical"}),
    ],
)
def test_the_head_is_that_of_plain_training_with_a_frozen_backbone(recipe, folded, pixels, tmp_path, fusion, changes):
    if "classes" in changes:
        changes["classes"] = sorted(folded.frame["diagnosis"].unique())
    recipe = recipe.replace(fusion=fusion, monitor="val_loss", **changes)
    fit, validation = folded.held_out(0)
    encoder = MetadataEncoder(recipe.metadata_features).fit(fit.frame) if recipe.uses_metadata else None
    model, events = model_of(recipe, encoder), []
    start = model.get_weights()
    history, best = train_stages(
        model,
        recipe,
        fit,
        validation,
        encoder=encoder,
        spec=SPEC,
        pixels=pixels,
        features=tmp_path,
        seed=7,
        report=events.append,
        tensorboard=None,
    )
    assert any(event["kind"] == "features" for event in events)
    plain = model_of(recipe, encoder)
    assert same(plain.get_weights(), start)
    after = plain_training(plain, recipe, fit, encoder, pixels)
    assert not same(model.get_weights(), start, atol=1e-3)
    assert same(model.get_weights(), after[best.epoch - 1], atol=2e-6)
    assert len(history) == HEAD["epochs"] == len(after)


def test_mixed_precision_is_that_of_plain_training(recipe, folded, pixels, tmp_path):
    recipe = recipe.replace(precision="mixed_float16", dropout=0.0, monitor="val_loss")
    policy = keras.config.dtype_policy()
    try:
        fit, validation = folded.select(folded.image_names[:96]), folded.select(folded.image_names[96:160])
        encoder = MetadataEncoder(recipe.metadata_features).fit(fit.frame)
        model = model_of(recipe, encoder)
        array, computed = compute(model, fit, pixels, tmp_path)
        assert computed == len(fit)
        np.testing.assert_array_equal(array, array.astype("float16").astype("float32"))
        _, best = train_stages(
            model,
            recipe,
            fit,
            validation,
            encoder=encoder,
            spec=SPEC,
            pixels=pixels,
            features=tmp_path,
            seed=7,
            report=lambda event: None,
            tensorboard=None,
        )
        plain = model_of(recipe, encoder)
        after = plain_training(plain, recipe, fit, encoder, pixels)
        assert same(model.get_weights(), after[best.epoch - 1], atol=1e-3)
        assert compute(model_of(recipe.replace(precision="float32"), encoder), fit, pixels, tmp_path)[1] == len(fit)
    finally:
        keras.config.set_dtype_policy(policy)


def test_features_are_the_pooled_output_of_the_keras_application(recipe, weights, folded, pixels, tmp_path):
    """Normalised by hand, with the constants of the ImageNet weights."""
    application = get_backbone("tiny").constructor(input_shape=(SIZE, SIZE, 3), weights=None)
    application.load_weights(weights)
    images = np.stack([pixels.load(str(name)) for name in folded.image_names]).astype("float32")
    normalised = (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    expected = application.predict(normalised, verbose=0)
    array, computed = compute(model_of(recipe.replace(fusion="image")), folded, pixels, tmp_path)
    assert computed == len(folded)
    np.testing.assert_allclose(array, expected, rtol=1e-4, atol=1e-4)
    assert np.ptp(expected, axis=0).max() > 0.1


def test_the_head_is_made_of_the_models_own_layers(recipe, folded):
    encoder = MetadataEncoder(recipe.metadata_features).fit(folded.frame)
    model = model_of(recipe, encoder)
    head = build_head(model)
    assert {id(w) for w in head.weights} == {id(w) for w in model.weights} - {
        id(w) for w in model.get_layer("tiny").weights
    }
    assert [tensor.shape for tensor in head.inputs] == [(None, 48), (None, encoder.width)]


def test_a_second_time_nothing_is_computed(recipe, folded, pixels, tmp_path, monkeypatch):
    first, computed = compute(model_of(recipe.replace(fusion="image")), folded, pixels, tmp_path)
    assert computed == len(folded)
    monkeypatch.setattr(module, "inference_pipeline", None)
    other_head = recipe.replace(fusion="image", dropout=0.7, classes=("melanoma", "a", "b"), loss="categorical")
    again, computed = compute(model_of(other_head, seed=5), folded, pixels, tmp_path)
    assert computed == 0
    np.testing.assert_array_equal(again, first)
    turned = folded.select(folded.image_names[::-1])
    np.testing.assert_array_equal(
        compute(model_of(recipe.replace(fusion="image")), turned, pixels, tmp_path)[0], first[::-1]
    )


def test_records_that_are_new_are_all_that_is_computed(recipe, folded, pixels, tmp_path):
    model = model_of(recipe.replace(fusion="image"))
    whole, _ = compute(model, folded, pixels, tmp_path / "a")
    train, held_out = folded.held_out(0)
    assert compute(model, train, pixels, tmp_path / "b")[1] == len(train)
    array, computed = compute(model, folded, pixels, tmp_path / "b")
    assert computed == len(held_out)
    np.testing.assert_allclose(array, whole, atol=1e-5)


def test_other_weights_another_size_or_a_changed_constant_are_computed_anew(recipe, folded, pixels, tmp_path):
    records = folded.select(folded.image_names[:40])
    recipe = recipe.replace(fusion="image")
    model = model_of(recipe)
    assert compute(model, records, pixels, tmp_path)[1] == 40
    kernel = model.get_layer("tiny").get_layer("conv3").weights[0]
    changed = kernel.numpy()
    changed[0, 0, 0, 0] += 1e-6
    kernel.assign(changed)
    assert compute(model, records, pixels, tmp_path)[1] == 40

    large = mf.ImageSpec(40)
    assert compute(model_of(recipe.replace(image_size=40)), records, None, tmp_path, spec=large)[1] == 40

    model = model_of(recipe)
    assert compute(model, records, pixels, tmp_path)[1] == 0
    model.get_layer("normalisation").offset = (0.0, 0.0, 0.0)
    assert compute(model, records, pixels, tmp_path)[1] == 40


def test_a_changed_image_file_is_computed_anew_and_no_other(recipe, synthetic_root, tmp_path):
    shutil.copytree(synthetic_root, tmp_path / "data")
    data = mf.load_siim_isic_2020(tmp_path / "data")
    data = data.select(data.image_names[:20])
    model = model_of(recipe.replace(fusion="image"))
    before, _ = compute(model, data, None, tmp_path / "features")
    paths = data.frame["path"]
    shutil.copyfile(paths[7], paths[3])
    after, computed = compute(model, data, None, tmp_path / "features")
    assert computed == 1
    np.testing.assert_allclose(after[3], before[7], atol=1e-5)
    np.testing.assert_array_equal(np.delete(after, 3, axis=0), np.delete(before, 3, axis=0))


def test_a_pass_that_was_stopped_goes_on_behind_its_last_whole_part(recipe, folded, pixels, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PART", 64)
    model = model_of(recipe.replace(fusion="image"))
    whole, _ = compute(model, folded, pixels, tmp_path / "whole")

    def stop(event):
        if event["done"] > 160:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compute(model, folded, pixels, tmp_path / "stopped", report=stop)
    array, computed = compute(model, folded, pixels, tmp_path / "stopped")
    assert computed == len(folded) - 128
    np.testing.assert_array_equal(array, whole)


def test_progress_counts_up_to_all_records(recipe, folded, pixels, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PART", 64)
    events = []
    compute(model_of(recipe.replace(fusion="image")), folded, pixels, tmp_path, report=events.append)
    done = [event["done"] for event in events]
    assert done == sorted(set(done))
    assert done[-1] == len(folded)
    assert {(event["kind"], event["total"]) for event in events} == {("features", len(folded))}


@pytest.mark.parametrize("class_weight", ["balanced", "oversample", None])
def test_batches_are_those_of_the_image_pipeline_with_features_for_images(folded, pixels, class_weight):
    """The mean colour stands for the features, so each batch can be checked against its own images."""
    encoder = MetadataEncoder().fit(folded.frame)
    colours = np.stack([pixels.load(str(name)).mean((0, 1)) for name in folded.image_names]).astype("float32")
    half = len(folded) // 2
    places = np.arange(len(folded))
    features = Features([colours[:half], colours[half:]], (places >= half).astype("int64"), places % half)
    options = {
        "batch_size": 32,
        "class_weight": class_weight,
        "augmentation": "none",
        "metadata_dropout": 0.3,
        "seed": 5,
    }
    ours = attach_features(training_pipeline(folded, RowEncoder(encoder), None, **options), features, metadata=True)
    theirs = training_pipeline(folded, encoder, SPEC, pixels=pixels, **options)
    assert int(ours.cardinality()) == int(theirs.cardinality())
    for _ in range(2):
        for ((colour, metadata), *rest), (inputs, *expected) in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(colour, np.mean(inputs["image"], axis=(1, 2)), rtol=1e-5)
            np.testing.assert_array_equal(metadata, inputs["metadata"])
            for mine, other in zip(rest, expected, strict=True):
                np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize(
    ("changes", "stage", "expected"),
    [
        ({}, {"augmentation": "none"}, True),
        ({"augmentation": "none"}, {}, True),
        ({"augmentation": "none"}, {"augmentation": "light"}, False),
        ({}, {}, False),
        ({}, {"augmentation": "none", "trainable": "all"}, False),
        ({}, {"augmentation": "none", "trainable": "top"}, False),
        ({"mixup": 0.2}, {"augmentation": "none"}, False),
        ({"cutmix": 1.0}, {"augmentation": "none"}, False),
        ({"fusion": "metadata"}, {"augmentation": "none"}, False),
        ({"fusion": "image"}, {"augmentation": "none"}, True),
    ],
)
def test_only_a_frozen_backbone_without_augmentation_is_trained_on_features(changes, stage, expected):
    recipe = mf.get_recipe("fusion-b0").replace(**changes)
    assert trains_on_features(recipe, Stage(**{"trainable": "head", **stage})) is expected


def test_stages_on_images_have_their_augmentation_and_the_settings_of_the_recipe(
    recipe, folded, pixels, tmp_path, monkeypatch
):
    seen = []
    monkeypatch.setattr(
        "melanomafusion.training.stage_inputs.training_pipeline", lambda *records, **options: seen.append(options)
    )
    source = str(folded.frame["source"].iloc[0])
    settings = {"mixup": 0.2, "cutmix": 0.3, "source_weights": {source: 2.0}, "source_sampling": {source: 0.5}}
    recipe = recipe.replace(fusion="image", augmentation="light", imbalance="oversample", **settings)
    inputs = StageInputs(recipe, folded, folded, None, SPEC, pixels, tmp_path, 7, EpochCounter(), print)
    for stage in (Stage(), Stage(augmentation="medium"), Stage(trainable="head", augmentation="none")):
        inputs.of(None, stage)
    assert [options["augmentation"] for options in seen] == ["light", "medium", "none"]
    for options in seen:
        assert options.items() >= settings.items()
        assert (options["class_weight"], options["seed"], options["pixels"]) == ("oversample", 7, pixels)


def test_the_head_is_handed_on_to_later_stages_and_survives_one_that_spoils_it(
    recipe, weights, folded, pixels, tmp_path
):
    """A stage on images that hardly moves scores as the head did on features; the last stage is not the best."""
    stages = [
        HEAD,
        {"trainable": "all", "epochs": 1, "learning_rate": 1e-9, "schedule": "constant", "optimizer": "sgd"},
        {"trainable": "all", "epochs": 1, "learning_rate": 30.0, "schedule": "constant", "optimizer": "sgd"},
    ]
    recipe, events = recipe.replace(stages=stages, monitor="val_loss", augmentation="light"), []
    result = mf.fit_fold(recipe, folded, 0, out=tmp_path, pixels=pixels, on_event=events.append)
    losses = result.history.groupby("stage")["val_loss"].min()
    assert losses[2] == pytest.approx(losses[1], abs=1e-6)
    assert losses[3] > losses[1]
    assert result.metrics["best_epoch"] <= HEAD["epochs"] + 1
    application = get_backbone("tiny").constructor(input_shape=(SIZE, SIZE, 3), weights=None)
    application.load_weights(weights)
    bundle = mf.Bundle.read(result.bundle)
    model = bundle.build_model()
    assert same(model.get_layer("tiny").get_weights(), application.get_weights(), atol=1e-6)
    fit, validation = inner_split(recipe, folded.held_out(0)[0])
    logits = model.predict(inference_pipeline(validation, bundle.encoder, SPEC, pixels=pixels), verbose=0)
    assert float(build_loss(recipe)(validation.targets[:, None], logits)) == pytest.approx(losses[1], abs=1e-5)
    parts = [len(json.loads(path.read_text())) for path in tmp_path.glob("features/*/part-*/images.json")]
    assert sorted(parts) == sorted([len(fit), len(validation)])
    assert sum(event["kind"] == "epoch" for event in events) == HEAD["epochs"] + 2


def test_folds_and_runs_share_the_features_of_a_folder(recipe, folded, pixels, tmp_path, in_this_process):
    recipe = recipe.replace(stages=[{**HEAD, "epochs": 1}])
    events, shared = [], tmp_path / "shared"

    def computed():
        return sum({event["total"] for event in events if event["kind"] == "features"})

    mf.cross_validate(recipe, folded, out=tmp_path / "a", folds=[0], features=shared, on_event=events.append)
    first = int((folded.frame["fold"] == 0).sum())
    assert computed() == len(folded) - first
    assert {path.name for path in (tmp_path / "a").iterdir()}.isdisjoint({"features", "pixels"})

    events.clear()
    other = recipe.replace(fusion="image", dropout=0.5, seed=9)
    mf.fit_fold(other, folded, 1, out=tmp_path / "b", pixels=pixels, features=shared, on_event=events.append)
    assert computed() == first  # the rest was known
    assert compute(model_of(recipe.replace(fusion="image")), folded, pixels, shared)[1] == 0


def test_features_lie_in_the_run_unless_said_otherwise(recipe, folded, tmp_path, monkeypatch):
    class Stop(Exception):
        pass

    def run(self, tasks, on_event, **options):
        raise Stop(tasks[0].arguments["features"])

    monkeypatch.setattr("melanomafusion.execution.local.LocalExecutor.run", run)
    for options, expected in (({}, tmp_path / "run" / "features"), ({"features": tmp_path / "x"}, tmp_path / "x")):
        with pytest.raises(Stop, match=f"^{expected}$"):
            mf.cross_validate(recipe, folded, out=tmp_path / "run", on_event=lambda event: None, **options)


def test_a_run_that_begins_anew_keeps_its_features(recipe, folded, tmp_path):
    run = open_run(tmp_path / "run", recipe, folded)
    (run.features / "part").mkdir(parents=True)
    open_run(tmp_path / "run", recipe, folded, restart=True)
    assert (run.features / "part").is_dir()


def test_images_that_are_gone_stop_before_the_first_epoch(recipe, folded, pixels, tmp_path):
    frame = folded.frame
    moved = folded.with_columns(path="/nowhere/" + frame["image_name"] + ".jpg")
    with pytest.raises(ImageError, match="cannot be found any more"):
        mf.fit_fold(recipe, moved, 0, out=tmp_path, pixels=pixels, on_event=lambda event: None)
    assert not list(tmp_path.glob("features/*/part-*"))


def test_a_features_folder_that_cannot_be_written_to_stops_before_the_first_epoch(recipe, folded, tmp_path):
    (tmp_path / "file").write_text("in the way")
    events = []
    for train in (mf.cross_validate, lambda *args, **options: mf.fit_fold(*args, 0, **options)):
        with pytest.raises(OutputError, match="Cannot write"):
            train(recipe, folded, out=tmp_path / "run", features=tmp_path / "file", on_event=events.append)
    assert not any(event["kind"] in ("decode", "epoch") for event in events)


def test_a_source_that_lies_in_the_held_out_fold_as_a_whole_is_no_error(folded, tmp_path):
    held = (folded.frame["fold"] == 0).to_numpy()
    data = folded.with_columns(source=np.where(held, "small", "large"))
    recipe = mf.get_recipe("tiny").replace(
        epochs=1, tta=1, source_weights={"small": 2.0}, source_sampling={"small": 2.0}, validation_fraction=0.25
    )
    assert len(mf.fit_fold(recipe, data, 0, out=tmp_path / "out").oof) == held.sum()
