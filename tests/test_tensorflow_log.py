"""What TensorFlow says of itself at import is left out of a command's answer, and nothing else is."""

import subprocess
import sys

import pytest

QUIETLY = "from melanomafusion.tensorflow_log import import_tensorflow_quietly as quietly; quietly(); "
SAYS = r"""
import os
os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n")
os.write(2, b"I0000 00:00:17 port.cc:153] oneDNN custom operations are on.\n")
os.write(2, b"of another library\n")
found = 3
"""


@pytest.fixture
def run(tmp_path):
    """Run a line of Python where `tensorflow` is a module of ours that says what the real one says."""

    def run(code, module=SAYS):
        (tmp_path / "tensorflow.py").write_text(module)
        return subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


def test_only_what_tensorflow_says_of_itself_is_left_out(run):
    done = run(QUIETLY + "import tensorflow, sys; print(tensorflow.found); print('after', file=sys.stderr)")
    assert (done.stdout, done.stderr) == ("3\n", "of another library\nafter\n")


def test_asking_whether_it_is_installed_changes_nothing(run):
    done = run(QUIETLY + "import importlib.util as u; assert u.find_spec('tensorflow'); import tensorflow")
    assert done.stderr == "of another library\n"


def test_an_import_that_fails_says_why(run):
    done = run(QUIETLY + "import tensorflow", SAYS + "raise ImportError('libcuda is too old')")
    assert done.returncode == 1
    assert "of another library" in done.stderr
    assert "ImportError: libcuda is too old" in done.stderr
    assert "oneDNN" not in done.stderr


def test_an_absent_tensorflow_is_as_absent_as_ever(tmp_path):
    code = QUIETLY + "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]; import tensorflow"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError: No module named 'tensorflow'" in done.stderr
