"""What a recipe must be to work: types from its annotations, then ranges and what goes with what."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from .recipe import Recipe
    from .stage import Stage


def find_problems(recipe: Recipe) -> list[str]:
    """Every field that cannot work, in words; types first, because the rest compares values."""
    problems = _wrong_types(recipe, "")
    for number, stage in enumerate(recipe.stages, start=1):
        problems += _wrong_types(stage, f"stage {number}: ")
    if problems:
        return problems
    checks = [
        (recipe.image_size >= 32, f"image_size={recipe.image_size}: at least 32"),
        (recipe.batch_size >= 1, f"batch_size={recipe.batch_size}: at least 1"),
        (
            not isinstance(recipe.micro_batch_size, int) or recipe.micro_batch_size >= 1,
            f'micro_batch_size={recipe.micro_batch_size}: at least 1, or "auto"',
        ),
        (recipe.xla != "on" or recipe.micro_batch_size is None, 'xla "on": for whole batches (micro_batch_size None)'),
        (0 <= recipe.metadata_dropout < 1, f"metadata_dropout={recipe.metadata_dropout}: 0 ≤ rate < 1"),
        (0 <= recipe.modality_dropout < 1, f"modality_dropout={recipe.modality_dropout}: 0 ≤ rate < 1"),
        (0 <= recipe.dropout < 1, f"dropout={recipe.dropout}: 0 ≤ rate < 1"),
        (0 <= (recipe.branch_dropout or 0) < 1, f"branch_dropout={recipe.branch_dropout}: 0 ≤ rate < 1"),
        (1 <= recipe.dropout_samples <= 64, f"dropout_samples={recipe.dropout_samples}: from 1 to 64"),
        (not (recipe.two_logits and recipe.classes), "two_logits: for binary models, not with classes"),
        (recipe.uses_images or recipe.pooling == "avg", "pooling: for recipes with images"),
        (0 <= recipe.ema < 1, f"ema={recipe.ema}: 0 ≤ ema < 1"),
        (0 < recipe.oversample_to < 1, f"oversample_to={recipe.oversample_to}: between 0 and 1"),
        (0 <= recipe.label_smoothing < 1, f"label_smoothing={recipe.label_smoothing}: 0 ≤ smoothing < 1"),
        (
            0 <= recipe.validation_fraction <= 0.5,
            f"validation_fraction={recipe.validation_fraction}: above 0, up to 0.5; or 0 for none",
        ),
        *_threshold_checks(recipe),
        (len(recipe.classes) != 1 and len(recipe.classes) != 2, "classes: none (binary) or at least three"),
        (
            bool(recipe.classes) == (recipe.loss in ("categorical", "one_vs_rest")),
            'loss "categorical" or "one_vs_rest" goes with classes, and only then',
        ),
        (
            not recipe.classes or set() < set(recipe.positive_classes) < set(recipe.classes),
            "positive_classes: some, but not all, of classes",
        ),
        (len(set(recipe.classes)) == len(recipe.classes), "classes: each once"),
        (0 < recipe.temperature < 1e6, f"temperature={recipe.temperature}: above 0, finite"),
        (bool(recipe.classes) or recipe.temperature == 1, "temperature: for recipes with classes"),
        (0 <= recipe.mixup < 1e6, f"mixup={recipe.mixup}: at least 0, finite"),
        (0 <= recipe.cutmix < 1e6, f"cutmix={recipe.cutmix}: at least 0, finite"),
        (recipe.uses_images or not recipe.cutmix, "cutmix: for recipes with images"),
        *(
            (0 < value < 1e6, f"source_weights of {name}: {value}: above 0, finite")
            for name, value in recipe.source_weights.items()
        ),
        *(
            (0 < value <= 100, f"source_sampling of {name}: {value}: above 0, up to 100")
            for name, value in recipe.source_sampling.items()
        ),
        (recipe.seed >= 0, f"seed={recipe.seed}: at least 0"),
        (recipe.focal_gamma >= 0, f"focal_gamma={recipe.focal_gamma}: at least 0"),
        (all(units >= 1 for units in recipe.head_units), f"head_units={recipe.head_units}: at least 1 each"),
        (
            all(units >= 1 for units in recipe.metadata_units),
            f"metadata_units={recipe.metadata_units}: at least 1 each",
        ),
        (bool(recipe.metadata_features) or not recipe.uses_metadata, "metadata_features: at least one"),
        (not recipe.classes or recipe.imbalance != "oversample", 'imbalance "oversample" is for binary models'),
        (
            not (recipe.uses_images and recipe.weights is None and recipe.freeze_batch_norm),
            f"weights=None with freeze_batch_norm={recipe.freeze_batch_norm!r}: "
            "untrained batch norm would stay frozen; set it to False",
        ),
    ]
    for number, stage in enumerate(recipe.stages, start=1):
        checks += [(fine, f"stage {number}: {message}") for fine, message in _stage_checks(stage, recipe)]
    return [message for fine, message in checks if not fine]


def _stage_checks(stage: Stage, recipe: Recipe) -> list[tuple[bool, str]]:
    return [
        (stage.epochs >= 1, f"epochs={stage.epochs}: at least 1"),
        (0 < stage.learning_rate < 1e32, f"learning_rate={stage.learning_rate}: above 0, finite"),
        (
            stage.backbone_learning_rate is None or 0 < stage.backbone_learning_rate < 1e32,
            f"backbone_learning_rate={stage.backbone_learning_rate}: above 0, finite",
        ),
        (stage.weight_decay >= 0, f"weight_decay={stage.weight_decay}: at least 0"),
        (stage.plateau_patience >= 0, f"plateau_patience={stage.plateau_patience}: at least 0"),
        ((stage.early_stopping_patience or 0) >= 0, "early_stopping_patience: at least 0"),
        (stage.early_stopping_min_delta >= 0, "early_stopping_min_delta: at least 0"),
        (
            bool(recipe.validation_fraction) or (stage.schedule != "plateau" and stage.early_stopping_patience is None),
            "plateau and early stopping need a validation split; with validation_fraction=0 use "
            'schedule "cosine" or "constant" and early_stopping_patience None',
        ),
        (0 < stage.plateau_factor < 1, f"plateau_factor={stage.plateau_factor}: between 0 and 1"),
        (0 < stage.top_share <= 1, f"top_share={stage.top_share}: above 0, up to 1"),
        (0 < stage.image_scale <= 1, f"image_scale={stage.image_scale}: above 0, up to 1"),
        (recipe.uses_images or stage.image_scale == 1, "image_scale: for recipes with images"),
        (0 <= stage.warmup_epochs < stage.epochs, "warmup_epochs: from 0 to fewer than epochs"),
        (
            stage.weight_decay == 0 or stage.optimizer == "adamw",
            'weight_decay goes with optimizer "adamw"',
        ),
    ]


def _threshold_checks(recipe: Recipe) -> list[tuple[bool, str]]:
    takes_share = recipe.threshold_rule in ("sensitivity", "specificity")
    return [
        (
            recipe.threshold_rule is None or recipe.validation_fraction > 0,
            "threshold_rule: a threshold is chosen on a validation split; validation_fraction is 0",
        ),
        (
            takes_share == (recipe.threshold_at is not None),
            'threshold_at: goes with threshold_rule "sensitivity" or "specificity", and they need it',
        ),
        (0 < (recipe.threshold_at or 0.5) < 1, f"threshold_at={recipe.threshold_at}: between 0 and 1"),
    ]


def _wrong_types(value: Any, prefix: str) -> list[str]:
    hints = typing.get_type_hints(type(value))
    return [
        f"{prefix}{f.name}={getattr(value, f.name)!r}: expected {_word(hints[f.name])}"
        for f in dataclasses.fields(value)
        if not _fits(getattr(value, f.name), hints[f.name])
    ]


def _fits(value: Any, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if origin is Literal:
        return value in typing.get_args(hint) and not isinstance(value, bool)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, typing.get_args(hint)[0]) for item in value)
    if origin is dict:
        key, item = typing.get_args(hint)
        return isinstance(value, dict) and all(_fits(k, key) and _fits(v, item) for k, v in value.items())
    if origin is not None:  # a union such as str | None
        return any(_fits(value, option) for option in typing.get_args(hint))
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _word(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(hint)))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join("None" if option is type(None) else _word(option) for option in typing.get_args(hint))
    return getattr(hint, "__name__", str(hint)) if typing.get_origin(hint) is None else str(hint)
