"""The SVM baseline: fitted on training rows alone, against the same machine put together by hand."""

import re

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC

import melanomafusion as mf
from melanomafusion.baselines import svm as module
from melanomafusion.baselines.handcrafted import handcrafted_features
from melanomafusion.baselines.svm import dataset_features, svm_baseline
from melanomafusion.errors import ImageError, RunError
from melanomafusion.images.spec import ImageSpec

CLASSES = ("AK", "BCC", "BKL", "DF", "VASC", "melanoma", "nevus")


@pytest.fixture(scope="module")
def features(ham):
    """(126, D) of the small HAM10000 at 40 pixels."""
    return dataset_features(ham, 40)


@pytest.fixture
def given_features(monkeypatch, features):
    """Features are looked up instead of computed."""
    monkeypatch.setattr(module, "dataset_features", lambda *_, **__: features.copy())


def fitted_by_hand(features, labels, train, **options):
    mean, deviation = features[train].mean(axis=0), features[train].std(axis=0)
    deviation[deviation < 1e-7] = 1.0
    scaled = (features - mean) / deviation
    machine = SVC(**{"C": 5.0, "gamma": 1 / (scaled.shape[1] * scaled[train].var()), **options})
    return machine.fit(scaled[train], labels[train]).decision_function(scaled[~train])


def test_features_of_a_data_set_are_those_of_its_images_in_order(ham, features):
    for row in (0, 50, 125):
        path = ham.frame["path"][row]
        assert features[row] == pytest.approx(handcrafted_features(ImageSpec(40).load(path)))
    assert dataset_features(ham.select(ham.image_names[[7, 3]]), 40, workers=1) == pytest.approx(features[[7, 3]])


@pytest.mark.usefixtures("given_features")
def test_scores_are_the_softmax_of_the_decision_values(ham, features):
    oof = svm_baseline(ham, CLASSES, folds=[1])
    labels = np.array([CLASSES.index(diagnosis) for diagnosis in ham.frame["diagnosis"]])
    train = ham.frame["fold"].to_numpy() != 1
    values = np.exp(fitted_by_hand(features, labels, train))
    wanted = values / values.sum(axis=1, keepdims=True)
    found = oof.frame[[f"score_{label}" for label in CLASSES]].to_numpy()
    assert found == pytest.approx(wanted, abs=1e-3)
    assert found.sum(axis=1) == pytest.approx(1)
    assert oof.scores == pytest.approx(found[:, 5])


@pytest.mark.usefixtures("given_features")
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_a_binary_score_is_the_sigmoid_of_the_decision_value(ham, features, class_weight):
    oof = svm_baseline(ham, folds=[0], penalty=0.2, gamma=0.01, class_weight=class_weight)
    train = ham.frame["fold"].to_numpy() != 0
    values = fitted_by_hand(features, ham.targets, train, C=0.2, gamma=0.01, class_weight=class_weight)
    assert oof.scores == pytest.approx(1 / (1 + np.exp(-values)), abs=1e-3)
    assert list(oof.image_names) == list(ham.image_names[~train])


def test_lesions_of_seven_tints_are_told_apart_and_the_same_call_gives_the_same_scores(ham):
    events = []
    oof = svm_baseline(ham, CLASSES, image_size=40, on_event=events.append)
    assert len(oof) == len(ham)
    found = oof.frame[[f"score_{label}" for label in CLASSES]].to_numpy().argmax(axis=1)
    assert np.mean(np.array(CLASSES)[found] == oof.frame["diagnosis"]) > 0.7
    assert roc_auc_score(oof.targets, oof.scores) > 0.9
    again = svm_baseline(ham, CLASSES, image_size=40, workers=1)
    assert oof.frame.equals(again.frame)
    last = {event["what"]: event for event in events}
    assert last["features"] == {"what": "features", "done": 126, "total": 126}
    assert last["done"]["done"] == 3


@pytest.mark.usefixtures("given_features")
def test_what_is_held_out_does_not_reach_the_fit(ham, features, monkeypatch):
    usual = svm_baseline(ham, CLASSES, folds=[0]).frame
    held_out = ham.frame["fold"].to_numpy() == 0
    first = np.flatnonzero(held_out)[0]
    altered = features.copy()
    altered[held_out] = 1e3
    altered[first] = features[first]
    monkeypatch.setattr(module, "dataset_features", lambda *_, **__: altered)
    columns = [f"score_{label}" for label in CLASSES]
    assert svm_baseline(ham, CLASSES, folds=[0]).frame[columns].iloc[0].tolist() == usual[columns].iloc[0].tolist()


def test_all_unreadable_images_are_named_together(ham, tmp_path):
    broken, empty = tmp_path / "broken.jpg", tmp_path / "empty.jpg"
    broken.write_bytes(b"not an image")
    empty.write_bytes(b"")
    frame = ham.frame
    frame.loc[[3, 70, 125], "path"] = [str(broken), str(empty), str(tmp_path / "gone.jpg")]
    with pytest.raises(ImageError) as caught:
        svm_baseline(type(ham)(frame), CLASSES, image_size=40)
    message = str(caught.value)
    for part in ("3 of 126 images", *frame["image_name"][[3, 70, 125]], "there is no such file", "not a JPEG"):
        assert part in message


def test_records_without_image_are_refused_before_any_image_is_read(ham, monkeypatch):
    monkeypatch.setattr(ImageSpec, "load", lambda *_: pytest.fail("read"))
    frame = ham.frame
    frame.loc[4, "path"] = None
    with pytest.raises(ImageError, match=r"1 of 126 records have no image, e\.g\. ISIC_0000004"):
        svm_baseline(type(ham)(frame))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"penalty": 0}, "penalty must be a number above 0. Received: penalty=0"),
        ({"penalty": float("nan")}, "penalty=nan"),
        ({"penalty": "scale"}, "penalty='scale'"),
        ({"penalty": True}, "penalty=True"),
        ({"gamma": -1.0}, "gamma=-1.0"),
        ({"gamma": "auto"}, "gamma='auto'"),
        ({"gamma": np.ones(2)}, "gamma=array"),
        ({"workers": "2"}, "workers='2'"),
        ({"class_weight": "equal"}, "class_weight='equal'"),
        ({"folds": [9]}, "folds=[9]"),
        ({"workers": 0}, "workers=0"),
        ({"classes": ("melanoma", "nevus")}, "at least three"),
    ],
    ids=str,
)
def test_options_that_cannot_work_fail_before_any_image_is_read(ham, monkeypatch, options, message):
    monkeypatch.setattr(ImageSpec, "load", lambda *_: pytest.fail("read"))
    with pytest.raises(RunError, match=re.escape(message)):
        svm_baseline(ham, **options)


@pytest.mark.parametrize("size", [7, 0, 5000, 40.5])
def test_an_image_size_out_of_range_is_refused(ham, size):
    with pytest.raises(ImageError, match="from 8 to 4096"):
        svm_baseline(ham, image_size=size)


def test_it_is_public():
    assert mf.svm_baseline is svm_baseline
    assert mf.handcrafted_features is handcrafted_features
