"""Ensembles by name, and read back from their files: all of them, or one clear error."""

import json

import numpy as np
import pytest

from melanomafusion.ensemble.catalogue import METHODS, read_ensemble
from melanomafusion.ensemble.ensemble import Ensemble
from melanomafusion.ensemble.stacking import StackingEnsemble
from melanomafusion.ensemble.weighted import WeightedEnsemble
from melanomafusion.errors import PredictionsError
from melanomafusion.predictions import Predictions


@pytest.fixture
def write(tmp_path):
    """The function that writes text, bytes or an object as JSON, and gives the path."""

    def written(content):
        path = tmp_path / "ensemble.json"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return written


@pytest.fixture(scope="module")
def texts(make):
    """JSON of a fitted ensemble of each structure, as objects."""
    trio = {name: make(seed) for seed, name in enumerate("abc")}
    fitted = {
        "mean": METHODS["mean"]().fit(trio),
        "power": METHODS["power-mean"]().fit(trio),
        "ranks": METHODS["rank-mean"]().fit(trio),
        "weighted": WeightedEnsemble(scale="rank", rounds=4).fit(trio),
        "given": WeightedEnsemble.from_weights({"a": 0.5, "b": 0.5}),
        "stacking": StackingEnsemble().fit(trio),
        "metadata": StackingEnsemble(features=("sex",)).fit(with_sex(trio)),
    }
    return {name: json.loads(ensemble.to_json()) for name, ensemble in fitted.items()}


def with_sex(members):
    sex = np.where(np.arange(len(members["a"])) % 3 == 0, "male", "female")
    return {n: Predictions(m.frame.assign(sex=sex), m.kind, name=m.name) for n, m in members.items()}


def test_every_kind_is_read_as_written(any_kind, trio, new, write):
    ensemble = any_kind().fit(trio)
    again = read_ensemble(write(ensemble.to_json()))
    assert type(again) is type(ensemble)
    assert again.to_json() == ensemble.to_json()
    np.testing.assert_array_equal(again.predict(new).scores, ensemble.predict(new).scores)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_by_name_is_fitted_written_and_read(method, trio, new, write):
    ensemble = METHODS[method]()
    assert isinstance(ensemble, Ensemble)
    again = read_ensemble(str(write(ensemble.fit(trio).to_json())))
    assert type(again) is type(ensemble)
    np.testing.assert_array_equal(again.predict(new).scores, ensemble.predict(new).scores)


def test_stacking_with_metadata_is_read_as_written(trio, new, write):
    ensemble = StackingEnsemble(features=("sex",)).fit(with_sex(trio))
    again = read_ensemble(write(ensemble.to_json()))
    np.testing.assert_array_equal(again.predict(with_sex(new)).scores, ensemble.predict(with_sex(new)).scores)


def test_an_ensemble_that_was_not_fitted_is_read_as_such(learnt_kind, new, write):
    with pytest.raises(PredictionsError, match="not fitted"):
        read_ensemble(write(learnt_kind().to_json())).predict(new)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(PredictionsError, match=r"There is no file .*nowhere\.json"):
        read_ensemble(tmp_path / "nowhere.json")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(PredictionsError, match="was not written by the ensemble command"):
        read_ensemble(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "null",
        "[]",
        "5",
        '"MeanEnsemble"',
        "{}",
        "image_name,score\ni0,0.5\n",
        b"\xff\xfe\x00",
        b"\x89PNG\r\n",
        {"kind": "MeanEnsemble"},
        {"kind": "Ensemble", "format": 1},
        {"kind": "WhateverEnsemble", "format": 1},
        {"kind": None, "format": 1},
        {"kind": ["MeanEnsemble"], "format": 1},
        {"kind": {}, "format": 1},
    ],
)
def test_other_files_are_refused(content, write):
    path = write(content)
    with pytest.raises(PredictionsError, match="was not written by the ensemble command") as error:
        read_ensemble(path)
    assert str(path) in str(error.value)


STRUCTURES = ("mean", "power", "ranks", "weighted", "given", "stacking", "metadata")


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("version", [0, 2, "1", None, [1]])
def test_another_format_is_refused(structure, version, texts, write):
    with pytest.raises(PredictionsError, match="was not written by the ensemble command"):
        read_ensemble(write({**texts[structure], "format": version}))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_file_without_one_of_its_keys_is_refused(structure, texts, write):
    for key in texts[structure]:
        if key in ("quantiles", "scale") and not texts[structure]["quantiles"]:
            continue  # scores as they are need none, and means of scores have no other scale
        rest = {name: value for name, value in texts[structure].items() if name != key}
        with pytest.raises(PredictionsError, match="was not written by the ensemble command"):
            read_ensemble(write(rest))


@pytest.mark.parametrize(
    "weights",
    [
        {"a": 0.5, "b": 0.6},
        {"a": 0.5, "b": 0.4},
        {"a": 1.5, "b": -0.5},
        {"a": 1.0},
        {"a": 0.5, "b": 0.25, "c": 0.25},
        {"a": 0.5, "x": 0.5},
        {"a": "much", "b": 0.5},
        {"a": None, "b": 1},
        {},
        None,
        [0.5, 0.5],
        "half",
        {"a": 1e999, "b": 0},
    ],
)
def test_weights_that_are_none_are_refused(weights, texts, write):
    with pytest.raises(PredictionsError, match="was not written by the ensemble command"):
        read_ensemble(write({**texts["given"], "weights": weights}))


def test_weights_that_sum_to_1_but_for_rounding_are_taken(texts, write):
    assert read_ensemble(write({**texts["given"], "weights": {"a": 0.5, "b": 0.5 + 1e-9}})).weights["a"] == 0.5


DAMAGE = [
    ("mean", {"members": 5}),
    ("mean", {"members": None}),
    ("mean", {"quantiles": [1]}),
    ("power", {"power": "2"}),
    ("power", {"power": None}),
    ("power", {"power": 1e999}),
    ("power", {"power": True}),
    ("ranks", {"quantiles": {}}),
    ("ranks", {"quantiles": {"a": [0.0, 1.0]}}),
    ("ranks", {"quantiles": {"a": 5, "b": 5, "c": 5}}),
    ("ranks", {"quantiles": {"a": ["x"], "b": [], "c": []}}),
    ("ranks", {"members": ["a", "b"]}),
    ("weighted", {"search": "random"}),
    ("weighted", {"scale": "other"}),
    ("weighted", {"objective": "f1"}),
    ("weighted", {"rounds": 0}),
    ("weighted", {"bags": "3"}),
    ("weighted", {"max_members": 0}),
    ("weighted", {"members": ["a", "b", "d"]}),
    ("weighted", {"quantiles": None}),
    ("given", {"members": ["a"]}),
    ("stacking", {"on": "score"}),
    ("stacking", {"C": 0}),
    ("stacking", {"C": "1"}),
    ("stacking", {"C": None}),
    ("stacking", {"intercept": "x"}),
    ("stacking", {"intercept": None}),
    ("stacking", {"coefficients": [1, 2]}),
    ("stacking", {"coefficients": {"a": "x"}}),
    ("stacking", {"centre": {}}),
    ("stacking", {"centre": {"a": [0, 1], "b": [0, 1]}}),
    ("stacking", {"centre": {"a": 0, "b": 0, "c": 0}}),
    ("stacking", {"centre": {"a": [0], "b": [0], "c": [0]}}),
    ("stacking", {"prevalence": None}),
    ("stacking", {"features": 5}),
    ("stacking", {"members": ["a", "b"]}),
]
# Read without a word, or with another exception than the one that is promised.
KNOWN = [
    ("mean", {"missing": "perhaps"}),
    ("mean", {"members": "abc"}),
    ("mean", {"format": True}),
    ("weighted", {"weights": {"a": float("nan"), "b": 0.5, "c": 0.5}}),
    ("weighted", {"weights": {"a": 10**400, "b": 0.5, "c": 0.5}}),
    ("weighted", {"quantiles": {"a": [0.0, 1.0], "b": [0.0, 1.0], "c": [0.0, 1.0]}}),
    ("weighted", {"quantiles": {"a": [], "b": [], "c": []}}),
    ("weighted", {"seed": -1}),
    ("stacking", {"coefficients": {}}),
    ("stacking", {"coefficients": {"a": 1.0}}),
    ("stacking", {"intercept": float("nan")}),
    ("stacking", {"centre": {"a": [0, 0], "b": [0, 0], "c": [0, 0]}}),
    ("metadata", {"features": ["shoe size"]}),
    ("metadata", {"encoder": "{}"}),
    ("metadata", {"encoder": None}),
    ("metadata", {"encoder": 5}),
]


def named(cases):
    return [f"{structure} {next(iter(change))} {i}" for i, (structure, change) in enumerate(cases)]


@pytest.mark.parametrize(("structure", "change"), DAMAGE, ids=named(DAMAGE))
def test_damaged_values_are_refused(structure, change, texts, write):
    with pytest.raises(PredictionsError, match="was not written by the ensemble command"):
        read_ensemble(write({**texts[structure], **change}))


@pytest.mark.parametrize(("structure", "change"), KNOWN, ids=named(KNOWN))
def test_damaged_values_are_refused_too(structure, change, texts, write):
    with pytest.raises(PredictionsError, match="was not written by the ensemble command"):
        read_ensemble(write({**texts[structure], **change}))


def test_brackets_without_end_are_refused(write):
    with pytest.raises(PredictionsError, match="was not written by the ensemble command"):
        read_ensemble(write("[" * 100_000))


def test_every_truncation_is_refused(texts, write):
    text = json.dumps(texts["stacking"])
    for length in range(0, len(text) - 1, 29):
        with pytest.raises(PredictionsError, match="was not written by the ensemble command"):
            read_ensemble(write(text[:length]))
