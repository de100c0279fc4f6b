"""`export_litert`: the file computes what Keras computes, and says what it is."""

import json

import numpy as np
import pytest
import tensorflow as tf

import melanomafusion as mf
from melanomafusion.deploy.engines import Keras
from melanomafusion.deploy.litert import LiteRt, export_litert
from melanomafusion.deploy.onnx_header import OnnxHeader
from melanomafusion.deploy.onnx_parity import random_inputs
from melanomafusion.errors import BundleError, OutputError

# TensorFlow points to the new home of its interpreter.
pytestmark = pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated.*:UserWarning")


@pytest.fixture(scope="module")
def bundle(folded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("litert")
    mf.fit_fold(mf.get_recipe("tiny").replace(epochs=1, tta=1), folded, 0, out=folder / "fold-0")
    return mf.Bundle.read(folder / "fold-0" / "bundle")


def test_the_file_computes_what_keras_computes_at_any_batch(bundle, tmp_path):
    differences = export_litert(bundle.path, tmp_path / "model.tflite")
    assert max(differences.values()) <= 1e-4
    engine = LiteRt((tmp_path / "model.tflite").read_bytes())
    for count in (1, 3):
        inputs = random_inputs(bundle.spec, bundle.encoder, count, seed=9)
        expected = Keras(bundle.build_model(), bundle.recipe).run(inputs)
        found = engine.run(inputs)
        for name in ("logit", "score", "heatmap"):
            np.testing.assert_allclose(found[name], expected[name], atol=1e-4)


def test_the_header_stands_in_its_metadata(bundle, tmp_path):
    export_litert(bundle.path, tmp_path / "model.tflite")
    content = (tmp_path / "model.tflite").read_bytes()
    start = content.index(b'{"format": 2, "notice"')
    text, _ = json.JSONDecoder().raw_decode(content[start:].decode("utf-8", "ignore"))
    header = OnnxHeader.read({"melanomafusion": json.dumps(text)}, "file")
    assert header.recipe.backbone == bundle.recipe.backbone
    assert header.encoder.to_json() == bundle.encoder.to_json()
    tf.lite.Interpreter(model_content=content)  # still a sound file


def test_a_file_that_computes_something_else_is_not_kept(bundle, tmp_path, monkeypatch):
    run = LiteRt.run
    monkeypatch.setattr(LiteRt, "run", lambda self, inputs: {k: v + 1 for k, v in run(self, inputs).items()})
    with pytest.raises(BundleError, match="logit of the LiteRT file differs from Keras by 1"):
        export_litert(bundle.path, tmp_path / "model.tflite")
    with pytest.raises(OutputError, match="is a folder"):
        export_litert(bundle.path, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_command_knows_it_by_its_ending(shell, bundle, tmp_path):
    code, printed, _ = shell("export", bundle.path, "--out", tmp_path / "model.tflite")
    assert code == 0
    assert "model.tflite" in printed
