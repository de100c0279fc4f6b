"""The synthetic data are what they are said to be: their best AUCs are those of the best scores."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from melanomafusion.data.metadata import MetadataEncoder
from melanomafusion.data.schema import SITES
from melanomafusion.data.sources.siim_isic_2020 import load_siim_isic_2020
from melanomafusion.testing import AGES, STRENGTH, best_possible, make_records, make_siim_isic, paint_lesion

TOLERANCE = 0.01


@pytest.fixture(scope="module", params=[0.05, 0.3])
def large(request):
    """Prevalence, about 200,000 records, the evidence of each, and their metadata encoded."""
    frame, evidence = make_records(40000, prevalence=request.param, rng=np.random.default_rng(7))
    return request.param, frame, evidence, MetadataEncoder().fit(frame).transform(frame)


def fitted_auc(features, target):
    """AUC on one half of the best linear log odds fitted on the other."""
    half = len(target) // 2
    model = LogisticRegression(max_iter=500, C=1e6).fit(features[:half], target[:half])
    return roc_auc_score(target[half:], model.decision_function(features[half:]))


def test_the_prevalence_is_the_one_asked_for(large):
    prevalence, frame, _, _ = large
    assert frame["target"].mean() == pytest.approx(prevalence, abs=0.006)


def test_the_evidence_reaches_the_best_auc_of_the_image(large):
    prevalence, frame, evidence, _ = large
    assert roc_auc_score(frame["target"], evidence) == pytest.approx(best_possible(prevalence).image, abs=TOLERANCE)


def test_age_sex_and_site_reach_the_best_auc_of_metadata(large):
    prevalence, frame, _, encoded = large
    found = fitted_auc(encoded, frame["target"].to_numpy())
    assert found == pytest.approx(best_possible(prevalence).metadata, abs=TOLERANCE)


def test_both_together_reach_the_best_auc_of_both(large):
    prevalence, frame, evidence, encoded = large
    found = fitted_auc(np.column_stack([encoded, evidence]), frame["target"].to_numpy())
    assert found == pytest.approx(best_possible(prevalence).both, abs=TOLERANCE)


def test_both_are_better_than_either_and_either_is_better_than_chance():
    for prevalence in (0.02, 0.05, 0.3):
        best = best_possible(prevalence)
        assert 0.6 < best.metadata < best.both < 1
        assert 0.6 < best.image < best.both


def test_evidence_is_normal_about_its_strength(large):
    _, frame, evidence, _ = large
    for target, mean in ((0, 0.0), (1, STRENGTH)):
        inside = evidence[frame["target"] == target]
        assert inside.mean() == pytest.approx(mean, abs=0.04)
        assert inside.std() == pytest.approx(1.0, abs=0.03)


def test_age_and_sex_belong_to_the_patient_and_stay_in_the_vocabulary(large):
    _, frame, _, _ = large
    known = frame.groupby("patient_id")[["sex", "age_approx"]].nunique()
    assert (known <= 1).all(axis=None)
    assert set(frame["sex"].dropna()) == {"female", "male"}
    assert set(frame["age_approx"].dropna()) <= set(AGES)
    assert set(frame["anatom_site_general_challenge"].dropna()) == set(SITES)
    missing = frame[["sex", "age_approx", "anatom_site_general_challenge"]].isna().mean()
    np.testing.assert_allclose(missing, [0.03, 0.03, 0.05], atol=0.005)
    assert frame["image_name"].is_unique
    assert len(frame) / frame["patient_id"].nunique() == pytest.approx(5, abs=0.1)


def test_the_data_set_is_written_as_kaggle_lays_it_out_and_loads(tmp_path):
    best = make_siim_isic(tmp_path, n_patients=12, n_test_patients=3, image_size=16, prevalence=0.2, seed=4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best_possible.json", "jpeg", "test.csv", "train.csv"]
    assert json.loads((tmp_path / "best_possible.json").read_text()) == asdict(best)
    assert best == best_possible(0.2)
    train, test = (load_siim_isic_2020(tmp_path, split=split) for split in ("train", "test"))
    assert train.has_target
    assert not test.has_target
    assert not set(train.image_names) & set(test.image_names)
    assert not set(train.frame["patient_id"]) & set(test.frame["patient_id"])
    with Image.open(train.frame["path"].iloc[0]) as image:
        assert image.size == (16, 16)
        assert image.format == "JPEG"
    columns = pd.read_csv(tmp_path / "test.csv").columns
    assert not {"target", "diagnosis", "benign_malignant"} & set(columns)


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        make_siim_isic(tmp_path / name, n_patients=3, n_test_patients=1, image_size=8, seed=seed)

    def content(name):
        root = tmp_path / name
        return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    assert content("one") == content("same")
    assert content("one") != content("other")


def test_the_more_evidence_the_bluer_the_lesion():
    colours = []
    for evidence in (-2.0, 0.0, 2.0, 4.0):
        images = [paint_lesion(evidence, 24, np.random.default_rng(seed)) for seed in range(8)]
        assert images[0].shape == (24, 24, 3)
        assert images[0].dtype == np.uint8
        middle = np.mean([image[9:15, 9:15].mean(axis=(0, 1)) for image in images], axis=0)
        colours.append(middle[2] - middle[0])
    assert colours == sorted(colours)
    assert colours[-1] - colours[0] > 60
