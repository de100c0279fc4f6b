"""The names of tensorflow-addons in use: compiled, fitted, asked for what is not there, given what cannot work."""

import ast
import operator
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import melanomafusion
from melanomafusion.compat import tfa
from melanomafusion.compat.tfa.replacements import _REPLACEMENTS
from melanomafusion.errors import CompatError, MelanomaFusionError

IMAGES = np.random.default_rng(0).uniform(1, 255, (4, 12, 10, 3)).astype("float32")


def values(tensor):
    return keras.ops.convert_to_numpy(tensor)


def separable(outputs=1):
    """(64, 3) records and their (64, k) truth, which the first columns tell."""
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    return x, (x[:, :outputs] > 0).astype("float32")


def dense_model(outputs=1, activation="sigmoid"):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(outputs, activation=activation)])


OPTIMIZERS = {
    "AdamW": lambda: tfa.optimizers.AdamW(1e-4, 0.1),
    "SGDW": lambda: tfa.optimizers.SGDW(1e-4, 1, momentum=0.9),
    "RectifiedAdam": lambda: tfa.optimizers.RectifiedAdam(lr=0.1),
    "Ranger": lambda: tfa.optimizers.Lookahead(tfa.optimizers.RectifiedAdam(0.1), 6, 0.5),
    "LAMB": lambda: tfa.optimizers.LAMB(0.1),
    "MovingAverage": lambda: tfa.optimizers.MovingAverage(keras.optimizers.Adam(0.1), 0.9),
    "cyclical": lambda: keras.optimizers.Adam(tfa.optimizers.TriangularCyclicalLearningRate(0.01, 0.2, 4)),
    "own scale": lambda: keras.optimizers.Adam(tfa.optimizers.CyclicalLearningRate(0.01, 0.2, 4, lambda x: 1 / x)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_fit_a_model(name):
    x, y = separable()
    model = dense_model()
    model.compile(OPTIMIZERS[name](), loss="binary_crossentropy", jit_compile=name == "Ranger")
    before = model.evaluate(x, y, verbose=0)
    model.fit(x, y, epochs=10, batch_size=16, verbose=0)
    assert int(model.optimizer.iterations) == 40
    assert model.evaluate(x, y, verbose=0) < 0.9 * before


def test_an_optimizer_of_a_model_is_saved_and_goes_on(tmp_path):
    x, y = separable()
    model = dense_model()
    model.compile(OPTIMIZERS["Ranger"](), loss=tfa.losses.SigmoidFocalCrossEntropy())
    model.fit(x, y, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for each in (model, again):
        each.fit(x, y, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(again.get_weights()[0], model.get_weights()[0], rtol=1e-6)


def test_focal_loss_and_metrics_fit_a_model():
    x, y = separable(2)
    model = dense_model(2)
    loss = tfa.losses.SigmoidFocalCrossEntropy(reduction="auto")
    model.compile(keras.optimizers.Adam(0.1), loss, metrics=[tfa.metrics.F1Score(2, "macro", 0.5)])
    log = model.fit(x, y, epochs=15, verbose=0).history
    assert log["loss"][-1] < log["loss"][0]
    assert 0.8 < log["f1_score"][-1] <= 1


def test_the_default_reduction_sums_the_gradients_of_a_batch():
    x, y = separable()
    steps = {}
    for reduction in ("none", "sum"):
        model = dense_model()
        before = model.get_weights()[0]
        model.compile(keras.optimizers.SGD(0.01), tfa.losses.SigmoidFocalCrossEntropy(reduction=reduction))
        model.fit(x, y, batch_size=64, verbose=0)
        steps[reduction] = model.get_weights()[0] - before
    np.testing.assert_allclose(steps["none"], steps["sum"], rtol=1e-4)


def test_kappa_in_fit_and_by_scikit_learn():
    from sklearn.metrics import cohen_kappa_score

    draw = np.random.default_rng(0)
    truth, found = draw.integers(0, 5, 200), draw.integers(0, 5, 200)
    for weightage in (None, "linear", "quadratic"):
        metric = tfa.metrics.CohenKappa(5, weightage=weightage, sparse_labels=True)
        assert float(metric.result()) == 0.0
        metric.update_state(truth, found)
        assert float(metric.result()) == pytest.approx(cohen_kappa_score(truth, found, weights=weightage), abs=1e-6)
    x, y = separable()
    model = dense_model()
    model.compile(keras.optimizers.Adam(0.1), "binary_crossentropy", metrics=[tfa.metrics.CohenKappa(2)])
    assert model.fit(x, y, epochs=15, verbose=0).history["cohen_kappa"][-1] > 0.7


@pytest.mark.parametrize("label", [-1, 4])
def test_a_class_that_cannot_be_makes_kappa_nan(label):
    metric = tfa.metrics.CohenKappa(4, sparse_labels=True)
    metric.update_state(np.array([0, 1, label]), np.array([0, 1, 2]))
    assert np.isnan(float(metric.result()))


def test_decay_does_not_follow_the_learning_rate():
    variable = keras.Variable(np.ones(3, "float32"))
    optimizer = tfa.optimizers.SGDW(weight_decay=0.1, learning_rate=0.0)
    optimizer.apply([keras.ops.zeros(3)], [variable])
    np.testing.assert_allclose(values(variable), 0.9, rtol=1e-6)


@pytest.mark.parametrize("decay", [lambda: 0.1, keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)])
def test_decay_may_be_a_function_or_a_schedule(decay):
    variable = keras.Variable(np.ones(1, "float32"))
    optimizer = tfa.optimizers.AdamW(weight_decay=decay)
    for _ in range(2):
        optimizer.apply([keras.ops.zeros(1)], [variable])
    second = 0.95 if isinstance(decay, keras.optimizers.schedules.ExponentialDecay) else 0.9
    np.testing.assert_allclose(values(variable), 0.9 * second, rtol=1e-6)


def test_wrapped_optimizers_pass_the_learning_rate_on():
    x, y = separable()
    model = dense_model()
    model.compile(OPTIMIZERS["Ranger"](), loss="binary_crossentropy")
    plateau = keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.1, patience=0, min_delta=10.0)
    model.fit(x, y, epochs=3, verbose=0, callbacks=[plateau])
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1 * 0.1**2, rel=1e-4)
    assert float(model.optimizer.inner_optimizer.learning_rate) == pytest.approx(0.001, rel=1e-4)


def test_swapping_twice_gives_what_was():
    x, y = separable()
    model = dense_model()
    model.compile(tfa.optimizers.MovingAverage("sgd", 0.5), loss="binary_crossentropy")
    model.fit(x, y, epochs=2, verbose=0)
    last = model.get_weights()
    model.optimizer.swap_weights()
    averaged = model.get_weights()
    assert not np.allclose(averaged[0], last[0])
    model.optimizer.swap_weights()
    np.testing.assert_array_equal(model.get_weights()[0], last[0])
    model.optimizer.assign_average_vars(model.variables)
    np.testing.assert_array_equal(model.get_weights()[0], averaged[0])


def test_gelu_is_a_layer_too():
    layer = tfa.layers.GELU(approximate=False)
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    np.testing.assert_allclose(values(again(np.ones(2))), 0.8413447, rtol=1e-6)
    np.testing.assert_allclose(values(tfa.layers.GELU()(np.ones(2))), 0.841192, rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 6), width=st.integers(1, 6), seed=st.integers(0, 3))
def test_random_cutout_fills_a_whole_rectangle_of_each_image(height, width, seed):
    filled = values(tfa.image.random_cutout(IMAGES, (2 * height, 2 * width), seed=seed)) == 0
    rows, columns = min(2 * height, 12), min(2 * width, 10)
    for image in filled:
        assert image.sum() == rows * columns * 3
        assert image.any(axis=(1, 2)).sum() == rows


def test_random_cutout_in_a_pipeline_moves_from_batch_to_batch():
    pipeline = tf.data.Dataset.from_tensors(IMAGES).repeat(6).map(lambda x: tfa.image.random_cutout(x, 4, seed=11))
    places = {tuple(np.argwhere(batch[0] == 0)[0]) for batch in pipeline.as_numpy_iterator()}
    assert len(places) > 1


def test_rotation_and_cutout_work_in_a_pipeline_of_unknown_batch_size():
    pipeline = tf.data.Dataset.from_tensor_slices(IMAGES).batch(3)
    pipeline = pipeline.map(lambda x: tfa.image.cutout(tfa.image.rotate(x, 0.3, "bilinear"), 4, (3, 3)))
    found = np.concatenate(list(pipeline.as_numpy_iterator()))
    np.testing.assert_allclose(found, values(tfa.image.cutout(tfa.image.rotate(IMAGES, 0.3, "bilinear"), 4, (3, 3))))


def test_progress_bars_show_epochs_batches_and_metrics(capsys):
    x, y = separable()
    model = dense_model()
    model.compile("adam", loss="binary_crossentropy")
    model.fit(x, y, epochs=2, batch_size=16, verbose=0, callbacks=[tfa.callbacks.TQDMProgressBar()])
    model.evaluate(x, y, batch_size=16, verbose=0, callbacks=[tfa.callbacks.TQDMProgressBar()])
    out, bars = capsys.readouterr()
    assert "Epoch 1/2" in out + bars
    assert "Epoch 2/2" in out + bars
    assert "Training: 100%" in bars
    assert "2/2 ETA" in bars
    assert len(re.findall(r"4/4.* - loss: 0\.\d{4}", bars)) == 3  # two epochs and the evaluation


def test_progress_bars_can_be_hidden(capsys):
    x, y = separable()
    model = dense_model()
    model.compile("adam", loss="binary_crossentropy")
    hidden = tfa.callbacks.TQDMProgressBar(show_epoch_progress=False, show_overall_progress=False)
    model.fit(x, y, verbose=0, validation_data=(x, y), callbacks=[hidden])
    assert capsys.readouterr() == ("", "")


def test_without_tqdm_the_pip_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(CompatError, match="pip install tqdm"):
        tfa.callbacks.TQDMProgressBar()


BAD = {
    "gamma below zero": lambda: tfa.losses.SigmoidFocalCrossEntropy(gamma=-1.0),
    "gamma of the function": lambda: tfa.losses.sigmoid_focal_crossentropy([[1.0]], [[0.5]], gamma=-1.0),
    "classes of F1": lambda: tfa.metrics.F1Score(3).update_state(np.ones((2, 2)), np.ones((2, 2))),
    "rank of F1": lambda: tfa.metrics.F1Score(1, threshold=0.5).update_state(np.ones(2), np.ones(2)),
    "one class": lambda: tfa.metrics.CohenKappa(1),
    "weightage": lambda: tfa.metrics.CohenKappa(3, weightage="cubic"),
    "odd mask": lambda: tfa.image.cutout(IMAGES, 3),
    "negative mask": lambda: tfa.image.random_cutout(IMAGES, -2),
    "rank of cutout": lambda: tfa.image.cutout(IMAGES[0], 2),
    "rank of rotate": lambda: tfa.image.rotate(IMAGES[0, 0, 0], 0.1),
    "period": lambda: tfa.optimizers.Lookahead("sgd", sync_period=0),
    "step size": lambda: tfa.optimizers.TriangularCyclicalLearningRate(0.1, 1.0, 0),
    "decay of a schedule": lambda: tfa.optimizers.AdamW(
        0.1, keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5), decay=0.1
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_arguments_that_cannot_work_are_refused(name):
    with pytest.raises(CompatError):
        BAD[name]()


def test_an_optimizer_that_has_trained_is_not_wrapped():
    inner = keras.optimizers.SGD(0.1)
    inner.build([keras.Variable(np.ones(2, "float32"))])
    with pytest.raises(CompatError, match="has trained already"):
        tfa.optimizers.Lookahead(inner)


def test_errors_are_value_errors_as_they_were():
    assert issubclass(CompatError, MelanomaFusionError)
    assert issubclass(CompatError, ValueError)


def test_missing_names_say_what_replaces_them():
    with pytest.raises(AttributeError, match=r"no layers.GroupNormalization. Use keras.layers.*epsilon=1e-3"):
        tfa.layers.GroupNormalization  # noqa: B018
    with pytest.raises(AttributeError, match=r"compat.tfa has no 'seq2seq'"):
        tfa.seq2seq  # noqa: B018
    with pytest.raises(AttributeError, match=r"compat.tfa.optimizers has no 'Nonsense'"):
        tfa.optimizers.Nonsense  # noqa: B018


@pytest.mark.parametrize("name", _REPLACEMENTS)
def test_replacements_are_not_here_and_exist_in_keras(name):
    with pytest.raises(AttributeError, match=re.escape(f"no {name}. Use ")):
        operator.attrgetter(name)(tfa)
    for found in re.findall(r"keras(?:\.\w+)+", _REPLACEMENTS[name]):
        assert operator.attrgetter(found.removeprefix("keras."))(keras), found


def test_compat_stands_apart():
    root = Path(melanomafusion.__file__).parent
    for path in root.rglob("*.py"):
        inside = "compat" in path.relative_to(root).parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            module = getattr(node, "module", None) or ""
            assert inside or "compat" not in module.split("."), path
    heavy = "import sys, melanomafusion.compat; print('keras' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
