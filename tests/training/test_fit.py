"""A fold: what chooses, what is fitted on what, and that the same seed gives the same result."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

import melanomafusion as mf
from melanomafusion.data.metadata import MetadataEncoder
from melanomafusion.errors import RunError
from melanomafusion.images.pixels import decode_images, open_pixels
from melanomafusion.training.checks import inner_split
from melanomafusion.training.compiled import set_trainable
from melanomafusion.training.fit import build_model
from melanomafusion.training.predict import predict_scores

TINY = mf.get_recipe("tiny").replace(epochs=2, tta=1, batch_size=32, name="test", validation_fraction=0.25)


@pytest.fixture(scope="module")
def pixels(folded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pixels")
    spec = mf.ImageSpec(TINY.image_size)
    assert decode_images(folded, spec, folder) == {}
    return open_pixels(folded, spec, folder)


@pytest.fixture(scope="module")
def result(folded, pixels, tmp_path_factory):
    return mf.fit_fold(TINY, folded, 0, out=tmp_path_factory.mktemp("fold"), pixels=pixels)


def weights_of(result):
    return mf.Bundle.read(result.bundle).build_model().get_weights()


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_same_seed_gives_the_same_weights_and_scores(result, folded, pixels, tmp_path):
    again = mf.fit_fold(TINY, folded, 0, out=tmp_path, pixels=pixels)
    assert same(weights_of(result), weights_of(again))
    assert (again.oof.scores == result.oof.scores).all()


def test_another_seed_gives_other_weights(result, folded, pixels, tmp_path):
    other = mf.fit_fold(TINY.replace(seed=1), folded, 0, out=tmp_path, pixels=pixels)
    assert not same(weights_of(result), weights_of(other))


def test_the_fold_that_scores_does_not_choose(result, folded, pixels, tmp_path):
    """Other truth, ages and sites in the held-out fold: the same weights and the same history."""
    frame = folded.frame
    held_out = frame["fold"] == 0
    turned = folded.with_columns(
        target=frame["target"].where(~held_out, 1 - frame["target"]),
        age_approx=frame["age_approx"].where(~held_out, 90.0),
        sex=frame["sex"].where(~held_out, "female"),
    )
    other = mf.fit_fold(TINY, turned, 0, out=tmp_path, pixels=pixels)
    assert same(weights_of(result), weights_of(other))
    pd.testing.assert_frame_equal(result.history, other.history)
    assert other.metrics["best_epoch"] == result.metrics["best_epoch"]
    assert (other.oof.targets == 1 - result.oof.targets).all()


def test_the_inner_split_is_of_whole_training_patients(folded):
    train, held_out = folded.held_out(0)
    fit, validation = inner_split(TINY, train)
    patients = [set(part.frame["patient_id"]) for part in (fit, validation, held_out)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not patients[one] & patients[other]
    assert len(fit) + len(validation) == len(train)
    assert fit.targets.any()
    assert validation.targets.any()


def test_the_encoder_of_a_bundle_was_fitted_on_training_rows_only(result, folded):
    fit, _ = inner_split(TINY, folded.held_out(0)[0])
    expected = MetadataEncoder(TINY.metadata_features).fit(fit.frame).to_json()
    assert mf.Bundle.read(result.bundle).encoder.to_json() == expected
    assert MetadataEncoder(TINY.metadata_features).fit(folded.frame).to_json() != expected


def test_the_bundle_gives_the_out_of_fold_scores_again(result, folded, pixels):
    bundle = mf.Bundle.read(result.bundle)
    table = predict_scores(
        bundle.build_model(),
        bundle.recipe,
        folded.held_out(0)[1],
        encoder=bundle.encoder,
        spec=bundle.spec,
        pixels=pixels,
    )
    np.testing.assert_array_equal(table["score"], result.oof.scores)


def test_out_of_fold_scores_cover_the_held_out_records_once(result, folded):
    held_out = folded.held_out(0)[1]
    assert list(result.oof.frame["image_name"]) == list(held_out.image_names)
    assert (result.oof.targets == held_out.targets).all()
    assert result.oof.kind == "oof"
    assert ((result.oof.scores > 0) & (result.oof.scores < 1)).all()
    assert result.metrics["auc"] == pytest.approx(roc_auc_score(result.oof.targets, result.oof.scores), abs=1e-12)


def test_the_history_holds_exact_validation_scores(result, folded, pixels):
    """The best epoch's figures, computed again from its weights with scikit-learn."""
    fit, validation = inner_split(TINY, folded.held_out(0)[0])
    bundle = mf.Bundle.read(result.bundle)
    table = predict_scores(
        bundle.build_model(), bundle.recipe, validation, encoder=bundle.encoder, spec=bundle.spec, pixels=pixels
    )
    row = result.history.set_index("epoch").loc[result.metrics["best_epoch"]]
    assert row["val_auc"] == pytest.approx(roc_auc_score(validation.targets, table["score"]), abs=1e-12)
    assert row["val_average_precision"] == pytest.approx(
        average_precision_score(validation.targets, table["score"]), abs=1e-12
    )
    assert row["val_auc"] == result.history["val_auc"].max()
    expected = {"auc", "average_precision", "accuracy", "precision", "recall", "f1", "loss"}
    assert {name for column in expected for name in (column, f"val_{column}")} <= set(result.history)
    assert {"learning_rate", "stage", "epoch", "fold"} <= set(result.history)
    assert (result.history["learning_rate"] > 0).all()
    assert len(fit) == result.metrics["train_records"]


def test_a_frozen_stage_changes_the_head_alone_and_frozen_batch_norm_keeps_its_statistics(folded, pixels, tmp_path):
    start = build_model(TINY, None) if not TINY.uses_metadata else None
    stages = [{"trainable": "head", "epochs": 1, "schedule": "constant"}]
    path = tmp_path / "tiny.weights.h5"
    from melanomafusion.models.backbones import get_backbone

    application = get_backbone("tiny").constructor(input_shape=(32, 32, 3), weights=None)
    application.save_weights(path)
    recipe = TINY.replace(weights=str(path), freeze_batch_norm=True, stages=stages)
    frozen = mf.Bundle.read(mf.fit_fold(recipe, folded, 0, out=tmp_path / "a", pixels=pixels).bundle).build_model()
    assert start is None
    assert not (tmp_path / "a" / "features").exists()  # augmented: no image is the same twice
    assert same(frozen.get_layer("tiny").get_weights(), application.get_weights())

    stages = [{"trainable": "all", "epochs": 1, "learning_rate": 1e-2, "schedule": "constant"}]
    for kept, moving in ((True, set()), ("statistics", {"gamma", "beta"})):
        changed = recipe.replace(stages=stages, freeze_batch_norm=kept)
        thawed = mf.fit_fold(changed, folded, 0, out=tmp_path / str(kept), pixels=pixels)
        backbone = mf.Bundle.read(thawed.bundle).build_model().get_layer("tiny")
        moved = {
            weight.name
            for layer, before in zip(backbone.layers, application.layers, strict=False)
            for weight, old in zip(layer.weights, before.get_weights(), strict=True)
            if not np.array_equal(weight.numpy(), old)
        }
        assert moved == {"kernel"} | moving


def test_the_top_stage_trains_the_upper_part_only():
    recipe = TINY.replace(stages=[{"trainable": "top", "top_share": 0.3}])
    model = build_model(recipe, MetadataEncoder().fit(mf_frame()))
    variables = set_trainable(model, recipe, recipe.stages[0])
    names = {variable.path for variable in variables}
    assert any("conv3" in name for name in names)
    assert not any("conv1" in name for name in names)


def mf_frame():
    return pd.DataFrame({"sex": ["male"], "age_approx": [40.0], "anatom_site_general_challenge": ["torso"]})


def test_a_multi_class_recipe_scores_melanoma(folded, pixels, tmp_path):
    classes = sorted(folded.frame["diagnosis"].unique())
    assert len(classes) == 3
    recipe = TINY.replace(classes=classes, loss="categorical", epochs=1)
    result = mf.fit_fold(recipe, folded, 1, out=tmp_path, pixels=pixels)
    frame = result.oof.frame
    np.testing.assert_allclose(frame[[f"score_{name}" for name in classes]].sum(axis=1), 1.0)
    np.testing.assert_array_equal(frame["score"], frame["score_melanoma"])


def test_a_temperature_softens_class_scores_and_changes_nothing_of_the_training(folded, pixels, tmp_path):
    classes = sorted(folded.frame["diagnosis"].unique())
    recipe = TINY.replace(classes=classes, loss="categorical", epochs=1, tta=1)
    plain, soft = (
        mf.fit_fold(recipe.replace(temperature=value), folded, 1, out=tmp_path / str(value), pixels=pixels)
        for value in (1.0, 3.0)
    )
    pd.testing.assert_frame_equal(plain.history, soft.history)
    columns = [f"score_{name}" for name in classes]
    wanted = plain.oof.frame[columns].to_numpy() ** (1 / 3)
    np.testing.assert_allclose(soft.oof.frame[columns], wanted / wanted.sum(axis=1, keepdims=True), atol=1e-6)
    record = folded.held_out(1)[1].select(plain.oof.frame["image_name"][:1])
    again = mf.Predictor(soft.bundle).predict(
        record.frame["path"].iloc[0],
        **{name: record.frame[name].iloc[0] for name in mf_frame() if pd.notna(record.frame[name].iloc[0])},
    )
    assert again.score == pytest.approx(soft.oof.frame["score"].iloc[0], abs=1e-6)


@pytest.mark.parametrize("changes", [{"loss": "focal"}, {"imbalance": "oversample"}, {"imbalance": "class_weight"}])
def test_losses_and_treatments_of_rare_positives_train(folded, pixels, tmp_path, changes):
    result = mf.fit_fold(TINY.replace(epochs=1, **changes), folded, 2, out=tmp_path, pixels=pixels)
    assert np.isfinite(result.history["loss"]).all()


def test_eight_views_are_averaged(folded, pixels, result):
    """A model that looks at one corner: view scores differ, and their mean does not change when the image is turned."""
    bundle = mf.Bundle.read(result.bundle)
    model, held_out = bundle.build_model(), folded.held_out(0)[1]
    options = {"encoder": bundle.encoder, "spec": bundle.spec, "pixels": pixels}
    one = predict_scores(model, bundle.recipe, held_out, **options)
    eight = predict_scores(model, bundle.recipe.replace(tta=8), held_out, **options)
    assert not np.allclose(one["score"], eight["score"], atol=1e-6)
    assert np.corrcoef(one["score"], eight["score"])[0, 1] > 0.9


def test_a_loss_that_is_not_finite_stops_with_advice(folded, pixels, tmp_path):
    stages = [{"epochs": 2, "learning_rate": 1e30, "schedule": "constant", "optimizer": "sgd"}]
    with pytest.raises(RunError, match="Lower the learning rate"):
        mf.fit_fold(TINY.replace(stages=stages), folded, 0, out=tmp_path, pixels=pixels)
    assert not (tmp_path / "metrics.json").exists()


def test_metrics_are_json_and_written_last(result):
    folder = result.bundle.parent
    assert json.loads((folder / "metrics.json").read_text())["auc"] == result.metrics["auc"]
    assert {p.name for p in folder.iterdir()} >= {"oof.csv", "history.csv", "metrics.json", "bundle"}


def test_tensorboard_logs_hold_the_exact_scores_on_request(folded, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = mf.get_recipe("metadata-tiny").replace(epochs=2, validation_fraction=0.25)
    result = mf.fit_fold(recipe, folded, 0, out=tmp_path, tensorboard=True)
    logs = EventAccumulator(str(tmp_path / "tensorboard" / "validation"))
    logs.Reload()
    values = [
        float(np.frombuffer(e.tensor_proto.tensor_content, "float32")[0])
        if e.tensor_proto.tensor_content
        else e.tensor_proto.float_val[0]
        for e in logs.Tensors("epoch_auc")
    ]
    np.testing.assert_allclose(values, result.history["val_auc"], rtol=1e-6)
