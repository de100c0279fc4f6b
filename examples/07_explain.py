"""Why does a model say so? Heat maps, and what the image and each field of the metadata add.

python examples/07_explain.py                                                # synthetic data, a small model
python examples/07_explain.py --run runs/best --data ham10000/ --out explained/
"""

import argparse
import tempfile
from pathlib import Path

import melanomafusion as mf
from melanomafusion.testing import make_siim_isic


def main():
    """Train a small model where no run is given, and explain the image with the highest score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="a finished run on HAM10000; a tiny model on synthetic data without it")
    parser.add_argument("--data", help="its HAM10000 folder")
    parser.add_argument("--out", help="folder for the panel; a temporary folder without it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.run:
            data, run = mf.load_ham10000(options.data), Path(options.run)
        else:
            make_siim_isic(Path(folder), n_patients=120)
            data = mf.assign_folds(mf.load_siim_isic_2020(Path(folder)), n_folds=2)
            run = Path(folder) / "run"
            mf.cross_validate(mf.get_recipe("tiny").replace(epochs=4), data, out=run, folds=[0])
        oof = mf.Predictions.read_csv(run / "oof.csv")
        highest = oof.frame.sort_values("score").iloc[-1]
        bundle = mf.Bundle.read(run / f"fold-{highest['fold']:.0f}" / "bundle")

        row = list(data.image_names).index(highest["image_name"])
        image = bundle.spec.load(data.frame["path"].iloc[row])
        explanation = mf.Explainer([bundle]).explain(image, data.frame, row=row, name=highest["image_name"])
        print(f"{explanation.name}: score {explanation.score:.3f}, {mf.NOT_A_MEDICAL_DEVICE}")
        for part, value in explanation.attribution.contributions.items():
            print(f"  {part:8} {value:+.3f} log odds")
        total = explanation.attribution.baseline + sum(explanation.attribution.contributions.values())
        assert abs(total - explanation.attribution.output) < 1e-5

        out = Path(options.out or folder)
        out.mkdir(parents=True, exist_ok=True)
        mf.save_figure(mf.plot_explanation(explanation, image), out / "explanation.png")
        print(f"panel in {out / 'explanation.png'}, the errors of the run in {run / 'report' / 'errors.png'}")


if __name__ == "__main__":
    main()
