"""Set-up that cannot work fails here, before the first epoch."""

from __future__ import annotations

from ..data.dataset import Dataset
from ..data.folds import PUBLISHED_SPLIT, assign_folds, check_folds
from ..data.metadata import MetadataEncoder
from ..errors import FoldError, RunError
from ..recipes.recipe import Recipe
from .extra import Extra, extra_by_fold


def check_run(
    recipe: Recipe, dataset: Dataset, folds: list[int] | None = None, extra: Extra | None = None
) -> tuple[list[int], dict[int, Dataset]]:
    """Check a recipe against the data it is to be trained on.

    Returns:
        The folds to train, and the extra records of every fold.

    Raises:
        RunError, FoldError, MetadataError: what does not fit, and what to do.
    """
    frame = dataset.frame
    if "fold" not in frame:
        raise FoldError("The data set has no folds. Call assign_folds or read_folds first.")
    if not dataset.has_target:
        raise RunError("Training needs a target for every record. Is it a test split?")
    known = sorted(int(fold) for fold in frame["fold"].unique())
    wanted = known if folds is None else list(dict.fromkeys(folds))
    strange = [fold for fold in wanted if fold not in known]
    if strange or not wanted:
        raise RunError(f"Folds to train must be among {known}. Received: folds={folds!r}")
    further = extra_by_fold(dataset, extra, known)
    check_records(recipe, dataset, further, wanted)
    return wanted, further


def check_records(recipe: Recipe, dataset: Dataset, further: dict[int, Dataset], wanted: list[int]) -> None:
    """Check a recipe against records and the extra records of each fold.

    Raises:
        RunError, FoldError, MetadataError: what does not fit, and what to do.
    """
    check_folds(dataset)
    for records in {id(records): records for records in (dataset, *further.values())}.values():
        _check_records(recipe, records)
    sources = {str(name) for records in (dataset, *further.values()) for name in records.frame["source"].dropna()}
    for option in ("source_weights", "source_sampling"):
        unknown = [name for name in getattr(recipe, option) if name not in sources]
        if unknown:
            raise RunError(
                f"{option} of recipe {recipe.name!r} names {', '.join(map(repr, unknown))}, which is no source "
                f"of these records. Sources: {', '.join(sorted(sources))}."
            )
    for fold in wanted:
        inner_split(recipe, dataset.held_out(fold)[0])


def check_minutes(minutes: float | None) -> None:
    """Refuse an interval between checkpoints that is none.

    Raises:
        RunError: not above 0.
    """
    if minutes is not None and not minutes > 0:
        raise RunError(f"checkpoint_every_minutes is above 0, or None. Received: {minutes!r}")


def _check_records(recipe: Recipe, records: Dataset) -> None:
    frame = records.frame
    if recipe.uses_metadata:
        MetadataEncoder(recipe.metadata_features).fit(frame)
    if recipe.uses_images and frame["path"].isna().any():
        count = int(frame["path"].isna().sum())
        raise RunError(
            f"Recipe {recipe.name!r} needs images, but {count:,} of {len(frame):,} records have none. Load the data "
            'with images (missing_images="drop" keeps only records that have one), or use a metadata recipe.'
        )
    if recipe.classes:
        strangers = frame.loc[~frame["diagnosis"].isin(recipe.classes), "diagnosis"]
        if len(strangers):
            found = ", ".join(f"{value} ({count:,})" for value, count in strangers.value_counts(dropna=False).items())
            raise RunError(
                f"{len(strangers):,} records have a diagnosis that is not among the recipe's classes: {found}."
            )
        apart = int((frame["diagnosis"].isin(recipe.positive_classes) != (frame["target"] == 1)).sum())
        if apart:
            raise RunError(
                f"{apart:,} records have another target than whether their diagnosis is "
                f"{' or '.join(recipe.positive_classes)}, the positive_classes of recipe {recipe.name!r}: its score "
                "would be judged by what it does not predict. Load the data with these diagnoses as the positive ones "
                "(--positive), or change positive_classes of the recipe."
            )


def inner_split(recipe: Recipe, train: Dataset) -> tuple[Dataset, Dataset | None]:
    """Split the training records into those to fit and those that choose the epoch, by patient.

    The fold that scores does not choose: it is not part of `train`. A published validation split is taken as it is
    (`published_split`); with `validation_fraction=0` all records are to fit.

    Raises:
        RunError: too few patients with positives for a validation split.
    """
    grouped_by = str(train.frame["grouped_by"].iloc[0])
    if not recipe.validation_fraction:
        _refuse_absent_classes(recipe, train)
        return train, None
    if grouped_by == PUBLISHED_SPLIT and (train.frame["split"] == "valid").any():
        return _published_inner_split(recipe, train)
    group = grouped_by if grouped_by in ("patient", "lesion", "record", *train.frame.columns) else None
    parts = max(2, round(1 / recipe.validation_fraction))
    try:
        split = assign_folds(train, parts, seed=recipe.seed, group=group)
    except FoldError as error:
        raise RunError(
            f"No inner validation split of {recipe.validation_fraction:.0%} can be made of the training patients, so "
            f"no epoch can be chosen: {error} Or raise validation_fraction (up to 0.5)."
        ) from None
    fit, validation = split.held_out(0)
    _refuse_absent_classes(recipe, fit)
    return fit, validation


def _published_inner_split(recipe: Recipe, train: Dataset) -> tuple[Dataset, Dataset]:
    watched = (train.frame["split"] == "valid").to_numpy()
    fit, validation = train.select(~watched), train.select(watched)
    for records, word in ((fit, "train"), (validation, "valid")):
        if len(set(records.targets)) < 2:
            raise RunError(f'The published split "{word}" holds one class only ({len(records):,} records).')
    _refuse_absent_classes(recipe, fit)
    return fit, validation


def _refuse_absent_classes(recipe: Recipe, fit: Dataset) -> None:
    absent = set(recipe.classes) - set(fit.frame["diagnosis"])
    if absent:
        raise RunError(f"Class {', '.join(sorted(absent))} has no record to train on in one of the folds.")
