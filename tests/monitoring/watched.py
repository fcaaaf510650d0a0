"""A small simulated shop with a release, watched from its first day on; a copy of it a test."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from once import made_once

import monitoring
from benchmarks.monitoring_shop import features_of, released, simulated
from features import online
from features.compute import engine
from features.log import Log
from features.moments import DAY
from features.settings import Settings
from monitoring import Verdict

CUSTOMERS, DAYS = 2_000, 300  # it ends late in October: between National Day and 11.11
Change = Callable[[pa.Table], pa.Table]


class Shop(NamedTuple):
    """settings: `now` is moment. moment: the log's last; the day before it is published and judged."""

    settings: Settings
    moment: datetime

    def copy(self, folder: Path) -> "Shop":
        """The same, to be spoilt."""
        home = folder / "home"
        shutil.copytree(self.settings.home, home)
        return Shop(replace(self.settings, home=home), self.moment)

    def publish(self, change: Change = lambda rows: rows) -> None:
        """Build and publish the moment's snapshot, changed."""
        build, _ = engine.build(self.settings, [self.moment])
        pq.write_table(change(build.read(self.moment)), build.path(self.moment))
        build.write_manifest()
        online.publish(self.settings, build, self.moment)


def changed(name: str, factor: float) -> Change:
    """That makes every value of a feature so many times as large."""

    def change(rows: pa.Table) -> pa.Table:
        values = (rows[name].to_numpy() * factor).astype(np.float32)
        return rows.set_column(rows.schema.get_field_index(name), name, pa.array(values))

    return change


def steady(factory: pytest.TempPathFactory) -> Shop:
    """That shop, on whose last day nothing is published yet; made once for all modules: take copies."""
    folder = made_once(factory, "watched", _make)
    settings = Settings(home=folder / "home", shop=folder / "shop")
    moment = Log.open(settings).complete_until
    return Shop(replace(settings, as_of=moment), moment)


def _make(folder: Path) -> None:
    """Simulated, ingested, released, built, published and judged once."""
    settings = simulated(folder, 3, CUSTOMERS, DAYS)
    log = Log.open(settings)
    features = features_of(settings, 25)
    released(settings, folder, features, log.starts_at + 100 * DAY, log.complete_until - 40 * DAY)
    moment = log.complete_until
    before = replace(settings, as_of=moment - DAY)
    online.publish(before, engine.build(before, [moment - DAY])[0], moment - DAY)
    monitoring.run(before, html=False, keep=False)


def loud(verdict: Verdict) -> dict[str, str]:
    """What is not ok, by subject and check."""
    return {f"{f.subject} {f.check}": f.status for f in verdict.findings if f.status != "ok"}


def declaring(shop: Shop, folder: Path, *checks: str) -> Settings:
    """The settings of a copy of the shop whose shop.py has those checks too."""
    assert shop.settings.shop is not None
    own = folder / "own"
    shutil.copytree(shop.settings.shop, own, ignore=shutil.ignore_patterns("truth"))
    with (own / "shop.py").open("a") as declarations:
        declarations.write(
            "\nfrom features.words import Words\n"
            "from monitoring.checks import Check, Reading\n"
            f"CHECKS = [{', '.join(checks)}]\n"
        )
    return replace(shop.settings, shop=own)


def own_check(name: str, measure: str, of: str = "release") -> str:
    return (
        f"Check(name={name!r}, words=Words('a', 'b'), warning=1, page=2, reason='always warns', of={of!r},\n"
        f"    measure=lambda evidence: {measure})"
    )
