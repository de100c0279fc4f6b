"""Features of images kept on disk: rows are added in whole parts, and read through memory maps.

One folder holds the features of one backbone with one set of weights and one image spec; the folder's name says which.
A part is a folder of features.npy (n, width) float32 and images.json, the identities of its n images. It takes its name
when it is whole, so a process that is killed loses one part at most, and the next one goes on behind the others.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..atomic import atomic_folder, write_json
from ..data.containers import split_locator
from ..data.dataset import Dataset
from ..errors import ImageError, OutputError


@dataclass(frozen=True)
class Features:
    """Features of a data set's records, in its order, read from disk as they are asked for.

    Attributes:
        parts: (m, width) float32 each, memory-mapped.
        part: (n,) int64, the part that a record's features lie in.
        row: (n,) int64, the row there.
    """

    parts: list[np.ndarray]
    part: np.ndarray
    row: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    @property
    def width(self) -> int:
        """Features per record."""
        return int(self.parts[0].shape[1])

    def take(self, records: np.ndarray) -> np.ndarray:
        """(m, width) float32 of m records, by their (m,) integer places in the data set."""
        found = np.empty((len(records), self.width), dtype="float32")
        part, row = self.part[records], self.row[records]
        for number in np.unique(part):
            here = part == number
            found[here] = self.parts[number][row[here]]
        return found


class FeatureStore:
    """The parts in one folder; made when the first one is written.

    Args:
        folder: of this backbone, its weights and the image spec.
        width: features per image.
    """

    def __init__(self, folder: str | Path, width: int) -> None:
        self.folder, self.width = Path(folder), width
        self._parts: list[np.ndarray] = []
        self._places: dict[str, tuple[int, int]] = {}
        for path in sorted(self.folder.glob("part-*")):
            self._open(path)

    def lacks(self, images: Sequence[str]) -> list[int]:
        """Places among some image identities whose features are not here."""
        return [place for place, image in enumerate(images) if image not in self._places]

    def add(self, images: Sequence[str], features: np.ndarray) -> None:
        """Write a part.

        Args:
            images: n identities.
            features: (n, width) float32.

        Raises:
            OutputError: it cannot be written.
        """
        path = self.folder / f"part-{uuid.uuid4().hex}"  # of its own: folds side by side may compute the same images
        with atomic_folder(path) as part:
            np.save(part / "features.npy", np.asarray(features, dtype="float32"))
            write_json(part / "images.json", list(images))
        if not self._open(path):
            raise OutputError(f"{path} cannot be read back. Delete it, or choose another folder for features.")

    def read(self, images: Sequence[str]) -> Features:
        """The features of n images that are all here."""
        places = np.array([self._places[image] for image in images], dtype="int64").reshape(-1, 2)
        return Features(self._parts, places[:, 0], places[:, 1])

    def _open(self, path: Path) -> bool:
        """Take in a part; one that is damaged counts as not there, so that it is computed again."""
        try:
            images = json.loads((path / "images.json").read_text(encoding="utf-8"))
            features = np.load(path / "features.npy", mmap_mode="r")
        except (OSError, ValueError, EOFError):
            return False
        if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
            return False
        if features.shape != (len(images), self.width) or features.dtype != np.float32:
            return False
        self._places |= {image: (len(self._parts), row) for row, image in enumerate(images)}
        self._parts.append(features)
        return True


def image_identities(dataset: Dataset) -> list[str]:
    """SHA-256 of each record's path, size and time of change; of its container and row where it lies in one.

    Raises:
        ImageError: images are not where they were when they were decoded.
    """
    frame = dataset.frame
    identities: list[str] = []
    gone: list[str] = []
    stamps: dict[str, tuple[int, int]] = {}
    for name, path in zip(frame["image_name"], frame["path"], strict=True):
        file, row = split_locator(str(path)) or (str(path), 0)
        try:
            if file not in stamps:
                status = os.stat(file)
                stamps[file] = status.st_size, status.st_mtime_ns
            identity = json.dumps([os.path.abspath(file), row, *stamps[file]])
            identities.append(hashlib.sha256(identity.encode()).hexdigest())
        except (OSError, ValueError):  # ValueError: a path that no file can have
            gone.append(str(name))
    if gone:
        raise ImageError(
            f"{len(gone):,} of {len(frame):,} images cannot be found any more, e.g. {gone[0]}. "
            'Put them back, or train the head with augmentation="light", which keeps no features.'
        )
    return identities
