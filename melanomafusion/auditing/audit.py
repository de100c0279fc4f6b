"""`audit`: everything that can be known to be wrong with a data set before a model is trained on it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ..data.dataset import Dataset
from ..data.duplicates import PAIR, checked_pairs
from ..errors import MelanomaFusionError
from .columns import column_findings, column_table, column_values, feature_columns
from .duplicates import duplicate_findings, duplicate_table
from .finding import LEVELS, Finding, counted, first_few, records_of
from .groups import default_groups, group_findings
from .hashes import HASH_BITS, ImageHashes, hash_images
from .missing import missing_findings, missing_table
from .near import MAX_DISTANCE, exact_pairs, near_pairs
from .sources import source_findings

_MARKS = {"leak": "LEAK", "warning": "warning", "note": "note"}


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        findings: leaks first, then warnings, then notes.
        duplicates: a row per pair: image_name_1, image_name_2, how ("official", "exact", "near"), distance, leak, …
        about: what was looked at: records, sources, how the data are divided, images, features.
        paths: image name → path, of the images in `duplicates`.
    """

    findings: tuple[Finding, ...]
    duplicates: pd.DataFrame = field(compare=False)
    about: dict[str, Any]
    paths: dict[str, str] = field(repr=False, default_factory=dict)

    @property
    def leaks(self) -> tuple[Finding, ...]:
        """The findings that stand: scores of a model trained so are too high."""
        return tuple(finding for finding in self.findings if finding.level == "leak")

    @property
    def clean(self) -> bool:
        """Whether no leak stands."""
        return not self.leaks

    def __str__(self) -> str:
        lines = [f"Audit of {self.about['name']}: {self.summary}", f"  {self.looked_at}"]
        for finding in self.findings:
            lines.append(f"\n{_MARKS[finding.level]:8} {finding.title}")
            texts = [finding.detail, finding.action] if finding.level != "note" else [finding.detail]
            for text in filter(None, texts):
                lines += textwrap.wrap(text, 110, initial_indent=" " * 9, subsequent_indent=" " * 9)
            if finding.level != "note":
                lines += [f"         >>> {line}" for line in finding.call.splitlines()]
        return "\n".join(lines)

    @property
    def summary(self) -> str:
        """The verdict in one line."""
        count = {level: sum(finding.level == level for finding in self.findings) for level in LEVELS}
        stands = (
            "no leak stands"
            if self.clean
            else f"{counted(count['leak'], 'leak')} {'stands' if count['leak'] == 1 else 'stand'}"
        )
        return f"{stands}, {counted(count['warning'], 'warning')}, {counted(count['note'], 'note')}"

    @property
    def looked_at(self) -> str:
        """What was looked at, in one line."""
        about = self.about
        images = f"{about['images']:,} images read" if about["images"] else "no images read"
        return f"{about['records']:,} records, {images}; {about['division']}"

    def to_dict(self) -> dict[str, Any]:
        """JSON values; missing cells are null."""
        return {
            "format": 1,
            "clean": self.clean,
            "about": self.about,
            "findings": [finding.to_dict() for finding in self.findings],
            "duplicates": records_of(self.duplicates),
        }

    def write(self, folder: str | Path) -> None:
        """Write audit.json, audit.html (one file, with the pictures of the worst pairs) and duplicates.csv.

        Raises:
            OutputError: the folder or a file cannot be written.
        """
        from .report import write_report

        write_report(self, folder)


def audit(
    dataset: Dataset,
    *,
    images: bool = True,
    duplicates: pd.DataFrame | str | Path | None = None,
    features: Sequence[str] = ("sex", "age", "site"),
    max_distance: int = MAX_DISTANCE,
    seed: int = 0,
    on_event: Callable[[dict[str, Any]], None] | None = None,
) -> Audit:
    """Look for leaks, duplicates, columns that tell the label, telling gaps, and sources that differ.

    A leak "stands" where a model trained on these data, divided as they are, would be scored too high: a patient,
    lesion or duplicate on both sides, or a leaky column among the features. Where no folds are assigned, duplicates
    are judged by the groups that `assign_folds` would make.

    Args:
        dataset: records, with folds or a published split or neither; records without target are allowed.
        images: read the images (bytes and pixels at reduced scale), for duplicates and for width, height, file size.
        duplicates: your copy of the published list, as a path or a table; `read_duplicates`.
        features: what you train on: names of `list_features()`, or columns of the table.
        max_distance: how many of 256 hash bits may differ between near duplicates; see `auditing.near` for what is
            found at the default.
        seed: of the folds that columns are measured in.
        on_event: called with {"what", "done", "total"}.

    Raises:
        MetadataError: unknown features.
        MelanomaFusionError: no records, a max_distance out of range, or one at which nearly everything is alike.
        TableError: `duplicates` is not such a list.
    """
    _check(dataset, features, max_distance)
    frame = dataset.frame
    pairs = {} if duplicates is None else {"official": checked_pairs(duplicates)}
    listed = len(pairs["official"]) if pairs else 0
    hashes = _hashes(frame, on_event) if images else None
    if hashes is not None:
        for how, (i, j) in (("exact", exact_pairs(hashes)), ("near", near_pairs(hashes, max_distance, on_event))):
            pairs[how] = pd.DataFrame({PAIR[0]: hashes.names[i], PAIR[1]: hashes.names[j]})
    table = duplicate_table(dataset, pairs, hashes)
    values = column_values(dataset, hashes)
    alone, problem = column_table(dataset, values, features, seed=seed)
    findings = [
        *group_findings(dataset),
        *duplicate_findings(table),
        *column_findings(alone, features, problem),
        *missing_findings(missing_table(values, frame["target"])),
        *source_findings(dataset, seed=seed),
        *_image_findings(hashes, images),
        *_list_findings(listed, int((table["how"] == "official").sum())),
    ]
    shown = pd.unique(table[PAIR].to_numpy().ravel())
    paths = frame.set_index("image_name")["path"].reindex(shown).dropna()
    return Audit(
        findings=tuple(sorted(findings, key=lambda finding: LEVELS.index(finding.level))),
        duplicates=table,
        about={
            "name": dataset.name,
            "records": len(frame),
            "positives": int((frame["target"] == 1).sum()),
            "without_target": int(frame["target"].isna().sum()),
            "patients": int(frame["patient_id"].nunique()),
            "lesions": int(frame["lesion_id"].nunique()),
            "images": 0 if hashes is None else len(hashes),
            "listed_pairs": listed,
            "division": _division(dataset),
            "features": list(features),
            "max_distance": max_distance,
            "seed": seed,
        },
        paths={str(name): str(path) for name, path in paths.items()},
    )


def _check(dataset: Dataset, features: Sequence[str], max_distance: int) -> None:
    if not isinstance(dataset, Dataset):
        raise MelanomaFusionError(
            f"audit takes a Dataset, as the load_ functions give. Received: {type(dataset).__name__}"
        )
    if not len(dataset):
        raise MelanomaFusionError("The data set has no records; there is nothing to audit.")
    if isinstance(max_distance, bool) or not isinstance(max_distance, int) or not 0 <= max_distance <= HASH_BITS // 2:
        raise MelanomaFusionError(
            f"max_distance must be a whole number from 0 to {HASH_BITS // 2}. Received: max_distance={max_distance!r}"
        )
    named = isinstance(features, (list, tuple)) and all(isinstance(name, str) for name in features)
    if not named:
        raise MelanomaFusionError(f'features must be names such as ("sex", "age"). Received: features={features!r}')
    computed = ("images_per_patient", "images_per_lesion", "width", "height", "file_bytes")
    feature_columns(features, [*dataset.frame.columns, *computed])  # before hours of reading images


def _hashes(frame: pd.DataFrame, on_event: Callable[[dict[str, Any]], None] | None) -> ImageHashes | None:
    there = frame[frame["path"].notna()]
    if there.empty:
        return None
    return hash_images(there["image_name"].tolist(), there["path"].astype("str").tolist(), on_event)


def _division(dataset: Dataset) -> str:
    frame = dataset.frame
    if "fold" in frame and frame["fold"].notna().any():
        by = first_few(frame["grouped_by"].dropna().unique()) if "grouped_by" in frame else "unknown"
        return f"{frame['fold'].nunique()} folds, grouped by {by}"
    splits = sorted(map(str, frame["split"].dropna().unique())) if "split" in frame else []
    if len(splits) > 1:
        return f"no folds; split {', '.join(splits)}"
    return f"no folds; assign_folds would group by {default_groups(dataset)[1]}"


def _image_findings(hashes: ImageHashes | None, images: bool) -> list[Finding]:
    if hashes is None:
        return [
            Finding(
                kind="no_images",
                level="note",
                title="No images were looked at",
                detail="images=False." if not images else "The records have no image paths: load them with images.",
                count=0,
            )
        ]
    if hashes.problems.empty:
        return []
    names = hashes.problems["image_name"]
    return [
        Finding(
            kind="unreadable_images",
            level="warning",
            title=f"{counted(len(names), 'image')} that cannot be used: {first_few(names)}",
            detail="; ".join(f"{row.image_name}: {row.problem}" for row in hashes.problems.head(3).itertuples()),
            count=len(names),
            action="Fetch or convert the files again, or leave these records out.",
            call='bad = next(f for f in audit.findings if f.kind == "unreadable_images").table["image_name"]\n'
            'data = data.select(~data.frame["image_name"].isin(bad).to_numpy())',
            table=hashes.problems,
        )
    ]


def _list_findings(listed: int, found: int) -> list[Finding]:
    if listed == found:
        return []
    return [
        Finding(
            kind="listed_pairs_elsewhere",
            level="note",
            title=f"{listed - found:,} of {counted(listed, 'listed pair')} name records that are not in this data set, "
            "or stand in the list twice",
            detail="A published list may be longer than the copy at hand.",
            count=listed - found,
        )
    ]
