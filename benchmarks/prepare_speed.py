"""Preparing full-resolution JPEG files at 512: ours, Pillow as people write it, and TensorFlow; ratios printed.

    python benchmarks/prepare_speed.py ../shared/data/isic-archive-fullres                # about two minutes
    python benchmarks/prepare_speed.py ../shared/data/isic-archive-fullres --repeats 1    # a look

Each way reads the files, shrinks them to a square and encodes JPEG of quality 95, in two processes with one thread
each; they start, import and wait before the clock runs. simplejpeg's DCT-scaled decode alone is the limit: no resize,
no encoding. Then `prepare` as a whole, processes started, hashes, shards and notes written. What the ways give is
compared with the full decode and antialiased resize: a fast wrong answer is no answer.
"""

import argparse
import io
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import simplejpeg
from PIL import Image

import melanomafusion as mf
from melanomafusion.data.schema import COLUMNS

SIZE, QUALITY, PROCESSES = 512, 95, 2


def ours():
    """`Preparation.encode`: what a worker of `prepare` does with a file."""
    return mf.Preparation(SIZE, quality=QUALITY).encode


def pillow():
    """The loop of most scripts."""

    def shrink(path):
        out = io.BytesIO()
        with Image.open(path) as image:
            square = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
            square.save(out, "JPEG", quality=QUALITY)
        return out.getvalue()

    return shrink


def tensorflow():
    """tf.image, antialiased, one thread."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    @tf.function(input_signature=[tf.TensorSpec((), tf.string)])
    def shrink(path):
        image = tf.image.decode_jpeg(tf.io.read_file(path), channels=3)
        square = tf.image.resize(image, (SIZE, SIZE), antialias=True)
        return tf.io.encode_jpeg(tf.cast(tf.clip_by_value(tf.round(square), 0, 255), tf.uint8), quality=QUALITY)

    return lambda path: shrink(str(path)).numpy()


def limit():
    """simplejpeg's DCT-scaled decode alone."""

    def decode(path):
        return simplejpeg.decode_jpeg(Path(path).read_bytes(), "RGB", min_height=SIZE, min_width=SIZE, min_factor=1)

    return decode


WAYS = {"ours": ours, "Pillow": pillow, "TensorFlow": tensorflow, "DCT-scaled decode alone": limit}


def work(way, paths, gate):
    """The part of one process: warm up, wait for the others, go through the files."""
    shrink = WAYS[way]()
    shrink(paths[0])
    gate.wait()
    for path in paths:
        shrink(path)
    gate.wait()


def images_per_second(way, paths):
    """Both processes over half of the files each."""
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(PROCESSES + 1)
    parts = [paths[number::PROCESSES] for number in range(PROCESSES)]
    processes = [context.Process(target=work, args=(way, part, gate)) for part in parts]
    for process in processes:
        process.start()
    gate.wait()
    began = time.perf_counter()
    gate.wait()
    seconds = time.perf_counter() - began
    for process in processes:
        process.join()
    return len(paths) / seconds


def whole_prepare(paths):
    """images/s of `mf.prepare`, from its call to its return."""
    frame = pd.DataFrame({name: pd.Series([None] * len(paths), dtype="str") for name in COLUMNS})
    frame = frame.assign(image_name=[f"{row}-{path.stem}" for row, path in enumerate(paths)], source="full resolution")
    data = mf.Dataset(frame.assign(path=list(map(str, paths))))
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        made = mf.prepare(data, out, image_size=SIZE, quality=QUALITY, shard_size=64, workers=PROCESSES)
        seconds = time.perf_counter() - began
    assert made.records == len(paths)
    return len(paths) / seconds


def differences(paths):
    """Way → mean absolute difference, in grey levels, to the full decode and antialiased resize, before encoding."""
    found = {"ours": [], "ours, encoded": [], "Pillow, encoded": [], "TensorFlow, encoded": []}
    lossless, others = mf.Preparation(SIZE, quality=None), {name: WAYS[name]() for name in ("Pillow", "TensorFlow")}
    for path in paths:
        with Image.open(path) as image:
            full = np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)).astype(int)
        results = {"ours": lossless.encode(path), "ours, encoded": ours()(path)}
        results |= {f"{name}, encoded": shrink(path) for name, shrink in others.items()}
        for name, content in results.items():
            found[name].append(np.abs(np.asarray(Image.open(io.BytesIO(content))) - full).mean())
    return {name: (np.mean(values), np.max(values)) for name, values in found.items()}


def main():
    """All ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=20, help="How often the files are gone through.")
    options = parser.parse_args()
    files = sorted(options.folder.glob("*.jpg"))
    if not files:
        raise SystemExit(f"{options.folder}: no JPEG files")
    large = [path for path in files if min(simplejpeg.decode_jpeg_header(path.read_bytes())[:2]) >= 2 * SIZE]
    for what, some in ((f"all {len(files)} files", files), (f"the {len(large)} of at least {2 * SIZE} pixels", large)):
        paths = some * options.repeats
        print(f"{what}, {options.repeats} times, {PROCESSES} processes", flush=True)
        speeds = {way: images_per_second(way, paths) for way in WAYS}
        speeds["prepare() as a whole"] = whole_prepare(paths)
        for way, speed in speeds.items():
            ratio = "" if way == "ours" else f"   ours {speeds['ours'] / speed:5.2f} times"
            print(f"  {way:26} {speed:7.1f} images/s{ratio}", flush=True)
        whole = speeds["prepare() as a whole"]
        print(f"  prepare() as a whole is {whole / speeds['Pillow']:.2f} × Pillow, ", end="")
        print(f"{whole / speeds['TensorFlow']:.2f} × TensorFlow", flush=True)
    print("mean absolute difference to the full decode and antialiased resize, grey levels: mean (worst file)")
    for name, (mean, worst) in differences(files).items():
        print(f"  {name:26} {mean:.2f} ({worst:.2f})")


if __name__ == "__main__":
    main()
