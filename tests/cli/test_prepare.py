"""`melanomafusion data prepare`: what it writes and says, and that every fault ends in one message."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pandas as pd
import pytest

from melanomafusion.images import prepare as module
from melanomafusion.images.prepared import Prepared, load_prepared
from melanomafusion.testing import make_siim_isic

SMALL = ["--image-size", 16, "--shard-size", 30, "--workers", 1]


@pytest.fixture
def shell(shell, monkeypatch):
    """Run `data prepare` in this process, the shards too."""

    def run_tasks(tasks, on_event):
        for task in tasks:
            module.write_shards(on_event=on_event, **task.arguments)

    monkeypatch.setattr(module, "run_tasks", run_tasks)
    return partial(shell, "data", "prepare")


@pytest.fixture
def root(tmp_path):
    """A folder in the Kaggle layout, about 75 images, three of them damaged."""
    make_siim_isic(tmp_path / "data", n_patients=15, n_test_patients=2, image_size=24, prevalence=0.2)
    return tmp_path / "data"


def damage(root, count):
    """Names of the images that are made useless."""
    paths = sorted((root / "jpeg" / "train").iterdir())[:count]
    for path in paths:
        path.write_bytes(b"text")
    return [path.stem for path in paths]


def unfolded(out):
    """The text of a table whose cells were folded, without any white space."""
    return "".join(out.replace("│", " ").split())


def records(root):
    return len(pd.read_csv(root / "train.csv"))


def test_images_are_prepared_and_the_next_command_named(shell, root, tmp_path):
    code, out, err = shell("--root", root, "--out", tmp_path / "out", *SMALL)
    assert code == 0
    assert f"{records(root):,} images in {-(-records(root) // 30)} shards" in out
    assert f"melanomafusion train RECIPE --data {tmp_path / 'out'}" in out
    assert "refused" not in out
    assert err == ""
    assert len(load_prepared(tmp_path / "out")) == records(root)


def test_refused_images_are_listed_with_their_reason(shell, root, tmp_path):
    names = damage(root, 3)
    code, out, _ = shell("--root", root, "--out", tmp_path / "out", *SMALL)
    assert code == 0
    assert f"3 of {records(root):,} images cannot be used and are in no shard." in out
    for name in names:
        assert f"{name}.jpg: not a JPEG or PNG image".replace(" ", "") in unfolded(out)
    assert f"{records(root) - 3:,} images in" in out


def test_many_refused_images_are_counted_and_the_file_with_all_named(shell, root, tmp_path):
    damage(root, 45)
    _, out, _ = shell("--root", root, "--out", tmp_path / "out", *SMALL)
    assert f"45 of {records(root):,} images" in out
    assert f"5 more than shown; all in {tmp_path / 'out' / 'prepared.json'}" in out


def test_json_is_json_alone(shell, root, tmp_path):
    names = damage(root, 2)
    code, out, err = shell("--root", root, "--out", tmp_path / "out", *SMALL, "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["records"] == records(root) - 2
    assert found["shards"] == len(Prepared.read(tmp_path / "out").shards)
    assert found["bytes"] == sum(path.stat().st_size for path in (tmp_path / "out").glob("*.parquet"))
    assert [entry["image_name"] for entry in found["refused"]] == names


def test_options_reach_the_preparation(shell, root, tmp_path):
    options = ["--mode", "longest-side", "--crop-border", "--colour-constancy", "--lossless"]
    assert shell("--root", root, "--out", tmp_path / "out", *SMALL, *options)[0] == 0
    made = Prepared.read(tmp_path / "out").preparation
    assert made.to_dict() == {
        "size": 16,
        "mode": "longest-side",
        "crop_border": True,
        "colour_constancy": True,
        "quality": None,
    }
    assert shell("--root", root, "--out", tmp_path / "other", *SMALL, "--quality", 70)[0] == 0
    assert Prepared.read(tmp_path / "other").preparation.quality == 70


def test_a_second_command_says_the_same(shell, root, tmp_path):
    first = shell("--root", root, "--out", tmp_path / "out", *SMALL)
    assert shell("--root", root, "--out", tmp_path / "out", *SMALL) == first


def test_another_size_is_refused_unless_told_to_begin_anew(shell, root, tmp_path):
    shell("--root", root, "--out", tmp_path / "out", *SMALL)
    other = ["--root", root, "--out", tmp_path / "out", *SMALL[2:], "--image-size", 24]
    code, _, err = shell(*other)
    assert code == 1
    assert "size 16 → 24" in err
    assert shell(*other, "--restart")[0] == 0
    assert Prepared.read(tmp_path / "out").preparation.size == 24


def test_a_folder_of_something_else_is_refused(shell, root, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.docx").write_text("mine")
    code, _, err = shell("--root", root, "--out", tmp_path / "out", *SMALL)
    assert code == 1
    assert "holds no prepared images" in err
    assert os.listdir(tmp_path / "out") == ["thesis.docx"]


@pytest.mark.parametrize(
    "option",
    [
        ["--quality", 0],
        ["--quality", 101],
        ["--workers", 0],
        ["--shard-size", 0],
        ["--mode", "squash"],
        ["--image-size", "x"],
    ],
)
def test_wrong_usage_ends_with_2(shell, root, tmp_path, option):
    assert shell("--root", root, "--out", tmp_path / "out", *option)[0] == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", [7, 4097, -1])
def test_an_impossible_size_ends_with_1(shell, root, tmp_path, size):
    code, _, err = shell("--root", root, "--out", tmp_path / "out", "--image-size", size)
    assert code == 1
    assert f"Received: {size}" in err
    assert not (tmp_path / "out").exists()


def test_images_without_rows_are_refused_or_left_alone(shell, root, tmp_path):
    (root / "jpeg" / "train" / "stranger.jpg").write_bytes(b"")
    code, _, err = shell("--root", root, "--out", tmp_path / "out", *SMALL)
    assert code == 1
    assert "stranger" in err
    assert shell("--root", root, "--out", tmp_path / "out", *SMALL, "--extra-images", "ignore")[0] == 0


def test_a_folder_that_cannot_be_written_is_an_output_error(shell, root):
    # Not even root can make a folder there.
    code, _, err = shell(
        "--root", root, "--out", "/proc/self/out" if os.path.isdir("/proc/self") else "/dev/out", *SMALL
    )
    assert code == 1
    assert "Cannot write" in err


def test_a_file_in_place_of_the_folder_is_refused(shell, root, tmp_path):
    (tmp_path / "out").write_text("mine")
    code, _, err = shell("--root", root, "--out", tmp_path / "out", *SMALL)
    assert code == 1
    assert "is a file" in err
    code, _, err = shell("--root", root, "--out", tmp_path / "out" / "inside", *SMALL)
    assert code == 1
    assert str(tmp_path / "out") in err


@pytest.mark.parametrize("name", ["a[/b]", "[red]"])
def test_folders_with_brackets_in_their_names_are_printed_as_they_are(shell, root, tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    root = root.rename(tmp_path / name)
    damage(root, 1)
    out_folder = tmp_path / f"out{name}"
    code, out, _ = shell("--root", root, "--out", out_folder, *SMALL)
    assert code == 0
    assert f"kB: {out_folder}\n" in out
    assert f"{root}/jpeg" in unfolded(out)


def processes(folder):
    """Ids of the workers whose log lies in a folder: their call names it."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                links = [os.readlink(f"/proc/{entry.name}/fd/{fd}") for fd in os.listdir(f"/proc/{entry.name}/fd")]
            except OSError:
                continue
            if any(link.startswith(f"{folder}/.unfinished/worker-") for link in links):
                found.append(int(entry.name))
    return found


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="looks processes up in /proc")
def test_ctrl_c_stops_the_workers_and_the_same_command_goes_on(shell, root, tmp_path, ctrl_c):
    out = tmp_path / "out"
    # Bigger work than the time in which the signal comes.
    command = ["data", "prepare", "--root", str(root), "--out", str(out), "--image-size", "900", "--shard-size", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from melanomafusion.cli import main; main()", *command, "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 60
    while not list(out.glob("shard-*.parquet")):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.005)
    assert len(processes(out)) > 1
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert processes(out) == []
    assert not (out / "prepared.json").exists()
    assert shell(*command[2:])[0] == 0
    assert len(load_prepared(out)) == records(root)


def test_ctrl_c_says_that_the_same_command_goes_on(shell, root, tmp_path, monkeypatch):
    def interrupted(tasks, on_event):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_tasks", interrupted)
    code, _, err = shell("--root", root, "--out", tmp_path / "out", *SMALL)
    assert code == 130
    assert "the same command goes on" in err
