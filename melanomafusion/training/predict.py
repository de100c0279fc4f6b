"""Scores of a model on a data set: the same call for held-out folds and test splits."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd

from ..data.dataset import Dataset
from ..data.groups import cluster_keys
from ..data.metadata import MetadataEncoder
from ..deploy.scores import probabilities, scores_of
from ..images.augment import VIEWS
from ..images.pipeline import inference_pipeline
from ..images.pixels import Pixels
from ..images.spec import ImageSpec
from ..predictions import Predictions
from ..recipes.recipe import Recipe
from .folded_norm import with_folded_norm


def predict_scores(
    model: keras.Model,
    recipe: Recipe,
    dataset: Dataset,
    *,
    encoder: MetadataEncoder | None,
    spec: ImageSpec | None,
    pixels: Pixels | None = None,
) -> pd.DataFrame:
    """Score every record, averaged over the recipe's test-time views.

    Returns:
        Columns image_name, score in [0, 1], and score_<class> for a multi-class model; rows in the data set's order.
    """
    model = with_folded_norm(model, recipe.backbone, frozen_statistics=True)
    views = VIEWS if recipe.tta == VIEWS and spec is not None else 1
    total: np.ndarray | float = 0.0
    for view in range(views):
        pipeline = inference_pipeline(
            dataset, encoder, spec, batch_size=max(recipe.batch_size, 32), view=view, pixels=pixels
        )
        total = total + probabilities(model.predict(pipeline, verbose=0))
    mean = np.asarray(total) / views
    table = pd.DataFrame({"image_name": dataset.image_names, "score": scores_of(mean, recipe)})
    for column, name in enumerate(recipe.classes):
        table[f"score_{name}"] = mean[:, column]
    return table


def held_out_scores(
    model: keras.Model,
    recipe: Recipe,
    dataset: Dataset,
    fold: int,
    *,
    encoder: MetadataEncoder | None,
    spec: ImageSpec | None,
    pixels: Pixels | None = None,
) -> Predictions:
    """Out-of-fold scores of a fold's records, with what they are grouped by.

    Returns:
        Columns of `predict_scores`, target, fold, grouped_by, and those of patient, lesion, cluster of copies and
        diagnosis that are known.
    """
    keys = cluster_keys(dataset)
    held_out = (dataset if keys is None else dataset.with_columns(cluster=keys)).held_out(fold)[1]
    scores = predict_scores(model, recipe, held_out, encoder=encoder, spec=spec, pixels=pixels)
    known = held_out.frame.set_index("image_name")
    columns = [c for c in ("patient_id", "lesion_id", "cluster") if c in known and known[c].notna().any()]
    columns += ["target", "fold", "grouped_by"]
    if recipe.classes:
        columns.append("diagnosis")
    return Predictions(scores.join(known[columns], on="image_name"), "oof", name=recipe.name)
