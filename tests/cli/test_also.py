"""`--also` and `--overlaps`: several data sets from the shell."""

import pandas as pd
import pytest


@pytest.fixture
def tables(tmp_path):
    """ISIC 2019 with lesions of two images; HAM10000 with one image of each of them, and one of its own."""
    codes = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"]
    rows = []
    for k in range(20):
        one_hot = {code: int(code == ("MEL" if k % 4 < 2 else "NV")) for code in codes}
        rows.append({"image": f"ISIC_{k}", **one_hot, "lesion_id": f"HAM_{k // 2}", "sex": "male", "age_approx": 40})
    (tmp_path / "isic").mkdir()
    pd.DataFrame(rows).to_csv(tmp_path / "isic" / "ISIC_2019_Training_Metadata_with_labels.csv", index=False)
    ham = [
        {
            "lesion_id": f"HAM_{k // 2}",
            "image_id": f"ISIC_{k}",
            "dx": "mel" if k % 4 < 2 else "nv",
            "age": 40,
            "sex": "male",
        }
        for k in range(0, 20, 2)
    ]
    ham += [{**row, "image_id": f"OWN_{k}"} for k, row in enumerate(ham)]
    (tmp_path / "ham").mkdir()
    pd.DataFrame(ham).to_csv(tmp_path / "ham" / "HAM10000_metadata.csv", index=False)
    return tmp_path


def folds(shell, tables, *more):
    out = tables / "folds.csv"
    return shell("data", "folds", "--source", "isic-2019", "--root", tables / "isic", "--out", out, *more), out


def test_lesions_of_two_data_sets_stay_in_one_fold(shell, tables):
    also = ("--also", f"ham10000={tables / 'ham'}", "--overlaps", "first", "--n-folds", 2)
    (code, out, err), path = folds(shell, tables, *also)
    assert (code, err) == (0, "")
    assert "grouped by lesion" in out
    fold = pd.read_csv(path).set_index("image_name")["fold"]
    assert len(fold) == 30
    for k in range(10):
        assert fold[f"ISIC_{2 * k}"] == fold[f"ISIC_{2 * k + 1}"] == fold[f"OWN_{k}"]


def test_images_in_two_data_sets_are_refused_unless_told(shell, tables):
    (code, out, err), path = folds(shell, tables, "--also", f"ham10000={tables / 'ham'}")
    assert (code, out) == (1, "")
    assert "10 images of ham10000 are in isic-2019 too" in err
    assert "--overlaps first" in err
    assert not path.exists()


def test_several_further_data_sets_may_be_given(shell, tables):
    (tables / "own.csv").write_text("image,patient,target\n" + "".join(f"q{k},p{k // 2},{k % 2}\n" for k in range(8)))
    both = ("--also", f"ham10000={tables / 'ham'}", "--also", f"csv={tables / 'own.csv'}", "--overlaps", "first")
    (code, out, _), path = folds(shell, tables, *both)
    assert code == 0
    assert "grouped by lesion + patient" in out
    assert len(pd.read_csv(path)) == 38


@pytest.mark.parametrize("value", ["ham10000", "ham10000=", "=folder", "imagenet=folder", ""])
def test_a_further_data_set_without_source_or_folder_is_wrong_usage(shell, tables, value):
    (code, _, err), _ = folds(shell, tables, "--also", value)
    assert code == 2
    assert "SOURCE=DIR" in err


def test_a_further_data_set_that_is_not_there_ends_in_one_message(shell, tables):
    (code, _, err), _ = folds(shell, tables, "--also", f"ham10000={tables / 'nowhere'}")
    assert code == 1
    assert "nowhere" in err
