"""Scores of several classes against the true class."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..errors import PredictionsError
from .metrics import roc_auc


def multiclass_metrics(
    diagnoses: np.ndarray, scores: np.ndarray, classes: tuple[str, ...]
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Per class and over classes; the class with the highest score is the answer (the first of equals).

    Args:
        diagnoses: (n,) true class of each record.
        scores: (n, k) finite numbers, a column per class.
        classes: (k,) names of the columns.

    Returns:
        A table with a row per class (precision, recall, f1, auc one against the rest, support) and rows "macro mean"
        (each class alike) and "weighted mean" (by support), as scikit-learn's classification report has them; and
        {"accuracy", "balanced_accuracy"}. AUC is NaN for a class that no or every record has, and such classes are left
        out of its means.

    Raises:
        PredictionsError: a true class has no column, or shapes do not fit.
    """
    diagnoses, scores = np.asarray(diagnoses, dtype=object), np.asarray(scores, dtype="float64")
    if scores.shape != (len(diagnoses), len(classes)) or not len(diagnoses):
        raise PredictionsError(f"Scores of {len(diagnoses)} records and {len(classes)} classes. Got {scores.shape}")
    unknown = sorted({str(d) for d in diagnoses} - set(classes))
    if unknown:
        raise PredictionsError(f"No scores for the classes {', '.join(unknown)}; there are {', '.join(classes)}.")
    truth = pd.Index(classes).get_indexer(pd.Index(diagnoses.astype(str)))
    answer = scores.argmax(axis=1)
    rows = []
    for k, label in enumerate(classes):
        is_class, said = truth == k, answer == k
        hits, support = int((is_class & said).sum()), int(is_class.sum())
        both = 0 < support < len(truth)
        rows.append(
            {
                "class": label,
                "precision": hits / said.sum() if said.any() else 0.0,
                "recall": hits / support if support else 0.0,
                "f1": 2 * hits / (said.sum() + support) if said.any() or support else 0.0,
                "auc": roc_auc(is_class.astype(int), scores[:, k]) if both else np.nan,
                "support": support,
            }
        )
    table = pd.DataFrame(rows).set_index("class")
    means = table[["precision", "recall", "f1", "auc"]]
    rated = means["auc"].notna() & (table["support"] > 0)
    weights = table["support"] / table["support"].sum()
    macro, weighted = means.mean(), means.mul(weights, axis=0).sum()
    weighted["auc"] = np.average(means["auc"][rated], weights=weights[rated]) if rated.any() else np.nan
    table.loc["macro mean"] = [*macro, len(truth)]
    table.loc["weighted mean"] = [*weighted, len(truth)]
    present = table["support"].iloc[: len(classes)] > 0
    return table.astype({"support": "int64"}), {
        "accuracy": float(np.mean(truth == answer)),
        "balanced_accuracy": float(table["recall"].iloc[: len(classes)][present].mean()),
    }
