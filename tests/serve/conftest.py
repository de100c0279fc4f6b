"""A server of a small ensemble bundle: two folds of a fused model, calibrated, exported."""

import io

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import melanomafusion as mf
from melanomafusion.deploy.bundling import write_ensemble_bundle
from melanomafusion.deploy.onnx_export import export_onnx
from melanomafusion.deploy.predictor import Predictor
from melanomafusion.serve.app import build_app


@pytest.fixture(scope="session")
def ensemble_bundle(folded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    recipe = mf.get_recipe("tiny").replace(epochs=6, tta=1)
    for fold in (0, 1):
        mf.fit_fold(recipe, folded, fold, out=folder / "run" / f"fold-{fold}", on_event=lambda event: None)
    parts = [pd.read_csv(folder / "run" / f"fold-{fold}" / "oof.csv") for fold in (0, 1)]
    oof = pd.concat(parts)
    # Scores that say enough for probabilities, whatever the processor makes of a short training.
    oof["score"] = 0.3 * oof["target"] + 0.5 * np.random.default_rng(0).random(len(oof))
    oof.to_csv(folder / "run" / "oof.csv", index=False)
    write_ensemble_bundle(folder / "run", folder / "bundle")
    export_onnx(folder / "bundle")
    return folder / "bundle"


@pytest.fixture(scope="session")
def predictor(ensemble_bundle):
    return Predictor(ensemble_bundle, engine="onnxruntime", threads=1)


@pytest.fixture(scope="session")
def app(predictor, ensemble_bundle):
    card = (ensemble_bundle / "README.md").read_text(encoding="utf-8")
    return build_app(predictor, card=card, slots=2)


@pytest.fixture(scope="session")
def client(app):
    with TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def jpeg(folded):
    """Path of an image of the training records."""
    return folded.frame["path"].iloc[0]


@pytest.fixture(scope="session")
def suspicious(predictor, folded):
    """Path of the image with the highest score: its heat map is not empty."""
    paths = list(folded.frame["path"])
    scores = [prediction.score for prediction in predictor.iter_predictions(paths)]
    return paths[int(np.argmax(scores))]


def picture(size=(64, 48), kind="JPEG", seed=0, **options):
    """Bytes of a painted image file."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype="uint8")
    file = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="session")
def painted():
    return picture
