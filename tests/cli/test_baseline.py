"""`melanomafusion baseline` and `recipes --compare`: files, figures, exit codes and messages."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import melanomafusion as mf
from melanomafusion.cli import compare
from melanomafusion.errors import RunError
from melanomafusion.evaluation import summary
from melanomafusion.recipes.catalogue import list_recipes
from melanomafusion.testing import paint_lesion

CODES = ("akiec", "bcc", "bkl", "df", "vasc", "mel", "nv")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder in HAM10000's layout: 70 images of 35 lesions."""
    folder = tmp_path_factory.mktemp("ham")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for number in range(70):
        kind = number // 2 % 7
        name = f"ISIC_{number:07d}"
        Image.fromarray(paint_lesion(kind - 3.0, 32, rng)).save(folder / "images" / f"{name}.jpg")
        rows.append(
            (f"HAM_{number // 2:07d}", name, CODES[kind], "histo", 5 * int(rng.integers(4, 15)), "male", "back")
        )
    header = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
    pd.DataFrame(rows, columns=header).to_csv(folder / "HAM10000_metadata.csv", index=False)
    return folder


@pytest.fixture
def here(monkeypatch):
    """Costs are counted and timed by stand-ins in this process; the calls are listed."""
    calls = []

    def stand_in(function, arguments, on_event=None):
        calls.append((function, arguments))
        if function == "count_backbones":
            return [{"parameters": 10**6, "multiply_adds": size * 10**7} for _, size in arguments["backbones"]]
        if arguments["backbone"] == "efficientnet_b7":
            raise RunError("time_backbone ended with exit code -9.\nThe end of log.txt:\nkilled")
        about = {"processor": "A [fast] one", "threads": 2, "gpus": 0, "keras": "3", "backend": "jax"}
        return {"milliseconds": [12.34, 5.67], "machine": about}

    monkeypatch.setattr(compare, "_in_a_process", stand_in)
    return calls


@pytest.fixture
def quick(monkeypatch):
    """No reports: drawing them takes seconds."""
    monkeypatch.setattr(summary, "evaluate", lambda *_, **__: SimpleNamespace(write=lambda folder: None))


def test_svm_writes_scores_figures_and_a_report_that_evaluate_reads(shell, root, tmp_path):
    command = ("baseline", "svm", "--data", root, "--source", "ham10000", "--out", tmp_path / "svm", "--n-folds", 2)
    code, out, err = shell(*command, "--image-size", 32)
    assert code == 0, err
    assert "balanced accuracy" in out
    assert "macro AUC" in out
    oof = mf.Predictions.read_csv(tmp_path / "svm" / "oof.csv")
    assert (len(oof), oof.kind, oof.grouped_by) == (70, "oof", "lesion")
    assert oof.classes == ("AK", "BCC", "BKL", "DF", "VASC", "melanoma", "nevus")
    figures = json.loads((tmp_path / "svm" / "metrics.json").read_text(encoding="utf-8"))
    for name in ("accuracy", "balanced_accuracy", "mean_precision", "mean_recall", "macro_auc", "auc"):
        assert 0 <= figures[name] <= 1
    assert (tmp_path / "svm" / "report" / "report.html").is_file()
    assert (tmp_path / "svm" / "report" / "roc.png").is_file()
    code, out, _ = shell("evaluate", tmp_path / "svm" / "oof.csv", "--json")
    assert code == 0
    assert json.loads(out)["multiclass"]["overall"]["accuracy"] == pytest.approx(figures["accuracy"])


@pytest.mark.usefixtures("quick")
def test_image_level_folds_are_named_on_the_figures(shell, root, tmp_path):
    command = ("baseline", "metadata", "--data", root, "--source", "ham10000", "--out", tmp_path, "--n-folds", 2)
    code, out, _ = shell(*command, "--group", "record", "--folds", 0)
    assert code == 0
    assert "Image-level split" in out
    figures = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert (figures["folds"], figures["grouped_by"], figures["image_level_split"]) == ([0], "record", True)
    assert pd.read_csv(tmp_path / "oof.csv")["fold"].unique().tolist() == [0]


@pytest.mark.usefixtures("quick")
def test_metadata_of_other_sources_is_binary_and_json_is_alone_on_standard_output(shell, synthetic_root, tmp_path):
    command = ("baseline", "metadata", "--data", synthetic_root, "--out", tmp_path, "--n-folds", 3, "--json")
    code, out, err = shell(*command)
    assert code == 0
    figures = json.loads(out)
    assert "classes" not in figures
    assert figures["name"] == "metadata baseline"
    assert "Dataset" in err
    data = mf.assign_folds(mf.load_siim_isic_2020(synthetic_root), 3)
    oof = mf.metadata_baseline(data)
    assert figures["auc"] == pytest.approx(mf.roc_auc(oof.targets, oof.scores), abs=1e-12)


def test_classes_positives_weights_and_features_reach_the_baseline(shell, root, tmp_path, monkeypatch):
    seen = []

    def stand_in(dataset, classes, **options):
        seen.append((dataset, classes, options))
        raise RunError("stop")

    monkeypatch.setattr("melanomafusion.baselines.metadata.metadata_baseline", stand_in)
    monkeypatch.setattr("melanomafusion.baselines.svm.svm_baseline", stand_in)
    common = ("--data", root, "--source", "ham10000", "--out", tmp_path / "out", "--n-folds", 2)
    shell("baseline", "metadata", *common, "--classes", "binary", "--positive", "melanoma,BCC,AK", "--folds", "1,0")
    shell("baseline", "metadata", *common, "--features", "sex, age", "--class-weight", "balanced")
    shell("baseline", "svm", *common, "--classes", "melanoma,nevus,BCC", "--penalty", 2, "--image-size", 64)
    (malignant, binary, first), (_, seven, second), (_, three, third) = seen
    assert int(malignant.targets.sum()) == 30
    assert (binary, len(seven), three) == ((), 7, ("melanoma", "nevus", "BCC"))
    assert (first["positive_classes"], first["folds"]) == (("melanoma", "BCC", "AK"), [1, 0])
    assert (second["features"], second["class_weight"]) == (("sex", "age"), "balanced")
    assert (third["penalty"], third["image_size"], third["class_weight"], third["folds"]) == (2.0, 64, None, None)
    assert third["positive_classes"] == ("melanoma",)


@pytest.mark.usefixtures("quick")
def test_folds_of_a_file_are_used(shell, root, tmp_path):
    data = mf.assign_folds(mf.load_ham10000(root, with_images=False), 2, seed=7)
    mf.write_folds(data, tmp_path / "folds.csv")
    command = ("baseline", "metadata", "--data", root, "--source", "ham10000", "--out", tmp_path / "out")
    code, _, err = shell(*command, "--folds-file", tmp_path / "folds.csv")
    assert code == 0, err
    oof = mf.Predictions.read_csv(tmp_path / "out" / "oof.csv")
    assert oof.frame["fold"].tolist() == data.frame["fold"].tolist()


@pytest.mark.parametrize(
    ("extra", "code", "message"),
    [
        (("--classes", "melanoma,nevus"), 1, "at least three"),
        (("--classes", "mel,nv,bcc,akiec"), 1, "not among the classes"),
        (("--positive", "melanoma,XYZ"), 1, "XYZ"),
        (("--classes", ""), 2, "--classes takes diagnoses"),
        (("--folds", "7"), 1, "among [0, 1]"),
        (("--folds", "a"), 2, "--folds takes numbers"),
        (("--image-size", "3"), 1, "from 8 to 4096"),
        (("--penalty", "-1"), 1, "penalty"),
        (("--penalty", "nan"), 1, "penalty"),
        (("--class-weight", "rare"), 2, "balanced"),
        (("--group", "hospital"), 1, "hospital"),
        (("--folds-file", "nowhere.csv"), 1, "nowhere.csv"),
        (("--data", "nowhere"), 1, "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_work_ends_in_one_message(shell, root, tmp_path, extra, code, message):
    command = ("baseline", "svm", "--data", root, "--source", "ham10000", "--out", tmp_path / "out", "--n-folds", 2)
    found, _, err = shell(*command, *extra)
    assert found == code
    assert message in err
    assert not list(tmp_path.glob("out/*"))


def test_a_folder_that_cannot_be_written_to_is_found_before_any_image_is_read(shell, root, tmp_path, monkeypatch):
    monkeypatch.setattr("melanomafusion.baselines.svm.svm_baseline", lambda *_, **__: pytest.fail("ran"))
    (tmp_path / "file").write_text("in the way")
    command = ("baseline", "svm", "--data", root, "--source", "ham10000", "--out", tmp_path / "file", "--n-folds", 2)
    code, _, err = shell(*command)
    assert code == 1
    assert "Choose a folder you may write to" in err


def test_compare_lists_each_backbone_and_size_once_with_its_recipes(shell, here):
    code, out, _ = shell("recipes", "--compare", "--no-timing", "--json")
    assert code == 0
    content = json.loads(out)
    rows = content["rows"]
    assert content["machine"] is None
    keys = [(row["backbone"], row["image_size"]) for row in rows]
    assert len(set(keys)) == len(keys) > 5
    listed = [name for row in rows for name in row["recipes"]]
    assert sorted(listed) == sorted(name for name in list_recipes() if mf.get_recipe(name).uses_images)
    for row in rows:
        for name in row["recipes"]:
            recipe = mf.get_recipe(name)
            assert (recipe.backbone, recipe.image_size) == (row["backbone"], row["image_size"])
        assert row["multiply_adds"] == row["image_size"] * 10**7
        assert row["milliseconds"] == {}
    assert [row["image_size"] for row in rows] == sorted(row["image_size"] for row in rows)
    assert len(here) == 1


def test_compare_times_each_and_says_where_and_what_failed(shell, here):
    code, out, _ = shell("recipes", "--compare")
    assert code == 0
    for part in ("ms, batch 1", "12.3", "5.7", "on A [fast] one, 2 threads", "Keras 3 with jax"):
        assert part in out
    assert "efficientnet_b7 at 600 was not timed: time_backbone ended with exit code -9." in out
    assert "log.txt" not in out
    assert all(arguments["batch_sizes"] == [1, 8] for _, arguments in here[1:])


def test_compare_shows_figures_of_a_system_at_its_first_recipe_only(shell, here, monkeypatch):
    from dataclasses import replace

    from melanomafusion.recipes import catalogue

    real = catalogue.get_system
    first = {system.name for system in catalogue.SYSTEMS}

    def get_system(name):
        system = real(name)
        return replace(system, reproduced="not run yet" if system.name == "winner-2020" else f"figure of {system.name}")

    monkeypatch.setattr(catalogue, "get_system", get_system)
    rows = json.loads(shell("recipes", "--compare", "--no-timing", "--json")[1])["rows"]
    for row in rows:
        systems = [real(name) for name in row["recipes"] if name in {s.recipes[0].name for s in catalogue.SYSTEMS}]
        assert row["reproduced"] == [f"figure of {s.name}" for s in systems if s.name != "winner-2020"]
    assert sum(len(row["reproduced"]) for row in rows) >= len(first) - 2


def test_one_recipe_is_compared_for_real(shell):
    code, out, err = shell("recipes", "tiny", "--compare", "--json")
    assert code == 0, err
    content = json.loads(out)
    (row,) = content["rows"]
    assert (row["backbone"], row["parameters"], row["multiply_adds"]) == ("tiny", 19248, 626688)
    assert set(row["milliseconds"]) == {"1", "8"}
    assert all(value > 0 for value in row["milliseconds"].values())
    assert content["machine"]["threads"] >= 1
    assert content["notes"] == []


def test_a_recipe_without_images_has_nothing_to_compare(shell):
    code, _, err = shell("recipes", "metadata-tiny", "--compare")
    assert code == 1
    assert "no backbone to compare" in err
