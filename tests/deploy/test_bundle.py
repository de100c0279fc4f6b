"""`Bundle`: what was trained comes back to the last bit, and a bundle that was touched is refused."""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from melanomafusion.data.metadata import MetadataEncoder
from melanomafusion.deploy.bundle import Bundle, find_bundles, write_bundle
from melanomafusion.deploy.trained_on import TrainedOn
from melanomafusion.errors import BundleError
from melanomafusion.images.spec import ImageSpec
from melanomafusion.models.fusion_model import build_fusion_model
from melanomafusion.notice import NOT_A_MEDICAL_DEVICE
from melanomafusion.recipes.catalogue import get_recipe
from melanomafusion.testing import make_records

SUMS = "SHA256SUMS"
WEIGHTS = "model.weights.h5"
METRICS = {"auc": 0.8125, "records": 40}


def make(folder, fusion):
    """A bundle of a model with random weights, as after training."""
    recipe = get_recipe({"concat": "tiny", "image": "image-tiny", "metadata": "metadata-tiny"}[fusion])
    rng = np.random.default_rng(0)
    encoder = MetadataEncoder().fit(make_records(30, rng=rng)[0]) if recipe.uses_metadata else None
    model = build_fusion_model(
        recipe.backbone,
        metadata_width=encoder.width if encoder else 0,
        image_size=recipe.image_size,
        fusion=recipe.fusion,
        weights=None,
        metadata_units=recipe.metadata_units,
        dropout=recipe.dropout,
    )
    model.set_weights([np.abs(rng.normal(size=w.shape)) + 0.1 for w in model.get_weights()])
    spec = ImageSpec(recipe.image_size) if recipe.uses_images else None
    return write_bundle(folder, recipe=recipe, model=model, encoder=encoder, spec=spec, metrics=METRICS), model


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A fused bundle and the model it was made of; not to be touched."""
    return make(tmp_path_factory.mktemp("written") / "bundle", "concat")


@pytest.fixture
def folder(written, tmp_path):
    """A copy of that bundle's folder."""
    return shutil.copytree(written[0].path, tmp_path / "bundle")


def logits(model):
    rng = np.random.default_rng(1)
    inputs = {
        key: rng.uniform(0, 255 if key == "image" else 1, (4, *tensor.shape[1:])).astype("float32")
        for key, tensor in model.input.items()
    }
    return keras.ops.convert_to_numpy(model(inputs))


def sign_again(folder):
    """Make the sums fit what is in the folder now."""
    names = sorted(path.name for path in folder.iterdir() if path.name != SUMS)
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def refused(folder, *parts):
    with pytest.raises(BundleError) as error:
        Bundle.read(folder)
    for part in (str(folder), *parts):
        assert part in str(error.value)


@pytest.mark.parametrize("fusion", ["concat", "image", "metadata"])
def test_round_trip_gives_the_same_logits(tmp_path, fusion):
    _, model = make(tmp_path / "bundle", fusion)
    again = Bundle.read(tmp_path / "bundle").build_model()
    assert set(again.input) == set(model.input)
    np.testing.assert_array_equal(logits(again), logits(model))


def test_round_trip_gives_recipe_encoder_spec_and_metrics(written):
    bundle, again = written[0], Bundle.read(written[0].path)
    assert again.recipe == bundle.recipe == get_recipe("tiny")
    assert again.encoder.to_json() == bundle.encoder.to_json()
    assert again.spec == bundle.spec == ImageSpec(32)
    assert again.metrics == METRICS


@pytest.mark.parametrize(("fusion", "encoder", "spec"), [("image", False, True), ("metadata", True, False)])
def test_single_branch_bundle_has_only_what_it_needs(tmp_path, fusion, encoder, spec):
    make(tmp_path / "bundle", fusion)
    bundle = Bundle.read(tmp_path / "bundle")
    assert (bundle.encoder is not None, bundle.spec is not None) == (encoder, spec)
    assert (tmp_path / "bundle" / "metadata_encoder.json").exists() == encoder
    assert (tmp_path / "bundle" / "image_spec.json").exists() == spec


def test_files_are_text_and_weights_and_every_one_is_signed(folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {"bundle.json", "metrics.json", "metadata_encoder.json", "image_spec.json", WEIGHTS, SUMS}
    content = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    assert content["format"] == 2
    assert content["notice"] == NOT_A_MEDICAL_DEVICE
    assert {"melanomafusion", "keras", "tensorflow", "numpy", "pillow"} <= set(content["versions"])
    signed = [line.split("  ")[1] for line in (folder / SUMS).read_text(encoding="utf-8").splitlines()]
    assert set(signed) == names - {SUMS}


def test_bundle_can_be_moved(written, folder):
    np.testing.assert_array_equal(logits(Bundle.read(folder).build_model()), logits(written[1]))


def test_writing_again_replaces_the_bundle_whole(tmp_path):
    make(tmp_path / "bundle", "concat")
    (tmp_path / "bundle" / "old.txt").write_text("old", encoding="utf-8")
    make(tmp_path / "bundle", "metadata")
    assert Bundle.read(tmp_path / "bundle").recipe.name == "metadata-tiny"
    assert not (tmp_path / "bundle" / "old.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize("name", ["bundle.json", "metrics.json", "metadata_encoder.json", "image_spec.json", WEIGHTS])
def test_one_altered_byte_is_refused(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(bytes(content))
    refused(folder, f"file {name} was altered")


@pytest.mark.parametrize("name", ["bundle.json", "metrics.json", "metadata_encoder.json", "image_spec.json", WEIGHTS])
def test_missing_file_is_refused(folder, name):
    (folder / name).unlink()
    refused(folder, name)


@pytest.mark.parametrize("name", ["bundle.json", "metrics.json", WEIGHTS])
def test_file_that_must_be_signed_and_is_not_is_refused(folder, name):
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / SUMS).write_text("".join(line for line in lines if name not in line), encoding="utf-8")
    refused(folder, "does not list", name)


def test_folder_without_sums_is_no_bundle(folder, tmp_path):
    (folder / SUMS).unlink()
    refused(folder, "is not a bundle", SUMS)
    refused(tmp_path / "nowhere", "is not a bundle")


@pytest.mark.parametrize("number", [0, 3, "1", None, True, 1.5, [1]])
def test_other_format_number_is_refused(folder, number):
    content = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    (folder / "bundle.json").write_text(json.dumps({**content, "format": number}), encoding="utf-8")
    sign_again(folder)
    refused(folder, f"format {number!r}", "reads 1 to 2")


@pytest.mark.parametrize("text", ["{", "[]", "5"])
def test_bundle_json_that_is_no_object_is_refused(folder, text):
    (folder / "bundle.json").write_text(text, encoding="utf-8")
    sign_again(folder)
    refused(folder, "bundle.json")


@pytest.mark.parametrize("name", ["/etc/hostname", "../secret.txt", "..", "sub/../../secret.txt", "sub/file.json"])
def test_sums_that_point_out_of_the_folder_are_refused(folder, name):
    (folder.parent / "secret.txt").write_text("secret", encoding="utf-8")
    with (folder / SUMS).open("a", encoding="utf-8") as file:
        file.write(f"{hashlib.sha256(b'secret').hexdigest()}  {name}\n")
    refused(folder, name)


@pytest.mark.parametrize("line", ["hello", "0" * 64, "0" * 64 + "  "])
def test_line_of_the_sums_without_a_file_is_refused(folder, line):
    with (folder / SUMS).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    refused(folder, "does not name a file of the bundle")


@pytest.mark.parametrize("name", ["bundle.json", WEIGHTS])
def test_symbolic_link_is_refused_even_with_the_right_content(folder, tmp_path, name):
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    refused(folder, name)


def test_weights_of_another_network_are_refused_when_built(written, folder):
    width = written[0].encoder.width + 1
    build_fusion_model("tiny", metadata_width=width, image_size=32, weights=None).save_weights(folder / WEIGHTS)
    sign_again(folder)
    with pytest.raises(BundleError, match="the weights do not fit the recipe"):
        Bundle.read(folder).build_model()


def test_weights_that_are_no_weights_are_refused_when_built(folder):
    (folder / WEIGHTS).write_bytes(b"hello")
    sign_again(folder)
    with pytest.raises(BundleError, match="the weights do not fit the recipe"):
        Bundle.read(folder).build_model()


def test_bundles_of_a_run_are_found_in_the_order_of_folds(folder, tmp_path):
    for fold in (10, 0, 2):
        shutil.copytree(folder, tmp_path / "run" / f"fold-{fold}" / "bundle")
    assert [path.parent.name for path in find_bundles(tmp_path / "run")] == ["fold-0", "fold-2", "fold-10"]
    assert find_bundles(folder) == [folder]


def test_folder_without_bundles_is_refused(tmp_path):
    with pytest.raises(BundleError, match="neither a bundle nor a run"):
        find_bundles(tmp_path)


def test_added_file_is_refused(folder):
    (folder / "extra.txt").write_text("extra", encoding="utf-8")
    refused(folder, "extra.txt")


@pytest.mark.parametrize("name", ["metadata_encoder.json", "image_spec.json"])
def test_encoder_and_spec_must_be_signed(folder, name):
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / SUMS).write_text("".join(line for line in lines if name not in line), encoding="utf-8")
    refused(folder, name)


@pytest.mark.parametrize("name", ["metadata_encoder.json", "image_spec.json"])
def test_encoder_and_spec_that_are_neither_there_nor_signed_are_refused(folder, name):
    (folder / name).unlink()
    sign_again(folder)
    refused(folder, name)


@pytest.mark.parametrize("recipe", [None, 5, {}, {"name": "x", "zzz": 1}])
def test_bundle_whose_recipe_cannot_be_read_is_refused(folder, recipe):
    content = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    content.pop("recipe") if recipe is None else content.update(recipe=recipe)
    (folder / "bundle.json").write_text(json.dumps(content), encoding="utf-8")
    sign_again(folder)
    refused(folder)


def test_sums_that_are_no_text_are_refused(folder):
    (folder / SUMS).write_bytes(b"\xff\xfe")
    refused(folder, SUMS)


def test_image_spec_of_another_size_than_the_recipe_is_refused(folder):
    from melanomafusion.images.spec import ImageSpec

    (folder / "image_spec.json").write_text(ImageSpec(64).to_json(), encoding="utf-8")
    sign_again(folder)
    refused(folder)


def test_a_stray_folder_in_a_run_does_not_stop_the_search(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run" / "fold-0" / "bundle")
    (tmp_path / "run" / "fold-0 (copy)" / "bundle").mkdir(parents=True)
    assert [p.parent.name for p in find_bundles(tmp_path / "run")] == ["fold-0"]


def test_a_bundle_of_format_1_gives_the_logit_that_it_gave_when_it_was_written():
    bundle = Bundle.read(Path(__file__).parent / "bundles" / "format-1")
    assert (bundle.trained_on, bundle.onnx, bundle.threshold) == (None, None, None)
    image = np.arange(32 * 32 * 3, dtype="float32").reshape(1, 32, 32, 3) % 256
    logit = bundle.build_model()({"image": image, "metadata": bundle.encoder.missing_row()[None]})
    # Printed by the version that wrote it.
    assert float(logit[0, 0]) == pytest.approx(-0.45939481258392334, abs=1e-6)


def test_a_newer_format_is_said_to_be_newer(folder):
    content = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    (folder / "bundle.json").write_text(json.dumps({**content, "format": 3}), encoding="utf-8")
    sign_again(folder)
    refused(folder, "format 3", "written by a newer version")


@pytest.mark.parametrize("name", ["bundle.json", "metrics.json", "metadata_encoder.json"])
def test_a_huge_text_is_refused_by_name_before_it_is_parsed(folder, name):
    (folder / name).write_text('{"a": "' + "x" * (17 * 1024 * 1024) + '"}', encoding="utf-8")
    sign_again(folder)
    refused(folder, name, "bytes")


def test_deeply_nested_json_is_refused_by_name(folder):
    (folder / "metrics.json").write_text("[" * 100_000, encoding="utf-8")
    sign_again(folder)
    refused(folder, "metrics.json")


def test_what_it_was_trained_on_comes_back(written, tmp_path):
    first = written[0]
    ranges = TrainedOn.measure(make_records(30, rng=np.random.default_rng(0))[0])
    model = first.build_model()
    parts = {"recipe": first.recipe, "model": model, "encoder": first.encoder, "spec": first.spec, "metrics": METRICS}
    write_bundle(tmp_path / "bundle", **parts, trained_on=ranges)
    assert Bundle.read(tmp_path / "bundle").trained_on == ranges
    (tmp_path / "bundle" / "trained_on.json").write_text('{"format": 1}', encoding="utf-8")
    sign_again(tmp_path / "bundle")
    refused(tmp_path / "bundle", "ranges of training records")


def test_the_threshold_is_that_of_the_inner_validation_split(written, tmp_path):
    bundle = dataclasses.replace(written[0], metrics={"threshold": {"value": 0.25}})
    assert bundle.threshold == 0.25
    assert dataclasses.replace(bundle, metrics={"threshold": {"value": None}}).threshold is None


def test_the_state_of_the_optimizer_is_left_out(written, folder, tmp_path):
    """It would be twice the size of the weights, and nobody who predicts needs it."""
    first, _ = written
    model = first.build_model()
    model.compile("adam", "mse", jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    bundle = write_bundle(
        tmp_path / "trained", recipe=first.recipe, model=model, encoder=first.encoder, spec=first.spec, metrics={}
    )
    with h5py.File(bundle.path / WEIGHTS) as trained, h5py.File(folder / WEIGHTS) as untrained:
        assert set(trained) == set(untrained)
        assert "optimizer" not in trained
    for ours, theirs in zip(bundle.build_model().get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
