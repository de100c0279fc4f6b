"""Manifests: what a published data set must contain, as TOML in `data_manifests/`, and the comparison with a copy."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ..errors import MelanomaFusionError
from .dataset import Dataset


@dataclass(frozen=True)
class Check:
    """One figure of a manifest beside the one found."""

    what: str
    expected: int
    found: int

    @property
    def holds(self) -> bool:
        """Whether they agree."""
        return self.expected == self.found


def list_manifests() -> list[str]:
    """Names of the data sets that have a manifest."""
    folder = files("melanomafusion.data_manifests")
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def read_manifest(name: str) -> dict[str, Any]:
    """The manifest of a data set: licence, source, citation, counts for each split, and how it is downloaded.

    Raises:
        MelanomaFusionError: there is none.
    """
    if name not in list_manifests():
        raise MelanomaFusionError(f"Data sets with a manifest: {', '.join(list_manifests())}. Received: {name!r}")
    return tomllib.loads((files("melanomafusion.data_manifests") / f"{name}.toml").read_text(encoding="utf-8"))


def verify(dataset: Dataset, name: str, *, split: str = "train") -> list[Check]:
    """Compare a copy of a published data set with its manifest.

    Args:
        dataset: what was loaded.
        name: from `list_manifests()`.
        split: a split of the manifest.

    Returns:
        Every figure of the manifest with the one found; all hold for a whole copy. Nothing where the manifest has no
        counts (the ISIC Archive grows).

    Raises:
        MelanomaFusionError: no such manifest or split.
    """
    splits = read_manifest(name).get("splits", {})
    if not splits:
        return []
    if split not in splits:
        raise MelanomaFusionError(f"The manifest of {name} has splits {', '.join(splits)}. Received: split={split!r}")
    expected, frame = splits[split], dataset.frame
    checks = [Check("records", expected["records"], len(frame))]
    for column in ("patient_id", "lesion_id"):
        if column in expected.get("distinct", {}):
            checks.append(Check(f"distinct {column}", expected["distinct"][column], int(frame[column].nunique())))
    if "positives" in expected:
        checks.append(Check("positives (target 1)", expected["positives"], int((frame["target"] == 1).sum())))
    for column, count in expected.get("missing", {}).items():
        found = int(frame[column].isna().sum()) if column in frame else len(frame)
        checks.append(Check(f"missing {column}", count, found))
    for column, counts in expected.get("values", {}).items():
        values = frame[column].value_counts().to_dict() if column in frame else {}
        for value, count in counts.items():
            checks.append(Check(f"{column} = {value}", count, int(values.get(value, 0))))
        others = sum(count for value, count in values.items() if value not in counts)
        checks.append(Check(f"{column} = anything else", 0, others))
    return checks
