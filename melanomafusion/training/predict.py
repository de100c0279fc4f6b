"""Scores of a model on a data set: the same call for held-out folds and test splits."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd

from ..data.dataset import Dataset
from ..data.metadata import MetadataEncoder
from ..deploy.scores import probabilities, scores_of
from ..images.augment import VIEWS
from ..images.pipeline import inference_pipeline
from ..images.pixels import Pixels
from ..images.spec import ImageSpec
from ..recipes.recipe import Recipe


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
