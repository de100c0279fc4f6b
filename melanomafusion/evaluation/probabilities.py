"""How far scores can be taken for probabilities."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

from .checks import check_binary, check_probabilities

EPSILON = 1e-15  # scores of exactly 0 and 1 have no logarithm


def brier_score(targets: np.ndarray, scores: np.ndarray) -> float:
    """Mean squared distance of score and target; 0 is best."""
    targets, scores = check_probabilities(targets, scores)
    return float(np.mean((scores - targets) ** 2))


def log_loss(targets: np.ndarray, scores: np.ndarray) -> float:
    """Mean negative log-likelihood; scores are kept from 0 and 1 by 1e-15."""
    targets, scores = check_probabilities(targets, scores)
    kept = np.clip(scores, EPSILON, 1 - EPSILON)
    return float(-np.mean(np.where(targets == 1, np.log(kept), np.log1p(-kept))))


def calibration_points(
    targets: np.ndarray, scores: np.ndarray, bins: int = 10
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bins of equal mass: edges at quantiles of the scores, so that equal scores share a bin.

    Args:
        targets: (n,) of 0 and 1.
        scores: (n,) within [0, 1].
        bins: how many at most; ties can make fewer.

    Returns:
        (k,) mean score, (k,) share of positives, (k,) records, of each bin that is not empty.
    """
    targets, scores = check_probabilities(targets, scores)
    edges = np.quantile(scores, np.linspace(0, 1, bins + 1))
    index = np.searchsorted(edges[1:-1], scores)
    count = np.bincount(index, minlength=bins)
    full = count > 0
    mean = np.bincount(index, weights=scores, minlength=bins)[full] / count[full]
    share = np.bincount(index, weights=targets, minlength=bins)[full] / count[full]
    return mean, share, count[full]


def expected_calibration_error(targets: np.ndarray, scores: np.ndarray, bins: int = 10) -> float:
    """Mean distance of score and share of positives over bins of equal mass, weighted by records.

    Bins of equal width would put nearly all records of a rare disease into one bin (Nixon et al. 2019,
    arXiv 1904.01685).
    """
    mean, share, count = calibration_points(targets, scores, bins)
    return float(np.average(np.abs(mean - share), weights=count))


def calibration_slope(targets: np.ndarray, scores: np.ndarray) -> float:
    """Slope of a logistic regression of the target on the score's logit; 1 is right, below 1 too extreme.

    NaN where the scores separate the classes, so that no slope is best (Cox 1958; Van Calster et al. 2019,
    doi:10.1186/s12916-019-1466-7).
    """
    targets, scores = check_probabilities(targets, scores)
    _, slope = fit_logistic(_logit(scores), targets)
    return slope


def calibration_intercept(targets: np.ndarray, scores: np.ndarray) -> float:
    """Calibration in the large: what must be added to the logits so that the mean score is the share of positives.

    0 is right, below 0 the scores are too high. NaN where all targets are one class.
    """
    targets, scores = check_probabilities(targets, scores)
    share = float(np.mean(targets))
    if share in (0.0, 1.0):
        return float("nan")
    return shift_to_prevalence(_logit(scores), share)


def shift_to_prevalence(logits: np.ndarray, prevalence: float) -> float:
    """The number that, added to logits, makes their mean probability the prevalence."""
    reach = float(np.abs(logits).max() + abs(logit(prevalence)) + 1.0)
    from scipy.optimize import brentq  # half a second to import, which serving need not wait for

    return float(brentq(lambda shift: float(np.mean(expit(logits + shift))) - prevalence, -reach, reach, xtol=1e-13))


def fit_logistic(x: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Intercept and slope of an unpenalised logistic regression on one variable, by Newton's method.

    Returns:
        (intercept, slope), NaN where the classes are separated or x does not vary.
    """
    targets, x = check_binary(targets, x, both_classes=False)
    nothing = (float("nan"), float("nan"))
    inside = (targets.max() > targets.min()) and x.max() > x.min()
    if not inside or x[targets == 1].min() >= x[targets == 0].max() or x[targets == 1].max() <= x[targets == 0].min():
        return nothing
    centre, spread = float(x.mean()), float(x.std())
    design = np.column_stack([np.ones_like(x), (x - centre) / spread])
    share = float(targets.mean())
    beta = np.array([np.log(share / (1 - share)), 0.0])
    loss = _loss(design @ beta, targets)
    for _ in range(200):
        p = expit(design @ beta)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + 1e-12 * np.eye(2)
        step = np.linalg.solve(hessian, design.T @ (targets - p))
        size = 1.0
        while size > 1e-10 and _loss(design @ (beta + size * step), targets) > loss + 1e-15 * abs(loss):
            size /= 2
        beta = beta + size * step
        loss = _loss(design @ beta, targets)
        if np.abs(step).max() < 1e-12:
            break
    return float(beta[0] - beta[1] * centre / spread), float(beta[1] / spread)


def _loss(logits: np.ndarray, targets: np.ndarray) -> float:
    return float(np.sum(np.logaddexp(0.0, logits) - targets * logits))


def _logit(scores: np.ndarray) -> np.ndarray:
    return np.asarray(logit(np.clip(scores, EPSILON, 1 - EPSILON)))
