"""Metadata alone: a logistic regression on sex, age and site, what an image model has to add to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..data.dataset import Dataset
from ..data.metadata import MetadataEncoder
from ..predictions import Predictions
from .out_of_fold import OnEvent, check_baseline, check_class_weight, cross_fit


def metadata_baseline(
    dataset: Dataset,
    classes: Sequence[str] = (),
    *,
    positive_classes: Sequence[str] = ("melanoma",),
    features: Sequence[str] = ("sex", "age", "site"),
    class_weight: Literal["balanced"] | None = None,
    folds: Sequence[int] | None = None,
    on_event: OnEvent | None = None,
) -> Predictions:
    """Out-of-fold scores of a logistic regression on encoded metadata.

    Encoder and regression (L2, C = 1; softmax for several classes) are fitted on training rows only.

    Args:
        dataset: records with folds.
        classes: diagnoses, at least three; empty for the binary task of `target`.
        positive_classes: diagnoses whose summed score is the score of a record, with `classes`.
        features: names from `list_features()`.
        class_weight: "balanced" makes each class count alike; the scores are no probabilities then.
        folds: to hold out; all without it.
        on_event: called with {"what", "done", "total"}.

    Returns:
        Out-of-fold predictions; with `classes` also a column `score_<class>` for each.

    Raises:
        FoldError, MetadataError, RunError: what does not fit, before anything is fitted.
    """
    wanted = check_baseline(dataset, classes, positive_classes, folds)
    check_class_weight(class_weight)
    for fold in wanted:
        MetadataEncoder(list(features)).fit(dataset.held_out(fold)[0].frame)

    def fit_predict(train: Dataset, labels: np.ndarray, held_out: Dataset) -> np.ndarray:
        from sklearn.linear_model import LogisticRegression

        encoder = MetadataEncoder(list(features)).fit(train.frame)
        model = LogisticRegression(class_weight=class_weight, max_iter=1000)
        model.fit(encoder.transform(train.frame), labels)
        return np.asarray(model.predict_proba(encoder.transform(held_out.frame)), dtype="float64")

    return cross_fit(
        dataset, classes, positive_classes, wanted, fit_predict, name="metadata baseline", on_event=on_event
    )
