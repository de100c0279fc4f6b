"""The names of tensorflow-addons against what the real one gave (tests/peers/tfa_goldens.npz, version 0.23.0)."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from melanomafusion.compat import tfa

GOLDENS = np.load(Path(__file__).parent.parent / "peers" / "tfa_goldens.npz")
CASES = [json.loads(str(text)) for text in GOLDENS["cases"]]


def cases(kind):
    chosen = [(number, case) for number, case in enumerate(CASES) if case["kind"] == kind]
    assert chosen
    names = [f"{number}-{case['name']}" for number, case in chosen]
    return pytest.mark.parametrize(("number", "case"), chosen, ids=names)


def array(number, key):
    return GOLDENS[f"{number}/{key}"]


def values(tensor):
    return keras.ops.convert_to_numpy(tensor)


def build(case):
    arguments = dict(case["arguments"])
    if isinstance(arguments.get("optimizer"), list):
        inner, inner_arguments = arguments["optimizer"]
        arguments["optimizer"] = getattr(keras.optimizers, inner)(**inner_arguments)
    module = {"optimizer": tfa.optimizers, "schedule": tfa.optimizers, "loss": tfa.losses, "metric": tfa.metrics}
    return getattr(module[case["kind"]], case["name"])(**arguments)


def make_variables(number):
    with keras.name_scope("dense"):
        return [keras.Variable(array(number, f"start_{name}"), name=name) for name in ("kernel", "bias")]


def train(optimizer, variables, number, steps):
    """Apply the recorded gradients; the weights after each step."""
    gradients = [array(number, f"gradient_{variable.name}") for variable in variables]
    path = []
    for step in steps:
        optimizer.apply([keras.ops.convert_to_tensor(g[step]) for g in gradients], variables)
        path.append([values(variable) for variable in variables])
    return path


@cases("optimizer")
def test_optimizer_takes_the_same_path(number, case):
    optimizer, variables = build(case), make_variables(number)
    wanted_kernel, wanted_bias = array(number, "path_kernel"), array(number, "path_bias")
    path = train(optimizer, variables, number, range(len(wanted_kernel)))
    np.testing.assert_allclose([kernel for kernel, _ in path], wanted_kernel, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose([bias for _, bias in path], wanted_bias, rtol=2e-5, atol=2e-6)
    if case["name"] == "MovingAverage":
        optimizer.assign_average_vars(variables)
        np.testing.assert_allclose(values(variables[0]), array(number, "average_kernel"), rtol=2e-5, atol=2e-6)
        np.testing.assert_allclose(values(variables[1]), array(number, "average_bias"), rtol=2e-5, atol=2e-6)


@cases("optimizer")
def test_optimizer_made_of_its_configuration_takes_the_same_path(number, case):
    config = json.loads(json.dumps(keras.optimizers.serialize(build(case))))
    again = keras.optimizers.deserialize(config)
    path = train(again, make_variables(number), number, range(14))
    np.testing.assert_allclose(path[-1][0], array(number, "path_kernel")[-1], rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", ["AdamW", "RectifiedAdam", "LAMB", "Lookahead", "MovingAverage"])
def test_optimizer_state_can_be_carried_to_another_one(name):
    number, case = next((number, case) for number, case in enumerate(CASES) if case["name"] == name)
    first, variables = build(case), make_variables(number)
    train(first, variables, number, range(7))
    second, others = build(case), make_variables(number)
    second.build(others)
    for variable, other in zip(first.variables, second.variables, strict=True):
        other.assign(variable)
    for variable, other in zip(variables, others, strict=True):
        other.assign(variable)
    path = train(second, others, number, range(7, 14))
    np.testing.assert_allclose(path[-1][0], array(number, "path_kernel")[-1], rtol=2e-5, atol=2e-6)


@cases("schedule")
def test_schedule_gives_the_same_rates(number, case):
    schedule = build(case)
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    for each in (schedule, again):
        rates = [float(each(step)) for step in array(number, "steps")]
        np.testing.assert_allclose(rates, array(number, "rates"), rtol=1e-5, atol=1e-9)


@cases("loss")
def test_loss_gives_the_same_numbers(number, case):
    loss = build(case)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    truth, predicted, weights = (array(number, key) for key in ("truth", "predicted", "weights"))
    for each in (loss, again):
        np.testing.assert_allclose(values(each(truth, predicted)), array(number, "loss"), rtol=1e-5)
        found = values(each(truth, predicted, sample_weight=weights))
        np.testing.assert_allclose(found, array(number, "weighted"), rtol=1e-5)


@cases("metric")
def test_metric_gives_the_same_numbers(number, case):
    truth, predicted, weights = (array(number, key) for key in ("truth", "predicted", "weights"))
    for key in ("plain", "weighted"):
        metric = build(case)
        metric = type(metric).from_config(metric.get_config())
        for _ in range(2):  # the second time after reset_state
            metric.reset_state()
            for batch in (slice(0, 5), slice(5, 12)):
                sample_weight = weights[batch] if key == "weighted" else None
                metric.update_state(truth[batch], predicted[batch], sample_weight=sample_weight)
        np.testing.assert_allclose(values(metric.result()), array(number, key), rtol=1e-5, atol=1e-6)


@cases("image")
def test_image_function_gives_the_same_pixels(number, case):
    found = getattr(tfa.image, case["name"])(array(number, "x"), **case["arguments"])
    wanted = array(number, "y")
    assert values(found).dtype == wanted.dtype
    # Bilinear weights are float32 of a coordinate: a thousandth of a grey level.
    np.testing.assert_allclose(values(found), wanted, atol=0 if wanted.dtype == np.uint8 else 1e-3)


@cases("activation")
def test_activation_gives_the_same_values(number, case):
    function = getattr(tfa.activations, case["name"])
    np.testing.assert_allclose(
        values(function(array(number, "x"), **case["arguments"])), array(number, "y"), rtol=1e-5, atol=1e-6
    )


@cases("layer")
def test_layer_gives_the_same_values(number, case):
    layer = getattr(tfa.layers, case["name"])(**case["arguments"])
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    for each in (layer, again):
        np.testing.assert_allclose(values(each(array(number, "x"))), array(number, "y"), rtol=1e-5, atol=1e-6)


def test_every_name_has_a_golden_case():
    names = {case["name"] for case in CASES}
    public = {*tfa.optimizers.__all__, "SigmoidFocalCrossEntropy", "F1Score", "CohenKappa", "rotate", "cutout"}
    assert public | {"gelu", "mish", "GELU"} == names | {"CyclicalLearningRate"}  # a function cannot be written down
