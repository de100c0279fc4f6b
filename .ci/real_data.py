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


def real_scores(oof_folder):
    """Published AUCs of three real runs, and every kind of ensemble over them, nested."""
    table = oof_folder / "oof_tidy_train.csv"
    folds = {"cp1": "fold_0806", "cp2": "fold_0806", "cp3": "fold_1306"}
    members = mf.read_members(table, {name: f"{name}_mean" for name in folds}, fold=folds)
    common = mf.align(members, missing="intersect")
    two = {name: common[name] for name in ("cp1", "cp3")}
    within = mf.RankMeanEnsemble(within_fold=True, missing="intersect")
    known = {
        "cp1": (members["cp1"], 0.9085),
        "cp2": (members["cp2"], 0.8642),
        "cp3": (members["cp3"], 0.8998),
        "cp1 on common rows": (common["cp1"], 0.9090),
        "rank mean of cp1 and cp3": (mf.RankMeanEnsemble(missing="intersect").cross_val_predict(two), 0.9127),
        "within fold": (within.cross_val_predict(two), 0.9138),
        "cp1 ranked within fold": (mf.rank_scores(common["cp1"], within_fold=True), 0.9125),
        "rank mean of all": (mf.RankMeanEnsemble(missing="intersect").cross_val_predict(common), 0.9070),
    }
    for name, (oof, expected) in known.items():
        found = mf.roc_auc(oof.targets, oof.scores)
        assert round(found, 4) == expected, f"{name}: {found}, published {expected}"
    print(f"three real runs: all {len(known)} published AUCs hold")
    intersect = {"missing": "intersect"}
    plain = mf.diagnose(mf.RankMeanEnsemble(**intersect), members, parts=False)
    print(f"  best member {plain.best} {mf.auc_interval(common['cp1'])}; rank mean of all {plain.auc}, {plain.gain}")
    fitted = {
        "weighted, greedy": mf.WeightedEnsemble(**intersect),
        "weighted, greedy, ranks": mf.WeightedEnsemble(scale="rank", **intersect),
        "weighted, greedy, ranks within fold": mf.WeightedEnsemble(scale="rank_within_fold", **intersect),
        "weighted, simplex": mf.WeightedEnsemble("simplex", **intersect),
        "weighted, partial AUC": mf.WeightedEnsemble("simplex", objective="partial_auc", **intersect),
        "weighted, two members": mf.WeightedEnsemble(max_members=2, **intersect),
        "stacking": mf.StackingEnsemble(**intersect),
        "stacking, non-negative": mf.StackingEnsemble(nonnegative=True, **intersect),
        "stacking, ranks within fold": mf.StackingEnsemble("rank_within_fold", **intersect),
        "stacking, sex + age + site": mf.StackingEnsemble(features=("sex", "age", "site"), **intersect),
    }
    oof = {}
    for name, ensemble in fitted.items():
        diagnosis = mf.diagnose(ensemble, members, parts=False)
        oof[name] = diagnosis.oof
        print(f"  {name:36} nested {diagnosis.auc}, best member {diagnosis.best} {diagnosis.gain} behind")
        assert diagnosis.gain.estimate >= 0, f"{name} loses to its best member"
        assert diagnosis.fitted_auc >= diagnosis.auc.estimate - 1e-3
    gain = mf.compare(oof["stacking, sex + age + site"], oof["stacking"], missing="intersect")
    print(f"  metadata in the stack: {gain.bootstrap}, p = {gain.bootstrap_p:.3f}, paired over patients")
    whole = mf.diagnose(fitted["weighted, greedy"], members)
    print(f"  {whole.verdict}")
    test = mf.read_members(oof_folder / "oof_tidy_test.csv", {n: [f"{n}_f{i}" for i in range(5)] for n in folds})
    scores = fitted["weighted, greedy, ranks"].fit(members).predict(test)
    assert (scores.kind, len(scores)) == ("test", 10982)


def third_place(folder):
    """Both final blends of the third place, from their formulas."""
    scores = {path.stem.removeprefix("submission_"): mf.Predictions.read_csv(path) for path in folder.glob("*.csv")}
    image = [name for name in scores if name.startswith("EfficientNet")]
    external = ["ajaykumar7778", "rajnishe"]
    assert (len(image), len(scores)) == (8, 11)
    for share, each, names in ((0.2, 0.1, image), (0.3, 0.07, image + external)):
        weights = {"simple_baseline": share, **dict.fromkeys(names, each)}
        blend = mf.WeightedEnsemble.from_weights(weights).predict({name: scores[name] for name in weights})
        by_name = {name: scores[name].frame.set_index("image_name")["score"] for name in weights}
        expected = sum(by_name[name] * weight for name, weight in weights.items())
        found = blend.frame.set_index("image_name")["score"]
        assert abs(found - expected[found.index]).max() < 1e-15
        print(f"third place: {share} × metadata + {each} × each of {len(names)}, {len(blend):,} records, reproduced")


def main():
    """Run all checks; a missing folder is a failure."""
    shared = Path(sys.argv[1])
    siim, ham = shared / "data" / "siim-isic-2020", shared / "data" / "ham10000"
    isic_2019 = shared / "data" / "isic-2019" / "ISIC_2019_Training_Metadata_with_labels.csv"
    weights = shared / "weights" / "mobilenet_v2_1.0_224_notop.weights.h5"
    oof, blends = shared / "data" / "oof", shared / "data" / "submissions" / "third-place"
    for path in (siim, ham, isic_2019, weights, oof, blends):
        if not path.exists():
            raise SystemExit(f"{path} is missing: the checks on real data cannot be run")
    out = Path(tempfile.mkdtemp())
    for check, *arguments in (
        (siim_table, siim),
        (isic_2019_table, isic_2019),
        (third_place, blends),
        (real_scores, oof),
        (siim_images, siim, weights, out),
        (ham10000, ham, weights, out),
    ):
        started = time.monotonic()
        check(*arguments)
        print(f"  {check.__name__}: {time.monotonic() - started:.0f} s", flush=True)
    shutil.rmtree(out)


if __name__ == "__main__":
    main()
