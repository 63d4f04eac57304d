"""torch-fidelity and clean-fid as oracles, in a process of their own.

Both import torchvision, of which nothing is needed here: a stand-in takes its place. It would
break other libraries, so it never enters the tests' own process.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


def ask(code: str, **arrays) -> dict[str, np.ndarray]:
    """What `code` leaves in its dict `answer`; the arrays are its global variables.

    Skips the test where torch, torch-fidelity or clean-fid are not installed.
    """
    for name in ("torch", "torch_fidelity", "cleanfid"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed; it comes with the oracle extra")
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder, "given.npz"), **arrays)
        Path(folder, "code.py").write_text(code)
        command = [sys.executable, __file__, folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        with np.load(Path(folder, "answer.npz")) as found:
            return dict(found)


class _StandIn(ModuleType):
    """A module in which every name is found: a submodule, or a class if it begins as one."""

    def __getattr__(self, name):
        if name.startswith("__") and name != "__version__":
            raise AttributeError(name)
        if name == "__version__":
            return "0"
        if name[0].islower():
            return importlib.import_module(f"{self.__name__}.{name}")
        return type(name, (), {})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds torchvision and all below it."""

    def find_spec(self, fullname, path, target=None):
        if fullname.split(".")[0] == "torchvision":
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        return _StandIn(spec.name)

    def exec_module(self, module):
        pass


@contextmanager
def torchvision() -> Iterator[None]:
    """Lets torch-fidelity and clean-fid be imported, and takes the stand-in away again."""
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]


def main(folder: str) -> None:
    with np.load(Path(folder, "given.npz")) as given:
        names = dict(given)
    with torchvision():
        exec(Path(folder, "code.py").read_text(), names)
    np.savez(Path(folder, "answer.npz"), **names["answer"])


if __name__ == "__main__":
    main(sys.argv[1])
