"""`Predictions`: scores joined by image name. "oof" is a type, not a promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from ..atomic import atomic_file
from ..errors import PredictionsError
from .doubts import refuse_constant, warn_of_scale
from .files import numbers, read_table, score_from_classes
from .problems import table_problems

Kind = Literal["oof", "held_out", "test"]
KINDS: tuple[Kind, ...] = ("oof", "held_out", "test")
NEEDED = {"oof": ("target", "fold"), "held_out": ("target",), "test": ()}
_ORDER = ("image_name", "patient_id", "lesion_id", "target", "diagnosis", "fold", "grouped_by", "score")


class Predictions:
    """Scores of one model or ensemble, one row per record.

    Args:
        frame: `image_name` and `score`, and `target`, `fold`, `patient_id`, `lesion_id`, `grouped_by`, `cluster` (of
            several sources: what their patients and lesions are together), and for a multi-class model `score_<class>`
            and `diagnosis` (the true class), where known.
        kind: "oof" (each score by a model that has not seen the record's patient; needs fold and target), "held_out"
            (one model on records it has not seen; needs target) or "test" (no truth known).
        name: for messages; the file's path where it was read.
        lines: (n,) line of each row in its file, for messages; 2, 3, … without it.

    Raises:
        PredictionsError: names twice, scores missing or infinite, columns that the kind needs absent.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        kind: Kind,
        *,
        name: str = "predictions",
        lines: Sequence[int] | np.ndarray | None = None,
    ) -> None:
        if kind not in KINDS:
            raise PredictionsError(f"kind is one of {', '.join(KINDS)}. Received: kind={kind!r}")
        absent = [column for column in ("image_name", "score", *NEEDED[kind]) if column not in frame]
        if absent:
            raise PredictionsError(f"{name}: column {', '.join(absent)} is missing; {kind} predictions need it.")
        twice = frame.columns[frame.columns.duplicated()]
        if len(twice):
            raise PredictionsError(f"{name}: column {', '.join(map(str, twice))} stands twice.")
        if lines is not None and len(lines) != len(frame):
            raise PredictionsError(f"{name}: {len(lines)} lines were given for {len(frame)} records.")
        known = [c for c in _ORDER if c in frame]
        frame = frame[known + [c for c in frame if c not in known]]
        frame.index = pd.Index(range(2, len(frame) + 2) if lines is None else lines)
        problems = table_problems(frame, NEEDED[kind])
        if problems:
            raise PredictionsError(f"{name}: " + "\n  ".join(["", *problems]).strip())
        self._lines = frame.index.to_numpy()
        frame = frame.reset_index(drop=True).astype({"score": "float64"})
        self._frame = frame.astype({column: "int64" for column in NEEDED[kind]})
        self.kind: Kind = kind
        self.name = name

    @property
    def frame(self) -> pd.DataFrame:
        """A copy of the table."""
        return self._frame.copy()

    def __len__(self) -> int:
        return len(self._frame)

    @property
    def image_names(self) -> np.ndarray:
        """(n,) names, in row order."""
        return np.asarray(self._frame["image_name"], dtype=object)

    @property
    def scores(self) -> np.ndarray:
        """(n,) float64."""
        return self._frame["score"].to_numpy()

    @property
    def targets(self) -> np.ndarray:
        """(n,) int64 of 0 and 1.

        Raises:
            PredictionsError: test predictions have none.
        """
        if self.kind == "test":
            raise PredictionsError(f"{self.name}: test predictions have no target and cannot be scored.")
        return self._frame["target"].to_numpy()

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of a multi-class model, from its columns `score_<class>`; empty for a binary one."""
        return tuple(str(c).removeprefix("score_") for c in self._frame if str(c).startswith("score_"))

    @property
    def lines(self) -> np.ndarray:
        """(n,) line of each record in the file it came from, for messages."""
        return self._lines

    @property
    def clusters(self) -> tuple[np.ndarray, str]:
        """(n,) int64 code of each record's group for a bootstrap, and the word for it: patient, lesion or record.

        Codes follow the sorted names of the groups, so they do not depend on the order of rows. A record without
        patient (or lesion) is a group of its own. Column `cluster` tells groups of several sources apart, where one
        patient_id may be two patients.
        """
        for column, word in (("patient_id", "patient"), ("lesion_id", "lesion")):
            if self._knows(column):
                return self._codes("cluster" if self._knows("cluster") else column), word
        return self._codes("image_name"), "record"

    def _knows(self, column: str) -> bool:
        return column in self._frame and bool(self._frame[column].notna().any())

    def _codes(self, column: str) -> np.ndarray:
        keys = self._frame[column]
        codes, groups = pd.factorize(keys.astype("str").where(keys.notna()), sort=True)
        alone = codes < 0
        codes[alone] = len(groups) + pd.factorize(self._frame["image_name"][alone], sort=True)[0]
        return codes

    @property
    def grouped_by(self) -> str | None:
        """What the folds kept together, where known; "record" means images of one patient were split."""
        if "grouped_by" not in self._frame:
            return None
        return " + ".join(map(str, self._frame["grouped_by"].dropna().unique())) or None

    @property
    def image_level_split(self) -> bool:
        """Whether images of one patient lie on both sides of a split, so that scores may be too high.

        Said by `grouped_by`, or seen in the folds themselves.
        """
        if "record" in (self.grouped_by or "").split(" + "):
            return True
        if self.kind != "oof":
            return False
        codes, word = self.clusters
        folds = self._frame["fold"].to_numpy()
        first = np.full(codes.max() + 1, -1)
        first[codes] = folds
        return word == "patient" and bool((first[codes] != folds).any())

    def replace_scores(self, scores: np.ndarray, *, name: str | None = None) -> Predictions:
        """The same records with other scores; scores per class are left out.

        Args:
            scores: (n,) finite numbers, in row order.
            name: of the result; the same without it.

        Raises:
            PredictionsError: another number of scores.
        """
        if np.shape(scores) != (len(self),):
            raise PredictionsError(f"{self.name}: {len(self)} scores are needed. Received: shape {np.shape(scores)}")
        scores = np.asarray(scores, dtype="float64")
        if not np.isfinite(scores).all():
            row = int(np.argmin(np.isfinite(scores)))
            raise PredictionsError(
                f"{self.name}: score {scores[row]} of {self.image_names[row]} is not a finite number"
            )
        frame = self._frame.drop(columns=[f"score_{label}" for label in self.classes]).assign(score=scores)
        return self._checked(frame, self._lines, name or self.name)

    def take(self, positions: np.ndarray) -> Predictions:
        """Some of the records, in the order given.

        Args:
            positions: (m,) row numbers from 0, each at most once.
        """
        frame = self._frame.take(positions).reset_index(drop=True)
        return self._checked(frame, self._lines[positions], self.name)

    def _checked(self, frame: pd.DataFrame, lines: np.ndarray, name: str) -> Predictions:
        """Predictions of records that were checked already: nothing is looked at again."""
        result = object.__new__(Predictions)
        result._frame, result._lines, result.kind, result.name = frame, lines, self.kind, name
        return result

    def write_csv(self, path: str | Path) -> None:
        """Write all columns as CSV, whole or not at all; scores keep all their digits."""
        with atomic_file(path) as part:
            self._frame.to_csv(part, index=False, lineterminator="\n")

    def write_parquet(self, path: str | Path) -> None:
        """Write all columns as Parquet, whole or not at all."""
        with atomic_file(path) as part:
            self._frame.to_parquet(part, index=False)

    def write_submission(self, path: str | Path) -> None:
        """Write a Kaggle submission: image_name, target (which holds the score)."""
        with atomic_file(path) as part:
            self._frame[["image_name", "score"]].rename(columns={"score": "target"}).to_csv(
                part, index=False, lineterminator="\n"
            )

    @classmethod
    def read_csv(
        cls, path: str | Path, kind: Kind | None = None, *, columns: Mapping[str, str] | None = None
    ) -> Predictions:
        """Read the scores of one model; `read_members` reads several from one table.

        Args:
            path: CSV (or `.parquet`) with image_name and score, or a Kaggle submission: image_name and target.
            kind: "oof" if the file has fold and target and "test" if it has neither, without it.
            columns: our column name → the file's own: {"score": "melanoma_probability"}.

        A file with scores per class (`score_<class>`) and no `score` is scored by melanoma (`score_melanoma` or
        `score_mel`); its target is whether `diagnosis` is that class, where there is no `target`.

        Warns:
            PredictionsWarning: scores outside [0, 1], or all of them exactly 0 or 1.

        Raises:
            PredictionsError: the file cannot be read, its kind is not clear, all scores are one value, or it has
                other problems, named by row.
        """
        frame = read_table(path, columns)
        if "score" not in frame and set(frame) == {"image_name", "target"}:
            frame = frame.rename(columns={"target": "score"})  # a Kaggle submission
        return from_table(frame, kind, str(path))

    @classmethod
    def read_parquet(
        cls, path: str | Path, kind: Kind | None = None, *, columns: Mapping[str, str] | None = None
    ) -> Predictions:
        """As `read_csv`, from Parquet (a file name that ends in .parquet)."""
        return cls.read_csv(path, kind, columns=columns)

    def __repr__(self) -> str:
        folds = f", {self._frame['fold'].nunique()} folds" if "fold" in self._frame else ""
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return f"Predictions {self.name}: {self.kind}, {len(self):,} records{folds}{classes}"


def from_table(frame: pd.DataFrame, kind: Kind | None, name: str) -> Predictions:
    """Predictions from a table as `read_table` gives it, with the checks that files of unknown origin need.

    Raises:
        PredictionsError: the kind is not clear, a value is no number, or all scores are one value.
    """
    frame = score_from_classes(frame)
    if "score" not in frame:
        raise PredictionsError(
            f"{name}: column score is missing. The file has: {', '.join(map(str, frame.columns))}. Name the column: "
            'columns={"score": "..."}, or read_members for a table of several members.'
        )
    if kind is None:
        has = {"fold", "target"} & set(frame)
        if len(has) == 1:
            raise PredictionsError(
                f"{name}: has {has.pop()} but not both fold and target. Say what it is: "
                'kind="held_out" (one model on records it has not seen) or kind="test".'
            )
        kind = "oof" if has else "test"
    scored = ["score", *(str(c) for c in frame if str(c).startswith("score_"))]
    for column in [c for c in scored if c in frame]:
        frame = frame.assign(**{column: numbers(frame, column, name, empty_is_missing=True)})
    result = Predictions(frame, kind, name=name, lines=frame.index.to_list())
    refuse_constant(result)
    warn_of_scale(result)
    return result
