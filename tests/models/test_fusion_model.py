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
        ({"fusion": "conact"}, "metanet, metablock, additive, additive_joint, image, metadata"),
        ({"metadata_width": 0}, "needs metadata_width"),
        ({"metadata_width": 0, "fusion": "metadata"}, "needs metadata_width"),
        ({"image_size": 31}, "at least 32 pixels"),
        ({"n_classes": 2}, "at least 3"),
        ({"n_classes": 0}, "at least 3"),
        ({"n_classes": 3, "two_logits": True}, "two_logits is for binary models"),
        ({"pooling": "max"}, "Known kinds of pooling: avg, gem"),
    ],
)
def test_impossible_models_are_refused(options, reason):
    with pytest.raises(RecipeError, match=reason):
        build(**options)


def test_unknown_backbone_is_refused():
    with pytest.raises(RecipeError, match="Known backbones"):
        build_fusion_model("resnet50", metadata_width=WIDTH)


# --- pooling, head and metadata branch --------------------------------------------------------------------------------


def layers_between(model, start, end):
    """Names of the layers behind `start` up to `end`, where each has one input."""
    names, layer = [], model.get_layer(end)
    while layer.name != start:
        names.append(layer.name)
        layer = layer.input._keras_history.operation
    return names[::-1]


def with_random_weights(model):
    rng = np.random.default_rng(5)
    for weight in model.weights:
        if weight.dtype == "float32" and weight.name != "power":
            weight.assign(np.abs(rng.normal(size=weight.shape)) * 0.3 + 0.05)
    return model


@pytest.mark.parametrize(("pooling", "kind"), [("avg", "GlobalAveragePooling2D"), ("gem", "GeneralisedMeanPooling2D")])
def test_pooling_stands_between_backbone_and_fusion(pooling, kind, inputs):
    model = build("image", pooling=pooling)
    assert type(model.get_layer("pooling")).__name__ == kind
    assert layers_between(model, "tiny", "head") == ["pooling", "head_dropout", "head"]
    assert logits(model, inputs).shape == (BATCH, 1)


def test_head_units_are_relu_layers_each_with_dropout_behind_it():
    model = build("image", head_units=(9, 4), dropout=0.6)
    wanted = ["head_dense1", "head_dropout1", "head_dense2", "head_dropout", "head"]
    assert layers_between(model, "pooling", "head") == wanted
    dense = [model.get_layer(name) for name in ("head_dense1", "head_dense2")]
    assert [(layer.units, layer.activation.__name__) for layer in dense] == [(9, "relu"), (4, "relu")]
    assert [model.get_layer(name).rate for name in ("head_dropout1", "head_dropout")] == [0.6, 0.6]
    assert layers_between(build("image", head_units=(9,)), "pooling", "head") == ["head_dense1", "head_dropout", "head"]


def test_without_head_units_the_head_stands_behind_the_fusion():
    assert layers_between(build("concat"), "fusion", "head") == ["head_dropout", "head"]


def test_head_units_are_what_numpy_makes_of_them(inputs):
    model = build("metadata", metadata_units=(), head_units=(5,))
    x = inputs["metadata"]
    (first, second), (kernel, bias) = (model.get_layer(name).get_weights() for name in ("head_dense1", "head"))
    expected = np.maximum(x @ first + second, 0) @ kernel + bias
    np.testing.assert_allclose(logits(model, inputs), expected, rtol=1e-4, atol=1e-6)


def test_two_logits_are_one_output_their_difference(inputs):
    model = build("concat", two_logits=True)
    assert model.get_layer("head").units == 2
    pair = keras.ops.convert_to_numpy(keras.Model(model.input, model.get_layer("head").output)(inputs))
    np.testing.assert_allclose(logits(model, inputs), pair[:, 1:] - pair[:, :1], atol=1e-6)
    assert model.output_shape == (None, 1)


@pytest.mark.parametrize("units", [(), (8,)])
def test_averaged_dropouts_predict_what_one_dropout_does(units, inputs):
    one, five = (with_random_weights(build("concat", dropout_samples=n, head_units=units)) for n in (1, 5))
    assert one.count_params() == five.count_params()
    np.testing.assert_allclose(logits(five, inputs), logits(one, inputs), rtol=1e-6)
    names = [layer.name for layer in five.layers if layer.name.startswith("head_dropout_sample")]
    assert names == [f"head_dropout_sample{i}" for i in range(1, 6)]
    assert type(five.get_layer("head_dropout")).__name__ == "Average"


@pytest.mark.parametrize("samples", [1, 8])
def test_training_sees_the_mean_of_as_many_dropouts(samples):
    """Over many draws: the mean is the logit without dropout, the variance falls by the number of masks."""
    keras.utils.set_random_seed(samples)
    model = with_random_weights(build("metadata", metadata_units=(), dropout=0.5, dropout_samples=samples))
    draws = 20_000
    row = np.linspace(0.5, 2.0, WIDTH).astype("float32")
    drawn = keras.ops.convert_to_numpy(model({"metadata": np.tile(row, (draws, 1))}, training=True))[:, 0]
    kernel, bias = model.get_layer("head").get_weights()
    # A kept feature counts twice, so each adds (x w)² to the variance of one mask.
    deviation = np.sqrt(np.sum((row * kernel[:, 0]) ** 2) / samples)
    assert drawn.mean() == pytest.approx(row @ kernel[:, 0] + bias[0], abs=5 * deviation / np.sqrt(draws))
    assert drawn.std() == pytest.approx(deviation, rel=0.05)


def test_half_a_head_layer_averages_its_own_output(inputs):
    names = layers_between(build("metadata", head_units=(6, 3), dropout_samples=2), "metadata", "head_dense2")
    assert names[-3:] == ["head_dense1", "head_dropout1", "head_dense2"]


def test_batch_norm_of_the_metadata_branch_stands_before_the_activation():
    model = build("metadata", metadata_units=(6, 3), metadata_batch_norm=True)
    wanted = [f"metadata_{word}{i}" for i in (1, 2) for word in ("dense", "norm", "activation", "dropout")]
    assert layers_between(model, "metadata", "metadata_dropout2") == wanted
    assert model.get_layer("metadata_dense1").activation.__name__ == "linear"
    assert model.get_layer("metadata_activation1").activation.__name__ in ("silu", "swish")
    plain = build("metadata", metadata_units=(6,))
    assert layers_between(plain, "metadata", "metadata_dropout1") == ["metadata_dense1", "metadata_dropout1"]
    assert plain.get_layer("metadata_dense1").activation.__name__ in ("silu", "swish")


@pytest.mark.parametrize(("branch", "rate"), [(None, 0.4), (0.1, 0.1), (0.0, 0.0)])
def test_the_metadata_branch_may_have_a_dropout_of_its_own(branch, rate):
    model = build("concat", dropout=0.4, branch_dropout=branch, metadata_units=(6, 3))
    assert [model.get_layer(f"metadata_dropout{i}").rate for i in (1, 2)] == [rate, rate]
    assert model.get_layer("head_dropout").rate == 0.4


EVERYTHING = {
    "pooling": "gem",
    "head_units": (6,),
    "dropout_samples": 3,
    "two_logits": True,
    "metadata_batch_norm": True,
    "branch_dropout": 0.2,
}


@pytest.mark.parametrize("fusion", ["concat", "metanet", "metablock", "additive"])
def test_all_options_go_together_and_the_output_stays_float32(half_precision, inputs, fusion):
    model = build(fusion, **EVERYTHING)
    assert model.get_layer("pooling").compute_dtype == "float16"
    assert model.get_layer("head").compute_dtype == model.get_layer("logit_difference").compute_dtype == "float32"
    result = logits(model, inputs)
    assert (result.dtype, result.shape) == (np.float32, (BATCH, 1))
    assert np.isfinite(result).all()


@pytest.mark.parametrize("fusion", ["metanet", "metablock"])
def test_every_input_changes_the_output_of_gated_features(fusion, inputs):
    keras.utils.set_random_seed(0)
    model = build(fusion)
    before = logits(model, inputs)
    for key in inputs:
        assert np.abs(logits(model, {**inputs, key: inputs[key][::-1]}) - before).max() > 1e-4


@pytest.mark.parametrize("options", [{}, {"two_logits": True}, {"n_classes": 4, "one_vs_rest": True}])
def test_additive_starts_as_the_image_only_model_of_the_same_seed(inputs, options):
    keras.utils.set_random_seed(5)
    image = build("image", **options)
    keras.utils.set_random_seed(5)
    additive = build("additive", **options)
    np.testing.assert_array_equal(logits(additive, inputs), logits(image, inputs))


def test_additive_adds_to_the_logits_of_records_with_metadata(inputs):
    missing = inputs["metadata"][1]
    model = build("additive", n_classes=4, missing_metadata=missing, dropout=0.0)
    added = model.get_layer("added_logits")
    added.set_weights([np.random.default_rng(1).normal(size=weight.shape) for weight in added.get_weights()])
    features = keras.Model(model.input["metadata"], added.output)
    of_image = keras.Model(model.input["image"], model.get_layer("head").output)
    expected = np.asarray(of_image(inputs["image"])) + np.asarray(features(inputs["metadata"])) * [[1], [0], [1]]
    np.testing.assert_allclose(logits(model, inputs), expected, atol=1e-5)
    assert np.abs(np.asarray(features(inputs["metadata"]))).min() > 0


def test_one_vs_rest_gives_the_logarithms_of_sigmoids(inputs):
    model = build(n_classes=4, one_vs_rest=True)
    z = np.asarray(keras.Model(model.input, model.get_layer("head").output)(inputs), dtype="float64")
    np.testing.assert_allclose(logits(model, inputs), -np.logaddexp(0, -z), rtol=1e-5)


def test_one_vs_rest_is_refused_for_a_binary_model():
    with pytest.raises(RecipeError, match="one_vs_rest is for models of several classes"):
        build(one_vs_rest=True)
