r"""How long training waits for its input: MobileNetV2 with metadata, all layers, from prepared shards.

The model of the recipe `fusion-mobilenetv2` is trained by `train_on_batch` on the batches of `training_pipeline`.
Waiting is the time in `next(batches)`. Turn by turn with it the same model trains on one batch kept in memory, an input
that costs nothing: what the pipeline's threads take from the model is seen there.

    python benchmarks/input_share.py --data ham10000/ --weights mobilenet_v2_1.0_224_notop.weights.h5
"""

import argparse
import itertools
import os
import tempfile
import time
from pathlib import Path

import keras

import melanomafusion as mf
from melanomafusion.images.prepared import image_spec
from melanomafusion.testing import make_siim_isic
from melanomafusion.training.compiled import build_loss, set_trainable
from melanomafusion.training.devices import set_up_keras
from melanomafusion.training.fit import build_model
from melanomafusion.training.optimizers import build_optimizer

BLOCK = 20  # steps of one kind before the other has its turn


def shards(options: argparse.Namespace, folder: Path) -> mf.Dataset:
    """Prepared images of the wanted size."""
    if options.prepared:
        return mf.load_prepared(options.prepared)
    if options.data is None:
        make_siim_isic(folder / "raw", n_patients=400, image_size=256, prevalence=0.15)
        data = mf.load_siim_isic_2020(folder / "raw")
    else:
        data = mf.load_ham10000(options.data)
    mf.prepare(data, folder / "shards", image_size=options.image_size)
    return mf.load_prepared(folder / "shards")


def build(recipe: mf.Recipe, data: mf.Dataset) -> tuple[keras.Model, object]:
    """The compiled model of the last stage, and its batches, epoch after epoch."""
    set_up_keras(recipe, 0)
    encoder = mf.MetadataEncoder(recipe.metadata_features).fit(data.frame)
    model = build_model(recipe, encoder)
    stage = recipe.stages[-1]
    model.compile(build_optimizer(stage, set_trainable(model, recipe, stage)), build_loss(recipe), jit_compile=False)
    pipeline = mf.training_pipeline(
        data,
        encoder,
        image_spec(data, recipe.image_size),
        batch_size=recipe.batch_size,
        class_weight="balanced",
        augmentation=recipe.augmentation,
        metadata_dropout=recipe.metadata_dropout,
    )
    return model, itertools.chain.from_iterable(itertools.repeat(pipeline))


def run(model: keras.Model, batches, steps: int) -> tuple[float, float]:
    """Seconds of so many steps, and of waiting in them."""
    waited, started = 0.0, time.perf_counter()
    for _ in range(steps):
        before = time.perf_counter()
        inputs, labels, weights = next(batches)
        waited += time.perf_counter() - before
        model.train_on_batch(inputs, labels, sample_weight=weights)
    return time.perf_counter() - started, waited


def main() -> None:
    """Train turn by turn and print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="HAM10000 folder; synthetic images without it")
    parser.add_argument("--prepared", help="folder that prepare wrote, instead of --data")
    parser.add_argument("--weights", help="MobileNetV2 weights file, or imagenet; random without it")
    parser.add_argument("--image-size", type=int, default=160)
    parser.add_argument("--augmentation", default="light")
    parser.add_argument("--steps", type=int, default=200, help="of each kind")
    options = parser.parse_args()
    recipe = mf.get_recipe("fusion-mobilenetv2").replace(
        image_size=options.image_size,
        weights=options.weights,
        freeze_batch_norm=options.weights is not None,
        augmentation=options.augmentation,
    )
    with tempfile.TemporaryDirectory() as name:
        data = shards(options, Path(name))
        model, batches = build(recipe, data)
        kept = itertools.repeat(next(batches))
        run(model, batches, 5)  # tracing and warm-up
        seconds, waited, free = 0.0, 0.0, 0.0
        blocks = max(1, round(options.steps / BLOCK))
        for _ in range(blocks):
            block, waiting = run(model, batches, BLOCK)
            seconds, waited = seconds + block, waited + waiting
            free += run(model, kept, BLOCK)[0]
    steps = blocks * BLOCK
    print(f"{len(data):,} records at {options.image_size}², batches of {recipe.batch_size}, {steps} steps of each kind")
    print(f"from shards:         {steps / seconds:6.2f} steps/s, {waited / seconds:.2%} of the time waiting for input")
    print(f"one batch in memory: {steps / free:6.2f} steps/s")
    print(f"ratio {free / seconds:.3f}: what the input costs in all, its work beside the model included")


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    main()
