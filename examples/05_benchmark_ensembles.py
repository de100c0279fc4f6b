"""Benchmark ensembles of out-of-fold scores: members in, a table and plots out. No images, no TensorFlow.

    python examples/05_benchmark_ensembles.py                          # synthetic scores
    python examples/05_benchmark_ensembles.py --data oof_tidy_train.csv \\
        --scores cp1=cp1_mean:fold_0806 cp2=cp2_mean:fold_0806 cp3=cp3_mean:fold_1306
"""

import argparse
import tempfile
from pathlib import Path

import melanomafusion as mf
from melanomafusion.testing import make_members

OPTIONS = {"missing": "intersect"}  # members that lack records, or have folds of their own
ENSEMBLES = {
    "mean": mf.MeanEnsemble(**OPTIONS),
    "geometric mean": mf.GeometricMeanEnsemble(**OPTIONS),
    "power mean, p = 2": mf.PowerMeanEnsemble(2.0, **OPTIONS),
    "logit mean": mf.LogitMeanEnsemble(**OPTIONS),
    "rank mean": mf.RankMeanEnsemble(**OPTIONS),
    "weighted, greedy": mf.WeightedEnsemble(**OPTIONS),
    "weighted, simplex": mf.WeightedEnsemble("simplex", **OPTIONS),
    "weighted, two members": mf.WeightedEnsemble(max_members=2, **OPTIONS),
    "weighted, greedy, ranks": mf.WeightedEnsemble(scale="rank", **OPTIONS),
    "stacking": mf.StackingEnsemble(**OPTIONS),
    "stacking, non-negative": mf.StackingEnsemble(nonnegative=True, **OPTIONS),
    "stacking, sex + age + site": mf.StackingEnsemble(features=("sex", "age", "site"), **OPTIONS),
}


def read(path, specs):
    """Members of a wide table, given as name=score column[:fold column]."""
    parts = {name: columns.split(":") for name, _, columns in (spec.partition("=") for spec in specs)}
    folds = {name: columns[1] for name, columns in parts.items() if len(columns) > 1}
    return mf.read_members(path, {name: columns[0] for name, columns in parts.items()}, fold=folds or None)


def main():
    """Score every ensemble in nested patient folds and compare it with the best member in its own currency."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="wide table of out-of-fold scores; synthetic ones without it")
    parser.add_argument("--scores", nargs="+", default=[], help="name=score column[:fold column]")
    parser.add_argument("--out", help="folder for plots and the report; a temporary one without it")
    options = parser.parse_args()
    members = read(options.data, options.scores) if options.data else make_members()
    out = Path(options.out or tempfile.mkdtemp())

    print(f"{'':28} {'nested AUC, 95 % over patients':34} against its best member (paired)")
    for name, member in mf.align(members, **OPTIONS).items():
        print(f"{name:28} {mf.auc_interval(member)!s:34}")
    scored = {}
    for name, ensemble in ENSEMBLES.items():
        diagnosis = mf.diagnose(ensemble, members, parts=False)
        scored[name] = diagnosis.oof
        print(f"{name:28} {diagnosis.auc!s:34} {diagnosis.gain} {diagnosis.best}")

    best = max(scored, key=lambda name: mf.roc_auc(scored[name].targets, scored[name].scores))
    diagnosis = mf.diagnose(ENSEMBLES[best], members)
    print(f"\n{best}: {diagnosis.verdict}")
    print(diagnosis.members.round(4).to_string())
    mf.write_diagnosis(diagnosis, out)
    mf.evaluate(diagnosis.oof, resamples=1000).write(out / "report")
    print(f"Wrote figures to {out}, and {out / 'report' / 'report.html'}")


if __name__ == "__main__":
    main()
