"""A published recipe and its explanations on real images: 1,500 of HAM10000, the frozen MobileNetV2 of Jagtap 2026.

python .ci/real_explain.py ROOT     # ROOT/data/ham10000, ROOT/weights
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import melanomafusion as mf

EXPLAINED = 24


def darkness(image):
    """How much darker than its border a place is, (H, W): pigment, roughly."""
    grey = image.astype("float64").mean(axis=2)
    border = np.median(np.concatenate([grey[:4].ravel(), grey[-4:].ravel(), grey[:, :4].ravel(), grey[:, -4:].ravel()]))
    return np.clip(border - grey, 0, None)


def main():
    """Train the head on kept features, then explain the highest scores of the held-out lesions."""
    shared = Path(sys.argv[1])
    ham, weights = shared / "data" / "ham10000", shared / "weights" / "mobilenet_v2_1.0_224_notop.weights.h5"
    for path in (ham, weights):
        if not path.exists():
            raise SystemExit(f"{path} is missing: the checks on real data cannot be run")
    data = mf.load_ham10000(ham)
    chosen = np.random.default_rng(0).permutation(len(data))[:1500]
    data = mf.assign_folds(data.select(data.image_names[np.sort(chosen)]), 5)
    recipe = mf.get_recipe("jagtap-2026-mobilenetv2").replace(
        weights=str(weights),
        image_size=160,
        fusion="concat",
        stages=[
            {
                "trainable": "head",
                "epochs": 20,
                "schedule": "constant",
                "learning_rate": 5e-4,
                "early_stopping_patience": None,
            }
        ],
    )
    with tempfile.TemporaryDirectory() as folder:
        cv = mf.cross_validate(recipe, data, out=folder, folds=[0])
        found = cv.metrics["folds"][0]["multiclass"]
        majority = (data.held_out(0)[1].frame["diagnosis"] == "nevus").mean()
        macro = found["classes"]["macro mean"]
        print(
            f"seven classes, frozen, lesion fold: accuracy {found['accuracy']:.3f} (majority {majority:.3f}), "
            f"mean precision {macro['precision']:.3f}, mean recall {macro['recall']:.3f}, macro AUC {macro['auc']:.3f}"
        )
        assert found["accuracy"] > majority
        assert 0.75 < macro["auc"] < 0.95
        assert (Path(folder) / "report" / "errors.png").stat().st_size > 50_000
        bundle = mf.Bundle.read(cv.bundles[0])
        explainer, correlations = mf.Explainer([bundle]), []
        rows = {name: row for row, name in enumerate(data.image_names)}
        for name in cv.oof.frame.nlargest(EXPLAINED, "score")["image_name"]:
            image = bundle.spec.load(data.frame["path"].iloc[rows[name]])
            explanation = explainer.explain(image, data.frame, row=rows[name], name=name)
            parts = explanation.attribution
            assert abs(parts.baseline + sum(parts.contributions.values()) - parts.output) < 1e-5
            if explanation.heatmap.std() > 0:
                correlations.append(np.corrcoef(explanation.heatmap.ravel(), darkness(image).ravel())[0, 1])
        print(f"heat maps of {len(correlations)} images: mean correlation with pigment {np.mean(correlations):.3f}")
        assert len(correlations) > EXPLAINED / 2
        assert np.mean(correlations) > 0.1


if __name__ == "__main__":
    main()
