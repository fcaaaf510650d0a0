"""What the monitoring costs: histograms of a million customers, and a nightly run; beside Evidently.

Every figure is of a process of its own, with all that it imports and reads: CPU seconds, of all its threads,
and the most memory that it ever held; ours are medians of RUNS. Rows come from parquet in parts; Evidently
takes whole frames. It is asked of PROPENSITY_EVIDENTLY_ROWS rows, by default 100,000: a million take it
minutes and gigabytes.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import stated

ROWS, FEATURES, DAYS, PART = 1_000_000, 60, 730, 20_000
RUNS = 3
SAMPLE = 20  # every so many rows fix the edges
PEER = "Evidently's DataDriftPreset"
NIGHT, NAME = "a nightly run against the stored reference", "churn_28d"


def figures() -> Iterator[dict[str, Any]]:
    """Both sides of the comparison, then a nightly run."""
    few = int(os.environ.get("PROPENSITY_EVIDENTLY_ROWS", 100_000))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _write(folder, ROWS)
        child("count", folder, PART)  # compiles what runs, once for the machine
        ours = ours_of("count", folder, ROWS)
        of = f"{FEATURES} features x {ROWS:,} reference and current rows"
        yield stated(f"histograms of {of}", ours["cpu"], "CPU s", None, ours["cpu"], 7, most=True)
        yield stated(f"histograms of {of}", ours["peak"], "MB", None, ours["peak"], 400, most=True)
        less, theirs = ours_of("count", folder, few), child("evidently", folder, few)
        for unit, key in (("CPU s", "cpu"), ("MB", "peak")):
            peer = f"less than {PEER} ({theirs[key]:.3g} {unit})"
            yield stated(
                f"histograms of {few:,} rows each", less[key], unit, peer, theirs[key] / less[key], None
            )
        _stored(folder)
        night = ours_of("night", folder, ROWS)
        text = f"{NIGHT}: {DAYS} days x {FEATURES} features read and judged, {ROWS:,} rows counted"
        yield stated(text, night["cpu"], "CPU s", None, night["cpu"], 4, most=True)
        yield stated(text, night["peak"], "MB", None, night["peak"], None)


def ours_of(what: str, folder: Path, rows: int) -> dict[str, float]:
    """The median of RUNS processes."""
    seen = [child(what, folder, rows) for _ in range(RUNS)]
    return {key: statistics.median(one[key] for one in seen) for key in seen[0]}


def child(what: str, folder: Path, rows: int) -> dict[str, float]:
    """CPU seconds and peak MB of a process that does it."""
    module = [sys.executable, "-W", "ignore", "-m", "benchmarks.monitoring_cost"]
    command = [*module, what, str(folder), str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{what} of {rows} rows ended with {done.returncode}: {done.stderr[-2000:]}")
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def _write(folder: Path, rows: int) -> None:
    """reference.parquet and current.parquet: counts, amounts, shares with nulls and days, as features are."""
    names = [f"feature_{place:02}" for place in range(FEATURES)]
    for seed, name in enumerate(("reference", "current")):
        random = np.random.default_rng(seed)
        schema = pa.schema([(column, pa.float32()) for column in names])
        with pq.ParquetWriter(folder / f"{name}.parquet", schema) as file:
            for _ in range(0, rows, PART):
                columns = [_column(place, random) for place in range(FEATURES)]
                file.write_table(pa.table(columns, schema=schema))


def _column(place: int, random: np.random.Generator) -> pa.Array:
    size, kind = 1 + place / 10, place % 4
    values = (
        random.poisson(size, PART) if kind == 0
        else random.gamma(2, 50 * size, PART).round(2) if kind == 1
        else random.beta(2, 4 + size, PART) if kind == 2
        else np.floor(random.exponential(20 * size, PART))
    ).astype(np.float32)  # fmt: skip
    if kind == 2:
        values[random.random(PART) < 0.2] = np.nan
    return pa.array(values)


def _groups(path: Path, rows: int) -> Iterator[pa.Table]:
    """The first so many rows, at most PART at a time, as they were written."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            left = rows - group * PART
            if left <= 0:
                return
            yield file.read_row_group(group, use_threads=False).slice(0, left)


def _parts(path: Path, rows: int) -> Iterator[np.ndarray]:
    """float32 [at most PART, columns], columns contiguous."""
    for part in _groups(path, rows):
        yield np.stack([column.to_numpy() for column in part.columns]).T


def _count(folder: Path, rows: int) -> None:
    from monitoring.histograms import Edges, merged

    reference = folder / "reference.parquet"
    edges = Edges.of(np.concatenate([part[::SAMPLE].copy() for part in _parts(reference, rows)]))
    for path in (reference, folder / "current.parquet"):
        seen = merged([edges.count(part) for part in _parts(path, rows)])
        assert seen.rows == rows
        assert (seen.counts.sum(axis=1) + seen.nulls == rows).all()


def _evidently(folder: Path, rows: int) -> None:
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    frames = [
        pd.concat([part.to_pandas() for part in _groups(folder / f"{name}.parquet", rows)])
        for name in ("current", "reference")
    ]
    definition = DataDefinition(numerical_columns=[*frames[0].columns])
    now, before = (Dataset.from_pandas(frame, data_definition=definition) for frame in frames)
    Report([DataDriftPreset()]).run(now, before).json()


def _stored(folder: Path) -> None:
    """A home with a release over real features, and the profiles of the days before the last."""
    from benchmarks.monitoring_shop import features_of, released, simulated
    from features.log import Log
    from features.moments import DAY
    from monitoring.histograms import Histograms
    from monitoring.profiles import Store, day_of

    settings = simulated(folder, 1, 300, 420)
    log = Log.open(settings)
    some = dict([*features_of(settings, FEATURES).items()][:FEATURES])
    model = released(settings, folder, some, log.complete_until - 300 * DAY, log.complete_until - 60 * DAY)
    store, last = Store(settings, model), day_of(log.complete_until)
    sample = next(_parts(folder / "reference.parquet", PART))
    edges = store.keep_reference(np.asfortranarray(np.hstack([sample, sample[:, :1]])))
    random = np.random.default_rng(1)
    usual = edges.count(np.hstack([sample, sample[:, :1]]))
    for day in range(last - DAYS, last):
        counts = random.poisson(usual.counts)
        rows = int((counts.sum(axis=1) + usual.nulls).max())
        store.add({day: Histograms(rows, counts, usual.nulls, usual.zeros, usual.news, usual.sums)})


def _night(folder: Path, rows: int) -> None:
    """What `propensity monitor run` does of one release: count the day, add it, read all days, and judge."""
    from datetime import timedelta

    from features.compute import engine
    from features.definitions import catalogue
    from features.log import Log
    from features.moments import DAY
    from features.settings import Settings
    from features.shop import shop_of
    from monitoring import evidence, occasions, panels
    from monitoring.checks import CHECKS
    from monitoring.histograms import merged
    from monitoring.profiles import Store, day_of
    from serving import releases
    from serving.models import Model

    settings = Settings(home=folder / "home", shop=folder / "shop")
    model = releases.load(settings, NAME).model
    assert isinstance(model, Model)
    log, shop, store = Log.open(settings), shop_of(settings), Store(settings, model)
    reference = store.reference()
    assert reference is not None
    day = max(store.days()) + 1
    last = day_of(log.complete_until)
    moment, starts = log.complete_until + (day - last) * DAY, last - DAYS
    # Everybody is scored by then: one more column.
    parts = (np.concatenate([p.T, p.T[:1]]).T for p in _parts(folder / "current.parquet", rows))
    store.add({day: merged([reference[0].count(part) for part in parts])})
    profiles = store.read(until=day)
    declared = engine.available(log, catalogue(shop.declared("FEATURES")))
    panel = panels.of_release(
        profiles,
        model.card,
        declared,
        occasions.of_log(log),
        starts,
        lambda name: evidence.tables_of(name, declared),
    )
    drift = evidence.drift_of(profiles, model.card, declared, starts, day)
    seen = evidence.Evidence(model.card, moment, timedelta(0), DAY, 2 * DAY, panel, drift, None, {})
    readings = [check.measure(seen) for check in CHECKS if check.of == "release"]
    assert DAYS < len(profiles.days) <= DAYS + RUNS
    assert sum(reading.value == reading.value for reading in readings) >= 7


def _peak() -> float:
    """MB. The kernel's own high mark: what getrusage says begins with the parent's."""
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    work = {"count": _count, "evidently": _evidently, "night": _night}[sys.argv[1]]
    work(Path(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps({"cpu": time.process_time(), "peak": _peak()}))
