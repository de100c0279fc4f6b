"""The demo, small: its files, and that it goes on where it stopped. The whole one is run by itself."""

import io
import json

import pytest
from rich.console import Console

from melanomafusion import demo
from melanomafusion.errors import RunError
from melanomafusion.recipes.catalogue import get_recipe


def test_the_demo_scores_both_members_and_the_ensemble_beside_the_best_possible(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "get_recipe", lambda name: get_recipe(name).replace(epochs=1, tta=1))
    monkeypatch.setattr(demo, "N_FOLDS", 2)
    screen = io.StringIO()
    summary = demo.run_demo(tmp_path / "demo", console=Console(file=screen, width=120), n_patients=150)
    text = screen.getvalue()
    assert set(summary["auc"]) == {"fused", "image only", "mean of both"}
    assert summary["best_possible"]["image"] < summary["best_possible"]["both"]
    assert "best possible" in text
    assert "paired over patients" in text
    for name in ("roc.png", "folds.csv", "demo.json", "ensemble/oof.csv", "runs/tiny/report/history.png"):
        assert (tmp_path / "demo" / name).is_file(), name
    again = demo.run_demo(tmp_path / "demo", console=Console(file=io.StringIO()), n_patients=150)
    assert again["auc"] == summary["auc"]
    assert json.loads((tmp_path / "demo" / "demo.json").read_text())["auc"] == summary["auc"]


def test_the_demo_leaves_a_foreign_folder_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(RunError, match="not a demo"):
        demo.run_demo(tmp_path)
