"""`Predictions`: scores joined by image name. "oof" is a type, not a promise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from .atomic import atomic_file
from .errors import PredictionsError

Kind = Literal["oof", "held_out", "test"]
KINDS: tuple[Kind, ...] = ("oof", "held_out", "test")
_ORDER = ("image_name", "patient_id", "lesion_id", "target", "fold", "grouped_by", "score")
_FEW = 5


class Predictions:
    """Scores of one model or ensemble, one row per record.

    Args:
        frame: `image_name` and `score`, and `target`, `fold`, `patient_id`, `lesion_id`, `grouped_by`, and
            `score_<class>` of a multi-class model where known.
        kind: "oof" (each score by a model that has not seen the record's patient; needs fold and target), "held_out"
            (one model on records it has not seen; needs target) or "test" (no truth known).

    Raises:
        PredictionsError: names twice, scores missing or infinite, columns that the kind needs absent.
    """

    def __init__(self, frame: pd.DataFrame, kind: Kind, *, name: str = "predictions") -> None:
        if kind not in KINDS:
            raise PredictionsError(f"kind is one of {', '.join(KINDS)}. Received: kind={kind!r}")
        needed = {"oof": ("target", "fold"), "held_out": ("target",), "test": ()}[kind]
        absent = [column for column in ("image_name", "score", *needed) if column not in frame]
        if absent:
            raise PredictionsError(f"{name}: column {', '.join(absent)} is missing; {kind} predictions need it.")
        problems = _problems(frame, needed)
        if problems:
            raise PredictionsError(f"{name}: " + "\n  ".join(["", *problems]).strip())
        columns = [c for c in _ORDER if c in frame] + [c for c in frame if c not in _ORDER]
        frame = frame[columns].reset_index(drop=True).astype({"score": "float64"})
        if "target" in needed:
            frame = frame.astype({"target": "int64"})
        if kind == "oof":
            frame = frame.astype({"fold": "int64"})
        self._frame = frame
        self.kind: Kind = kind
        self.name = name

    @property
    def frame(self) -> pd.DataFrame:
        """A copy of the table."""
        return self._frame.copy()

    def __len__(self) -> int:
        return len(self._frame)

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
    def clusters(self) -> tuple[np.ndarray, str]:
        """(n,) group of each record for a bootstrap, and the word for it: patient, lesion or record."""
        for column, word in (("patient_id", "patient"), ("lesion_id", "lesion")):
            if column in self._frame and self._frame[column].notna().any():
                alone = "record/" + self._frame["image_name"].astype(str)
                return (f"{word}/" + self._frame[column].astype("str")).fillna(alone).to_numpy(dtype=object), word
        return self._frame["image_name"].to_numpy(dtype=object), "record"

    @property
    def grouped_by(self) -> str | None:
        """What the folds kept together, where known; "record" means images of one patient were split."""
        return str(self._frame["grouped_by"].iloc[0]) if "grouped_by" in self._frame else None

    @property
    def image_level_split(self) -> bool:
        """Whether images of one patient may lie on both sides of a split, so that scores may be too high."""
        return "record" in (self.grouped_by or "").split(" + ")

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
    def read_csv(cls, path: str | Path, kind: Kind | None = None) -> Predictions:
        """Read scores.

        Args:
            path: CSV with image_name and score.
            kind: "oof" if the file has fold and target and "test" if it has neither, without it.

        Raises:
            PredictionsError: the file cannot be read, its kind is not clear, or it has problems.
        """
        path = Path(path)
        try:
            frame = pd.read_csv(path, dtype={"image_name": str, "patient_id": str, "lesion_id": str})
        except FileNotFoundError:
            raise PredictionsError(f"There is no file {path}.") from None
        except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError, OSError) as error:
            raise PredictionsError(f"{path}: not a table of scores ({str(error).strip()}).") from None
        if "score" not in frame and set(frame) == {"image_name", "target"}:
            frame = frame.rename(columns={"target": "score"})  # a Kaggle submission
        if kind is None:
            has = {"fold", "target"} & set(frame)
            if len(has) == 1:
                raise PredictionsError(
                    f"{path}: has {has.pop()} but not both fold and target. Say what it is: "
                    'kind="held_out" (one model on records it has not seen) or kind="test".'
                )
            kind = "oof" if has else "test"
        if "score" in frame and not pd.api.types.is_numeric_dtype(frame["score"]):
            numbers = pd.to_numeric(frame["score"], errors="coerce")
            row = int(numbers.isna().to_numpy().argmax())
            raise PredictionsError(
                f"{path}: row {row + 2}, column score: {frame['score'].iloc[row]!r} is not a number."
            )
        return cls(frame, kind, name=str(path))

    def __repr__(self) -> str:
        folds = f", {self._frame['fold'].nunique()} folds" if "fold" in self._frame else ""
        return f"Predictions {self.name}: {self.kind}, {len(self):,} records{folds}"


def align(members: Mapping[str, Predictions], *, missing: str = "error") -> dict[str, Predictions]:
    """Bring members to the same records in the same order, by image name.

    Args:
        members: name → predictions, all of one kind.
        missing: "error" refuses members that lack records or were trained on other folds; "intersect" keeps the common
            records, each member with its own folds.

    Raises:
        PredictionsError: no members, mixed kinds, other records or folds, targets that differ.
    """
    if not members:
        raise PredictionsError("No members were given.")
    if missing not in ("error", "intersect"):
        raise PredictionsError(f'missing is "error" or "intersect". Received: missing={missing!r}')
    kinds = {name: member.kind for name, member in members.items()}
    if len(set(kinds.values())) > 1:
        raise PredictionsError(
            "Members of different kinds cannot be joined: " + ", ".join(f"{n} {k}" for n, k in kinds.items())
        )
    tables = {name: member.frame.set_index("image_name") for name, member in members.items()}
    first, *others = tables
    common = tables[first].index
    for name in others:
        index = tables[name].index
        without, extra = common.difference(index), index.difference(tables[first].index)
        if missing == "error" and (len(without) or len(extra)):
            raise PredictionsError(
                f"{name} lacks {len(without):,} records of {first} ({_shown(without)}) and has {len(extra):,} that "
                f'{first} lacks ({_shown(extra)}). missing="intersect" keeps the common ones.'
            )
        common = common[common.isin(index)]
    if not len(common):
        raise PredictionsError("The members have no record in common.")
    tables = {name: table.loc[common] for name, table in tables.items()}
    for name in others:
        for column in ("target", "fold"):
            if column not in tables[first] or column not in tables[name]:
                continue
            differ = tables[name][column].to_numpy() != tables[first][column].to_numpy()
            if column == "target" and differ.any():
                raise PredictionsError(f"{name} and {first} disagree on the target of {_shown(common[differ])}.")
            if differ.any() and missing == "error":
                raise PredictionsError(
                    f"{name} was trained on other folds than {first}: {int(differ.sum()):,} records differ, e.g. "
                    f'{_shown(common[differ])}. missing="intersect" joins them, each with its own folds.'
                )
    return {n: Predictions(t.reset_index(), members[n].kind, name=members[n].name) for n, t in tables.items()}


def _problems(frame: pd.DataFrame, needed: tuple[str, ...]) -> list[str]:
    problems = ["has no rows"] if frame.empty else []
    names = frame["image_name"]
    for row in np.flatnonzero(names.duplicated().to_numpy())[:_FEW]:
        problems.append(f"row {row + 2}: image_name {names.iloc[row]!r} stands twice")
    for row in np.flatnonzero(names.isna().to_numpy())[:_FEW]:
        problems.append(f"row {row + 2}: image_name is empty")
    scores = pd.to_numeric(frame["score"], errors="coerce").to_numpy(dtype="float64")
    for row in np.flatnonzero(~np.isfinite(scores))[:_FEW]:
        problems.append(
            f"row {row + 2}: score {frame['score'].iloc[row]!r} of {names.iloc[row]} is not a finite number"
        )
    for column in needed:
        values = pd.to_numeric(frame[column], errors="coerce")
        usable = values.isin((0, 1)) if column == "target" else values.ge(0) & values.mod(1).eq(0)
        for row in np.flatnonzero(~usable.to_numpy(dtype=bool))[:_FEW]:
            problems.append(f"row {row + 2}: {column} {frame[column].iloc[row]!r} of {names.iloc[row]} cannot be used")
    return problems


def _shown(names: pd.Index) -> str:
    return (", ".join(map(str, names[:_FEW])) + (", …" if len(names) > _FEW else "")) or "none"
