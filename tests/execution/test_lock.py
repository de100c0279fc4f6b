"""Locks: one at a time, and the system takes them back from the dead."""

import os
import signal
import subprocess
import sys

import pytest

from melanomafusion.errors import RunError
from melanomafusion.execution.lock import in_use, is_held, only_one

_HOLD = """
import sys, time
from melanomafusion.execution.lock import in_use, only_one
with {kind}:
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock file until it is killed."""
    started = []

    def start(kind):
        process = subprocess.Popen(
            [sys.executable, "-c", _HOLD.format(kind=kind), str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_second_process_is_refused_and_told_who_holds_the_lock(holder, tmp_path):
    assert not is_held(tmp_path / "lock")
    process = holder("only_one(sys.argv[1], 'x')")
    assert is_held(tmp_path / "lock")
    said = rf"Fold 3 is under way in another process \(process {process.pid} on \S+\)"
    with pytest.raises(RunError, match=said), only_one(tmp_path / "lock", "Fold 3"):
        pass


def test_the_lock_of_a_killed_process_is_free(holder, tmp_path):
    process = holder("only_one(sys.argv[1], 'x')")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not is_held(tmp_path / "lock")
    with only_one(tmp_path / "lock", "x"):
        assert is_held(tmp_path / "lock")
    assert not is_held(tmp_path / "lock")


def test_users_of_a_folder_learn_whether_they_are_alone(holder, tmp_path):
    process = holder("in_use(sys.argv[1])")
    with in_use(tmp_path / "lock") as alone:
        assert not alone()
        process.kill()
        process.wait()
        assert alone()


def test_an_error_gives_the_lock_back(tmp_path):
    with pytest.raises(ZeroDivisionError), only_one(tmp_path / "lock", "x"):
        _ = 1 / 0
    assert not is_held(tmp_path / "lock")
