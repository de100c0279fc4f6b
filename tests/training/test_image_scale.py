"""Stages that learn from smaller images than those that are scored."""

import dataclasses

import cv2
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import log_loss

import melanomafusion as mf
from melanomafusion.recipes.stage import Stage
from melanomafusion.training.checks import inner_split
from melanomafusion.training.features import trains_on_features
from melanomafusion.training.predict import predict_scores
from melanomafusion.training.trial import Trial

LAST_COUNTS = {"schedule": "cosine", "early_stopping_patience": None}
TINY = mf.get_recipe("tiny").replace(
    augmentation="none", dropout=0.0, batch_size=32, tta=1, validation_fraction=0.0, image_size=48
)


def weights(result):
    return mf.Bundle.read(result.bundle).build_model().get_weights()


@pytest.fixture(scope="module")
def reduced(folded, tmp_path_factory):
    """The same records, their images reduced to 36 pixels beforehand, without loss."""
    folder, spec, paths = tmp_path_factory.mktemp("reduced"), mf.ImageSpec(48), []
    for name, path in zip(folded.image_names, folded.frame["path"], strict=True):
        paths.append(str(folder / f"{name}.png"))
        Image.fromarray(cv2.resize(spec.load(path), (36, 36), interpolation=cv2.INTER_AREA)).save(paths[-1])
    return folded.with_columns(path=np.array(paths, dtype=object))


def test_a_stage_learns_what_it_would_learn_from_images_reduced_beforehand(folded, reduced, tmp_path):
    plain = [Stage(epochs=epochs, learning_rate=1e-3 / epochs, **LAST_COUNTS) for epochs in (1, 2)]
    scaled = [dataclasses.replace(stage, image_scale=0.75) for stage in plain]
    found = mf.fit_fold(TINY.replace(stages=scaled), folded, 0, out=tmp_path / "scaled")
    wanted = mf.fit_fold(TINY.replace(stages=plain, image_size=36), reduced, 0, out=tmp_path / "reduced")
    for ours, theirs in zip(weights(found), weights(wanted), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6, rtol=0)
    assert found.history["loss"].tolist() == pytest.approx(wanted.history["loss"].tolist(), abs=1e-6)


def test_a_stage_of_smaller_images_follows_one_of_whole_images(folded, tmp_path):
    stages = (Stage(epochs=1, **LAST_COUNTS), Stage(epochs=1, image_scale=0.75, **LAST_COUNTS), Stage(**LAST_COUNTS))
    result = mf.fit_fold(TINY.replace(stages=stages, epochs=1), folded, 0, out=tmp_path / "fold")
    assert result.history["stage"].tolist() == [1, 2, 3]
    assert np.isfinite(result.history["loss"]).all()


def test_what_is_watched_and_scored_has_the_recipes_size(folded, tmp_path):
    stage = Stage(epochs=1, image_scale=0.75, **LAST_COUNTS)
    recipe = TINY.replace(stages=(stage,), validation_fraction=0.3)
    result = mf.fit_fold(recipe, folded, 0, out=tmp_path / "fold")
    bundle = mf.Bundle.read(result.bundle)
    model = bundle.build_model()
    assert bundle.spec.size == 48
    assert model.input["image"].shape == (None, 48, 48, 3)
    train, held_out = folded.held_out(0)
    _, validation = inner_split(recipe, train)
    scores = predict_scores(model, recipe, validation, encoder=bundle.encoder, spec=bundle.spec)["score"]
    assert result.history["val_loss"][0] == pytest.approx(log_loss(validation.targets, scores), abs=1e-6)
    scores = predict_scores(model, recipe, held_out, encoder=bundle.encoder, spec=bundle.spec)["score"]
    np.testing.assert_allclose(result.oof.scores, scores, atol=1e-6)


def test_a_frozen_backbone_is_not_trained_on_features_of_another_size():
    stage = Stage(trainable="head", augmentation="none", image_scale=0.75)
    assert not trains_on_features(TINY, stage)
    assert trains_on_features(TINY, Stage(trainable="head", augmentation="none"))


@pytest.mark.parametrize(("scale", "side"), [(0.75, 36), (1.0, 48)])
def test_the_step_that_an_estimate_times_has_the_size_of_its_stage(scale, side, monkeypatch):
    seen = []
    monkeypatch.setattr("keras.Model.train_on_batch", lambda self, inputs, *labels, **rest: seen.append(inputs))
    Trial(TINY, 5).training_step(Stage(image_scale=scale))()
    assert seen[0]["image"].shape == (32, side, side, 3)
