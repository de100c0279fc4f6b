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

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BundleError, MelanomaFusionError
from ..evaluation.calibration import Calibrator
from .sums import SUMS, check_sums, read_json, read_text

# Fitting, evaluation and ensembles are imported where they are used: a server that reads one run needs none of them.
if TYPE_CHECKING:
    from ..ensemble.ensemble import Ensemble

FORMAT = 1
CONTENT = "ensemble_bundle.json"
CARD = "README.md"
CALIBRATION_WORDS = {
    "platt": "Platt scaling",
    "temperature": "temperature scaling",
    "isotonic": "isotonic regression",
    "prior": "correction of the prior",
}
ENSEMBLE, CALIBRATION, METRICS = "ensemble.json", "calibration.json", "metrics.json"


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
        files = check_sums(path, {CONTENT, METRICS}, folders=True)
        content = read_json(path / CONTENT)
        if content.get("format") != FORMAT or isinstance(content.get("format"), bool):
            raise BundleError(
                f"{path}: ensemble bundle of format {content.get('format')!r}; this version reads {FORMAT}."
            )
        members = _members(path, content, files)
        try:
            ensemble = read_member_ensemble(path / ENSEMBLE) if len(members) > 1 else None
            calibrator = Calibrator.from_json(read_text(path / CALIBRATION)) if CALIBRATION in files else None
        except MelanomaFusionError as error:
            raise BundleError(f"{path}: {error}") from None
        if ensemble is not None and set(ensemble.members) != set(members):
            raise BundleError(f"{path}: {ENSEMBLE} combines {ensemble.members}, the members are {list(members)}.")
        return cls(path, str(content["name"]), members, ensemble, calibrator, read_json(path / METRICS))


def read_member_ensemble(path: Path) -> Ensemble:
    """What combines the members."""
    from ..ensemble.catalogue import read_ensemble

    return read_ensemble(path)


def _members(path: Path, content: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, list[Path]]:
    """Folders of the members, each listed in SHA256SUMS by its own."""
    named = content.get("members")
    fine = isinstance(named, dict) and named and all(isinstance(folds, list) and folds for folds in named.values())
    if not fine or not isinstance(content.get("name"), str):
        raise BundleError(f"{path / CONTENT}: expected a name, and members with their folds.")
    assert isinstance(named, dict)
    found = {}
    for number, (name, folds) in enumerate(named.items()):
        places = [place_of(number, str(fold)) for fold in folds]
        absent = [place for place in places if f"{place}/{SUMS}" not in files]
        if absent:
            raise BundleError(f"{path}: {', '.join(absent)} is not listed in {SUMS}.")
        found[str(name)] = [path / place for place in places]
    return found


def place_of(number: int, fold: str) -> str:
    """Members' names may hold anything, so their folders are numbered."""
    return f"member-{number}/{fold}"
