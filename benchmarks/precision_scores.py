r"""What lower precision costs on real images: scores and AUC of each engine and each compressed file, beside Keras.

The run is one of `ham10000_seven_classes.py`; its test lesions are scored. Engines and files take the image and the
metadata as users give them, with every view that the recipe averages.

    python benchmarks/precision_scores.py --run runs/ham7/best-ham10000-seed-0 --data ham10000/
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from ham10000_fixed_split import fixed_split

import melanomafusion as mf
from melanomafusion.deploy.bundle import find_bundles
from melanomafusion.deploy.compression import COMPRESSIONS

ENGINES = ("keras", "onnxruntime", "openvino", "openvino-bf16")
CALIBRATED_ON = 300  # training records; the ranges of int8-static are those of a quarter of them


def score(path: str | Path, engine: str, test: mf.Dataset) -> tuple[np.ndarray, float]:
    """(n, k) class scores, and seconds."""
    predictor = mf.Predictor(path, engine=engine)
    started = time.perf_counter()
    found = predictor.iter_predictions(list(test.frame["path"]), test.frame)
    values = np.array([list(prediction.classes.values()) for prediction in found])
    return values, time.perf_counter() - started


def aucs(values: np.ndarray, test: mf.Dataset, classes: tuple[str, ...]) -> tuple[float, float]:
    """Melanoma AUC and macro AUC."""
    table, _ = mf.multiclass_metrics(test.frame["diagnosis"].to_numpy(dtype=object), values, classes)
    return table.loc["melanoma", "auc"], table.loc["macro mean", "auc"]


def main() -> None:
    """Print a row for each engine and file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True)
    parser.add_argument("--data", required=True)
    options = parser.parse_args()
    learnt_from, test = fixed_split(mf.load_ham10000(options.data)).held_out(1)
    for_ranges = learnt_from.select(np.arange(len(learnt_from)) % (len(learnt_from) // CALIBRATED_ON) == 0)
    (bundle,) = find_bundles(options.run)
    classes = mf.Bundle.read(bundle).recipe.classes
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "model.onnx"
        mf.export_onnx(bundle, graph)
        rows = {engine: (bundle if engine == "keras" else graph, engine) for engine in ENGINES}
        for kind in COMPRESSIONS:
            small = Path(folder) / f"{kind}.onnx"
            mf.compress_onnx(graph, small, kind, for_ranges)
            rows[f"{kind}, onnxruntime"] = (small, "onnxruntime")
        print(f"{len(test):,} test images\n{'':24}melanoma AUC  change   macro AUC  change   largest   seconds    MB")
        reference = None
        for name, (path, engine) in rows.items():
            try:
                values, seconds = score(path, engine, test)
            except mf.MelanomaFusionError as error:
                print(f"{name:24}{error}")
                continue
            reference = values if reference is None else reference
            both, first = aucs(values, test, classes), aucs(reference, test, classes)
            changes = [f"{now:.4f}  {now - before:+.4f}" for now, before in zip(both, first, strict=True)]
            size = Path(path).stat().st_size / 1e6 if Path(path).is_file() else float("nan")
            print(
                f"{name:24}{changes[0]:>21}  {changes[1]:>18}  {np.abs(values - reference).max():.5f}  "
                f"{seconds:7.1f}  {size:5.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
