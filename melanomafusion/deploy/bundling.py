"""`write_ensemble_bundle`: a finished run, or an ensemble of runs, becomes one portable folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..atomic import atomic_folder, write_json
from ..errors import BundleError, PredictionsError
from ..evaluation.calibration import CalibrationMethod, Calibrator
from ..notice import NOT_A_MEDICAL_DEVICE
from .bundle import Bundle, find_bundles
from .ensemble_bundle import (
    CALIBRATION,
    CARD,
    CONTENT,
    ENSEMBLE,
    FORMAT,
    METRICS,
    EnsembleBundle,
    place_of,
    read_member_ensemble,
)
from .sums import read_json, write_sums

if TYPE_CHECKING:
    from ..ensemble.ensemble import Ensemble
    from ..predictions import Predictions


def write_ensemble_bundle(
    source: str | Path,
    out: str | Path,
    *,
    calibration: CalibrationMethod | None = "platt",
    rule: str = "youden",
    at: float | None = None,
) -> EnsembleBundle:
    """Make one portable folder of a finished run, or of an ensemble of runs.

    Calibration and threshold are fitted on the pooled out-of-fold scores; what is said of them is cross-fitted. Those
    are scores of single folds, while a new image gets the mean of the folds, which spreads a little less.

    Args:
        source: run folder with `oof.csv`, or the folder that the `ensemble` command wrote, of runs.
        out: folder to write; an older one is replaced.
        calibration: of `Calibrator`; None for none. Where cross-fitted probabilities say less than the share of
            positives does, none is kept, and a note says so.
        rule, at: of `operating_threshold`.

    Raises:
        BundleError: not such a folder, or `out` would hide the source.
        PredictionsError: an unknown calibration or rule.
        OutputError: the folder cannot be written.
    """
    from ..data.dataset import Dataset
    from ..evaluation.summary import evaluate
    from ..evaluation.thresholds import operating_threshold
    from .card import model_card

    source, out = Path(source), Path(out)
    runs, ensemble = runs_of(source)
    _check_place(source, out, runs)
    oof = _oof(source)
    dataset = next(iter(runs.values())) / "dataset.parquet"
    evaluation = evaluate(oof, data=Dataset.read_parquet(dataset) if dataset.is_file() else None)
    threshold = operating_threshold(oof, rule, at)
    metrics = {**evaluation.to_dict(), "threshold": threshold.to_dict()}
    calibrator = None
    if calibration:
        doubt = _doubt(Calibrator(calibration), oof)
        metrics["notes"] = list(dict.fromkeys([*metrics["notes"], *doubt]))
        calibrator = None if doubt else Calibrator(calibration).fit(oof)
    metrics["calibrated_by"] = calibration if calibrator else None
    folders = {name: find_bundles(path) for name, path in runs.items()}
    name = source.resolve().name
    content = {
        "format": FORMAT,
        "notice": NOT_A_MEDICAL_DEVICE,
        "name": name,
        "members": {name: [_fold_of(folder) for folder in found] for name, found in folders.items()},
        "versions": {name: version(name) for name in ("melanomafusion", "numpy", "scikit-learn")},
    }
    with atomic_folder(out) as part:
        write_json(part / CONTENT, content)
        write_json(part / METRICS, metrics)
        if ensemble is not None:
            (part / ENSEMBLE).write_text(ensemble.to_json(), encoding="utf-8")
        if calibrator is not None:
            (part / CALIBRATION).write_text(calibrator.to_json(), encoding="utf-8")
        for number, found in enumerate(folders.values()):
            for folder in found:
                Bundle.read(folder)  # nothing altered is passed on
                shutil.copytree(folder, part / place_of(number, _fold_of(folder)))
        members = {
            member: [part / place_of(number, _fold_of(folder)) for folder in found]
            for number, (member, found) in enumerate(folders.items())
        }
        draft = EnsembleBundle(part, name, members, ensemble, calibrator, metrics)
        (part / CARD).write_text(model_card(draft), encoding="utf-8")
        write_sums(part)
    return EnsembleBundle.read(out)


def runs_of(path: Path) -> tuple[dict[str, Path], Ensemble | None]:
    """The runs behind a run folder, a bundle, or a folder of the `ensemble` command, and what combines them.

    An ensemble bundle stands for itself, as it has all in it.

    Raises:
        BundleError: a member of the ensemble came from a file without a run.
        PredictionsError: the ensemble cannot be read.
    """
    state = path / ENSEMBLE
    if not state.is_file() or (path / CONTENT).is_file():
        return {path.resolve().name: path}, None
    ensemble = read_member_ensemble(state)
    runs = read_json(state).get("runs", {})
    if not isinstance(runs, Mapping):
        raise BundleError(f"{state} was not written by the ensemble command: runs={runs!r}")
    without = [name for name in ensemble.members if name not in runs]
    if without:
        raise BundleError(
            f"{state}: members {', '.join(without)} came from files without a run, so no images can be scored. Give "
            "their test scores: submit --scores NAME=FILE."
        )
    return {name: Path(str(runs[name])) for name in ensemble.members}, ensemble


def _oof(source: Path) -> Predictions:
    from ..predictions import Predictions

    file = source / "oof.csv"
    if not file.is_file():
        raise BundleError(f"{source} has no oof.csv. Name a run whose folds are done, or a folder of `ensemble`.")
    oof = Predictions.read_csv(file)
    if oof.kind != "oof":
        raise BundleError(f"{file} holds {oof.kind} scores; calibration and threshold need out-of-fold ones.")
    # Where the run lay on the machine that trained stays there.
    return Predictions(oof.frame, "oof", name=source.resolve().name, lines=oof.lines)


def _doubt(calibrator: Calibrator, oof: Predictions) -> list[str]:
    """Where probabilities, cross-fitted, say less than the share of positives does."""
    from ..evaluation.probabilities import log_loss

    if oof.frame["fold"].nunique() < 2:
        return ["Not calibrated: with a single fold nothing would be known of the probabilities."]
    try:
        found = log_loss(oof.targets, calibrator.cross_val_predict(oof).scores)
        calibrator.fit(oof)
    except PredictionsError as error:
        return [f"Not calibrated: {error}"]
    constant = log_loss(oof.targets, np.full(len(oof), oof.targets.mean()))
    if found < constant:
        return []
    return [
        f"Not calibrated: cross-fitted, the probabilities' log loss would be {found:.3f}, and that of always saying "
        f"{100 * oof.targets.mean():.1f} % is {constant:.3f}. The folds' scores differ in scale, or say nothing."
    ]


def _check_place(source: Path, out: Path, runs: Mapping[str, Path]) -> None:
    taken = [path.resolve() for path in (source, *runs.values())]
    if any(out.resolve() == path or out.resolve() in path.parents for path in taken):
        raise BundleError(f"{out} holds the models themselves. Name a new folder.")
    if out.is_dir() and any(out.iterdir()) and not (out / CONTENT).is_file():
        raise BundleError(f"{out} is not empty and not an ensemble bundle. Name a new folder.")


def _fold_of(bundle: Path) -> str:
    return bundle.parent.name if bundle.parent.name.startswith("fold-") else bundle.name
