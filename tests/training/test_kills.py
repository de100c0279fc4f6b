"""Killed at any moment and started again, a fold ends with the weights, history and scores that it would have had."""

import signal

import killing
import numpy as np
import pytest


@pytest.mark.parametrize("recipe", ["frozen", "two-stage", "mixed"])
def test_a_fold_killed_again_and_again_ends_as_if_nothing_had_happened(recipe, folded, check_same, tmp_path):
    """Four times each: at batches, in half-written files, before and behind renames, in the bundle."""
    wanted, out = tmp_path / "undisturbed", tmp_path / "killed"
    code, moments = killing.run(folded, recipe, wanted)
    assert code == 0
    rng = np.random.default_rng(list(killing.RECIPES).index(recipe))
    for part in range(4):
        moment = int(rng.integers(10, moments // 3)) if part < 3 else int(rng.integers(10, 60))
        assert killing.run(folded, recipe, out, moment)[0] == -signal.SIGKILL
        assert not (out / "metrics.json").exists()
        if part == 2:  # and a damaged disk besides
            newest = max((out / "checkpoints").glob("checkpoint-*"))
            content = bytearray((newest / "arrays.npz").read_bytes())
            content[len(content) // 2] ^= 1
            (newest / "arrays.npz").write_bytes(content)
    assert killing.run(folded, recipe, out)[0] == 0
    check_same(out, wanted)
    assert sorted(path.name for path in out.iterdir() if path.name not in ("features", "pixels")) == [
        "bundle",
        "history.csv",
        "lock",
        "metrics.json",
        "oof.csv",
    ]
