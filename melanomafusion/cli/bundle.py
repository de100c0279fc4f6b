"""`melanomafusion bundle` and `melanomafusion card`: a trained run or ensemble as one folder, and what it is."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..notice import NOT_A_MEDICAL_DEVICE
from .app import app, console


class CalibrationOption(StrEnum):
    """How scores become probabilities."""

    platt = "platt"
    temperature = "temperature"
    isotonic = "isotonic"
    none = "none"


@app.command(epilog=NOT_A_MEDICAL_DEVICE)
def bundle(
    source: Annotated[Path, typer.Argument(help="Finished run, or folder of `ensemble`.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    calibration: Annotated[
        CalibrationOption, typer.Option(help="From score to probability, fitted on the out-of-fold scores.")
    ] = CalibrationOption.platt,
    threshold: Annotated[
        str, typer.Option(help="Rule of the operating threshold: youden, max_f1, sensitivity=0.9, specificity=0.9, …")
    ] = "youden",
) -> None:
    """Gather models, weights, calibration, threshold and model card in one folder that can be carried anywhere."""
    rule, at = _rule(threshold)
    from ..deploy.bundling import write_ensemble_bundle

    method = None if calibration is CalibrationOption.none else calibration.value
    written = write_ensemble_bundle(source, out, calibration=method, rule=rule, at=at)  # type: ignore[arg-type]
    value = "none" if written.threshold is None else f"score ≥ {written.threshold:.4g}"
    console.print(
        f"Wrote {out}: {len(written.bundles)} models. Probabilities: {written.calibrated_on or 'none'}. Operating "
        f"threshold: {value} ({written.metrics['threshold']['rule']}). README.md there is the model card.",
        markup=False,
    )
    for note in written.metrics["notes"]:
        console.print(f"Note: {note}", markup=False)


@app.command(epilog=NOT_A_MEDICAL_DEVICE)
def card(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Ensemble bundle, or bundle of one fold.")],
    out: Annotated[Path | None, typer.Option(help="Markdown file to write; printed without it.")] = None,
) -> None:
    """Print a model card: data, figures with intervals, subgroups, calibration, threshold, and what was not done."""
    from ..atomic import write_text
    from ..deploy.bundle import Bundle
    from ..deploy.card import fold_card, model_card
    from ..deploy.ensemble_bundle import CONTENT, EnsembleBundle

    together = (path / CONTENT).is_file()
    text = model_card(EnsembleBundle.read(path)) if together else fold_card(Bundle.read(path))
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(out, text)
        console.print(f"Wrote {out}.", markup=False)


def _rule(text: str) -> tuple[str, float | None]:
    """ "sensitivity=0.9" → ("sensitivity", 0.9)."""
    rule, equals, number = text.partition("=")
    try:
        return rule, float(number) if equals else None
    except ValueError:
        raise typer.BadParameter(f"--threshold takes a rule and a number, as sensitivity=0.9: {text!r}") from None
