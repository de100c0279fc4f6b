r"""Seven classes of HAM10000 on a fixed lesion split: the published frozen MobileNetV2, and our best fused model.

Test lesions are those with int(sha256("test" + lesion_id), 16) % 5 == 0. For each seed a recipe is trained over some
lesion folds of the other lesions, as `melanomafusion train` does, and the mean of its folds scores the test images
once; models with metadata score them again with every field missing. Those second figures of `best-ham10000-additive`
are also the figures of `best-ham10000-image`. With --n-folds 1 one network learns from all of these lesions. A seed
that is done is not trained again, so the script may be stopped and started.

    python benchmarks/ham10000_seven_classes.py --data ham10000/ --out runs/ham7 \
        --weights mobilenet_v2_1.0_224_notop.weights.h5
"""

import argparse
import json
import resource
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from ham10000_fixed_split import fixed_split, show

import melanomafusion as mf
from melanomafusion.atomic import write_json
from melanomafusion.recipes.catalogue import PLANS

FIELDS = ["sex", "age_approx", "anatom_site_general_challenge"]


class Folds(NamedTuple):
    """Some folds of several; of 1, one network learns from all training lesions."""

    trained: tuple[int, ...]
    of: int


def figures(scores: pd.DataFrame, test: mf.Dataset, classes: tuple[str, ...]) -> dict:
    """Accuracy, AUC of melanoma, macro AUC, mean precision and mean recall of (n, k) class scores."""
    scores = scores.set_index("image_name").loc[test.image_names]
    values = scores[[f"score_{name}" for name in classes]].to_numpy()
    table, both = mf.multiclass_metrics(test.frame["diagnosis"].to_numpy(dtype=object), values, classes)
    macro = table.loc["macro mean"]
    return {
        "accuracy": both["accuracy"],
        "melanoma_auc": table.loc["melanoma", "auc"],
        "macro_auc": macro["auc"],
        "mean_precision": macro["precision"],
        "mean_recall": macro["recall"],
    }


def train(name: str, changes: dict, data: mf.Dataset, folds: Folds, out: Path, features: Path) -> dict:
    """Train one seed, score the test lesions with and without their metadata; from disk where it is done."""
    done = out / "figures.json"
    trained = {"n_folds": folds.of, "folds": list(folds.trained) if folds.of > 1 else None}
    if done.is_file():
        known = json.loads(done.read_text())
        if known.get("trained") != trained:
            raise SystemExit(f"{done} is of {known.get('trained')}, asked for is {trained}. Take another --out.")
        return known["figures"]
    learnt_from, test = data.held_out(1)
    folded = mf.assign_folds(learnt_from, folds.of, seed=changes["seed"]) if folds.of > 1 else data
    options = {"folds": folds.trained if folds.of > 1 else [1], "features": features, "on_event": show}
    started, cpu = time.monotonic(), _cpu_seconds()
    if name in PLANS:
        plan = mf.get_plan(name).replace(**changes)
        diagnosis = mf.train_plan(plan, folded, out=out, **options).diagnosis
        recipe, oof, scored_by = plan.recipes[0], diagnosis.oof, out / "ensemble"
    else:
        recipe = mf.get_recipe(name).replace(**changes)
        oof, scored_by = mf.cross_validate(recipe, folded, out=out, **options).oof, out
    of_test = _scores(scored_by, test) if folds.of > 1 else oof.frame
    spent = {"minutes": (time.monotonic() - started) / 60, "processor_minutes": (_cpu_seconds() - cpu) / 60}
    found = {**figures(of_test, test, recipe.classes), **spent}
    if folds.of > 1:
        of_folds = figures(oof.frame, folded.select(oof.frame["image_name"]), recipe.classes)
        found |= {f"{key}_out_of_fold": value for key, value in of_folds.items()}
    if recipe.uses_metadata:
        blank = test.with_columns(
            **{name: pd.array([None] * len(test), dtype=test.frame[name].dtype) for name in FIELDS}
        )
        without = figures(_scores(scored_by, blank), test, recipe.classes)
        found |= {f"{key}_without_metadata": value for key, value in without.items()}
    write_json(done, {"trained": trained, "figures": found})
    return found


def _scores(run: Path, test: mf.Dataset) -> pd.DataFrame:
    """The mean of the folds, and of a plan's members."""
    return mf.predict_run(run, test, on_event=lambda event: None).frame


def _cpu_seconds() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in both)


def main() -> None:
    """Train every recipe for each seed and print a row for each, and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True, help="MobileNetV2 weights file, or imagenet")
    parser.add_argument("--out", required=True)
    parser.add_argument(
        "--recipes", nargs="+", default=["jagtap-2026-mobilenetv2", "best-ham10000-ensemble"], help="And plans."
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--n-folds", type=int, default=20, help="Of our recipes; the published one has no folds.")
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1], help="The folds to train, of several.")
    options = parser.parse_args()
    data, out = fixed_split(mf.load_ham10000(options.data)), Path(options.out)
    train_records, test = data.held_out(1)
    print(f"{len(train_records):,} training and {len(test):,} test records", flush=True)
    for name in options.recipes:
        folds = Folds(tuple(options.folds), options.n_folds if name.startswith("best-") else 1)
        rows = []
        for seed in options.seeds:
            changes = {"weights": options.weights, "seed": seed}
            rows.append(train(name, changes, data, folds, out / f"{name}-seed-{seed}", out / "features"))
            print(
                name, f"seed {seed}:", json.dumps({key: round(value, 4) for key, value in rows[-1].items()}), flush=True
            )
        means = pd.DataFrame(rows).mean()
        print(name, f"mean of {len(rows)}:", json.dumps({k: round(float(v), 4) for k, v in means.items()}), flush=True)
        assert np.isfinite(means).all()


if __name__ == "__main__":
    main()
