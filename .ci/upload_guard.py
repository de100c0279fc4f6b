"""20,000 mutated image files through the server, in this process: no 5xx, the slowest answer, and memory.

python .ci/upload_guard.py --count 20000
"""

import argparse
import importlib.util
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
from fastapi.testclient import TestClient

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))


def load(name):
    """A module of the tests."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / "serve" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def megabytes():
    """In use now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def main():
    """Send them all; exit with 1 where an answer is a 5xx or takes more than a second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    options = parser.parse_args()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    uploads, painted = load("test_uploads"), load("conftest").picture
    from predictor_speed import make_bundle

    from melanomafusion.deploy.predictor import Predictor
    from melanomafusion.serve.app import build_app

    with tempfile.TemporaryDirectory() as folder:
        make_bundle("tiny", 32, f"{folder}/bundle")
        app = build_app(Predictor(f"{folder}/bundle", engine="onnxruntime", threads=1), slots=2)
        statuses, slowest, early = {}, 0.0, 0.0
        with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
            for number, content in enumerate(uploads.mutated(uploads.originals(painted), options.count, seed=1)):
                started = time.perf_counter()
                answer = client.post("/api/v1/predict", files={"image": ("a.jpg", content, "image/jpeg")})
                slowest = max(slowest, time.perf_counter() - started)
                statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
                if number == options.count // 10:
                    early = megabytes()
    late = megabytes()
    print(
        f"{options.count:,} files: {dict(sorted(statuses.items()))}; slowest {slowest:.2f} s; memory after a tenth "
        f"{early:.0f} MB, at the end {late:.0f} MB"
    )
    sys.exit(any(status >= 500 for status in statuses) or slowest > 1)


if __name__ == "__main__":
    main()
