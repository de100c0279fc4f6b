"""Without a validation split all training records are learnt from; without stages nothing is learnt."""

import json

import numpy as np
import pandas as pd
import pytest

import melanomafusion as mf
from melanomafusion.data.metadata import MetadataEncoder
from melanomafusion.errors import RunError
from melanomafusion.training.callbacks import LAST_EPOCH, BestEpoch
from melanomafusion.training.checks import inner_split
from melanomafusion.training.devices import set_up_keras
from melanomafusion.training.fit import build_model
from melanomafusion.training.predict import predict_scores

STAGES = [
    {"epochs": 2, "learning_rate": 3e-3, "schedule": "constant", "early_stopping_patience": None},
    {"epochs": 1, "learning_rate": 1e-3, "schedule": "cosine", "early_stopping_patience": None},
]
BASE = mf.get_recipe("metadata-tiny").replace(name="test", batch_size=32)
LAST = BASE.replace(validation_fraction=0, stages=STAGES)
UNTRAINED = BASE.replace(stages=[])


@pytest.fixture(scope="module")
def last(folded, tmp_path_factory):
    """A fold trained without a validation split, and the weights behind each epoch."""
    after, keep = [], BestEpoch.on_epoch_end

    def on_epoch_end(self, epoch, logs=None):
        keep(self, epoch, logs)
        after.append(self.whole.get_weights())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BestEpoch, "on_epoch_end", on_epoch_end)
        events = []
        result = mf.fit_fold(LAST, folded, 0, out=tmp_path_factory.mktemp("last"), on_event=events.append)
    return result, after, events


def test_all_training_records_are_learnt_from(last, folded):
    result, _, _ = last
    train, held_out = folded.held_out(0)
    fit, validation = inner_split(LAST, train)
    assert list(fit.image_names) == list(train.image_names)
    assert validation is None
    counts = [result.metrics[f"{word}_records"] for word in ("train", "validation", "held_out")]
    assert counts == [len(train), 0, len(held_out)]
    assert mf.Bundle.read(result.bundle).encoder.to_json() == MetadataEncoder().fit(train.frame).to_json()


def test_history_has_no_validation_columns(last):
    result, _, _ = last
    read = pd.read_csv(result.bundle.parent / "history.csv")
    assert len(read) == 3
    assert read["stage"].tolist() == [1, 1, 2]
    assert not [name for name in read if name.startswith("val_")]
    assert {"loss", "auc", "average_precision", "accuracy", "learning_rate"} <= set(read)


def test_the_last_epoch_counts(last):
    result, after, _ = last
    assert len(after) == 3
    kept = mf.Bundle.read(result.bundle).build_model().get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(kept, after[-1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(after[-2], after[-1], strict=True))


def test_metrics_say_that_the_last_epoch_counts(last):
    result, _, _ = last
    metrics = json.loads((result.bundle.parent / "metrics.json").read_text())
    assert (metrics["best_epoch"], metrics["monitor"], metrics["monitor_value"]) == (3, "last epoch", None)


def test_events_of_epochs_have_no_validation_figures(last):
    _, _, events = last
    epochs = [event for event in events if event["kind"] == "epoch"]
    assert [event["epoch"] for event in epochs] == [1, 2, 3]
    assert not [key for event in epochs for key in event if key.startswith("val_")]


def test_progress_can_be_shown(folded, tmp_path, capsys):
    mf.fit_fold(LAST.replace(epochs=1), folded, 0, out=tmp_path)
    assert "validation AUC" not in capsys.readouterr().out


def test_held_out_truth_changes_nothing(last, folded, tmp_path):
    result, _, _ = last
    frame = folded.frame
    turned = folded.with_columns(target=frame["target"].where(frame["fold"] != 0, 1 - frame["target"]))
    other = mf.fit_fold(LAST, turned, 0, out=tmp_path, on_event=lambda event: None)
    np.testing.assert_array_equal(other.oof.scores, result.oof.scores)


def test_a_run_of_all_folds_without_validation_is_collected(folded, tmp_path, in_this_process):
    cv = mf.cross_validate(LAST.replace(epochs=1), folded, out=tmp_path / "run", on_event=lambda event: None)
    assert len(cv.oof) == len(folded)
    history = pd.read_csv(cv.path / "history.csv")
    assert history.groupby("fold").size().tolist() == [2, 2, 2]
    assert (cv.path / "report" / "history.png").stat().st_size > 5000


def test_a_class_without_a_record_to_train_on_is_refused_without_a_validation_split_too(folded):
    recipe = LAST.replace(classes=["melanoma", "nevus", "unknown", "BCC"], loss="categorical")
    with pytest.raises(RunError, match="Class BCC has no record to train on"):
        inner_split(recipe, folded.held_out(0)[0])


@pytest.mark.parametrize("epochs", [1, 4])
def test_the_best_of_unwatched_epochs_is_the_last(epochs):
    class Model:
        def get_weights(self):
            return [np.array(self.epoch)]

        def set_weights(self, weights):
            self.kept = int(weights[0])

    model = Model()
    best = BestEpoch(LAST_EPOCH)
    best.set_model(model)
    for model.epoch in range(epochs):
        best.on_epoch_end(model.epoch, {"val_auc": 1.0 - model.epoch})
    best.restore(model)
    assert (model.kept, best.epoch, best.best_value) == (epochs - 1, epochs, None)


# --- no stages --------------------------------------------------------------------------------------------------------


def test_without_stages_the_model_is_scored_as_built(folded, tmp_path):
    events = []
    result = mf.fit_fold(UNTRAINED, folded, 1, out=tmp_path, on_event=events.append)
    fit, validation = inner_split(UNTRAINED, folded.held_out(1)[0])
    encoder = MetadataEncoder().fit(fit.frame)
    set_up_keras(UNTRAINED, 1)
    built = build_model(UNTRAINED, encoder)
    expected = predict_scores(built, UNTRAINED, folded.held_out(1)[1], encoder=encoder, spec=None)
    np.testing.assert_array_equal(result.oof.scores, expected["score"])
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["best_epoch"], metrics["monitor_value"]) == (0, None)
    assert (metrics["train_records"], metrics["validation_records"]) == (len(fit), len(validation))
    assert not [event for event in events if event["kind"] == "epoch"]
    table = pd.read_csv(tmp_path / "history.csv")
    assert len(table) == 0
    assert "fold" in table


def test_a_run_without_stages_is_collected_and_read_again(folded, tmp_path, in_this_process):
    cv = mf.cross_validate(UNTRAINED, folded, out=tmp_path / "run", on_event=lambda event: None)
    assert len(cv.oof) == len(folded)
    assert len(pd.read_csv(cv.path / "history.csv")) == 0
    again = mf.cross_validate(UNTRAINED, folded, out=tmp_path / "run", on_event=lambda event: None)
    np.testing.assert_array_equal(again.oof.scores, cv.oof.scores)


def test_an_untrained_head_tells_nothing_about_noise(tmp_path):
    """Balanced targets drawn without regard to the metadata: AUC 0.5 but for chance (deviation 0.013 of 2,000)."""
    from melanomafusion.data.dataset import Dataset
    from melanomafusion.testing import make_records

    rng = np.random.default_rng(0)
    frame = make_records(400, rng=rng)[0].head(2000)
    frame = frame.assign(target=rng.permutation(np.arange(len(frame)) % 2), source="noise", path=None, lesion_id=None)
    data = mf.assign_folds(Dataset(frame.astype({"target": "Int8"})), 2)
    result = mf.fit_fold(UNTRAINED, data, 0, out=tmp_path, on_event=lambda event: None)
    assert result.metrics["auc"] == pytest.approx(0.5, abs=0.07)
