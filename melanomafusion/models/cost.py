"""What a backbone costs: parameters, multiply-adds, and milliseconds per image on this machine."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..errors import RecipeError
from .backbones import build_backbone, get_backbone
from .weights import load_backbone

# What has a kernel (or two) that is applied once at every place of the output.
_COUNTED = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    keras.layers.Dense,
)
_LEAST_REPEATS, _MOST_REPEATS, _SECONDS = 3, 20, 3.0


@dataclass(frozen=True)
class Cost:
    """Of a backbone at an image size, without normalisation, pooling and head.

    Attributes:
        parameters: all weights, the running statistics of batch norm among them, as `count_params` counts them.
        multiply_adds: of one image.
    """

    parameters: int
    multiply_adds: int


def backbone_cost(name: str, image_size: int) -> Cost:
    """Count the cost of a backbone from its graph; no weights are made, so a B7 takes seconds and no memory.

    Args:
        name: from `list_backbones()`.
        image_size: side in pixels.

    Raises:
        RecipeError: an unknown name, a size that cannot be built, or a layer whose cost is not known.
    """
    row = get_backbone(name)
    if type(image_size) is not int or image_size < 32:
        raise RecipeError(f"Images must be at least 32 pixels wide. Received: image_size={image_size!r}")

    def count() -> Cost:
        # Weights that are made in this scope have a shape and no value.
        with keras.StatelessScope(initialize_variables=False):
            network = build_backbone(row, image_size, lambda backbone, shape: load_backbone(backbone, shape, None))
        return Cost(int(network.count_params()), multiply_adds(network))

    # Keras remembers weights without value, to make them later, per thread: this thread forgets them when it ends.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(count).result()


def multiply_adds(model: keras.Model) -> int:
    """Multiply-adds of convolutions and dense layers for one record, as papers count ("FLOPs", "MAdds").

    A multiplication with its addition is one (hardware vendors count two). Biases, activations, normalisation and
    pooling are left out, which is below 1 % of the whole. Squeeze-and-excitation and other layers on pooled features
    count.

    Args:
        model: functional, built for a fixed input size; models inside it are counted too.

    Raises:
        RecipeError: a layer has a matrix of weights and is none of Conv2D, DepthwiseConv2D, SeparableConv2D, Dense.
    """
    total = 0
    for layer in _layers(model):
        kernels = [weight.shape for weight in layer.weights if len(weight.shape) > 1]
        if kernels and type(layer) not in _COUNTED:
            known = ", ".join(kind.__name__ for kind in _COUNTED)
            raise RecipeError(
                f"Multiply-adds of {type(layer).__name__} ({layer.name}) are not known; only those of {known}."
            )
        # (B, …, channels): each kernel once per place.
        total += prod(layer.output.shape[1:-1]) * sum(map(prod, kernels)) if kernels else 0
    return total


def milliseconds_per_image(
    model: keras.Model, batch_size: int, *, seconds: float = _SECONDS, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Time of inference, per image: the median batch of several, after one that builds the graph.

    Args:
        model: with one input (B, H, W, 3).
        batch_size: images at once.
        seconds: measured for this long, but at least 3 and at most 20 batches.
        clock: in seconds.
    """
    images = np.random.default_rng(0).random((batch_size, *model.input_shape[1:]), dtype="float32")
    model.predict_on_batch(images)
    times: list[float] = []
    while len(times) < _LEAST_REPEATS or (sum(times) < seconds and len(times) < _MOST_REPEATS):
        started = clock()
        model.predict_on_batch(images)
        times.append(clock() - started)
    return 1000 * statistics.median(times) / batch_size


def count_backbones(
    *, on_event: Callable[[dict[str, Any]], None], backbones: list[tuple[str, int]]
) -> list[dict[str, int]]:
    """`backbone_cost` of several, as a task for a process of its own, which keeps TensorFlow out of the caller's.

    Args:
        on_event: called with {"done"} after each.
        backbones: name and image size of each.

    Returns:
        parameters and multiply_adds of each.

    Raises:
        RecipeError: as `backbone_cost`.
    """
    costs = []
    for done, (name, image_size) in enumerate(backbones, start=1):
        costs.append(asdict(backbone_cost(name, image_size)))
        on_event({"kind": "count", "done": done})
    return costs


def time_backbone(
    *, on_event: Callable[[dict[str, Any]], None], backbone: str, image_size: int, batch_sizes: list[int]
) -> dict[str, Any]:
    """Build a backbone from random weights and time it: a task for a process of its own, which frees all memory.

    Args:
        on_event: called with {"done"} after each batch size.
        backbone: from `list_backbones()`.
        image_size: side in pixels.
        batch_sizes: images at once.

    Returns:
        {"milliseconds": one figure per batch size, per image, "machine": of `machine`}.

    Raises:
        RecipeError: an unknown name, or a size that cannot be built.
    """
    network = build_backbone(get_backbone(backbone), image_size, lambda row, shape: load_backbone(row, shape, None))
    measured = []
    for done, batch_size in enumerate(batch_sizes, start=1):
        measured.append(milliseconds_per_image(network, batch_size))
        on_event({"kind": "time", "done": done})
    return {"milliseconds": measured, "machine": machine()}


def machine() -> dict[str, Any]:
    """Where times were measured: processor, threads that may be used, GPUs, Keras and its backend."""
    return {
        "processor": _processor(),
        "threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "gpus": len([device for device in keras.distribution.list_devices() if "gpu" in device.lower()]),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
    }


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (named or [platform.processor() or platform.machine()])[0]
