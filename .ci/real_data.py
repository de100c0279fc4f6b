"""What must hold on the real data: counts, the honest anchor of metadata alone, and short training runs.

python .ci/real_data.py ROOT     # ROOT/data/siim-isic-2020, ROOT/data/ham10000, ROOT/weights
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from sklearn.linear_model import LogisticRegression

import melanomafusion as mf

STAGES = [
    {"trainable": "head", "epochs": 1, "learning_rate": 1e-3, "schedule": "constant"},
    {"trainable": "all", "epochs": 3, "learning_rate": 1e-3, "backbone_learning_rate": 2e-4, "schedule": "cosine"},
]


def siim_table(siim):
    """Counts, and metadata alone over five patient-grouped folds of the de-duplicated rows."""
    data = mf.load_siim_isic_2020(siim, with_images=False)
    test = mf.load_siim_isic_2020(siim, split="test", with_images=False)
    for split, loaded in (("train", data), ("test", test)):
        checks = mf.verify(loaded, "siim-isic-2020", split=split)
        wrong = [check for check in checks if not check.holds]
        assert not wrong, wrong
        print(f"SIIM-ISIC 2020 {split}: all {len(checks)} published figures hold")
    assert not set(data.frame["patient_id"]) & set(test.frame["patient_id"])
    clean = mf.read_competition_folds(data, siim / "image_sizes_and_tfrecord.csv", on_dropped="drop")
    assert (len(clean), int(clean.targets.sum())) == (32692, 581)
    clean = mf.assign_folds(clean, 5)
    parts = []
    for fold in range(5):
        train, held_out = clean.held_out(fold)
        encoder = mf.MetadataEncoder().fit(train.frame)
        model = LogisticRegression(max_iter=1000).fit(encoder.transform(train.frame), train.targets)
        scores = model.predict_proba(encoder.transform(held_out.frame))[:, 1]
        columns = ["image_name", "patient_id", "target", "fold"]
        parts.append(held_out.frame[columns].assign(score=scores))
    oof = mf.Predictions(pd.concat(parts), "oof")
    interval = mf.auc_interval(oof)
    print(f"SIIM-ISIC 2020, sex + age + site, logistic, 5 patient folds, {len(oof):,} rows: OOF AUC {interval}")
    assert 0.66 <= interval.estimate <= 0.70, "outside 0.66 to 0.70: higher means a leak"


def isic_2019_table(table):
    """Counts of the merged file, and folds that keep lesions whole."""
    data = mf.load_isic_2019(table, with_images=False)
    checks = mf.verify(data, "isic-2019")
    wrong = [check for check in checks if not check.holds]
    assert not wrong, wrong
    folds = mf.assign_folds(data, 5).frame
    assert folds[folds["lesion_id"].notna()].groupby("lesion_id")["fold"].nunique().max() == 1
    print(f"ISIC 2019: all {len(checks)} published figures hold; folds by lesion")


def siim_images(siim, weights, out):
    """The real images join, split and train: image only, metadata only, fused."""
    data = mf.load_siim_isic_2020(siim, missing_images="drop")
    assert (len(data), data.frame["patient_id"].nunique(), int(data.targets.sum())) == (926, 631, 465)
    data = mf.assign_folds(data, 2)
    members = {}
    for name in ("image-mobilenetv2", "metadata-mobilenetv2", "fusion-mobilenetv2"):
        recipe = mf.get_recipe(name).replace(imbalance="none")
        if recipe.uses_images:
            recipe = recipe.replace(weights=str(weights), image_size=128, stages=STAGES)
        members[name] = mf.cross_validate(recipe, data, out=out / name).oof
        print(f"{len(data)} real SIIM-ISIC images, 2 patient folds, {name}: OOF AUC {mf.auc_interval(members[name])}")
    gain = mf.auc_difference(members["fusion-mobilenetv2"], members["image-mobilenetv2"])
    print(f"fused − image only: {gain}, paired over patients")
    assert mf.roc_auc(members["fusion-mobilenetv2"].targets, members["fusion-mobilenetv2"].scores) > 0.65


def ham10000(root, weights, out):
    """Melanoma against the rest, lesion-grouped, one short fold."""
    data = mf.assign_folds(mf.load_ham10000(root), 5)
    assert data.frame["grouped_by"].eq("lesion").all()
    assert data.frame.groupby("lesion_id")["fold"].nunique().max() == 1
    stages = [STAGES[0], {**STAGES[1], "epochs": 1}]
    recipe = mf.get_recipe("fusion-mobilenetv2").replace(
        weights=str(weights), image_size=96, stages=stages, imbalance="none", tta=1
    )
    cv = mf.cross_validate(recipe, data, out=out / "ham10000", folds=[0])
    print(
        f"HAM10000, melanoma, one lesion-grouped fold of 5, 96², 2 epochs: AUC {mf.auc_interval(cv.oof)} over lesions"
    )
    assert cv.metrics["auc"] > 0.75


def main():
    """Run all checks; a missing folder is a failure."""
    shared = Path(sys.argv[1])
    siim, ham = shared / "data" / "siim-isic-2020", shared / "data" / "ham10000"
    isic_2019 = shared / "data" / "isic-2019" / "ISIC_2019_Training_Metadata_with_labels.csv"
    weights = shared / "weights" / "mobilenet_v2_1.0_224_notop.weights.h5"
    for path in (siim, ham, isic_2019, weights):
        if not path.exists():
            raise SystemExit(f"{path} is missing: the checks on real data cannot be run")
    out = Path(tempfile.mkdtemp())
    for check, *arguments in (
        (siim_table, siim),
        (isic_2019_table, isic_2019),
        (siim_images, siim, weights, out),
        (ham10000, ham, weights, out),
    ):
        started = time.monotonic()
        check(*arguments)
        print(f"  {check.__name__}: {time.monotonic() - started:.0f} s", flush=True)
    shutil.rmtree(out)


if __name__ == "__main__":
    main()
