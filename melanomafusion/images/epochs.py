"""What an epoch of training is made of: which records in which order, with their metadata, labels and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..data.imbalance import Imbalance, epoch_rows
from ..data.metadata import MetadataEncoder


class EpochCounter:
    """Number of the epoch that the next pass over a training pipeline is; counts up by itself.

    Set `epoch` to make a certain epoch again.
    """

    def __init__(self, epoch: int = 0) -> None:
        self.epoch = epoch

    def take(self) -> int:
        """The epoch, counted up for the next pass."""
        epoch, self.epoch = self.epoch, self.epoch + 1
        return epoch


@dataclass(frozen=True)
class Epochs:
    """Draws epochs; each follows from (seed, epoch) alone.

    Attributes:
        targets: (n,) class numbers.
        labels: (n, k) float32.
        weights: (n,) float32.
        metadata: (n, D) float32, encoded.
        encoder: of the metadata, for their dropout; None where there are none.
        metadata_dropout: probability that a field of a record is shown as missing.
        imbalance: "oversample" repeats positives.
        oversample_to: share of positives then.
        sources: (n,) source of each record.
        source_sampling: source → records drawn, as a multiple of its records.
        seed: of order and metadata dropout.
        counter: whose epoch comes next.
    """

    targets: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    metadata: np.ndarray
    encoder: MetadataEncoder | None
    metadata_dropout: float
    imbalance: Imbalance
    oversample_to: float
    sources: np.ndarray
    source_sampling: Mapping[str, float] | None
    seed: int
    counter: EpochCounter = field(default_factory=EpochCounter)

    def __len__(self) -> int:
        """Records in an epoch; the same for each."""
        return len(self._rows(np.random.default_rng(self.seed)))

    def draw(self) -> tuple[np.ndarray, ...]:
        """The next epoch.

        Returns:
            Six arrays of m records in order: row, how often the row came before, number of the epoch (int64); metadata
            (m, D), labels (m, k), weights (float32).
        """
        epoch = self.counter.take()
        rng = np.random.default_rng((self.seed, epoch))
        order = rng.permutation(self._rows(rng))
        metadata = self.metadata
        if self.encoder is not None and self.metadata_dropout:
            metadata = self.encoder.drop_fields(metadata, self.metadata_dropout, rng)
        epochs = np.full(len(order), epoch)
        return order, _repeats(order), epochs, metadata[order], self.labels[order], self.weights[order]

    def _rows(self, rng: np.random.Generator) -> np.ndarray:
        return epoch_rows(
            self.targets,
            self.imbalance,
            self.oversample_to,
            sources=self.sources,
            source_sampling=self.source_sampling or None,
            rng=rng,
        )


def _repeats(rows: np.ndarray) -> np.ndarray:
    """(n,) how often each row came before: an oversampled record looks different each time."""
    by_row = np.argsort(rows, kind="stable")
    ordered = rows[by_row]
    first = np.r_[0, np.flatnonzero(np.diff(ordered)) + 1]
    repeats = np.empty(len(rows), dtype="int64")
    repeats[by_row] = np.arange(len(rows)) - np.repeat(first, np.diff(np.r_[first, len(rows)]))
    return repeats
