"""What to use instead of the names of tensorflow-addons that are not here."""

from __future__ import annotations

_REPLACEMENTS = {
    "activations.hardshrink": "keras.activations.hard_shrink",
    "activations.rrelu": "keras.layers.LeakyReLU or keras.layers.PReLU",
    "activations.softshrink": "keras.activations.soft_shrink",
    "activations.sparsemax": "keras.activations.sparsemax",
    "activations.tanhshrink": "keras.activations.tanh_shrink",
    "callbacks.AverageModelCheckpoint": "keras.callbacks.SwapEMAWeights beside ModelCheckpoint, with use_ema=True in "
    "the optimizer",
    "callbacks.TimeStopping": "a keras.callbacks.Callback that sets model.stop_training",
    "image.equalize": "keras.layers.Equalization",
    "image.gaussian_filter2d": "keras.layers.RandomGaussianBlur",
    "image.mean_filter2d": "keras.ops.average_pool with strides=1",
    "image.shear_x": "keras.layers.RandomShear",
    "image.shear_y": "keras.layers.RandomShear",
    "image.transform": "keras.ops.image.affine_transform",
    "image.translate": "keras.ops.image.affine_transform or keras.layers.RandomTranslation",
    "layers.AdaptiveAveragePooling2D": "keras.layers.AdaptiveAveragePooling2D",
    "layers.AdaptiveMaxPooling2D": "keras.layers.AdaptiveMaxPooling2D",
    "layers.GroupNormalization": "keras.layers.GroupNormalization(epsilon=1e-3): Keras's own epsilon is another",
    "layers.InstanceNormalization": "keras.layers.GroupNormalization(groups=-1, epsilon=1e-3)",
    "layers.MultiHeadAttention": "keras.layers.MultiHeadAttention",
    "layers.SpectralNormalization": "keras.layers.SpectralNormalization",
    "layers.StochasticDepth": "keras.layers.Dropout(noise_shape=(None, 1, 1, 1)) before keras.layers.Add",
    "layers.WeightNormalization": "keras.layers.UnitNormalization or keras.layers.SpectralNormalization",
    "losses.GIoULoss": "keras_cv or a loss of your own; boxes are no part of this library",
    "metrics.FBetaScore": "keras.metrics.FBetaScore, which learns the number of classes from the data",
    "metrics.MatthewsCorrelationCoefficient": "sklearn.metrics.matthews_corrcoef on the predictions",
    "metrics.MultiLabelConfusionMatrix": "sklearn.metrics.multilabel_confusion_matrix on the predictions",
    "metrics.RSquare": "keras.metrics.R2Score",
    "optimizers.AdaBelief": "keras.optimizers.AdamW",
    "optimizers.LazyAdam": "keras.optimizers.Adam, which treats sparse gradients as such",
    "optimizers.MultiOptimizer": "backbone_learning_rate of a melanomafusion.Stage, or a training loop of your own",
    "optimizers.NovoGrad": "keras.optimizers.AdamW",
    "optimizers.SWA": "use_ema=True, ema_momentum=… in any Keras optimizer",
    "optimizers.StochasticWeightAveraging": "use_ema=True, ema_momentum=… in any Keras optimizer",
    "optimizers.Yogi": "keras.optimizers.Adam(amsgrad=True)",
    "optimizers.extend_with_decoupled_weight_decay": "weight_decay=… in any Keras optimizer; there it is multiplied by "
    "the learning rate",
}


def missing(module: str, name: str) -> AttributeError:
    """The error for a name that is not here: what replaces it, where something does."""
    full = f"{module}.{name}" if module else name
    if full in _REPLACEMENTS:
        return AttributeError(f"melanomafusion.compat.tfa has no {full}. Use {_REPLACEMENTS[full]}.")
    where = f"melanomafusion.compat.tfa.{module}" if module else "melanomafusion.compat.tfa"
    return AttributeError(
        f"{where} has no {name!r}: only what melanoma notebooks used of tensorflow-addons is here. "
        "Look for it in Keras 3."
    )
