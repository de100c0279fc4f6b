"""What TensorFlow says of itself: at import, of processor and drivers, and no setting keeps it from that (2.21).

Such lines are no part of a command's answer. Everything else that is written in the meantime appears after the import.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import IO

CHATTER = re.compile(r"[IW]\d{4} |WARNING: All log messages before absl|To enable the following instructions: ")


def import_tensorflow_quietly() -> None:
    """Whenever it comes to that, in this process."""
    if "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    _asking = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "tensorflow" or self._asking:
            return None
        self._asking = True  # the finders that know where it lies
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._asking = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Quiet(spec.loader)
        return spec


class _Quiet(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader  # whoever asks the module for its source or resources finds the real one
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        sys.stderr.flush()
        screen = os.dup(2)
        with tempfile.TemporaryFile() as said:
            os.dup2(said.fileno(), 2)
            try:
                self._loader.exec_module(module)
            finally:
                sys.stderr.flush()
                os.dup2(screen, 2)
                os.close(screen)
                _repeat(said)


def _repeat(said: IO[bytes]) -> None:
    said.seek(0)
    for line in said.read().decode(errors="replace").splitlines():
        if not CHATTER.match(line):
            sys.stderr.write(f"{line}\n")
