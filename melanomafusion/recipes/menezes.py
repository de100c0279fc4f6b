r"""`menezes-efficientnetb3`: EfficientNet-B3 with a two-logit softmax on a balanced ISIC set.

Reference: Menezes et al.; no DOI is known to us.

Data: 10,605 dermoscopy images of the ISIC Archive in two folders, balanced; training, validation and test folders.
300 pixels, ImageNet mean and deviation; random crops, flips, rotation, perspective, colour jitter, AutoAugment, random
erasing; weighted sampling; 3 epochs of the head (AdamW 5e-4, weight decay 5e-5), then all layers for up to 50 (backbone
1e-4, head 5e-4, cosine annealing), mixed precision, batch 256, early stopping (1e-4 over 5 epochs), checkpoint on
validation AUC, threshold tuned on validation.

Reported: accuracy 97.15 % on training, 95.49 % on validation and 93.30 % on test images; validation AUC 0.985. The text
says both 2,048 and 1,536 features; EfficientNet-B3 has 1,536. Compared with the frozen backbone (`-frozen`) and the
untrained head (`-untrained`, AUC about 0.5).

Reproduced: not run. The data set and B3's ImageNet file were not at hand; the three recipes run on synthetic folders
from random weights.

    melanomafusion train menezes-efficientnetb3 --source folders --data FOLDERS --published-split --out runs/menezes
    melanomafusion train menezes-efficientnetb3-frozen --source folders --data FOLDERS --published-split \
        --out runs/frozen
    melanomafusion train menezes-efficientnetb3-untrained --source folders --data FOLDERS --published-split \
        --out runs/untrained

Each epoch's AUC, average precision, precision, recall, F1 and accuracy are in history.csv.

Deviations:
- A policy of our own that draws two of twelve changes (`rand_augment`) stands in for AutoAugment's ImageNet policy.
- Probabilities and strengths of the other steps are not given; ours are in `images/policies.py`.
- The two logits are one model output, their difference: its sigmoid and cross-entropy are those of the softmax.
- Weighted sampling draws positives until they are half of an epoch.
- The rate rises over half an epoch before it falls; batch norm stays frozen.
"""

from __future__ import annotations

from .recipe import Recipe
from .stage import Stage
from .system import System

_HEAD = Stage(
    trainable="head",
    epochs=3,
    learning_rate=5e-4,
    optimizer="adamw",
    weight_decay=5e-5,
    schedule="constant",
    early_stopping_patience=None,
)

_RECIPE = Recipe(
    name="menezes-efficientnetb3",
    backbone="efficientnet_b3",
    image_size=300,
    fusion="image",
    metadata_dropout=0.0,
    two_logits=True,
    imbalance="oversample",
    oversample_to=0.5,
    stages=(
        _HEAD,
        Stage(
            trainable="all",
            epochs=50,
            learning_rate=5e-4,
            backbone_learning_rate=1e-4,
            optimizer="adamw",
            weight_decay=5e-5,
            schedule="cosine",
            warmup_epochs=0.5,
            early_stopping_patience=5,
            early_stopping_min_delta=1e-4,
        ),
    ),
    threshold_rule="accuracy",
    augmentation="menezes",
    tta=1,
    batch_size=256,
)

SYSTEM = System(
    name=_RECIPE.name,
    task="melanoma, two balanced folders of images",
    reference="no DOI",
    reported="accuracy 97.15 / 95.49 / 93.30 % (train / validation / test), validation AUC 0.985",
    reproduced="not run",
    recipes=(
        _RECIPE,
        _RECIPE.replace(name="menezes-efficientnetb3-frozen", stages=(_HEAD,)),
        _RECIPE.replace(name="menezes-efficientnetb3-untrained", stages=()),
    ),
    about=__doc__,
)
