"""Weights of the 2020 package `efficientnet` (noisy student, AutoAugment) in our EfficientNets, layer by layer.

Its networks have the layers of `keras.applications.EfficientNet*` by the same names, without the normalisation: they
expect pixels standardised with ImageNet's mean and deviation, as ours does in front of the network.

References:
    Xie, Luong, Hovy and Le 2020, Self-training with Noisy Student improves ImageNet classification, arXiv 1911.04252.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import keras
import numpy as np

from ..atomic import atomic_file
from ..errors import WeightsError
from .backbones import BACKBONES, Backbone
from .download import WeightsFile

Layers = dict[str, list[np.ndarray]]
_PREFIX = "efficientnet_b"
_HEAD = "probs"  # the classifier of a file with its top, which no backbone has


def noisy_student_file(backbone: Backbone) -> WeightsFile:
    """Where the noisy-student weights of a backbone are, by the table of the installed package `efficientnet`.

    Raises:
        WeightsError: there are none for this backbone, or the package is not installed.
    """
    if not backbone.name.startswith(_PREFIX):
        known = ", ".join(name for name in BACKBONES if _is_efficientnet(name))
        raise WeightsError(
            f"There are no noisy-student weights for {backbone.name}, only for {known}. Choose one of these, or other "
            "weights."
        )
    try:
        from efficientnet.weights import NS_WEIGHTS_HASHES, NS_WEIGHTS_PATH
    except ImportError:
        raise WeightsError(
            'weights="noisy-student" takes address and hash from the package efficientnet, which is not installed: '
            'pip install "melanomafusion[efficientnet]". A file you have already works without it: weights="FILE.h5".'
        ) from None
    model = backbone.name.replace("_", "-")
    name = f"{model}_noisy-student_notop.h5"
    return WeightsFile(NS_WEIGHTS_PATH + name, name, NS_WEIGHTS_HASHES[model][1])


def import_efficientnet_weights(
    path: str | Path, backbone: str | None = None, *, out: str | Path | None = None
) -> Path:
    """Convert a weights file of the 2020 package `efficientnet` into one of ours. The package is not needed.

    `build_fusion_model(weights=path)` reads such a file as it is; the converted one also loads into
    `keras.applications.EfficientNetB*(include_top=False, pooling="avg")`, whose own normalisation it sets.

    Args:
        path: .h5 file, such as efficientnet-b4_noisy-student_notop.h5.
        backbone: name such as "efficientnet_b4"; told from the layers without it.
        out: file to write, ending in .weights.h5; beside `path` without it.

    Returns:
        Path of the file written.

    Raises:
        WeightsError: not such a file, or of another network; nothing is written.
        OutputError: the file cannot be written.
    """
    layers = read_layers(path)
    if layers is None:
        raise WeightsError(f"{path} is not a weights file of the package efficientnet.")
    name = backbone or _backbone_of(layers, path)
    if not _is_efficientnet(name):
        known = ", ".join(filter(_is_efficientnet, BACKBONES))
        raise WeightsError(f"The package efficientnet has weights for {known}. Received: backbone={name!r}")
    out = Path(out) if out is not None else Path(path).with_suffix(".weights.h5")
    if not out.name.endswith(".weights.h5"):
        raise WeightsError(f"Keras writes weights to files that end in .weights.h5. Received: out={str(out)!r}")
    application = BACKBONES[name].constructor(input_shape=(32, 32, 3), weights=None)
    load_layers(application, layers, f"{path}: not the weights of {name}")
    _set_normalisation(application)
    with atomic_file(out) as part:
        # Keras looks at the end of the name.
        named = part.with_name(f"{part.name}.weights.h5")
        try:
            application.save_weights(named)
            named.replace(part)
        finally:
            named.unlink(missing_ok=True)
    return out


def read_layers(path: str | Path) -> Layers | None:
    """Layer name → weights, in the order of `layer.weights`.

    Understands the layout of Keras 2 (`save_weights` or `save` to .h5) and that of Keras 3 (.weights.h5, with names).

    Returns:
        The layers that have weights; None where the file is not one of the package `efficientnet`.

    Raises:
        WeightsError: the file cannot be read.
    """
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            layers = _keras_2(root) if "layer_names" in root.attrs or "layer_names0" in root.attrs else _keras_3(file)
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise WeightsError(f"{path} cannot be read as a weights file: {str(error).strip()[:200]}") from None
    is_package = "stem_conv" in layers and not any(name.startswith("normalization") for name in layers)
    return layers if is_package else None


def load_layers(model: keras.Model, layers: Layers, what: str) -> None:
    """Put weights into layers by name. Every layer gets its own, or nothing is changed.

    Args:
        model: EfficientNet of `keras.applications`; its own normalisation is left alone.
        layers: from `read_layers`.
        what: how an error begins.

    Raises:
        WeightsError: layers are missing, left over or of other shapes; lists them.
    """
    targets = {
        layer.name: layer
        for layer in model.layers
        if layer.weights and not isinstance(layer, keras.layers.Normalization)
    }
    problems = [f"layer {name} is not in the file" for name in targets if name not in layers]
    problems += [f"the network has no layer {name}" for name in layers if name not in targets and name != _HEAD]
    for name in targets.keys() & layers.keys():
        wanted = [tuple(weight.shape) for weight in targets[name].weights]
        found = [weight.shape for weight in layers[name]]
        if found != wanted:
            problems.append(f"layer {name} has shapes {found} in the file, {wanted} in the network")
        elif not all(np.isfinite(weight).all() for weight in layers[name]):
            problems.append(f"layer {name} has values that are not finite")
    if problems:
        more = f"; and {len(problems) - 5} more problems" if len(problems) > 5 else ""
        raise WeightsError(f"{what}: {'; '.join(sorted(problems)[:5])}{more}.")
    for name, layer in targets.items():
        layer.set_weights(layers[name])


def _is_efficientnet(name: str) -> bool:
    return name.startswith(_PREFIX) and name in BACKBONES


def _backbone_of(layers: Layers, path: str | Path) -> str:
    """The EfficientNet with these widths; B0 and B1 differ in depth alone."""
    width = layers["top_conv"][0].shape[-1] if layers.get("top_conv") else None
    names = [name for name in BACKBONES if _is_efficientnet(name) and BACKBONES[name].width == width]
    if not names:
        raise WeightsError(f"{path}: no EfficientNet from B0 to B7 has {width} features. Is it an L2?")
    return names[-1] if "block1b_dwconv" in layers else names[0]


def _set_normalisation(application: keras.Model) -> None:
    """What the package's preprocessing does, in the application's own layer, which sees pixels scaled to [0, 1]."""
    for layer in application.layers:
        if isinstance(layer, keras.layers.Normalization):
            mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
            layer.set_weights([mean, deviation**2, *layer.get_weights()[2:]])
            layer.finalize_state()


def _keras_2(root: h5py.Group) -> Layers:
    layers = {}
    for name in _names(root, "layer_names"):
        group = root[name]
        weights = [np.asarray(group[weight], "float32") for weight in _names(group, "weight_names")]
        if weights:
            layers[name] = weights
    return layers


def _names(group: h5py.Group, key: str) -> list[str]:
    """A list of names in an attribute, which Keras cuts into key0, key1, … where it is longer than HDF5 takes."""
    if key in group.attrs:
        values = list(group.attrs[key])
    else:
        parts = sorted((part for part in group.attrs if part.startswith(key)), key=lambda part: int(part[len(key) :]))
        values = [value for part in parts for value in group.attrs[part]]
    return [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values]


def _keras_3(file: h5py.File) -> Layers:
    layers = {}
    for group in file.get("layers", {}).values():
        weights = group.get("vars", {})
        if len(weights) and "name" in weights.attrs:
            layers[str(weights.attrs["name"])] = [
                np.asarray(weights[str(number)], "float32") for number in range(len(weights))
            ]
    return layers
