"""States on disk: whole or not there, found sound or not used, whatever was done to them."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from melanomafusion.errors import OutputError
from melanomafusion.training.checkpoints import Checkpoints

FIRST = {"model/0": np.arange(600, dtype="float32").reshape(20, 30), "model/1": np.zeros((), "int32")}
SECOND = {name: array + 1 for name, array in FIRST.items()}
FILES = ("arrays.npz", "facts.json", "SHA256SUMS")


@pytest.fixture
def store(tmp_path):
    """Two states."""
    store = Checkpoints(tmp_path / "checkpoints")
    store.write(FIRST, {"epoch": 1, "best": float("-inf")})
    store.write(SECOND, {"epoch": 2, "best": 0.1 + 0.2})
    return store


def read(store):
    """(epoch, what was told)."""
    told = []
    state = Checkpoints(store.folder, told.append).newest()
    if state is not None:
        wanted = {1: FIRST, 2: SECOND}[state.facts["epoch"]]
        assert state.arrays.keys() == wanted.keys()
        for name, array in wanted.items():
            np.testing.assert_array_equal(state.arrays[name], array)
            assert state.arrays[name].dtype == array.dtype
    return (state and state.facts["epoch"]), told


def newest_folder(store):
    return max(store.folder.iterdir())


def test_the_newest_state_comes_back_to_the_last_bit(store):
    assert read(store) == (2, [])
    assert store.newest().facts["best"] == 0.1 + 0.2
    assert Checkpoints(store.folder).facts()["epoch"] == 2


def test_the_last_two_states_are_kept(store):
    for _ in range(4):
        store.write(SECOND, {"epoch": 2})
    assert [path.name for path in sorted(store.folder.iterdir())] == ["checkpoint-00000005", "checkpoint-00000006"]


def test_without_states_there_is_none(tmp_path):
    assert Checkpoints(tmp_path / "nowhere").newest() is None
    assert Checkpoints(tmp_path / "nowhere").facts() is None


def faults():
    """Sixty things that can happen to the files of a state."""
    rng = np.random.default_rng(0)
    for file in FILES:
        for share in (0.0, 0.25, 0.5, 0.9, 0.99):
            yield f"{file} cut to {share:.0%}", file, lambda content, share=share: content[: int(share * len(content))]
        for _ in range(7):
            place, bit = rng.random(), int(rng.integers(8))
            yield f"{file} bit {bit} at {place:.0%}", file, lambda content, p=place, b=bit: _flipped(content, p, b)
        for start, end in ((0.0, 1.0), (0.0, 0.1), (0.4, 0.6), (0.9, 1.0)):
            yield f"{file} zeros {start:.0%}-{end:.0%}", file, lambda content, s=start, e=end: _zeroed(content, s, e)
        yield f"{file} longer", file, lambda content: content + b"\0"
        yield f"{file} other", file, lambda content: os.urandom(len(content))
        yield f"{file} missing", file, None
        yield f"{file} swapped", file, lambda content: content[::-1]


def _flipped(content, place, bit):
    changed = bytearray(content)
    changed[int(place * len(changed))] ^= 1 << bit
    return bytes(changed)


def _zeroed(content, start, end):
    first, last = int(start * len(content)), max(int(end * len(content)), int(start * len(content)) + 1)
    return content[:first] + b"\0" * (last - first) + content[last:]


FAULTS = list(faults())


@pytest.mark.parametrize(("file", "change"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_a_damaged_state_is_told_of_and_the_one_before_it_used(store, file, change):
    path = newest_folder(store) / file
    before = path.read_bytes()
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(before))
        assert path.read_bytes() != before
    epoch, told = read(store)
    assert epoch == 1
    assert len(told) == 1
    assert f"{path.parent} is damaged and not used" in told[0]


def test_there_are_sixty_faults():
    assert len(FAULTS) >= 60


@pytest.mark.parametrize("content", [None, b"", b"x"])
def test_a_stale_or_empty_folder_with_a_higher_number_is_passed_over(store, content):
    stale = store.folder / "checkpoint-00000009"
    stale.mkdir()
    if content is not None:
        (stale / "arrays.npz").write_bytes(content)
    epoch, told = read(store)
    assert epoch == 2
    assert "checkpoint-00000009" in told[0]


def test_when_every_state_is_damaged_there_is_none_and_each_is_told_of(store):
    for path in store.folder.glob("*/arrays.npz"):
        path.write_bytes(b"")
    epoch, told = read(store)
    assert epoch is None
    assert len(told) == 2


def test_what_a_killed_process_had_begun_is_deleted_and_not_counted(store):
    (store.folder / ".checkpoint-00000003.0123abcd.part").mkdir()
    (store.folder / ".checkpoint-00000003.0123abcd.part" / "arrays.npz").write_bytes(b"half")
    (store.folder / "checkpoint-x").mkdir()
    assert read(store) == (2, [])
    assert not list(store.folder.glob(".*"))


_FULL = """
import resource, signal, sys
import numpy as np
from melanomafusion.errors import OutputError
from melanomafusion.training.checkpoints import Checkpoints
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    Checkpoints(sys.argv[1]).write({"model/0": np.ones(5000)}, {"epoch": 3})
except OutputError as error:
    print(error)
"""


def test_a_full_disk_is_told_in_one_line_and_leaves_the_last_state_as_it_is(store):
    done = subprocess.run([sys.executable, "-c", _FULL, str(store.folder)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Cannot write ")
    assert done.stdout.count("\n") == 1
    assert read(store) == (2, [])
    assert sorted(path.name for path in store.folder.iterdir()) == ["checkpoint-00000001", "checkpoint-00000002"]


def test_a_folder_that_cannot_be_written_to_is_told_in_one_line(tmp_path):
    (tmp_path / "checkpoints").write_text("a file is in the way")
    with pytest.raises(OutputError, match=r"Cannot write .*checkpoints"):
        Checkpoints(tmp_path / "checkpoints").write(FIRST, {})


def test_facts_are_readable_by_others(store):
    facts = json.loads((newest_folder(store) / "facts.json").read_text())
    assert facts["epoch"] == 2
