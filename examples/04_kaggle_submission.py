"""Train over folds and write a Kaggle submission for the test split: the mean of the folds' scores.

python examples/04_kaggle_submission.py                        # synthetic data
python examples/04_kaggle_submission.py --data siim-isic-2020/ --recipe fusion-b4 --folds 5 --out runs/b4
"""

import argparse
import tempfile
from pathlib import Path

import melanomafusion as mf
from melanomafusion.testing import make_siim_isic


def main():
    """Train, predict the test split, write submission.csv."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of SIIM-ISIC 2020 with its test split; synthetic data without it")
    parser.add_argument("--recipe", default="tiny", choices=mf.list_recipes())
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--out", help="run folder; a temporary one without it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = options.data or f"{folder}/data"
        if options.data is None:
            make_siim_isic(root, n_patients=120, n_test_patients=20)
        train = mf.assign_folds(mf.load_siim_isic_2020(root), options.folds)
        test = mf.load_siim_isic_2020(root, split="test")
        out = Path(options.out or f"{folder}/run")
        cv = mf.cross_validate(mf.get_recipe(options.recipe), train, out=out)
        print(f"out-of-fold AUC {mf.auc_interval(cv.oof)}")

        scores = mf.predict_run(out, test)
        scores.write_submission(out / "submission.csv")
        print(f"{len(scores):,} scores for Kaggle in {out / 'submission.csv'}")
        print((out / "submission.csv").read_text(encoding="utf-8")[:80])


if __name__ == "__main__":
    main()
