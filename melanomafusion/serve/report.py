"""What a result means, in sections that page, plain text and PDF share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from ..deploy.prediction import Prediction
from ..deploy.predictor import Predictor
from ..notice import NOT_A_MEDICAL_DEVICE
from .answer import Answer

LABELS = {"sex": "Sex", "age_approx": "Age", "anatom_site_general_challenge": "Site"}
Rows = list[tuple[str, str]]


@dataclass(frozen=True)
class Section:
    """A heading and rows of (name, value)."""

    title: str
    rows: Rows


def sections(answer: Answer, predictor: Predictor) -> list[Section]:
    """All that a report says, the result first.

    Args:
        answer: to report.
        predictor: that gave it.
    """
    prediction = answer.prediction
    found = [
        Section("Result", result_rows(prediction, predictor)),
        Section("Every class", [(name, f"{value:.3f}") for name, value in ranked(prediction.classes)]),
        Section("Models", member_rows(prediction)),
        Section("What was given", given_rows(prediction, predictor)),
        Section("Warnings", [("", warning) for warning in prediction.warnings]),
        Section("System", system_rows(predictor)),
    ]
    return [section for section in found if section.rows]


def result_rows(prediction: Prediction, predictor: Predictor) -> Rows:
    """Score, probability, and what the operating threshold makes of them."""
    alike = " + ".join(predictor.recipe.positive_classes) if predictor.recipe.classes else "the positive class"
    rows = [("Score", f"{prediction.score:.3f}, from 0 to 1; the higher, the more like {alike}")]
    if prediction.probability is not None:
        rows.append(("Probability", f"{share(prediction.probability)}, by {prediction.calibrated_on}"))
    else:
        rows.append(("Probability", "not known: these models were not calibrated"))
    if prediction.threshold is None:
        rows.append(("Operating threshold", "none was chosen"))
        return rows
    side = "at or above" if prediction.above_threshold else "below"
    rows.append(("Operating threshold", f"the score is {side} {prediction.threshold:.3f}"))
    known = predictor.metrics.get("threshold") or {}
    if known.get("sensitivity") and known.get("specificity"):
        found, spared = of_hundred(known["sensitivity"]), of_hundred(known["specificity"])
        meaning = f"{found} of 100 positive images lay at or above it, and {spared} of 100 negative ones below."
        rows.append(("What it means", f"Out of fold, {meaning}"))
    return rows


def member_rows(prediction: Prediction) -> Rows:
    """How far the models agree; nothing of a single one."""
    if len(prediction.members) < 2:
        return []
    values = list(prediction.members.values())
    rows = [("Spread", f"{min(values):.3f} to {max(values):.3f}, {len(values)} models")]
    return rows + [(name, f"{value:.3f}") for name, value in prediction.members.items()]


def given_rows(prediction: Prediction, predictor: Predictor) -> Rows:
    """The inputs, without the file's name."""
    image = [("Image", "yes")] if predictor.specs else []
    return image + [(LABELS[name], _field(name, value)) for name, value in prediction.fields.items()]


def system_rows(predictor: Predictor) -> Rows:
    """What answered, and how well it did where that was measured."""
    recipe, metrics, count = predictor.recipe, predictor.metrics, len(predictor.members)
    models = "1 model" if count == 1 else f"{count} models"
    rows = [("Model", f"{predictor.name}: {recipe.name}, {models}, {predictor.engine}")]
    auc, about = metrics.get("auc"), metrics.get("about", {})
    if auc:
        low, high = auc["bootstrap"]["interval"]
        figure = f"AUC {auc['estimate']:.3f} (95 % {low:.3f} to {high:.3f}) out of fold"
        records = f"{about['records']:,} records of {about['clusters']:,} {about['cluster']}s"
        rows.append(("Measured", f"{figure} on {records}, {share(about['prevalence'])} positive"))
    else:
        rows.append(("Measured", "no figures are kept with these models; the command melanomafusion bundle keeps them"))
    rows += [("Note", note) for note in metrics.get("notes", [])]
    rows.append(("Software", f"melanomafusion {version('melanomafusion')}"))
    return rows


def as_text(answer: Answer, predictor: Predictor) -> str:
    """The report as plain text."""
    lines = ["melanomafusion: report on one image", f"{answer.made:%d %B %Y, %H:%M} UTC", "", NOT_A_MEDICAL_DEVICE]
    for section in sections(answer, predictor):
        lines += ["", section.title, "-" * len(section.title)]
        lines += [f"{name}: {value}" if name else f"- {value}" for name, value in section.rows]
    return "\n".join(lines) + "\n"


def ranked(classes: Mapping[str, float]) -> list[tuple[str, float]]:
    """Classes, the likeliest first."""
    return sorted(classes.items(), key=lambda item: -item[1])


def share(value: float) -> str:
    """0.1234 → "12.3 %"."""
    return f"{100 * value:.1f} %"


def of_hundred(values: list[Any]) -> str:
    """Estimate and interval of a share, as people of a hundred."""
    estimate, low, high = (round(100 * float(value)) for value in values)
    return f"{estimate} ({low} to {high})"


def _field(name: str, value: Any) -> str:
    if value is None:
        return "not given"
    return f"{value:g} years" if name == "age_approx" else str(value)
