"""Shared by all tests: synthetic data, painted once; the command line and the tasks of runs in this process."""

import importlib
import os
import signal
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest
from hypothesis import settings

import melanomafusion as mf
from melanomafusion import cli
from melanomafusion.errors import MelanomaFusionError
from melanomafusion.testing import make_siim_isic

# A machine with other work to do is slow now and then; no clock decides whether the code is right.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def synthetic_root(tmp_path_factory):
    """A folder in the Kaggle layout: about 400 training images of 32 pixels."""
    root = tmp_path_factory.mktemp("synthetic")
    make_siim_isic(root, n_patients=80, n_test_patients=6, image_size=32, prevalence=0.2, seed=1)
    return root


@pytest.fixture(scope="session")
def folded(synthetic_root):
    """The training records in three patient-grouped folds."""
    return mf.assign_folds(mf.load_siim_isic_2020(synthetic_root), 3)


@pytest.fixture
def shell(monkeypatch, capsys):
    """Run the command line in this process: (exit code, standard output, standard error)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["melanomafusion", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return run


@pytest.fixture
def ctrl_c():
    """SIGINT raises KeyboardInterrupt, here and in processes started: a shell's background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def in_this_process(monkeypatch):
    """Tasks of a run without processes of their own, which take seconds to start."""

    def run_task(task, on_event):
        home, name = task.function.split(":")
        return getattr(importlib.import_module(home), name)(on_event=on_event, **task.arguments)

    def run(self, tasks, on_event, *, tries=1, return_errors=False):
        results = []
        for task in tasks:
            try:
                results.append(run_task(task, on_event))
            except MelanomaFusionError as error:
                if not return_errors:
                    raise
                results.append(error)
        return results

    monkeypatch.setattr("melanomafusion.training.cross_validation.run_task", run_task)
    monkeypatch.setattr("melanomafusion.training.estimate.run_task", run_task)
    monkeypatch.setattr("melanomafusion.execution.local.LocalExecutor.run", run)
