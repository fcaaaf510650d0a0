"""A home in which every block of the morning page has something to say."""

import json
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from logs import OF_LOG, empty_shop, write_log

from features.files import write_atomically
from features.log import Log
from features.moments import DAY, iso
from features.settings import Settings
from serving.ledger import Entry, Ledger
from serving.ledger_reports import Delivery, Outcome
from serving.pauses import opened as pausing
from serving.reservations import Reservation
from serving.sealing import Sealed

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))
from two_days import SECOND, publish, two_days  # noqa: E402

NOW = SECOND
SHOP = """
from features.words import Words
from serving.retail import ACTIONS
from serving.scenarios import Anniversary, Scenario
from serving.watches import Watch
SCENARIOS = [
    Scenario(name="birthday", words=Words("A birthday is near", "生日关怀"), due_days=4,
             anniversary=Anniversary("birthday"), actions=("greeting_by_staff",)),
    Scenario(name="silence", words=Words("No visit for long", "久未到访"), when="days_since_order > 30",
             due_days=9, actions=("visit_coupon",)),
]
WATCHES = [Watch(name="churn", words=Words("Churn", "流失"), figure="churn_28d", enters={enters}, leaves=0.1)]
"""


def write_home_log(
    settings: Settings, tables: Mapping[str, Iterable[Mapping[str, Any]]], until: datetime
) -> Log:
    """A log in the home, complete until a moment, and in force."""
    folder = settings.home / "log" / "hand"
    log = write_log(folder, tables)
    manifest = {
        "starts_at": iso(log.starts_at), "complete_until": iso(until), "shop": OF_LOG, "files": log.files,
        "sources": {},
    }  # fmt: skip
    write_atomically(folder / "manifest.json", json.dumps(manifest).encode())
    write_atomically(folder / "merges.parquet", _no_merges())
    write_atomically(folder.parent / "CURRENT", b"hand")
    return Log.open(settings)


def _no_merges() -> bytes:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    moment = pa.timestamp("us", "UTC")
    types = (("customer_id", pa.string()), ("canonical_id", pa.string()), ("since", moment))
    sink = io.BytesIO()
    pq.write_table(pa.table({name: pa.array([], of) for name, of in types}), sink)
    return sink.getvalue()


def morning(folder: Path, enters: float = 0.5) -> Settings:
    """Log, scores of two days, ledger, verdict, budget, pause: everything but who is due and the holdout."""
    settings, build = two_days(folder)
    publish(settings, build, SECOND)
    shop = empty_shop(folder / "shop", shop_py=SHOP.replace("{enters}", str(enters)))
    toml = (shop / "shop.toml").read_text("utf-8")
    toml += '\n[[policy.budget]]\namount = 1.0\nper = "month"\n'
    write_atomically(shop / "shop.toml", toml.encode())
    settings = replace(settings, shop=shop)
    write_home_log(settings, _tables(), NOW)
    verdict(settings)
    _ledger(settings)
    from serving.actions import catalogue
    from serving.retail import ACTIONS

    with pausing(settings) as pauses:
        pauses.pause("channel:sms", "wrong price in the text", list(catalogue(ACTIONS).values()))
    return settings


def verdict(
    settings: Settings, at: datetime = NOW, findings: Iterable[Mapping[str, Any]] = (), status: str = "ok"
) -> Path:
    """What a run of the monitoring would have left."""
    path = settings.home / "reports" / f"{at:%Y%m%dT%H%M%S}Z" / "verdict.json"
    words = {"en": "said", "zh": "已述"}
    body = {"moment": iso(at), "status": status, "words": words, "findings": list(findings)}
    write_atomically(path, json.dumps(body).encode())
    return path


def finding(subject: str, status: str = "page", check: str = "x", owner: str | None = None) -> dict[str, Any]:
    words = {"en": f"{check} is off", "zh": f"{check}异常"}
    of = {"subject": subject, "check": check, "status": status, "value": 1.0, "words": words}
    return of | ({"owner": owner} if owner else {})


def _tables() -> dict[str, list[dict[str, Any]]]:
    """A year of an order a day, and four complaints: one due, one late, one that is old, one settled."""
    orders = [
        {"order_id": str(n), "customer_id": f"c{n % 40:04}", "at": NOW - n * DAY, "known_at": NOW - n * DAY,
         "channel": "store", "amount": Decimal(10 + n % 7), "discount": Decimal(0)}
        for n in range(1, 365)
    ]  # fmt: skip

    def case(id: str, hours: float, change: str = "opened", **more: Any) -> dict[str, Any]:
        at = NOW - timedelta(hours=hours)
        return {"case_id": id, "customer_id": f"c-{id}", "at": at, "known_at": at, "kind": "complaint",
                "change": change, "reason": "<b>late</b>", **more}  # fmt: skip

    cases = [
        case("due", 5), case("late", 30), case("old", 24 * 30), case("settled", 40),
        case("settled", 1, "closed"), case("question", 3, kind="question"),
        case("unknown", 3, known_at=NOW + DAY),
    ]  # fmt: skip
    return {"orders": orders, "cases": cases}


def _ledger(settings: Settings) -> None:
    """Decisions of yesterday, sent and answered, blocked, for a person, for nothing; and an old one."""
    at = NOW - timedelta(hours=6)
    with closing(Ledger(settings)) as ledger:
        with ledger.deciding():
            for id, channel, route, when in (
                ("answered", "sms", "automatic", at), ("blocked", "sms", "automatic", at),
                ("waiting", "staff", "person", at), ("taken", "staff", "person", at),
                ("nothing", None, "automatic", at), ("old", "sms", "automatic", NOW - 20 * DAY),
            ):  # fmt: skip
                one = entry(id, channel, route, when)
                held = Reservation(when, None, when.date(), one.scenario or "", one.cost or 0.0)
                ledger.append(one, b"{}", held if channel else None)
        told: list[Delivery | Outcome] = [
            Delivery(source="x", id="1", decision_id="answered", status="delivered", at=at),
            Delivery(
                source="x", id="2", decision_id="blocked", status="blocked", at=at, blocked_by="carrier"
            ),
            Delivery(source="x", id="3", decision_id="taken", status="sent", at=at),
            Outcome(source="x", id="4", decision_id="answered", type="click", value=1, at=at),
            Outcome(source="x", id="5", decision_id="answered", type="order", value=30, at=at),
            Outcome(source="x", id="6", decision_id="taken", type="order", value=30, at=at),
        ]
        assert {type(one).__name__ for one in ledger.report(told, NOW)} == {"Reported"}


def entry(id: str, channel: str | None, route: str, at: datetime) -> Entry:
    """A decision by hand."""
    answer = {
        "customer_id": f"who-{id}", "action": "greeting_by_staff" if channel == "staff" else "visit_coupon",
        "channel": channel, "valid_until": iso(NOW + 2 * DAY), "route": route,
        "route_text": {"en": "Being wrong is expected to lose 9.00 USD", "zh": "预期损失9.00 USD"},
    }  # fmt: skip
    return Entry(
        id=id, client="t", idempotency_key=None, as_of=at, channel=channel,
        action=answer["action"] if channel else "nothing", propensity=1.0, explored=False, holdout=False,
        reserves=channel is not None, policy="p", context=b'{"horizon_days":28}', features=b"{}", build="b",
        releases=(), seed=1, sealed=Sealed(f"who-{id}", b"", b"{}", msgspec.json.encode(answer)),
        scenario="birthday" if channel == "staff" else "silence", cost=0.5 if channel else 0.0,
        window_end=at + 28 * DAY, matures_at=at + 35 * DAY,
    )  # fmt: skip
