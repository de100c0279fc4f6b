"""Every backbone as ONNX, from random weights: how far logits and heat maps are from Keras over 64 inputs.

python .ci/export_all.py
"""

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

from predictor_speed import make_bundle

import melanomafusion as mf

SMALLEST = {"inception_v3": 107, "convnext_tiny": 64, "tiny": 32}  # with a feature map larger than one place


def main():
    """Export each and print a row; `export_onnx` itself refuses what differs by more than 1e-4."""
    print(f"{'backbone':20} size  logit     heat map  signed map  seconds")
    for name in mf.list_backbones():
        size = SMALLEST.get(name, 96)
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            make_bundle(name, size, f"{folder}/bundle")
            found = mf.Bundle.read(f"{folder}/bundle").onnx["largest_difference"]
        parts = [f"{found[key]:.1e}" for key in ("logit", "heatmap", "signed_map")]
        print(f"{name:20} {size:4}  {'   '.join(parts)}     {time.perf_counter() - started:.0f}", flush=True)


if __name__ == "__main__":
    main()
