"""Trains one fold in a process that kills itself at a chosen moment, as a power cut would.

Moments are counted from 1: after each batch, and around everything that a checkpoint, a bundle or a result does to the
disk; where a file is being written, half of it is there. For the tests and for `.ci/kill_training.py`.
"""

import multiprocessing
import os
import signal
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import numpy as np

import melanomafusion as mf
from melanomafusion.training import checkpoints, fit, resume

TINY = mf.get_recipe("tiny").replace(validation_fraction=0.3, dropout=0.3, batch_size=32, seed=3)
RECIPES = {
    "frozen": TINY.replace(
        augmentation="none",
        metadata_dropout=0.2,
        stages=({"trainable": "head", "epochs": 4, "schedule": "plateau", "plateau_patience": 1},),
    ),
    "two-stage": TINY.replace(
        image_size=40,
        augmentation="light",
        ema=0.9,
        imbalance="oversample",
        stages=(
            {"trainable": "head", "epochs": 2, "learning_rate": 1e-3, "early_stopping_patience": None},
            {
                "trainable": "all",
                "image_scale": 0.8,
                "epochs": 3,
                "learning_rate": 4e-3,
                "backbone_learning_rate": 1e-3,
                "schedule": "cosine",
                "early_stopping_patience": None,
            },
        ),
    ),
    "mixed": TINY.replace(
        augmentation="medium",
        mixup=0.4,
        dropout_samples=3,
        stages=(
            {
                "epochs": 4,
                "learning_rate": 4e-3,
                "schedule": "plateau",
                "plateau_patience": 1,
                "early_stopping_patience": 2,
            },
        ),
    ),
}


class Moments:
    """Counts, and dies when its number is up."""

    def __init__(self, fatal: int | None) -> None:
        self.count, self.fatal = 0, fatal

    def pass_one(self) -> None:
        self.count += 1
        if self.count == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, module, name: str) -> None:
        """Make every call of a function two moments: one before it, one behind it."""
        function = getattr(module, name)

        def counted(*arguments, **options):
            self.pass_one()
            value = function(*arguments, **options)
            self.pass_one()
            return value

        setattr(module, name, counted)

    def save_half(self, file, **arrays) -> None:
        """`np.savez`, with a moment when half of the file is written."""
        whole = Path(file.name).with_suffix(".whole")
        SAVEZ(whole.open("wb"), **arrays)
        content = whole.read_bytes()
        whole.unlink()
        file.write(content[: len(content) // 2])
        file.flush()
        self.pass_one()
        file.write(content[len(content) // 2 :])


SAVEZ = np.savez


def train(folded: mf.Dataset, recipe: str, out: str | Path, fatal: int | None = None) -> int:
    """Train one fold of a recipe, until it is done or the moment comes; returns the number of moments."""
    moments = Moments(fatal)
    checkpoints.np.savez = moments.save_half
    moments.around(checkpoints, "_to_disk")
    moments.around(checkpoints.shutil, "rmtree")
    moments.around(os, "replace")
    moments.around(fit, "write_bundle")
    moments.around(resume.SaveProgress, "on_train_batch_end")
    moments.around(resume.SaveProgress, "on_epoch_end")
    resume._SHARE = 1e9  # save wherever it can be, however long it takes
    mf.fit_fold(RECIPES[recipe], folded, 0, out=out, checkpoint_every_minutes=1e-6, on_event=lambda event: None)
    return moments.count


# Processes are forked from one that has loaded TensorFlow and done nothing with it: loading takes longer than a fold.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["melanomafusion.training.fit"])


def _train(answer, *arguments) -> None:
    answer.send(train(*arguments))


def run(folded: mf.Dataset, recipe: str, out: str | Path, fatal: int | None = None) -> tuple[int, int]:
    """Train in a process of its own: (exit code, or minus the signal that ended it; number of moments passed)."""
    answer, told = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=_train, args=(told, folded, recipe, out, fatal))
    process.start()
    told.close()
    process.join()
    return process.exitcode, answer.recv() if process.exitcode == 0 else 0


def weights(bundle: Path) -> dict[str, np.ndarray]:
    """All arrays of a bundle, by name."""
    found = {}
    with h5py.File(bundle / "model.weights.h5") as file:
        file.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return found
