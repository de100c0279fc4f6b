"""An export of the ISIC Archive: `metadata.csv` and `<isic_id>.jpg`, as `isic image download` writes them.

Columns are there or not as the export has them; ages are cut at 85. Licences differ by image (CC-0, CC-BY, CC-BY-NC:
column `copyright_license`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd

from ...csv_rows import header_key
from ...errors import TableError
from ..dataset import Dataset
from ..join import ExtraImages, MissingImages, find_first, join_images
from ..schema import ALIASES, DIAGNOSIS_SYNONYMS, to_records
from ..table import read_text_table, to_vocabulary

_LEVELS = ("diagnosis_5", "diagnosis_4", "diagnosis_3", "diagnosis_2", "diagnosis_1", "diagnosis")
# Words that name no diagnosis.
_UNDIAGNOSED = ("benign", "malignant", "indeterminate", "indeterminate/benign", "indeterminate/malignant", "unknown")


def load_isic_archive(
    root: str | Path,
    *,
    undiagnosed: Literal["error", "drop"] = "error",
    image_folder: str | Path | None = None,
    with_images: bool = True,
    missing_images: MissingImages = "error",
    extra_images: ExtraImages = "error",
) -> Dataset:
    """Load an export of the ISIC Archive.

    The diagnosis is the most exact word that is known in nine classes, from `diagnosis_5` up to `diagnosis_1`, then
    `diagnosis`; where none is known it is "unknown" (never "nevus" by guess). The most exact published word stands in
    `diagnosis_as_published`. `target` is 1 for melanoma: in situ, invasive, metastasis and without further word; 0 for
    every other diagnosis, unknown ones too (basal cell carcinoma is malignant and 0). Where no diagnosis is given,
    `benign_malignant` (or `diagnosis_1`) decides if it says benign: 0; malignant may be melanoma or not.

    Args:
        root: folder with `metadata.csv` and the images (beside it or in `images/`), or the CSV itself.
        undiagnosed: records whose target nothing decides: "error", or "drop" to leave them out.
        image_folder: folder of images, where it has another name.
        with_images: False for the table alone.
        missing_images: rows without an image: "error" or "drop".
        extra_images: images without a row: "error" or "ignore".

    Raises:
        TableError: every problem of the table (a melanoma called benign, a nevus called malignant, records that nothing
            decides, …), or of its join with the images.
    """
    if undiagnosed not in ("error", "drop"):
        raise TableError("load_isic_archive", [f"undiagnosed={undiagnosed!r}; expected error or drop"])
    root = Path(root)
    path = root if root.is_file() else find_first(root, ("metadata.csv",), "metadata table")
    text = _read(path)
    levels, published = _words(text), _first(_words(text, lower=False))
    mapped = levels.map(lambda word: DIAGNOSIS_SYNONYMS.get(word, None), na_action="ignore")
    text["diagnosis"] = _first(mapped).fillna("unknown")
    text["diagnosis_as_published"] = published
    says = _malignancy(text)
    target = _target(levels, text["diagnosis"], says)
    contradicts = ((text["diagnosis"] == "melanoma") & (says == "benign")) | (
        (text["diagnosis"] == "nevus") & (says == "malignant")
    )
    problems = [f"row {line}: diagnosis {published[line]!r}, called {says[line]}" for line in text.index[contradicts]]
    open_lines = text.index[target.isna()]
    advice = "Mend these rows."
    if undiagnosed == "error" and len(open_lines):
        problems += [
            f"row {line}: diagnosis {published.fillna('')[line]!r}, called {says.fillna('')[line]!r}: melanoma or not?"
            for line in open_lines
        ]
        advice = 'If that is meant: undiagnosed="drop" leaves out the records that nothing decides.'
    if problems:
        raise TableError(str(path), problems, advice)
    decided = text.assign(target=target)[target.notna()]
    if decided.empty:
        raise TableError(str(path), [f"none of the {len(text):,} rows has a diagnosis"], "Export the column diagnosis.")
    # benign_malignant is about all cancers here, the target about melanoma: it is no check of the other.
    checked = decided.drop(columns="benign_malignant", errors="ignore")
    frame = to_records(checked, where=str(path), source="isic-archive", has_target=True)
    if "benign_malignant" in text:
        frame["benign_malignant"] = decided["benign_malignant"].to_numpy()
    if with_images:
        folder = Path(image_folder) if image_folder else _image_folder(path.parent)
        names = text[["image_name"]].dropna().drop_duplicates()
        joined = join_images(names, [folder], missing_images=missing_images, extra_images=extra_images)
        paths = joined.set_index("image_name")["path"]
        frame = frame[frame["image_name"].isin(paths.index)]
        frame = frame.assign(path=frame["image_name"].map(paths).astype("str"))
    return Dataset(frame)


def _read(path: Path) -> pd.DataFrame:
    text = read_text_table(path)
    headers = {header_key(name): name for name in text.columns}
    named = not set(ALIASES["image_name"]) & set(headers) and "name" in headers
    text = to_vocabulary(text, where=str(path), columns={"image_name": headers["name"]} if named else None)
    if "diagnosis_as_published" in text:  # spelt above; the words as they were are read here
        text["diagnosis"] = text["diagnosis_as_published"]
    text = text.rename(columns={name: header_key(name) for name in text.columns if header_key(name) in _LEVELS})
    absent = [] if "image_name" in text else ["column isic_id is missing (also looked for name)"]
    if not {*_LEVELS, "benign_malignant"} & set(text.columns):
        absent.append("no column tells the diagnosis (diagnosis, diagnosis_1 … diagnosis_5, benign_malignant)")
    if absent:
        raise TableError(str(path), absent, f"The table has: {', '.join(map(str, text.columns))}.")
    return text


def _words(text: pd.DataFrame, *, lower: bool = True) -> pd.DataFrame:
    """Published words that name a diagnosis, the most exact level first; missing where a level names none."""
    levels = text.reindex(columns=list(_LEVELS)).astype("object")
    small = levels.map(str.lower, na_action="ignore")
    return (small if lower else levels).mask(small.isin(_UNDIAGNOSED))


def _first(levels: pd.DataFrame) -> pd.Series:
    return levels.bfill(axis="columns").iloc[:, 0].astype("str")


def _malignancy(text: pd.DataFrame) -> pd.Series:
    """benign, malignant, …, by `benign_malignant` or else by the top of the hierarchy."""
    sides = text.reindex(columns=["benign_malignant", "diagnosis_1"]).astype("object")
    return _first(sides.map(str.lower, na_action="ignore"))


def _target(levels: pd.DataFrame, diagnosis: pd.Series, says: pd.Series) -> pd.Series:
    """(n,) "1", "0", or missing where nothing decides."""
    # A word for melanoma that is not in our list must not become 0.
    unsure = levels.map(lambda word: "melanoma" in word, na_action="ignore").eq(True).any(axis="columns")
    named = levels.notna().any(axis="columns") | (says == "benign")
    return pd.Series("0", index=diagnosis.index).where(named & ~unsure).mask(diagnosis == "melanoma", "1")


def _image_folder(root: Path) -> Path:
    return root / "images" if (root / "images").is_dir() else root
