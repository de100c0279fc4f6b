"""The run folder: what it holds, whether it may go on, which folds are done."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..atomic import atomic_file, make_folder, write_text
from ..data.dataset import Dataset
from ..data.fold_files import write_folds
from ..errors import RecipeError, RunError
from ..execution.lock import is_held, is_in_use
from ..recipes.recipe import Recipe
from .extra import LABELLED_BY

FAILED = "failed.txt"  # why a fold ended
_LEARNT_BY = "learnt_by_fold"
_OURS = (
    "recipe.json",
    "dataset.parquet",
    "extra.parquet",
    "folds.csv",
    "oof.csv",
    "oof.parquet",
    "history.csv",
    "metrics.json",
    "bad_images.csv",
    "data.sha256",
    "micro_batch.json",
)


@dataclass(frozen=True)
class Run:
    """A run on disk.

    Attributes:
        path: folder: recipe.json, dataset.parquet, folds.csv, fold-0/ …, oof.csv, history.csv, metrics.json, report/.
    """

    path: Path

    @property
    def pixels(self) -> Path:
        """Folder of the decoded images, which goes when the last fold is done."""
        return self.path / "pixels"

    @property
    def features(self) -> Path:
        """Folder of features of frozen backbones; kept, because whatever changes them changes their place in it."""
        return self.path / "features"

    def fold(self, fold: int) -> Path:
        """Folder of one fold."""
        return self.path / f"fold-{fold}"

    def is_done(self, fold: int) -> bool:
        """Whether a fold was trained and scored."""
        return (self.fold(fold) / "metrics.json").is_file()

    @property
    def recipe(self) -> Recipe:
        """The recipe it was started with."""
        return Recipe.from_json((self.path / "recipe.json").read_text(encoding="utf-8"))

    @property
    def dataset(self) -> Dataset:
        """The records it is trained on, with folds."""
        return Dataset.read_parquet(self.path / "dataset.parquet")

    @property
    def extra(self) -> dict[int, Dataset]:
        """Records that a fold learns from besides its training folds, by fold."""
        path = self.path / "extra.parquet"
        if not path.is_file():
            return {}
        table = pd.read_parquet(path)
        rows = {int(fold): table[table[_LEARNT_BY] == fold] for fold in table[_LEARNT_BY].unique()}
        return {fold: Dataset(mine.drop(columns=_LEARNT_BY)) for fold, mine in rows.items()}

    @property
    def left_out(self) -> list[str]:
        """Names of images that could not be read and are left out."""
        path = self.path / "bad_images.csv"
        return pd.read_csv(path, dtype=str)["image_name"].tolist() if path.is_file() else []

    @property
    def with_images(self) -> Dataset:
        """Every record whose image the run needs, once."""
        tables = [self.dataset.frame, *(records.frame for records in self.extra.values())]
        return Dataset(pd.concat(tables).drop_duplicates("image_name"))

    def write_records(self, dataset: Dataset, extra: Mapping[int, Dataset]) -> None:
        """Put down the records and the extra records of each fold, without those that are left out."""
        dataset, extra = without(dataset, extra, self.left_out)
        dataset = dataset.with_columns(path=_absolute(dataset.frame["path"]))
        dataset.write_parquet(self.path / "dataset.parquet")
        if extra:
            tables = [records.frame.assign(**{_LEARNT_BY: fold}) for fold, records in extra.items()]
            table = pd.concat(tables).drop(columns=LABELLED_BY, errors="ignore")  # looked at before, with all records
            with atomic_file(self.path / "extra.parquet") as part:
                table.assign(path=_absolute(table["path"])).to_parquet(part, index=False)


def open_run(
    path: str | Path,
    recipe: Recipe,
    dataset: Dataset,
    *,
    extra: Mapping[int, Dataset] | None = None,
    restart: bool = False,
) -> Run:
    """Start a run in an empty folder, or go on with one of the same recipe and data.

    Args:
        path: folder.
        recipe: of the run.
        dataset: records with folds.
        extra: further records to learn from, by fold.
        restart: throw away what an earlier run left there.

    Raises:
        RunError: the folder holds something else, or a run of another recipe or other data; with the differences.
    """
    path = Path(path)
    run = Run(path)
    if path.exists() and not path.is_dir():
        raise RunError(f"{path} is a file. Name a folder for the run.")
    exists = (path / "recipe.json").is_file()
    if path.is_dir() and not exists and not all(_may_be_ours(entry) for entry in path.iterdir()):
        raise RunError(f"{path} is not empty and not a run. Name a new folder.")
    if exists and restart:
        _clear(path)
    elif exists:
        difference = _difference(run, recipe, data_hash(dataset, extra or {}))
        if difference and (any(path.glob("fold-*/metrics.json")) or any(path.glob("fold-*/checkpoints/*"))):
            raise RunError(f"{path} holds a run {difference} Name another folder, or restart.")
        if difference:  # no epoch was finished: nothing is lost by starting with the recipe as it is now
            _clear(path)
    make_folder(path)
    run.write_records(dataset, extra or {})
    # Both of the data as they were given: what is left out for its image is no other data.
    write_folds(dataset, path / "folds.csv")
    write_text(path / "data.sha256", data_hash(dataset, extra or {}) + "\n")
    write_text(path / "recipe.json", recipe.to_json())
    return run


def without(
    dataset: Dataset, extra: Mapping[int, Dataset], names: Collection[str]
) -> tuple[Dataset, dict[int, Dataset]]:
    """The data set and the extra records, some images left out; a fold whose extra records are all gone has none."""

    def kept(records: Dataset) -> Dataset:
        return records.select(~records.frame["image_name"].isin(list(names)).to_numpy())

    further = {fold: kept(records) for fold, records in extra.items()}
    return kept(dataset), {fold: records for fold, records in further.items() if len(records)}


def _absolute(paths: pd.Series) -> pd.Series:
    """A process on another machine stands in another folder."""
    return paths.map(os.path.abspath, na_action="ignore")


def data_hash(dataset: Dataset, extra: Mapping[int, Dataset]) -> str:
    """SHA-256 of the records, their folds and the extra records of each fold, independent of where the images lie."""
    tables = [dataset.frame, *(extra[fold].frame.assign(**{_LEARNT_BY: fold}) for fold in sorted(extra))]
    text = "".join(table.drop(columns="path").to_csv(index=False, lineterminator="\n") for table in tables)
    return hashlib.sha256(text.encode()).hexdigest()


def _difference(run: Run, recipe: Recipe, stamp_now: str) -> str:
    """In what a run on disk differs from the one asked for; empty where in nothing."""
    try:
        old, new = run.recipe.to_dict(), recipe.to_dict()
    except (RecipeError, UnicodeDecodeError) as error:
        return f"whose recipe.json cannot be read ({error})."
    changed = [f"  {key}: {old.get(key)!r} → {new[key]!r}\n" for key in new if old.get(key) != new[key]]
    if changed:
        return "of another recipe:\n" + "".join(changed).rstrip("\n") + "\n"
    stamp = run.path / "data.sha256"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8").strip() != stamp_now:
        return "on other records or folds."
    return ""


def _may_be_ours(entry: Path) -> bool:
    """Whether a start that was cut short may have left it: the recipe is written last."""
    return entry.name in _OURS or entry.name.endswith(".part")


def _clear(path: Path) -> None:
    for lock in path.glob("fold-*/lock"):
        if is_held(lock):
            raise RunError(
                f"{lock.parent} is being trained by {lock.read_text(encoding='utf-8').strip()}. Stop that first."
            )
    if is_in_use(path / "lock"):
        raise RunError(f"{path} is in use: another command trains it, or prepares its images. Stop that first.")
    for name in _OURS:
        (path / name).unlink(missing_ok=True)
    for folder in [*path.glob("fold-*"), path / "pixels", path / "report"]:
        shutil.rmtree(folder, ignore_errors=True)
