"""Killed at any moment and started again, a fold ends with the weights, history and scores that it would have had."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("killing.py")


@pytest.fixture(scope="session")
def undisturbed(synthetic_root, tmp_path_factory):
    """Recipe → (folder of a run that nothing stopped, its number of moments); each trained once."""
    runs = {}

    def run(recipe):
        if recipe not in runs:
            out = tmp_path_factory.mktemp(recipe) / "run"
            done = train(synthetic_root, recipe, out)
            assert done.returncode == 0, done.stderr
            runs[recipe] = out, int(done.stdout.split()[-1])
        return runs[recipe]

    return run


def train(data, recipe, out, moment=None):
    moments = [] if moment is None else [str(moment)]
    return subprocess.run(
        [sys.executable, str(SCRIPT), str(data), recipe, str(out), *moments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("recipe", ["frozen", "two-stage", "mixed"])
def test_a_fold_killed_again_and_again_ends_as_if_nothing_had_happened(
    recipe, synthetic_root, undisturbed, check_same, tmp_path
):
    """Four times each: at batches, in half-written files, before and behind renames, in the bundle."""
    wanted, moments = undisturbed(recipe)
    rng = np.random.default_rng(["frozen", "two-stage", "mixed"].index(recipe))
    out = tmp_path / "run"
    for part in range(4):
        moment = int(rng.integers(10, moments // 3)) if part < 3 else int(rng.integers(10, 60))
        assert train(synthetic_root, recipe, out, moment).returncode == -signal.SIGKILL
        assert not (out / "metrics.json").exists()
        if part == 2:  # and a damaged disk besides
            newest = max((out / "checkpoints").glob("checkpoint-*"))
            content = bytearray((newest / "arrays.npz").read_bytes())
            content[len(content) // 2] ^= 1
            (newest / "arrays.npz").write_bytes(content)
    done = train(synthetic_root, recipe, out)
    assert done.returncode == 0, done.stderr
    check_same(out, wanted)
    assert sorted(path.name for path in out.iterdir() if path.name not in ("features", "pixels")) == [
        "bundle",
        "history.csv",
        "lock",
        "metrics.json",
        "oof.csv",
    ]
