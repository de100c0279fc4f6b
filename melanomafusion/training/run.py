"""The run folder: what it holds, whether it may go on, which folds are done."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..atomic import make_folder, write_text
from ..data.dataset import Dataset
from ..data.folds import write_folds
from ..errors import RecipeError, RunError
from ..recipes.recipe import Recipe

_OURS = (
    "recipe.json",
    "dataset.parquet",
    "folds.csv",
    "oof.csv",
    "oof.parquet",
    "history.csv",
    "metrics.json",
    "bad_images.csv",
    "data.sha256",
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

    def write_records(self, dataset: Dataset) -> None:
        """Put down the records, their folds and their hash."""
        dataset.write_parquet(self.path / "dataset.parquet")
        write_folds(dataset, self.path / "folds.csv")
        write_text(self.path / "data.sha256", data_hash(dataset) + "\n")


def open_run(path: str | Path, recipe: Recipe, dataset: Dataset, *, restart: bool = False) -> Run:
    """Start a run in an empty folder, or go on with one of the same recipe and data.

    Args:
        path: folder.
        recipe: of the run.
        dataset: records with folds.
        restart: throw away what an earlier run left there.

    Raises:
        RunError: the folder holds something else, or a run of another recipe or other data; with the differences.
    """
    path = Path(path)
    run = Run(path)
    if path.exists() and not path.is_dir():
        raise RunError(f"{path} is a file. Name a folder for the run.")
    exists = (path / "recipe.json").is_file()
    if path.is_dir() and any(path.iterdir()) and not exists:
        raise RunError(f"{path} is not empty and not a run. Name a new folder.")
    if exists and restart:
        _clear(path)
    elif exists:
        difference = _difference(run, recipe, dataset)
        if difference and any(path.glob("fold-*/metrics.json")):
            raise RunError(f"{path} holds a run {difference} Name another folder, or restart.")
        if difference:  # no fold was finished: nothing is lost by starting with the recipe as it is now
            _clear(path)
    make_folder(path)
    run.write_records(dataset)
    write_text(path / "recipe.json", recipe.to_json())
    return run


def data_hash(dataset: Dataset) -> str:
    """SHA-256 of the records and their folds, independent of where the images lie."""
    frame = dataset.frame.drop(columns="path")
    return hashlib.sha256(frame.to_csv(index=False, lineterminator="\n").encode()).hexdigest()


def _difference(run: Run, recipe: Recipe, dataset: Dataset) -> str:
    """In what a run on disk differs from the one asked for; empty where in nothing."""
    try:
        old, new = run.recipe.to_dict(), recipe.to_dict()
    except (RecipeError, UnicodeDecodeError) as error:
        return f"whose recipe.json cannot be read ({error})."
    changed = [f"  {key}: {old.get(key)!r} → {new[key]!r}\n" for key in new if old.get(key) != new[key]]
    if changed:
        return "of another recipe:\n" + "".join(changed).rstrip("\n") + "\n"
    stamp = run.path / "data.sha256"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8").strip() != data_hash(dataset):
        return "on other records or folds."
    return ""


def _clear(path: Path) -> None:
    for name in _OURS:
        (path / name).unlink(missing_ok=True)
    for folder in [*path.glob("fold-*"), path / "pixels", path / "report"]:
        shutil.rmtree(folder, ignore_errors=True)
