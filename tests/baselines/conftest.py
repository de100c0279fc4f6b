"""A small HAM10000: lesions of seven diagnoses, each with colours of its own."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import melanomafusion as mf
from melanomafusion.testing import paint_lesion

CLASSES = ("AK", "BCC", "BKL", "DF", "VASC", "melanoma", "nevus")
CODES = ("akiec", "bcc", "bkl", "df", "vasc", "mel", "nv")


@pytest.fixture(scope="session")
def ham_root(tmp_path_factory):
    """A folder in HAM10000's layout: 126 images of 63 lesions, whose diagnosis shows in their tint and in the age."""
    root = tmp_path_factory.mktemp("ham10000")
    (root / "images").mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for number in range(126):
        kind = number // 2 % 7
        tint = np.array([(kind & 1) * 60, (kind >> 1 & 1) * 60, (kind >> 2 & 1) * 60])
        image = np.clip(paint_lesion(rng.normal(), 40, rng) * 0.7 + tint + rng.normal(0, 12, 3), 0, 255)
        name = f"ISIC_{number:07d}"
        Image.fromarray(image.astype("uint8")).save(root / "images" / f"{name}.jpg", quality=95)
        age = 10 * kind + 10 + 5 * int(rng.integers(0, 3))
        rows.append((f"HAM_{number // 2:07d}", name, CODES[kind], "histo", age, "male", "back"))
    header = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
    pd.DataFrame(rows, columns=header).to_csv(root / "HAM10000_metadata.csv", index=False)
    return root


@pytest.fixture(scope="session")
def ham(ham_root):
    """The records in three lesion-grouped folds."""
    return mf.assign_folds(mf.load_ham10000(ham_root), 3)
