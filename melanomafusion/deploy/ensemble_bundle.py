"""`EnsembleBundle`: the models of a run or of an ensemble as one portable folder, with calibration and threshold.

ensemble_bundle.json   name, members and their folds, versions
ensemble.json          how members are combined, where there are several
calibration.json       from score to probability, fitted on the pooled out-of-fold scores
metrics.json           what the out-of-fold scores are worth, and the operating threshold
README.md              model card
member-0/fold-0/ …     bundles
SHA256SUMS             of these files, and of the bundles' own SHA256SUMS
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..atomic import atomic_folder, write_json
from ..errors import BundleError, MelanomaFusionError, PredictionsError
from ..evaluation.calibration import CalibrationMethod, Calibrator
from ..notice import NOT_A_MEDICAL_DEVICE
from .bundle import Bundle, find_bundles
from .sums import SUMS, check_sums, read_json, read_text, write_sums

# Fitting, evaluation and ensembles are imported where they are used: a server that reads one run needs none of them.
if TYPE_CHECKING:
    from ..ensemble.ensemble import Ensemble
    from ..predictions import Predictions

FORMAT = 1
CONTENT = "ensemble_bundle.json"
CARD = "README.md"
CALIBRATION_WORDS = {
    "platt": "Platt scaling",
    "temperature": "temperature scaling",
    "isotonic": "isotonic regression",
    "prior": "correction of the prior",
}
_ENSEMBLE, _CALIBRATION, _METRICS = "ensemble.json", "calibration.json", "metrics.json"


@dataclass(frozen=True)
class EnsembleBundle:
    """Trained models on disk that make one score together.

    Attributes:
        path: folder.
        name: of the run or ensemble it was made of.
        members: member → its bundles, by fold.
        ensemble: combines the members' scores; None of a single member.
        calibrator: from the score to a probability; None where it was not calibrated.
        metrics: `Evaluation.to_dict()` of the out-of-fold scores, and "threshold", the operating threshold.
    """

    path: Path
    name: str
    members: dict[str, list[Path]]
    ensemble: Ensemble | None
    calibrator: Calibrator | None
    metrics: dict[str, Any]

    @property
    def bundles(self) -> dict[str, Path]:
        """Name → folder of every model: "fold-0", or "b4/fold-0" where there are several members."""
        several = len(self.members) > 1
        return {
            f"{name}/{folder.name}" if several else folder.name: folder
            for name, folders in self.members.items()
            for folder in folders
        }

    @property
    def is_plain_mean(self) -> bool:
        """Whether the score is the mean of all models, each counted alike."""
        from ..ensemble.averages import MeanEnsemble

        alike = len({len(folders) for folders in self.members.values()}) == 1
        return self.ensemble is None or (type(self.ensemble) is MeanEnsemble and alike)

    @property
    def threshold(self) -> float | None:
        """Operating threshold of the score; None where nothing is called positive."""
        value = (self.metrics.get("threshold") or {}).get("threshold")
        return None if value is None else float(value)

    @property
    def calibrated_on(self) -> str | None:
        """What the probabilities were fitted on, in words; None where there are none."""
        if self.calibrator is None:
            return None
        about = self.metrics.get("about") or {}
        return (
            f"{CALIBRATION_WORDS[self.calibrator.method]} on the out-of-fold scores of {about.get('records', 0):,} "
            f"records, {100 * about.get('prevalence', 0.0):.1f} % of them positive"
        )

    @classmethod
    def read(cls, path: str | Path) -> EnsembleBundle:
        """Open an ensemble bundle; every file of its own is checked, those of the models when they are read.

        Raises:
            BundleError: files missing, altered or added, or a format this version does not know.
        """
        path = Path(path)
        files = check_sums(path, {CONTENT, _METRICS}, folders=True)
        content = read_json(path / CONTENT)
        if content.get("format") != FORMAT or isinstance(content.get("format"), bool):
            raise BundleError(
                f"{path}: ensemble bundle of format {content.get('format')!r}; this version reads {FORMAT}."
            )
        members = _members(path, content, files)
        try:
            ensemble = _read_ensemble(path / _ENSEMBLE) if len(members) > 1 else None
            calibrator = Calibrator.from_json(read_text(path / _CALIBRATION)) if _CALIBRATION in files else None
        except MelanomaFusionError as error:
            raise BundleError(f"{path}: {error}") from None
        if ensemble is not None and set(ensemble.members) != set(members):
            raise BundleError(f"{path}: {_ENSEMBLE} combines {ensemble.members}, the members are {list(members)}.")
        return cls(path, str(content["name"]), members, ensemble, calibrator, read_json(path / _METRICS))


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
        write_json(part / _METRICS, metrics)
        if ensemble is not None:
            (part / _ENSEMBLE).write_text(ensemble.to_json(), encoding="utf-8")
        if calibrator is not None:
            (part / _CALIBRATION).write_text(calibrator.to_json(), encoding="utf-8")
        for number, found in enumerate(folders.values()):
            for folder in found:
                Bundle.read(folder)  # nothing altered is passed on
                shutil.copytree(folder, part / _place(number, _fold_of(folder)))
        members = {
            member: [part / _place(number, _fold_of(folder)) for folder in found]
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
    state = path / _ENSEMBLE
    if not state.is_file() or (path / CONTENT).is_file():
        return {path.resolve().name: path}, None
    ensemble = _read_ensemble(state)
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


def _read_ensemble(path: Path) -> Ensemble:
    from ..ensemble.catalogue import read_ensemble

    return read_ensemble(path)


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


def _members(path: Path, content: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, list[Path]]:
    """Folders of the members, each listed in SHA256SUMS by its own."""
    named = content.get("members")
    fine = isinstance(named, dict) and named and all(isinstance(folds, list) and folds for folds in named.values())
    if not fine or not isinstance(content.get("name"), str):
        raise BundleError(f"{path / CONTENT}: expected a name, and members with their folds.")
    assert isinstance(named, dict)
    found = {}
    for number, (name, folds) in enumerate(named.items()):
        places = [_place(number, str(fold)) for fold in folds]
        absent = [place for place in places if f"{place}/{SUMS}" not in files]
        if absent:
            raise BundleError(f"{path}: {', '.join(absent)} is not listed in {SUMS}.")
        found[str(name)] = [path / place for place in places]
    return found


def _place(number: int, fold: str) -> str:
    """Members' names may hold anything, so their folders are numbered."""
    return f"member-{number}/{fold}"


def _fold_of(bundle: Path) -> str:
    return bundle.parent.name if bundle.parent.name.startswith("fold-") else bundle.name
