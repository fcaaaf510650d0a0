"""What is told of a day must be what a slow count of the raw rows gives: a wrong figure is acted upon."""

import random
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from copies import copy_of
from ledgers import write_ledger
from logs import write_log
from trials import trial_by_hand

from features.exported import contact_id
from features.ingestion.ingest import ingest
from features.log import Log
from features.moments import parse_moment
from features.settings import Settings
from features.shop import shop_of
from features.sources.simulated.world import World
from features.sources.simulated.writing import simulate
from monitoring import indicators
from monitoring.indicators import BOUGHT_BEFORE, INDICATORS, RECENT
from serving import score_store
from serving.ledger import Ledger
from serving.ledger_reports import Delivery, Outcome

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))
from two_days import SECOND, two_days  # noqa: E402

CHURN = 28  # days of the bundled shop, where nothing is released
NAMES = [one.name for one in INDICATORS]
Frames = Mapping[str, pd.DataFrame]
_READ = {
    "orders": ["amount", "ref"], "interactions": [], "order_lines": ["coupon", "ref"],
    "contacts": [], "responses": ["kind"], "consents": ["purpose", "status"], "memberships": ["change"],
    "cases": ["case_id", "kind", "change"],
}  # fmt: skip


def frames(log: Log, settings: Settings) -> Frames:
    """Every table that the indicators read, with the day of each row; empty where the log has none."""
    found, zone = {}, shop_of(settings).zone.key
    for table, own in _READ.items():
        columns = ["customer_id", "at", "known_at", *own]
        if table not in log.tables:
            rows = pd.DataFrame({name: [] for name in columns}).astype({"at": "datetime64[us, UTC]"})
            rows = rows.astype({"known_at": "datetime64[us, UTC]"})
        else:
            read = log.read(table, columns)
            for name in {"amount", "coupon"} & set(own):
                read = read.set_column(read.column_names.index(name), name, pc.cast(read[name], pa.float64()))
            rows = read.to_pandas()
        rows["day"] = rows["at"].dt.tz_convert(zone).dt.date
        found[table] = rows
    return found


def slow(tables: Frames, day: date, settings: Settings) -> dict[str, float | None]:
    """Every indicator of one day, row by row as it is defined."""
    zone = shop_of(settings).zone

    def ends(of: date) -> datetime:
        return datetime.combine(of + timedelta(days=1), time(), zone)

    def within(rows: pd.DataFrame, first: date) -> pd.DataFrame:
        return rows[(rows["day"] >= first) & (rows["day"] <= day)]

    known = {name: rows[rows["known_at"] <= ends(day)] for name, rows in tables.items()}
    sales = known["orders"][known["orders"]["ref"].isna()]
    touches, now = known["interactions"], {name: rows[rows["day"] == day] for name, rows in known.items()}
    today = sales[sales["day"] == day]
    before = day - timedelta(days=1)
    of_old = sales[(sales["known_at"] <= ends(before)) & (sales["day"] < day)]
    earlier = set(of_old[of_old["day"] >= day - timedelta(days=BOUGHT_BEFORE)]["customer_id"])
    buyers = set(today["customer_id"])
    recent = within(pd.concat([sales, touches]), day - timedelta(days=RECENT - 1))["customer_id"].nunique()
    consents = now["consents"]
    left = [
        now["responses"][now["responses"]["kind"] == "opt-out"],
        consents[(consents["purpose"] == "marketing") & (consents["status"] == "withdrawn")],
        now["memberships"][now["memberships"]["change"] == "left"],
    ]
    cases = known["cases"]
    cases = cases[cases["at"] <= ends(day)]
    closed = set(cases[cases["change"] == "closed"]["case_id"])
    complaints = cases[(cases["kind"] == "complaint") & (cases["change"] == "opened")]
    waits = [
        row for row in complaints.itertuples()
        if row.case_id not in closed and row.at + timedelta(hours=24) <= ends(day)
    ]  # fmt: skip
    sent = len(within(known["contacts"], day - timedelta(days=RECENT - 1)))
    answered = now["responses"]["kind"].isin(["open", "click", "redeem", "buy"]).sum()
    silent = sales[sales["day"] <= day].groupby("customer_id")["day"].max()
    goods = now["order_lines"][now["order_lines"]["ref"].isna()]
    return {
        "orders": float(len(today)),
        "active_customers": float(len(buyers | set(now["interactions"]["customer_id"]))),
        "churned_customers": float((silent == day - timedelta(days=CHURN)).sum()),
        "repurchase": len(buyers & earlier) / len(buyers) if buyers else None,
        "average_order": today["amount"].mean() if len(today) else None,
        "interaction_rate": now["interactions"]["customer_id"].nunique() / recent if recent else None,
        "opt_outs": float(pd.concat(left)["customer_id"].nunique()),
        "open_complaints": float(len(waits)),
        "contact_answers": answered / sent if sent else None,
        "coupon_cost": goods["coupon"].sum(),
    }


def same(found: pa.Table, tables: Frames, settings: Settings, days: list[date]) -> int:
    """Hold the days against the slow count; how many figures were compared."""
    told = {
        (row["name"], row["day"]): row["value"] for row in found.to_pylist() if row["name"] in NAMES
    }  # fmt: skip
    begins = {name: min(day for one, day in told if one == name) for name in {name for name, _ in told}}
    compared = 0
    for day in days:
        for name, value in slow(tables, day, settings).items():
            if name not in begins or day < begins[name]:
                continue
            assert (name, day) in told or value is None, (name, day, value)
            if value is not None:
                assert told[name, day] == pytest.approx(value, abs=1e-9), (name, day)
                compared += 1
    return compared


@pytest.fixture(scope="module")
def journey_log(journey: Settings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Log]:
    """The real log, of which nothing is scored."""
    settings = copy_of(journey, tmp_path_factory.mktemp("indicators") / "home")
    return settings, Log.open(settings)


def test_the_real_log_has_what_a_slow_count_finds(journey_log: tuple[Settings, Log]) -> None:
    settings, log = journey_log
    found, absent = indicators.told(settings, log, date(2017, 1, 1), date(2018, 6, 1))
    assert set(absent) == {"interaction_rate", "opt_outs", "open_complaints", "health"}
    days = [date(2017, 1, 1) + timedelta(days=n) for n in range(5, 363, 51)]
    assert same(found, frames(log, settings), settings, days) > 40
    series = indicators.series(found)
    assert set(series) == set(NAMES) - set(absent)
    days_, orders = series["orders"]
    assert (np.diff(days_.astype(int)) == 1).all()
    assert (orders[-1], days_[-1]) == (403, np.datetime64("2017-12-29")), "the day of `now` is not over"


def test_the_simulated_shop_has_what_a_slow_count_finds(tmp_path: Path) -> None:
    """It has every table, so every indicator."""
    made = simulate(World(customers=250, days=150, seed=3), tmp_path / "shop")
    settings = Settings(home=tmp_path / "home", shop=made.folder, as_of=parse_moment("2024-05-29"))
    ingest(settings)
    log = Log.open(settings)
    found, absent = indicators.told(settings, log, date(2024, 1, 1), date(2024, 12, 31))
    assert set(absent) == {"health"}
    days = [date(2024, 1, 1) + timedelta(days=n) for n in range(20, 148, 7)]
    assert same(found, frames(log, settings), settings, days) > 120


def rows(seed: int) -> dict[str, list[dict[str, Any]]]:
    """Ten weeks across a change of the clocks, many rows at midnight, every fifth known late."""
    draw = random.Random(seed)
    first = datetime(2017, 2, 20, tzinfo=shop_of(Settings()).zone)

    def event(n: int) -> dict[str, Any]:
        day = first + timedelta(days=draw.randrange(70))
        within = [timedelta(0), timedelta(microseconds=-1), timedelta(hours=24 * draw.random())]
        at = day + draw.choice(within)
        late = timedelta(days=10 * draw.random()) if draw.random() < 0.2 else timedelta(0)
        return {"customer_id": f"c{draw.randrange(25)}", "at": at, "known_at": at + late}

    def many(n: int, **columns: Any) -> list[dict[str, Any]]:
        return [{**event(k), **{name: make(k) for name, make in columns.items()}} for k in range(n)]

    money = lambda k: Decimal(draw.randrange(1, 9_999)) / 100  # noqa: E731
    ref = lambda k: "0" if draw.random() < 0.1 else None  # noqa: E731
    orders = many(250, order_id=str, channel=lambda k: "store", amount=money, discount=lambda k: 0, ref=ref)
    lines = many(
        200, order_id=str, line=int, product_id=str, items=lambda k: 1, amount=money, discount=money,
        coupon=lambda k: money(k) if k % 3 else 0, ref=ref,
    )  # fmt: skip
    kinds = lambda *of: lambda k: draw.choice(of)  # noqa: E731
    opened = many(60, case_id=str, kind=kinds("complaint", "question"), change=lambda k: "opened")
    closed = [
        {**one, **{name: one[name] + timedelta(hours=100 * draw.random()) for name in ("at", "known_at")},
         "change": "closed"}
        for one in opened
        if draw.random() < 0.7
    ]  # fmt: skip
    return {
        "orders": orders, "order_lines": lines, "cases": opened + closed,
        "interactions": many(400, interaction_id=str, kind=kinds("visit", "view"), channel=lambda k: "app"),
        "contacts": many(100, contact_id=str, action=str, channel=lambda k: "sms"),
        "responses": many(100, response_id=str, kind=kinds("open", "click", "redeem", "buy", "opt-out")),
        "consents": many(60, channel=lambda k: "sms", purpose=kinds("marketing", "service"),
                         status=kinds("granted", "withdrawn")),
        "memberships": many(60, kind=lambda k: "group", place_id=str, change=kinds("joined", "left")),
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_rows_that_come_late_and_at_midnight_count_as_they_were_known(tmp_path: Path, seed: int) -> None:
    """A row of yesterday that comes today must not change what the lead was told yesterday."""
    log = write_log(tmp_path / "log", rows(seed), parts=2)
    settings = Settings(home=tmp_path / "home", as_of=parse_moment("2017-05-06"))
    found, absent = indicators.told(settings, log, date(2017, 1, 1), date(2017, 5, 5))
    assert set(absent) == {"repurchase", "health"}, absent
    days = [date(2017, 2, 20) + timedelta(days=n) for n in range(72)]
    assert same(found, frames(log, settings), settings, days) > 300


def sale(id: str, at: str, known: str | None = None, **more: Any) -> dict[str, Any]:
    at_ = parse_moment(at)
    return {
        "order_id": id, "customer_id": "a", "at": at_, "known_at": parse_moment(known) if known else at_,
        "channel": "store", "amount": Decimal(10), "discount": Decimal(0), **more,
    }  # fmt: skip


def test_a_late_row_counts_only_where_it_is_asked_for(tmp_path: Path) -> None:
    log = write_log(tmp_path, {"orders": [
        sale("1", "2017-03-01T15:00:00Z"), sale("2", "2017-03-01T16:00:00Z", known="2017-03-04T00:00:00Z"),
        sale("3", "2017-03-01T17:00:00Z", known="2017-03-02T05:00:00Z"),  # midnight in New York: of that day
        sale("4", "2017-03-01T18:00:00Z", known="2018-03-02T05:00:00Z"),  # nobody knows of it yet
    ]})  # fmt: skip
    settings = Settings(home=tmp_path / "home", as_of=parse_moment("2017-03-10"))
    day = date(2017, 3, 1)
    as_said = indicators.daily(settings, log, day, day)
    as_known = indicators.daily(settings, log, day, day, late=True)
    orders = [indicators.series(table)["orders"][1].tolist() for table in (as_said, as_known)]
    assert orders == [[2.0], [3.0]]


def test_what_a_log_lacks_is_absent_and_no_zero(tmp_path: Path) -> None:
    """A zero would be taken for a calm day, and an alarm made of it."""
    known = "2017-03-05T00:00:00Z"
    log = write_log(tmp_path, {
        "orders": [sale(str(n), f"2017-03-0{n}T15:00:00Z") for n in range(1, 8)],
        "contacts": [{"contact_id": "k", "customer_id": "a", "at": parse_moment("2017-03-01"),
                      "known_at": parse_moment("2017-03-01"), "action": "x", "channel": "sms"}],
        "responses": [{"response_id": str(n), "customer_id": "a", "at": parse_moment("2017-03-02"),
                       "known_at": parse_moment(known), "kind": "click"} for n in range(3)],
    })  # fmt: skip
    settings = Settings(home=tmp_path / "home", as_of=parse_moment("2017-03-06T12:00:00Z"))
    found, absent = indicators.told(settings, log, date(2017, 1, 1), date(2017, 12, 31))
    days = {name: days.astype(str).tolist() for name, (days, _) in indicators.series(found).items()}
    assert days == {name: [f"2017-03-0{n}" for n in range(1, 6)] for name in
                    ("orders", "active_customers", "average_order")}  # fmt: skip
    assert {name: why.en for name, why in absent.items()} == {
        "churned_customers": "it can be told from 29 Mar 2017 on: 28 days before a day are needed",
        "repurchase": "it can be told from 30 May 2017 on: 90 days before a day are needed",
        "interaction_rate": "the log has no visits and other interactions",
        "opt_outs": "most rows of responses become known only after their day is over, so that what is known "
        "when a day ends says little",
        "open_complaints": "the log has no complaints and returns (cases)",
        "contact_answers": absent["opt_outs"].en,
        "coupon_cost": "the log has no order lines",
        "health": "no released model tells who stays away: `propensity train churn_28d`, then "
        "`propensity promote`",
    }
    assert all(why.zh and why.zh != why.en for why in absent.values())


@pytest.mark.parametrize(("in_log", "others", "counted"), [(0, 0, 8), (3, 0, 8), (3, 1, 9)])
def test_contacts_of_the_ledger_count_once_in_the_log_or_not(
    home: Settings, tmp_path: Path, in_log: int, others: int, counted: int
) -> None:
    """A shop that never exports its ledger would be told that it sends nothing; one that does, twice that."""
    first, at = parse_moment("2017-01-20T15:00:00Z"), parse_moment("2017-03-01T15:00:00Z")
    write_ledger(home, trial_by_hand(rows=200)[0], first)
    with closing(Ledger(home)) as ledger:
        ids = [entry.id for entry in ledger.entries() if entry.channel is not None][:9]
        when = dict.fromkeys(ids, at) | {ids[0]: first}
        ledger.report(
            [Delivery(source="x", id=id, decision_id=id, status="sent", at=when[id]) for id in ids], at
        )
        ledger.report([Outcome(source="x", id="c", decision_id=ids[1], type="click", value=1, at=at)], at)
        kept = [contact_id(row["number"], row["id"]) for row in ledger.sent()][1 : 1 + in_log]
    kept += [f"another{n}" for n in range(others)]
    contact = {"customer_id": "c", "at": at, "known_at": at, "action": "x", "channel": "sms"}
    contacts = [{**contact, "contact_id": id} for id in kept]
    tables = {"orders": [sale("1", "2017-01-01T15:00:00Z")], "contacts": contacts}
    log = write_log(tmp_path / "log", {name: told for name, told in tables.items() if told})
    settings = replace(home, as_of=parse_moment("2017-03-10"))
    day = date(2017, 3, 1)
    found = indicators.daily(settings, log, day, day).to_pylist()
    answers = [(row["value"], row["n"]) for row in found if row["name"] == "contact_answers"]
    assert answers == [(1 / counted, counted)]


def test_the_answers_of_a_day_are_not_taken_for_the_response_rate(tmp_path: Path) -> None:
    """Else: a shop whose contacts are answered by 25 % reports a response rate of 0.9 %."""
    start = parse_moment("2017-03-01T15:00:00Z")
    at = [start + timedelta(days=day) for day in range(40) for _ in range(8)]
    event = [{"customer_id": "c", "at": one, "known_at": one} for one in at]
    sent = [{**one, "contact_id": str(n), "action": "x", "channel": "sms"} for n, one in enumerate(event)]
    answers = [{**one, "response_id": str(n), "kind": "click"} for n, one in enumerate(event) if n % 4 == 0]
    orders = [sale("1", "2017-01-01T15:00:00Z")]
    log = write_log(tmp_path / "log", {"orders": orders, "contacts": sent, "responses": answers})
    settings = Settings(home=tmp_path / "home", as_of=parse_moment("2017-04-09T12:00:00Z"))
    day = date(2017, 4, 8)
    found = indicators.daily(settings, log, day, day).to_pylist()
    (value,) = [row["value"] for row in found if row["name"] == "contact_answers"]
    one = indicators.named("contact_answers")
    assert value == pytest.approx(0.25 / RECENT)
    assert "it is not the response rate" in one.meaning.en.lower()
    assert f"about {value:.1%} a day".replace("%", " %") in one.meaning.en
    assert "这不是响应率" in one.meaning.zh
    assert f"每日约为{value:.1%}" in one.meaning.zh
    assert "of the day" in one.words.en
    assert "当日" in one.words.zh
    assert "率" not in one.words.zh


def test_health_is_told_by_tier_of_every_day_that_was_scored(tmp_path: Path) -> None:
    """The mean of everybody hides that those who matter are leaving."""
    settings, _ = two_days(tmp_path)
    found, absent = indicators.told(settings, _log(tmp_path), date(2017, 12, 1), date(2017, 12, 31))
    assert "health" not in absent
    health = [row for row in found.to_pylist() if row["name"] == "health"]
    assert {row["day"] for row in health} == {date(2017, 12, 1), date(2017, 12, 2)}, "moments are 19:00 there"
    last = {row["segment"]: row for row in health if row["day"] == date(2017, 12, 2)}
    scores = pq.read_table(score_store.path(settings, "churn_28d", "1", SECOND)).to_pandas()
    tiers = pq.read_table(score_store.path(settings, "segmentation", "1", SECOND)).to_pandas()
    both = scores.merge(tiers[["customer_id", "tier"]], on="customer_id")
    stays = 100 * (1 - both["probability"])
    assert last[""]["value"] == pytest.approx(stays.mean())
    assert len(last) > 2
    for tier, own in stays.groupby(both["tier"]):
        assert last[str(tier)]["value"] == pytest.approx(own.mean())
        assert last[str(tier)]["n"] == len(own)


def _log(folder: Path) -> Log:
    return write_log(folder / "log", {"orders": [sale("1", "2017-01-01T15:00:00Z")]})
