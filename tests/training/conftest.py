"""Shared by the tests of training that is stopped: what it means that two folds are the same."""

import json

import h5py
import numpy as np
import pytest


@pytest.fixture(scope="session")
def check_same():
    """Call with two folders of folds: fails unless they hold the same results."""
    return _check_same


def _weights(bundle):
    found = {}
    with h5py.File(bundle / "model.weights.h5") as file:
        file.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return found


def _check_same(fold, wanted):
    """Weights to the last bit, history (with learning rates and epochs), scores and figures."""
    ours, theirs = _weights(fold / "bundle"), _weights(wanted / "bundle")
    assert ours.keys() == theirs.keys()
    assert max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours) == 0.0
    for name in ("history.csv", "oof.csv"):
        assert (fold / name).read_bytes() == (wanted / name).read_bytes(), name
    figures = [json.loads((folder / "metrics.json").read_text()) for folder in (fold, wanted)]
    for spent in ("seconds", "peak_memory"):
        assert [figure.pop(spent) > 0 for figure in figures] == [True, True]
    assert figures[0] == figures[1]
