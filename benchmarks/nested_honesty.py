"""Is the nested score honest? Of cohorts whose members are pure noise, 95 % of the intervals should hold 0.5.

    python benchmarks/nested_honesty.py                # 200 cohorts, some minutes
    python benchmarks/nested_honesty.py --cohorts 20

Patients have several records; both the target and the noise are alike within a patient, so only an interval over
patients can be right. Three intervals of each ensemble: `nested_interval` (a jackknife over patients of the whole
search), the plain patient bootstrap of the nested scores, which takes the weights as given, and the same of the
ensemble on the records it was fitted to, which is not honest: it finds signal where there is none.
"""

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process per core; small matrices gain nothing from threads

import numpy as np
import pandas as pd

import melanomafusion as mf
from melanomafusion.data.folds import deal_groups

KINDS = {
    "weighted, greedy": lambda: mf.WeightedEnsemble(rounds=20, bags=4),
    "weighted, simplex": lambda: mf.WeightedEnsemble("simplex"),
    "stacking": mf.StackingEnsemble,
}
WAYS = ("nested, jackknife of the search", "nested, weights as given", "fitted on itself")


def noise_cohort(seed, patients=250, members=8):
    """Members that know nothing: name → oof predictions in five patient-grouped folds."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, size=patients)
    owner = np.repeat(np.arange(patients), sizes)
    risk = rng.beta(0.35, 4.0, size=patients)
    targets = (rng.random(len(owner)) < risk[owner]).astype("int64")
    groups = pd.DataFrame({"owner": owner, "target": targets}).groupby("owner")["target"].agg(["size", "sum"])
    groups.index = groups.index.map(str)
    fold_of = deal_groups(groups, 5, seed)
    frame = pd.DataFrame(
        {
            "image_name": [f"i{i:05d}" for i in range(len(owner))],
            "patient_id": [f"p{o:04d}" for o in owner],
            "target": targets,
            "fold": [fold_of[str(o)] for o in owner],
        }
    )
    shared = rng.normal(size=len(owner)) + rng.normal(size=patients)[owner]
    scores = [0.5 * shared + rng.normal(size=len(owner)) + rng.normal(size=patients)[owner] for _ in range(members)]
    return {
        f"m{i}": mf.Predictions(frame.assign(score=1 / (1 + np.exp(-score))), "oof") for i, score in enumerate(scores)
    }


def score_cohort(seed, kinds, resamples):
    """kind → way → (interval holds 0.5, AUC, width) of one cohort."""
    members = noise_cohort(seed)
    found = {}
    for kind in kinds:
        intervals = (
            mf.nested_interval(KINDS[kind](), members)[0],
            mf.auc_interval(KINDS[kind]().cross_val_predict(members), resamples=resamples),
            mf.auc_interval(KINDS[kind]().fit_predict(members), resamples=resamples),
        )
        found[kind] = {
            way: (i.low <= 0.5 <= i.high, i.estimate, i.high - i.low) for way, i in zip(WAYS, intervals, strict=True)
        }
    return found


def coverage(cohorts, kinds=tuple(KINDS), resamples=500, progress=False):
    """Over cohorts, on all cores: kind → way → [share of intervals that hold 0.5, mean AUC, mean width]."""
    rows = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(partial(score_cohort, kinds=kinds, resamples=resamples), range(cohorts)):
            rows.append(found)
            if progress and len(rows) % 10 == 0:
                print(f"{len(rows)} of {cohorts} cohorts", file=sys.stderr, flush=True)
    return {kind: {way: np.mean([row[kind][way] for row in rows], axis=0) for way in WAYS} for kind in kinds}


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=200)
    options = parser.parse_args()
    print(f"{options.cohorts} cohorts of 8 noise members: share of 95 % intervals that hold 0.5, mean AUC, mean width")
    for kind, ways in coverage(options.cohorts, progress=True).items():
        for way, (share, auc, width) in ways.items():
            print(f"{kind:18} {way:32} {share:6.1%}   {auc:.3f}   {width:.3f}")


if __name__ == "__main__":
    main()
