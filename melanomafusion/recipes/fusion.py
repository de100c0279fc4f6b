"""The library's own recipes: an image branch fused with sex, age and site, and each branch alone.

Two stages: the head on the frozen backbone, then all layers at a low rate with batch norm frozen; class weights and
learning rate on plateau, as in the SIIM-ISIC systems this library is named for. EfficientNet B4, B5 and B7 at their
native sizes (380, 456, 600; Tan and Le 2019, arXiv 1905.11946) ask for a GPU; `fusion-mobilenetv2` trains on two cores.
"""

from __future__ import annotations

from .recipe import Backbone, Recipe
from .stage import Stage
from .system import System

_STAGES = (
    Stage(trainable="head", epochs=3, learning_rate=1e-3, schedule="constant", early_stopping_patience=None),
    Stage(trainable="all", epochs=22, learning_rate=3e-4, backbone_learning_rate=1e-4, schedule="plateau"),
)


def _family(short: str, backbone: Backbone, image_size: int, batch_size: int) -> list[Recipe]:
    fused = Recipe(
        name=f"fusion-{short}", backbone=backbone, image_size=image_size, batch_size=batch_size, stages=_STAGES
    )
    return _variants(fused, short)


def _variants(fused: Recipe, short: str) -> list[Recipe]:
    image = fused.replace(name=f"image-{short}", fusion="image", metadata_dropout=0.0)
    metadata = fused.replace(
        name=f"metadata-{short}",
        fusion="metadata",
        weights=None,
        freeze_batch_norm=False,
        metadata_dropout=0.0,
        dropout=0.1,
        tta=1,
        batch_size=256,
        stages=(Stage(epochs=30, learning_rate=3e-3, schedule="cosine", early_stopping_patience=None),),
    )
    return [fused, image, metadata]


_RECIPES = [
    *_family("b0", "efficientnet_b0", 224, 32),
    *_family("b4", "efficientnet_b4", 380, 32),
    *_family("b5", "efficientnet_b5", 456, 16),
    *_family("b7", "efficientnet_b7", 600, 8),
    *_family("mobilenetv2", "mobilenet_v2", 224, 32),
    *_family("efficientnetv2s", "efficientnet_v2_s", 384, 16)[:2],
    *_family("convnext", "convnext_tiny", 224, 32)[:2],
    # For tests, examples and the demo: from random weights, in seconds.
    *_variants(
        Recipe(
            name="tiny",
            backbone="tiny",
            image_size=32,
            weights=None,
            freeze_batch_norm=False,
            imbalance="none",
            metadata_units=(32, 16),
            dropout=0.1,
            batch_size=64,
            stages=(Stage(epochs=12, learning_rate=4e-3, schedule="cosine", early_stopping_patience=None),),
        ),
        "tiny",
    ),
]

SYSTEM = System(
    name="fusion-*, image-*, metadata-*",
    task="melanoma; two stages, image and metadata fused or alone",
    reference="ours",
    reported="–",
    reproduced="README, first run",
    recipes=tuple(_RECIPES),
    about=__doc__,
)
