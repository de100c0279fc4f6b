r"""Images per second of a fused EfficientNet by each engine, beside Keras and PyTorch, in turns; medians.

Every engine is a process of its own that waits for its turn, so all see the same machine. How a process lies in memory
can make it a third slower for as long as it lives, so each engine is started several times, and computes with and
without the heat map in the same process. Between turns nothing is computed for a moment: threads of onnxruntime wait
actively for more work, and the next engine would pay for that. With PyTorch it is torchvision's network of the same
name, channels-last, in evaluation mode. `--torch-python` names an interpreter that has torch and torchvision; without
it PyTorch is left out.

    python benchmarks/predictor_speed.py --torch-python ~/torch/bin/python
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETTINGS = (("efficientnet_b0", 224, 8), ("efficientnet_b4", 380, 4))
BFLOAT16 = "openvino bfloat16"  # on processors that have it
WITH_MAP = " + heat map"
STARTS, TURNS, BATCHES = 5, 2, 4  # processes of each engine, turns of each, batches in a turn
PAUSE = 0.5  # seconds between turns


def make_bundle(backbone, size, folder):
    """A bundle of random weights, exported."""
    import keras
    import numpy as np

    import melanomafusion as mf
    from melanomafusion.deploy.bundle import write_bundle
    from melanomafusion.testing import make_records

    keras.utils.set_random_seed(0)
    options = {"image_size": size, "weights": None, "freeze_batch_norm": False, "tta": 1}
    recipe = mf.get_recipe("fusion-b0").replace(name=backbone, backbone=backbone, **options)
    encoder = mf.MetadataEncoder().fit(make_records(40, rng=np.random.default_rng(0))[0])
    model = mf.build_fusion_model(weights=None, **recipe.model_options(encoder.width))
    write_bundle(folder, recipe=recipe, model=model, encoder=encoder, spec=mf.ImageSpec(size), metrics={})
    mf.export_onnx(folder)


def worker(engine, folder, backbone, size, batch):
    """Compute when told, and say how long it took."""
    runs = torch_run(backbone, size, batch) if engine == "pytorch" else our_runs(engine, folder, size, batch)
    print("ready", flush=True)
    for _ in sys.stdin:
        for run in runs.values():
            run()  # the caches were another engine's
        seconds = dict.fromkeys(runs, 0.0)
        for _ in range(BATCHES):
            for name, run in runs.items():  # in turns: the machine's moods are shared by those that are compared
                started = time.perf_counter()
                run()
                seconds[name] += (time.perf_counter() - started) / BATCHES
        print(json.dumps(seconds), flush=True)


def our_runs(name, folder, size, batch):
    """One batch by an engine, without and with the heat map."""
    import numpy as np

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, size, size, 3), dtype="uint8")
    import melanomafusion as mf

    bundle = mf.Bundle.read(folder)
    metadata = np.zeros((batch, bundle.encoder.width), dtype="float32")
    inputs = {"image": images, "metadata": metadata}
    graph = str(Path(folder) / "model.onnx")
    if name == "keras":
        model = bundle.build_model()
        model.jit_compile = False
        floats = {"image": images.astype("float32"), "metadata": metadata}
        return {name: lambda: model.predict_on_batch(floats)}
    if name == "onnxruntime":
        import onnxruntime

        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        options = onnxruntime.RunOptions()
        options.only_execute_path_to_fetches = True  # otherwise it computes the heat map and drops it
        return {
            name: lambda: session.run(["score"], inputs, options),
            name + WITH_MAP: lambda: session.run(None, inputs),
        }
    import openvino

    core, precision = openvino.Core(), "bf16" if name == BFLOAT16 else "f32"
    model = core.read_model(graph)
    without = openvino.Model([model.output("score")], model.get_parameters())
    options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    requests = [core.compile_model(one, "CPU", options).create_infer_request() for one in (without, model)]
    return {name: lambda: requests[0].infer(inputs), name + WITH_MAP: lambda: requests[1].infer(inputs)}


def torch_run(backbone, size, batch):
    """One batch by PyTorch."""
    import torch
    import torchvision

    model = getattr(torchvision.models, backbone)(weights=None).eval().to(memory_format=torch.channels_last)
    images = torch.rand(batch, 3, size, size).to(memory_format=torch.channels_last)

    def run():
        with torch.inference_mode():
            return model(images)

    return {"pytorch": run}


def has_bfloat16():
    """Whether this processor computes in bfloat16."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def started(engine, torch_python, folder, backbone, size, batch):
    """A process of an engine that is ready."""
    python = torch_python if engine == "pytorch" else sys.executable
    process = subprocess.Popen(
        [python, __file__, "--worker", engine, f"{folder}/bundle", backbone, str(size), str(batch)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert process.stdout.readline().strip() == "ready", engine
    return process


def measure(backbone, size, batch, torch_python):
    """Seconds per batch of each engine in each turn."""
    engines = ["keras", "onnxruntime", "openvino", *([BFLOAT16] if has_bfloat16() else [])]
    engines += ["pytorch"] if torch_python else []
    times = {}
    with tempfile.TemporaryDirectory() as folder:
        call = [sys.executable, __file__, "--make", f"{folder}/bundle", backbone, str(size)]
        subprocess.run(call, check=True, stderr=subprocess.DEVNULL)
        for _ in range(STARTS):
            workers = {engine: started(engine, torch_python, folder, backbone, size, batch) for engine in engines}
            for _ in range(TURNS):
                for process in workers.values():
                    time.sleep(PAUSE)
                    process.stdin.write("go\n")
                    process.stdin.flush()
                    for name, seconds in json.loads(process.stdout.readline()).items():
                        times.setdefault(name, []).append(seconds)
            for process in workers.values():
                process.stdin.close()
                process.wait()
    return times


def main():
    """Print a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", help="interpreter that has torch and torchvision")
    parser.add_argument("--make", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make_bundle(options.make[1], int(options.make[2]), options.make[0])
        return
    if options.worker:
        engine, folder, backbone, size, batch = options.worker
        worker(engine, folder, backbone, int(size), int(batch))
        return
    found = {}
    for backbone, size, batch in SETTINGS:
        times = measure(backbone, size, batch, options.torch_python)
        seconds = {engine: statistics.median(values) for engine, values in times.items()}
        print(f"\n{backbone} at {size}, batch {batch}, {os.cpu_count()} cores: images/s, ratio to Keras")
        for engine, value in seconds.items():
            print(f"  {engine:30} {batch / value:7.1f}  {seconds['keras'] / value:5.2f} ×", flush=True)
        for engine in [name for name in seconds if name + WITH_MAP in seconds]:
            turns = zip(times[engine + WITH_MAP], times[engine], strict=True)
            slower = statistics.median(with_map / without for with_map, without in turns) - 1
            print(f"  heat map with {engine}: {slower:+.1%} time, median of turns")
        for engine in [name for name in seconds if name in ("openvino", BFLOAT16) and "pytorch" in seconds]:
            print(f"  {engine} / pytorch: {seconds['pytorch'] / seconds[engine]:.2f} ×")
        found[backbone] = seconds
    print(json.dumps(found))


if __name__ == "__main__":
    main()
