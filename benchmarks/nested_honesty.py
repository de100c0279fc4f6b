"""Is the nested score honest? Cohorts whose members are pure noise must score 0.5, within the interval, 95 times of 100.

    python benchmarks/nested_honesty.py                # 200 cohorts, some minutes
    python benchmarks/nested_honesty.py --cohorts 20

Patients have several records; both the target and the noise are alike within a patient, so only an interval over patients
can be right. Beside the nested score stands the score of the ensemble on the records it was fitted to, which is not
honest: it finds signal where there is none.
"""

import argparse

import numpy as np
import pandas as pd

import melanomafusion as mf
from melanomafusion.data.folds import deal_groups

KINDS = {
    "weighted, greedy": lambda: mf.WeightedEnsemble(rounds=20, bags=4),
    "weighted, simplex": lambda: mf.WeightedEnsemble("simplex"),
    "stacking": mf.StackingEnsemble,
}


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


def coverage(cohorts, resamples=500, kinds=None):
    """Share of cohorts whose 95 % interval holds 0.5, and the mean AUC: nested, and fitted on itself.

    Returns:
        kind → (nested coverage, nested mean AUC, fitted coverage, fitted mean AUC).
    """
    found = {kind: [] for kind in kinds or KINDS}
    for seed in range(cohorts):
        members = noise_cohort(seed)
        for kind, rows in found.items():
            both = (KINDS[kind]().cross_val_predict(members), KINDS[kind]().fit_predict(members))
            intervals = [mf.auc_interval(oof, resamples=resamples) for oof in both]
            rows.append([value for i in intervals for value in (i.low <= 0.5 <= i.high, i.estimate)])
    return {kind: tuple(np.mean(rows, axis=0)) for kind, rows in found.items()}


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=200)
    options = parser.parse_args()
    print(f"{options.cohorts} cohorts of 8 noise members; share of 95 % intervals that hold 0.5 (mean AUC)")
    for kind, (nested, nested_auc, fitted, fitted_auc) in coverage(options.cohorts).items():
        print(f"{kind:20} nested {nested:.1%} ({nested_auc:.3f})   fitted on itself {fitted:.1%} ({fitted_auc:.3f})")


if __name__ == "__main__":
    main()
