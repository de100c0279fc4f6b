"""Cross-validate two recipes on the same folds, ensemble their out-of-fold scores, compare in pairs.

    python examples/03_cross_validate_and_ensemble.py              # synthetic data, a minute
    python examples/03_cross_validate_and_ensemble.py --data siim-isic-2020/ --out runs \\
        --recipes fusion-b4 image-b4 --folds 5
"""

import argparse
import tempfile
from pathlib import Path

import melanomafusion as mf
from melanomafusion.testing import make_siim_isic


def main():
    """Train, ensemble, score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of SIIM-ISIC 2020; synthetic data without it")
    parser.add_argument("--out", help="where runs are kept; a temporary folder without it")
    parser.add_argument("--recipes", nargs="+", default=["tiny", "metadata-tiny"], choices=mf.list_recipes())
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--epochs", type=int, help="at most this many in each stage")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.data is None:
            make_siim_isic(folder, n_patients=200)
        data = mf.assign_folds(mf.load_siim_isic_2020(options.data or folder), options.folds)
        print(data)
        out = Path(options.out or folder)
        members = {}
        for name in options.recipes:
            recipe = mf.get_recipe(name)
            if options.epochs:
                recipe = recipe.replace(epochs=options.epochs)
            members[name] = mf.cross_validate(recipe, data, out=out / "runs" / name, on_event=show).oof

        ensemble = mf.RankMeanEnsemble().fit(members)
        members["rank mean"] = ensemble.cross_val_predict(members)
        for name, scores in members.items():
            print(f"{name:14} AUC {mf.auc_interval(scores)}")
        first = options.recipes[0]
        print(f"rank mean − {first}: {mf.auc_difference(members['rank mean'], members[first])}")
        mf.save_figure(mf.plot_roc(members), out / "roc.png")


def show(event):
    """One line per fold."""
    if event["kind"] == "predict":
        print(f"  fold {event['fold']}: scoring {event['records']:,} held-out records", flush=True)


if __name__ == "__main__":
    main()
