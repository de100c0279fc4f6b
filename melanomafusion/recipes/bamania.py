"""`bamania-mobilenetv2`: MobileNetV2 on two folders, malignant against benign, frozen first and then fine-tuned.

Reference: Bamania et al.; no DOI is known to us. Data: the two-folder set of benign and malignant moles on Kaggle.

Reported, on a random 80:20 split of the images: accuracy 78.03 %; malignant precision 93 %, recall 56 %, F1 70 %;
benign 72 %, 97 %, 83 %.

Reproduced: not run. The two-folder set was not at hand; the whole way runs on synthetic folders.

    melanomafusion train bamania-mobilenetv2 --source folders --data FOLDERS --group record --folds 0 --out runs/bamania
    melanomafusion evaluate runs/bamania --out runs/bamania/report

The report has curves of accuracy and loss, the confusion matrix, and precision, recall and F1 with support.

Deviations:
- The epoch is chosen on 15 % of the training images; the published system watched the images it reported on.
- MobileNetV2's ImageNet weights take pixels in [−1, 1], not [0, 1].
- Rates are not given: 0.001, then 0.00001. Batch norm stays frozen while fine-tuning.
"""

from __future__ import annotations

from .recipe import Recipe
from .stage import Stage
from .system import System

_RECIPE = Recipe(
    name="bamania-mobilenetv2",
    backbone="mobilenet_v2",
    image_size=224,
    fusion="image",
    metadata_dropout=0.0,
    dropout=0.4,
    imbalance="none",
    stages=(
        Stage(trainable="head", epochs=15, learning_rate=1e-3, schedule="constant", early_stopping_patience=None),
        Stage(trainable="all", epochs=5, learning_rate=1e-5, schedule="constant", early_stopping_patience=None),
    ),
    augmentation="geometric",
    tta=1,
    batch_size=32,
)

SYSTEM = System(
    name=_RECIPE.name,
    task="malignant, two folders of images",
    reference="no DOI",
    reported="accuracy 78.03 %; malignant precision 93, recall 56, F1 70; benign 72, 97, 83; random 80:20",
    reproduced="not run",
    recipes=(_RECIPE,),
    about=__doc__,
)
