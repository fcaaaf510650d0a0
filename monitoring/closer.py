"""The only door to Evidently: a page to look closer at, written by a process of its own.

`python -m monitoring.closer FOLDER` reads FOLDER/reference.parquet and FOLDER/current.parquet and writes
FOLDER/evidently.html. Evidently costs seconds and 300 MB to import, and one odd column aborts it: it
explains, our own checks decide, and whatever happens here changes no verdict.
"""

import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.compute.builds import Build
from features.files import write_atomically
from features.log import Log
from features.moments import DAY
from features.settings import Settings
from features.shop import shop_of
from monitoring import profiles, profiling
from monitoring.histograms import Float32
from serving.models import Model

ROWS = 20_000  # of reference and current each: beyond, a page costs a CPU minute and gigabytes
TIMEOUT = 300  # seconds: ten times what ROWS x 100 features take
WEEKS = 4  # of the reference: the last before the moment


class PageError(Exception):
    """Evidently's page could not be written; a verdict reports it."""


def write(
    settings: Settings,
    path: Path,
    models: Sequence[Model],
    build: Build,
    moment: datetime,
    drawn: Mapping[str, Collection[str]],
) -> Path:
    """Write the page of some released models to `path`, replacing an older one. PageError if it fails.

    drawn: of each model by name, the columns. It compares the moment with the weeks before it.
    """
    path.unlink(missing_ok=True)
    log, shop = Log.open(settings), shop_of(settings)
    reference: dict[str, list[NDArray[np.float64]]] = {}
    current: dict[str, list[NDArray[np.float64]]] = {}
    for model in models:
        store = profiles.Store(settings, model)
        declared = profiling.declared_by(log, shop, [store])
        before = [m for week in range(WEEKS, 0, -1) if (m := moment - 7 * week * DAY) > log.starts_at]
        tables = profiling.rows_of(build, log, shop, declared, [store], [*before, moment])
        *then, now = (profiling.matrix(model, table) for _, table in tables)
        share = ROWS // max(1, len(then))
        for place, column in enumerate(store.columns):
            name = f"{column} {model.card.name}" if column == profiles.PROBABILITY else column
            if name not in current and column in drawn[model.card.name]:
                reference[name] = [_thin(values[:, place], share) for values in then]
                current[name] = [_thin(now[:, place], ROWS)]
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pq.write_table(_padded(reference), folder / "reference.parquet")
        pq.write_table(_padded(current), folder / "current.parquet")
        command = [sys.executable, "-m", "monitoring.closer", scratch]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            raise PageError(f"it took more than {TIMEOUT} s: run again on a quieter machine") from None
        if done.returncode != 0 or not (folder / path.name).exists():
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise PageError(f"its process ended with {done.returncode}: {last}")
        write_atomically(path, (folder / path.name).read_bytes())
    return path


def _thin(values: Float32, most: int) -> NDArray[np.float64]:
    """At most so many rows, evenly."""
    some = values[:: max(1, -(-len(values) // max(1, most)))]
    return some.astype(np.float64)


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
    page.save_html(str(folder / "evidently.html"))


if __name__ == "__main__":
    _page(Path(sys.argv[1]))
