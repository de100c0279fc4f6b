"""Tables of scores, ensembles and evaluations, as people see them on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from .ensemble.diagnostics import Diagnosis
from .evaluation.intervals import auc_interval
from .evaluation.metrics import average_precision
from .evaluation.result import Evaluation, words
from .predictions import Predictions


def print_scores(console: Console, members: dict[str, Predictions]) -> None:
    """A row per member: AUC with its patient-bootstrap interval, average precision.

    Args:
        console: where to.
        members: name → oof or held_out predictions.
    """
    intervals = {name: auc_interval(member) for name, member in members.items()}
    first = next(iter(intervals.values()))
    table = Table("", "records", "positives", "AUC", f"95 % interval over {first.cluster}s", "average precision")
    for name, interval in intervals.items():
        member = members[name]
        table.add_row(
            name,
            f"{len(member):,}",
            f"{int(member.targets.sum()):,}",
            f"{interval.estimate:.4f}",
            f"{interval.low:.4f} to {interval.high:.4f}",
            f"{average_precision(member.targets, member.scores):.4f}",
        )
    console.print(table)
    if any(member.image_level_split for member in members.values()):
        console.print("Image-level split: images of one patient may lie on both sides, so scores may be too high.")


def print_evaluation(console: Console, evaluation: Evaluation) -> None:
    """Figures, operating thresholds, subgroups, classes and the paired comparison, as tables."""
    about = evaluation.about
    console.print(
        f"{evaluation.predictions.name}: {about['kind']}, {about['records']:,} records of {about['clusters']:,} "
        f"{about['cluster']}s, {about['positives']:,} positive ({about['prevalence']:.2%})",
        markup=False,
    )
    figures = Table("", "")
    for method, interval in evaluation.auc.items():
        how = {"bootstrap": f"bootstrap over {interval.cluster}s", "clustered": "Obuchowski, clustered"}
        figures.add_row(f"AUC ({how.get(method, 'DeLong, records independent')})", str(interval))
    for key, value in evaluation.ranking.items():
        figures.add_row(words(key), f"{value:.4f}")
    for name, calibration in evaluation.calibration.iterrows():
        for column, value in calibration.items():
            figures.add_row(f"{name}: {words(str(column))}", f"{value:.4f}")
    console.print(figures)
    if evaluation.thresholds:
        table = Table(
            "operating threshold", "score ≥", "sensitivity (Wilson)", "specificity (Wilson)", "precision", "F1"
        )
        for threshold in evaluation.thresholds:
            metrics = threshold.metrics
            shares = [f"{a:.3f} ({b:.3f} to {c:.3f})" for a, b, c in (threshold.sensitivity, threshold.specificity)]
            figures_of = (f"{metrics['precision']:.3f}", f"{metrics['f1']:.3f}")
            table.add_row(threshold.rule, f"{threshold.value:.4g}", *shares, *figures_of)
        console.print(table)
    if len(evaluation.subgroups):
        table = Table("subgroup", "", "records", "positives", "AUC", "95 % interval")
        for group in evaluation.subgroups.itertuples():
            auc = (f"{group.auc:.3f}", f"{group.low:.3f} to {group.high:.3f}") if group.enough else ("–", "too few")
            table.add_row(str(group.column), str(group.value), f"{group.records:,}", f"{group.positives:,}", *auc)
        console.print(table)
    if evaluation.multiclass:
        classes, overall = evaluation.multiclass
        console.print(classes.round(4).to_string(), markup=False)
        console.print(", ".join(f"{words(key)} {value:.4f}" for key, value in overall.items()))
    if evaluation.against:
        console.print(f"against {evaluation.against[0].name}: {evaluation.against[1]}", markup=False)
    for note in evaluation.notes:
        console.print(f"Note: {note}", markup=False)


def print_diagnosis(console: Console, diagnosis: Diagnosis) -> None:
    """A row per member and one for the ensemble, the curve, and the verdict."""
    columns = list(diagnosis.members.columns)
    weight, part = "weight" in columns, "contribution" in columns
    table = Table("", "AUC", f"95 % interval over {diagnosis.against_best.bootstrap.cluster}s")
    if weight:
        table.add_column("weight")
    if part:
        table.add_column("without it the ensemble loses")
    for name, row in diagnosis.members.iterrows():
        cells = [str(name), f"{row['auc']:.4f}", f"{row['low']:.4f} to {row['high']:.4f}"]
        cells += [f"{row['weight']:.3f}"] if weight else []
        low, high = row.get("contribution_low", 0.0), row.get("contribution_high", 0.0)
        cells += [f"{row['contribution']:+.4f} ({low:+.4f} to {high:+.4f})"] if part else []
        table.add_row(*cells)
    interval = diagnosis.auc
    label = "ensemble" if diagnosis.fitted_auc == interval.estimate else "ensemble, nested"
    table.add_row(label, f"{interval.estimate:.4f}", f"{interval.low:.4f} to {interval.high:.4f}", end_section=True)
    if abs(diagnosis.fitted_auc - interval.estimate) > 5e-5:
        table.add_row("  fitted on itself", f"{diagnosis.fitted_auc:.4f}", "too high: not to be reported")
    console.print(table)
    if len(diagnosis.curve) > 1:
        steps = ", ".join(
            f"{row['members']}: {row['auc']:.4f} (+ {row['added']})" for row in diagnosis.curve.to_dict("records")
        )
        console.print(f"AUC by number of members: {steps}", markup=False)
    console.print(diagnosis.verdict, markup=False)
    if diagnosis.oof.image_level_split:
        console.print("Image-level split: images of one patient lie on both sides, so scores may be too high.")
