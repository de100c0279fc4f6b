"""Missing values whose absence predicts the target."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import chi2_contingency, fisher_exact

from ..evaluation.metrics import roc_auc
from .finding import Finding, counted

ALPHA = 0.01


def missing_table(values: pd.DataFrame, targets: pd.Series) -> pd.DataFrame:
    """Share of positives where a value is missing and where it is there.

    The p value is Fisher's exact one where an expected count is below 5, else of the chi-square test with Yates'
    correction, times the number of columns (Bonferroni). It takes records to be independent; images of one patient are
    not, so it is somewhat too small.

    Args:
        values: (n rows) columns to judge.
        targets: (n,) 0 and 1, missing allowed: those rows are left out.

    Returns:
        A row per column with missing values: column, missing, share_positive_missing, share_positive_present, auc (of
        "is missing", within [0, 1]), p, predicts (p below `ALPHA`).
    """
    labelled = targets.notna()
    positive = targets[labelled].astype("int64").to_numpy() == 1
    rows = []
    for name in values:
        gone = values[name].isna().to_numpy()[labelled.to_numpy()]
        if not gone.any() or gone.all() or positive.all() or not positive.any():
            continue
        counts = np.array([[(gone & positive).sum(), (gone & ~positive).sum()], [0, 0]])
        counts[1] = [(~gone & positive).sum(), (~gone & ~positive).sum()]
        rows.append(
            {
                "column": str(name),
                "missing": int(gone.sum()),
                "share_positive_missing": float(positive[gone].mean()),
                "share_positive_present": float(positive[~gone].mean()),
                "auc": roc_auc(positive.astype("int64"), gone.astype("float64")),
                "p": _p_value(counts),
            }
        )
    table = pd.DataFrame(
        rows, columns=["column", "missing", "share_positive_missing", "share_positive_present", "auc", "p"]
    )
    table["p"] = np.minimum(table["p"].astype("float64") * len(table), 1.0)
    table["predicts"] = table["p"] < ALPHA
    return table.sort_values("p", kind="stable", ignore_index=True)


def _p_value(counts: np.ndarray) -> float:
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    test = fisher_exact if expected.min() < 5 else chi2_contingency
    return float(test(counts).pvalue)


def missing_findings(table: pd.DataFrame) -> list[Finding]:
    """Columns whose gaps tell the target; a note where gaps are harmless."""
    telling, harmless = table[table["predicts"]], table[~table["predicts"]]
    findings = []
    if len(telling):
        shares = ", ".join(
            f"{row.column} ({row.share_positive_missing:.1%} positive where missing, {row.share_positive_present:.1%} "
            "where not)"
            for row in telling.head(4).itertuples()
        )
        findings.append(
            Finding(
                kind="missing_predicts_target",
                level="warning",
                title=f"{counted(len(telling), 'column')} whose gaps tell the target: {shares}",
                detail="Whether somebody wrote the value down is no property of the lesion. MetadataEncoder gives "
                "missing values a level of their own, and a model will learn from it.",
                count=len(telling),
                action="Train with more metadata dropout, so that the model meets the gap on both targets, or leave "
                "such a column out.",
                call='recipe = mf.get_recipe("fusion-b4").replace(metadata_dropout=0.3)',
                table=telling,
            )
        )
    if len(harmless):
        findings.append(
            Finding(
                kind="missing_values",
                level="note",
                title=f"{counted(len(harmless), 'column')} with missing values that do not tell the target",
                detail=f"Bonferroni-corrected p of {ALPHA} or more.",
                count=len(harmless),
                table=harmless,
            )
        )
    return findings
