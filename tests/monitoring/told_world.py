"""A home whose customers do exactly what the model says, or what a test makes of them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from builds_by_hand import write_build
from logs import OF_LOG, empty_shop
from numpy.typing import NDArray

from features.compute.builds import Build
from features.files import write_atomically
from features.ingestion.canonical import arrow_schema
from features.moments import DAY, iso, parse_moment
from features.settings import BUNDLED_SHOPS, Settings
from features.tables import TABLES
from features.tombstones import Tombstones
from serving import models, releases, score_store
from serving.formulas import sigmoid

LAST = parse_moment("2017-12-31")
MOMENTS = tuple(LAST - 7 * week * DAY for week in range(30, -1, -1))
JUDGED = MOMENTS[12]  # its four weeks are over at MOMENTS[16]: from then on it could be in force
NAMES = ("overdue", "orders_90d")
HASHES = {name: f"{sum(name.encode()):016x}" for name in NAMES}
HORIZON = 28


class World:
    """risk: the chance of no order in four weeks, [n], as the model of `release` says."""

    def __init__(self, home: Settings, tmp: Path, customers: int = 3_000, holdout: float = 0.05) -> None:
        shop = empty_shop(tmp / "shop")
        toml = (BUNDLED_SHOPS / "complete_journey" / "shop.toml").read_text("utf-8")
        toml = toml.replace("holdout = 0.05", f"holdout = {holdout}")
        write_atomically(shop / "shop.toml", toml.encode())
        self.settings = replace(home, as_of=LAST, shop=shop)
        self.tmp, self.ids = tmp, [f"c{n:06}" for n in range(customers)]
        self.random = np.random.default_rng(1)
        self.overdue = self.random.normal(0, 1, customers).astype(np.float32)
        self.risk = np.asarray(sigmoid(-1.0 + self.overdue.astype(np.float64)))
        self.contacts: list[dict[str, Any]] = []

    def build(self, hashes: dict[str, str] = HASHES) -> Build:
        matrix = np.column_stack([self.overdue, np.ones(len(self.ids), np.float32)])
        return write_build(self.settings, NAMES, dict.fromkeys(MOMENTS, (self.ids, matrix)), hashes=hashes)

    def release(
        self, version: str = "1", judged: datetime = JUDGED, published: bool = True
    ) -> models.ModelCard:
        """A logistic model of `overdue`, exactly right; published or only saved."""
        card = models.ModelCard(
            name="churn_28d", version=version, kind="logistic", currency="USD",
            target=models.TargetCard(
                name="churn_28d", horizon_days=HORIZON, population="customers with an order",
                label="no_order", words=models.Text("No order", "不下单"), higher_is="bad",
                members=models.Members("orders_90d", HASHES["orders_90d"]),
            ),
            features=(models.FeatureCard("overdue", HASHES["overdue"], "", "overdue", "逾期"),),
            trained_on=models.TrainedOn("gone", "log", MOMENTS[0], judged - HORIZON * DAY, 1000, 0.2, 0),
            tested_on=models.TestedOn(judged, 1500, 0.2),
            metrics={"auc": {"value": 0.74, "low": 0.72, "high": 0.76},
                     "calibration_slope": {"value": 1.0, "low": 0.9, "high": 1.1}},
            baselines={}, importance={"overdue": 1.0},
            backtest={"origins": [
                {"moment": iso(judged), "rows": 1500, "observed_over_expected": 1 + off, "z": off / 0.03,
                 "calibration_slope": 1.02, "auc": 0.74 + off / 10}
                for off in (-0.03, 0.02, 0.03, -0.02, 0.01, -0.01)
            ]},
        )  # fmt: skip
        logistic = models.Logistic(-1.0, (models.Term("overdue", (-9.0, 9.0), (9.0,), (1.0,), (1.0,), 0.0),))
        examples = models.synthetic_examples(np.zeros((11, 1)), np.full(1, 0.1), 0)
        folder = self.tmp / f"model-{version}"
        models.save(folder, card, [logistic], models.IdentityCalibration(), examples)
        if published:
            releases.publish(self.settings, folder, "churn_28d", version)
        return card

    def tell(
        self, moment: datetime, score: NDArray[np.float64], version: str = "1", ids: Sequence[str] = ()
    ) -> None:
        """What everyone was told at a moment."""
        customers = list(ids) or self.ids
        told = pa.table({"customer_id": customers, "probability": score})
        path = score_store.path(self.settings, "churn_28d", version, moment)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(told, path)

    def contact(self, whom: NDArray[np.bool_], at: datetime) -> None:
        for place in np.flatnonzero(whom):
            id = self.ids[place]
            self.contacts.append(
                {"contact_id": f"{id}{at}", "customer_id": id, "at": at, "known_at": at, "action": "coupon",
                 "channel": "sms"}
            )  # fmt: skip

    def log(
        self,
        until: datetime = LAST,
        risk: NDArray[np.float64] | None = None,
        since: datetime = LAST,
        merges: Sequence[tuple[str, str]] = (),
        closed: Sequence[datetime] = (),
        calendar: bool = True,
    ) -> None:
        """Orders at the rates that the risk means; from `since` on at those of another risk.

        closed: days without any order; calendar: whether it tells of them.
        """
        days = (until - MOMENTS[0]) // DAY
        changed = (since - MOMENTS[0]) // DAY
        rates = -np.log(np.clip([self.risk, self.risk if risk is None else risk], 1e-9, 1 - 1e-9)) / HORIZON
        who, when = [], []
        for day in range(days):
            buys = self.random.random(len(self.ids)) < 1 - np.exp(-rates[int(day >= changed)])
            who.append(np.flatnonzero(buys & (MOMENTS[0] + day * DAY not in closed)))
            when += [MOMENTS[0] + day * DAY + timedelta(hours=12)] * len(who[-1])
        buyers = [self.ids[place] for place in np.concatenate(who)]
        now = dict(merges)
        n, times = len(buyers), pa.array(when, pa.timestamp("us", "UTC"))
        orders = pa.table(
            {"order_id": [f"o{number}" for number in range(n)],
             "customer_id": [now.get(id, id) for id in buyers], "at": times, "known_at": times,
             "channel": ["app"] * n, "amount": pa.array([Decimal(1)] * n, pa.decimal128(18, 2)),
             "ref": pa.nulls(n, pa.string())}
        )  # fmt: skip
        events = [
            {"event_id": iso(day), "kind": "holiday", "name": "closed", "at": day, "until": day + DAY,
             "known_at": MOMENTS[0]} for day in closed
        ]  # fmt: skip
        tables = {"orders": orders}
        for name, rows in (("contacts", self.contacts), ("calendar", events if calendar else [])):
            tables[name] = pa.Table.from_pylist(rows, arrow_schema(TABLES[name], 2))
        folder = self.settings.home / "log" / "hand"
        files = {}
        for name, table in tables.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            pq.write_table(table, folder / name / "hand.parquet")
            files[name] = {"hand": {"rows": len(table), "sha256": ""}}
        old, new = [a for a, _ in merges], [b for _, b in merges]
        merged = {"customer_id": pa.array(old, pa.string()), "canonical_id": pa.array(new, pa.string())}
        pq.write_table(pa.table(merged), folder / "merges.parquet")
        manifest = {
            "starts_at": "2017-01-01T00:00:00Z", "complete_until": iso(until), "shop": OF_LOG, "files": files,
            "erased": Tombstones.of(self.settings).digest,
        }  # fmt: skip
        write_atomically(folder / "manifest.json", json.dumps(manifest).encode())
        write_atomically(folder.parent / "CURRENT", b"hand")
