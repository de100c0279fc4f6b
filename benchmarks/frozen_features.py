r"""The head of a frozen backbone trained for 20 epochs on 2,000 images: on kept features, and by a plain `model.fit`.

Both start from the same weights, read the same decoded images in the same order and score the validation records after
each epoch. Times are of training alone: for ours the pass over the images is part of it, and once more without it, as
in the next run with the same backbone, weights, size and images.

    python benchmarks/frozen_features.py                        # synthetic images, random weights
    python benchmarks/frozen_features.py --data ham10000/ --weights mobilenet_v2_1.0_224_notop.weights.h5
"""

import argparse
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

import melanomafusion as mf
from melanomafusion.images.pixels import decode_images, open_pixels
from melanomafusion.testing import make_siim_isic
from melanomafusion.training.devices import set_up_keras
from melanomafusion.training.fit import build_model
from melanomafusion.training.stages import train_stages

SEED = 0
STAGE = {"trainable": "head", "learning_rate": 1e-3, "schedule": "constant", "early_stopping_patience": None}


def load(options: argparse.Namespace, folder: Path) -> mf.Dataset:
    """So many records, drawn by chance, in five folds."""
    if options.data is None:
        make_siim_isic(folder, n_patients=max(100, options.images // 3), image_size=64, prevalence=0.15)
        data = mf.load_siim_isic_2020(folder)
    else:
        data = mf.load_ham10000(options.data)
    drawn = np.random.default_rng(SEED).permutation(len(data))[: options.images]
    return mf.assign_folds(data.select(data.image_names[np.sort(drawn)]), 5, seed=SEED)


def on_features(recipe: mf.Recipe, parts: dict, features: Path) -> tuple[float, float]:
    """Seconds and last validation AUC of ours."""
    set_up_keras(recipe, SEED)
    model = build_model(recipe, parts["encoder"])
    started = time.monotonic()
    history, _ = train_stages(
        model, recipe, **parts, features=features, seed=SEED, report=lambda event: None, tensorboard=None
    )
    return time.monotonic() - started, history[-1]["val_auc"]


def on_images(recipe: mf.Recipe, parts: dict) -> tuple[float, float]:
    """Seconds and last validation AUC of a plain `model.fit`."""
    set_up_keras(recipe, SEED)
    encoder, spec, pixels = parts["encoder"], parts["spec"], parts["pixels"]
    model = build_model(recipe, encoder)
    batches = mf.training_pipeline(
        parts["fit"],
        encoder,
        spec,
        batch_size=recipe.batch_size,
        class_weight="balanced",
        augmentation="none",
        seed=SEED,
        pixels=pixels,
    )
    watched = mf.inference_pipeline(parts["validation"], encoder, spec, pixels=pixels)
    started = time.monotonic()
    model.get_layer(recipe.backbone).trainable = False
    model.compile(
        keras.optimizers.Adam(STAGE["learning_rate"]),
        keras.losses.BinaryCrossentropy(from_logits=True),
        jit_compile=False,
    )
    model.fit(batches, validation_data=watched, epochs=recipe.epochs, shuffle=False, verbose=0)
    seconds = time.monotonic() - started
    return seconds, mf.roc_auc(parts["validation"].targets, model.predict(watched, verbose=0)[:, 0])


def main() -> None:
    """Train ours twice and the plain loop once, and print times, their ratios and validation AUCs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="HAM10000 folder; synthetic images without it")
    parser.add_argument("--weights", help="MobileNetV2 weights file, or imagenet; random without it")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    recipe = mf.get_recipe("fusion-mobilenetv2").replace(
        image_size=options.image_size,
        weights=options.weights,
        freeze_batch_norm=options.weights is not None,
        augmentation="none",
        metadata_dropout=0.0,
        stages=[{**STAGE, "epochs": options.epochs}],
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = load(options, folder / "data")
        spec = mf.ImageSpec(recipe.image_size)
        if decode_images(data, spec, folder / "pixels"):
            raise SystemExit("some images cannot be read")
        fit, validation = data.held_out(0)
        parts = {
            "fit": fit,
            "validation": validation,
            "encoder": mf.MetadataEncoder(recipe.metadata_features).fit(fit.frame),
            "spec": spec,
            "pixels": open_pixels(data, spec, folder / "pixels"),
        }
        print(f"{len(fit):,} training, {len(validation):,} validation images, {recipe.epochs} epochs", flush=True)
        first, auc = on_features(recipe, parts, folder / "features")
        print(f"ours, first run:   {first:7.1f} s, validation AUC {auc:.4f}", flush=True)
        again, auc = on_features(recipe, parts, folder / "features")
        print(f"ours, next run:    {again:7.1f} s, validation AUC {auc:.4f}", flush=True)
        plain, auc = on_images(recipe, parts)
        print(f"plain model.fit:   {plain:7.1f} s, validation AUC {auc:.4f}", flush=True)
    print(f"ratio: {plain / first:.1f} in the first run, {plain / again:.1f} in the next")


if __name__ == "__main__":
    main()
