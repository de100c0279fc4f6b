"""Any CSV with any column names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...errors import TableError
from ..dataset import Dataset
from ..join import ExtraImages, MissingImages, join_images
from ..schema import to_records
from ..table import read_text_table, to_vocabulary


def load_csv(
    table: str | Path,
    *,
    image_folder: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    positive: Sequence[str] | None = None,
    source: str | None = None,
    has_target: bool = True,
    missing_images: MissingImages = "error",
    extra_images: ExtraImages = "error",
) -> Dataset:
    """Load a table of your own, with or without images.

    Further columns of the table are kept. Those named like what `assign_folds` and `concat` write (`fold`, …) become
    `<name>_in_file`; `read_folds` takes folds from a file.

    Args:
        table: CSV file. Known headers (see `data/schema.py`) are found by themselves.
        image_folder: folder of `<image_name>.jpg|jpeg|png`; without it, the table alone.
        columns: our column → your header, e.g. {"image_name": "file", "target": "is_melanoma"}.
        positive: values of the target column that mean 1 (all others mean 0), where it does not hold 0 and 1.
        source: name of the source; a column `source` of the table is then kept as `source_in_file`. Without it that
            column names the sources; where it is empty, or there is none, the file's name does.
        has_target: False for a table of records to predict.
        missing_images: rows without an image: "error" or "drop".
        extra_images: images without a row: "error" or "ignore".

    Raises:
        TableError: every problem of the table, or of its join with the images.
    """
    path = Path(table)
    text = to_vocabulary(read_text_table(path), where=str(path), columns=columns)
    if positive is not None and not positive:
        raise TableError(str(path), ["positive=[] would make every target 0"], "Name the values that mean 1.")
    if positive is not None and "target" in text:
        known = text["target"].notna()
        missing = [value for value in positive if value not in set(text["target"].dropna())]
        if missing:
            found = ", ".join(map(repr, sorted(text["target"].dropna().unique())[:10]))
            raise TableError(
                str(path), [f"positive value {v!r} is not in column target" for v in missing], f"Found: {found}."
            )
        text["target"] = text["target"].isin(list(positive)).map({True: "1", False: "0"}).where(known)
    named = source or path.stem
    sources = text["source"].fillna(named) if source is None and "source" in text else named
    frame = to_records(text, where=str(path), source=sources, has_target=has_target)
    if image_folder is not None:
        frame = join_images(frame, [image_folder], missing_images=missing_images, extra_images=extra_images)
    return Dataset(frame)
