"""Shared by the tests of training that is stopped: what it means that two folds are the same."""

import json

import killing
import numpy as np
import pytest


@pytest.fixture(scope="session")
def check_same():
    """Call with two folders of folds: fails unless they hold the same results."""
    return _check_same


def _check_same(fold, wanted):
    """Weights to the last bit, history (with learning rates and epochs), scores and figures."""
    ours, theirs = killing.weights(fold / "bundle"), killing.weights(wanted / "bundle")
    assert ours.keys() == theirs.keys()
    assert max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours) == 0.0
    for name in ("history.csv", "oof.csv"):
        assert (fold / name).read_bytes() == (wanted / name).read_bytes(), name
    figures = [json.loads((folder / "metrics.json").read_text()) for folder in (fold, wanted)]
    for spent in ("seconds", "peak_memory"):
        assert [figure.pop(spent) > 0 for figure in figures] == [True, True]
    assert figures[0] == figures[1]
