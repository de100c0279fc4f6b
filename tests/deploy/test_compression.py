"""`compress_onnx`: smaller files whose cost is measured on records and kept in the file."""

import json

import numpy as np
import onnx
import pytest

import melanomafusion as mf
from melanomafusion.deploy.compression import COMPRESSIONS, compress_onnx
from melanomafusion.deploy.onnx_export import export_onnx
from melanomafusion.deploy.onnx_properties import read_properties
from melanomafusion.deploy.prediction import to_table
from melanomafusion.deploy.predictor import Predictor
from melanomafusion.errors import BundleError, ImageError, MelanomaFusionError, TableError


@pytest.fixture(scope="module")
def exported(folded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compressed")
    for fold in (0, 1):
        mf.fit_fold(mf.get_recipe("tiny").replace(epochs=3, tta=1), folded, fold, out=folder / f"fold-{fold}")
    export_onnx(folder, folder / "model.onnx")
    return folder / "model.onnx"


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_the_copy_is_smaller_and_says_what_it_costs(exported, folded, tmp_path, kind):
    out = tmp_path / "small.onnx"
    facts = compress_onnx(exported, out, kind, folded)
    assert facts["bytes"] < facts["bytes_float32"] == exported.stat().st_size
    properties = read_properties(str(out))
    assert json.loads(properties["melanomafusion.compression"]) == facts
    assert properties["melanomafusion"] == read_properties(str(exported))["melanomafusion"]
    rows = np.arange(len(folded)) % 4 > 0 if kind == "int8-static" else np.full(len(folded), True)
    assert facts["records"] == rows.sum()
    found = {}
    for name, path in (("before", exported), ("after", out)):
        table = to_table(
            Predictor(path, engine="onnxruntime").iter_predictions(list(folded.frame["path"]), folded.frame)
        )
        found[name] = table["score"].to_numpy()[rows]
    assert facts["auc_float32"] == pytest.approx(mf.roc_auc(folded.targets[rows], found["before"]))
    assert facts["auc"] == pytest.approx(mf.roc_auc(folded.targets[rows], found["after"]))
    assert facts["change"] == pytest.approx(facts["auc"] - facts["auc_float32"])
    assert facts["largest_difference"] == pytest.approx(np.abs(found["before"] - found["after"]).max())
    assert 0 < facts["largest_difference"] < 0.1


def test_a_compressed_file_predicts_with_its_heat_map(exported, folded, tmp_path):
    predictor = Predictor(exported, engine="onnxruntime")
    scores = [prediction.score for prediction in predictor.iter_predictions(list(folded.frame["path"]))]
    image = folded.frame["path"].iloc[int(np.argmax(scores))]  # its heat map is not empty
    expected = predictor.predict(image, heatmap=True, sex="male")
    assert expected.heatmap.max() == pytest.approx(1)
    for kind in COMPRESSIONS:
        compress_onnx(exported, tmp_path / f"{kind}.onnx", kind, folded)
        found = Predictor(tmp_path / f"{kind}.onnx", engine="onnxruntime").predict(image, heatmap=True, sex="male")
        assert found.heatmap.dtype == expected.heatmap.dtype
        assert np.corrcoef(found.heatmap.ravel(), expected.heatmap.ravel())[0, 1] > 0.9


def test_what_cannot_be_compressed_is_told_and_nothing_is_written(exported, folded, tmp_path):
    out = tmp_path / "small.onnx"
    with pytest.raises(BundleError, match="kind is one of fp16, int8-dynamic, int8-static"):
        compress_onnx(exported, out, "int4", folded)
    with pytest.raises(BundleError, match="no such file"):
        compress_onnx(tmp_path / "x.onnx", out, "fp16", folded)
    with pytest.raises(BundleError, match=r"is a folder\. Name an ONNX file"):
        compress_onnx(tmp_path, out, "fp16", folded)
    compress_onnx(exported, tmp_path / "once.onnx", "fp16", folded)
    with pytest.raises(BundleError, match="was compressed already"):
        compress_onnx(tmp_path / "once.onnx", out, "int8-dynamic", folded)
    untold = folded.with_columns(target=folded.frame["target"].mask(np.arange(len(folded)) < 3))
    with pytest.raises(TableError, match=r"3 of .* records have no target"):
        compress_onnx(exported, out, "fp16", untold)
    seen = []
    with pytest.raises(MelanomaFusionError, match="All 326 targets are 0"):
        compress_onnx(exported, out, "fp16", folded.select(folded.targets == 0), on_event=seen.append)
    assert not seen
    assert not out.exists()


def test_records_prepared_otherwise_than_the_model_knows_are_refused(exported, folded, tmp_path):
    mf.prepare(folded.select(np.arange(len(folded)) < 40), tmp_path / "shards", image_size=16, workers=1)
    with pytest.raises(ImageError, match=r"The images were prepared .*, but the image spec says raw files"):
        compress_onnx(exported, tmp_path / "small.onnx", "fp16", mf.load_prepared(tmp_path / "shards"))
    assert not (tmp_path / "small.onnx").exists()


def test_the_command_says_what_it_costs(shell, exported, synthetic_root, tmp_path):
    code, printed, _ = shell(
        "compress", exported, "--to", "int8-static", "--data", synthetic_root, "--out", tmp_path / "small.onnx"
    )
    assert code == 0
    assert "AUC" in printed
    onnx.checker.check_model(onnx.load(tmp_path / "small.onnx"))
    code, _, err = shell("compress", exported, "--to", "fp16", "--data", synthetic_root, "--out", tmp_path)
    assert code == 1
    assert "is a folder. Name an ONNX file" in err
