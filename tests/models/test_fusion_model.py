"""`build_fusion_model`: inputs, outputs, what each branch does, and what is refused."""

import keras
import numpy as np
import pytest

from melanomafusion.errors import RecipeError
from melanomafusion.models.fusion import FUSIONS
from melanomafusion.models.fusion_model import build_fusion_model

SIZE = 32
WIDTH = 7
BATCH = 3


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    return {
        "image": rng.uniform(0, 255, (BATCH, SIZE, SIZE, 3)).astype("float32"),
        "metadata": rng.normal(size=(BATCH, WIDTH)).astype("float32"),
    }


@pytest.fixture
def half_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


def build(fusion="concat", **options):
    return build_fusion_model(
        "tiny", **{"metadata_width": WIDTH, "image_size": SIZE, "fusion": fusion, "weights": None, **options}
    )


def logits(model, inputs):
    return keras.ops.convert_to_numpy(model({key: inputs[key] for key in model.input}))


def all_layers(model):
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from all_layers(layer)


@pytest.mark.parametrize(
    ("fusion", "wanted"), [("concat", {"image", "metadata"}), ("image", {"image"}), ("metadata", {"metadata"})]
)
def test_inputs_are_exactly_those_the_fusion_takes(fusion, wanted):
    model = build(fusion)
    assert set(model.input) == wanted
    shapes = {"image": (None, SIZE, SIZE, 3), "metadata": (None, WIDTH)}
    assert {key: tensor.shape for key, tensor in model.input.items()} == {key: shapes[key] for key in wanted}


@pytest.mark.parametrize("fusion", sorted(FUSIONS))
@pytest.mark.parametrize("n_classes", [1, 3, 8])
def test_output_is_one_logit_or_one_per_class(fusion, n_classes, inputs):
    result = logits(build(fusion, n_classes=n_classes), inputs)
    assert result.shape == (BATCH, n_classes)
    assert result.dtype == np.float32


def test_output_is_a_logit_and_not_a_probability(inputs):
    assert keras.activations.serialize(build().get_layer("head").activation) == "linear"


def test_every_input_changes_the_output_of_concat(inputs):
    model = build("concat")
    before = logits(model, inputs)
    for key in inputs:
        other = {**inputs, key: inputs[key][::-1]}
        assert np.abs(logits(model, other) - before).max() > 1e-4


def test_records_do_not_touch_each_other(inputs):
    model = build("concat")
    alone = [logits(model, {key: value[i : i + 1] for key, value in inputs.items()}) for i in range(BATCH)]
    np.testing.assert_allclose(np.concatenate(alone), logits(model, inputs), atol=1e-5)


def test_prediction_has_no_chance_in_it(inputs):
    model = build("concat", dropout=0.9)
    np.testing.assert_array_equal(logits(model, inputs), logits(model, inputs))


@pytest.mark.parametrize("backbone", ["tiny", "efficientnet_b0", "mobilenet_v2"])
def test_no_normalization_layer_hides_in_the_model(backbone):
    model = build_fusion_model(backbone, metadata_width=WIDTH, image_size=64, weights=None)
    kinds = [type(layer).__name__ for layer in all_layers(model)]
    assert "Normalization" not in kinds
    assert kinds.count("Rescaling") == 1  # ours, in front


def test_pixels_are_scaled_by_the_model_itself(inputs):
    model = build("image")
    scaled = keras.Model(model.input, model.get_layer("normalisation").output)({"image": inputs["image"]})
    wanted = (inputs["image"] / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(scaled), wanted, atol=1e-5)


def test_names_of_model_and_layers():
    model = build("concat")
    assert model.name == "concat_tiny"
    assert build("image").name == "image_tiny"
    assert build("metadata").name == "metadata"
    names = {layer.name for layer in model.layers}
    assert {"image", "metadata", "normalisation", "tiny", "pooling", "fusion", "head_dropout", "head"} <= names


@pytest.mark.parametrize("units", [(), (5,), (9, 8, 4)])
def test_metadata_branch_has_the_wanted_layers(units):
    model = build("metadata", metadata_units=units)
    widths = [layer.units for layer in model.layers if layer.name.startswith("metadata_dense")]
    assert tuple(widths) == units


def test_native_size_is_the_default():
    assert build("image", image_size=None).input["image"].shape == (None, 32, 32, 3)


def test_head_is_float32_under_half_precision(half_precision, inputs):
    model = build("concat")
    assert model.get_layer("metadata_dense1").compute_dtype == "float16"
    assert model.get_layer("head").compute_dtype == "float32"
    assert model.output.dtype == "float32"
    assert {tensor.dtype for tensor in model.input.values()} == {"float32"}
    result = logits(model, inputs)
    assert result.dtype == np.float32
    assert np.isfinite(result).all()


def test_metadata_model_needs_no_backbone(inputs):
    model = build_fusion_model("no such backbone", metadata_width=WIDTH, fusion="metadata")
    assert logits(model, inputs).shape == (BATCH, 1)


def test_same_seed_gives_the_same_weights():
    models = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        models.append(build("concat").get_weights())
    for first, second in zip(*models, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"fusion": "conact"}, "Known kinds of fusion: concat, image, metadata"),
        ({"metadata_width": 0}, "needs metadata_width"),
        ({"metadata_width": 0, "fusion": "metadata"}, "needs metadata_width"),
        ({"image_size": 31}, "at least 32 pixels"),
        ({"n_classes": 2}, "at least 3"),
        ({"n_classes": 0}, "at least 3"),
    ],
)
def test_impossible_models_are_refused(options, reason):
    with pytest.raises(RecipeError, match=reason):
        build(**options)


def test_unknown_backbone_is_refused():
    with pytest.raises(RecipeError, match="Known backbones"):
        build_fusion_model("resnet50", metadata_width=WIDTH)
