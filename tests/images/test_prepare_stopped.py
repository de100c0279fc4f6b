"""`prepare` stopped, killed or robbed of its files: the next run ends with the bytes of an undisturbed one."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from melanomafusion import atomic
from melanomafusion.errors import RunError
from melanomafusion.execution import local
from melanomafusion.images import prepare as module
from melanomafusion.images.prepare import prepare

SMALL = {"image_size": 16, "shard_size": 4, "workers": 2}
KILLS = 5


def contents(folder):
    """Name → bytes of every file of a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def dataset(make_dataset, tmp_path):
    """Ten records: two full shards and a half."""
    return make_dataset(tmp_path / "raw")


@pytest.fixture
def finished(dataset, tmp_path, in_process):
    """A finished folder, and what was in it."""
    prepare(dataset, tmp_path / "out", **SMALL)
    in_process.clear()
    return contents(tmp_path / "out")


def unfinish(folder):
    """A finished folder as it was before its summary was written."""
    summary = json.loads((folder / "prepared.json").read_text())
    (folder / ".unfinished").mkdir()
    for shard in summary["shards"]:
        note = {**shard, "refused": []}
        (folder / ".unfinished" / shard["name"].replace(".parquet", ".json")).write_text(json.dumps(note))
    (folder / "prepared.json").unlink()


def leave_torn_notes(folder):
    unfinish(folder)
    (folder / ".unfinished" / "shard-00000.json").write_text('{"fingerprint": "12')
    (folder / ".unfinished" / "shard-00001.json").write_text("[]")
    (folder / ".unfinished" / "shard-00002.json").write_bytes(b"\xff\xfe\0")


def leave_parts(folder):
    for name in (".shard-00000.parquet.0a1b2c3d.part", ".prepared.json.0a1b2c3d.part"):
        (folder / name).write_bytes(b"half")
    (folder / "shard-00000.parquet").unlink()
    (folder / "prepared.json").unlink()
    (folder / ".unfinished").mkdir()
    (folder / ".unfinished" / ".shard-00000.json.0a1b2c3d.part").write_bytes(b"{")


def leave_a_summary_that_is_no_text(folder):
    (folder / "prepared.json").write_bytes(b"\xff\xfe\0{")


@pytest.mark.parametrize(
    "leave",
    [
        unfinish,
        leave_torn_notes,
        leave_parts,
        leave_a_summary_that_is_no_text,
        lambda folder: (folder / "shard-00001.parquet").unlink(),
        lambda folder: (folder / "shard-00001.parquet").write_bytes(b"PAR1"),
        lambda folder: os.truncate(folder / "shard-00002.parquet", 4000),
        lambda folder: shutil.copy(folder / "shard-00000.parquet", folder / "shard-00002.parquet"),
        lambda folder: (folder / "prepared.json").unlink(),
        lambda folder: (folder / "prepared.json").write_text('{"shards": []}'),
        lambda folder: (folder / "prepared.json").write_text('{"format": 1}'),
        lambda folder: (folder / ".unfinished").mkdir(),
        lambda folder: [(folder / ".unfinished").mkdir(), (folder / "prepared.json").unlink()],
    ],
)
def test_leftovers_and_losses_are_mended_by_the_next_run(dataset, tmp_path, finished, leave):
    leave(tmp_path / "out")
    assert prepare(dataset, tmp_path / "out", **SMALL).records == 10
    assert contents(tmp_path / "out") == finished


@pytest.mark.parametrize(
    "text", ['{"shards": 3}', '{"shards": [1], "refused": []}', '{"shards": [{}], "refused": []}', '{"shards": [{}]}']
)
def test_a_damaged_summary_is_written_anew(dataset, tmp_path, finished, text):
    (tmp_path / "out" / "prepared.json").write_text(text)
    prepare(dataset, tmp_path / "out", **SMALL)
    assert contents(tmp_path / "out") == finished


class Stopped(BaseException):
    """The end of the process, as far as the code can see."""


def stop_at(number, monkeypatch):
    """The process ends when it is about to give a file its final name for the `number`th time (from 0)."""
    count = iter(range(1000))
    replace = os.replace

    def or_stop(*paths):
        if next(count) == number:
            raise Stopped
        replace(*paths)

    monkeypatch.setattr(atomic.os, "replace", or_stop)


@pytest.mark.parametrize("number", range(9))
def test_stopped_before_any_of_its_files_it_goes_on_to_the_same_bytes(dataset, tmp_path, finished, monkeypatch, number):
    with monkeypatch.context() as patch:
        stop_at(number, patch)
        with pytest.raises(Stopped):
            prepare(dataset, tmp_path / "stopped", **SMALL)
    prepare(dataset, tmp_path / "stopped", **SMALL)
    assert contents(tmp_path / "stopped") == finished


@pytest.mark.parametrize("number", range(0, 7))
def test_stopped_while_one_shard_is_made_anew_it_goes_on_too(dataset, tmp_path, finished, monkeypatch, number):
    os.utime(dataset.frame["path"][5], ns=(1, 1))
    with monkeypatch.context() as patch:
        stop_at(number, patch)
        with pytest.raises(Stopped):
            prepare(dataset, tmp_path / "out", **SMALL)
    prepare(dataset, tmp_path / "out", **SMALL)
    prepare(dataset, tmp_path / "fresh", **SMALL)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_a_worker_that_dies_gives_one_clear_error_and_the_next_run_ends_well(make_dataset, tmp_path, monkeypatch):
    dataset = make_dataset(tmp_path / "raw", 60)
    many = {**SMALL, "workers": 1, "shard_size": 1}
    started, popen = [], subprocess.Popen

    def start_and_remember(*arguments, **options):
        started.append(popen(*arguments, **options))
        return started[-1]

    def die(event):
        del event
        started[0].kill()

    monkeypatch.setattr(module, "run_tasks", local.run_tasks)
    monkeypatch.setattr(module, "_IMAGES_PER_EVENT", 1)
    monkeypatch.setattr(local.subprocess, "Popen", start_and_remember)
    with pytest.raises(RunError) as error:
        prepare(dataset, tmp_path / "dying", **many, on_event=die)
    for part in ("preparing images was killed (SIGKILL)", "worker-0.log"):
        assert part in str(error.value)
    assert all(process.poll() is not None for process in started)
    monkeypatch.undo()
    prepare(dataset, tmp_path / "dying", **many)
    prepare(dataset, tmp_path / "whole", **many)
    assert contents(tmp_path / "dying") == contents(tmp_path / "whole")


SCRIPT = """
import sys
from melanomafusion.data.dataset import Dataset
from melanomafusion.images.prepare import prepare
data = Dataset.read_parquet(sys.argv[1])
print("ready", flush=True)
prepare(data, sys.argv[2], image_size=48, shard_size=4, workers=1)
"""


def start(table, out):
    """`prepare` in a process group of its own, about to begin."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(table), str(out)], stdout=subprocess.PIPE, start_new_session=True, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def test_killed_at_random_moments_it_ends_with_the_same_bytes(make_dataset, tmp_path, encoded, in_process):
    picture = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    files = {f"i{row}.jpg": encoded(np.roll(picture, row), quality=80) for row in range(40)}
    dataset = make_dataset(tmp_path / "raw", files)
    dataset.write_parquet(tmp_path / "table.parquet")
    began = time.monotonic()
    with start(tmp_path / "table.parquet", tmp_path / "whole") as process:
        process.wait()
    seconds = time.monotonic() - began
    wanted = contents(tmp_path / "whole")
    chance = random.Random(4)
    cut_short = 0
    for kill in range(KILLS):
        out = tmp_path / f"killed{kill}"
        with start(tmp_path / "table.parquet", out) as process:
            try:
                process.wait(chance.uniform(0.02, 0.9 * seconds))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                cut_short += 1
        prepare(dataset, out, image_size=48, shard_size=4, workers=2)
        assert contents(out) == wanted
    assert cut_short
