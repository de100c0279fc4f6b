"""Weights averaged over steps: equal to an average kept by hand, and training itself is not touched."""

import numpy as np
import pytest

import melanomafusion as mf
from melanomafusion.data.metadata import MetadataEncoder
from melanomafusion.images.pixels import decode_images, open_pixels
from melanomafusion.training.callbacks import AveragedWeights, BatchProgress, BestEpoch
from melanomafusion.training.devices import set_up_keras
from melanomafusion.training.fit import build_model
from melanomafusion.training.stages import train_stages

EMA = 0.8
STAGE = {"epochs": 3, "learning_rate": 4e-3, "schedule": "cosine", "early_stopping_patience": None}
HEAD = {**STAGE, "trainable": "head", "augmentation": "none", "schedule": "constant"}
METADATA = mf.get_recipe("metadata-tiny").replace(name="test", batch_size=64, validation_fraction=0, stages=[STAGE])
IMAGE = mf.get_recipe("image-tiny").replace(name="test", batch_size=64, validation_fraction=0, tta=1, stages=[HEAD])


@pytest.fixture(scope="module")
def pixels(folded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pixels")
    assert decode_images(folded, mf.ImageSpec(32), folder) == {}
    return open_pixels(folded, mf.ImageSpec(32), folder)


class Recorded:
    """Trainable weights behind each step, and all weights that are shown at the end of each epoch."""

    def __init__(self, recipe, data, folder, pixels=None):
        self.steps, self.shown = [], []
        steps, shown = self.steps, self.shown
        keep_batch, keep_epoch = BatchProgress.on_train_batch_end, BestEpoch.on_epoch_end

        def on_train_batch_end(callback, batch, logs=None):
            keep_batch(callback, batch, logs)
            model = callback.model
            steps.append((model.optimizer, [np.array(v) for v in model.trainable_variables]))

        def on_epoch_end(callback, epoch, logs=None):
            keep_epoch(callback, epoch, logs)
            shown.append((len(steps), [np.array(v) for v in callback.model.trainable_variables]))

        set_up_keras(recipe, 3)
        encoder = MetadataEncoder().fit(data.frame) if recipe.uses_metadata else None
        self.model = build_model(recipe, encoder)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(BatchProgress, "on_train_batch_end", on_train_batch_end)
            patch.setattr(BestEpoch, "on_epoch_end", on_epoch_end)
            self.history, self.best = train_stages(
                self.model,
                recipe,
                data,
                data if recipe.validation_fraction else None,
                encoder=encoder,
                spec=mf.ImageSpec(32) if recipe.uses_images else None,
                pixels=pixels,
                features=folder,
                seed=3,
                report=lambda event: None,
                tensorboard=None,
            )

    def averages(self, momentum, every):
        """By hand, for each optimizer (stage) anew: what is taken in first as it is, then with the weight of the steps
        since the last; taken in are the first step, every tenth one, the last of an epoch."""
        found, average, optimizer, since = [], None, None, 0
        ends = {steps for steps, _ in self.shown}
        for step, (own, weights) in enumerate(self.steps, start=1):
            if own is not optimizer:
                optimizer, average, since = own, None, 0
            since += 1
            if average is None or since == every or step in ends:
                stays = 0 if average is None else momentum**since
                average = [
                    w if stays == 0 else stays * a + (1 - stays) * w
                    for a, w in zip(average or weights, weights, strict=True)
                ]
                since = 0
            found.append(average)
        return found


def close(a, b, atol=0.0):
    return all(np.allclose(x, y, rtol=0, atol=atol) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("kind", ["metadata", "features", "two stages"])
@pytest.mark.parametrize("every", [1, 3, 10])
def test_epochs_show_the_average_of_the_weights_over_steps(folded, pixels, tmp_path, kind, every, monkeypatch):
    monkeypatch.setattr(AveragedWeights, "EVERY", every)
    recipe = {
        "metadata": METADATA,
        "features": IMAGE,
        "two stages": IMAGE.replace(stages=[{**HEAD, "epochs": 2}, {**STAGE, "epochs": 2}], augmentation="none"),
    }[kind].replace(ema=EMA)
    run = Recorded(recipe, folded, tmp_path, pixels if recipe.uses_images else None)
    averages = run.averages(EMA, every)
    assert len(run.shown) == recipe.epochs
    for steps, weights in run.shown:
        assert close(weights, averages[steps - 1], atol=1e-6)
        assert not close(weights, run.steps[steps - 1][1], atol=1e-5)  # not the last step's own


@pytest.mark.parametrize("recipe", [METADATA, IMAGE], ids=["metadata", "features"])
def test_the_way_of_training_is_the_same_to_the_last_bit(folded, pixels, tmp_path, recipe):
    images = pixels if recipe.uses_images else None
    plain = Recorded(recipe, folded, tmp_path, images)
    averaged = Recorded(recipe.replace(ema=EMA), folded, tmp_path, images)
    assert len(plain.steps) == len(averaged.steps) > recipe.epochs
    for (_, mine), (_, other) in zip(plain.steps, averaged.steps, strict=True):
        assert close(mine, other)
    assert [row["loss"] for row in plain.history] == [row["loss"] for row in averaged.history]


def test_training_ends_with_the_average(folded, tmp_path):
    run = Recorded(METADATA.replace(ema=EMA), folded, tmp_path)
    assert close(run.model.get_weights(), run.averages(EMA, AveragedWeights.EVERY)[-1], atol=1e-6)


def test_validation_is_scored_with_the_average(folded, tmp_path):
    """The best epoch's average is what training gives, and it scores as the history says."""
    from melanomafusion.images.pipeline import inference_pipeline
    from melanomafusion.training.compiled import build_loss

    recipe = METADATA.replace(ema=EMA, validation_fraction=0.2, monitor="val_loss")
    run = Recorded(recipe, folded, tmp_path)
    encoder = MetadataEncoder().fit(folded.frame)
    logits = run.model.predict(inference_pipeline(folded, encoder, None), verbose=0)
    loss = float(build_loss(recipe)(folded.targets[:, None].astype("float32"), logits))
    assert loss == pytest.approx(run.history[run.best.epoch - 1]["val_loss"], abs=1e-6)
    assert run.best.best_value == pytest.approx(loss, abs=1e-6)


def test_the_second_stage_starts_from_the_average_of_the_first(folded, pixels, tmp_path):
    """A second stage that hardly moves: its average is that of the first stage's last epoch."""
    still = {**STAGE, "epochs": 1, "learning_rate": 1e-12, "schedule": "constant", "optimizer": "sgd"}
    run = Recorded(METADATA.replace(ema=EMA, stages=[STAGE, still]), folded, tmp_path)
    (_, first), (_, second) = run.shown[-2:]
    assert close(first, second, atol=1e-7)


def test_without_averaging_no_copy_of_the_weights_is_kept(folded, tmp_path, monkeypatch):
    monkeypatch.setattr(AveragedWeights, "__init__", lambda *args: pytest.fail("averaged"))
    Recorded(METADATA.replace(epochs=1), folded, tmp_path)


def test_the_bundle_holds_the_average(folded, tmp_path):
    result = mf.fit_fold(METADATA.replace(ema=EMA), folded, 0, out=tmp_path, on_event=lambda event: None)
    plain = mf.fit_fold(METADATA, folded, 0, out=tmp_path / "plain", on_event=lambda event: None)
    weights = [mf.Bundle.read(r.bundle).build_model().get_weights() for r in (result, plain)]
    assert not close(*weights, atol=1e-5)
    assert mf.Bundle.read(result.bundle).recipe.ema == EMA
