"""The only door to Evidently: a page to look closer at, written by a process of its own.

`python -m monitoring.report FOLDER` reads FOLDER/reference.parquet and FOLDER/current.parquet and writes
FOLDER/report.html. Evidently costs seconds and 300 MB to import, and one odd column aborts it: it explains,
our own checks decide, and whatever happens here changes no verdict.
"""

import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.compute.builds import Build
from features.files import write_atomically
from features.settings import Settings
from monitoring.baseline import Rows, read, thin, training_build, training_moments
from serving.models import Model

ROWS = 20_000  # of reference and current each: beyond, a page costs a CPU minute and gigabytes
TIMEOUT = 300  # seconds: ten times what ROWS x 100 features take


class PageError(Exception):
    """Evidently's page could not be written; a verdict reports it."""


def write(settings: Settings, path: Path, models: Sequence[Model], build: Build, moment: datetime) -> Path:
    """Write the page of all released models to `path`, replacing an older one. PageError if it fails."""
    path.unlink(missing_ok=True)
    if not models:
        raise PageError(
            "no target's release can be read, so nothing can be compared: see the verdict's findings"
        )
    reference: dict[str, list[NDArray[np.float64]]] = {}
    current: dict[str, list[NDArray[np.float64]]] = {}
    for model in models:
        card = model.card
        trained = training_build(settings, card, build)
        moments = training_moments(trained, card)
        judged, now = read(trained, card, card.tested_on.moment), read(build, card, moment)
        then = [thin(read(trained, card, m).values, ROWS // len(moments)) for m in moments]
        for place, feature in enumerate(card.features):
            if feature.name not in current:
                reference[feature.name] = [values[:, place].astype(np.float64) for values in then]
                current[feature.name] = [thin(now.values, ROWS)[:, place].astype(np.float64)]
        for into, rows in ((reference, judged), (current, now)):
            into[f"probability {card.name}"] = [_scores(model, rows)]
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pq.write_table(_padded(reference), folder / "reference.parquet")
        pq.write_table(_padded(current), folder / "current.parquet")
        command = [sys.executable, "-m", "monitoring.report", scratch]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            raise PageError(f"it took more than {TIMEOUT} s: run again on a quieter machine") from None
        if done.returncode != 0 or not (folder / "report.html").exists():
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise PageError(f"its process ended with {done.returncode}: {last}")
        write_atomically(path, (folder / "report.html").read_bytes())
    return path


def _scores(model: Model, rows: Rows) -> NDArray[np.float64]:
    return model.score(thin(rows.values, ROWS))


def _padded(columns: dict[str, list[NDArray[np.float64]]]) -> pa.Table:
    """Columns of different lengths in one table: Evidently leaves nulls out, column by column."""
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    longest = max(len(values) for values in joined.values())
    return pa.table(
        {
            name: np.pad(values, (0, longest - len(values)), constant_values=np.nan)
            for name, values in joined.items()
        }
    )


def _page(folder: Path) -> None:
    """Runs in the process of its own. Evidently aborts on columns that it cannot compare: leave those out."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    frames = []
    for name in ("reference", "current"):
        frame = pq.read_table(folder / f"{name}.parquet").to_pandas().astype("float64")
        frames.append(frame.replace([np.inf, -np.inf], np.nan))
    reference, current = frames
    usable = [c for c in reference if reference[c].notna().any() and current[c].notna().any()]
    definition = DataDefinition(numerical_columns=usable)
    before, after = (Dataset.from_pandas(frame[usable], data_definition=definition) for frame in frames)
    page = Report([DataDriftPreset(num_method="psi", num_threshold=0.1)]).run(after, before)
    page.save_html(str(folder / "report.html"))


if __name__ == "__main__":
    _page(Path(sys.argv[1]))
