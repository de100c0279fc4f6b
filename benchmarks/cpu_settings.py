"""What the settings of training processes are worth on a CPU: seconds per step with and without, interleaved.

`cross_validate` starts a process per fold with oneDNN on and with glibc keeping the memory of a step for the next. A
loop of your own gets the same when these variables are set before Python starts; this prints them.

    python benchmarks/cpu_settings.py --backbone mobilenet_v2 --image-size 192
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

from melanomafusion.training.cross_validation import TENSORFLOW_ON_CPU

STEPS = """
import json, resource, sys, time
import keras, numpy as np
import melanomafusion as mf

backbone, size, batch, steps = sys.argv[1], *map(int, sys.argv[2:])
model = mf.build_fusion_model(backbone, metadata_width=12, image_size=size, fusion="concat", weights=None)
for layer in model.get_layer(backbone).layers:
    if isinstance(layer, keras.layers.BatchNormalization):
        layer.trainable = False
loss = keras.losses.BinaryCrossentropy(from_logits=True)
model.compile(keras.optimizers.AdamW(1e-4), loss, jit_compile=False)
rng = np.random.default_rng(0)
inputs = {i.name: (rng.random((batch, *i.shape[1:])) * 255).astype("float32") for i in model.inputs}
targets = rng.integers(0, 2, (batch, 1)).astype("float32")
times = []
for _ in range(steps + 2):
    started = time.perf_counter()
    model.train_on_batch(inputs, targets)
    times.append(time.perf_counter() - started)
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"seconds": sorted(times[2:])[steps // 2], "gigabytes": used.ru_maxrss / 1e6}))
"""
SETTINGS = {
    "as TensorFlow starts": {"TF_ENABLE_ONEDNN_OPTS": None, "GLIBC_TUNABLES": None},
    "oneDNN": {"GLIBC_TUNABLES": None},
    "oneDNN and kept memory (ours)": {},
}


def main() -> None:
    """Run each setting a few times in turn and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--image-size", type=int, default=192)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print("Settings:", " ".join(f"{name}={value}" for name, value in TENSORFLOW_ON_CPU.items()))
    call = [options.backbone, options.image_size, options.batch_size, options.steps]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in SETTINGS}
    for _ in range(options.rounds):
        for name, changes in SETTINGS.items():
            values = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, **TENSORFLOW_ON_CPU, **changes}
            environment = {key: value for key, value in values.items() if value is not None}
            command = [sys.executable, "-c", STEPS, *map(str, call)]
            out = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
            found[name].append(json.loads(out.splitlines()[-1]))
    medians = {name: statistics.median(run["seconds"] for run in runs) for name, runs in found.items()}
    slowest = medians["as TensorFlow starts"]
    for name, runs in found.items():
        memory = max(run["gigabytes"] for run in runs)
        print(f"{name:32} {medians[name]:.3f} s a step, {slowest / medians[name]:.2f} x, {memory:.2f} GB at most")


if __name__ == "__main__":
    main()
