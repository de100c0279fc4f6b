"""The vocabulary of a training run: `Recipe`, with its `Stage`s. Plain fields, JSON both ways, unknown keys refused."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import RecipeError
from .stage import Augmentation, Stage, refuse_unknown, shortened, to_stage
from .validation import find_problems

Monitor = Literal["val_auc", "val_average_precision", "val_loss"]
# The names of tables on other floors, so that a wrong one fails at once; tests hold the two against each other.
Backbone = Literal[
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
    "inception_v3",
    "mobilenet_v2",
    "densenet121",
    "efficientnet_v2_s",
    "convnext_tiny",
    "plain_cnn",
    "tiny",
]
Fusion = Literal["concat", "metanet", "metablock", "additive", "additive_joint", "image", "metadata"]
ThresholdRule = Literal["youden", "max_f1", "accuracy", "sensitivity", "specificity"]


@dataclass(frozen=True)
class Recipe:
    """What to build and how to train it. Frozen; `replace` gives another one.

    Attributes:
        name: for tables, plots and run folders.
        backbone: name from `list_backbones()`.
        image_size: side in pixels.
        fusion: "concat", "metanet", "metablock", "additive" (the image's part learns alone, metadata add to its logits,
            and a record without any gets those of an image-only model), "additive_joint" (the image's part learns from
            both sums of logits, with metadata and without), "image" or "metadata".
        weights: of the backbone: "imagenet", "noisy-student", None or a file.
        metadata_features: names from `list_features()`.
        metadata_units: widths of the metadata branch.
        metadata_batch_norm: batch norm before each activation of the metadata branch.
        branch_dropout: rate on the metadata branch; `dropout` where None.
        metadata_dropout: probability that a field is shown as missing in training.
        modality_dropout: probability that all fields of a record are, so that the image alone is learnt from.
        pooling: of the feature map: "avg" or "gem" (generalised mean).
        head_units: widths of ReLU layers between the fused features and the head.
        dropout: rate on the metadata branch and before the head.
        dropout_samples: masks of the last dropout that are averaged (multi-sample dropout).
        two_logits: a binary model ends in two logits (softmax) instead of one.
        classes: diagnoses of a multi-class model (at least three); empty for a binary model of `target`.
        positive_classes: diagnoses whose probability is the score of a multi-class model.
        imbalance: "class_weight" (sample weights of mean 1), "oversample" or "none".
        oversample_to: share of positives in an epoch, for "oversample".
        loss: "bce" or "focal" (binary); with classes "categorical" (softmax) or "one_vs_rest" (each class against all
            others by a sigmoid of its own; its score is that sigmoid's share of their sum).
        label_smoothing: 0 … 1.
        focal_gamma: of "focal".
        stages: one after another; the weights of the best epoch go on to the next. None at all: the model is scored as
            it is built.
        ema: share of the average that stays at each step when weights are averaged over steps (exponential moving
            average, e.g. 0.999); epochs are scored with the average, and it is what training gives. 0 for none.
        freeze_batch_norm: keep the backbone's batch norm as it is (right for small batches), or its "statistics" alone,
            while scales and shifts learn; False: all of it learns. Running statistics follow as the backbone in Keras
            says: MobileNetV2's with momentum 0.999, so that it takes thousands of steps.
        monitor: what the best epoch, the plateau and early stopping look at, on the inner validation split.
        validation_fraction: share of the training patients for that split. 0: no split, all of them are learnt from,
            and the last epoch counts, for stages without plateau and early stopping.
        threshold_rule: how an operating threshold is chosen on the inner validation split; the held-out fold is judged
            by it. None for no threshold.
        threshold_at: sensitivity or specificity to reach, for those two rules.
        augmentation: "none", "light", "medium", "geometric", "geometric-brightness", "winner-2020", "rand-augment" or
            "menezes".
        mixup: parameter of the Beta distribution by which records of a batch are mixed; 0 for none.
        cutmix: the same for rectangles cut from one image into another.
        source_weights: source → factor of its records' weights; 1 where it is not named.
        source_sampling: source → records drawn in an epoch, as a multiple of its records; 1 where it is not named.
        temperature: logits of classes are divided by it before scores are made of them; the weights that training gives
            contain it. Above 1 a class is ranked more by its own logit and less by its strongest rival's, which can
            raise its AUC against all others; which class of a view is highest stays. 1 for binary models.
        tta: views averaged at prediction: 1, or 8 (turns and mirrorings).
        batch_size: records of a step.
        micro_batch_size: so many of them are computed at once on a device, and their gradients added up: less memory
            for the same batch. "auto" finds the largest number that fits (`replace(batch_size="auto")` says so too);
            None: the batch as a whole. Batch norm that is not frozen, such as MetaBlock's, sees a micro-batch.
        precision: "auto" (mixed where a GPU is), "float32" or "mixed_float16".
        xla: "auto" (compiled where there is one GPU), "on" or "off".
        seed: of weights, order, augmentation and the inner split.
    """

    name: str
    backbone: Backbone = "efficientnet_b4"
    image_size: int = 380
    fusion: Fusion = "concat"
    weights: str | None = "imagenet"
    metadata_features: tuple[str, ...] = ("sex", "age", "site")
    metadata_units: tuple[int, ...] = (64, 32)
    metadata_batch_norm: bool = False
    branch_dropout: float | None = None
    metadata_dropout: float = 0.1
    modality_dropout: float = 0.0
    pooling: Literal["avg", "gem"] = "avg"
    head_units: tuple[int, ...] = ()
    dropout: float = 0.3
    dropout_samples: int = 1
    two_logits: bool = False
    classes: tuple[str, ...] = ()
    positive_classes: tuple[str, ...] = ("melanoma",)
    imbalance: Literal["class_weight", "oversample", "none"] = "class_weight"
    oversample_to: float = 0.2
    loss: Literal["bce", "focal", "categorical", "one_vs_rest"] = "bce"
    label_smoothing: float = 0.0
    focal_gamma: float = 2.0
    stages: tuple[Stage, ...] = field(default_factory=lambda: (Stage(),))
    ema: float = 0.0
    freeze_batch_norm: bool | Literal["statistics"] = True
    monitor: Monitor = "val_auc"
    validation_fraction: float = 0.15
    threshold_rule: ThresholdRule | None = None
    threshold_at: float | None = None
    augmentation: Augmentation = "light"
    mixup: float = 0.0
    cutmix: float = 0.0
    source_weights: dict[str, float] = field(default_factory=dict, hash=False)
    source_sampling: dict[str, float] = field(default_factory=dict, hash=False)
    temperature: float = 1.0
    tta: Literal[1, 8] = 8
    batch_size: int = 32
    micro_batch_size: int | Literal["auto"] | None = None
    precision: Literal["auto", "float32", "mixed_float16"] = "auto"
    xla: Literal["auto", "on", "off"] = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("stages", "metadata_features", "metadata_units", "head_units", "classes", "positive_classes"):
            value = getattr(self, name)
            if not isinstance(value, (list, tuple)):
                raise RecipeError(f"Recipe {self.name!r}: {name} is a list. Received: {name}={value!r}")
            object.__setattr__(self, name, tuple(value))
        for name in ("source_weights", "source_sampling"):
            if isinstance(getattr(self, name), dict):
                object.__setattr__(self, name, dict(getattr(self, name)))
        object.__setattr__(self, "stages", tuple(to_stage(stage) for stage in self.stages))
        problems = find_problems(self)
        if problems:
            raise RecipeError(f"Recipe {self.name!r} cannot work:\n" + "\n".join(f"  {line}" for line in problems))

    @property
    def uses_images(self) -> bool:
        """Whether the model has an image branch."""
        return self.fusion != "metadata"

    @property
    def uses_metadata(self) -> bool:
        """Whether the model has a metadata branch."""
        return self.fusion != "image"

    @property
    def one_vs_rest(self) -> bool:
        """Whether each class has a sigmoid of its own."""
        return self.loss == "one_vs_rest"

    @property
    def epochs(self) -> int:
        """Epochs of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    def augmentation_of(self, stage: Stage) -> Augmentation:
        """The augmentation of a stage: its own, else the recipe's."""
        return self.augmentation if stage.augmentation is None else stage.augmentation

    def image_size_of(self, stage: Stage) -> int:
        """The side of the images that a stage learns from, in pixels: its share of the recipe's, and at least 32."""
        return max(32, round(self.image_size * stage.image_scale))

    def model_options(self, metadata_width: int) -> dict[str, Any]:
        """The arguments of `build_fusion_model` that the recipe says: all but the weights.

        Args:
            metadata_width: columns of the encoded metadata.
        """
        names = (
            "backbone",
            "image_size",
            "fusion",
            "metadata_units",
            "metadata_batch_norm",
            "branch_dropout",
            "pooling",
            "head_units",
            "dropout",
            "dropout_samples",
            "two_logits",
            "one_vs_rest",
        )
        options = {name: getattr(self, name) for name in names}
        return {**options, "metadata_width": metadata_width, "n_classes": len(self.classes) or 1}

    def replace(self, **changes: Any) -> Recipe:
        """The recipe with some fields changed.

        `epochs=3` is understood too: it limits every stage to that many, and a warm-up to half of them. So is
        `batch_size="auto"`: the batch stays, and `micro_batch_size` becomes "auto".

        Raises:
            RecipeError: an unknown key, or a value that cannot work.
        """
        if changes.get("batch_size") == "auto":
            changes |= {"batch_size": self.batch_size, "micro_batch_size": "auto"}
        epochs = changes.pop("epochs", None)
        if epochs is not None:
            stages = [to_stage(stage) for stage in changes.get("stages", self.stages)]
            if not isinstance(epochs, int) or epochs < 1:
                raise RecipeError(f"epochs must be a whole number of at least 1. Received: epochs={epochs!r}")
            changes["stages"] = tuple(shortened(stage, epochs) for stage in stages)
        return Recipe.from_dict({**self.to_dict(), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, lists for tuples."""
        result: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return result

    def to_json(self) -> str:
        """All fields as JSON text."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Recipe:
        """Make a recipe of plain values.

        Raises:
            RecipeError: an unknown key (with the nearest known one), or a value that cannot work.
        """
        if not isinstance(content, dict):
            raise RecipeError(f"A recipe is an object of its fields. Received: {content!r}")
        refuse_unknown(cls, content, "recipe")
        if "name" not in content:
            raise RecipeError("A recipe needs a name.")
        return cls(**content)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read what `to_json` wrote.

        Raises:
            RecipeError: not JSON, an unknown key, or a value that cannot work.
        """
        try:
            content = json.loads(text)
        except ValueError as error:
            raise RecipeError(f"Not a recipe in JSON: {error}") from None
        return cls.from_dict(content)
