"""The models use no TensorFlow: they build, train and predict under the JAX backend."""

import json
import os
import subprocess
import sys

from melanomafusion.models.fusion import FUSIONS

SCRIPT = """
import json, sys
import keras
import numpy as np
from melanomafusion.models.fusion_model import build_fusion_model

rng = np.random.default_rng(0)
given = {
    "image": rng.uniform(0, 255, (4, 32, 32, 3)).astype("float32"),
    "metadata": rng.normal(size=(4, 5)).astype("float32"),
}
labels = np.array([[0.0], [1.0], [0.0], [1.0]], "float32")
results = {}
for fusion in sys.argv[1:]:
    model = build_fusion_model("tiny", metadata_width=5, image_size=32, fusion=fusion, weights=None)
    loads_tensorflow = "tensorflow" in sys.modules
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss=keras.losses.BinaryCrossentropy(from_logits=True))
    inputs = {name: values for name, values in given.items() if name in model.input}
    before = [np.array(weight) for weight in model.trainable_weights]
    loss = float(model.train_on_batch(inputs, labels, sample_weight=np.ones(4, "float32")))
    changed = [not np.array_equal(a, np.array(b)) for a, b in zip(before, model.trainable_weights, strict=True)]
    logits = np.asarray(model(inputs))
    results[fusion] = {
        "backend": keras.backend.backend(), "loss": loss, "changed": sum(changed), "weights": len(changed),
        "shape": logits.shape, "finite": bool(np.isfinite(logits).all()),
        "tensorflow": loads_tensorflow,
    }
print(json.dumps(results))
"""


def test_every_fusion_trains_under_jax():
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *FUSIONS],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads(done.stdout.splitlines()[-1])
    assert set(results) == set(FUSIONS)
    for fusion, result in results.items():
        assert result["backend"] == "jax"
        assert 0 < result["loss"] < 100
        # What is added starts from zero, so the metadata branch behind it, two layers, has no gradient in a first step.
        still = 4 if fusion.startswith("additive") else 0
        assert result["changed"] == result["weights"] - still, fusion
        assert result["shape"] == [4, 1]
        assert result["finite"]
        assert not result["tensorflow"]
