"""How scores are named on the command line: `[NAME=]FILE[:SCORE COLUMN[:FOLD COLUMN]]`, or a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import PredictionsError

if TYPE_CHECKING:
    import pandas as pd

    from ..predictions import Kind, Predictions


@dataclass(frozen=True)
class MemberFile:
    """One member as the user named it.

    Attributes:
        name: of the member, or None.
        path: file, or run folder.
        score, fold: columns of a wide table, or None.
    """

    name: str | None
    path: Path
    score: str | None = None
    fold: str | None = None

    @classmethod
    def parse(cls, text: str) -> MemberFile:
        """Read one argument; a path that exists is taken as it stands."""
        if Path(text).exists():
            return cls(None, Path(text))
        name, equals, rest = text.partition("=")
        if not equals:
            name, rest = "", text
        if Path(rest).exists():
            return cls(name or None, Path(rest))
        file, *columns = rest.split(":")
        if not file or len(columns) > 2:
            raise PredictionsError(f"Scores are named [NAME=]FILE[:SCORE[:FOLD]]. Received: {text!r}")
        return cls(name or None, Path(file), *columns)

    @property
    def file(self) -> Path:
        """The table: a run folder's is its oof.csv."""
        return self.path / "oof.csv" if self.path.is_dir() else self.path

    def read(self, kind: Kind | None = None) -> Predictions:
        """Read the scores."""
        from ..predictions import Predictions, read_members

        if self.score is None:
            return Predictions.read_csv(self.file, kind)
        name = self.name or self.score
        fold = None if self.fold is None else {name: self.fold}
        columns = self.score.split("+")  # the mean of several: a member's folds on test records
        return read_members(self.file, {name: columns}, fold=fold, kind=kind)[name]


def read_named(texts: list[str], kind: Kind | None = None) -> tuple[dict[str, Predictions], dict[str, MemberFile]]:
    """Members by the name given, else the column, the run's folder, or the file; numbered where two would share one.

    Raises:
        PredictionsError: a name given twice, or files that cannot be read.
    """
    given = [MemberFile.parse(text) for text in texts]
    named = [member.name for member in given if member.name]
    if len(set(named)) < len(named):
        raise PredictionsError(f"A member's name stands twice: {', '.join(named)}")
    names = [member.name or member.score or _short(member.file) for member in given]
    if len(set(names)) < len(names):
        names = [
            member.name or f"{member.file}{':' + member.score if member.score else ''} ({number})"
            for number, member in enumerate(given, start=1)
        ]
    files = dict(zip(names, given, strict=True))
    return {name: member.read(kind) for name, member in files.items()}, files


def read_metadata(path: Path) -> pd.DataFrame:
    """A table with image_name (or image, isic_id, image_id) and whatever columns it has."""
    from ..predictions.files import read_table

    return read_table(path)


def _short(file: Path) -> str:
    return file.parent.name if file.name == "oof.csv" and file.parent.name else file.stem
