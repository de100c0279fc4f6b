"""From a trained run to one image: a portable folder, then its score, probability and heat map.

python examples/08_one_image.py                                      # synthetic data, a small model
python examples/08_one_image.py --run runs/b4 --image lesion.jpg
"""

import argparse
import tempfile
from pathlib import Path

import melanomafusion as mf
from melanomafusion.testing import make_siim_isic

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--run", help="a finished run; a tiny model on synthetic data without it")
parser.add_argument("--image", help="a JPEG or PNG file; a synthetic one without it")
options = parser.parse_args()
with tempfile.TemporaryDirectory() as folder:
    if not options.run:
        make_siim_isic(Path(folder), n_patients=240)
        data = mf.assign_folds(mf.load_siim_isic_2020(folder), n_folds=3)
        mf.cross_validate(mf.get_recipe("tiny"), data, out=f"{folder}/run")

    models = mf.write_ensemble_bundle(options.run or f"{folder}/run", f"{folder}/models")
    mf.export_onnx(models.path)
    predictor = mf.Predictor(models.path)  # neither TensorFlow nor Keras is needed from here on
    image = options.image or next(Path(folder).rglob("*.jpg"))
    prediction = predictor.predict(image, sex="female", age_approx=45, heatmap=True)
    print(f"score {prediction.score:.3f}, threshold {prediction.threshold:.3f}, by {predictor.engine}")
    print(f"probability {prediction.probability}, {prediction.calibrated_on}")
    print(f"heat map {prediction.heatmap.shape}, warnings {prediction.warnings}")
    print(mf.NOT_A_MEDICAL_DEVICE)
