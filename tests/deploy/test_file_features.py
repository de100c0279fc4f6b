"""Width, height and bytes come from the image where no table tells them; what stays unknown is said."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import melanomafusion as mf
from melanomafusion.deploy.file_features import file_columns
from melanomafusion.deploy.predictor import Predictor
from melanomafusion.images.prepared import load_prepared

FEATURES = ["age", "width", "file_bytes", "images_per_patient"]
OF_FILES = ["width", "height", "file_bytes"]


@pytest.fixture(scope="module")
def prepared(folded, tmp_path_factory):
    """Some records in shards, which know the files they were made of."""
    folder = tmp_path_factory.mktemp("prepared") / "shards"
    mf.prepare(folded, folder, image_size=32, workers=1)
    return load_prepared(folder)


@pytest.fixture(scope="module")
def predictor(folded, prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "fold-0"
    recipe = mf.get_recipe("tiny").replace(epochs=1, tta=1, metadata_features=FEATURES)
    mf.fit_fold(recipe, prepared, 0, out=folder)
    return Predictor(folder / "bundle", engine="keras")


def scores(predictor, images, table):
    return [found.score for found in predictor.iter_predictions(images, table)]


def test_a_file_tells_what_its_row_in_a_shard_tells(folded, prepared):
    for path, row in list(zip(folded.frame["path"], prepared.frame[OF_FILES].to_dict("records"), strict=True))[:5]:
        assert file_columns(path, OF_FILES) == row
        assert file_columns(Path(path).read_bytes(), OF_FILES) == row
        assert file_columns(path, ["width"]) == {"width": row["width"]}


@pytest.mark.parametrize("image", [None, "gone.jpg", b"text", "shard.parquet#3"])
def test_where_there_is_no_original_nothing_is_told(image):
    assert file_columns(image, OF_FILES) == {}


def test_raw_files_without_these_columns_score_as_with_them(predictor, folded, prepared):
    images, table = list(folded.frame["path"])[:9], prepared.frame.head(9)
    expected = scores(predictor, images, prepared.frame.head(9))
    bare = table.drop(columns=OF_FILES)
    np.testing.assert_allclose(scores(predictor, images, bare), expected, atol=1e-6)
    contents = [Path(image).read_bytes() for image in images]
    np.testing.assert_allclose(scores(predictor, contents, bare), expected, atol=1e-6)
    assert scores(predictor, images, bare.assign(width=np.nan, file_bytes=np.nan)) != pytest.approx(expected, abs=1e-6)


def test_images_that_share_a_row_have_features_of_their_own(predictor, folded):
    images = [folded.frame["path"].iloc[row] for row in (0, 1, 2)]
    shared = predictor.iter_predictions(images, pd.DataFrame([{"age_approx": 50.0}]), rows=[0, 0, 0])
    alone = [predictor.predict(image, age_approx=50).score for image in images]
    np.testing.assert_allclose([found.score for found in shared], alone, atol=1e-6)


def test_what_cannot_be_known_is_said(predictor, folded, prepared):
    image = folded.frame["path"].iloc[0]
    (doubt,) = [w for w in predictor.predict(image).warnings if "not known here" in w]
    assert "images_per_patient" in doubt
    assert "column patient_id" in doubt
    known = next(predictor.iter_predictions([image], prepared.frame.head(1)))
    assert not any("not known here" in w for w in known.warnings)
    of_shard = next(predictor.iter_predictions([prepared.frame["path"].iloc[0]]))
    assert [name for name in FEATURES if any(f"looks at {name}," in w for w in of_shard.warnings)] == FEATURES[1:]
