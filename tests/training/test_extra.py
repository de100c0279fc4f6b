"""Extra records are learnt from in every fold and scored in none; pseudo-labels come from each fold's own model."""

import numpy as np
import pandas as pd
import pytest

import melanomafusion as mf
from melanomafusion.errors import RunError
from melanomafusion.testing import make_siim_isic

pytestmark = pytest.mark.usefixtures("in_this_process")
RECIPE = mf.get_recipe("metadata-tiny").replace(name="test", epochs=1, batch_size=32, validation_fraction=0.3)
IMAGES = mf.get_recipe("image-tiny").replace(name="test", epochs=1, validation_fraction=0.3, tta=1)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another year: other patients, other images."""
    root = tmp_path_factory.mktemp("other")
    make_siim_isic(root, n_patients=20, n_test_patients=4, image_size=32, prevalence=0.3, seed=5)
    data = mf.load_siim_isic_2020(root)
    names = [f"other_{name}" for name in data.image_names]
    return data.with_columns(image_name=names, source="other")


def run(recipe, data, out, **options):
    return mf.cross_validate(recipe, data, out=out, on_event=lambda event: None, **options)


def test_every_fold_learns_from_them_and_none_scores_them(folded, other, tmp_path):
    with_extra = run(RECIPE, folded, tmp_path / "with", extra=other)
    without = run(RECIPE, folded, tmp_path / "without")
    assert list(with_extra.oof.frame["image_name"]) == list(folded.image_names)
    for more, fewer in zip(with_extra.metrics["folds"], without.metrics["folds"], strict=True):
        assert more["extra_records"] == len(other)
        assert more["train_records"] == fewer["train_records"] + len(other)
        assert more["validation_records"] == fewer["validation_records"]
        assert more["held_out_records"] == fewer["held_out_records"]
    assert not np.allclose(with_extra.oof.scores, without.oof.scores)


def test_images_of_extra_records_are_decoded_too_and_bad_ones_left_out(folded, other, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    frame = other.frame
    frame.loc[0, "path"] = str(broken)
    bad = mf.Dataset(frame)
    with pytest.raises(mf.MelanomaFusionError, match="cannot be used"):
        run(IMAGES, folded, tmp_path / "error", extra=bad, folds=[0])
    first = run(IMAGES, folded, tmp_path / "skip", extra=bad, folds=[0], on_bad_image="skip")
    assert first.metrics["folds"][0]["extra_records"] == len(other) - 1
    both = run(IMAGES, folded, tmp_path / "skip", extra=bad, folds=[0, 1], on_bad_image="skip")
    assert [fold["extra_records"] for fold in both.metrics["folds"]] == [len(other) - 1] * 2


def test_raw_images_and_prepared_extra_records_are_learnt_from_together(folded, other, tmp_path):
    mf.prepare(other, tmp_path / "shards", image_size=32, on_event=lambda event: None)
    shards = mf.load_prepared(tmp_path / "shards")
    recipe = IMAGES.replace(image_size=32)
    both = run(recipe, folded, tmp_path / "run", extra=shards, folds=[0])
    assert both.metrics["folds"][0]["extra_records"] == len(other)


def test_pseudo_labels_hold_where_an_image_was_left_out(folded, other, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    frame = folded.frame
    frame.loc[3, "path"] = str(broken)
    data, options = mf.Dataset(frame), {"on_bad_image": "skip"}
    teacher = run(IMAGES, data, tmp_path / "teacher", **options)
    labelled = mf.pseudo_label(teacher.path, other, confident=(0.5, 0.500001), on_event=lambda event: None)
    labelled[1] = labelled[1].select(np.zeros(len(labelled[1]), dtype=bool))
    student = run(IMAGES, data, tmp_path / "student", extra=labelled, **options)
    assert [fold["extra_records"] for fold in student.metrics["folds"]] == [len(labelled[k]) for k in range(3)]


def test_costs_and_plans_know_of_extra_records(folded, other, tmp_path):
    weighted = RECIPE.replace(source_weights={"other": 0.5})
    plain = mf.estimate_cost(RECIPE, folded, on_event=print)
    assert mf.estimate_cost(weighted, folded, extra=other, on_event=print).folds == plain.folds
    plan = mf.EnsemblePlan((weighted, weighted.replace(name="second", seed=1)))
    trained = mf.train_plan(plan, folded, out=tmp_path, extra=other, on_event=lambda event: None)
    assert list(trained.members) == ["test", "second"]


def test_a_run_goes_on_only_with_the_same_extra_records(folded, other, tmp_path):
    run(RECIPE, folded, tmp_path / "run", extra=other, folds=[0])
    with pytest.raises(RunError, match="other records"):
        run(RECIPE, folded, tmp_path / "run", folds=[0])
    with pytest.raises(RunError, match="other records"):
        run(RECIPE, folded, tmp_path / "run", extra=other.select(np.arange(len(other)) > 0), folds=[0])
    run(RECIPE, folded, tmp_path / "run", extra=other, folds=[1])
    run(RECIPE, folded, tmp_path / "run", restart=True, folds=[0])


def test_a_shared_image_patient_or_missing_target_is_refused(folded, other, tmp_path):
    name = folded.image_names[0]
    twin = other.with_columns(image_name=[name, *other.image_names[1:]])
    copy = other.with_columns(path=[folded.frame["path"][0], *other.frame["path"][1:]])
    patient = other.with_columns(source=folded.frame["source"][0], patient_id=folded.frame["patient_id"][0])
    nameless = other.with_columns(target=pd.array([pd.NA] * len(other), dtype="Int8"))
    cases = [
        (twin, f"images of the data set too.*{name}"),
        (copy, "images of the data set too"),
        (patient, "values of patient_id stand in the data set"),
        (nameless, "have no target.*pseudo_label"),
        ({0: other}, "fold 1 has none"),
    ]
    for extra, message in cases:
        with pytest.raises(RunError, match=f"(?s){message}"):
            run(RECIPE, folded, tmp_path / "run", extra=extra)
        assert not (tmp_path / "run").exists()


def test_equal_patient_ids_of_another_source_are_other_patients(folded, other, tmp_path):
    namesakes = other.with_columns(patient_id=folded.frame["patient_id"][0])
    assert run(RECIPE, folded, tmp_path / "run", extra=namesakes, folds=[0]).metrics["folds"][0]["extra_records"]


def test_each_fold_is_given_labels_by_its_own_model(folded, other, tmp_path):
    teacher = run(RECIPE, folded, tmp_path / "teacher")
    middle = float(np.median(teacher.oof.scores))
    unlabelled = other.with_columns(target=pd.array([pd.NA] * len(other), dtype="Int8"))
    quiet = {"on_event": lambda event: None}
    labelled = mf.pseudo_label(teacher.path, unlabelled, confident=(middle - 0.02, middle + 0.02), **quiet)
    assert list(labelled) == [0, 1, 2]
    for fold, records in labelled.items():
        scores = mf.predict_run(teacher.bundles[fold], unlabelled, **quiet).frame.set_index("image_name")["score"]
        sure = scores[(scores <= middle - 0.02) | (scores >= middle + 0.02)]
        assert list(records.image_names) == list(sure.index)
        assert list(records.targets) == list((sure >= middle + 0.02).astype(int))
    student = run(RECIPE, folded, tmp_path / "student", extra=labelled)
    assert [fold["extra_records"] for fold in student.metrics["folds"]] == [len(labelled[k]) for k in range(3)]
    elsewhere = mf.assign_folds(folded, 3, seed=9)
    with pytest.raises(RunError, match="over other folds"):
        run(RECIPE, elsewhere, tmp_path / "elsewhere", extra=labelled)


def test_classes_are_labelled_by_the_likeliest(folded, other, tmp_path):
    classes = ("melanoma", "nevus", "BKL")
    benign = np.where(np.arange(len(folded)) % 2, "nevus", "BKL")
    named = folded.with_columns(diagnosis=np.where(folded.targets == 1, "melanoma", benign))
    recipe = RECIPE.replace(classes=classes, loss="categorical", monitor="val_loss", imbalance="none")
    teacher = run(recipe, named, tmp_path / "teacher")
    labelled = mf.pseudo_label(teacher.path, other, confident=(0.0, 0.33), on_event=lambda event: None)
    assert all(len(records) == len(other) for records in labelled.values())
    assert all(
        list(records.targets == 1) == list(records.frame["diagnosis"] == "melanoma") for records in labelled.values()
    )


def test_wrong_limits_and_unfinished_runs_are_refused(folded, other, tmp_path):
    for confident in ((0.9, 0.1), (-0.1, 0.5), (0.5, 1.5)):
        with pytest.raises(RunError, match="confident is two scores"):
            mf.pseudo_label(tmp_path, other, confident=confident)
    with pytest.raises(RunError, match="not a run folder"):
        mf.pseudo_label(tmp_path, other)
    run(RECIPE, folded, tmp_path / "run", folds=[0])
    with pytest.raises(RunError, match="fold 1, 2 is not trained"):
        mf.pseudo_label(tmp_path / "run", other)


def test_scores_of_several_sources_tell_their_patients_apart(folded, other, tmp_path):
    namesakes = other.with_columns(patient_id=folded.frame["patient_id"].iloc[: len(other)].to_numpy())
    data = mf.assign_folds(mf.concat([mf.Dataset(folded.frame.drop(columns=["fold", "grouped_by"])), namesakes]), 3)
    scores = run(RECIPE, data, tmp_path / "run").oof
    again = mf.Predictions.read_csv(tmp_path / "run" / "oof.csv")
    patients = data.frame.groupby(["source", "patient_id"]).ngroups
    for found in (scores, again):
        codes, word = found.clusters
        assert (len(set(codes)), word) == (patients, "patient")
        assert not found.image_level_split
    assert len(set(mf.metadata_baseline(data).clusters[0])) == patients
