"""What the baselines must reach on real data: an SVM and metadata on 1,500 images, metadata alone on SIIM-ISIC 2020.

python .ci/real_baselines.py ROOT     # ROOT/data/siim-isic-2020, ROOT/data/ham10000
"""

import sys
import time
from pathlib import Path

import numpy as np

import melanomafusion as mf
from melanomafusion.baselines.out_of_fold import baseline_metrics
from melanomafusion.recipes.jagtap_2026 import HAM10000_CLASSES


def siim_metadata(siim):
    """The anchor: sex, age and site over five patient folds of the de-duplicated rows."""
    data = mf.load_siim_isic_2020(siim, with_images=False)
    data = mf.read_competition_folds(data, siim / "image_sizes_and_tfrecord.csv", on_dropped="drop")
    interval = mf.auc_interval(mf.metadata_baseline(mf.assign_folds(data, 5)))
    print(f"SIIM-ISIC 2020, {len(data):,} rows, metadata baseline, 5 patient folds: OOF AUC {interval}")
    assert 0.66 <= interval.estimate <= 0.70, "outside 0.66 to 0.70: higher means a leak"


def ham10000(root):
    """1,500 images, seven classes, one lesion-grouped fold."""
    data = mf.load_ham10000(root)
    chosen = np.random.default_rng(0).permutation(len(data))[:1500]
    data = mf.assign_folds(data.select(data.image_names[np.sort(chosen)]), 5)
    majority = (data.held_out(0)[1].frame["diagnosis"] == "nevus").mean()
    for baseline, auc in ((mf.svm_baseline, (0.70, 0.90)), (mf.metadata_baseline, (0.60, 0.85))):
        oof = baseline(data, HAM10000_CLASSES, folds=[0])
        found = baseline_metrics(oof)
        print(
            f"HAM10000, {oof.name}, {found['records']} held-out records: accuracy {found['accuracy']:.3f} "
            f"(majority {majority:.3f}), macro AUC {found['macro_auc']:.3f}, melanoma AUC {found['auc']:.3f}"
        )
        assert found["accuracy"] > majority - 0.01
        assert auc[0] <= found["auc"] <= auc[1], f"outside {auc}: higher means a leak"


def main():
    """Run all checks; a missing folder is a failure."""
    shared = Path(sys.argv[1])
    siim, ham = shared / "data" / "siim-isic-2020", shared / "data" / "ham10000"
    for path in (siim, ham):
        if not path.exists():
            raise SystemExit(f"{path} is missing: the checks on real data cannot be run")
    for check, folder in ((siim_metadata, siim), (ham10000, ham)):
        started = time.monotonic()
        check(folder)
        print(f"  {check.__name__}: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
