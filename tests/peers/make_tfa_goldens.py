"""Run the real tensorflow-addons 0.23.0 on small seeded inputs and keep what it gives, for tests/compat/test_tfa.py.

    python3.11 tests/peers/make_tfa_goldens.py

builds an environment with TensorFlow 2.15.1 in a temporary folder (Python 3.11, 1.5 GB, two minutes), runs itself there
and writes tests/peers/tfa_goldens.npz. `--python PATH` takes an environment that is there already.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = ["tensorflow-cpu==2.15.1", "tensorflow-addons==0.23.0", "numpy<2"]
OUT = Path(__file__).with_name("tfa_goldens.npz")
STEPS = 14

# Name in tfa, its arguments. An optimizer as an argument is [name, arguments].
SGD = ["SGD", {"learning_rate": 0.1, "momentum": 0.9}]
OPTIMIZERS = [
    ("AdamW", {"weight_decay": 0.01, "learning_rate": 0.05}),
    ("AdamW", {"weight_decay": 0.01, "learning_rate": 0.05, "amsgrad": True, "beta_1": 0.8, "beta_2": 0.95}),
    ("AdamW", {"weight_decay": 0.02, "learning_rate": 0.05, "exclude_from_weight_decay": ["bias"]}),
    ("AdamW", {"weight_decay": 0.01, "lr": 0.05, "decay": 0.1, "clipnorm": 0.5}),
    ("SGDW", {"weight_decay": 0.01, "learning_rate": 0.05}),
    ("SGDW", {"weight_decay": 0.01, "learning_rate": 0.05, "momentum": 0.9}),
    ("SGDW", {"weight_decay": 0.01, "learning_rate": 0.05, "momentum": 0.9, "nesterov": True, "clipvalue": 0.3}),
    ("RectifiedAdam", {"learning_rate": 0.05}),
    ("RectifiedAdam", {"learning_rate": 0.05, "beta_2": 0.9, "weight_decay": 0.1, "epsilon": 1e-3}),
    ("RectifiedAdam", {"learning_rate": 0.05, "amsgrad": True, "sma_threshold": 6.0}),
    ("RectifiedAdam", {"learning_rate": 0.05, "total_steps": 10, "warmup_proportion": 0.3, "min_lr": 0.01}),
    ("RectifiedAdam", {"learning_rate": 0.05, "total_steps": 10, "weight_decay": 0.1}),
    ("Lookahead", {"optimizer": SGD}),
    ("Lookahead", {"optimizer": ["Adam", {"learning_rate": 0.05}], "sync_period": 3, "slow_step_size": 0.8}),
    ("LAMB", {"learning_rate": 0.05}),
    ("LAMB", {"learning_rate": 0.05, "weight_decay": 0.1, "epsilon": 1e-3}),
    ("LAMB", {"learning_rate": 0.05, "weight_decay": 0.1, "exclude_from_weight_decay": ["bias"]}),
    (
        "LAMB",
        {
            "learning_rate": 0.05,
            "weight_decay": 0.1,
            "exclude_from_weight_decay": ["bias"],
            "exclude_from_layer_adaptation": ["kernel"],
        },
    ),
    ("MovingAverage", {"optimizer": SGD}),
    ("MovingAverage", {"optimizer": SGD, "average_decay": 0.5, "start_step": 4}),
    ("MovingAverage", {"optimizer": SGD, "average_decay": 0.5, "start_step": 3, "dynamic_decay": True}),
    ("MovingAverage", {"optimizer": SGD, "average_decay": 0.9, "num_updates": 7}),
]
BOUNDS = {"initial_learning_rate": 1e-3, "maximal_learning_rate": 1e-2, "step_size": 4}
SCHEDULES = [
    ("TriangularCyclicalLearningRate", BOUNDS),
    ("TriangularCyclicalLearningRate", {**BOUNDS, "step_size": 2.5, "scale_mode": "iterations"}),
    ("Triangular2CyclicalLearningRate", BOUNDS),
    ("ExponentialCyclicalLearningRate", {**BOUNDS, "gamma": 0.9}),
    ("ExponentialCyclicalLearningRate", {**BOUNDS, "gamma": 0.9, "scale_mode": "cycle"}),
]
LOSSES = [
    {},
    {"from_logits": True},
    {"alpha": 0.7, "gamma": 1.5},
    {"alpha": 0.0, "gamma": 2.0, "from_logits": True},
    {"gamma": 0.0},
    {"reduction": "sum_over_batch_size"},
    {"reduction": "auto", "from_logits": True},
    {"reduction": "sum"},
]
F1 = [
    {},
    {"average": "micro"},
    {"average": "macro"},
    {"average": "weighted"},
    {"threshold": 0.5},
    {"threshold": 0.3, "average": "macro"},
]
KAPPAS = [
    {"sparse_labels": True},
    {"weightage": "linear"},
    {"weightage": "quadratic", "sparse_labels": True},
    {"regression": True, "sparse_labels": True, "weightage": "quadratic"},
]
ROTATIONS = [
    {"angles": 0.3},
    {"angles": [0.3, -1.2, 3.0]},
    {"angles": 0.7, "interpolation": "bilinear"},
    {"angles": [0.5, 2.0, -0.4], "interpolation": "bilinear", "fill_mode": "reflect"},
    {"angles": 0.5, "fill_mode": "wrap"},
    {"angles": 0.5, "fill_mode": "nearest"},
    {"angles": 0.5, "fill_value": 9.0},
]
CUTOUTS = [
    {"mask_size": 4, "offset": [3, 5]},
    {"mask_size": [2, 6], "offset": [0, 0], "constant_values": 7},
    {"mask_size": 4, "offset": [[1, 1], [6, 9], [3, 4]]},
    {"mask_size": 20, "offset": [3, 3]},
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", help="of an environment with tensorflow-addons")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        write()
        return
    with tempfile.TemporaryDirectory() as folder:
        python = arguments.python
        if python is None:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            python = str(Path(folder) / "bin" / "python")
            subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run([python, "-W", "ignore", __file__, "--inside"], check=True, env=environment)


def write():
    """Inside the environment: every case, its inputs and what tensorflow-addons gives, in one file."""
    import numpy as np

    cases, arrays = [], {}
    for number, (kind, name, arguments, values) in enumerate(run_all()):
        cases.append({"kind": kind, "name": name, "arguments": arguments})
        arrays |= {f"{number}/{key}": np.asarray(value) for key, value in values.items()}
    np.savez_compressed(OUT, cases=np.array([json.dumps(case) for case in cases]), **arrays)
    print(f"{OUT}: {len(cases)} cases, {OUT.stat().st_size:,} bytes")


def run_all():
    yield from run_optimizers()
    yield from run_schedules()
    yield from run_losses_and_metrics()
    yield from run_images_and_activations()


def run_optimizers():
    import numpy as np
    import tensorflow as tf
    import tensorflow_addons as tfa

    for name, arguments in OPTIMIZERS:
        draw = np.random.default_rng(0)
        start = {"kernel": draw.normal(size=(3, 2)).astype("float32"), "bias": np.zeros(2, "float32")}
        gradients = {key: draw.normal(size=(STEPS, *value.shape)).astype("float32") for key, value in start.items()}
        variables = [tf.Variable(value, name=f"dense/{key}") for key, value in start.items()]
        given = dict(arguments)
        if "optimizer" in given:
            inner, inner_arguments = given["optimizer"]
            given["optimizer"] = getattr(tf.keras.optimizers.legacy, inner)(**inner_arguments)
        optimizer = getattr(tfa.optimizers, name)(**given)
        path = {key: [] for key in start}
        for step in range(STEPS):
            optimizer.apply_gradients((gradients[key][step], v) for key, v in zip(start, variables, strict=True))
            for key, variable in zip(start, variables, strict=True):
                path[key].append(variable.numpy())
        values = {f"start_{key}": value for key, value in start.items()}
        values |= {f"gradient_{key}": value for key, value in gradients.items()}
        values |= {f"path_{key}": value for key, value in path.items()}
        if name == "MovingAverage":
            optimizer.assign_average_vars(variables)
            values |= {f"average_{key}": variable.numpy() for key, variable in zip(start, variables, strict=True)}
        yield "optimizer", name, arguments, values


def run_schedules():
    import numpy as np
    import tensorflow_addons as tfa

    steps = np.arange(30, dtype="float32")
    for name, arguments in SCHEDULES:
        schedule = getattr(tfa.optimizers, name)(**arguments)
        yield "schedule", name, arguments, {"steps": steps, "rates": [schedule(step).numpy() for step in steps]}


def run_losses_and_metrics():
    import numpy as np
    import tensorflow_addons as tfa

    draw = np.random.default_rng(1)
    truth = (draw.uniform(size=(12, 3)) < 0.4).astype("float32")
    soft = draw.uniform(size=(12, 3)).astype("float32")
    logits = draw.normal(0, 3, size=(12, 3)).astype("float32")
    scores = (1 / (1 + np.exp(-logits))).astype("float32")
    weights = draw.uniform(0.2, 3.0, size=12).astype("float32")
    for arguments in LOSSES:
        loss = tfa.losses.SigmoidFocalCrossEntropy(**arguments)
        predicted = logits if arguments.get("from_logits") else scores
        for target in (truth, soft):
            values = {"truth": target, "predicted": predicted, "weights": weights}
            values |= {"loss": loss(target, predicted), "weighted": loss(target, predicted, sample_weight=weights)}
            yield "loss", "SigmoidFocalCrossEntropy", arguments, values

    for arguments in F1:
        yield run_metric("F1Score", {"num_classes": 3, **arguments}, truth, scores, weights)
    yield run_metric("F1Score", {"num_classes": 1, "threshold": 0.5}, truth[:, :1], scores[:, :1], weights)
    classes, guesses = draw.integers(0, 4, 12), draw.integers(0, 4, 12)
    four = draw.uniform(size=(12, 4)).astype("float32")
    for arguments in KAPPAS:
        target = classes if arguments.get("sparse_labels") else np.eye(4, dtype="float32")[classes]
        found = draw.uniform(0, 3, (12, 1)).astype("float32") if arguments.get("regression") else four
        yield run_metric("CohenKappa", {"num_classes": 4, **arguments}, target, found, weights)
    yield run_metric("CohenKappa", {"num_classes": 4, "sparse_labels": True}, classes, guesses, weights)
    yield run_metric("CohenKappa", {"num_classes": 2}, truth[:, 0], scores[:, 0], weights)
    yield run_metric("CohenKappa", {"num_classes": 2, "sparse_labels": True}, truth[:, :1], scores[:, :1], weights)
    # Scores that lie on the threshold itself.
    halves = draw.integers(0, 3, 12).astype("float32") / 2
    yield run_metric("CohenKappa", {"num_classes": 2}, truth[:, 0], halves, weights)
    yield run_metric("F1Score", {"num_classes": 1, "threshold": 0.5}, truth[:, :1], halves[:, None], weights)


def run_metric(name, arguments, truth, predicted, weights):
    """Two batches, without weights and with them."""
    import tensorflow_addons as tfa

    values = {"truth": truth, "predicted": predicted, "weights": weights}
    for key in ("plain", "weighted"):
        metric = getattr(tfa.metrics, name)(**arguments)
        for batch in (slice(0, 5), slice(5, 12)):
            sample_weight = weights[batch] if key == "weighted" else None
            metric.update_state(truth[batch], predicted[batch], sample_weight=sample_weight)
        values[key] = metric.result()
    return "metric", name, arguments, values


def run_images_and_activations():
    import numpy as np
    import tensorflow_addons as tfa

    draw = np.random.default_rng(2)
    images = draw.uniform(0, 255, (3, 8, 11, 2)).astype("float32")
    for name, list_of_arguments in (("rotate", ROTATIONS), ("cutout", CUTOUTS)):
        for arguments in list_of_arguments:
            yield "image", name, arguments, {"x": images, "y": getattr(tfa.image, name)(images, **arguments)}
    whole = images.astype("uint8")
    yield "image", "rotate", {"angles": 0.4}, {"x": whole, "y": tfa.image.rotate(whole, 0.4)}
    yield "image", "cutout", {"mask_size": 2, "offset": [4, 4]}, {"x": whole, "y": tfa.image.cutout(whole, 2, (4, 4))}
    for single in (images[0], images[0, :, :, 0]):
        yield "image", "rotate", {"angles": 0.4}, {"x": single, "y": tfa.image.rotate(single, 0.4)}
    x = np.linspace(-6, 6, 41, dtype="float32")
    yield "activation", "gelu", {}, {"x": x, "y": tfa.activations.gelu(x)}
    yield "activation", "gelu", {"approximate": False}, {"x": x, "y": tfa.activations.gelu(x, approximate=False)}
    yield "activation", "mish", {}, {"x": x, "y": tfa.activations.mish(x)}
    for arguments in ({}, {"approximate": False}):
        yield "layer", "GELU", arguments, {"x": x[None], "y": tfa.layers.GELU(**arguments)(x[None])}


if __name__ == "__main__":
    main()
