r"""Melanoma against the rest on HAM10000, fixed lesion split: our recipe and a plain Keras loop in the same minutes.

Test lesions are those with int(sha256("test" + lesion_id), 16) % 5 == 0. For each seed the recipe is trained and
scored; its whole time (model, training, eight views) is then given to example 02's loop on the same two cores.

    python benchmarks/ham10000_fixed_split.py --data ham10000/ --out runs/ham \
        --weights mobilenet_v2_1.0_224_notop.weights.h5
"""

import argparse
import hashlib
import importlib.util
import json
import time
from pathlib import Path

import numpy as np

import melanomafusion as mf
from melanomafusion.images.pixels import decode_images, open_pixels

STAGES = [
    {"trainable": "head", "epochs": 1, "learning_rate": 1e-3, "schedule": "constant"},
    {
        "trainable": "all",
        "epochs": 7,
        "learning_rate": 1e-3,
        "backbone_learning_rate": 2e-4,
        "schedule": "cosine",
        "warmup_epochs": 0.5,
        "early_stopping_patience": None,
    },
]


def fixed_split(data: mf.Dataset) -> mf.Dataset:
    """Fold 1 = test lesions, fold 0 = the rest."""
    test = [
        int(hashlib.sha256(b"test" + lesion.encode()).hexdigest(), 16) % 5 == 0 for lesion in data.frame["lesion_id"]
    ]
    return data.with_columns(fold=np.array(test, dtype="int64"), grouped_by="lesion")


def plain_loop():
    """`train_and_score` of example 02."""
    path = Path(__file__).parent.parent / "examples" / "02_own_keras_loop.py"
    spec = importlib.util.spec_from_file_location("own_keras_loop", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.train_and_score


def main() -> None:
    """Train both for each seed and print their test AUCs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True, help="MobileNetV2 weights file, or imagenet")
    parser.add_argument("--out", required=True)
    parser.add_argument("--image-size", type=int, default=160)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    data = fixed_split(mf.load_ham10000(options.data))
    train, test = data.held_out(1)
    print(
        f"{len(train):,} training and {len(test):,} test records, {int(test.targets.sum())} test melanomas", flush=True
    )
    out = Path(options.out)
    recipe = mf.get_recipe("fusion-mobilenetv2").replace(
        weights=options.weights, image_size=options.image_size, imbalance="none", validation_fraction=0.1, stages=STAGES
    )
    spec = mf.ImageSpec(recipe.image_size)
    if decode_images(data, spec, out / "pixels"):
        raise SystemExit("some images cannot be read")
    pixels = open_pixels(data, spec, out / "pixels")
    loop, rows = plain_loop(), []
    for seed in options.seeds:
        started = time.monotonic()
        ours = mf.fit_fold(recipe.replace(seed=seed), data, 1, out=out / f"seed-{seed}", pixels=pixels, on_event=show)
        minutes = (time.monotonic() - started) / 60
        theirs = loop(
            train,
            test,
            backbone=recipe.backbone,
            image_size=recipe.image_size,
            weights=recipe.weights,
            minutes=minutes,
            seed=seed,
            pixels=pixels,
        )
        rows.append(
            {
                "seed": seed,
                "minutes": minutes,
                "ours": ours.metrics["auc"],
                "plain": mf.roc_auc(theirs.targets, theirs.scores),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    for name in ("ours", "plain"):
        values = [row[name] for row in rows]
        print(f"{name}: mean test AUC {np.mean(values):.4f} (seeds {', '.join(f'{v:.4f}' for v in values)})")


def show(event: dict) -> None:
    """One line per epoch."""
    if event["kind"] == "epoch":
        chosen = f", validation AUC {event['val_auc']:.4f}" if "val_auc" in event else ""
        print(f"  epoch {event['epoch']}/{event['epochs']}: loss {event['loss']:.4f}{chosen}", flush=True)


if __name__ == "__main__":
    main()
