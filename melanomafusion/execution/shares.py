"""What each of several processes gets of this machine: its share of the cores, and a GPU."""

from __future__ import annotations

import os
from pathlib import Path

# oneDNN and OpenBLAS, then TensorFlow's own threads; a number that is set already stays.
_THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")


def shares(count: int) -> list[dict[str, str]]:
    """Environment variables of `count` processes that run at once.

    Args:
        count: of processes. One process alone has the machine as it is.
    """
    if count == 1:
        return [{}]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = {name: value for name, value in threads(max(1, cores // count)).items() if name not in os.environ}
    devices = gpus()
    return [
        {**share, **({"CUDA_VISIBLE_DEVICES": devices[number % len(devices)]} if devices else {})}
        for number in range(count)
    ]


def threads(count: int) -> dict[str, str]:
    """Environment variables that have a process use so many cores: with another number, sums come in another order."""
    return dict.fromkeys(_THREADS, str(count))


def gpus() -> list[str]:
    """The NVIDIA GPUs that a process may use, as CUDA_VISIBLE_DEVICES names them; without loading TensorFlow."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() and name.strip() != "-1"]
    return [str(number) for number, _ in enumerate(sorted(Path("/dev").glob("nvidia[0-9]*")))]
