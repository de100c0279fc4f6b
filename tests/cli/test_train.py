"""`melanomafusion train`: a published split, positive diagnoses, and what contradicts each other."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import melanomafusion as mf
from melanomafusion.testing import make_siim_isic, paint_lesion

QUICK = ["--set", "epochs=1", "--set", "tta=1", "--set", "validation_fraction=0.3"]
COUNTS = {"train": 12, "valid": 6, "test": 5}
CODES = ("nv", "mel", "bcc", "akiec")


@pytest.fixture
def shell(shell, in_this_process):
    """Run the command line in this process, its tasks too."""
    return shell


def paint(path, evidence, rng):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(paint_lesion(evidence, 32, rng)).save(path)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """train, valid and test, each of melanoma, nevus and seborrheic_keratosis."""
    root, rng = tmp_path_factory.mktemp("folders"), np.random.default_rng(0)
    for split, count in COUNTS.items():
        for name in ("melanoma", "nevus", "seborrheic_keratosis"):
            for k in range(count):
                paint(root / split / name / f"{split}-{name}-{k}.png", 2.0 * (name == "melanoma"), rng)
    return root


@pytest.fixture(scope="module")
def ham10000(tmp_path_factory):
    """48 lesions of four diagnoses."""
    root, rng = tmp_path_factory.mktemp("ham10000"), np.random.default_rng(1)
    rows = [
        {
            "lesion_id": f"HAM_{k}",
            "image_id": f"ISIC_{k:02d}",
            "dx": CODES[k % 4],
            "dx_type": "histo",
            "age": f"{5 * rng.integers(4, 18)}.0",
            "sex": ("male", "female")[rng.integers(2)],
            "localization": "back",
        }
        for k in range(48)
    ]
    pd.DataFrame(rows).to_csv(root / "HAM10000_metadata.csv", index=False)
    for row in rows:
        paint(root / "images" / f"{row['image_id']}.png", 2.0 * (row["dx"] != "nv"), rng)
    return root


def train(shell, recipe, source, data, out, *options):
    return shell("train", recipe, "--source", source, "--data", data, "--out", out, *QUICK, *options)


def test_a_published_split_is_trained_watched_and_scored_as_published(shell, folders, tmp_path):
    code, out, _ = train(shell, "image-tiny", "folders", folders, tmp_path / "run", "--published-split", "--json")
    assert code == 0
    metrics = json.loads(out)
    (fold,) = metrics["folds"]
    counts = [fold[f"{word}_records"] for word in ("train", "validation", "held_out")]
    assert counts == [3 * COUNTS[word] for word in ("train", "valid", "test")]
    assert fold["fold"] == 0
    assert metrics["grouped_by"] == "published split"
    table = pd.read_csv(tmp_path / "run" / "oof.csv")
    assert len(table) == 15
    assert table["image_name"].str.startswith("test/").all()
    assert table["target"].sum() == 5


def test_a_run_on_a_published_split_goes_on(shell, folders, tmp_path):
    options = ("--published-split", "--json")
    first = train(shell, "image-tiny", "folders", folders, tmp_path / "run", *options)
    before = (tmp_path / "run" / "fold-0" / "metrics.json").stat().st_mtime_ns
    second = train(shell, "image-tiny", "folders", folders, tmp_path / "run", *options)
    assert first[:2] == second[:2]
    assert (tmp_path / "run" / "fold-0" / "metrics.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("options", [["--folds", "0"], ["--group", "record"], ["--folds-file", "folds.csv"]])
def test_a_published_split_has_folds_of_its_own(shell, folders, tmp_path, options):
    code, _, err = train(shell, "image-tiny", "folders", folders, tmp_path / "run", "--published-split", *options)
    assert code == 2
    assert "--published-split has its own folds" in err
    assert not (tmp_path / "run").exists()


def test_records_without_a_published_split_end_in_one_message(shell, synthetic_root, ham10000, tmp_path):
    for source, root in (("siim-isic-2020", synthetic_root), ("ham10000", ham10000)):
        code, _, err = train(shell, "image-tiny", source, root, tmp_path / "run", "--published-split")
        assert code == 1
        assert "column split" in err or "A published split has train and test" in err
    assert not (tmp_path / "run").exists()


def test_folders_without_a_test_folder_end_in_one_message(shell, folders, tmp_path):
    shutil.copytree(folders / "train", tmp_path / "data" / "train")
    code, _, err = train(shell, "image-tiny", "folders", tmp_path / "data", tmp_path / "run", "--published-split")
    assert code == 1
    assert "Found: train (36)" in err


def test_positive_diagnoses_of_ham10000_are_the_target(shell, ham10000, tmp_path):
    options = ("--n-folds", "2", "--folds", "0", "--json")
    positives = {}
    for words in (None, "melanoma,BCC,AK"):
        chosen = [] if words is None else ["--positive", words]
        code, out, err = train(
            shell, "metadata-tiny", "ham10000", ham10000, tmp_path / f"run-{words}", *chosen, *options
        )
        assert code == 0, err
        positives[words] = json.loads(out)["positives"]
        table = pd.read_parquet(tmp_path / f"run-{words}" / "dataset.parquet")
        wanted = {"melanoma"} if words is None else set(words.split(","))
        assert set(table.loc[table["target"] == 1, "diagnosis"]) == wanted
    assert positives[None] < positives["melanoma,BCC,AK"]


def test_positive_class_folders_are_the_target(shell, folders, tmp_path):
    options = ("--positive", "seborrheic_keratosis", "--published-split", "--json")
    code, out, err = train(shell, "image-tiny", "folders", folders, tmp_path / "run", *options)
    assert code == 0, err
    assert json.loads(out)["positives"] == 5
    table = pd.read_csv(tmp_path / "run" / "oof.csv")
    assert table.loc[table["target"] == 1, "image_name"].str.contains("keratosis").all()


@pytest.mark.parametrize(
    ("source", "words", "message"),
    [
        ("ham10000", "mel", "known diagnoses"),
        ("ham10000", "", "known diagnoses"),
        ("ham10000", "melanoma,,AK", "known diagnoses"),
        ("folders", "mole", "none or all of them are positive"),
        ("siim-isic-2020", "melanoma", "siim-isic-2020 has its own target"),
    ],
)
def test_positive_words_that_mean_nothing_end_in_one_message(
    shell, folders, ham10000, synthetic_root, tmp_path, source, words, message
):
    root = {"folders": folders, "ham10000": ham10000, "siim-isic-2020": synthetic_root}[source]
    code, _, err = train(shell, "image-tiny", source, root, tmp_path / "run", "--positive", words)
    assert code == 1
    assert message in err
    assert not (tmp_path / "run").exists()


def test_prepared_data_have_their_targets(shell, ham10000, tmp_path):
    prepared = tmp_path / "prepared"
    code, _, err = shell(
        "data", "prepare", "--source", "ham10000", "--root", ham10000, "--image-size", "32", "--out", prepared
    )
    assert code == 0, err
    code, _, err = train(shell, "image-tiny", "ham10000", prepared, tmp_path / "run", "--positive", "melanoma,BCC")
    assert code == 1
    assert "is prepared and has its targets" in err
    assert not (tmp_path / "run").exists()


def test_new_fields_are_set_from_the_shell_and_wrong_ones_end_in_one_message(shell, folders, tmp_path):
    options = ["--published-split", "--set", "pooling=gem", "--set", "head_units=[4]", "--set", "two_logits=true"]
    rule = ["--set", "threshold_rule=sensitivity", "--set", "threshold_at=0.8", "--set", "ema=0.9"]
    code, out, err = train(shell, "image-tiny", "folders", folders, tmp_path / "run", *options, *rule, "--json")
    assert code == 0, err
    assert json.loads(out)["folds"][0]["threshold"]["rule"] == "sensitivity"
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert (recipe["pooling"], recipe["head_units"], recipe["two_logits"], recipe["ema"]) == ("gem", [4], True, 0.9)
    for change in ("pooling=max", "threshold_rule=sensitivity", "ema=2", "head_units=4", "dropout_samples=0"):
        code, _, err = train(shell, "image-tiny", "folders", folders, tmp_path / "bad", "--set", change)
        assert code == 1
        assert change.partition("=")[0] in err
    assert not (tmp_path / "bad").exists()


def test_recipes_lists_systems_and_tells_about_each(shell):
    code, out, _ = shell("recipes")
    assert code == 0
    for word in ("awan-2026-inceptionv3", "84.67", "not run", "winner-2020"):
        assert word in out
    code, out, _ = shell("recipes", "menezes-efficientnetb3-frozen", "--about")
    assert code == 0
    assert "Reported:" in out
    assert "97.15" in out
    assert "Deviations:" in out
    code, out, _ = shell("recipes", "best-ham10000-ensemble", "--about")
    assert (code, out) == shell("recipes", "best-ham10000", "--about")[:2]
    code, _, err = shell("recipes", "menezes", "--about")
    assert code == 1
    assert "Did you mean menezes-efficientnetb3 or" in err


def test_extra_and_pseudo_labelled_records_are_learnt_from(shell, synthetic_root, tmp_path_factory, tmp_path):
    other = tmp_path_factory.mktemp("other")
    make_siim_isic(other, n_patients=24, n_test_patients=12, image_size=32, prevalence=0.3, seed=5)
    for table in other.glob("*.csv"):  # the maker names patients alike each time
        table.write_text(table.read_text().replace("ISIC_", "ISIC_9").replace("IP_", "IP_9"))
    for image in other.glob("jpeg/*/*.jpg"):
        image.rename(image.with_name(image.name.replace("ISIC_", "ISIC_9")))
    options = ("--folds", "0,1", "--n-folds", "2", "--json")
    code, out, err = train(
        shell, "metadata-tiny", "siim-isic-2020", synthetic_root, tmp_path / "a", "--extra",
        f"siim-isic-2020={other}", *options,
    )  # fmt: skip
    assert code == 0, err
    records = len(mf.load_siim_isic_2020(other, with_images=False))
    assert [fold["extra_records"] for fold in json.loads(out)["folds"]] == [records, records]
    labels = ("--unlabelled", f"siim-isic-2020={other}", "--pseudo-labels", tmp_path / "a")
    code, out, err = train(shell, "metadata-tiny", "siim-isic-2020", synthetic_root, tmp_path / "b", *labels, *options)
    assert code == 0, err
    code, _, err = train(
        shell, "metadata-tiny", "siim-isic-2020", synthetic_root, tmp_path / "c", *labels[:2], *options
    )
    assert code == 2
    assert "belong together" in err
    code, _, err = train(
        shell, "metadata-tiny", "siim-isic-2020", synthetic_root, tmp_path / "c", "--extra",
        f"siim-isic-2020={synthetic_root}", *options,
    )  # fmt: skip
    assert code == 1
    assert "which some fold holds out" in err
    assert not (tmp_path / "c").exists()
