"""The competition's TFRecords: `train00-2071.tfrec` …, images and metadata in one file, a shard for each number.

Features as published on Kaggle: `image` (JPEG), `image_name`, and as integers `patient_id`, `sex`, `age_approx`,
`anatom_site_general_challenge`, `diagnosis`, `target`; in the test shards `image` and `image_name` alone are sure. The
integers are codes (but for the target) whose meaning the files do not hold, so the metadata come from the table.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from ...errors import ImageError, TableError
from ..containers import locator
from ..dataset import Dataset
from ..join import ExtraImages, MissingImages
from ..schema import ALIASES, to_records
from ..table import MISSING_WORDS, read_text_table, to_vocabulary
from ..tfrecord import read_examples

_NAME = r"{split}(?P<shard>\d+)-(?P<count>\d+)\.(?:tfrec|tfrecord)$"
_FOLDERS = ("tfrecords", ".")
_FEW = 5


def load_tfrecords(
    root: str | Path,
    *,
    table: str | Path | None = None,
    split: str = "train",
    source: str = "tfrecords",
    missing_images: MissingImages = "error",
    extra_images: ExtraImages = "error",
) -> Dataset:
    """Load `train%02d-NNNN.tfrec` (or `test…`), where NNNN is the number of records in the file.

    Args:
        root: folder with the shards, or with `tfrecords/`.
        table: `train.csv` (`test.csv`), joined by image name and verified both ways; needed where the metadata of the
            shards are integer codes. With it all metadata come from the table; a 0/1 target in the shards must agree.
        split: "train" (with target) or "test".
        source: name of the source, e.g. "siim-isic-2020".
        missing_images: rows of the table without an image in the shards (many copies leave 434 duplicates out): "error"
            or "drop".
        extra_images: images in the shards without a row of the table: "error" or "ignore".

    Returns:
        Data set whose `path` points into the shards, with column `tfrecord`, the number of the shard (int64).

    Raises:
        TableError: no shards, a damaged one, a count that its name does not promise, integer codes without a table, or
            problems of the table or of its join.
    """
    root = Path(root)
    if split not in ("train", "test"):
        raise TableError("load_tfrecords", [f"split={split!r}; expected train or test"])
    for option, value, allowed in (
        ("missing_images", missing_images, ("error", "drop")),
        ("extra_images", extra_images, ("error", "ignore")),
    ):
        if value not in allowed:
            raise TableError("load_tfrecords", [f"{option}={value!r}; expected one of {', '.join(allowed)}"])
    text, places = _read_shards(root, _find_shards(root, split))
    if table is None:
        _refuse_codes(text, root)
        text = to_vocabulary(_as_text(text), where=str(root))
    else:
        text, places = _join_table(text, places, Path(table), missing_images, extra_images)
    frame = to_records(text, where=str(table or root), source=source, has_target=split == "train")
    return Dataset(frame.assign(path=places["path"].to_numpy(), tfrecord=places["tfrecord"].to_numpy()))


def _find_shards(root: Path, split: str) -> list[tuple[int, int, Path]]:
    """(number, promised count, path) of each shard, by number."""
    pattern = re.compile(_NAME.format(split=split))
    for folder in (root / name for name in _FOLDERS):
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
        matches = [(match, path) for path in entries if (match := pattern.match(path.name))]
        if matches:
            break
    else:
        state = "has none" if root.is_dir() else "does not exist"
        raise TableError(
            str(root),
            [f"no shards found: the folder {state}"],
            f"Expected {split}00-2071.tfrec …, or tfrecords/ with it.",
        )
    shards = sorted((int(match["shard"]), int(match["count"]), path) for match, path in matches)
    numbers = [number for number, _, _ in shards]
    twice = [
        f"shard {path.name}: number {number} stands twice" for number, _, path in shards if numbers.count(number) > 1
    ]
    if twice:
        raise TableError(str(root), twice, "Keep the shards of one copy in the folder.")
    return shards


def _read_shards(root: Path, shards: list[tuple[int, int, Path]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Values of the features, one row per image, and where the image lies; all problems of all shards at once."""
    rows: list[dict[str, Any]] = []
    places: list[tuple[str, int]] = []
    problems: list[str] = []
    for shard, promised, path in shards:
        before = len(rows)
        try:
            for number, example in enumerate(read_examples(path)):
                here = locator(path, number)
                problems += [f"{here}: {problem}" for problem in _odd_values(example)]
                rows.append({name: example[name][0] for name in ALIASES if example.get(name)})
                places.append((here, shard))
        except ImageError as error:
            problems.append(str(error))
            continue
        if len(rows) - before != promised:
            problems.append(f"{path}: its name promises {promised:,} records; it holds {len(rows) - before:,}")
    if problems:
        raise TableError(str(root), problems, "Download these shards anew.")
    values = pd.DataFrame(rows, columns=list(ALIASES), dtype="object").dropna(axis="columns", how="all")
    return values, pd.DataFrame(places, columns=["path", "tfrecord"])


def _odd_values(example: dict[str, list[Any]]) -> list[str]:
    """An image without a name, several values where one is expected, and text that is none."""
    names = example.get("image_name", [])
    problems = [] if names and isinstance(names[0], bytes) else [f"image_name is {names}; expected text"]
    for name in ALIASES:
        found = example.get(name, [])
        if len(found) > 1:
            problems.append(f"{name} has {len(found)} values; expected one")
        elif found and isinstance(found[0], bytes) and not _is_text(found[0]):
            problems.append(f"{name} is no UTF-8 text: {found[0][:20]!r}")
    return problems


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _refuse_codes(values: pd.DataFrame, root: Path) -> None:
    codes = [
        f"{name} holds integers, e.g. {first}: codes whose meaning the files do not hold"
        for name in values
        if name != "target" and isinstance(first := values[name].dropna().iloc[0], int)
    ]
    if codes:
        raise TableError(str(root), codes, "Give the table that belongs to the shards: table='train.csv'.")


def _as_text(values: pd.DataFrame) -> pd.DataFrame:
    """As `read_text_table` gives a CSV, rows numbered as lines of one."""
    text = values.map(lambda value: value.decode() if isinstance(value, bytes) else value)
    text = text.map(lambda value: value if pd.isna(value) else str(value).strip()).astype("str")
    text = text.mask(text.apply(lambda column: column.str.lower().isin(MISSING_WORDS)))
    return text.set_axis(pd.RangeIndex(2, len(text) + 2), axis="index")


def _join_table(
    values: pd.DataFrame, places: pd.DataFrame, table: Path, missing_images: MissingImages, extra_images: ExtraImages
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of the table that have an image, and where it lies; verified both ways."""
    text = to_vocabulary(read_text_table(table), where=str(table))
    if "image_name" not in text:
        raise TableError(str(table), ["column image_name is missing"], f"It has {', '.join(map(str, text.columns))}.")
    shards = _as_text(values)[["image_name", *(["target"] if "target" in values else [])]].reset_index(drop=True)
    problems = [
        f"{places['path'].iloc[row]}: image_name {name!r} stands already in another record"
        for row, (name, twice) in enumerate(zip(shards["image_name"], shards["image_name"].duplicated(), strict=True))
        if twice
    ]
    without_image = text["image_name"][~text["image_name"].isin(shards["image_name"])].tolist()
    without_row = shards["image_name"][~shards["image_name"].isin(text["image_name"])].tolist()
    if without_image and missing_images == "error":
        problems.append(f"{len(without_image):,} of {len(text):,} rows have no image: {_first(without_image)}")
    if without_row and extra_images == "error":
        problems.append(f"{len(without_row):,} of {len(shards):,} images have no row: {_first(without_row)}")
    if "target" in shards and "target" in text:
        problems += _contradictions(text, shards)
    if problems:
        raise TableError(
            str(table),
            problems,
            'If that is meant: missing_images="drop" or extra_images="ignore" leaves such ones out.',
        )
    text = text[text["image_name"].isin(shards["image_name"])]
    if text.empty:
        raise TableError(str(table), ["none of its rows has an image in the shards"], "Is it the right table?")
    place_of = places.set_index(shards["image_name"])
    return text, place_of.reindex(text["image_name"])


def _contradictions(text: pd.DataFrame, shards: pd.DataFrame) -> list[str]:
    of_image = shards.drop_duplicates("image_name").set_index("image_name")["target"]
    inside = text["image_name"].map(of_image)
    wrong = text["target"].notna() & inside.notna()
    wrong &= pd.to_numeric(text["target"], errors="coerce") != pd.to_numeric(inside, errors="coerce")
    rows = zip(text.index[wrong], text["image_name"][wrong], text["target"][wrong], inside[wrong], strict=True)
    return [f"row {line}: {name} has target {table}, in the shards {shard}" for line, name, table, shard in rows]


def _first(names: list[Any]) -> str:
    return ", ".join(map(str, names[:_FEW])) + (", …" if len(names) > _FEW else "")
