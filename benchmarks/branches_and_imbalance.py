r"""What metadata add, and what class weights and oversampling do to AUC and calibration: HAM10000, five lesion folds.

Melanoma against the rest on the kept features of a frozen MobileNetV2, so that every comparison is of heads trained on
the same features in the same folds. "Prior" is the correction of the odds for the prevalence the model was trained at
(`Calibrator("prior")`), cross-fitted; it needs no labels but the prevalence.

    python benchmarks/branches_and_imbalance.py --data ham10000/ --out runs/branches \
        --weights mobilenet_v2_1.0_224_notop.weights.h5
"""

import argparse
from pathlib import Path

import melanomafusion as mf

STAGE = {
    "trainable": "head",
    "epochs": 30,
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "early_stopping_patience": None,
    "augmentation": "none",
}
BRANCHES = {"image": "image", "metadata": "metadata", "fused": "concat"}
TREATMENTS = {"none": None, "class_weight": 0.5, "oversample": 0.2}


def main() -> None:
    """Train six heads over the same folds and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True, help="MobileNetV2 weights file, or imagenet")
    parser.add_argument("--out", required=True)
    parser.add_argument("--image-size", type=int, default=160)
    options = parser.parse_args()
    data, out = mf.assign_folds(mf.load_ham10000(options.data), 5, seed=0), Path(options.out)
    base = mf.get_recipe("fusion-mobilenetv2").replace(
        weights=options.weights, image_size=options.image_size, stages=[STAGE], tta=1, imbalance="none"
    )

    def scores(name: str, **changes: object) -> mf.Predictions:
        recipe = base.replace(name=name, **changes)
        return mf.cross_validate(recipe, data, out=out / name, features=out / "features").oof

    branches = {name: scores(f"branch-{name}", fusion=fusion) for name, fusion in BRANCHES.items()}
    print("\nbranch, AUC (95 %, bootstrap over lesions)")
    for name, oof in branches.items():
        print(f"{name:10} {_interval(mf.auc_interval(oof))}")
    for other in ("image", "metadata"):
        print(f"fused − {other}: {_interval(mf.auc_difference(branches['fused'], branches[other]), signed=True)}")
    print("\nimbalance, AUC, calibration as trained and after the prior correction (ECE, slope, intercept, log loss)")
    for name, prevalence in TREATMENTS.items():
        oof = branches["fused"] if name == "none" else scores(f"imbalance-{name}", imbalance=name)
        print(f"{name:13} {_interval(mf.auc_interval(oof))} {_calibration(oof)}")
        if prevalence is not None:
            corrected = mf.Calibrator("prior", trained_prevalence=prevalence).cross_val_predict(oof)
            print(f"{'  prior':13} {_calibration(corrected)}")


def _interval(interval: mf.Interval, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{interval.estimate:{sign}.4f} ({interval.low:{sign}.4f} to {interval.high:{sign}.4f})"


def _calibration(oof: mf.Predictions) -> str:
    values = {
        "ECE": mf.expected_calibration_error(oof.targets, oof.scores),
        "slope": mf.calibration_slope(oof.targets, oof.scores),
        "intercept": mf.calibration_intercept(oof.targets, oof.scores),
        "log loss": mf.log_loss(oof.targets, oof.scores),
    }
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items())


if __name__ == "__main__":
    main()
