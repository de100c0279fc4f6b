"""`export_onnx`: the file computes what Keras computes, suffices alone, and is not kept where it does not."""

import json
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import onnx
import pytest

import melanomafusion as mf
from melanomafusion.data.metadata import MetadataEncoder
from melanomafusion.deploy.bundle import Bundle, write_bundle
from melanomafusion.deploy.engines import Keras, OnnxRuntime, OpenVino
from melanomafusion.deploy.onnx_export import export_onnx
from melanomafusion.deploy.onnx_header import OnnxHeader
from melanomafusion.deploy.onnx_parity import Together, random_inputs
from melanomafusion.deploy.onnx_properties import read_properties
from melanomafusion.deploy.sums import write_sums
from melanomafusion.deploy.trained_on import TrainedOn
from melanomafusion.errors import BundleError
from melanomafusion.explain.gradcam import gradcam
from melanomafusion.notice import NOT_A_MEDICAL_DEVICE
from melanomafusion.testing import make_records

CLASSES = ("nevus", "melanoma", "BKL", "BCC")
FAMILIES = {"efficientnet_b0": 48, "efficientnet_v2_s": 48, "mobilenet_v2": 48, "convnext_tiny": 64}
OPTIONS = {
    "fused": {},
    "image": {"fusion": "image"},
    "metadata": {"fusion": "metadata"},
    "metanet": {"fusion": "metanet", "pooling": "gem"},
    "metablock": {"fusion": "metablock", "head_units": (6,), "dropout_samples": 3},
    "two logits": {"two_logits": True, "metadata_batch_norm": True},
    "classes": {"classes": CLASSES, "loss": "categorical", "positive_classes": ("melanoma", "BCC")},
    "additive, one against the rest": {
        "fusion": "additive",
        "classes": CLASSES,
        "loss": "one_vs_rest",
        "positive_classes": ("melanoma", "BCC"),
    },
}


def bundle_of(folder, **changes):
    """A bundle with random weights of the size that training gives."""
    keras.utils.set_random_seed(3)
    recipe = mf.get_recipe("tiny").replace(imbalance="none", **changes)
    frame = make_records(40, rng=np.random.default_rng(0))[0]
    encoder = MetadataEncoder().fit(frame) if recipe.uses_metadata else None
    model = mf.build_fusion_model(weights=None, **recipe.model_options(encoder.width if encoder else 0))
    spec = mf.ImageSpec(recipe.image_size) if recipe.uses_images else None
    parts = {"recipe": recipe, "model": model, "encoder": encoder, "spec": spec}
    return write_bundle(folder, **parts, metrics={"threshold": {"value": 0.3}}, trained_on=TrainedOn.measure(frame))


def outputs_agree(bundle, found, inputs):
    model = bundle.build_model()
    given = {name: values.astype("float32") for name, values in inputs.items()}
    np.testing.assert_allclose(found["logit"], np.asarray(model(given)), atol=1e-4, rtol=0)
    expected = Keras(model, bundle.recipe).run(inputs)
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].shape == values.shape
        np.testing.assert_allclose(found[name], values, atol=1e-4, rtol=0, err_msg=name)


def test_the_folder_of_a_weights_file_stays_on_the_machine_that_trained(tmp_path):
    bundle = bundle_of(tmp_path / "bundle", fusion="metadata", weights="/home/someone/weights.h5")
    export_onnx(bundle.path)
    content = (bundle.path / "model.onnx").read_bytes()
    assert b"someone" not in content
    assert OnnxHeader.read(OnnxRuntime(content).properties, "it").recipe.weights == "weights.h5"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    bundle_of(folder)
    export_onnx(folder)
    return Bundle.read(folder)


@pytest.mark.parametrize("engine", [OnnxRuntime, OpenVino])
@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_computes_what_keras_computes(tmp_path, name, engine):
    bundle_of(tmp_path / "bundle", **OPTIONS[name])
    (file,) = export_onnx(tmp_path / "bundle")
    bundle = Bundle.read(tmp_path / "bundle")
    assert max(bundle.onnx["largest_difference"].values()) <= 1e-4
    inputs = random_inputs(bundle.spec, bundle.encoder, 3, seed=9)  # other records than those compared at export
    outputs_agree(bundle, engine(str(file)).run(inputs), inputs)


@pytest.mark.parametrize("backbone", FAMILIES)
def test_every_family_of_backbones_is_exported(tmp_path, backbone):
    bundle_of(tmp_path / "bundle", backbone=backbone, image_size=FAMILIES[backbone])
    (file,) = export_onnx(tmp_path / "bundle", tmp_path / "model.onnx")
    assert Bundle.read(tmp_path / "bundle").onnx is None  # a file of its own leaves the bundle as it was
    bundle = Bundle.read(tmp_path / "bundle")
    inputs = random_inputs(bundle.spec, bundle.encoder, 2, seed=9)
    outputs_agree(bundle, OnnxRuntime(str(file)).run(inputs), inputs)


@pytest.mark.parametrize("options", [{}, {"threads": 1}, {"threads": 1, "at_once": 2}])
def test_openvino_computes_a_batch_as_it_computes_its_records_from_several_threads_too(exported, options):
    engine = OpenVino(str(exported.path / "model.onnx"), **options)
    inputs = random_inputs(exported.spec, exported.encoder, 7, seed=9)
    records = [engine.run({name: values[[row]] for name, values in inputs.items()}) for row in range(7)]
    with ThreadPoolExecutor(3) as threads:
        batches = list(threads.map(engine.run, [inputs] * 6))
    for batch in batches:
        outputs_agree(exported, batch, inputs)
        for name, values in batch.items():
            np.testing.assert_allclose(values, np.concatenate([one[name] for one in records]), atol=1e-5, rtol=0)


def test_openvino_computes_on_after_a_batch_that_it_cannot_compute(exported):
    engine = OpenVino(str(exported.path / "model.onnx"))
    inputs = random_inputs(exported.spec, exported.encoder, 4, seed=9)
    for wrong in ({**inputs, "image": inputs["image"][..., :2]}, {**inputs, "photo": inputs["image"]}):
        with pytest.raises(BundleError, match="OpenVINO cannot compute it"):
            engine.run(wrong)
    outputs_agree(exported, engine.run(inputs), inputs)


def test_the_heat_map_is_that_of_gradcam(exported):
    inputs = random_inputs(exported.spec, exported.encoder, 4, seed=5)
    found = OnnxRuntime(str(exported.path / "model.onnx")).run(inputs)["heatmap"]
    expected = gradcam(exported.build_model(), inputs["image"], inputs["metadata"])
    assert expected.max() == 1
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_graph_whose_evidence_against_is_wrong_is_found_too(exported):
    """Its heat map is the same: that shows evidence for melanoma alone."""

    class Wrong(OnnxRuntime):
        def run(self, inputs):
            found = super().run(inputs)
            return {**found, "signed_map": np.where(found["signed_map"] < 0, 0.9, 1) * found["signed_map"]}

    content = (exported.path / "model.onnx").read_bytes()
    together = Together.of([exported])
    assert max(together.differences(OnnxRuntime(content)).values()) <= 1e-4
    found = together.differences(Wrong(content))
    assert found["heatmap"] <= 1e-4
    with pytest.raises(BundleError, match=r"signed_map of the ONNX graph differs from Keras by 0\.1"):
        together.check(found, "ONNX graph")


def test_inputs_and_outputs_are_named_and_the_batch_is_open(exported):
    graph = onnx.load(exported.path / "model.onnx").graph
    shapes = {
        v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*graph.input, *graph.output)
    }
    assert {v.name: v.type.tensor_type.elem_type for v in graph.input} == {
        "image": onnx.TensorProto.UINT8,
        "metadata": onnx.TensorProto.FLOAT,
    }
    assert shapes["image"] == ["batch", 32, 32, 3]
    assert shapes["metadata"] == ["batch", exported.encoder.width]
    assert [v.name for v in graph.output] == ["logit", "score", "heatmap", "signed_map"]
    assert shapes["logit"] == ["batch", 1]
    assert (shapes["score"], shapes["heatmap"][0]) == (["batch"], "batch")


def test_the_file_stands_alone(exported):
    model = onnx.load(exported.path / "model.onnx", load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    header = OnnxHeader.read({p.key: p.value for p in model.metadata_props}, "file")
    assert header.recipe == exported.recipe
    assert header.encoder.to_json() == exported.encoder.to_json()
    assert (header.spec, header.trained_on, header.threshold) == (exported.spec, exported.trained_on, 0.3)
    assert len(header.centres) == 4
    assert NOT_A_MEDICAL_DEVICE in model.doc_string
    sums = (exported.path / "SHA256SUMS").read_text(encoding="utf-8")
    assert f"{header.weights_sha256[0]}  model.weights.h5" in sums


def test_metadata_are_read_without_the_onnx_package(exported):
    path = exported.path / "model.onnx"
    model = onnx.load(path, load_external_data=False)
    expected = {entry.key: entry.value for entry in model.metadata_props}
    assert read_properties(str(path)) == read_properties(path.read_bytes()) == expected
    entry = model.metadata_props.add()
    entry.key, entry.value = "ключ", "é" * 300
    model.metadata_props.add()
    assert read_properties(model.SerializeToString()) == {**expected, "ключ": "é" * 300, "": ""}


@pytest.mark.parametrize(
    "content", [b"\xff" * 20, b"\x72\xff\x7f", b"version https://git-lfs", b"\x0b", b"\x72\x03\x0a\x09x"]
)
def test_what_is_no_onnx_file_has_no_metadata(content):
    with pytest.raises(BundleError, match="not an ONNX file"):
        read_properties(content)


def test_exporting_again_replaces_the_file_and_nothing_else(tmp_path):
    bundle_of(tmp_path / "bundle")
    before = {p.name: p.read_bytes() for p in (tmp_path / "bundle").iterdir()}
    for _ in range(2):
        export_onnx(tmp_path / "bundle")
        after = {p.name: p.read_bytes() for p in (tmp_path / "bundle").iterdir()}
        assert set(after) == {*before, "model.onnx"}
        assert [n for n in before if before[n] != after[n]] == [n for n in before if n in ("bundle.json", "SHA256SUMS")]
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize("name", ["logit", "heatmap"])
def test_a_graph_that_computes_something_else_is_not_kept(tmp_path, monkeypatch, name):
    bundle_of(tmp_path / "bundle")
    before = {p.name: p.read_bytes() for p in (tmp_path / "bundle").iterdir()}
    run = OnnxRuntime.run

    def shifted(engine, inputs):
        found = run(engine, inputs)
        return {**found, name: found[name] + np.float32(2e-4)}

    monkeypatch.setattr(OnnxRuntime, "run", shifted)
    with pytest.raises(BundleError, match=f"{name} of the ONNX graph differs from Keras by 0.0002"):
        export_onnx(tmp_path / "bundle")
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "bundle").iterdir()}


def test_a_graph_that_gives_no_numbers_is_not_kept(tmp_path, monkeypatch):
    bundle_of(tmp_path / "bundle")
    run = OnnxRuntime.run
    monkeypatch.setattr(
        OnnxRuntime, "run", lambda engine, inputs: {k: v * np.nan for k, v in run(engine, inputs).items()}
    )
    with pytest.raises(BundleError, match="differs from Keras by inf"):
        export_onnx(tmp_path / "bundle")


def test_inputs_that_do_not_fit_a_graph_are_an_error_of_ours(exported):
    with pytest.raises(BundleError, match="the ONNX graph: onnxruntime cannot compute it"):
        OnnxRuntime((exported.path / "model.onnx").read_bytes()).run({"image": np.zeros((1, 8, 8, 3), "uint8")})


def test_an_export_that_is_broken_off_leaves_the_bundle_as_it_was(tmp_path, monkeypatch):
    bundle_of(tmp_path / "bundle")
    before = {p.name: p.read_bytes() for p in (tmp_path / "bundle").iterdir()}

    def broken(model, file):
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(onnx, "save_model", broken)
    with pytest.raises(KeyboardInterrupt):
        export_onnx(tmp_path / "bundle")
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "bundle").iterdir()}
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_one_file_for_models_of_several_recipes_is_refused(tmp_path):
    for fold, units in enumerate([(8,), (9,)]):
        bundle_of(tmp_path / "run" / f"fold-{fold}" / "bundle", fusion="metadata", metadata_units=units)
    with pytest.raises(BundleError, match="models of several recipes"):
        export_onnx(tmp_path / "run", tmp_path / "a.onnx")
    assert len(export_onnx(tmp_path / "run")) == 2


def test_a_bundle_whose_onnx_file_is_gone_or_new_to_it_is_refused(tmp_path):
    bundle_of(tmp_path / "bundle", fusion="metadata")
    (tmp_path / "bundle" / "model.onnx").write_bytes(b"x")
    write_sums(tmp_path / "bundle")
    with pytest.raises(BundleError, match="do not belong together"):
        Bundle.read(tmp_path / "bundle")


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({}, "not an ONNX file of melanomafusion"),
        ({"melanomafusion": "{"}, "header is damaged"),
        ({"melanomafusion": "[]"}, "header is damaged"),
        ({"melanomafusion": '{"format": 9}'}, "header of format 9"),
        ({"melanomafusion": '{"format": 1, "recipe": {}}'}, "header is damaged"),
    ],
)
def test_a_header_of_someone_else_is_refused(properties, message):
    with pytest.raises(BundleError, match=message):
        OnnxHeader.read(properties, "file.onnx")


def test_a_header_of_format_1_is_still_read(exported):
    content = json.loads(read_properties(str(exported.path / "model.onnx"))["melanomafusion"])
    assert content["format"] == 2
    digests = content.pop("weights_sha256")
    del content["calibration"], content["calibrated_on"]
    old = {**content, "format": 1, "weights_sha256": digests[0]}
    header = OnnxHeader.read({"melanomafusion": json.dumps(old)}, "file.onnx")
    assert header.weights_sha256 == tuple(digests)
    assert header.calibrator is None
    assert header.recipe == exported.recipe


def test_a_recipe_that_cannot_be_read_in_a_header_is_refused(exported):
    model = onnx.load(exported.path / "model.onnx")
    content = json.loads(model.metadata_props[0].value)
    content["recipe"]["backbone"] = "resnet"
    with pytest.raises(BundleError, match="header is damaged"):
        OnnxHeader.read({"melanomafusion": json.dumps(content)}, "file.onnx")


def test_converting_says_nothing(tmp_path, capfd):
    bundle_of(tmp_path / "bundle", fusion="metadata")
    capfd.readouterr()
    export_onnx(tmp_path / "bundle")
    out, err = capfd.readouterr()
    assert out == ""
    assert "tf2onnx" not in err


def test_packages_that_are_not_installed_are_named(exported, monkeypatch):
    monkeypatch.setattr("melanomafusion.deploy.onnx_export.is_installed", lambda name: name != "tf2onnx")
    with pytest.raises(BundleError, match=r'Exporting needs tf2onnx: pip install "melanomafusion\[onnx\]"'):
        export_onnx(exported.path)
