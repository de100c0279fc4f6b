"""Every option of the vocabulary goes through a bundle: the network is built from the recipe, to the last bit."""

import hashlib
import json

import keras
import numpy as np
import pytest

from melanomafusion.data.metadata import MetadataEncoder
from melanomafusion.deploy.bundle import Bundle, write_bundle
from melanomafusion.errors import BundleError
from melanomafusion.images.spec import ImageSpec
from melanomafusion.models.fusion_model import build_fusion_model
from melanomafusion.recipes.catalogue import get_recipe
from melanomafusion.recipes.recipe import Recipe
from melanomafusion.testing import make_records

OPTIONS = [
    {"pooling": "gem"},
    {"head_units": (7, 5)},
    {"dropout_samples": 4},
    {"two_logits": True},
    {"metadata_batch_norm": True},
    {"branch_dropout": 0.0},
    {"fusion": "metanet"},
    {"fusion": "metablock"},
    {"fusion": "additive"},
    {"backbone": "plain_cnn"},
    {"classes": ("melanoma", "nevus", "BKL"), "loss": "categorical"},
    {"classes": ("melanoma", "nevus", "BKL"), "loss": "one_vs_rest"},
    {"metadata_units": ()},
    {
        "fusion": "metablock",
        "pooling": "gem",
        "head_units": (6,),
        "dropout_samples": 3,
        "two_logits": True,
        "metadata_batch_norm": True,
        "branch_dropout": 0.2,
    },
]


def logits(model):
    rng = np.random.default_rng(1)
    inputs = {
        key: rng.uniform(0, 255 if key == "image" else 1, (4, *tensor.shape[1:])).astype("float32")
        for key, tensor in model.input.items()
    }
    return keras.ops.convert_to_numpy(model(inputs))


def write(folder, recipe):
    """A bundle and its model, every weight drawn at random."""
    rng = np.random.default_rng(0)
    encoder = MetadataEncoder().fit(make_records(30, rng=rng)[0])
    model = build_fusion_model(weights=None, **recipe.model_options(encoder.width))
    model.set_weights([np.abs(rng.normal(size=w.shape)) * 0.2 + 0.1 for w in model.get_weights()])
    spec = ImageSpec(recipe.image_size)
    return write_bundle(folder, recipe=recipe, model=model, encoder=encoder, spec=spec, metrics={}), model


@pytest.mark.parametrize("changes", OPTIONS, ids=lambda changes: ", ".join(map(str, changes)))
def test_the_model_comes_back_to_the_last_bit(tmp_path, changes):
    recipe = get_recipe("tiny").replace(**changes)
    _, model = write(tmp_path / "bundle", recipe)
    opened = Bundle.read(tmp_path / "bundle")
    again = opened.build_model()
    assert opened.recipe == recipe
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    np.testing.assert_array_equal(logits(again), logits(model))


def test_a_learnt_power_of_the_pooling_is_kept(tmp_path):
    _, model = write(tmp_path / "bundle", get_recipe("tiny").replace(pooling="gem"))
    power = float(model.get_layer("pooling").power.numpy())
    again = Bundle.read(tmp_path / "bundle").build_model().get_layer("pooling").power
    assert float(again.numpy()) == power != 3.0


def test_a_bundle_from_before_the_new_fields_is_read(tmp_path):
    bundle, model = write(tmp_path / "bundle", get_recipe("tiny"))
    content = json.loads((bundle.path / "bundle.json").read_text(encoding="utf-8"))
    for field in (
        "metadata_batch_norm",
        "branch_dropout",
        "pooling",
        "head_units",
        "dropout_samples",
        "two_logits",
        "ema",
        "threshold_rule",
        "threshold_at",
    ):
        del content["recipe"][field]
    for stage in content["recipe"]["stages"]:
        del stage["early_stopping_min_delta"]
    (bundle.path / "bundle.json").write_text(json.dumps(content), encoding="utf-8")
    names = sorted(path.name for path in bundle.path.iterdir() if path.name != "SHA256SUMS")
    sums = "".join(f"{hashlib.sha256((bundle.path / n).read_bytes()).hexdigest()}  {n}\n" for n in names)
    (bundle.path / "SHA256SUMS").write_text(sums, encoding="utf-8")
    opened = Bundle.read(bundle.path)
    assert opened.recipe == Recipe.from_dict(get_recipe("tiny").to_dict())
    np.testing.assert_array_equal(logits(opened.build_model()), logits(model))


@pytest.mark.parametrize(
    "changes", [{"head_units": (7,)}, {"two_logits": True}, {"pooling": "gem"}, {"fusion": "metanet"}]
)
def test_weights_of_a_model_without_an_option_are_refused_by_one_with_it(tmp_path, changes):
    plain, _ = write(tmp_path / "plain", get_recipe("tiny"))
    mixed, _ = write(tmp_path / "mixed", get_recipe("tiny").replace(**changes))
    name = "model.weights.h5"
    (mixed.path / name).write_bytes((plain.path / name).read_bytes())
    sums = (mixed.path / "SHA256SUMS").read_text(encoding="utf-8").splitlines(keepends=True)
    digest = hashlib.sha256((mixed.path / name).read_bytes()).hexdigest()
    lines = [f"{digest}  {name}\n" if line.rstrip("\n").endswith(name) else line for line in sums]
    (mixed.path / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")
    with pytest.raises(BundleError, match="the weights do not fit the recipe"):
        Bundle.read(mixed.path).build_model()
