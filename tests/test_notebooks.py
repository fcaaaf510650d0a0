"""The notebooks that a data scientist opens first must run as they stand, one after the other."""

import os
from pathlib import Path

import nbformat
import pytest
from copies import trained_copy_of
from nbclient import NotebookClient

from features.settings import Settings

# What each must say, by its number: the second refuses, releases and refuses.
SAYS = {
    "1": ("released churn_28d version 1",),
    "2": (
        "would not release milk_7d version 1 without --force:\n  it does not beat how often and when last",
        "released milk_7d version 2",
        "would not release milk_7d version 3 without --force:\n  it is not better than the champion",
    ),
}
ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def home(trained_once: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home that notebooks may change: they declare features and targets of their own. The first finds the
    version that its training would make, as whoever opens it after `make demo` does."""
    return trained_copy_of(trained_once, tmp_path_factory.mktemp("notebooks") / "home")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_the_first_cell_to_the_last(
    path: Path, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else: a stranger meets an error, or, for Jupyter starts a notebook in its own folder, an empty home."""
    monkeypatch.setenv("PROPENSITY_HOME", os.path.relpath(home.home, ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(home.home / "ipython"))
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "commit notebooks without outputs"
    # iopub: what a cell prints comes beside its end, and later where the machine is busy.
    waits = {"timeout": 600, "startup_timeout": 300, "iopub_timeout": 300}
    NotebookClient(notebook, kernel_name="python3", **waits).execute(cwd=path.parent)
    printed = [
        text for cell in notebook.cells for out in cell.get("outputs", []) for text in [out.get("text", "")]
    ]
    for said in SAYS[path.stem[0]]:
        assert any(said in text for text in printed), said
