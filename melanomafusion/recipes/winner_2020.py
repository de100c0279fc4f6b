"""`winner-2020`: the recipe of the SIIM-ISIC 2020 first place, nine diagnoses with metadata.

Reference: Ha, Liu, Liu 2020, arXiv 2010.05351.

Data: SIIM-ISIC 2020 with ISIC 2019 (2018, 2017), nine diagnosis classes, five patient folds. EfficientNet B4 to B7,
B4 at 640 pixels, fourteen metadata columns through 512 → 128 with batch norm, swish and dropout 0.3, five averaged
dropouts of 0.5 before the softmax, Adam with a warm-up epoch and a cosine, 15 epochs, batch 64, eight views, mean of
ranks within fold.

Reported, out of fold on the 2020 rows: B4 at 640 with metadata 0.9408, image only 0.9400; eighteen members 0.9600;
private board 0.9490.

Reproduced: not run. The images of the two years at 640 pixels and days of a GPU were not at hand. The metadata, fusion,
schedule and augmentation run on synthetic data.

    melanomafusion data prepare --source siim-isic-2020 --root siim-isic-2020/ --image-size 640 --out siim-640
    melanomafusion data prepare --source isic-2019 --root isic-2019/ --image-size 640 --out isic-2019-640
    melanomafusion train winner-2020 --data siim-640 --also isic-2019=isic-2019-640 --out runs/winner-b4

Its images per patient and file size tell how the data were collected, not what a lesion is: `list_features()` marks
both as leaky, and `winner-2020-honest` leaves them out.

Deviations:
- Age is standardised with a column for missing, not divided by 90 with 0 for missing; a site and a sex each have their
  levels, so the columns are more than fourteen. Numbers are not passed through a logarithm.
- The published system chose the epoch on the scored fold; here an inner split of the training patients does.
- Batch norm stays frozen.
"""

from __future__ import annotations

from .recipe import Backbone, Recipe
from .stage import Stage
from .system import System

_CLASSES = ("AK", "BCC", "BKL", "DF", "SCC", "VASC", "melanoma", "nevus", "unknown")

_B4 = Recipe(
    name="winner-2020",
    backbone="efficientnet_b4",
    image_size=640,
    weights="noisy-student",
    metadata_features=("sex", "age", "site", "images_per_patient", "file_bytes"),
    metadata_units=(512, 128),
    metadata_batch_norm=True,
    metadata_dropout=0.0,
    branch_dropout=0.3,
    dropout=0.5,
    dropout_samples=5,
    classes=_CLASSES,
    imbalance="none",
    loss="categorical",
    stages=(
        Stage(
            trainable="all",
            epochs=15,
            learning_rate=3e-4,
            schedule="cosine",
            warmup_epochs=1.0,
            early_stopping_patience=None,
        ),
    ),
    augmentation="winner-2020",
    batch_size=64,
)


def _variant(short: str, backbone: Backbone) -> Recipe:
    return _B4.replace(name=f"winner-2020-{short}", backbone=backbone)


SYSTEM = System(
    name=_B4.name,
    task="nine diagnoses, SIIM-ISIC 2020 and 2019 with metadata",
    reference="arXiv 2010.05351",
    reported="B4 at 640: AUC 0.9408 out of fold; eighteen members 0.9600, private board 0.9490",
    reproduced="not run",
    recipes=(
        _B4,
        _variant("b5", "efficientnet_b5"),
        _variant("b6", "efficientnet_b6"),
        _variant("b7", "efficientnet_b7"),
        _B4.replace(name="winner-2020-honest", metadata_features=("sex", "age", "site"), metadata_dropout=0.1),
    ),
    about=__doc__,
)
