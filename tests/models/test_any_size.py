"""`for_any_size`: another side of the images, the same function and the same weights."""

import keras
import numpy as np
import pytest

from melanomafusion.models.any_size import for_any_size
from melanomafusion.models.fusion_model import build_fusion_model

WIDTH = 5
BACKBONES = {  # one of each family, and each kind of fusion
    "tiny": "concat",
    "mobilenet_v2": "metablock",
    "efficientnet_b0": "concat",
    "efficientnet_v2_s": "image",
    "convnext_tiny": "concat",
    "densenet121": "metanet",
    "inception_v3": "additive",
}


def built(backbone, size, pooling="avg"):
    options = {"fusion": BACKBONES[backbone], "metadata_width": WIDTH, "pooling": pooling, "weights": None}
    return build_fusion_model(backbone, image_size=size, **options)


def inputs_of(model, size, count=2):
    rng = np.random.default_rng(size)
    image = rng.uniform(0, 255, (count, size, size, 3)).astype("float32")
    metadata = rng.normal(size=(count, WIDTH)).astype("float32")
    return {"image": image, **({"metadata": metadata} if "metadata" in model.input else {})}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_each_backbone_computes_what_one_built_for_that_side_computes(backbone):
    model, other = built(backbone, 128, "gem"), built(backbone, 96, "gem")
    other.set_weights(model.get_weights())
    resizable = for_any_size(model, backbone)
    for reference, size in ((other, 96), (model, 128)):
        inputs = inputs_of(model, size)
        np.testing.assert_allclose(resizable(inputs), reference(inputs), atol=1e-6, rtol=0)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_weights_are_the_models_own_in_the_same_order(backbone):
    model = built(backbone, 64 if backbone != "inception_v3" else 96)
    resizable = for_any_size(model, backbone)
    for kind in ("trainable_variables", "non_trainable_variables"):
        assert [id(v) for v in getattr(resizable, kind)] == [id(v) for v in getattr(model, kind)]
    model.get_layer(backbone).trainable = False
    assert [id(v) for v in resizable.trainable_variables] == [id(v) for v in model.trainable_variables]


def test_training_it_trains_the_model():
    model = built("tiny", 48)
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))  # by an earlier stage
    before = model.get_weights()
    resizable = for_any_size(model, "tiny")
    assert not resizable.compiled
    resizable.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    resizable.train_on_batch(inputs_of(model, 32, 4), np.array([[0.0], [1.0], [1.0], [0.0]]))
    changed = [not np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True)]
    assert all(changed)
    assert model(inputs_of(model, 48)).shape == (2, 1)
