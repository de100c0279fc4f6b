"""Models with drawn weights: none is at a value that hides a mistake, and logits stay of the order of one."""

import keras
import numpy as np
import pytest

from melanomafusion.models.fusion_model import build_fusion_model


def build_tiny(**options):
    """A tiny model with every weight drawn, batch norm included."""
    keras.utils.set_random_seed(3)
    model = build_fusion_model("tiny", weights=None, **options)
    rng = np.random.default_rng(1)
    drawn = []
    for weight in model.weights:
        if weight.name == "power":
            drawn.append(np.float32(2.3))
        elif weight.name in ("gamma", "moving_variance"):
            drawn.append(rng.uniform(0.5, 2.0, weight.shape))
        else:
            scale = np.sqrt(2 / np.prod(weight.shape[:-1])) if len(weight.shape) > 1 else 0.3
            drawn.append(rng.normal(scale=scale, size=weight.shape))
    model.set_weights(drawn)
    return model


@pytest.fixture(scope="session")
def tiny():
    """`build_tiny`."""
    return build_tiny
