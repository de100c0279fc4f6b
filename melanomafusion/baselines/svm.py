"""An SVM on handcrafted colour and texture features: what skin-lesion papers compare their networks with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
from scipy.special import softmax

from ..data.dataset import Dataset
from ..errors import SHOWN_PROBLEMS, ImageError, RunError
from ..images.prepared import image_spec
from ..images.spec import ImageSpec
from ..predictions import Predictions
from .handcrafted import handcrafted_features
from .out_of_fold import OnEvent, check_baseline, check_class_weight, cross_fit


def svm_baseline(
    dataset: Dataset,
    classes: Sequence[str] = (),
    *,
    positive_classes: Sequence[str] = ("melanoma",),
    image_size: int = 128,
    penalty: float = 5.0,
    gamma: float | Literal["scale"] = "scale",
    class_weight: Literal["balanced"] | None = None,
    folds: Sequence[int] | None = None,
    workers: int | None = None,
    on_event: OnEvent | None = None,
) -> Predictions:
    """Out-of-fold scores of an RBF support vector machine on `handcrafted_features`.

    Features are standardised; their means and deviations, and the machine, come from training rows only. Scores are the
    softmax of the decision values (one against the rest, made of the votes of all pairs of classes; ±value / 2 in the
    binary task, so 0.5 is the boundary). They rank and answer as the machine does, but are no probabilities: a
    `Calibrator` makes such of them. Penalty and gamma were chosen for accuracy on an inner split of HAM10000's
    training lesions.

    Args:
        dataset: records with images and folds.
        classes: diagnoses, at least three; empty for the binary task of `target`.
        positive_classes: diagnoses whose summed score is the score of a record, with `classes`.
        image_size: side in pixels that images are brought to before features are computed.
        penalty: C, above 0.
        gamma: of the kernel exp(−γ ‖x − y‖²), above 0; "scale" is 1 / number of features.
        class_weight: "balanced" multiplies the penalty of each class by n / (k · n_class).
        folds: to hold out; all without it.
        workers: threads for the features; all cores without it.
        on_event: called with {"what", "done", "total"}.

    Returns:
        Out-of-fold predictions; with `classes` also a column `score_<class>` for each.

    Raises:
        FoldError, RunError: what does not fit, before any image is read.
        ImageError: records without image, or unreadable images, all of them together.

    References:
        Jagtap 2026, doi 10.38124/ijisrt/26apr1616: an SVM on colour and texture features reached 65 % accuracy on
        HAM10000 (seven classes, 80:20).
    """
    wanted = check_baseline(dataset, classes, positive_classes, folds)
    check_class_weight(class_weight)
    _check_number("penalty", penalty)
    if not isinstance(gamma, str) or gamma != "scale":
        _check_number("gamma", gamma)
    if workers is not None and (type(workers) is not int or workers < 1):
        raise RunError(f"workers must be a whole number of at least 1. Received: workers={workers!r}")
    features = dataset_features(dataset, image_size, workers=workers, on_event=on_event)
    row_of = {name: row for row, name in enumerate(dataset.image_names)}

    def rows(records: Dataset) -> np.ndarray:
        return features[[row_of[name] for name in records.image_names]]

    def fit_predict(train: Dataset, labels: np.ndarray, held_out: Dataset) -> np.ndarray:
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        machine = SVC(C=penalty, gamma=gamma, class_weight=class_weight, cache_size=500)
        model = make_pipeline(StandardScaler(), machine).fit(rows(train), labels)
        values = model.decision_function(rows(held_out))
        return np.asarray(softmax(values if values.ndim == 2 else np.stack([-values, values], axis=1) / 2, axis=1))

    return cross_fit(dataset, classes, positive_classes, wanted, fit_predict, name="SVM baseline", on_event=on_event)


def dataset_features(
    dataset: Dataset, image_size: int, *, workers: int | None = None, on_event: OnEvent | None = None
) -> np.ndarray:
    """Handcrafted features of every image of a data set, in its order.

    Args:
        dataset: records with images.
        image_size: side in pixels that images are brought to.
        workers: threads; all cores without it.
        on_event: called with {"what", "done", "total"}.

    Returns:
        (n, D) float32.

    Raises:
        ImageError: records without image, or unreadable images, all of them together.
    """
    names, paths = dataset.image_names, dataset.frame["path"]
    spec = image_spec(dataset, image_size)
    if paths.isna().any():
        raise ImageError(
            f"{int(paths.isna().sum()):,} of {len(paths):,} records have no image, e.g. {names[paths.isna()][0]}. "
            'Load the data set with its images (missing_images="drop" keeps only records that have one).'
        )
    rows: list[np.ndarray] = []
    bad: list[str] = []
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for done, result in enumerate(pool.map(lambda path: _features_of(path, spec), paths), start=1):
            if isinstance(result, str):
                bad.append(f"  {names[done - 1]}: {result}")
            else:
                rows.append(result)
            if on_event and (done % 20 == 0 or done == len(paths)):
                on_event({"what": "features", "done": done, "total": len(paths)})
    if bad:
        more = [f"  … and {len(bad) - SHOWN_PROBLEMS:,} more"] if len(bad) > SHOWN_PROBLEMS else []
        head = f"{len(bad):,} of {len(paths):,} images cannot be used:"
        raise ImageError("\n".join([head, *bad[:SHOWN_PROBLEMS], *more, "Mend them, or take their records out."]))
    return np.stack(rows)


def _check_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e12:
        raise RunError(f"{name} must be a number above 0. Received: {name}={value!r}")


def _features_of(path: str, spec: ImageSpec) -> np.ndarray | str:
    """Features of one image; the reason where it cannot be read."""
    try:
        return handcrafted_features(spec.load(path))
    except ImageError as error:
        return str(error)
