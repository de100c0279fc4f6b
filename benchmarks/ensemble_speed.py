"""Four claims about speed, ours and the plain way in one run, ratio printed.

    python benchmarks/ensemble_speed.py            # a few minutes; the plain ways take them
    python benchmarks/ensemble_speed.py --rows 5000 --members 10 --rounds 10 --resamples 100 --million 100000

Scores are made: 33,126 records of 2,056 patients, 584 positive, as in SIIM-ISIC 2020. Each way is timed as the best of
a few repeats where it is short. What the two ways give is compared too: a fast wrong answer is no answer.
"""

import argparse
import time

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

import melanomafusion as mf
from melanomafusion.ensemble.search import greedy_path
from melanomafusion.evaluation.bootstrap import draw_counts
from melanomafusion.evaluation.delong import auc_covariance


def make_scores(rows, members, seed=0):
    """Patients, targets and correlated member scores in (0, 1)."""
    rng = np.random.default_rng(seed)
    patients = rng.integers(max(2, rows * 2056 // 33126), size=rows)
    targets = np.zeros(rows, dtype="int64")
    targets[rng.choice(rows, max(2, rows * 584 // 33126), replace=False)] = 1
    signal = rng.normal(size=rows) + 1.5 * targets
    noise = [rng.normal(size=rows) * rng.uniform(0.6, 1.0) for _ in range(members)]
    return patients, targets, np.stack([1 / (1 + np.exp(-(0.7 * signal + one - 3))) for one in noise])


def timed(call, repeats=1):
    """(best seconds, result)."""
    best = np.inf
    for _ in range(repeats):
        started = time.perf_counter()
        result = call()
        best = min(best, time.perf_counter() - started)
    return best, result


def report(what, ours, plain, agree):
    """One line of the table."""
    print(f"{what:58} ours {ours:9.4f} s   plain {plain:9.3f} s   ratio {plain / ours:6.0f}   {agree}", flush=True)


def exact_auc(targets, scores):
    """One AUC."""
    ours, a = timed(lambda: mf.roc_auc(targets, scores), 200)
    plain, b = timed(lambda: roc_auc_score(targets, scores), 20)
    report(f"exact AUC, {len(targets):,} rows", ours, plain, f"difference {abs(a - b):.0e}")


def greedy_search(targets, members, rounds):
    """The same greedy search with roc_auc_score; equal within 1e-12 goes to the first member."""

    def plainly():
        total, picks = np.zeros(members.shape[1]), []
        for _ in range(rounds):
            found = np.array([roc_auc_score(targets, total + scores) for scores in members])
            picks.append(int(np.argmax(found >= found.max() - 1e-12)))
            total += members[picks[-1]]
        return picks

    ours, path = timed(lambda: greedy_path(members, targets, rounds=rounds), 3)
    plain, picks = timed(plainly)
    same = "same members picked" if picks == path.picks else "OTHER MEMBERS PICKED"
    report(f"greedy search, {len(members)} members, {rounds} rounds", ours, plain, same)


def patient_bootstrap(patients, targets, scores, resamples):
    """The same resamples of patients, their rows gathered and scored one after another."""
    frame = pd.DataFrame({"image_name": [f"i{i:06d}" for i in range(len(targets))], "target": targets, "score": scores})
    frame["patient_id"] = [f"p{patient:05d}" for patient in patients]
    predictions = mf.Predictions(frame, "held_out")
    codes, _ = predictions.clusters

    def plainly():
        rows_of = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
        found = []
        for block in draw_counts(targets, codes, resamples, 0):
            for counts in block:
                drawn = np.repeat(np.arange(len(counts)), counts.astype("int64"))
                rows = np.concatenate([rows_of[code] for code in drawn])
                found.append(roc_auc_score(targets[rows], scores[rows]))
        return np.quantile(found, (0.025, 0.975))

    ours, interval = timed(lambda: mf.auc_interval(predictions, resamples=resamples), 5)
    plain, (low, high) = timed(plainly)
    same = f"{interval.low:.6f} to {interval.high:.6f}, plain {low:.6f} to {high:.6f}"
    report(f"AUC interval, {resamples:,} resamples of patients", ours, plain, same)


def delong(rows):
    """DeLong over many rows; the plain way compares all pairs: timed on few rows, scaled by rows squared."""
    rng = np.random.default_rng(0)
    targets, scores = (rng.random(rows) < 0.02).astype("int64"), rng.random(rows)
    few = min(rows, 20_000)

    def plainly():
        positives, negatives = scores[:few][targets[:few] == 1], scores[:few][targets[:few] == 0]
        wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
        return wins.mean(axis=1).var(ddof=1) / len(positives) + wins.mean(axis=0).var(ddof=1) / len(negatives)

    ours, _ = timed(lambda: auc_covariance(targets, scores), 3)
    plain, variance = timed(plainly, 3)
    _, covariance = auc_covariance(targets[:few], scores[:few])
    agree = f"on {few:,} rows relative difference {abs(covariance[0, 0] / variance - 1):.0e}; plain scaled up"
    report(f"DeLong, {rows:,} rows", ours, plain * (rows / few) ** 2, agree)


def main():
    """Run all four."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=33_126)
    parser.add_argument("--members", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--resamples", type=int, default=2_000)
    parser.add_argument("--million", type=int, default=1_000_000)
    options = parser.parse_args()
    patients, targets, members = make_scores(options.rows, options.members)
    exact_auc(targets, members[0])
    patient_bootstrap(patients, targets, members[0], options.resamples)
    delong(options.million)
    greedy_search(targets, members, options.rounds)


if __name__ == "__main__":
    main()
