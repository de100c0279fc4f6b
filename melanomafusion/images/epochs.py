"""What an epoch of training is made of: which records in which order, with their metadata, labels and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..data.imbalance import Imbalance, epoch_rows
from ..data.metadata import MetadataEncoder
from ..errors import RecipeError


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
        modality_dropout: probability that all fields of a record are.
        imbalance: "oversample" repeats positives.
        oversample_to: share of positives then.
        sources: (n,) source of each record.
        source_sampling: source → records drawn, as a multiple of its records.
        seed: of order and metadata dropout.
        counter: whose epoch comes next.
        left_out: records at the beginning of each epoch that are not drawn.
    """

    targets: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    metadata: np.ndarray
    encoder: MetadataEncoder | None
    metadata_dropout: float
    modality_dropout: float
    imbalance: Imbalance
    oversample_to: float
    sources: np.ndarray
    source_sampling: Mapping[str, float] | None
    seed: int
    counter: EpochCounter = field(default_factory=EpochCounter)
    left_out: int = 0

    def __len__(self) -> int:
        """Records drawn in an epoch; the same for each."""
        return max(0, len(self._rows(np.random.default_rng(self.seed))) - self.left_out)

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
        if self.encoder is not None and (self.metadata_dropout or self.modality_dropout):
            metadata = self.encoder.drop_fields(metadata, self.metadata_dropout, rng, self.modality_dropout)
        repeats, order = _repeats(order)[self.left_out :], order[self.left_out :]
        epochs = np.full(len(order), epoch)
        return order, repeats, epochs, metadata[order], self.labels[order], self.weights[order]

    def _rows(self, rng: np.random.Generator) -> np.ndarray:
        return epoch_rows(
            self.targets,
            self.imbalance,
            self.oversample_to,
            sources=self.sources,
            source_sampling=self.source_sampling or None,
            rng=rng,
        )


def check_numbers(*, batch_size: int, seed: int, **probabilities: float) -> None:
    """Refuse numbers that cannot work.

    Raises:
        RecipeError: a batch of no records, a probability outside 0 … 1, a negative seed.
    """
    whole = (int, np.integer)
    problems = []
    if not isinstance(batch_size, whole) or batch_size < 1:
        problems.append(f"batch_size must be a whole number of at least 1. Received: batch_size={batch_size!r}")
    for name, value in probabilities.items():
        if not isinstance(value, (int, float)) or not 0 <= value <= 1:
            problems.append(f"{name} lies from 0 to 1. Received: {name}={value!r}")
    if not isinstance(seed, whole) or seed < 0:
        problems.append(f"seed must be a whole number of at least 0. Received: seed={seed!r}")
    if problems:
        raise RecipeError("\n".join(problems))


def check_labels(labels: np.ndarray | None, n: int) -> None:
    """Refuse labels that are not one class number for each of n records.

    Raises:
        RecipeError: another number of them, or values that are no class numbers.
    """
    if labels is None:
        return
    found = np.asarray(labels)
    if found.shape != (n,) or found.dtype.kind not in "iu" or (n and found.min() < 0):
        raise RecipeError(
            f"labels are class numbers 0, 1, …, one for each of the {n:,} records. "
            f"Received: {found.dtype} of shape {found.shape}, {found[:5]!r} …"
        )


def _repeats(rows: np.ndarray) -> np.ndarray:
    """(n,) how often each row came before: an oversampled record looks different each time."""
    by_row = np.argsort(rows, kind="stable")
    ordered = rows[by_row]
    first = np.r_[0, np.flatnonzero(np.diff(ordered)) + 1]
    repeats = np.empty(len(rows), dtype="int64")
    repeats[by_row] = np.arange(len(rows)) - np.repeat(first, np.diff(np.r_[first, len(rows)]))
    return repeats
