"""What takes long to make, and is made once in a run of the tests: by the worker that needs it first."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from features.files import locked


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that `make` fills, for all workers of the run: take copies, and leave it as it is."""
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # of the run
    folder, made = root / "once" / name, root / "once" / f"{name}.made"
    with locked(root / "once" / f"{name}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that died on the way
            folder.mkdir()
            make(folder)
            made.touch()
    return folder
