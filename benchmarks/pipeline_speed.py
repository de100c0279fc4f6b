"""Images per second that training pipelines give on two cores, ours and the ways people write them, in one run.

All ways read the very same JPEG bytes (those of the shards that `prepare` wrote), shuffle, flip, change brightness,
contrast and saturation of each image by up to 15 %, and give batches of 32 as float32. Rounds are interleaved and each
round is one epoch; printed are medians and their ratios.

    python benchmarks/pipeline_speed.py                        # synthetic lesions
    python benchmarks/pipeline_speed.py ham10000/images        # the first 2,000 images of a folder

The DataLoader is timed only where torch is installed; it is no dependency of this library.
"""

import argparse
import importlib.util
import io
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

import melanomafusion as mf
from melanomafusion.data.containers import read_image_bytes
from melanomafusion.images.augment import record_generator
from melanomafusion.images.pixels import decode_images, open_pixels
from melanomafusion.images.policies import get_policy
from melanomafusion.images.prepared import image_spec
from melanomafusion.testing import make_records, paint_lesion

BATCH = 32
FILES, RECORDS, LOADER, SHARDS, PIXELS = (
    "a: tf.data, JPEG files, antialiased resize",
    "b: tf.data, TFRecords, no resize",
    "c: torch DataLoader, Pillow, 2 workers",
    "d: ours, prepared shards",
    "e: ours, decoded pixels in memory",
)
AIMS = [
    (SHARDS, FILES, 3.0),
    (SHARDS, RECORDS, 1.0),
    (PIXELS, SHARDS, 1.5),
    (SHARDS, LOADER, 2.0),
    (PIXELS, LOADER, 2.0),
]


def load(folder: str | None, count: int, size: int, out: Path) -> mf.Dataset:
    """So many records with images: of a folder, or painted."""
    frame = make_records(count, rng=np.random.default_rng(0))[0].head(count)
    if folder is not None:
        files = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
        if not files:
            raise SystemExit(f"{folder}: no JPEG or PNG files")
        frame = frame.head(len(files))
        paths = files[: len(frame)]
    else:
        rng = np.random.default_rng(0)
        paths = [out / f"{name}.jpg" for name in frame["image_name"]]
        out.mkdir()
        for path in paths:
            Image.fromarray(paint_lesion(float(rng.normal()), size, rng)).save(path, quality=95)
    return mf.Dataset(frame.assign(path=[str(path) for path in paths], lesion_id=None, source="benchmark"))


def augment(image, number):
    """Flips, brightness, contrast and saturation of one float32 image, as the TensorFlow guides write them."""
    seed = tf.stack([number, 0])
    image = tf.image.stateless_random_flip_left_right(image, seed)
    image = tf.image.stateless_random_flip_up_down(image, seed + 1)
    image = tf.image.stateless_random_brightness(image, 0.15 * 255, seed + 2)
    image = tf.image.stateless_random_contrast(image, 0.85, 1.15, seed + 3)
    image = tf.image.stateless_random_saturation(image, 0.85, 1.15, seed + 4)
    return tf.clip_by_value(image, 0.0, 255.0)


def from_files(paths: list[str], targets: np.ndarray, size: int) -> tf.data.Dataset:
    """(a): read, decode, resize, augment, all by tf.data."""

    def read(record, number):
        path, target = record
        image = tf.image.decode_jpeg(tf.io.read_file(path), channels=3)
        return augment(tf.image.resize(image, (size, size), antialias=True), number), target

    files = tf.data.Dataset.from_tensor_slices((paths, targets)).shuffle(len(paths))
    return _finished(files, read)


def from_tfrecords(path: Path, count: int, size: int) -> tf.data.Dataset:
    """(b): the same from one TFRecord, without a resize to the size that the images have."""
    features = {"image": tf.io.FixedLenFeature([], tf.string), "target": tf.io.FixedLenFeature([], tf.int64)}

    def read(example, number):
        record = tf.io.parse_single_example(example, features)
        image = tf.ensure_shape(tf.image.decode_jpeg(record["image"], channels=3), (size, size, 3))
        return augment(tf.cast(image, tf.float32), number), record["target"]

    return _finished(tf.data.TFRecordDataset(str(path)).shuffle(count), read)


def _finished(records: tf.data.Dataset, read) -> tf.data.Dataset:
    numbered = tf.data.Dataset.zip((records, tf.data.Dataset.counter()))
    return numbered.map(read, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)


def write_tfrecord(path: Path, images: list[bytes], targets: np.ndarray) -> None:
    """Image and target of each record."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for content, target in zip(images, targets, strict=True):
            feature = {
                "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[content])),
                "target": tf.train.Feature(int64_list=tf.train.Int64List(value=[int(target)])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


class Files:
    """(c): what a torch DataLoader reads, augmented by our own `light` policy (NumPy and OpenCV)."""

    def __init__(self, paths: list[str], targets: np.ndarray) -> None:
        self.paths, self.targets, self.policy = paths, targets, get_policy("light")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int):
        import torch

        with Image.open(self.paths[row]) as picture:
            image = np.asarray(picture.convert("RGB"))
        chance = record_generator(int(torch.randint(2**31, ())), 0, row)
        return torch.from_numpy(self.policy(image, chance)).permute(2, 0, 1).float(), int(self.targets[row])


def loader(paths: list[str], targets: np.ndarray):
    """The DataLoader, its two processes kept from epoch to epoch; None without torch."""
    if importlib.util.find_spec("torch") is None:
        print("torch is not installed: c is left out", flush=True)
        return None
    from torch.utils.data import DataLoader

    return DataLoader(Files(paths, targets), batch_size=BATCH, shuffle=True, num_workers=2, persistent_workers=True)


def one_epoch(batches, count: int) -> float:
    """Images per second of one pass."""
    started = time.perf_counter()
    seen = sum(len(batch[1]) for batch in batches)
    if seen != count:
        raise SystemExit(f"{seen} images came, {count} were expected")
    return count / (time.perf_counter() - started)


def build(options: argparse.Namespace, folder: Path) -> tuple[dict, int]:
    """Every way's batches, and the number of images."""
    data = load(options.images, options.count, options.size, folder / "raw")
    mf.prepare(data, folder / "shards", image_size=options.size)
    prepared = mf.load_prepared(folder / "shards")
    contents = [read_image_bytes(path) for path in prepared.frame["path"]]
    height, width = np.asarray(Image.open(io.BytesIO(contents[0]))).shape[:2]
    print(
        f"{len(contents):,} JPEG images of {height} × {width}, {np.mean([len(c) for c in contents]) / 1e3:.0f} kB each"
    )
    (folder / "files").mkdir()
    paths = [str(folder / "files" / f"{name}.jpg") for name in prepared.image_names]
    for path, content in zip(paths, contents, strict=True):
        Path(path).write_bytes(content)
    write_tfrecord(folder / "images.tfrec", contents, prepared.targets)
    spec = image_spec(prepared, options.size)
    decode_images(prepared, spec, folder / "pixels")
    pixels = open_pixels(prepared, spec, folder / "pixels")
    ours = {"batch_size": BATCH, "augmentation": "light"}
    ways = {
        LOADER: loader(paths, prepared.targets),  # first: its processes are forked before TensorFlow has threads
        FILES: from_files(paths, prepared.targets, options.size),
        RECORDS: from_tfrecords(folder / "images.tfrec", len(contents), options.size),
        SHARDS: mf.training_pipeline(prepared, None, spec, **ours),
        PIXELS: mf.training_pipeline(prepared, None, spec, pixels=pixels, **ours),
    }
    return {name: batches for name, batches in ways.items() if batches is not None}, len(contents)


def main() -> None:
    """Time every way and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="?", help="folder with images; synthetic ones without it")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        ways, count = build(options, Path(name))
        for batches in ways.values():  # warm-up
            one_epoch(batches, count)
        rates = {way: [] for way in ways}
        for _ in range(options.rounds):
            for way, batches in ways.items():
                rates[way].append(one_epoch(batches, count))
    medians = {way: statistics.median(found) for way, found in rates.items()}
    for way in sorted(rates):
        print(f"{way:44} {medians[way]:7,.0f} images/s   ({min(rates[way]):,.0f} to {max(rates[way]):,.0f})")
    for way, peer, aim in AIMS:
        if peer in medians:
            ratio = statistics.median(a / b for a, b in zip(rates[way], rates[peer], strict=True))
            print(f"{way[0]}/{peer[0]}: {ratio:5.2f}   (aim: at least {aim})")


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    main()
