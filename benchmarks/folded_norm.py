"""Training steps and predictions with constant batch norm folded into convolutions, and as Keras computes them.

Both models share their weights and take turns on the same batch, in one process with the settings of training
processes. Batch norm of the backbone is frozen.

    python benchmarks/folded_norm.py
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

import numpy as np

from melanomafusion.training.cross_validation import TENSORFLOW_ON_CPU

CASES = [("mobilenet_v2", 192, 32), ("mobilenet_v2", 224, 32), ("efficientnet_b0", 224, 16), ("densenet121", 224, 8)]


def in_turns(calls: list, turns: int) -> list[float]:
    """Median seconds of each call; the first two of each trace it."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(turns + 2):
        for call, taken in zip(calls, times, strict=True):
            started = time.perf_counter()
            call()
            if turn > 1:
                taken.append(time.perf_counter() - started)
    return [statistics.median(taken) for taken in times]


def measure(backbone: str, size: int, batch: int, turns: int) -> None:
    """Print images/s of both, training and predicting."""
    import keras

    from melanomafusion.models.fusion_model import build_fusion_model
    from melanomafusion.training.folded_norm import with_folded_norm

    model = build_fusion_model(backbone, fusion="image", image_size=size, weights=None)
    for layer in model.get_layer(backbone).layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    rng = np.random.default_rng(0)
    images = {"image": rng.uniform(0, 255, (batch, size, size, 3)).astype("float32")}
    labels = rng.integers(0, 2, (batch, 1)).astype("float32")
    both = [model, with_folded_norm(model, backbone, frozen_statistics=False)]
    for one in both:
        one.compile(keras.optimizers.Adam(1e-6), keras.losses.BinaryCrossentropy(from_logits=True), jit_compile=False)
    work = {
        "training": [lambda one=one: one.train_on_batch(images, labels) for one in both],
        "prediction": [lambda one=one: one.predict_on_batch(images) for one in both],
    }
    for what, calls in work.items():
        plain, folded = (batch / seconds for seconds in in_turns(calls, turns))
        print(
            f"{backbone} at {size}, batch {batch}, {what}: {plain:.1f} images/s as Keras, {folded:.1f} folded: "
            f"{folded / plain:.2f} ×",
            flush=True,
        )


def main() -> None:
    """A process for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case is not None:
        measure(*CASES[options.case], options.turns)
        return
    for case in range(len(CASES)):
        command = [sys.executable, __file__, "--turns", str(options.turns), "--case", str(case)]
        subprocess.run(command, check=True, env={**os.environ, **TENSORFLOW_ON_CPU, "TF_CPP_MIN_LOG_LEVEL": "3"})


if __name__ == "__main__":
    main()
