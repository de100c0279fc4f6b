"""A Keras loop of your own with our loader, folds, encoder, pipelines and model.

python examples/02_own_keras_loop.py                                    # synthetic data, seconds
python examples/02_own_keras_loop.py --data ham10000/ --source ham10000 --backbone mobilenet_v2 --image-size 160
"""

import argparse
import tempfile
import time

import keras

import melanomafusion as mf
from melanomafusion.testing import make_siim_isic

LOADERS = {"siim-isic-2020": mf.load_siim_isic_2020, "ham10000": mf.load_ham10000}


def train_and_score(train, held_out, *, backbone, image_size, weights, epochs=None, minutes=None, seed=0, pixels=None):
    """Train a fused model the plain way, for some epochs or minutes, and score the held-out records."""
    started = time.monotonic()
    keras.utils.set_random_seed(seed)
    encoder = mf.MetadataEncoder().fit(train.frame)
    spec = mf.ImageSpec(image_size)
    model = mf.build_fusion_model(
        backbone, metadata_width=encoder.width, image_size=image_size, fusion="concat", weights=weights
    )
    if weights is not None:  # keep the statistics of pretrained batch norm: batches are small
        for layer in model.get_layer(backbone).layers:
            layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-4 if weights else 3e-3),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        jit_compile=False,
    )
    stop = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: setattr(
            model, "stop_training", minutes is not None and time.monotonic() - started > 60 * minutes
        )
    )
    batches = mf.training_pipeline(train, encoder, spec, batch_size=32, seed=seed, pixels=pixels)
    model.fit(batches, epochs=epochs or 1000, callbacks=[stop], shuffle=False, verbose=2)
    logits = model.predict(mf.inference_pipeline(held_out, encoder, spec, pixels=pixels), verbose=0)
    frame = held_out.frame[["image_name", "patient_id", "lesion_id", "target"]]
    return mf.Predictions(frame.assign(score=keras.ops.convert_to_numpy(keras.ops.sigmoid(logits))[:, 0]), "held_out")


def main():
    """Load, hold one fold out, train, score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of the data set; synthetic data without it")
    parser.add_argument("--source", choices=LOADERS, default="siim-isic-2020")
    parser.add_argument("--backbone", default="tiny", choices=mf.list_backbones())
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--weights", help='"imagenet" or a file; random without it')
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.data is None:
            make_siim_isic(folder, n_patients=200)
        data = LOADERS[options.source](options.data or folder)
        print(data)
        train, held_out = mf.assign_folds(data, 4).held_out(0)
        scores = train_and_score(
            train,
            held_out,
            backbone=options.backbone,
            image_size=options.image_size,
            weights=options.weights,
            epochs=options.epochs,
        )
    print(f"held-out AUC {mf.auc_interval(scores)}, 95 % interval over patients")


if __name__ == "__main__":
    main()
