"""Whatever stops a fold, it is told, and goes on when it is started again."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import melanomafusion as mf
from melanomafusion.errors import RunError
from melanomafusion.training.checkpoints import Checkpoints
from melanomafusion.training.resume import Resume

COMMAND = [sys.executable, "-c", "from melanomafusion.cli import main; main()"]


def command(data, out, *options):
    return [
        *COMMAND,
        *("train", "tiny", "--data", str(data), "--out", str(out), "--n-folds", "3", "--folds", "0"),
        *("--set", "batch_size=4", "--set", "validation_fraction=0.3", "--set", "epochs=6", *options),
    ]


def wait_for(condition, process):
    for _ in range(1200):
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError("waited for two minutes")


def test_sigterm_saves_and_says_how_to_go_on_and_status_tells(synthetic_root, check_same, tmp_path, shell):
    out = tmp_path / "run"
    process = subprocess.Popen(command(synthetic_root, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(out.glob("fold-0/checkpoints/checkpoint-*")), process)
    running = mf.run_status(out)
    process.terminate()
    _, said = process.communicate(timeout=90)
    assert process.returncode == 75
    assert said.strip().endswith("What was done is saved; run the same command again to go on.")
    assert "Traceback" not in said
    assert [fold.state for fold in running] == ["running", "waiting", "waiting"]
    stopped = mf.run_status(out)[0]
    assert stopped.state == "stopped"
    assert 0 < stopped.epoch < 6
    assert stopped.left > 0
    code, told, _ = shell("status", out)
    assert code == 0
    assert re.search(rf"0 +\S stopped +\S {stopped.epoch} of 6", told), told
    code, told, _ = shell("status", out, "--json")
    assert json.loads(told)[0]["epoch"] == stopped.epoch

    again = subprocess.run(command(synthetic_root, out), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert f"fold 0 goes on in epoch {stopped.epoch + 1}" in again.stdout.replace("\n", " ")
    assert mf.run_status(out)[0].state == "done"
    whole = tmp_path / "whole"
    subprocess.run(command(synthetic_root, whole), capture_output=True, check=True)
    check_same(out / "fold-0", whole / "fold-0")

    code, told, _ = shell(*command(synthetic_root, out)[3:])
    assert code == 0
    assert "already" in told


def test_a_fold_whose_process_is_killed_is_begun_again_from_its_checkpoint(synthetic_root, check_same, tmp_path):
    recipe = mf.get_recipe("metadata-tiny").replace(validation_fraction=0.3)
    folded = mf.assign_folds(mf.load_siim_isic_2020(synthetic_root), 3)
    events, killed = [], []

    def watch(event):
        events.append(event)
        if event["kind"] == "epoch" and event["epoch"] == 10 and not killed:
            killed.extend(children())
            assert len(killed) == 1
            os.kill(killed[0], signal.SIGKILL)

    cv = mf.cross_validate(recipe, folded, out=tmp_path / "run", folds=[0], on_event=watch)
    assert killed
    (told,) = [event["text"] for event in events if event["kind"] == "warning"]
    assert re.search(r"Fold 0 was killed \(SIGKILL\).*memory.*begun once more", told)
    assert [event for event in events if event["kind"] == "resumed"]
    whole = mf.cross_validate(recipe, folded, out=tmp_path / "whole", folds=[0], on_event=lambda event: None)
    check_same(cv.path / "fold-0", whole.path / "fold-0")


def children():
    """Processes of this one that train."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rsplit(")", 1)[1].split()[1])
            words = (path.parent / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if parent == os.getpid() and b"execution.worker" in words:
            found.append(int(path.parent.name))
    return found


def test_a_fold_that_fails_is_reported_and_the_others_are_trained(synthetic_root, tmp_path):
    recipe = mf.get_recipe("metadata-tiny").replace(epochs=2, validation_fraction=0.3)
    folded = mf.assign_folds(mf.load_siim_isic_2020(synthetic_root), 3)
    mf.cross_validate(recipe, folded, out=tmp_path / "run", folds=[0], on_event=lambda event: None)
    (tmp_path / "run" / "fold-1").mkdir()
    (tmp_path / "run" / "fold-1" / "bundle").write_text("a file is in the way")
    with pytest.raises(mf.MelanomaFusionError, match="bundle"):
        mf.cross_validate(recipe, folded, out=tmp_path / "run", workers=2, on_event=lambda event: None)
    assert [fold.state for fold in mf.run_status(tmp_path / "run")] == ["done", "failed", "done"]
    assert "bundle" in mf.run_status(tmp_path / "run")[1].reason
    (tmp_path / "run" / "fold-1" / "bundle").unlink()
    cv = mf.cross_validate(recipe, folded, out=tmp_path / "run", on_event=lambda event: None)
    assert len(cv.oof) == len(folded)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("recipe", {"dropout": 0.9}, r"recipe: \{'dropout': 0\.9\} → \{'dropout': 0\.1\}"),
        ("records", "0123", "records: '0123'"),
        ("keras", "2.0.0", r"keras: '2\.0\.0' → '3"),
        ("format", 99, "format: 99 → 2"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_with_the_difference(tmp_path, key, value, said):
    checkpoints = Checkpoints(tmp_path)
    identity = {"recipe": {"dropout": 0.1, "epochs": 3}, "records": "abcd", "fold": 0}
    mine = Resume(checkpoints, identity, None, lambda event: None).identity
    then = {**mine, key: {**mine[key], **value} if isinstance(value, dict) else value}
    checkpoints.write({}, {"identity": then, "seconds": 1.0, "position": {}, "callbacks": {}, "history": []})
    with pytest.raises(RunError, match=said) as error:
        Resume(checkpoints, identity, None, lambda event: None)
    assert "restart" in str(error.value)


def test_one_fold_is_trained_by_one_process_at_a_time(folded, tmp_path, monkeypatch):
    from melanomafusion.execution.lock import only_one

    monkeypatch.setattr("melanomafusion.training.fit._TIME_TO_DIE", 0.1)
    recipe = mf.get_recipe("metadata-tiny").replace(epochs=1, validation_fraction=0.3)
    with only_one(tmp_path / "lock", "x"), pytest.raises(RunError, match=rf"under way in another.*{os.getpid()}"):
        mf.fit_fold(recipe, folded, 0, out=tmp_path, on_event=lambda event: None)


@pytest.mark.parametrize("minutes", [0, -1.0, float("nan")])
def test_an_interval_between_checkpoints_that_is_none_is_refused(folded, tmp_path, minutes):
    recipe = mf.get_recipe("metadata-tiny").replace(epochs=1)
    with pytest.raises(RunError, match="checkpoint_every_minutes is above 0"):
        mf.fit_fold(recipe, folded, 0, out=tmp_path, checkpoint_every_minutes=minutes)
