r"""`raksha-efficientnet-fusion`: EfficientNet fused with age, sex and site on SIIM-ISIC 2020; the library's namesake.

Reference: Raksha et al.; no DOI is known to us.

Data: SIIM-ISIC 2020 with its table. EfficientNet B4, B5 and B7 (`-b5`, `-b7`), dropout, Adam, binary cross-entropy,
class weights, rotation, flips, zoom and brightness, a rate that falls when the validation loss stops falling,
25 epochs, batch 32, 80:20. The text also describes InceptionV3 and DenseNet121 on HAM10000 at 224, pooled → Dense →
Dropout → sigmoid, malignant = melanoma, BCC, AK (`-inceptionv3`, `-densenet121`).

Reported: no figures.

Reproduced: not run at full size (33,126 images at 380 to 600 pixels ask for a GPU, and the pretrained files are
downloads). A few steps from random weights run in the tests. Our `fusion-*` recipes are this system with two stages.

    melanomafusion data prepare --source siim-isic-2020 --root siim-isic-2020/ --image-size 384 --out siim-384
    melanomafusion train raksha-efficientnet-fusion --data siim-384 --folds 0 --out runs/raksha-b4
    melanomafusion train raksha-efficientnet-fusion-densenet121 --source ham10000 --positive melanoma,BCC,AK \
        --data ham10000/ --folds 0 --out runs/raksha-densenet121

Deviations:
- 80:20 is one of five patient folds (`--folds 0`), and the epoch is chosen on a part of the 80 %. A random split of
  images, as the text leaves open, is `--group record`, and every figure of it says so.
- Batch 32 of B7 at 600 pixels needs more memory than most GPUs have; the variants keep it, `--set batch_size=8` helps.
- The widths of the metadata branch and of Dense are not given: 64 and 32, and 128.
"""

from __future__ import annotations

from .recipe import Backbone, Recipe
from .stage import Stage
from .system import System

_NAME = "raksha-efficientnet-fusion"

_B4 = Recipe(
    name=_NAME,
    backbone="efficientnet_b4",
    image_size=380,
    metadata_dropout=0.0,
    stages=(
        Stage(
            trainable="all",
            epochs=25,
            learning_rate=1e-4,
            schedule="plateau",
            plateau_factor=0.3,
            plateau_patience=2,
            early_stopping_patience=None,
        ),
    ),
    monitor="val_loss",
    augmentation="geometric-brightness",
    tta=1,
    batch_size=32,
)


def _image_variant(short: str, backbone: Backbone) -> Recipe:
    return _B4.replace(name=f"{_NAME}-{short}", backbone=backbone, image_size=224, fusion="image", head_units=(128,))


SYSTEM = System(
    name=_NAME,
    task="melanoma, SIIM-ISIC 2020 with age, sex, site",
    reference="no DOI",
    reported="none",
    reproduced="not run at full size",
    recipes=(
        _B4,
        _B4.replace(name=f"{_NAME}-b5", backbone="efficientnet_b5", image_size=456),
        _B4.replace(name=f"{_NAME}-b7", backbone="efficientnet_b7", image_size=600),
        _image_variant("inceptionv3", "inception_v3"),
        _image_variant("densenet121", "densenet121"),
    ),
    about=__doc__,
)
