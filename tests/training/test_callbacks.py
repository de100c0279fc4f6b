"""Learning rates, plateaus and stopping, checked against what they must do."""

import keras
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from melanomafusion.recipes.stage import Stage
from melanomafusion.training.callbacks import MODES, BestEpoch, SeenScores, WarmupCosine
from melanomafusion.training.optimizers import build_optimizer
from melanomafusion.training.stages import schedule_callbacks


class Model:
    """What the callbacks need of a model."""

    def __init__(self, rate=1.0):
        self.optimizer = keras.optimizers.SGD(rate)
        self.stop_training = False
        self.weights = [np.zeros(1)]

    def get_weights(self):
        return [w.copy() for w in self.weights]

    def set_weights(self, weights):
        self.weights = weights


def rate_of(model):
    return float(model.optimizer.learning_rate.numpy())


def test_warm_up_rises_to_the_peak_and_the_cosine_ends_near_zero():
    callback = WarmupCosine(0.1, steps=100, warmup_steps=10)
    callback.set_model(model := Model())
    rates = []
    for batch in range(100):
        callback.on_train_batch_begin(batch)
        rates.append(rate_of(model))
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(0.1)
    assert rates[9] == pytest.approx(0.1)
    assert all(np.diff(rates[10:]) < 0)
    assert rates[-1] < 0.0001
    assert rates[55] == pytest.approx(0.05)


@pytest.mark.parametrize(("monitor", "worse"), [("val_auc", 0.1), ("val_loss", 9.0)])
def test_a_plateau_cuts_the_rate_and_then_stops(monitor, worse):
    stage = Stage(plateau_factor=0.1, plateau_patience=2, early_stopping_patience=3)
    plateau, stopping = schedule_callbacks(stage, monitor, steps=5)
    model = Model(rate=1.0)
    for callback in (plateau, stopping):
        callback.set_model(model)
        callback.on_train_begin()
    for epoch, value in enumerate([0.5, worse, worse, worse]):
        for callback in (plateau, stopping):
            callback.on_epoch_end(epoch, {monitor: value, "learning_rate": 1.0})
    assert rate_of(model) == pytest.approx(0.1)
    assert model.stop_training


@pytest.mark.parametrize(("min_delta", "stops"), [(0.0, False), (0.005, False), (0.02, True)])
def test_a_gain_smaller_than_the_least_is_no_improvement_to_early_stopping(min_delta, stops):
    stage = Stage(schedule="constant", early_stopping_patience=2, early_stopping_min_delta=min_delta)
    (stopping,) = schedule_callbacks(stage, "val_auc", steps=5)
    stopping.set_model(model := Model())
    stopping.on_train_begin()
    for epoch, value in enumerate([0.80, 0.81, 0.82]):
        stopping.on_epoch_end(epoch, {"val_auc": value})
    assert model.stop_training is stops


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ({"schedule": "constant", "early_stopping_patience": None}, []),
        ({"schedule": "cosine", "early_stopping_patience": None}, ["WarmupCosine"]),
        ({"schedule": "plateau"}, ["ReduceLROnPlateau", "EarlyStopping"]),
        ({"schedule": "constant", "early_stopping_patience": 0}, ["EarlyStopping"]),
    ],
)
def test_a_stage_has_the_callbacks_it_names(fields, kinds):
    assert [type(c).__name__ for c in schedule_callbacks(Stage(**fields), "val_auc", steps=5)] == kinds


def test_every_monitor_of_a_recipe_has_a_direction():
    import typing

    from melanomafusion.recipes.recipe import Monitor

    assert set(typing.get_args(Monitor)) == set(MODES)


def test_the_best_epoch_is_remembered_over_stages():
    best, model = BestEpoch("val_auc"), Model()
    best.set_model(model)
    for epoch, value in enumerate([0.6, 0.9, 0.7]):
        model.weights = [np.array([float(epoch)])]
        best.on_epoch_end(epoch, {"val_auc": value})
    best.restore(model)
    assert best.epoch == 2
    assert model.weights[0][0] == 1.0


def test_the_weights_of_the_whole_model_are_remembered_where_a_part_of_it_is_trained():
    part, whole = Model(), Model()
    best = BestEpoch("val_auc", whole)
    best.set_model(part)
    for epoch, value in enumerate([0.6, 0.9, 0.7]):
        part.weights, whole.weights = [np.zeros(1)], [np.array([5.0, float(epoch)])]
        best.on_epoch_end(epoch, {"val_auc": value})
    best.restore(whole)
    assert list(whole.weights[0]) == [5.0, 1.0]
    assert list(part.weights[0]) == [0.0]


def test_scores_seen_in_training_are_exact():
    """Where Keras's AUC bins 200 thresholds."""
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(-6, 0.3, (100, 1)).astype("float32"), (rng.random((100, 1)) < 0.2).astype("float32")
    seen = SeenScores(4, 32, 1)
    for start in range(0, 100, 32):
        seen.update_state(labels[start : start + 32], logits[start : start + 32])
    got_logits, got_labels = seen.seen()
    np.testing.assert_array_equal(got_logits, logits)
    np.testing.assert_array_equal(got_labels, labels)
    binned = keras.metrics.AUC()
    binned.update_state(labels, keras.ops.sigmoid(logits))
    exact = roc_auc_score(labels[:, 0], got_logits[:, 0])
    assert abs(float(binned.result()) - exact) > 1e-3


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
def test_the_backbone_steps_by_its_own_rate(optimizer):
    head = keras.Variable(np.ones(3, "float32"))
    backbone = keras.Variable(np.ones(3, "float32"))
    stage = Stage(optimizer=optimizer, learning_rate=0.1, backbone_learning_rate=0.01)
    built = build_optimizer(stage, [backbone])
    gradient = np.full(3, 0.5, "float32")
    built.apply([keras.ops.convert_to_tensor(gradient)] * 2, [head, backbone])
    moved = [1.0 - v.numpy()[0] for v in (head, backbone)]
    assert moved[0] > 0
    assert moved[1] == pytest.approx(moved[0] / 10, rel=1e-3)
