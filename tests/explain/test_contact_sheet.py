"""The contact sheet: which errors are shown, in which order, and by which model."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import melanomafusion as mf
from melanomafusion.data.metadata import MetadataEncoder
from melanomafusion.errors import MelanomaFusionError, OutputError, PredictionsError
from melanomafusion.explain import contact_sheet
from melanomafusion.explain.contact_sheet import most_confident_errors, write_contact_sheet
from melanomafusion.images.spec import ImageSpec
from melanomafusion.predictions import Predictions
from melanomafusion.recipes.catalogue import get_recipe


@dataclasses.dataclass(frozen=True)
class Stored:
    """What a contact sheet needs of a bundle."""

    recipe: object
    encoder: object
    spec: object
    model: object

    def build_model(self):
        return self.model


def predictions(targets, scores, **columns):
    count = len(targets)
    table = {"image_name": [f"i{i}" for i in range(count)], "target": targets, "fold": np.arange(count) % 2}
    return Predictions(pd.DataFrame({**table, "score": scores, **columns}), "oof", name="run")


# Threshold by Youden: above 0.5. Missed i1 (0.1), i3 (0.12); false alarms i8 (0.9), i6 (0.7).
TARGETS = [1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
SCORES = [0.65, 0.1, 0.85, 0.12, 0.95, 0.2, 0.7, 0.05, 0.9, 0.25, 0.15, 0.4]


def test_false_negatives_come_first_and_the_most_confident_of_each_before_the_others():
    errors = most_confident_errors(predictions(TARGETS, SCORES))
    assert errors["image_name"].tolist() == ["i1", "i3", "i8", "i6"]
    assert errors["error"].tolist() == ["missed", "missed", "false alarm", "false alarm"]


@pytest.mark.parametrize(
    ("count", "shown"),
    [(1, ["i1"]), (2, ["i1", "i8"]), (3, ["i1", "i3", "i8"]), (4, ["i1", "i3", "i8", "i6"])],
)
def test_half_of_the_places_are_for_each_kind(count, shown):
    assert most_confident_errors(predictions(TARGETS, SCORES), count)["image_name"].tolist() == shown


def test_places_that_one_kind_leaves_free_go_to_the_other():
    targets, scores = [1, 1, 0, 0, 0, 0, 0, 0, 0], [0.7, 0.72, 0.8, 0.81, 0.82, 0.1, 0.1, 0.1, 0.1]
    errors = most_confident_errors(predictions(targets, scores), 3)
    assert errors["image_name"].tolist() == ["i4", "i3", "i2"]
    targets, scores = [1 - t for t in targets], [1 - s for s in scores]
    errors = most_confident_errors(predictions(targets, scores), 3)
    assert errors["image_name"].tolist() == ["i4", "i3", "i2"]


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=4, max_size=40).filter(
        lambda rows: len({target for target, _ in rows}) == 2
    ),
    st.integers(1, 15),
)
def test_every_record_shown_is_an_error_and_no_clearer_one_is_left_out(rows, count):
    oof = predictions([int(t) for t, _ in rows], [s / 20 for _, s in rows])
    errors = most_confident_errors(oof, count)
    assert len(errors) <= count
    assert errors["image_name"].is_unique
    missed, alarms = (errors[errors["error"] == kind] for kind in ("missed", "false alarm"))
    assert (missed["target"] == 1).all()
    assert (alarms["target"] == 0).all()
    assert missed["score"].is_monotonic_increasing
    assert alarms["score"].is_monotonic_decreasing
    if len(missed) and len(alarms):
        assert missed["score"].max() < alarms["score"].min()
    everything = most_confident_errors(oof, 1000)
    assert len(errors) == min(count, len(everything))
    left_out = everything[~everything["image_name"].isin(errors["image_name"])]
    for kind, shown in (("missed", missed), ("false alarm", alarms)):
        others = left_out.loc[left_out["error"] == kind, "score"]
        if len(shown) and len(others):
            assert (
                (others >= shown["score"].max()).all() if kind == "missed" else (others <= shown["score"].min()).all()
            )


def test_a_perfect_run_has_no_errors():
    assert most_confident_errors(predictions([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])).empty


def test_other_than_out_of_fold_scores_are_refused():
    held_out = Predictions(predictions(TARGETS, SCORES).frame.drop(columns="fold"), "held_out")
    with pytest.raises(PredictionsError, match="out-of-fold"):
        most_confident_errors(held_out)


@pytest.mark.parametrize("count", [0, -1, 2.5, "all"])
def test_an_impossible_count_is_refused(count):
    with pytest.raises(PredictionsError, match="at least 1"):
        most_confident_errors(predictions(TARGETS, SCORES), count)


@pytest.fixture(scope="module")
def run(folded, tiny):
    """Synthetic records with made-up scores, and a model per fold."""
    frame = folded.frame
    rng = np.random.default_rng(0)
    columns = ["image_name", "patient_id", "target", "fold", "grouped_by"]
    scored = frame[columns].assign(score=np.clip(0.3 * frame["target"] + 0.7 * rng.random(len(frame)), 0, 1))
    encoder = MetadataEncoder().fit(frame)
    bundles = {
        fold: Stored(get_recipe("tiny"), encoder, ImageSpec(32), tiny(metadata_width=encoder.width, image_size=32))
        for fold in range(3)
    }
    return Predictions(scored, "oof", name="tiny"), folded, bundles


def test_the_sheet_shows_the_errors_and_says_which(run, tmp_path, monkeypatch):
    oof, dataset, bundles = run
    drawn = {}
    monkeypatch.setattr(contact_sheet, "save_figure", lambda figure, path: drawn.update(figure=figure))
    done = []
    names = write_contact_sheet(
        oof, dataset, bundles, tmp_path / "errors.png", count=6, on_progress=lambda *steps: done.append(steps)
    )
    errors = most_confident_errors(oof, 6)
    assert names == errors["image_name"].tolist()
    assert done == [(i, 6) for i in range(1, 7)]
    axes = drawn["figure"].axes
    for ax, row in zip(axes, errors.to_dict("records"), strict=False):
        assert row["image_name"] in ax.get_xlabel()
        assert f"target {row['target']:.0f}, score {row['score']:.3f}" in ax.get_title()
    assert [ax.axison for ax in axes] == [True] * 6 + [False] * 2
    assert "Not a medical device" in drawn["figure"].get_supxlabel()


def test_each_record_is_explained_by_the_model_that_had_not_seen_it(run, tmp_path, monkeypatch):
    oof, dataset, bundles = run
    asked = []

    class Watched(contact_sheet.Explainer):
        def __init__(self, models, **options):
            super().__init__(models, **options)
            self.fold = next(fold for fold, bundle in bundles.items() if bundle is models[0])

        def explain(self, image, metadata, *, name, row):
            assert metadata["image_name"].iloc[row] == name
            asked.append((name, self.fold))
            return super().explain(image, metadata, name=name, row=row)

    monkeypatch.setattr(contact_sheet, "Explainer", Watched)
    write_contact_sheet(oof, dataset, bundles, tmp_path / "errors.png", count=8)
    folds = oof.frame.set_index("image_name")["fold"]
    assert len(asked) == 8
    assert all(folds[name] == fold for name, fold in asked)


def test_the_file_is_a_picture(run, tmp_path):
    write_contact_sheet(*run, tmp_path / "errors.png", count=2)
    with Image.open(tmp_path / "errors.png") as picture:
        assert picture.format == "PNG"


def test_no_errors_give_no_file(run, tmp_path):
    oof, dataset, bundles = run
    perfect = oof.replace_scores(oof.targets.astype("float64"))
    assert write_contact_sheet(perfect, dataset, bundles, tmp_path / "errors.png") == []
    assert not list(tmp_path.iterdir())


def test_all_that_is_missing_is_said_at_once(run, tmp_path):
    oof, dataset, bundles = run
    errors = most_confident_errors(oof, 12)
    first, second = errors["image_name"].iloc[:2]
    frame = dataset.frame
    frame.loc[frame["image_name"] == second, "path"] = np.nan
    part = mf.Dataset(frame[frame["image_name"] != first])
    with pytest.raises(MelanomaFusionError) as refused:
        write_contact_sheet(oof, part, {0: bundles[0]}, tmp_path / "errors.png")
    for line in (f"{first}: not in the data set", f"{second}: no image", "fold 1: no model", "fold 2: no model"):
        assert line in str(refused.value)


def test_a_run_without_images_is_refused(run, tmp_path):
    oof, dataset, bundles = run
    blind = {fold: dataclasses.replace(bundle, spec=None) for fold, bundle in bundles.items()}
    with pytest.raises(MelanomaFusionError, match="takes no image"):
        write_contact_sheet(oof, dataset, blind, tmp_path / "errors.png")


def test_a_file_that_cannot_be_written_is_named(run, tmp_path):
    (tmp_path / "errors.png").mkdir()
    with pytest.raises(OutputError, match=r"errors\.png"):
        write_contact_sheet(*run, tmp_path / "errors.png", count=1)
