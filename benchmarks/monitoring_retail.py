"""The real Online Retail year, replayed day by day: does its peak before Christmas wake anybody?

A British web shop that is closed on Saturdays and over New Year, and sells half as much again from September
to December. Nothing is known to be wrong in it, so no page may be raised; then amounts are planted in pence
from a day on. Its calendar is what a shop would declare: public holidays, and the sales days of its trade.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measure import stated
from benchmarks.monitoring_replay import Alert, Replay, episodes, matrices_of
from benchmarks.monitoring_shop import features_of, released
from features.ingestion.ingest import ingest
from features.log import Log
from features.moments import DAY
from features.settings import BUNDLED_SHOPS, Settings
from monitoring import occasions
from monitoring.profiles import Store, day_of

NAME, FEATURES = "online_retail", 60
LEARNED = 70  # days: before, no figure has the quiet days from which its limit is learned
TRAINED = (60, 180)  # days of the log: from January to May, so that the peak is news
PLANTED, WITHIN = ("2011-05-17", "2011-09-06", "2011-11-15"), 2
CALENDAR = """
[calendar]
countries = ["GB-ENG"]

[[calendar.events]]
name = "Black Friday"
kind = "sale"
from = 2010-11-26
until = 2010-11-30

[[calendar.events]]
name = "Black Friday"
kind = "sale"
from = 2011-11-25
until = 2011-11-29
announced = 2010-11-26
"""


def figures() -> Iterator[dict[str, Any]]:
    """Pages and warnings of the year, and faults found."""
    with tempfile.TemporaryDirectory() as folder:
        settings = opened(Path(folder), data())
        replay = replayed(settings, Path(folder))
        alerts = [*replay.alerts()]
        quarters = (len(replay.profiles.days) - LEARNED) / (365 / 4)
        pages = [alert for alert in alerts if alert.status == "page"]
        several = len(_days(pages))
        yield stated("days of Online Retail's year with a page", several, "", None, several, 0, most=True)
        for name, task in (("episodes of warnings", False), ("tasks to name an event", True)):
            rate = len(episodes([alert for alert in alerts if alert.task == task])) / quarters
            yield stated(f"{name} in Online Retail's year", rate, "a quarter", None, rate, None)
        share = judged(replay)
        text = f"figures of its tables that could be judged, from day {LEARNED} on"
        yield stated(text, share, "of all", None, share, None)
        found = [finds(replay, Path(folder) / start, start) for start in PLANTED]
        for text, statuses, goal in (("named", ("warning", "page"), 1), ("paged", ("page",), None)):
            share = sum(bool({*statuses} & one) for one in found) / len(found)
            text = f"amounts times 100, from one of {len(PLANTED)} days on: {text} within {WITHIN} days"
            yield stated(text, share, "of all", None, share, goal)


def data() -> Path:
    """Where the file lies."""
    root = os.environ.get("PROPENSITY_DATA", Path(__file__).parents[2] / "shared" / "data")
    return Path(root) / NAME


def opened(folder: Path, files: Path) -> Settings:
    """The log of those files, and the shop's calendar."""
    shop = folder / "shop"
    shutil.copytree(BUNDLED_SHOPS / NAME, shop)
    with (shop / "shop.toml").open("a", encoding="utf-8") as file:
        file.write(CALENDAR)
    settings = Settings(home=folder / "home", shop=shop)
    ingest(settings, NAME, files)
    ingest(settings, "calendar")
    return settings


def replayed(settings: Settings, folder: Path) -> Replay:
    """The year, ready to be judged."""
    log = Log.open(settings)
    since, until = (log.starts_at + days * DAY for days in TRAINED)
    model = released(settings, folder, features_of(settings, FEATURES), since, until)
    store = Store(settings, model)
    days = [log.complete_until - back * DAY for back in range((log.complete_until - log.starts_at) // DAY)]
    days.reverse()
    reference = [day_of(moment) for moment in days if since <= moment <= until][::10]
    return Replay(settings, store, matrices_of(settings, store, days), reference, LEARNED)


def judged(replay: Replay) -> float:
    """The share of figures of the log's tables, and days, that had the past to be judged."""
    excess = replay.of_shop(replay.log, occasions.of_log(replay.log)).received.judged.excess[LEARNED:]
    known = np.isfinite(excess)
    return float(known[:, known.any(axis=0)].mean())


def finds(replay: Replay, folder: Path, start: str) -> set[str]:
    """How loudly prices in pence from a day on are told of within WITHIN whole days, in words of amounts."""
    lines = pd.read_parquet(data() / "transactions.parquet")
    lines.loc[lines["InvoiceDate"] >= start, "UnitPrice"] *= 100
    (folder / NAME).mkdir(parents=True)
    lines.to_parquet(folder / NAME / "transactions.parquet")
    settings = opened(folder, folder / NAME)
    log = Log.open(settings)
    first = int(np.datetime64(start, "D").astype(int))
    moments = [log.complete_until - back * DAY for back in range((log.complete_until - log.starts_at) // DAY)]
    after = [m for m in reversed(moments) if first < day_of(m) <= first + WITHIN]
    calendar = occasions.of_log(log)
    shop = replay.of_shop(log, calendar)
    read = replay.profiles.until(day_of(after[-1]))
    for day, values in matrices_of(settings, replay.store, after).items():
        read = read.replaced(day, replay.profiles.edges.count(values))
    panel = replay.panel(read, calendar)
    return {
        alert.status
        for moment in after
        for alert in replay.judged(day_of(moment), panel, shop, calendar)
        if alert.check.name == "fields" and "amount" in alert.reading.words.en
    }


def _days(alerts: list[Alert]) -> list[int]:
    return sorted({alert.day for alert in alerts})
