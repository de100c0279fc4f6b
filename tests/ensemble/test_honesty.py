"""The nested score of ensembles of pure noise is honest; the score on the fitted records is not. A small run of
`benchmarks/nested_honesty.py`, which prints the whole one."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "nested_honesty.py"


@pytest.fixture(scope="module")
def honesty():
    spec = importlib.util.spec_from_file_location("nested_honesty", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def found(honesty, kind, cohorts):
    rows = [honesty.score_cohort(seed, [kind], 200)[kind] for seed in range(cohorts)]
    return {way: np.mean([row[way] for row in rows], axis=0) for way in honesty.WAYS}


def test_noise_scores_one_half_in_nested_folds_and_more_on_itself(honesty):
    jackknife, plain, fitted = found(honesty, "stacking", 12).values()
    assert jackknife[0] >= 10 / 12  # share of intervals that hold 0.5
    assert abs(plain[1] - 0.5) < 0.04  # mean AUC
    assert fitted[1] > 0.56
    assert fitted[0] < 0.5 < jackknife[0]


def test_searched_weights_are_scored_honestly_too(honesty):
    jackknife, plain, fitted = found(honesty, "weighted, greedy", 3).values()
    assert jackknife[0] >= 2 / 3
    assert fitted[1] > plain[1] + 0.02
