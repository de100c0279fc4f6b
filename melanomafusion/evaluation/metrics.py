"""How well a binary score ranks. Exact: no thresholds are binned, ties count as half."""

from __future__ import annotations

import numpy as np

from .checks import check_binary, check_share


def roc_auc(targets: np.ndarray, scores: np.ndarray) -> float:
    """Exact area under the ROC curve: the share of (positive, negative) pairs ranked rightly, ties half.

    Sorts once and looks only the rarer class up, which is fast where positives are rare.

    Args:
        targets: (n,) of 0 and 1.
        scores: (n,) finite numbers, higher means more likely positive.

    Raises:
        PredictionsError: lengths differ, scores are not finite, or one class is absent.
    """
    targets, scores = check_binary(targets, scores)
    positives = np.flatnonzero(targets == 1)
    rare = positives if 2 * len(positives) <= len(targets) else np.flatnonzero(targets == 0)
    few, count = scores[rare], len(targets) - len(rare)
    # Among themselves the few are below or level with each other len(few)² times, whatever their order.
    twice = _twice_below(few, np.sort(scores)) - len(few) ** 2
    share = twice / (2 * len(few) * count)
    return share if rare is positives else 1.0 - share


def pair_auc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """`roc_auc` of scores that are split already; nothing is checked."""
    if len(positives) <= len(negatives):
        return _twice_below(positives, np.sort(negatives)) / (2 * len(positives) * len(negatives))
    return 1.0 - _twice_below(negatives, np.sort(positives)) / (2 * len(positives) * len(negatives))


def _twice_below(few: np.ndarray, ordered: np.ndarray) -> int:
    """Over all of `few`: twice the count of `ordered` below each, and once of those level with it."""
    few = np.sort(few)  # sorted needles are found faster than shuffled ones
    return int(ordered.searchsorted(few, side="left").sum() + ordered.searchsorted(few, side="right").sum())


def partial_auc(targets: np.ndarray, scores: np.ndarray, min_sensitivity: float = 0.8) -> float:
    """Area between the ROC curve and the line of least sensitivity: what happens below it does not count.

    The score of the ISIC 2024 challenge at 0.8 (Kurtansky et al. 2024, doi:10.1038/s41597-024-03743-w).

    Args:
        targets: (n,) of 0 and 1.
        scores: (n,) finite numbers.
        min_sensitivity: within (0, 1).

    Returns:
        Within [0, 1 − min_sensitivity]; chance gives (1 − min_sensitivity)² / 2.
    """
    check_share(min_sensitivity, "min_sensitivity")
    false, hits, _ = roc_points(targets, scores)
    # Where the curve crosses the line, on the straight piece between two points.
    first = int(np.argmax(hits >= min_sensitivity))
    start = np.interp(min_sensitivity, hits[first - 1 : first + 1], false[first - 1 : first + 1])
    x = np.concatenate([[start], false[first:]])
    y = np.concatenate([[min_sensitivity], hits[first:]]) - min_sensitivity
    return float(np.trapezoid(y, x))


def average_precision(targets: np.ndarray, scores: np.ndarray) -> float:
    """Average precision: precision at each distinct threshold, weighted by the recall it adds."""
    targets, scores = check_binary(targets, scores)
    precision, recall, _ = precision_recall_points(targets, scores)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def sensitivity_at_specificity(targets: np.ndarray, scores: np.ndarray, specificity: float = 0.9) -> float:
    """The highest sensitivity of a threshold "score ≥ t" whose specificity is at least `specificity`."""
    check_share(specificity, "specificity")
    false, hits, _ = roc_points(targets, scores)
    return float(hits[1.0 - false >= specificity - 1e-12].max())


def specificity_at_sensitivity(targets: np.ndarray, scores: np.ndarray, sensitivity: float = 0.9) -> float:
    """The highest specificity of a threshold "score ≥ t" whose sensitivity is at least `sensitivity`."""
    check_share(sensitivity, "sensitivity")
    false, hits, _ = roc_points(targets, scores)
    return float(1.0 - false[hits >= sensitivity - 1e-12].min())


def roc_points(targets: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ROC curve, one point per distinct score.

    Returns:
        (k,) false positive rate and (k,) sensitivity, from (0, 0) to (1, 1), and (k,) the threshold "score ≥ t" of
        each point, falling, infinity first.
    """
    targets, scores = check_binary(targets, scores)
    called, hits, thresholds = _cumulated(targets, scores)
    positives = hits[-1]
    false = (called - hits) / (len(targets) - positives)
    return (
        np.concatenate([[0.0], false]),
        np.concatenate([[0.0], hits / positives]),
        np.concatenate([[np.inf], thresholds]),
    )


def precision_recall_points(targets: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The precision-recall curve, one point per distinct score.

    Returns:
        (k,) precision, (k,) recall (rising to 1), (k,) the threshold "score ≥ t", falling.
    """
    targets, scores = check_binary(targets, scores)
    called, hits, thresholds = _cumulated(targets, scores)
    return hits / called, hits / hits[-1], thresholds


def _cumulated(targets: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Records called positive, positives among them, and the score, at each distinct score from the highest down."""
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(targets[order])
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    return last + 1, hits[last], ranked[last]
