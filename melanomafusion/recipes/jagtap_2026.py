r"""`jagtap-2026-mobilenetv2`: seven classes of HAM10000 on a frozen MobileNetV2.

Reference: Jagtap 2026, DOI 10.38124/ijisrt/26apr1616.

Data: HAM10000, 10,015 images of 7,470 lesions, random 80:20 by image. MobileNetV2 at 224, "base frozen at first",
pooled → Dense ReLU → Dropout → softmax, Adam 1e-4, categorical cross-entropy, batch 16, 10 epochs.

Reported, on the random 20 %: accuracy 71.38 %, mean precision 85.77 %, mean recall 60.42 %; a plain CNN 68 %; an SVM on
colour and texture features 65 %. A mean precision far above the accuracy fits neither macro nor weighted means over
these classes; the majority class alone has an accuracy of 67 %.

    melanomafusion train jagtap-2026-mobilenetv2 --source ham10000 --data ham10000/ --group record --folds 0 \
        --out runs/jagtap
    melanomafusion train jagtap-2026-plain-cnn --source ham10000 --data ham10000/ --group record --folds 0 \
        --out runs/cnn
    melanomafusion baseline svm --source ham10000 --data ham10000/ --group record --folds 0 --out runs/svm

Reproduced (20 November 2026, two CPU cores; 8,026 of the 10,015 images were at hand, and a MobileNetV2 of ImageNet
whose batch-norm statistics were estimated anew), random 80:20 by image, 1,605 held out: accuracy 78.0 %, mean precision
70.4 %, mean recall 48.2 %, macro AUC 0.927, melanoma AUC 0.873; 7 processor minutes. SVM, same split: accuracy 79.8 %,
mean precision 75.4 %, mean recall 55.0 %, macro AUC 0.890; on lesion folds accuracy 77.7 %. Plain CNN, same
split (21 November 2026): accuracy 72.9 %, mean precision 50.0 %, mean recall 34.6 %, macro AUC 0.903; 31 processor
minutes.
On the fixed lesion split (`benchmarks/ham10000_seven_classes.py`, 21 November 2026, mean of three seeds): accuracy
74.5 %, mean precision 51.8 %, mean recall 39.6 %, melanoma AUC 0.841, macro AUC 0.897; 2 minutes a seed once features
are known.

Deviations:
- The epoch is chosen on 15 % of the training images, so 68 % of all images are learnt from.
- Images pass the frozen backbone once, unaugmented; augmentation is not described.
- The width of Dense is not given: 128. The plain CNN is not described: four convolutions with pooling at 128 pixels.
- Images of one lesion stand on both sides of a random split, so its figures are too high; drop `--group record` for
  lesion folds.
"""

from __future__ import annotations

from .recipe import Recipe
from .stage import Stage
from .system import System

HAM10000_CLASSES = ("AK", "BCC", "BKL", "DF", "VASC", "melanoma", "nevus")

_FROZEN = Recipe(
    name="jagtap-2026-mobilenetv2",
    backbone="mobilenet_v2",
    image_size=224,
    fusion="image",
    metadata_dropout=0.0,
    head_units=(128,),
    dropout=0.3,
    classes=HAM10000_CLASSES,
    imbalance="none",
    loss="categorical",
    stages=(Stage(trainable="head", epochs=10, learning_rate=1e-4, schedule="constant", early_stopping_patience=None),),
    monitor="val_loss",
    augmentation="none",
    tta=1,
    batch_size=16,
)

_PLAIN_CNN = _FROZEN.replace(
    name="jagtap-2026-plain-cnn",
    backbone="plain_cnn",
    image_size=128,
    weights=None,
    freeze_batch_norm=False,
    stages=(Stage(trainable="all", epochs=10, learning_rate=1e-3, schedule="constant", early_stopping_patience=None),),
)

SYSTEM = System(
    name=_FROZEN.name,
    task="seven classes, HAM10000",
    reference="10.38124/ijisrt/26apr1616",
    reported="accuracy 71.38 %, mean precision 85.77 %, mean recall 60.42 %; random 80:20",
    reproduced="accuracy 78.0 %, mean precision 70.4, mean recall 48.2; the same kind of split",
    recipes=(_FROZEN, _PLAIN_CNN),
    about=__doc__,
)
