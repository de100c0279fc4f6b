"""Several devices, micro-batches, precision and XLA: the same training, computed otherwise."""

import json
import os
import subprocess
import sys
import types

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import melanomafusion as mf
from melanomafusion.errors import RecipeError, RunError
from melanomafusion.models.backbones import get_backbone
from melanomafusion.testing import make_siim_isic
from melanomafusion.training import devices, micro_batch_size
from melanomafusion.training.micro_batches import in_parts
from melanomafusion.training.trial import Trial, heaviest_stage

SIZE = 32
SCRIPT = """
import json, sys
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import melanomafusion as mf
from melanomafusion.execution import stopping
from melanomafusion.training import devices
from melanomafusion.training.callbacks import BatchProgress

data, recipe, out, stop_after = sys.argv[1:]
devices.accelerators = lambda: ["CPU:0", "CPU:1"]
recipe = mf.Recipe.from_json(recipe)
folded = mf.assign_folds(mf.load_siim_isic_2020(data), 3)

class Stop(BatchProgress):
    batches = 0

    def on_train_batch_end(self, batch, logs=None):
        Stop.batches += 1
        stopping._Request.asked = Stop.batches == int(stop_after)

from melanomafusion.training import stages
if int(stop_after):
    stages.BatchProgress = Stop
try:
    mf.fit_fold(recipe, folded, 0, out=out, on_event=lambda event: None)
except stopping.Stopped:
    sys.exit(75)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    make_siim_isic(root, n_patients=80, n_test_patients=6, image_size=SIZE, prevalence=0.2, seed=1)
    return root


@pytest.fixture(scope="module")
def folded(data):
    return mf.assign_folds(mf.load_siim_isic_2020(data), 3)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """Frozen batch norm, no dropout, two rates: nothing depends on what else is in a batch."""
    keras.utils.set_random_seed(3)
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    get_backbone("tiny").constructor(input_shape=(SIZE, SIZE, 3), weights=None).save_weights(path)
    stage = {
        "epochs": 3,
        "learning_rate": 3e-3,
        "backbone_learning_rate": 6e-4,
        "optimizer": "adamw",
        "weight_decay": 1e-2,
    }
    return mf.get_recipe("tiny").replace(
        weights=str(path),
        freeze_batch_norm=True,
        dropout=0.0,
        validation_fraction=0.3,
        batch_size=32,
        tta=1,
        ema=0.9,
        mixup=0.2,
        precision="float32",
        stages=[stage],
    )


@pytest.fixture(scope="module")
def whole(recipe, folded, tmp_path_factory):
    """Trained on one device, a batch at a time."""
    return mf.fit_fold(recipe, folded, 0, out=tmp_path_factory.mktemp("whole"), on_event=lambda event: None)


def on_two_devices(data, recipe, out, stop_after=0):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", SCRIPT, str(data), recipe.to_json(), str(out), str(stop_after)]
    return subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=300)


def same(folder, result, tolerance=2e-4):
    found = mf.Predictions.read_csv(folder / "oof.csv", "oof")
    np.testing.assert_allclose(found.scores, result.oof.scores, atol=tolerance)
    rows = [line.split(",") for line in (folder / "history.csv").read_text().splitlines()]
    for column in ("loss", "auc", "val_loss", "val_auc", "learning_rate"):
        values = [float(row[rows[0].index(column)]) for row in rows[1:]]
        np.testing.assert_allclose(values, result.history[column], atol=max(tolerance, 2e-3), err_msg=column)


def test_two_devices_train_what_one_trains(data, recipe, whole, tmp_path):
    done = on_two_devices(data, recipe.replace(micro_batch_size=5), tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    same(tmp_path, whole)


def test_a_fold_on_two_devices_goes_on_in_the_middle_of_an_epoch(data, recipe, tmp_path):
    """With dropout and half precision: the states of generators and of the loss scale are part of a checkpoint."""
    dropping = recipe.replace(dropout=0.3, precision="mixed_float16", epochs=2)
    undisturbed = on_two_devices(data, dropping, tmp_path / "undisturbed")
    stopped = on_two_devices(data, dropping, tmp_path / "stopped", stop_after=3)
    assert (undisturbed.returncode, stopped.returncode) == (0, 75), undisturbed.stderr + stopped.stderr
    assert on_two_devices(data, dropping, tmp_path / "stopped").returncode == 0
    one, other = tmp_path / "stopped", tmp_path / "undisturbed"
    assert (one / "oof.csv").read_bytes() == (other / "oof.csv").read_bytes()
    # Sums of an epoch lie on one device after the stop and on two without it: the mean loss may round otherwise.
    tables = [pd.read_csv(folder / "history.csv") for folder in (one, other)]
    pd.testing.assert_frame_equal(*tables, check_exact=False, rtol=1e-5)


def test_a_batch_that_cannot_be_divided_is_refused(recipe, monkeypatch):
    strategy = types.SimpleNamespace(num_replicas_in_sync=2)
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: strategy)
    with pytest.raises(RunError, match="batch_size=31; take a multiple of 2"):
        in_parts(keras.Sequential(), recipe.replace(batch_size=31))


@pytest.mark.parametrize("micro", [1, 8, 31])
def test_micro_batches_train_what_whole_batches_train(recipe, folded, whole, tmp_path, micro):
    mf.fit_fold(recipe.replace(micro_batch_size=micro), folded, 0, out=tmp_path, on_event=lambda event: None)
    same(tmp_path, whole)


@pytest.mark.parametrize("fusion", ["metanet", "metablock", "additive", "additive_joint", "image", "metadata"])
def test_every_fusion_trains_in_micro_batches(recipe, folded, tmp_path, fusion):
    # Biases before batch norm have no gradient but rounding, and Adam walks at random along it.
    stage = {"epochs": 1, "learning_rate": 0.05, "optimizer": "sgd"}
    changed = recipe.replace(fusion=fusion, stages=[stage])
    one = mf.fit_fold(changed, folded, 0, out=tmp_path / "one", on_event=lambda event: None)
    mf.fit_fold(changed.replace(micro_batch_size=8), folded, 0, out=tmp_path / "parts", on_event=lambda event: None)
    same(tmp_path / "parts", one, tolerance=5e-3 if fusion == "metablock" else 2e-4)  # it has a batch norm of its own


def test_micro_batches_of_several_classes_and_on_frozen_features(recipe, folded, tmp_path):
    classes = ["melanoma", "nevus", "seborrheic keratosis"]
    benign = np.where(np.arange(len(folded)) % 2, *classes[1:])
    diagnosis = np.where(folded.frame["target"] == 1, classes[0], benign)
    head = {"trainable": "head", "epochs": 2, "augmentation": "none", "learning_rate": 1e-2}
    changed = recipe.replace(classes=classes, loss="categorical", mixup=0.0, ema=0.0, stages=[head])
    data = folded.with_columns(diagnosis=diagnosis)
    one = mf.fit_fold(changed, data, 0, out=tmp_path / "one", on_event=lambda event: None)
    mf.fit_fold(changed.replace(micro_batch_size=8), data, 0, out=tmp_path / "parts", on_event=lambda event: None)
    same(tmp_path / "parts", one)


@pytest.mark.parametrize(
    "changes",
    [{"precision": "mixed_float16"}, {"precision": "mixed_float16", "micro_batch_size": 8}, {"xla": "on"}],
    ids=["half", "half-in-parts", "xla"],
)
def test_precision_and_xla_are_chosen_by_the_user_where_they_are_named(recipe, folded, whole, tmp_path, changes):
    policy = keras.config.dtype_policy()
    result = mf.fit_fold(recipe.replace(**changes), folded, 0, out=tmp_path, on_event=lambda event: None)
    if "precision" in changes:  # processors that compute in float16 throughout end further off than those that do not
        assert (result.oof.scores != whole.oof.scores).all()
        assert result.metrics["auc"] == pytest.approx(whole.metrics["auc"], abs=0.1)
    else:
        same(tmp_path, whole, tolerance=2e-3)
    assert keras.config.dtype_policy() == policy
    assert result.metrics["peak_memory"] > 100e6


def test_by_itself_a_cpu_computes_in_full_precision_without_xla(recipe):
    strategy = devices.set_up_keras(recipe.replace(precision="auto"), 0)
    assert keras.config.dtype_policy().name == "float32"
    assert not devices.uses_xla(recipe)
    assert strategy.num_replicas_in_sync == 1


@pytest.mark.parametrize(("micro", "compiled"), [(None, True), (8, False)])
def test_by_itself_a_gpu_computes_in_half_precision_with_xla(recipe, monkeypatch, micro, compiled):
    monkeypatch.setattr(devices, "accelerators", lambda: ["CPU:0"])
    policy = keras.config.dtype_policy()
    try:
        strategy = devices.set_up_keras(recipe.replace(precision="auto"), 0)
        assert keras.config.dtype_policy().name == "mixed_float16"
        assert strategy.extended.worker_devices[0].endswith("device:CPU:0")
        assert devices.uses_xla(recipe.replace(micro_batch_size=micro)) == compiled
    finally:
        keras.config.set_dtype_policy(policy)


def peak_in_a_process(recipe, micro):
    code = (
        "import sys; import melanomafusion as mf\n"
        "from melanomafusion.training.trial import Trial\n"
        "from melanomafusion.training.devices import peak_memory\n"
        "recipe = mf.Recipe.from_json(sys.argv[1]); trial = Trial(recipe, 8); begin = peak_memory()['memory']\n"
        "step = trial.step_in_parts(recipe.stages[0]); step(int(sys.argv[2])); step(int(sys.argv[2]))\n"
        "print(peak_memory()['memory'] - begin)\n"
    )
    command = [sys.executable, "-c", code, recipe.to_json(), str(micro)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_micro_batches_take_less_memory(recipe):
    large = recipe.replace(image_size=256, batch_size=64)
    assert peak_in_a_process(large, 4) < 0.5 * peak_in_a_process(large, 64)


def test_a_batch_size_is_found_by_trial_and_kept(recipe, folded, tmp_path, monkeypatch):
    auto = recipe.replace(batch_size="auto")
    assert (auto.batch_size, auto.micro_batch_size) == (32, "auto")
    monkeypatch.setattr(micro_batch_size, "available_memory", lambda: 10**12)
    found = micro_batch_size.with_micro_batch_size(auto, folded, tmp_path)
    assert found.micro_batch_size == 32
    monkeypatch.setattr(micro_batch_size, "available_memory", lambda: -(10**12))
    assert micro_batch_size.with_micro_batch_size(auto, folded, tmp_path) == found
    kept = json.loads((tmp_path / micro_batch_size.FILE).read_text())
    assert kept["micro_batch_size"] == 32
    smaller = micro_batch_size.with_micro_batch_size(auto.replace(seed=1), folded, tmp_path)
    assert smaller.micro_batch_size == 1


def test_a_device_that_is_full_gives_the_size_before(recipe, folded, tmp_path, monkeypatch):
    def step_in_parts(self, stage, most=8):
        def step(number):
            if number > most:
                raise tf.errors.ResourceExhaustedError(None, None, "no memory")

        return step

    monkeypatch.setattr(Trial, "step_in_parts", step_in_parts)
    auto = recipe.replace(micro_batch_size="auto")
    assert micro_batch_size.with_micro_batch_size(auto, folded, tmp_path).micro_batch_size == 8
    monkeypatch.setattr(Trial, "step_in_parts", lambda self, stage: step_in_parts(self, stage, 0))
    with pytest.raises(RunError, match="Not even one record of 32 × 32"):
        micro_batch_size.with_micro_batch_size(auto.replace(seed=2), folded, tmp_path)


def test_where_no_image_passes_the_backbone_the_batch_stays_whole(recipe, folded, tmp_path):
    metadata = recipe.replace(fusion="metadata", micro_batch_size="auto")
    assert heaviest_stage(metadata) is None
    assert micro_batch_size.with_micro_batch_size(metadata, folded, tmp_path).micro_batch_size == 32


def test_xla_on_is_for_whole_batches(recipe):
    with pytest.raises(RecipeError, match="xla"):
        recipe.replace(xla="on", micro_batch_size=8)


@pytest.mark.parametrize("value", [0, -3, 2.5, "big", True])
def test_a_micro_batch_that_cannot_be_is_refused(value):
    with pytest.raises(RecipeError, match="micro_batch_size"):
        mf.get_recipe("tiny").replace(micro_batch_size=value)


def test_a_whole_batch_is_trained_by_the_model_itself(recipe):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    assert in_parts(model, recipe) is model
    assert in_parts(model, recipe.replace(micro_batch_size=32)) is model
    assert in_parts(model, recipe.replace(micro_batch_size=31)) is not model


def test_a_system_that_does_not_tell_the_peak_is_no_hindrance(tmp_path, monkeypatch):
    (tmp_path / "status").write_text("Name: python\nVmRSS: 100 kB\n")  # as gVisor has it
    monkeypatch.setattr(devices, "Path", lambda path: tmp_path / "status")
    assert "memory" not in devices.peak_memory()
