"""Members of synthetic ensembles: one truth, whole patients in each fold, scores that know something of it."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from threadpoolctl import threadpool_limits

from melanomafusion.ensemble.averages import MeanEnsemble, PowerMeanEnsemble, RankMeanEnsemble
from melanomafusion.ensemble.stacking import StackingEnsemble
from melanomafusion.ensemble.weighted import WeightedEnsemble
from melanomafusion.predictions import Predictions

MEANS = {
    "mean": MeanEnsemble,
    "power": lambda **options: PowerMeanEnsemble(3.0, **options),
    "rank mean within fold": lambda **options: RankMeanEnsemble(within_fold=True, **options),
}
LEARNT = {
    "greedy, ranks": lambda **options: WeightedEnsemble(scale="rank", rounds=12, bags=3, **options),
    "simplex": lambda **options: WeightedEnsemble("simplex", **options),
    "stacking": StackingEnsemble,
    "stacking, ranks": lambda **options: StackingEnsemble("rank", nonnegative=True, **options),
}
GIVEN = {"given": lambda **options: WeightedEnsemble.from_weights({"a": 0.5, "b": 0.3, "c": 0.2}, **options)}
KINDS = {**MEANS, **LEARNT, **GIVEN}
RANKED = [name for name in KINDS if "rank" in name]
# One of each class that joins, fits and predicts in its own way; the others share its code.
SOME = ["mean", "greedy, ranks", "stacking", "given"]


@cache
def make_member(seed=0, kind="oof", *, count=241, signal=1.5, decimals=None, folds=3, prefix="i", truth=99):
    """Predictions of records i000 …, four to a patient, whole patients in folds."""
    chance = np.random.default_rng(truth)
    target = (chance.random(count) < 0.3).astype(int)
    row, rng = np.arange(count), np.random.default_rng(seed)
    score = expit(signal * (target - 0.5) + rng.normal(size=count))
    frame = pd.DataFrame(
        {
            "image_name": [f"{prefix}{i:03d}" for i in row],
            "patient_id": [f"p{i // 4:03d}" for i in row],
            "target": target,
            "fold": row // 4 % folds,
            "score": score if decimals is None else np.round(score, decimals),
        }
    )
    return Predictions(frame.drop(columns=["target", "fold"]) if kind == "test" else frame, kind, name=f"m{seed}.csv")


def pytest_generate_tests(metafunc):
    for argument, kinds in (("any_kind", KINDS), ("mean_kind", MEANS), ("learnt_kind", LEARNT)):
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, list(kinds.values()), ids=list(kinds))
    if "some_kind" in metafunc.fixturenames:
        metafunc.parametrize("some_kind", [KINDS[name] for name in SOME], ids=SOME)
    if "free_kind" in metafunc.fixturenames:  # without given weights, which name their members
        free = [name for name in SOME if "given" not in name]
        metafunc.parametrize("free_kind", [KINDS[name] for name in free], ids=free)
    if "rank_kind" in metafunc.fixturenames:
        metafunc.parametrize("rank_kind", [KINDS[name] for name in RANKED], ids=RANKED)


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Threads of linear algebra cost more than they bring for a few hundred records."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def make():
    """The function that makes one member."""
    return make_member


@pytest.fixture
def trio():
    """Three members of 241 records, worth different amounts."""
    return {"a": make_member(0), "b": make_member(1, signal=1.0), "c": make_member(2, signal=0.6)}


@pytest.fixture
def new():
    """Test scores of 60 new records by the same three members."""
    return {name: make_member(seed, "test", count=60, prefix="t") for seed, name in enumerate("abc", start=5)}


@pytest.fixture(scope="session")
def shuffle():
    """The function that gives the same predictions in another order of rows."""

    def shuffled(predictions, seed):
        frame = predictions.frame.sample(frac=1, random_state=seed)
        return Predictions(frame, predictions.kind, name=predictions.name)

    return shuffled


@pytest.fixture(scope="session")
def by_name():
    """The function that gives scores as a series by sorted image name."""
    return lambda predictions: predictions.frame.set_index("image_name")["score"].sort_index()
