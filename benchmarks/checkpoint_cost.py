"""What checkpoints cost: seconds of one fold with and without them, in turns, at the default settings.

    python benchmarks/checkpoint_cost.py --backbone mobilenet_v2 --image-size 96

Weights are random and images synthetic; that changes nothing about the cost.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import melanomafusion as mf
from melanomafusion.images.pixels import decode_images, open_pixels
from melanomafusion.images.prepared import image_spec
from melanomafusion.testing import make_siim_isic
from melanomafusion.training import resume


def seconds(
    recipe: mf.Recipe, data: mf.Dataset, pixels: object, out: Path, *, checkpoints: bool
) -> tuple[float, float]:
    """(seconds of one fold, seconds of them in checkpoints)."""
    write, spent = resume.Resume.write, [0.0]

    def timed(self: resume.Resume, *arguments: object) -> None:
        if checkpoints:
            began = time.perf_counter()
            write(self, *arguments)
            spent[0] += time.perf_counter() - began

    resume.Resume.write = timed
    try:
        started = time.perf_counter()
        mf.fit_fold(recipe, data, 0, out=out, pixels=pixels, on_event=lambda event: None)
        return time.perf_counter() - started, spent[0]
    finally:
        resume.Resume.write = write


def main() -> None:
    """Train with and without, and print medians and the share of the time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    stage = {"epochs": options.epochs, "early_stopping_patience": None}
    recipe = mf.get_recipe("tiny").replace(
        backbone=options.backbone, image_size=options.image_size, stages=(stage,), batch_size=32
    )
    found: dict[bool, list[float]] = {True: [], False: []}
    shares = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_siim_isic(root / "data", n_patients=120, image_size=options.image_size, prevalence=0.2)
        data = mf.assign_folds(mf.load_siim_isic_2020(root / "data"), 3)
        spec = image_spec(data, options.image_size)
        decode_images(data, spec, root / "pixels")
        pixels = open_pixels(data, spec, root / "pixels")
        for number in range(options.rounds):
            for checkpoints in (True, False):
                out = root / f"{number}-{checkpoints}"
                took, spent = seconds(recipe, data, pixels, out, checkpoints=checkpoints)
                found[checkpoints].append(took)
                if checkpoints:
                    shares.append(spent / took)
    plain, kept = statistics.median(found[False]), statistics.median(found[True])
    print(f"{options.backbone} at {options.image_size}, {options.epochs} epochs of {len(data)} records in three folds")
    print(f"without checkpoints {plain:.1f} s, with them {kept:.1f} s; writing them {statistics.median(shares):.2%}")


if __name__ == "__main__":
    main()
