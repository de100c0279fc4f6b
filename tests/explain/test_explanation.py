"""`Explainer` and `Explanation`: means over models, and a record of figures that fits together."""

import dataclasses
import json

import keras
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from melanomafusion.data.metadata import MetadataEncoder
from melanomafusion.errors import MelanomaFusionError
from melanomafusion.explain.attribution import attribute
from melanomafusion.explain.explanation import Explainer, class_index_of
from melanomafusion.explain.gradcam import gradcam
from melanomafusion.images.spec import ImageSpec
from melanomafusion.notice import NOT_A_MEDICAL_DEVICE
from melanomafusion.recipes.catalogue import get_recipe
from melanomafusion.testing import make_records, paint_lesion

SIZE = 32
CLASSES = ("melanoma", "nevus", "BCC")


@dataclasses.dataclass(frozen=True)
class Stored:
    """What an Explainer needs of a bundle."""

    recipe: object
    encoder: object
    spec: object
    model: keras.Model

    def build_model(self):
        return self.model


@pytest.fixture(scope="module")
def frame():
    frame = make_records(30, rng=np.random.default_rng(0))[0].head(20).reset_index(drop=True)
    frame.loc[0, ["sex", "age_approx", "anatom_site_general_challenge"]] = ["female", 45.0, "torso"]
    frame.loc[1, ["sex", "age_approx", "anatom_site_general_challenge"]] = [None, np.nan, "palms/soles"]
    return frame


@pytest.fixture(scope="module")
def bundles(tiny, frame):
    """Two models of one recipe, with encoders of their own."""
    recipe = get_recipe("tiny")
    stored = []
    for rows in (frame, frame.iloc[5:]):
        encoder = MetadataEncoder().fit(rows)
        model = tiny(metadata_width=encoder.width, image_size=SIZE)
        model.set_weights([w * (1 + 0.1 * len(stored)) for w in model.get_weights()])
        stored.append(Stored(recipe, encoder, ImageSpec(SIZE), model))
    return stored


@pytest.fixture(scope="module")
def image():
    return paint_lesion(1.0, SIZE, np.random.default_rng(3))


def test_one_model_gives_its_score_map_and_contributions(bundles, frame, image):
    one = bundles[0]
    result = Explainer([one]).explain(image, frame, name="a")
    encoded = one.encoder.transform(frame)[0]
    logit = float(np.asarray(one.model({"image": image[None].astype("float32"), "metadata": encoded[None]}))[0, 0])
    assert result.score == pytest.approx(expit(logit), abs=1e-6)
    np.testing.assert_allclose(result.heatmap, gradcam(one.model, image, encoded), atol=1e-5)
    assert result.attribution == attribute(one.model, one.encoder, image=image, metadata=encoded)
    assert result.fields == {"sex": "female", "age": "45", "site": "torso"}


def test_several_models_are_averaged(bundles, frame, image):
    both = Explainer(bundles).explain(image, frame, name="a")
    alone = [Explainer([bundle]).explain(image, frame, name="a") for bundle in bundles]
    assert both.models == 2
    assert alone[0].score != alone[1].score
    assert both.score == pytest.approx(np.mean([a.score for a in alone]))
    np.testing.assert_allclose(both.signed_map, np.mean([a.signed_map for a in alone], axis=0), rtol=1e-5)
    assert both.attribution.output == pytest.approx(np.mean([a.attribution.output for a in alone]))
    total = both.attribution.output - both.attribution.baseline
    assert sum(both.attribution.contributions.values()) == pytest.approx(total, abs=1e-9)


def test_the_row_that_is_asked_for_is_explained(bundles, frame, image):
    result = Explainer(bundles).explain(image, frame, name="b", row=1)
    assert result.fields == {"sex": None, "age": None, "site": "palms/soles"}
    assert list(result.attribution.contributions) == ["image", "site"]


def test_the_method_is_passed_on(tiny, frame, image, bundles):
    encoder = bundles[0].encoder
    model = tiny(metadata_width=encoder.width, image_size=SIZE, pooling="gem")
    stored = Stored(bundles[0].recipe, encoder, ImageSpec(SIZE), model)
    maps = [Explainer([stored], method=m).explain(image, frame, name="a").signed_map for m in ("gradcam", "hirescam")]
    assert np.abs(maps[0] - maps[1]).max() > 1e-3 * np.abs(maps[0]).max()


def test_a_multi_class_score_is_that_of_the_positive_classes(tiny, image):
    recipe = get_recipe("image-tiny").replace(
        classes=CLASSES, loss="categorical", positive_classes=("melanoma", "BCC"), weights=None
    )
    assert class_index_of(recipe) == [0, 2]
    model = tiny(fusion="image", image_size=SIZE, n_classes=3)
    table = pd.DataFrame({"image_name": ["a"]})
    result = Explainer([Stored(recipe, None, ImageSpec(SIZE), model)]).explain(image, table, name="a")
    logits = np.asarray(model({"image": image[None].astype("float32")}), "float64")[0]
    p = np.exp(logits) / np.exp(logits).sum()
    assert result.score == pytest.approx(p[0] + p[2], abs=1e-6)
    assert result.explained == "melanoma or BCC"
    assert result.fields == {}


def test_json_is_complete_and_finite(bundles, frame, image):
    result = Explainer(bundles).explain(image, frame, name="a")
    content = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert content["notice"] == NOT_A_MEDICAL_DEVICE
    assert set(content["contributions"]) == {"image", "sex", "age", "site"}
    total = content["baseline_log_odds"] + sum(content["contributions"].values())
    assert total == pytest.approx(content["log_odds"], abs=1e-5)
    np.testing.assert_allclose(content["signed_map"], result.signed_map, rtol=1e-6)
    row, column = int(content["peak"]["y"] * SIZE), int(content["peak"]["x"] * SIZE)
    assert result.heatmap[row, column] == result.heatmap.max()


def test_an_empty_map_has_no_peak(bundles, frame, image):
    result = Explainer(bundles).explain(image, frame, name="a")
    assert dataclasses.replace(result, heatmap=np.zeros((SIZE, SIZE), "float32")).to_dict()["peak"] is None


def test_a_patient_is_not_named(tiny, image):
    frame = make_records(20, rng=np.random.default_rng(0))[0]
    features = ["age", "images_per_patient"]
    encoder = MetadataEncoder(features).fit(frame)
    recipe = get_recipe("tiny").replace(metadata_features=features)
    model = tiny(metadata_width=encoder.width, image_size=SIZE)
    result = Explainer([Stored(recipe, encoder, ImageSpec(SIZE), model)]).explain(image, frame, name="a")
    assert result.fields["images_per_patient"] == "known"
    assert frame["patient_id"].iloc[0] not in json.dumps(result.to_dict())


def test_no_model_at_all_is_refused():
    with pytest.raises(MelanomaFusionError, match="at least one"):
        Explainer([])


def test_a_model_without_images_is_refused(tiny, bundles):
    model = tiny(fusion="metadata", metadata_width=bundles[0].encoder.width)
    with pytest.raises(MelanomaFusionError, match="image branch"):
        Explainer([Stored(get_recipe("metadata-tiny"), bundles[0].encoder, None, model)])


def test_models_that_have_no_mean_are_refused(bundles, frame, tiny):
    one = bundles[0]
    others = {
        "image spec": dataclasses.replace(one, spec=ImageSpec(40)),
        "metadata features": dataclasses.replace(one, encoder=MetadataEncoder(["age"]).fit(frame)),
        "classes": dataclasses.replace(one, recipe=one.recipe.replace(classes=CLASSES, loss="categorical")),
    }
    for words, other in others.items():
        with pytest.raises(MelanomaFusionError, match=f"differ in {words}"):
            Explainer([one, other])
    larger = dataclasses.replace(one, model=tiny(metadata_width=one.encoder.width, image_size=2 * SIZE))
    with pytest.raises(MelanomaFusionError, match="differ in their feature maps"):
        Explainer([one, larger])
