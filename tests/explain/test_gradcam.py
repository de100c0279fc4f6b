"""Heat maps: equal to their definition, right where the evidence is known, and the same on another backend."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.interpolate import RegularGridInterpolator

from melanomafusion.errors import ImageError, MelanomaFusionError, MetadataError
from melanomafusion.explain.gradcam import METHODS, build_gradcam_model, gradcam, heatmap
from melanomafusion.explain.interpolation import interpolation
from melanomafusion.models.fusion_model import build_fusion_model
from melanomafusion.testing import paint_lesion

SIZE, WIDTH = 48, 5
BLACK = np.zeros((SIZE, SIZE, 3), "float32")
SCRIPT = """
import json, sys
import numpy as np
from melanomafusion.explain.gradcam import gradcam
from melanomafusion.models.fusion_model import build_fusion_model

model = build_fusion_model("tiny", metadata_width=5, image_size=48, weights=None, pooling="gem", fusion="metablock")
stored = np.load(sys.argv[1])
model.set_weights([stored[f"w{i}"] for i in range(len(model.weights))])
import keras
maps = {m: gradcam(model, stored["image"], stored["metadata"], method=m).tolist() for m in ("gradcam", "hirescam")}
print(json.dumps({"backend": keras.backend.backend(), "tensorflow": "tensorflow" in sys.modules, **maps}))
"""


@pytest.fixture(scope="module")
def build(tiny):
    """A fused model with generalised-mean pooling, for which the two methods differ."""
    return lambda **options: tiny(**{"metadata_width": WIDTH, "image_size": SIZE, "pooling": "gem", **options})


@pytest.fixture(scope="module")
def model(build):
    """One such model; not to be changed."""
    return build()


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(2)
    return rng.uniform(0, 255, (3, SIZE, SIZE, 3)).astype("float32"), rng.normal(size=(3, WIDTH)).astype("float32")


@pytest.fixture(scope="module")
def pointer():
    """A model made by hand whose evidence is known: white pixels, wherever they lie, raise the logit."""
    model = build_fusion_model("tiny", metadata_width=2, image_size=SIZE, weights=None, fusion="concat")
    weights = []
    for weight in model.weights:
        value = np.zeros(weight.shape, "float32")
        if weight.path.endswith("/kernel") and len(weight.shape) == 4:
            value[1, 1] = 1.0 / weight.shape[2]  # the pixel itself, mean over the channels
        elif weight.name in ("gamma", "moving_variance"):
            value[...] = 1.0
        elif weight.name == "kernel" and "head" in weight.path:
            value[:48] = 1.0
        weights.append(value)
    model.set_weights(weights)
    return model


def spot(row, column, side=8):
    image = BLACK.copy()
    image[row : row + side, column : column + side] = 255.0
    return image


def by_the_book(model, image, metadata, method):
    """Grad-CAM and HiResCAM as in the papers, with GradientTape; (B, h, w) signed."""
    features = model.get_layer("pooling").input
    head = keras.Model([features, model.input["metadata"]], model.output)
    value = tf.convert_to_tensor(keras.Model(model.input["image"], features)(image))
    with tf.GradientTape() as tape:
        tape.watch(value)
        logit = tf.reduce_sum(head([value, tf.constant(metadata)]))
    slope = tape.gradient(logit, value).numpy()
    if method == "gradcam":
        slope = slope.mean(axis=(1, 2), keepdims=True)
    return (slope * value.numpy()).sum(axis=-1)


@pytest.mark.parametrize("method", METHODS)
def test_the_map_is_that_of_the_paper(model, inputs, method):
    image, metadata = inputs
    ours = gradcam(model, image, metadata, method=method, signed=True)
    expected = by_the_book(model, image, metadata, method)
    assert np.abs(expected).max() > 1e-4
    np.testing.assert_allclose(ours, expected, atol=1e-5 * np.abs(expected).max())
    # Three strided layers that pad below and to the right: the cells' centres are at 7, 15, 23, …
    rows, cells = (np.arange(SIZE) - 7) / 8, np.arange(SIZE // 8)
    shown = [RegularGridInterpolator((cells, cells), np.maximum(m, 0)) for m in expected]
    grid = np.stack(np.meshgrid(rows, rows, indexing="ij"), axis=-1).clip(0, len(cells) - 1)
    shown = np.stack([interpolate(grid) for interpolate in shown])
    shown /= np.maximum(shown.max(axis=(1, 2), keepdims=True), 1e-30)
    np.testing.assert_allclose(gradcam(model, image, metadata, method=method), shown, atol=1e-4)


def test_the_methods_differ_behind_generalised_mean_pooling_and_agree_behind_the_average(build, model, inputs):
    one, other = (gradcam(model, *inputs, method=method, signed=True) for method in METHODS)
    assert np.abs(one - other).max() > 0.05 * np.abs(one).max()
    average = build(pooling="avg")
    one, other = (gradcam(average, *inputs, method=method, signed=True) for method in METHODS)
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_hirescam_map_behind_average_pooling_sums_to_the_image_part_of_the_logit(build):
    model = build(pooling="avg", fusion="image")
    image = np.random.default_rng(0).uniform(0, 255, (2, SIZE, SIZE, 3)).astype("float32")
    logits = np.asarray(model({"image": image}))[:, 0]
    bias = float(np.asarray(model.get_layer("head").bias)[0])
    total = gradcam(model, image, method="hirescam", signed=True).sum(axis=(1, 2))
    np.testing.assert_allclose(total + bias, logits, atol=1e-4)


@pytest.mark.parametrize("place", [(0, 0), (0, 40), (40, 0), (40, 40), (20, 24)])
@pytest.mark.parametrize("method", METHODS)
def test_the_map_points_at_the_corner_where_the_evidence_is(pointer, place, method):
    result = gradcam(pointer, spot(*place), np.zeros(2, "float32"), method=method)
    row, column = np.unravel_index(result.argmax(), result.shape)
    assert abs(row - place[0] - 4) <= 8
    assert abs(column - place[1] - 4) <= 8
    inside = np.zeros_like(result, dtype=bool)
    inside[max(0, place[0] - 8) : place[0] + 16, max(0, place[1] - 8) : place[1] + 16] = True
    assert result[inside].sum() > 0.95 * result.sum()


def test_the_peak_of_the_map_lies_in_the_planted_lesion():
    """Weights by hand on painted lesions: one channel that answers to dark pixels. Then the map is the lesion."""
    model = build_fusion_model("tiny", image_size=SIZE, weights=None, fusion="image")
    weights = [np.zeros(w.shape, "float32") for w in model.weights]
    for weight, value in zip(model.weights, weights, strict=True):
        if weight.name == "kernel" and value.ndim == 4:
            value[1, 1, :, 0] = (-1.0 if "conv1" in weight.path else 1.0) / (3 if "conv1" in weight.path else 1)
        elif weight.name in ("gamma", "moving_variance"):
            value[...] = 1.0
        elif "head" in weight.path and weight.name == "kernel":
            value[0] = 1.0
    model.set_weights(weights)
    for seed in range(6):
        image = paint_lesion(0.0, SIZE, np.random.default_rng(seed))
        result = gradcam(model, image)
        row, column = np.unravel_index(result.argmax(), result.shape)
        assert np.hypot(row - SIZE / 2, column - SIZE / 2) < 0.35 * SIZE
        corners = [result[:6, :6], result[:6, -6:], result[-6:, :6], result[-6:, -6:]]
        assert max(corner.max() for corner in corners) < 0.5


def test_the_map_moves_with_the_picture(pointer):
    one = gradcam(pointer, spot(8, 16), np.zeros(2, "float32"))
    other = gradcam(pointer, spot(16, 32), np.zeros(2, "float32"))
    assert np.abs(one[:32, :24] - other[8:40, 16:40]).max() < 0.05


def test_where_nothing_raises_the_logit_the_map_is_empty(pointer):
    result = gradcam(pointer, BLACK, np.zeros(2, "float32"))
    assert (result == 0).all()


def test_a_signed_map_shows_what_lowers_the_logit(pointer):
    head = pointer.get_layer("head")
    before = head.get_weights()
    head.set_weights([-before[0], before[1]])
    try:
        assert gradcam(pointer, spot(0, 0), np.zeros(2, "float32"), signed=True).min() < -1e-3
        assert (gradcam(pointer, spot(0, 0), np.zeros(2, "float32")) == 0).all()
    finally:
        head.set_weights(before)


def test_shape_type_and_range(model, inputs):
    batch = gradcam(model, *inputs)
    assert batch.shape == (3, SIZE, SIZE)
    assert batch.dtype == np.float32
    assert batch.min() >= 0
    np.testing.assert_allclose(batch.max(axis=(1, 2)), 1.0, rtol=1e-6)
    one = gradcam(model, inputs[0][1], inputs[1][1])
    np.testing.assert_allclose(one, batch[1], atol=1e-5)


def test_a_long_batch_is_the_same_as_its_images_alone(model, inputs):
    image, metadata = np.tile(inputs[0], (7, 1, 1, 1)), np.tile(inputs[1], (7, 1))
    np.testing.assert_allclose(gradcam(model, image, metadata)[18:], gradcam(model, *inputs), atol=1e-5)


def test_integers_and_floats_are_the_same_pixels(model, inputs):
    whole = inputs[0].astype("uint8")
    np.testing.assert_allclose(
        gradcam(model, whole, inputs[1]), gradcam(model, whole.astype("float64"), inputs[1]), atol=1e-6
    )


def test_metadata_change_the_map_of_a_gated_model(build):
    model = build(fusion="metanet")
    image = np.random.default_rng(0).uniform(0, 255, (SIZE, SIZE, 3)).astype("float32")
    one, other = (gradcam(model, image, np.full(WIDTH, v, "float32"), signed=True) for v in (-2.0, 2.0))
    assert np.abs(one - other).max() > 1e-3 * np.abs(one).max()


def test_the_classes_of_a_model_have_maps_of_their_own(build, inputs):
    model = build(n_classes=3)
    maps = [gradcam(model, *inputs, class_index=number, signed=True) for number in range(3)]
    assert np.abs(maps[0] - maps[1]).max() > 1e-4
    logits = np.asarray(model({"image": inputs[0], "metadata": inputs[1]}))
    predicted = gradcam(model, *inputs, signed=True)
    for row, number in enumerate(logits.argmax(axis=1)):
        np.testing.assert_allclose(predicted[row], maps[number][row], atol=1e-6)


def test_the_map_is_an_output_beside_the_logits(model, inputs):
    values = {"image": inputs[0], "metadata": inputs[1]}
    both = build_gradcam_model(model)
    assert set(both.input) == {"image", "metadata"}
    logits, result = both.predict(values, verbose=0)
    np.testing.assert_allclose(logits, model.predict(values, verbose=0), atol=1e-5)
    np.testing.assert_allclose(result, gradcam(model, *inputs), atol=1e-4)


def test_the_map_follows_the_weights_and_leaves_them_alone(model, inputs):
    both = build_gradcam_model(model, signed=True)
    values = {"image": inputs[0], "metadata": inputs[1]}
    before, weights = np.asarray(both(values)[1]), model.get_weights()
    head = model.get_layer("head")
    old = head.get_weights()
    head.set_weights([2 * old[0], old[1]])
    try:
        np.testing.assert_allclose(np.asarray(both(values)[1]), 2 * before, rtol=1e-4, atol=1e-6)
    finally:
        head.set_weights(old)
    for one, other in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_highest_place_counts_as_one_however_weak():
    weak = np.array([[[0.0, 1e-12], [-5.0, 0.0]]], "float32")
    assert np.asarray(heatmap(weak, interpolation(np.array([2.0, 6.0]), 8))).max() == pytest.approx(1.0)


@pytest.mark.parametrize("place", [(15, 15), (15, 31), (39, 23)])
def test_the_peak_lies_on_the_pixel_that_was_seen(pointer, place):
    image = BLACK.copy()
    image[place] = 255.0
    result = gradcam(pointer, image, np.zeros(2, "float32"))
    assert np.unravel_index(result.argmax(), result.shape) == place


@pytest.mark.parametrize(
    ("image", "metadata", "error", "words"),
    [
        (None, np.zeros(WIDTH), ImageError, "needs image"),
        (BLACK, None, MetadataError, "encoder.missing_row"),
        (BLACK[:40], np.zeros(WIDTH), ImageError, r"image is \(48, 48, 3\).*\(40, 48, 3\)"),
        (BLACK[..., 0], np.zeros(WIDTH), ImageError, r"\(48, 48\)"),
        (BLACK[None][:0], np.zeros((0, WIDTH)), ImageError, "batch of such"),
        (np.full_like(BLACK, np.nan), np.zeros(WIDTH), ImageError, "not finite"),
        (BLACK + 256, np.zeros(WIDTH), ImageError, "0–255"),
        (BLACK - 1, np.zeros(WIDTH), ImageError, "0–255"),
        (BLACK + 0.5, np.zeros(WIDTH), ImageError, "255 times"),
        ("lesion.jpg", np.zeros(WIDTH), ImageError, "array of numbers"),
        (BLACK, ["female"] * WIDTH, MetadataError, "array of numbers"),
        (BLACK, [[1.0], [1.0, 2.0]], MetadataError, "array of numbers"),
        (BLACK, np.zeros(WIDTH + 1), MetadataError, r"\(6,\)"),
        (BLACK, np.full(WIDTH, np.inf), MetadataError, "5 values that are not finite"),
        (BLACK[None], np.zeros((2, WIDTH)), MetadataError, "One row of metadata for each image"),
        (BLACK[None], np.zeros(WIDTH), MetadataError, "One row of metadata for each image"),
    ],
)
def test_inputs_that_cannot_be_meant_are_refused(model, image, metadata, error, words):
    with pytest.raises(error, match=words):
        gradcam(model, image, metadata)


def test_metadata_for_an_image_model_are_refused(build):
    with pytest.raises(MetadataError, match="takes no metadata"):
        gradcam(build(fusion="image"), BLACK, np.zeros(WIDTH))


def test_an_unknown_method_is_refused(model):
    with pytest.raises(MelanomaFusionError, match=r"gradcam, hirescam.*'gradcam\+\+'"):
        gradcam(model, BLACK, np.zeros(WIDTH), method="gradcam++")


def test_a_model_with_unnamed_inputs_is_refused():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D(name="pooling")(keras.layers.Conv2D(2, 1)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    with pytest.raises(MelanomaFusionError, match="build_fusion_model"):
        gradcam(model, BLACK[:8, :8])


def test_jax_draws_the_same_map_without_tensorflow(build, tmp_path, inputs):
    model = build(fusion="metablock")
    image, metadata = inputs[0][0], inputs[1][0]
    stored = {f"w{i}": weight for i, weight in enumerate(model.get_weights())}
    np.savez(tmp_path / "stored.npz", image=image, metadata=metadata, **stored)
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "stored.npz")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["backend"] == "jax"
    assert not result["tensorflow"]
    for method in METHODS:
        np.testing.assert_allclose(result[method], gradcam(model, image, metadata, method=method), atol=1e-4)
