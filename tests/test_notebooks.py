"""The notebooks that a data scientist opens first must run as they stand, one after the other."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from features.settings import Settings

# What each must end with: by its number.
ENDS = {"1": "released churn_28d", "2": "release churn_28d version"}
NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_the_first_cell_to_the_last(
    path: Path, journey: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROPENSITY_HOME", str(journey.home))
    monkeypatch.setenv("IPYTHONDIR", str(journey.home / "ipython"))
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "commit notebooks without outputs"
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute(cwd=Path.cwd())
    printed = [
        text for cell in notebook.cells for out in cell.get("outputs", []) for text in [out.get("text", "")]
    ]
    assert any(ENDS[path.stem[0]] in text for text in printed)
