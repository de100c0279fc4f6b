"""Small tables and pictures made by hand."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

import melanomafusion as mf
from melanomafusion.data.schema import COLUMNS


@pytest.fixture
def records():
    """Make a data set: n records, each column given or missing."""

    def make(n, **columns):
        frame = pd.DataFrame({"image_name": [f"image_{i}" for i in range(n)], "source": "here"})
        for name in COLUMNS:
            if name not in frame:
                frame[name] = pd.Series(np.nan, index=range(n), dtype="float64" if name == "age_approx" else "object")
        frame["target"] = pd.array([0] * n, dtype="Int8")
        frame = frame[list(COLUMNS)].assign(**columns)
        frame["target"] = frame["target"].astype("Int8")
        return mf.Dataset(frame)

    return make


@pytest.fixture
def skin():
    """Paint a picture with details of its own: (side, side, 3) uint8 by seed."""

    def paint(seed, side=96):
        rng = np.random.default_rng(seed)
        noise = Image.fromarray(rng.integers(0, 256, (side, side), dtype=np.uint8)).filter(ImageFilter.GaussianBlur(2))
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8)).resize((side, side), Image.BICUBIC)
        grey = 2.0 * (np.asarray(noise, dtype=float) - 127) + 0.6 * np.asarray(coarse, dtype=float) + 50
        return np.stack([np.clip(grey * f, 0, 255) for f in (1.0, 0.8, 0.7)], axis=-1).astype(np.uint8)

    return paint


@pytest.fixture
def write(tmp_path):
    """Write a picture as JPEG (or by the suffix of its name) and give its path as text."""

    def save(name, pixels, **options):
        path = tmp_path / name
        Image.fromarray(pixels).save(path, **({"quality": 92} | options if path.suffix == ".jpg" else options))
        return str(path)

    return save
