"""What people see on a terminal: the progress of a run, and tables of scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from .ensemble.diagnostics import Diagnosis
from .evaluation.intervals import auc_interval
from .evaluation.metrics import average_precision
from .evaluation.summary import Evaluation, words
from .predictions import Predictions

OnEvent = Callable[[dict[str, Any]], None]


@contextmanager
def shown(on_event: OnEvent | None, label: str) -> Iterator[OnEvent]:
    """Where the events of a call go: to `on_event`, or without it to the terminal while the call lasts."""
    if on_event is not None:
        yield on_event
        return
    with RunProgress(Console(), label) as progress:
        yield progress


class RunProgress:
    """Shows the events of `cross_validate` and `predict_run`; use as a context, pass as `on_event`.

    Args:
        console: where to.
        label: in front of every line, e.g. the recipe's name.
        progress: bars shared with others; its own without it.
    """

    def __init__(self, console: Console, label: str, progress: Progress | None = None) -> None:
        self.console, self.label = console, label
        self.progress = progress or _bars(console)
        self.bars: dict[str, TaskID] = {}
        self.last: dict[int, dict[str, Any]] = {}  # epoch of each fold under way
        self.noted = False

    def __enter__(self) -> RunProgress:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            for fold in list(self.last):
                self._finish_fold(fold)
        self.progress.stop()

    def __call__(self, event: dict[str, Any]) -> None:
        """Show one event."""
        kind = event["kind"]
        if kind == "decode":
            self._bar("decode", f"{self.label}: images", event["done"], event["total"])
        elif kind == "features":
            self._bar("features", f"{self.label}: features of images", event["done"], event["total"])
        elif kind == "bundle":
            self._bar("bundle", f"{self.label}: models", event["done"], event["total"])
        elif kind == "fold":
            self._bar(f"epochs {event['fold']}", f"{self.label}: fold {event['fold']}, epochs", 0, event["epochs"])
            if not self.console.is_terminal:
                self.console.print(f"{self.label}: fold {event['fold']} …", highlight=False)
        elif kind == "batch":
            self._bar(
                f"batches {event['fold']}",
                f"{self.label}: fold {event['fold']}, batches",
                event["done"],
                event["total"],
            )
        elif kind == "epoch":
            self.last[event["fold"]] = event
            note = f"loss {_figure(event['loss'])}"
            if "val_auc" in event:
                note += f", validation AUC {_figure(event['val_auc'])}"
            self._bar(
                f"epochs {event['fold']}",
                f"{self.label}: fold {event['fold']}, epochs",
                event["epoch"],
                event["epochs"],
                note,
            )
        elif kind == "fold_done":
            self._finish_fold(event["fold"], event)
        elif kind == "resumed":
            where = f" after batch {event['batch']}" if event["batch"] else ""
            self.console.print(
                f"{self.label}: fold {event['fold']} goes on in epoch {event['epoch']}{where}", highlight=False
            )
        elif kind == "warning":
            self.console.print(f"{self.label}: {event['text']}", highlight=False, markup=False)
        elif kind == "note" and not self.noted:  # the same for every fold but for the counts
            self.noted = True
            self.console.print(f"{self.label}: {event['text']}", highlight=False)

    def _bar(self, key: str, description: str, done: int, total: int, note: str = "") -> None:
        if key not in self.bars:
            self.bars[key] = self.progress.add_task(description, total=total, note=note)
        self.progress.update(self.bars[key], description=description, completed=done, total=total, note=note)

    def _finish_fold(self, fold: int, done: dict[str, Any] | None = None) -> None:
        for key in (f"epochs {fold}", f"batches {fold}"):
            if key in self.bars:
                self.progress.remove_task(self.bars.pop(key))
        last = self.last.pop(fold, None)
        if last is not None:
            watched = f", inner validation AUC {_figure(last['val_auc'])}" if "val_auc" in last else ""
            peaks = [
                f", {done[name] / 2**30:.1f} GiB of {where} at most"
                for name, where in (("peak_memory", "memory"), ("peak_gpu_memory", "GPU memory"))
                if done and name in done
            ]
            text = f"{self.label}: fold {fold} done, {last['epoch']} epochs{watched}{''.join(peaks)}"
            self.console.print(text, highlight=False)


class PlanProgress:
    """Shows the events of `train_plan`, all members in one view; use as a context, pass as `on_event`.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        self.console, self.progress = console, _bars(console)
        self.runs: dict[str, RunProgress] = {}

    def __enter__(self) -> PlanProgress:
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def __call__(self, event: dict[str, Any]) -> None:
        """Show one event."""
        if event["kind"] == "member":
            gain = "" if event["gain"] is None else f", ensemble {event['ensemble_auc']:.4f} ({event['gain']:+.4f})"
            self.console.print(f"{event['member']}: AUC {event['auc']:.4f}{gain}", highlight=False, markup=False)
            return
        name = event["run"]
        if name not in self.runs:
            self.runs[name] = RunProgress(self.console, name, self.progress)
        self.runs[name](event)


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


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
