"""Several sources in one data set: how much they differ, and whether metadata alone tells them apart."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..data.dataset import Dataset
from ..data.folds import deal_groups
from ..data.metadata import MetadataEncoder
from ..data.metadata_features import FEATURES
from ..evaluation.metrics import roc_auc
from .finding import Finding
from .groups import default_groups
from .single_column import N_FOLDS, grouped_folds, out_of_fold_auc

TOLD_APART_AUC = 0.70
SHORTCUT_AUC = 0.60
_FEATURES = ("sex", "age", "site")


def source_table(dataset: Dataset, *, seed: int = 0) -> pd.DataFrame:
    """Records, prevalence, and how well sex, age and site tell each source from the others.

    Args:
        dataset: records of several sources.
        seed: of the folds.

    Returns:
        A row per source: source, records, labelled, positives, prevalence (NaN without labels), auc (of metadata,
        this source against the others, logistic, out of fold; NaN where it cannot be measured).
    """
    frame = dataset.frame
    sources = frame["source"].fillna("")
    rows = []
    for source in sorted(sources.unique()):
        targets = frame.loc[sources == source, "target"]
        labelled, positives = int(targets.notna().sum()), int((targets == 1).sum())
        rows.append(
            {
                "source": source,
                "records": len(targets),
                "labelled": labelled,
                "positives": positives,
                "prevalence": positives / labelled if labelled else np.nan,
                "auc": _told_apart(dataset, (sources == source).astype("int64"), seed),
            }
        )
    return pd.DataFrame(rows)


def _told_apart(dataset: Dataset, is_source: pd.Series, seed: int) -> float:
    """Out-of-fold AUC of a logistic regression on the encoded metadata, in folds that keep groups together."""
    from sklearn.linear_model import LogisticRegression

    frame = dataset.frame
    features = [name for name in _FEATURES if frame[FEATURES[name].columns[0]].notna().any()]
    keys = default_groups(dataset)[0]
    groups = pd.DataFrame({"key": keys, "target": is_source}).groupby("key")["target"].agg(["size", "sum"])
    n_folds = min(N_FOLDS, int((groups["sum"] > 0).sum()), int((groups["sum"] < groups["size"]).sum()))
    if n_folds < 2 or not features:
        return float("nan")
    folds = keys.map(deal_groups(groups, n_folds, seed)).to_numpy()
    scores = np.zeros(len(frame))
    truth = is_source.to_numpy()
    for fold in range(n_folds):
        train, held_out = frame[folds != fold], frame[folds == fold]
        usable = [name for name in features if train[FEATURES[name].columns[0]].notna().any()]
        encoder = MetadataEncoder(usable or ["sex"]).fit(train)
        labels = truth[folds != fold]
        if labels.min() == labels.max():
            return float("nan")
        model = LogisticRegression(max_iter=1000).fit(encoder.transform(train), labels)
        scores[folds == fold] = model.decision_function(encoder.transform(held_out))
    return roc_auc(truth, scores)


def source_findings(dataset: Dataset, *, seed: int = 0) -> list[Finding]:
    """Whether the source is a shortcut: prevalences that differ, and metadata that give the source away."""
    if dataset.frame["source"].nunique() < 2:
        return []
    table = source_table(dataset, seed=seed)
    folds, _ = grouped_folds(dataset, seed)
    alone = np.nan if folds is None else out_of_fold_auc(dataset.frame["source"], dataset.frame["target"], folds)
    shares = ", ".join(
        f"{source} {prevalence:.1%}" if np.isfinite(prevalence) else f"{source} without targets"
        for source, prevalence in zip(table["source"], table["prevalence"].astype("float64"), strict=True)
    )
    shortcut = bool(alone >= SHORTCUT_AUC)
    findings = [
        Finding(
            kind="source_predicts_target" if shortcut else "prevalence_by_source",
            level="warning" if shortcut else "note",
            title=f"Share of positives by source: {shares}"
            + (f"; the source alone reaches an AUC of {alone:.2f}" if np.isfinite(alone) else ""),
            detail="A model that only learns which source an image is from ranks that well over all of them. Figures "
            "over several sources together are then too high.",
            count=len(table),
            action="Report each source by itself." if shortcut else "",
            call="print(mf.evaluate(oof, data=data).subgroups)  # the rows of column source" if shortcut else "",
            table=table,
        )
    ]
    told = table[table["auc"] >= TOLD_APART_AUC]
    if len(told):
        best = told["auc"].max()
        findings.append(
            Finding(
                kind="sources_told_apart",
                level="warning" if shortcut else "note",
                title=f"Sex, age and site tell the sources apart (AUC up to {best:.2f} of 1)",
                detail="Metadata can stand in for the source, and a fused model then learns the prevalence of each "
                "source. Often one source lacks a column, or uses fewer words for it.",
                count=len(told),
                action="Compare with a model without metadata, source by source.",
                call='oof = mf.cross_validate(mf.get_recipe("image-b4"), data, out="runs/image").oof',
                table=told,
            )
        )
    return findings
