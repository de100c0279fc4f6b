"""Search for weights on out-of-fold scores: greedy with replacement, and continuous on the simplex."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import PredictionsError
from .auc_screen import TIE, AucScreen
from .objectives import OBJECTIVES, Objective

_LARGEST = 1e30  # sums of such scores still lie within float32
_STEPS = (0.5, 0.25, 0.1, 0.05, 0.02, 0.01)


@dataclass(frozen=True)
class GreedyPath:
    """What a greedy search picked.

    Attributes:
        picks: member index of each round.
        values: objective of the mean of the picks up to each round, exact.
        members: how many there were to choose from.
    """

    picks: list[int]
    values: list[float]
    members: int

    @property
    def weights(self) -> np.ndarray:
        """(k,) shares of the picks up to the first best round; they sum to 1."""
        best = int(np.argmax(np.asarray(self.values) >= max(self.values) - TIE))
        return np.bincount(self.picks[: best + 1], minlength=self.members) / (best + 1)


def greedy_path(
    scores: np.ndarray,
    targets: np.ndarray,
    *,
    objective: Objective = "auc",
    rounds: int = 100,
    max_members: int | None = None,
    replacement: bool = True,
) -> GreedyPath:
    """Pick, each round, the member that makes the mean of all picks best (Caruana et al. 2004).

    Args:
        scores: (k, n) of the members.
        targets: (n,) of 0 and 1.
        objective: what is maximised.
        rounds: number of picks.
        max_members: distinct members at most.
        replacement: a member may be picked again (which weighs it more).

    Returns:
        The picks; ties within 1e-12 go to the first member.

    References:
        Caruana, Niculescu-Mizil, Crew and Ksikes 2004, doi:10.1145/1015330.1015432
    """
    inside = scores.min() >= 0 and scores.max() < _LARGEST
    screen = AucScreen(scores, targets) if objective == "auc" and inside else None
    total = np.zeros(scores.shape[1])
    picks: list[int] = []
    values: list[float] = []
    everyone = np.arange(len(scores))
    for _ in range(rounds if replacement else min(rounds, len(scores))):
        candidates = everyone if replacement else np.setdiff1d(everyone, picks)
        if max_members is not None and len(set(picks)) >= max_members:
            candidates = np.unique(picks)
        if screen is not None:
            member, value = screen.best(candidates)
            screen.add(member)
        else:
            member, value = _best(scores, targets, total, candidates, len(picks) + 1, OBJECTIVES[objective])
            total += scores[member]
        picks.append(member)
        values.append(value)
    return GreedyPath(picks, values, len(scores))


def _best(
    scores: np.ndarray,
    targets: np.ndarray,
    total: np.ndarray,
    candidates: np.ndarray,
    count: int,
    objective: Callable[[np.ndarray, np.ndarray], float],
) -> tuple[int, float]:
    found = np.array([objective(targets, (total + scores[member]) / count) for member in candidates])
    best = int(np.argmax(found >= found.max() - TIE))
    return int(candidates[best]), float(found[best])


def bagged_greedy(
    scores: np.ndarray,
    targets: np.ndarray,
    *,
    objective: Objective,
    rounds: int,
    bags: int,
    max_members: int | None,
    seed: int,
) -> np.ndarray:
    """Weights averaged over greedy searches in random bags of members, which overfit less than one search.

    A bag holds half of the members, at least five; with up to five members all bags are the same and one is searched.

    Returns:
        (k,) weights that sum to 1.
    """
    count = len(scores)
    size = max(-(-count // 2), min(count, 5))
    rng = np.random.default_rng(seed)
    weights = np.zeros(count)
    for _ in range(bags if size < count else 1):
        bag = np.sort(rng.choice(count, size, replace=False)) if size < count else np.arange(count)
        path = greedy_path(scores[bag], targets, objective=objective, rounds=rounds, max_members=max_members)
        weights[bag] += path.weights
    weights /= weights.sum()
    if max_members is None or np.count_nonzero(weights) <= max_members:
        return weights
    # Together the bags hold more members than asked for: the heaviest go on, weighed anew.
    kept = np.sort(np.argsort(-weights, kind="stable")[:max_members])
    path = greedy_path(scores[kept], targets, objective=objective, rounds=rounds)
    weights = np.zeros(count)
    weights[kept] = path.weights
    return weights


def simplex_weights(
    scores: np.ndarray, targets: np.ndarray, *, objective: Objective, max_members: int | None
) -> np.ndarray:
    """Continuous weights, ≥ 0 and of sum 1, by a pattern search: shift weight from one member to another while it pays.

    Starts from the better of the best member and the plain mean, so it never ends below either on these records. AUC
    has steps, no gradient; shifts shrink from 0.5 to 0.01 (Kolda, Lewis and Torczon 2003,
    doi:10.1137/S003614450242889).

    Returns:
        (k,) weights that sum to 1.
    """
    measure = OBJECTIVES[objective]
    count = len(scores)
    alone = np.array([measure(targets, row) for row in scores])
    weights = np.eye(count)[int(np.argmax(alone))]
    value = float(alone.max())
    even = np.full(count, 1.0 / count)
    if max_members is None or max_members >= count:
        together = measure(targets, even @ scores)
        if together > value + TIE:
            weights, value = even, together
    for step in _STEPS:
        while True:
            moved = _shift(scores, targets, weights, value, step, max_members, measure)
            if moved is None:
                break
            weights, value = moved
    return np.asarray(weights / weights.sum())


def _shift(
    scores: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    value: float,
    step: float,
    max_members: int | None,
    measure: Callable[[np.ndarray, np.ndarray], float],
) -> tuple[np.ndarray, float] | None:
    """The best shift of up to `step` from one member to another, or None where none pays."""
    current = weights @ scores
    best: tuple[np.ndarray, float] | None = None
    for giver in np.flatnonzero(weights > 0):
        amount = min(step, weights[giver])
        for taker in range(len(scores)):
            if taker == giver:
                continue
            moved = weights.copy()
            moved[giver] = 0.0 if amount == weights[giver] else weights[giver] - amount
            moved[taker] += amount
            if max_members is not None and np.count_nonzero(moved) > max_members:
                continue
            found = measure(targets, current + amount * (scores[taker] - scores[giver]))
            if found > (value if best is None else best[1]) + TIE:
                best = (moved, found)
    return best


def check_search(rounds: int, bags: int, max_members: int | None, objective: str) -> None:
    """Refuse settings that cannot work.

    Raises:
        PredictionsError: with the value received.
    """
    if objective not in OBJECTIVES:
        raise PredictionsError(f"objective is one of {', '.join(OBJECTIVES)}. Received: objective={objective!r}")
    for name, value in (("rounds", rounds), ("bags", bags), ("max_members", max_members)):
        if value is None and name == "max_members":
            continue
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise PredictionsError(f"{name} is a whole number of at least 1. Received: {name}={value!r}")
