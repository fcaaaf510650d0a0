"""Ten million rows: what `propensity train` needs of memory and time, beside pandas and LightGBM alone.

`python -m benchmarks.scale ROLE HOME` is one process of it; `figures` starts them. ROLE: train, or peer,
which reads the same snapshots into pandas and fits the test's trees alone, once.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import orders
from benchmarks.measure import stated
from features.compute import engine
from features.compute.builds import Build
from features.log import Log
from features.moments import DAY, grid
from features.settings import Settings
from training import candidates, fit, samples, targets

CUSTOMERS = 265_000  # most of whom belong to the population at each of 52 moments: ten million rows
A_CUSTOMER = 24  # orders
DAYS = 365 + (52 + 9) * 7  # a year before the first moment, a year of moments, the last labels' time
GIGABYTES = 8
ORIGINS = 1  # each costs a fit of all rows
TARGET = "churn_28d"
SHOP = """name = "Generated"
zone = "America/New_York"
currency = "USD"
exponent = 2
sources = ["simulated"]

[value]
margin_rate = 0.25
horizon_days = 28

[consent]

[[policy]]
from = 2017-01-01
max_contacts = 2
per_days = 30
holdout = 0.05
explore = 0.05
salt = "generated"
"""


def figures(customers: int = CUSTOMERS) -> Iterator[dict[str, Any]]:
    """Peak memory and time of training, then of the peer's single fit."""
    with tempfile.TemporaryDirectory() as name:
        home(Path(name), customers)
        ours, theirs = (_run(role, Path(name)) for role in ("train", "peer"))
        shape = f"{ours['rows']:,} rows x {ours['features']} features"
        peer = "pandas and LightGBM alone, one fit"
        peak, ratio = ours["gigabytes"], ours["gigabytes"] / theirs["gigabytes"]
        yield stated(f"scale: peak memory, {shape}", peak, "GB", None, peak, GIGABYTES, most=True)
        yield stated("scale: peak memory, against a peer", peak, "GB", peer, ratio, None, most=True)
        what = f"scale: `propensity train {TARGET} --origins {ORIGINS}`"
        yield stated(what, ours["seconds"], "s", peer, ours["seconds"] / theirs["seconds"], None, most=True)


def home(folder: Path, customers: int) -> Settings:
    """A home with a log of orders alone and weekly snapshots of it; customers order at different rates."""
    (folder / "shop").mkdir()
    (folder / "shop" / "shop.toml").write_text(SHOP, "utf-8")
    rates = np.random.default_rng(2).gamma(1.0, 1.0, customers) + 0.02
    log = orders.make(folder / "made", customers, customers * A_CUSTOMER, DAYS, rates / rates.sum())
    until = log.starts_at + DAYS * DAY
    settings = Settings(home=folder, shop=folder / "shop", as_of=until)
    orders.known_by(settings, log, until)
    engine.build(settings, grid(log.starts_at + 365 * DAY, until))
    return settings


def _run(role: str, folder: Path) -> dict[str, Any]:
    """Seconds and peak memory of one role in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale", role, str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _role(role: str, folder: Path) -> None:
    settings = Settings(home=folder, shop=folder / "shop")
    log, build = Log.open(settings), Build.open(settings)
    when = samples.timeline(targets.catalogue()[TARGET], build, log.complete_until, ORIGINS)
    started = time.perf_counter()
    rows, columns = {"train": _train, "peer": _peer}[role](settings, build, when)
    told = {
        "rows": rows,
        "features": columns,
        "seconds": time.perf_counter() - started,
        "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    sys.stdout.write(json.dumps(told))


def _train(settings: Settings, build: Build, when: samples.Timeline) -> tuple[int, int]:
    def say(what: str, done: int, steps: int) -> None:
        print(f"{time.perf_counter():.0f} {what}", file=sys.stderr)

    card = fit.train(settings, TARGET, build.complete_until, progress=say, origins=ORIGINS).card
    return card.trained_on.rows, len(card.features)


def _peer(settings: Settings, build: Build, when: samples.Timeline) -> tuple[int, int]:
    """What one writes first; the label's rows cost nothing here."""
    import lightgbm
    import pandas as pd

    rows = pd.concat([build.read(moment).to_pandas() for moment in when.known(when.test)])
    rows = rows[rows["orders_90d"] > 0]
    matrix = rows[list(build.features)]
    label = np.random.default_rng(1).random(len(rows)) < 0.3
    parameters = {**candidates.DETERMINISTIC, **candidates.TREES, "seed": 1}
    lightgbm.train(parameters, lightgbm.Dataset(matrix, label), candidates.ROUNDS)
    return len(matrix), len(build.features)


if __name__ == "__main__":
    _role(sys.argv[1], Path(sys.argv[2]))
