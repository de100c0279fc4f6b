"""`Predictor`: the scores that training gave, by every engine, for one image and for many."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino
import pandas as pd
import pytest
from PIL import Image

import melanomafusion as mf
from melanomafusion.deploy.onnx_export import export_onnx
from melanomafusion.deploy.prediction import to_table
from melanomafusion.deploy.predictor import Predictor
from melanomafusion.errors import BundleError, ImageError, MetadataError
from melanomafusion.explain.gradcam import gradcam
from melanomafusion.notice import NOT_A_MEDICAL_DEVICE
from melanomafusion.training.tasks import predict_bundles

ENGINES = ("onnxruntime", "openvino", "keras")
FIELDS = {"sex": "female", "age_approx": 45, "anatom_site_general_challenge": "torso"}


@pytest.fixture(scope="module")
def run(folded, tmp_path_factory):
    """Two folds of a fused model with eight views, exported."""
    folder = tmp_path_factory.mktemp("run")
    for fold in (0, 1):
        mf.fit_fold(mf.get_recipe("tiny").replace(epochs=1, tta=8), folded, fold, out=folder / f"fold-{fold}")
    export_onnx(folder)
    return folder


@pytest.fixture(scope="module")
def records(folded):
    return folded.select(np.arange(len(folded)) < 21)


@pytest.fixture(scope="module")
def expected(run, records, tmp_path_factory):
    """What `predict_run` gives, by Keras and the pipelines of training."""
    folder = tmp_path_factory.mktemp("expected")
    records.write_parquet(folder / "records.parquet")
    predict_bundles(
        bundles=[str(run / f"fold-{fold}" / "bundle") for fold in (0, 1)],
        dataset=str(folder / "records.parquet"),
        out=str(folder / "scores.parquet"),
        on_event=lambda event: None,
    )
    return pd.read_parquet(folder / "scores.parquet")["score"].to_numpy()


@pytest.fixture(scope="module")
def image(records):
    return records.frame["path"].iloc[0]


@pytest.mark.parametrize("engine", ENGINES)
def test_scores_are_those_of_training(run, records, expected, engine):
    predictor = Predictor(run, engine=engine)
    assert predictor.engine == engine
    table = to_table(predictor.iter_predictions(list(records.frame["path"]), records.frame))
    assert list(table["image_name"]) == list(records.image_names)
    np.testing.assert_allclose(table["score"], expected, atol=1e-5, rtol=0)
    np.testing.assert_allclose(table[["member_fold-0", "member_fold-1"]].mean(axis=1), table["score"], atol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_one_image_has_the_score_it_has_among_many(run, records, expected, engine):
    predictor = Predictor(run, engine=engine)
    for row in (0, 5):
        record = records.frame.iloc[row]
        prediction = predictor.predict(record["path"], **{name: record[name] for name in FIELDS})
        assert prediction.score == pytest.approx(expected[row], abs=1e-5)
        from_bytes = predictor.predict(Path(record["path"]).read_bytes(), **{name: record[name] for name in FIELDS})
        assert from_bytes.score == pytest.approx(prediction.score, abs=1e-6)


def test_missing_metadata_are_shown_as_missing(run, image):
    predictor = Predictor(run, engine="onnxruntime")
    nothing = predictor.predict(image)
    assert nothing.fields == dict.fromkeys(FIELDS)
    assert nothing.score == predictor.predict(image, sex="", age_approx=None).score
    assert nothing.score != predictor.predict(image, **FIELDS).score
    assert nothing.score == next(predictor.iter_predictions([image])).score


@pytest.mark.parametrize("engine", ENGINES)
def test_the_heat_map_of_one_model_is_its_gradcam(run, image, engine):
    folder = run / "fold-0" / "bundle"
    bundle = mf.Bundle.read(folder)
    found = Predictor(folder, engine=engine).predict(image, heatmap=True, **FIELDS).heatmap
    row = bundle.encoder.transform(pd.DataFrame([FIELDS]))[0]
    expected = gradcam(bundle.build_model(), bundle.spec.load(image), row)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_no_heat_map_unless_asked_for(run, image):
    assert Predictor(run, engine="onnxruntime").predict(image).heatmap is None


def test_an_onnx_file_suffices_alone(run, image, tmp_path):
    (tmp_path / "alone.onnx").write_bytes((run / "fold-1" / "bundle" / "model.onnx").read_bytes())
    for engine in ("auto", "onnxruntime", "openvino"):
        alone = Predictor(tmp_path / "alone.onnx", engine=engine)
        assert alone.engine == ("openvino" if engine == "auto" else engine)
        bundle = Predictor(run / "fold-1" / "bundle", engine="keras")
        assert alone.predict(image, **FIELDS).score == pytest.approx(bundle.predict(image, **FIELDS).score, abs=1e-5)


def test_neither_tensorflow_nor_keras_is_loaded(run, image):
    code = """if True:
        import sys
        from melanomafusion.deploy.predictor import Predictor
        for engine in ("onnxruntime", "openvino"):
            Predictor(sys.argv[1], engine=engine).predict(sys.argv[2], heatmap=True, sex="male")
        assert not {"tensorflow", "keras", "jax", "torch"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", code, str(run), image], check=True)


def test_unknown_and_unused_fields_are_refused(run, image):
    predictor = Predictor(run, engine="onnxruntime")
    with pytest.raises(MetadataError, match="colour: no such field"):
        predictor.predict(image, colour="red")
    with pytest.raises(MetadataError, match="sex 'x'; expected one of female, male"):
        predictor.predict(image, sex="x")
    predictor.fields = ("sex",)
    with pytest.raises(MetadataError, match="does not look at age_approx; it looks at sex"):
        predictor.predict(image, age_approx=4)


@pytest.fixture
def some_bad(records, tmp_path):
    """Ten files; the third and the last cannot be read."""
    (tmp_path / "text.jpg").write_text("hello", encoding="utf-8")
    paths = [str(path) for path in records.frame["path"].iloc[:10]]
    paths[2], paths[9] = str(tmp_path / "text.jpg"), str(tmp_path / "gone.png")
    return paths


def test_images_that_cannot_be_read_are_all_named_after_the_others_were_scored(run, some_bad):
    predictor = Predictor(run, engine="onnxruntime")
    found = []
    with pytest.raises(ImageError) as error:
        found.extend(predictor.iter_predictions(some_bad))
    for part in ("2 of 10 images", "text.jpg: not a JPEG or PNG", "gone.png: there is no such file"):
        assert part in str(error.value)


def test_images_that_cannot_be_read_come_without_a_score_where_asked_for(run, some_bad):
    predictor = Predictor(run, engine="onnxruntime")
    table = to_table(predictor.iter_predictions(some_bad, on_bad_image="skip"))
    assert list(table["score"].isna()) == [i in (2, 9) for i in range(10)]
    assert list(table["image_name"].iloc[[2, 9]]) == ["text", "gone"]
    assert "no such file" in table["problem"].iloc[9]
    sound = [path for i, path in enumerate(some_bad) if i not in (2, 9)]
    alone = to_table(predictor.iter_predictions(sound))
    np.testing.assert_allclose(table["score"].dropna(), alone["score"], atol=1e-6)


def test_rows_say_which_metadata_belong_to_an_image(run, records):
    predictor = Predictor(run, engine="onnxruntime")
    paths, frame = list(records.frame["path"]), records.frame
    order = np.arange(len(frame))[::-1]
    scores = [p.score for p in predictor.iter_predictions(paths, frame)]
    again = [p.score for p in predictor.iter_predictions(paths, frame.iloc[order], rows=list(order))]
    np.testing.assert_allclose(again, scores, atol=1e-7)
    with pytest.raises(MetadataError, match="21 images, 3 rows"):
        next(predictor.iter_predictions(paths, frame.iloc[:3]))


def test_inputs_unlike_the_training_records_are_told(run, image, tmp_path):
    predictor = Predictor(run, engine="onnxruntime")
    Image.new("RGB", (60, 60), (255, 255, 255)).save(tmp_path / "white.png")
    doubts = predictor.predict(tmp_path / "white.png", age_approx=119).warnings
    assert any("brighter" in doubt for doubt in doubts)
    assert any("Age 119" in doubt for doubt in doubts)


def test_an_image_smaller_than_the_model_sees_is_told(run, tmp_path):
    Image.new("RGB", (31, 60), (200, 150, 120)).save(tmp_path / "small.png")
    doubts = Predictor(run, engine="onnxruntime").predict(tmp_path / "small.png").warnings
    assert any("31 × 60 pixels" in doubt and "32" in doubt for doubt in doubts)


def test_as_json_the_notice_comes_first_and_values_are_plain(run, image):
    import json

    content = Predictor(run, engine="onnxruntime").predict(image, **FIELDS).to_dict()
    assert next(iter(content.values())) == NOT_A_MEDICAL_DEVICE
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["fields"] == {**FIELDS, "age_approx": 45.0}


def test_engines_that_cannot_be_had_are_told(run, tmp_path, monkeypatch, folded):
    with pytest.raises(BundleError, match="engine is one of auto, onnxruntime, openvino, openvino-bf16, keras"):
        Predictor(run, engine="torch")
    with pytest.raises(BundleError, match="neither a bundle nor a run"):
        Predictor(tmp_path)
    with pytest.raises(BundleError, match="there is no such file"):
        Predictor(tmp_path / "x.onnx")
    (tmp_path / "x.onnx").write_text("hello", encoding="utf-8")
    with pytest.raises(BundleError, match=r"x\.onnx"):
        Predictor(tmp_path / "x.onnx")
    monkeypatch.setattr("melanomafusion.deploy.member.is_installed", lambda name: False)
    with pytest.raises(BundleError, match=r'openvino is not installed. pip install "melanomafusion\[openvino\]"'):
        Predictor(run, engine="openvino")
    assert Predictor(run, engine="auto").engine == "keras"


def test_bfloat16_is_computed_where_the_processor_has_it_and_refused_elsewhere(run, records, expected):
    table = list(records.frame["path"]), records.frame
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        predictor = Predictor(run, engine="openvino-bf16")
        assert predictor.engine == "openvino-bf16"
        scores = to_table(predictor.iter_predictions(*table))["score"]
        np.testing.assert_allclose(scores, expected, atol=0.02, rtol=0)
    else:
        with pytest.raises(BundleError, match="no bfloat16"):
            Predictor(run, engine="openvino-bf16")
    assert Predictor(run, engine="auto").engine == "openvino"


def test_a_processor_without_bfloat16_is_told_what_to_use(run, monkeypatch):
    monkeypatch.setattr(openvino.Core, "get_property", lambda self, device, name: ["FP32", "INT8"])
    with pytest.raises(BundleError, match=r'no bfloat16\. Use engine="openvino"'):
        Predictor(run, engine="openvino-bf16")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_damaged_onnx_file_is_told_in_one_line(run, tmp_path, engine):
    whole = (run / "fold-0" / "bundle" / "model.onnx").read_bytes()
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    for content in (whole[: len(whole) // 2], pointer, b""):
        (tmp_path / "cut.onnx").write_bytes(content)
        with pytest.raises(BundleError, match=r"cut\.onnx: .* cannot read it: not an ONNX file, or a damaged") as error:
            Predictor(tmp_path / "cut.onnx", engine=engine)
        assert len(str(error.value).splitlines()) == 1
        assert "melanomafusion export" in str(error.value)


def test_the_ending_onnx_may_be_written_large(run, image, tmp_path):
    (tmp_path / "A.ONNX").write_bytes((run / "fold-0" / "bundle" / "model.onnx").read_bytes())
    assert 0 < Predictor(tmp_path / "A.ONNX").predict(image).score < 1


def test_a_bundle_without_onnx_file_is_computed_by_keras_or_told_to_export(folded, tmp_path):
    mf.fit_fold(mf.get_recipe("metadata-tiny").replace(epochs=1), folded, 0, out=tmp_path / "fold-0")
    predictor = Predictor(tmp_path)
    assert predictor.engine == "keras"
    assert 0 < predictor.predict(sex="male").score < 1
    with pytest.raises(BundleError, match=r"has no model\.onnx\. Make it first: melanomafusion export"):
        Predictor(tmp_path, engine="onnxruntime")


def test_a_multi_class_model_gives_every_class(folded, tmp_path):
    classes = tuple(sorted(set(folded.frame["diagnosis"])))
    assert len(classes) >= 3
    recipe = mf.get_recipe("metadata-tiny").replace(
        epochs=1, classes=classes, positive_classes=("melanoma",), loss="categorical", imbalance="none"
    )
    mf.fit_fold(recipe, folded, 0, out=tmp_path / "fold-0")
    export_onnx(tmp_path)
    for engine in ENGINES:
        prediction = Predictor(tmp_path, engine=engine).predict(sex="male")
        assert tuple(prediction.classes) == classes
        assert sum(prediction.classes.values()) == pytest.approx(1)
        assert prediction.score == pytest.approx(prediction.classes["melanoma"])
        assert "score_melanoma" in to_table([prediction])
