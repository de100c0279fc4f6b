"""kill -9 of `prepare` at random moments, then a second run: the shards must be those of an undisturbed run.

    python .ci/kill_prepare.py ROOT --kills 20     # ROOT/data/isic-archive-fullres

The whole process group is killed, workers and all. Half of the runs are killed a second time before they may finish.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

import melanomafusion as mf

RUN = """
import sys
import melanomafusion as mf
data = mf.Dataset.read_parquet(sys.argv[1])
print("begins", flush=True)
mf.prepare(data, sys.argv[2], image_size=256, shard_size=3, workers=2)
"""


def full_resolution(folder, table):
    """The full-resolution files, each three times under three names, as a table for the runs."""
    csv = pd.read_csv(folder / "metadata.csv", usecols=["name", "sex", "age_approx"])
    csv.to_csv(table.with_suffix(".csv"), index=False)
    once = mf.load_csv(table.with_suffix(".csv"), image_folder=folder, columns={"image_name": "name"}, has_target=False)
    frames = [once.frame.assign(image_name=once.frame["image_name"] + f"_{copy}") for copy in range(3)]
    mf.Dataset(pd.concat(frames, ignore_index=True)).write_parquet(table)


def run(table, out, kill_after=None):
    """One run in a process group of its own; killed after so many seconds from where it begins. Seconds it took."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(table), str(out)], stdout=subprocess.PIPE, start_new_session=True, text=True
    )
    assert process.stdout.readline() == "begins\n"
    began = time.monotonic()
    try:
        code = process.wait(kill_after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        code = 0
    process.stdout.close()
    assert code == 0, f"exit code {code}"
    return time.monotonic() - began


def hashes(folder):
    """Name → SHA-256 of every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def main():
    """All kills; the first difference is a failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = options.root / "data" / "isic-archive-fullres"
    if not folder.is_dir():
        raise SystemExit(f"{folder} is missing: the check cannot be run")
    chance = random.Random(options.seed)
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        table = place / "table.parquet"
        full_resolution(folder, table)
        seconds = run(table, place / "whole")
        wanted = hashes(place / "whole")
        print(f"undisturbed: {seconds:.2f} s, {len(wanted)} files", flush=True)
        for kill in range(options.kills):
            out = place / f"killed-{kill}"
            moments = [chance.uniform(0, seconds) for _ in range(1 + kill % 2)]
            left = []
            for moment in moments:
                run(table, out, moment)
                left.append(len(list(out.glob("shard-*.parquet"))) if out.is_dir() else 0)
            run(table, out)
            same = hashes(out) == wanted
            failures += not same
            killed = " and ".join(
                f"{moment:.3f} s ({shards} shards)" for moment, shards in zip(moments, left, strict=True)
            )
            print(f"kill {kill + 1:2}: after {killed}: {'identical' if same else 'DIFFERENT'}", flush=True)
    print(f"{options.kills - failures} of {options.kills} killed runs ended with identical bytes")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
