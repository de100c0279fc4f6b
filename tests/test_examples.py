"""Every example runs without arguments on synthetic data."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
SAYS = {
    "01_load_verify_split": "wrote",
    "02_own_keras_loop": "held-out AUC",
    "03_cross_validate_and_ensemble": "rank mean",
    "04_kaggle_submission": "image_name,target",
    "05_benchmark_ensembles": "nested AUC",
    "06_audit_combine_prepare": "the same pixels",
    "07_explain": "log odds",
    "08_one_image": "probability",
}


def test_every_example_is_known_here():
    assert {path.stem for path in EXAMPLES} == set(SAYS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path):
    arguments = ["--epochs", "2"] if path.stem[:2] in ("02", "03") else []
    run = subprocess.run(
        [sys.executable, "-P", str(path), *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert SAYS[path.stem] in run.stdout
    assert len(path.read_text(encoding="utf-8").splitlines()) < 80
