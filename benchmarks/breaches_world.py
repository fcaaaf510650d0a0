"""Where breaches are looked for: a shop with every limit at once, and customers without a log."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.breaches_checks import FEATURES, START
from features import online
from features.compute.builds import Build
from features.definitions import catalogue, feature_hash
from features.moments import DAY
from features.settings import BUNDLED_SHOPS, Settings
from features.shop import shop_of

SHOP_TOML = """
name = "Breaches"
zone = "Asia/Shanghai"
currency = "CNY"
exponent = 2
sources = ["simulated"]

[value]
margin_rate = 0.3
horizon_days = 28

[consent]
mail = true
sms = true

[[policy]]
from = 2020-01-01
max_contacts = 4
per_days = 7
holdout = 0.1
explore = 0.3
salt = "breaches"
reserve_hours = 30
person_above = 1.0

[[policy.cap]]
channel = "sms"
contacts = 2
days = 7

[[policy.cap]]
contacts = 9
days = 30

[[policy.cooldown]]
channel = "mail"
days = 2

[[policy.cooldown]]
action = "text_a"
days = 3.5

[policy.send]
quiet = ["21:30", "08:00"]
hours = ["order_hour_365d"]
zone = "home"

[[policy.budget]]
amount = {day:.1f}
per = "day"

[[policy.budget]]
amount = {month:.1f}
per = "month"
scenario = "win_back"
"""
SHOP_PY = """
from dataclasses import replace
from features.definitions import Feature
from serving.scenarios import Scenario

FEATURES = [Feature(name="home", words=Words("Zone", "时区"), unit="zone", measure="last", table="contacts",
                    column="campaign_id", vocabulary=("Asia/Shanghai", "America/New_York", "Asia/Kathmandu"))]
ACTIONS += [
    replace(ACTIONS[0], name="text_a", channel="sms", eligible=(), suppress_days=0, send_cost=0.05),
    replace(ACTIONS[1], name="text_b", channel="sms", eligible=(), suppress_days=0, send_cost=0.05),
    replace(ACTIONS[2], name="letter", channel="mail", eligible=(), suppress_days=1, send_cost=0.4),
    replace(ACTIONS[1], name="order_news", channel="sms", purpose="service", eligible=(), send_cost=0.05),
]
SCENARIOS = [
    Scenario(name=name, words=Words(name, "场景"), due_days=1, when="days_since_order >= 0",
             actions=tuple(a.name for a in ACTIONS if a.purpose == "marketing"))
    for name in ("win_back", "birthday")
]
"""


@dataclass(frozen=True)
class World:
    """A published home, its shop, and what is known of each of its customers c0, c1 ... before it begins."""

    settings: Settings
    rows: np.ndarray[Any, np.dtype[np.float32]]

    @classmethod
    def made(cls, folder: Path, customers: int, seed: int = 0) -> "World":
        """Some had contacts, complain, or are not heard of for long; hours and zones are known of some."""
        shop, dice = folder / "shop", np.random.default_rng(seed)
        shop.mkdir()
        budgets = {"day": customers / 40, "month": customers / 5}
        (shop / "shop.toml").write_text(SHOP_TOML.format(**budgets), "utf-8")
        campaigns = (BUNDLED_SHOPS / "complete_journey" / "shop.py").read_text("utf-8")
        (shop / "shop.py").write_text(campaigns + SHOP_PY, "utf-8")
        settings = Settings(home=folder / "home", shop=shop, as_of=START)

        def column(*choices: float) -> np.ndarray[Any, Any]:
            return dice.choice(np.array(choices, np.float32), customers)

        sms, last = column(0, 0, 1), column(np.nan, 0.5, 3, 20)
        rows = np.column_stack([
            column(5, 30, 90), column(2, 9), column(60, 150, 400, np.nan), column(np.nan, 3, 9, 20, 23),
            column(np.nan, 0, 1, 2), column(0, 0, 0, 0, 1), sms + column(0, 1), sms + column(1, 4), sms, last,
            last + column(0, 1), last + column(0, 2),
        ]).astype(np.float32)  # fmt: skip
        known = catalogue(shop_of(settings).declared("FEATURES"))
        of_log = shop_of(settings).of_log
        features = {name: feature_hash(known[name], known, of_log) for name in FEATURES}
        _publish(settings, rows, features)
        return cls(settings, rows)


def _publish(settings: Settings, rows: np.ndarray[Any, Any], features: dict[str, str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = sorted(f"c{number}" for number in range(len(rows)))
    order = [int(id[1:]) for id in ids]
    id = Build.id_of("breaches", features)
    build = Build(
        id, settings.home / "snapshots" / id, "breaches", START - 400 * DAY, START, features, (START,)
    )
    build.folder.mkdir(parents=True)
    at = pa.array([START] * len(ids), pa.timestamp("us", "UTC"))
    columns = {"customer_id": pa.array(ids), "moment": at, "known_at": at}
    columns |= {name: pa.array(rows[order, place]) for place, name in enumerate(features)}
    pq.write_table(pa.table(columns), build.path(START))
    build.write_manifest()
    online.publish(settings, build, START)
