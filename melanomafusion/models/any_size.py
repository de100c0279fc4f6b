"""A model that takes images of any side: what a stage trains whose images are smaller than those that are scored."""

from __future__ import annotations

import keras


def for_any_size(model: keras.Model, backbone: str) -> keras.Model:
    """The same model, made of the same layers, for images of any side.

    Convolutions and pooling do not care for the side; only the inputs say it.

    Args:
        model: from `build_fusion_model`, with an image branch.
        backbone: its name.

    Returns:
        Model with inputs `image` (B, H, W, 3) and, where there is a metadata branch, `metadata` (B, D). Training it
        trains `model`, whose weights it shares.
    """
    network = model.get_layer(backbone)
    layers = {network.name: _with_layers(network, keras.Input((None, None, 3), name="image_of_any_size"))}
    inputs = {name: tensor for name, tensor in model.input.items() if name != "image"}
    inputs["image"] = keras.Input((None, None, 3), name="image", dtype="float32")
    bare = keras.Model(model.input, model.output, name=model.name)  # what a model was compiled with is not wanted
    return keras.models.clone_model(
        bare, input_tensors=inputs, clone_function=lambda layer: layers.get(layer.name, layer)
    )


def _with_layers(network: keras.Model, image: keras.KerasTensor) -> keras.Model:
    """The network's layers one after another anew, behind another input."""
    return keras.models.clone_model(
        network,
        input_tensors=image,
        # A sequence of layers, such as the stem of a ConvNeXt, knows the side too.
        clone_function=lambda layer: keras.Sequential(layer.layers) if isinstance(layer, keras.Sequential) else layer,
    )
