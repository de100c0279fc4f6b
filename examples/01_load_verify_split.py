"""Load SIIM-ISIC 2020, compare it with the published counts, assign patient-grouped folds.

python examples/01_load_verify_split.py                       # synthetic data
python examples/01_load_verify_split.py --data siim-isic-2020/
"""

import argparse
import tempfile
from pathlib import Path

import melanomafusion as mf
from melanomafusion.testing import make_siim_isic


def main():
    """Load, verify, describe, split, write folds.csv."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with train.csv and jpeg/train; synthetic data without it")
    parser.add_argument("--table-only", action="store_true", help="leave the images alone")
    parser.add_argument("--out", help="where to write folds.csv; a temporary folder without it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = options.data or folder
        if options.data is None:
            make_siim_isic(folder, n_patients=150)
        data = mf.load_siim_isic_2020(root, with_images=not options.table_only)
        print(data)
        print(data.describe()[["present", "missing", "distinct"]].to_string())

        if options.data is not None:
            checks = mf.verify(data, "siim-isic-2020")
            for check in checks:
                if not check.holds:
                    print(f"differs from the published set: {check.what} {check.found:,}, expected {check.expected:,}")
            print(f"{sum(check.holds for check in checks)} of {len(checks)} published figures hold")

        data = mf.assign_folds(data, n_folds=5, seed=0)
        folds = data.frame.groupby("fold").agg(
            records=("target", "size"), melanomas=("target", "sum"), patients=("patient_id", "nunique")
        )
        print(folds.to_string())

        path = Path(options.out or folder) / "folds.csv"
        mf.write_folds(data, path)
        again = mf.read_folds(data, path)
        assert (again.frame["fold"] == data.frame["fold"]).all()
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
