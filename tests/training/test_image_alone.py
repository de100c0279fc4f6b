"""Additive fusion: the image's part learns to do without metadata, which add to it where any are known."""

import keras
import numpy as np
import pandas as pd
import pytest

import melanomafusion as mf
from melanomafusion.recipes.stage import Stage
from melanomafusion.training.fit import build_model
from melanomafusion.training.image_alone import LossOfBoth, with_image_alone
from melanomafusion.training.predict import predict_scores

STAGES = (
    Stage(trainable="head", epochs=1, schedule="constant", early_stopping_patience=None, augmentation="none"),
    Stage(epochs=2, schedule="cosine", early_stopping_patience=None, backbone_learning_rate=1e-4),
)
TINY = mf.get_recipe("tiny").replace(
    stages=STAGES, tta=1, validation_fraction=0.0, ema=0.9, weights=None, freeze_batch_norm=False
)
FIELDS = ["sex", "age_approx", "anatom_site_general_challenge"]


def classes_of(data):
    return {"classes": sorted(data.frame["diagnosis"].unique()), "imbalance": "none"}


def without_metadata(data):
    blank = {name: pd.array([None] * len(data), dtype=data.frame[name].dtype) for name in FIELDS}
    return data.with_columns(**blank)


@pytest.mark.parametrize("kind", ["binary", "two logits", "categorical", "one_vs_rest"])
def test_without_metadata_it_is_the_image_only_model_to_the_last_bit(folded, tmp_path, kind):
    """Trained with the same seed: weights of the image's part, and scores of records whose every field is missing."""
    changes = {"binary": {}, "two logits": {"two_logits": True}}.get(kind, {"loss": kind, **classes_of(folded)})
    fused, image = (
        mf.fit_fold(TINY.replace(fusion=fusion, **changes), folded, 0, out=tmp_path / fusion)
        for fusion in ("additive", "image")
    )
    bundles = {"fused": mf.Bundle.read(fused.bundle), "image": mf.Bundle.read(image.bundle)}
    models = {name: bundle.build_model() for name, bundle in bundles.items()}
    for name in (TINY.backbone, "head"):
        for ours, theirs in zip(
            models["fused"].get_layer(name).get_weights(), models["image"].get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    held_out = folded.held_out(0)[1]
    blank, plain = (
        predict_scores(
            models[name], bundles[name].recipe, records, encoder=bundles[name].encoder, spec=bundles[name].spec
        )
        for name, records in (("fused", without_metadata(held_out)), ("image", held_out))
    )
    pd.testing.assert_frame_equal(blank, plain, check_exact=True)
    assert not np.allclose(fused.oof.scores, image.oof.scores, atol=1e-3)


def test_metadata_that_tell_are_learnt(folded, tmp_path):
    """On synthetic data both branches carry signal."""
    stages = (Stage(epochs=10, learning_rate=5e-3, schedule="cosine", early_stopping_patience=None),)
    recipe = TINY.replace(stages=stages, fusion="additive", ema=0.0)
    result = mf.fit_fold(recipe, folded, 0, out=tmp_path)
    bundle, held_out = mf.Bundle.read(result.bundle), folded.held_out(0)[1]
    blank = predict_scores(
        bundle.build_model(), recipe, without_metadata(held_out), encoder=bundle.encoder, spec=bundle.spec
    )
    assert mf.roc_auc(held_out.targets, result.oof.scores) > mf.roc_auc(held_out.targets, blank["score"]) + 0.02


@pytest.mark.parametrize(("fusion", "jointly"), [("additive", False), ("additive_joint", True)])
def test_the_image_learns_from_the_fused_loss_only_where_both_learn_jointly(folded, fusion, jointly):
    import tensorflow as tf

    encoder = mf.MetadataEncoder().fit(folded.frame)
    model = build_model(TINY.replace(fusion=fusion), encoder)
    added = model.get_layer("added_logits")
    added.kernel.assign(np.random.default_rng(0).normal(size=added.kernel.shape))
    trained = with_image_alone(model, fusion)
    inputs = {
        "image": np.random.default_rng(1).uniform(0, 255, (4, *model.input["image"].shape[1:])).astype("float32"),
        "metadata": encoder.transform(folded.frame.head(4)),
    }
    with tf.GradientTape(persistent=True) as tape:
        alone, fused = tf.split(trained(inputs), 2, axis=1)
    np.testing.assert_allclose(fused, model(inputs), atol=1e-6)
    named = {variable.path: variable for variable in model.trainable_variables}
    reached = [
        {path for path, value in zip(named, tape.gradient(part, list(named.values())), strict=True) if np.any(value)}
        for part in (alone, fused)
    ]
    metadata = {path for path in named if path.startswith(("metadata_dense", "added_logits"))}
    assert reached == [set(named) - metadata, set(named) if jointly else metadata]
    blank = {**inputs, "metadata": np.tile(encoder.missing_row(), (4, 1))}
    np.testing.assert_array_equal(model(blank), keras.Model(model.input, model.get_layer("head").output)(blank))


def test_jointly_trained_models_score_records_without_metadata_by_the_image_alone(folded, tmp_path):
    """And the image's part is another one than that of an image-only model of the same seed."""
    results = {
        fusion: mf.fit_fold(TINY.replace(fusion=fusion), folded, 0, out=tmp_path / fusion)
        for fusion in ("additive_joint", "image")
    }
    bundle, image = (mf.Bundle.read(result.bundle) for result in results.values())
    model, image_model = bundle.build_model(), image.build_model()
    head, other_head = model.get_layer("head"), image_model.get_layer("head")
    assert not np.allclose(head.kernel, other_head.kernel, atol=1e-5)
    inputs = {
        "image": np.random.default_rng(1).uniform(0, 255, (4, *model.input["image"].shape[1:])).astype("float32"),
        "metadata": np.tile(bundle.encoder.missing_row(), (4, 1)),
    }
    np.testing.assert_array_equal(model(inputs), keras.Model(model.input, head.output)(inputs))


def test_other_kinds_are_trained_as_they_are(folded):
    model = build_model(TINY, mf.MetadataEncoder().fit(folded.frame))
    assert with_image_alone(model, TINY.fusion) is model


def test_the_loss_is_that_of_both():
    y, both = np.eye(3, dtype="float32"), np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    expected = float(loss(y, both[:, :3])) + float(loss(y, both[:, 3:]))
    assert float(LossOfBoth(loss)(y, both)) == pytest.approx(expected, rel=1e-6)


def test_a_temperature_divides_both_parts(folded):
    encoder = mf.MetadataEncoder().fit(folded.frame)
    model = build_model(TINY.replace(fusion="additive"), encoder)
    model.get_layer("added_logits").kernel.assign(np.ones(model.get_layer("added_logits").kernel.shape))
    inputs = {
        "image": np.zeros((4, *model.input["image"].shape[1:]), "float32"),
        "metadata": encoder.transform(folded.frame.head(4)),
    }
    before = np.asarray(model(inputs))
    mf.models.fusion_model.divide_logits(model, 2.0)
    np.testing.assert_allclose(model(inputs), before / 2, atol=1e-6)
