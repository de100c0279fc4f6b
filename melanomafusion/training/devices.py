"""What a fold is computed on: every GPU that its process may use, in which precision, compiled or not."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import keras
import tensorflow as tf

from ..recipes.recipe import Recipe


def set_up_keras(recipe: Recipe, seed: int) -> tf.distribute.Strategy:
    """Seeds and precision of this process, and the strategy in whose scope a model is built and trained.

    Half precision only where a GPU is: on a CPU it halves the speed. A GPU's memory is taken as it is needed, so that
    two processes can share it. A strategy also sends the next batch to its GPU while the last one is computed.

    Args:
        recipe: names the precision.
        seed: of Python, NumPy and Keras.
    """
    keras.utils.set_random_seed(seed)
    for gpu in tf.config.list_physical_devices("GPU"):
        with suppress(RuntimeError):  # too late: this process has used it already
            tf.config.experimental.set_memory_growth(gpu, True)
    devices = accelerators()
    precision = recipe.precision
    if precision == "auto":
        precision = "mixed_float16" if devices else "float32"
    keras.config.set_dtype_policy(precision)
    if not devices:
        return tf.distribute.get_strategy()
    return tf.distribute.OneDeviceStrategy(devices[0]) if len(devices) == 1 else tf.distribute.MirroredStrategy(devices)


def accelerators() -> list[str]:
    """Names of the GPUs that batches are divided among."""
    return [device.name for device in tf.config.list_logical_devices("GPU")]


def uses_xla(recipe: Recipe) -> bool:
    """Whether steps are compiled with XLA: by itself on one GPU only.

    On a CPU it makes EfficientNet seven to ten times slower; over several GPUs, or in micro-batches, it is not used.
    """
    strategy = tf.distribute.get_strategy()
    if recipe.xla != "auto":
        return recipe.xla == "on"
    return len(accelerators()) == 1 and strategy.num_replicas_in_sync == 1 and recipe.micro_batch_size is None


def peak_memory() -> dict[str, int]:
    """The most bytes that this process has held so far: {"memory": …, "gpu_memory": … (of all GPUs)}, where known."""
    peaks = {}
    status = Path("/proc/self/status")
    if status.is_file():  # not getrusage: it begins with the peak of the process that started this one
        lines = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        if lines:  # gVisor has none
            peaks["memory"] = int(lines[0].split()[1]) * 1024
    gpus = tf.config.list_logical_devices("GPU")
    if gpus:
        peaks["gpu_memory"] = sum(
            int(tf.config.experimental.get_memory_info(f"GPU:{number}")["peak"]) for number in range(len(gpus))
        )
    return peaks


def forget_peak() -> None:
    """Have `peak_memory` begin anew, where the system can (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def available_memory() -> int | None:
    """Bytes that this process may still take of the machine, or of what its container allows; None where not known."""
    known = []
    with suppress(OSError, ValueError):
        (line,) = (line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
        known.append(int(line.split()[1]) * 1024)
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):
            known.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
    return min(known) if known else None
