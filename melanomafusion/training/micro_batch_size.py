"""`micro_batch_size="auto"`: the largest part of a batch that fits in memory, found by trial and kept for the run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import keras
import tensorflow as tf

from ..atomic import write_json
from ..data.dataset import Dataset
from ..data.metadata import MetadataEncoder
from ..errors import RunError
from ..recipes.recipe import Recipe
from .devices import accelerators, available_memory, forget_peak, peak_memory, set_up_keras
from .trial import Trial, heaviest_stage

FILE = "micro_batch.json"
_SHARE = 0.8  # of the memory that is free; decoded images and the validation take some too


def with_micro_batch_size(recipe: Recipe, dataset: Dataset, folder: Path, *, processes: int = 1) -> Recipe:
    """The recipe with a number where it says "auto".

    The number is kept in `folder`: a run that goes on, maybe with other memory, computes what it computed before.

    Args:
        recipe: may say "auto".
        dataset: records it is trained on.
        folder: of the run or fold.
        processes: so many share this machine's memory.

    Raises:
        RunError: not even one record fits.
    """
    if recipe.micro_batch_size != "auto":
        return recipe
    with suppress(OSError, ValueError, KeyError):
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if found["recipe"] == recipe.to_dict():
            return recipe.replace(micro_batch_size=int(found["micro_batch_size"]))
    number = _largest(recipe, dataset, processes)
    write_json(folder / FILE, {"micro_batch_size": number, "recipe": recipe.to_dict()})
    return recipe.replace(micro_batch_size=number)


def _largest(recipe: Recipe, dataset: Dataset, processes: int) -> int:
    stage = heaviest_stage(recipe)
    if stage is None:
        return recipe.batch_size
    free = available_memory()
    width = MetadataEncoder(recipe.metadata_features).fit(dataset.frame).width if recipe.uses_metadata else 0
    forget_peak()
    begin = peak_memory().get("memory", 0)
    with set_up_keras(recipe, recipe.seed).scope():
        trial = Trial(recipe, width)
        forget_peak()
        base = peak_memory().get("memory", 0)
        known = free is not None and begin and not accelerators()
        limit = begin + _SHARE * ((free or 0) / processes) if known else None
        step, fits = trial.step_in_parts(stage), 0
        for number in _sizes(trial.records):
            if limit is not None and fits:
                needed = base + (peak_memory()["memory"] - base) * number / fits
                if needed > limit:
                    break
            try:
                step(number)
                step(number)
            except tf.errors.ResourceExhaustedError:
                break
            fits = number
            if limit is not None and peak_memory()["memory"] > limit:
                break
    keras.backend.clear_session()
    if not fits:
        raise RunError(
            f"Not even one record of {recipe.image_size} × {recipe.image_size} pixels fits in memory with "
            f"{recipe.backbone}. Lower image_size, or take a smaller backbone."
        )
    return recipe.batch_size if fits == trial.records else fits


def _sizes(records: int) -> Iterator[int]:
    """1, 2, 4, … and the batch itself."""
    number = 1
    while number < records:
        yield number
        number *= 2
    yield records
