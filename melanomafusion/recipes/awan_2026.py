r"""`awan-2026-inceptionv3`: a frozen InceptionV3 and one sigmoid unit, melanoma against nevus and seborrheic keratosis.

Reference: Awan 2026, DOI 10.22442/jlumhs.2026.01460.

Data: three folders (melanoma, nevus, seborrheic_keratosis), the last two merged as benign; 1,400 training, 300
validation and 300 test images. `load_image_folders` reads them; `counts=` splits anew where the copy has no split.

Reported, on the 300 test images: accuracy 84.67 %, sensitivity 79 %, specificity 89 %, F1 0.81; AUC 0.88 in the table,
0.98 in the text. The text and the table contradict each other, and neither can be checked.

Reproduced: not run. The data set and InceptionV3's ImageNet file were not at hand. Checked: 21,804,833 parameters, of
which 2,049 are trained, as published; the whole way runs on synthetic folders from random weights.

    melanomafusion train awan-2026-inceptionv3 --source folders --data FOLDERS --published-split --out runs/awan \
        --tensorboard

Cost: the backbone sees each image once and its features are kept, so 100 epochs cost little more than that pass.

Deviations:
- Pixels are scaled to [−1, 1], which InceptionV3's ImageNet weights were trained on; the paper says [0, 1].
- "Threshold chosen for sensitivity" names no figure; here the validation images choose it for a sensitivity of 0.80.
- RMSProp's rate is not given; 0.001 is Keras's own.
"""

from __future__ import annotations

from .recipe import Recipe
from .stage import Stage
from .system import System

_RECIPE = Recipe(
    name="awan-2026-inceptionv3",
    backbone="inception_v3",
    image_size=299,
    fusion="image",
    metadata_dropout=0.0,
    dropout=0.0,
    imbalance="none",
    stages=(
        Stage(
            trainable="head",
            epochs=100,
            learning_rate=1e-3,
            optimizer="rmsprop",
            schedule="constant",
            early_stopping_patience=None,
        ),
    ),
    monitor="val_loss",
    threshold_rule="sensitivity",
    threshold_at=0.8,
    augmentation="none",
    tta=1,
    batch_size=64,
)

SYSTEM = System(
    name=_RECIPE.name,
    task="melanoma, three folders of images",
    reference="10.22442/jlumhs.2026.01460",
    reported="accuracy 84.67 %, sensitivity 79 %, specificity 89 %, F1 0.81, AUC 0.88 (table), 0.98 (text); 300 images",
    reproduced="not run",
    recipes=(_RECIPE,),
    about=__doc__,
)
