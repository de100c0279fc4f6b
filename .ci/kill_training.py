"""kill -9 of training at random moments, again and again: every fold must end as an undisturbed one, bit for bit.

    python .ci/kill_training.py --kills 200

Moments are those of tests/training/killing.py: batches, and all that a checkpoint, a bundle or a result does to the
disk. A fold is killed six times, then may finish; weights, history and scores are compared.
"""

import argparse
import itertools
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import melanomafusion as mf
from melanomafusion.testing import make_siim_isic

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "training"))
import killing  # the script of the tests

_KILLS_OF_A_FOLD = 6


def results(fold):
    """All that must be the same: weights, history, scores."""
    found = {name: (fold / name).read_bytes() for name in ("history.csv", "oof.csv")}
    return found | killing.weights(fold / "bundle")


def differences(one, other):
    """Names of what is not the same to the last bit."""
    assert one.keys() == other.keys()
    return [name for name in one if not np.array_equal(one[name], other[name])]


def main():
    """Kill until there were enough kills; exit code 1 where a run crashed or ended differently."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, started = random.Random(options.seed), time.monotonic()
    kills, finished, crashed, different = 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_siim_isic(root / "data", n_patients=80, n_test_patients=6, image_size=32, prevalence=0.2, seed=1)
        folded = mf.assign_folds(mf.load_siim_isic_2020(root / "data"), 3)
        wanted, moments = {}, {}
        for recipe in killing.RECIPES:
            code, moments[recipe] = killing.run(folded, recipe, root / recipe)
            assert code == 0, f"the undisturbed run of {recipe} ended with {code}"
            wanted[recipe] = results(root / recipe)
        for number, recipe in enumerate(itertools.cycle(killing.RECIPES)):
            if kills >= options.kills:
                break
            out = root / f"run-{number}"
            code = None
            for _ in range(_KILLS_OF_A_FOLD):
                code, _ = killing.run(folded, recipe, out, chance.randint(1, moments[recipe] // 3))
                kills += code == -signal.SIGKILL
                crashed += code not in (0, -signal.SIGKILL)
                if code == 0:
                    break
            if code != 0:
                code, _ = killing.run(folded, recipe, out)
                crashed += code != 0
            if code == 0:
                finished += 1
                unlike = differences(results(out), wanted[recipe])
                different += bool(unlike)
                print(f"{recipe}: {kills} kills so far, {len(unlike)} differences {unlike[:3] or ''}", flush=True)
    minutes = (time.monotonic() - started) / 60
    print(
        f"{kills} kills, {finished} folds finished, {crashed} crashes, {different} differences, {minutes:.1f} minutes"
    )
    raise SystemExit(bool(crashed or different))


if __name__ == "__main__":
    main()
