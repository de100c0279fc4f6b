"""The report of an evaluation: one HTML file that needs nothing else, the figures as PNG, and metrics.json."""

from __future__ import annotations

import base64
import math
import re
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import jinja2
import matplotlib.style
from matplotlib.axes import Axes

from .. import __version__
from ..atomic import atomic_file, make_folder, write_json, write_text
from ..notice import NOT_A_MEDICAL_DEVICE
from ..predictions import Predictions
from .intervals import METHODS
from .plots import plot_calibration, plot_decision_curve, plot_precision_recall, plot_roc
from .result import Evaluation, words
from .table_plots import COLUMN_WORDS, TOO_FEW, plot_confusion_matrix, plot_subgroups

FIGURES = ("roc", "precision_recall", "calibration", "decision_curve", "confusion_matrix", "subgroups")
# What an interval takes for granted; {} is patient, lesion or record.
_ASSUMPTIONS = {
    "bootstrap": "Percentiles of AUCs over resamples of {0}s. {0}s are independent of each other.",
    "clustered": "Normal, with a variance for clusters. {0}s are independent of each other and many.",
    "delong": "Normal, with a variance for single records. Records are independent.",
}
_KINDS = {
    "oof": "Out of fold: cross-validation, each record scored by a model that was not trained on its fold.",
    "held_out": "Held out: one model, all records kept from its training.",
}


def write_report(evaluation: Evaluation, folder: str | Path, *, written: date | None = None) -> None:
    """Write metrics.json, report.html and the figures as PNG; figures of an earlier report that are not made go.

    The same evaluation and date give the same bytes. All is drawn before the first file is written, and each file is
    written whole or not at all.

    Args:
        evaluation: of `evaluate`.
        folder: made if it is not there.
        written: the date on the report; today without it.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    folder = make_folder(folder)
    with _drawing():
        figures = {name: _drawn(axes) for name, axes in _figures(evaluation).items()}
    page = report_html(evaluation, {name: svg for name, (svg, _) in figures.items()}, written or date.today())
    write_json(folder / "metrics.json", evaluation.to_dict())
    for name in FIGURES:
        if name in figures:
            with atomic_file(folder / f"{name}.png") as part:
                part.write_bytes(figures[name][1])
        elif (folder / f"{name}.png").is_file():
            (folder / f"{name}.png").unlink()
    write_text(folder / "report.html", page)


def report_html(evaluation: Evaluation, figures: dict[str, bytes], written: date) -> str:
    """The page.

    Args:
        evaluation: of `evaluate`.
        figures: name (of `FIGURES`) → SVG; they go into the page.
        written: the date on the page.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "decimals": _decimals,
        "percent": _percent,
        "significant": _significant,
        "p_value": _p_value,
        "words": words,
    }
    template = environment.from_string(files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
    about, prevalence = evaluation.about, evaluation.about["prevalence"]
    return template.render(
        evaluation=evaluation,
        about=about,
        name=short_name(evaluation.predictions),
        other=short_name(evaluation.against[0]) if evaluation.against else None,
        notice=NOT_A_MEDICAL_DEVICE,
        version=__version__,
        written=written.isoformat(),
        images={name: "data:image/svg+xml;base64," + base64.b64encode(svg).decode() for name, svg in figures.items()},
        kind=_KINDS[about["kind"]],
        grouping=_grouping(evaluation),
        score=_score(evaluation.predictions),
        methods=[(evaluation.auc[method], _capital(_ASSUMPTIONS[method], about["cluster"])) for method in METHODS],
        ranking=[(words(key), value, *_chance_and_best(key, prevalence)) for key, value in evaluation.ranking.items()],
        # What a score earns that gives every record the prevalence.
        naive={
            "brier_score": prevalence * (1 - prevalence),
            "log_loss": -prevalence * math.log(prevalence) - (1 - prevalence) * math.log(1 - prevalence),
        },
        column_words=COLUMN_WORDS,
        too_few=TOO_FEW,
    )


def short_name(predictions: Predictions) -> str:
    """The name, without the folders where it is a file's."""
    return re.sub(r"^.*[/\\](?=[^/\\]*\.(csv|parquet)\b)", "", predictions.name, flags=re.DOTALL)


def _figures(evaluation: Evaluation) -> dict[str, Axes]:
    predictions, split = evaluation.predictions, evaluation.about["image_level_split"]
    members = {_wrapped(short_name(predictions)): predictions}
    if evaluation.against:
        other = _wrapped(short_name(evaluation.against[0]))
        members[other + " (other)" if other in members else other] = evaluation.against[0]
    axes = {"roc": plot_roc(members), "precision_recall": plot_precision_recall(members)}
    scored = [predictions, *([evaluation.calibrated] if evaluation.calibrated else [])]
    in_range = dict(zip(map(str, evaluation.calibration.index), scored, strict=False))
    if in_range:
        axes["calibration"] = plot_calibration(in_range)
        # Scores that were not calibrated, where they could have been, are not read as probabilities.
        last = list(in_range)[-1]
        axes["decision_curve"] = plot_decision_curve({last: in_range[last]})
    if evaluation.thresholds:
        first = evaluation.thresholds[0]
        axes["confusion_matrix"] = plot_confusion_matrix(first.matrix, title=first.rule, image_level_split=split)
    if len(evaluation.subgroups):
        estimate = evaluation.auc["bootstrap"].estimate
        axes["subgroups"] = plot_subgroups(evaluation.subgroups, estimate, image_level_split=split)
    return axes


@contextmanager
def _drawing() -> Iterator[None]:
    """Matplotlib as it comes, whatever the user's own settings; SVG without dates and random names."""
    with matplotlib.style.context(["default", {"svg.hashsalt": "melanomafusion"}]), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the page has it in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _drawn(axes: Axes) -> tuple[bytes, bytes]:
    """SVG and PNG."""
    figure, svg, png = axes.get_figure(root=True), BytesIO(), BytesIO()
    assert figure is not None
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    figure.set_layout_engine("none")  # it stays as laid out: half the time
    figure.savefig(png, format="png", dpi=150)
    return svg.getvalue(), png.getvalue()


def _wrapped(name: str) -> str:
    return "\n".join(textwrap.wrap(name, 32, max_lines=3, placeholder=" …")) or name


def _capital(text: str, word: str) -> str:
    return ". ".join(part[:1].upper() + part[1:] for part in text.format(word).split(". "))


def _grouping(evaluation: Evaluation) -> str:
    about = evaluation.about
    if about["image_level_split"]:
        return "Records (image-level): images of one patient lie in several folds, so scores may be too high."
    said = f"{about['grouped_by']} (as the file says)" if about["grouped_by"] else "Not recorded in the file"
    if about["kind"] == "oof" and about["cluster"] == "patient":
        return f"{said}. Checked here: no patient lies in two folds."
    return f"{said}. Not checked here."


def _score(predictions: Predictions) -> str:
    scores = predictions.scores
    text = f"Higher means more likely positive; from {scores.min():.4g} to {scores.max():.4g}.".replace("-", "−")
    return text + " Taken as it is: a rank or a class-weighted sigmoid is not a probability."


def _chance_and_best(key: str, prevalence: float) -> tuple[float | None, float | None]:
    if key == "average_precision":
        return prevalence, 1.0
    if key == "partial_auc":
        return 0.02, 0.2
    if "_at_" in key:
        return 1 - float(key.rsplit("_", 1)[1]), 1.0
    return None, None


def _decimals(value: Any, places: int = 4) -> str:
    """A number with a true minus; a dash for NaN and None, ∞ for infinity."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{round(value, places) + 0:,.{places}f}".replace("-", "−")  # + 0: there is no −0


def _significant(value: float) -> str:
    return f"{value:#.4g}".rstrip(".").replace("-", "−") if math.isfinite(value) else _decimals(value)


def _percent(value: float, places: int = 1) -> str:
    return f"{100 * value:.{places}f}\N{NO-BREAK SPACE}%"


def _p_value(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.2g}"
