"""What the tables received, day by day, against a count that is slow and obvious."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from dirty import bring_in, write_shop
from logs import write_log

from features.ingestion.ingest import ingest
from features.ingestion.rejects import export, take_in
from features.log import Log
from features.moments import DAY, parse_moment
from features.settings import Settings
from features.shop import Shop, shop_of
from features.sources.simulated.world import World
from features.sources.simulated.writing import simulate
from features.tables import OURS, TABLES
from monitoring.received import KNOWN_BY, Figure, Received, angle, daily

FIRST = date(2017, 3, 1)
DAYS = 60
ZONE = ZoneInfo("America/New_York")  # of the bundled shop


def number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def frame(log: Log, table: str, zone: ZoneInfo) -> pd.DataFrame:
    """All rows, with the days on which they happened and, at the latest, were told; numbers since 1970."""
    rows = pd.concat([pd.read_parquet(path, partitioning=None) for path in log.paths(table)])
    told = rows["known_at"] - pd.Timedelta(microseconds=1)
    for name, moments in (("day", rows["at"]), ("told", told)):
        rows[name] = [number(moment.date()) for moment in moments.dt.tz_convert(zone)]
    rows["hour"] = rows["at"].dt.tz_convert(zone).dt.hour
    rows["told"] = rows[["day", "told"]].max(axis=1)
    return rows


def counted(figure: Figure, rows: pd.DataFrame, met: Mapping[str, int]) -> float:
    """One figure of the rows of one day; met: of each customer, the day by which some row told of her."""
    if figure.kind == "rows":
        return float(np.log1p(len(rows)))
    if rows.empty:
        return float("nan")
    column = rows[figure.column] if figure.column else rows["at"]
    if figure.kind == "size":
        sizes = [np.log(1 + abs(float(value))) for value in column if pd.notna(value) and value != 0]
        return float(np.mean(sizes)) if sizes else float("nan")
    if figure.kind == "sign":
        known = [float(value) <= 0 for value in column if pd.notna(value)]
        share = np.mean(known) if known else np.nan
    elif figure.kind == "empty":
        share = column.isna().mean()
    elif figure.kind == "share":
        share = (column == figure.value).mean()
    elif figure.kind == "night":
        share = (rows["hour"] < 6).mean()
    elif figure.kind == "repeated":
        table = TABLES[figure.table]
        own = [n for n, c in table.columns.items() if n in rows and n not in OURS and c.type != "map"]
        own = [n for n in own if n not in ("at", "known_at")]
        own = [n for n in own if n not in table.key or table.key == ("customer_id",)]
        share = rows[[*own, "at"]].duplicated().mean()
    else:
        assert figure.kind == "strangers"
        customers = rows.drop_duplicates("customer_id")
        pairs = zip(customers["customer_id"], customers["day"], strict=True)
        share = np.mean([met[customer] == day for customer, day in pairs])
    return float(angle(np.asarray(share)))


def test_every_figure_of_a_simulated_shop_is_what_a_slow_count_finds(tmp_path: Path) -> None:
    """Else: a fault of a source does not stand out, or one that is none does."""
    made = simulate(World(customers=200, days=100, seed=5), tmp_path / "shop", workers=1)
    settings = Settings(home=tmp_path / "home", shop=made.folder)
    ingest(settings)
    log, shop = Log.open(settings), shop_of(settings)
    first = number(log.starts_at.astimezone(shop.zone).date())
    found = daily(log, shop, first, first + 98)
    tables = {name: frame(log, name, shop.zone) for name in {f.table for f in found.figures} | {"orders"}}
    everybody = pd.concat([rows[["customer_id", "told"]] for rows in tables.values()])
    met = everybody.groupby("customer_id")["told"].min().to_dict()
    assert len({f.table for f in found.figures}) >= 11
    assert {f.kind for f in found.figures} == {
        "rows", "empty", "share", "unseen", "size", "sign", "night", "repeated", "strangers"
    }  # fmt: skip
    for place, figure in enumerate(found.figures):
        if figure.kind == "unseen":  # a test of its own
            continue
        rows = tables[figure.table]
        rows = rows[rows["told"] <= rows["day"]]
        by_day = dict([*rows.groupby("day")])
        slow = np.array([counted(figure, by_day.get(d, rows[:0]), met) for d in range(first, first + 99)])
        fresh = np.isfinite(slow)
        assert (found.fresh[:, place] == fresh).all(), figure
        np.testing.assert_allclose(found.values[fresh, place], slow[fresh], rtol=1e-6, atol=1e-7)


def sale(day: int, hour: float = 12, late: float = 0, customer: str = "", **more: Any) -> dict[str, Any]:
    """An order on a day of the sixty; late: days until it is known."""
    at = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=ZONE) + timedelta(days=day, hours=hour)
    sale.count = getattr(sale, "count", 0) + 1  # type: ignore[attr-defined]
    id = str(sale.count)  # type: ignore[attr-defined]
    return {
        "order_id": id, "customer_id": customer or f"c{id}", "at": at, "known_at": at + late * DAY,
        "channel": "web", "amount": Decimal(10), "discount": Decimal(0), **more,
    }  # fmt: skip


def received(folder: Path, orders: Iterable[dict[str, Any]], days: int = DAYS, **tables: Any) -> Received:
    log = write_log(folder, {"orders": list(orders), "customers": [], **tables})
    return daily(log, shop(), number(FIRST), number(FIRST) + days - 1)


def shop() -> Shop:
    return shop_of(Settings())


def column(found: Received, *figure: str) -> np.ndarray:
    return found.values[:, found.figures.index(Figure(*figure))]  # type: ignore[arg-type]


def usual() -> list[dict[str, Any]]:
    """Three orders a day of regulars, and one of somebody new."""
    return [sale(day, customer=who) for day in range(DAYS) for who in ("ann", "bob", "cat", "")]


def test_a_row_that_comes_late_changes_no_day_before_it_came(tmp_path: Path) -> None:
    """Else: yesterday's alert is gone today, or one is raised about a day that was judged as usual."""
    rows = usual()
    late = [
        sale(day, late=40 - day, customer=f"x{day}", amount=Decimal(10_000), channel="till")
        for day in range(5, 35)
    ]
    then, now = received(tmp_path / "then", rows), received(tmp_path / "now", [*rows, *late])
    assert set(then.figures) <= set(now.figures)
    for place, figure in enumerate(then.figures):
        np.testing.assert_array_equal(then.values[:, place], column(now, *figure), str(figure))
    known = received(tmp_path / "known", [*rows, *late, sale(45, customer="x5")])
    share = angle(np.array([0.2, 0.25]))
    strangers = column(known, "orders", "strangers")
    np.testing.assert_allclose(strangers[[45, 46]], share, err_msg="of x5 a row told before, if late")


def test_a_day_is_counted_the_same_whenever_it_is_asked_about(tmp_path: Path) -> None:
    rows = [*usual(), *[sale(day, customer="dan", channel="app") for day in range(40, DAYS)]]
    early, whole = received(tmp_path / "a", rows, days=50), received(tmp_path / "b", rows)
    assert early.figures == whole.figures
    np.testing.assert_array_equal(early.values, whole.values[:50])


def test_a_till_that_tells_a_day_when_it_is_over_is_of_that_day(tmp_path: Path) -> None:
    """Else: a source of days alone has no row on any day, and may vanish unseen."""
    rows = [sale(day, hour=0, late=1, precision="day") for day in range(DAYS)]
    found = received(tmp_path, rows)
    assert (column(found, "orders", "rows") == np.log1p(1)).all()
    assert Figure("orders", "night") not in found.figures, "nobody knows at which hour"


def test_a_value_that_comes_up_is_new_for_four_weeks(tmp_path: Path) -> None:
    """Else: a renamed channel is a new share of its own, and stands out from nothing."""
    rows = [*usual(), *[sale(day, customer="ann", channel="app") for day in range(30, DAYS)]]
    found = received(tmp_path, rows)
    new = column(found, "orders", "unseen", "channel")
    share = float(angle(np.array(1 / 5)))
    np.testing.assert_allclose(new, [0] * 30 + [share] * KNOWN_BY + [0] * (DAYS - 30 - KNOWN_BY))
    assert Figure("orders", "share", "channel", "app") not in found.figures


def test_a_table_that_is_silent_for_days_keeps_saying_what_it_said_but_as_nothing_new(tmp_path: Path) -> None:
    """Else: campaigns that came twice are forgotten on the next day; or one odd day counts as a week."""
    contacts = [
        {
            "contact_id": f"{day}-{n}", "customer_id": ("ann", "bob")[n % 2], "action": "sms",
            "channel": "sms", "at": (at := sale(day)["at"]), "known_at": at,
        }
        for day, several in ((10, 2), (25, 4))
        for n in range(several)
    ]  # fmt: skip
    found = received(tmp_path, usual(), contacts=contacts)
    repeated = column(found, "contacts", "repeated")
    place = found.figures.index(Figure("contacts", "repeated"))
    half = float(angle(np.array(0.5)))
    assert np.isnan(repeated[:10]).all()
    np.testing.assert_allclose(repeated[10:], [0] * 15 + [half] * (DAYS - 25))
    assert np.flatnonzero(found.fresh[:, place]).tolist() == [10, 25]
    assert found.rows[[10, 24, 25, 59], place].tolist() == [2, 2, 4, 4]
    assert (np.expm1(column(found, "contacts", "rows"))[[10, 11, 25, 26]].round() == [2, 0, 4, 0]).all()


def test_whom_a_campaign_reaches_first_is_no_stranger(tmp_path: Path) -> None:
    """Else: every campaign to other customers than the last one's is a fault."""
    at = sale(20)["at"]
    contacts = [
        {"contact_id": who, "customer_id": who, "action": "sms", "channel": "sms", "at": at, "known_at": at}
        for who in ("ann", "bob", "nobody")
    ]
    strangers = column(received(tmp_path, usual(), contacts=contacts), "contacts", "strangers")
    assert strangers[20] == pytest.approx(float(angle(np.array(1 / 3))))


TILL = """[mapping.till]
complete_until = 2017-05-01
[[mapping.till.read]]
table = "orders"
files = "orders*.csv"
[mapping.till.read.columns]
order_id = "no"
customer_id = "who"
at = "when"
amount = "paid"
channel = { value = "store" }
"""


def test_rows_that_ingestion_rejects_are_counted_on_the_day_they_came_until_somebody_mends_them(
    tmp_path: Path,
) -> None:
    """Else: a quarter of the orders are lost every day to dates of next year, and the monitoring is quiet."""
    rows: list[list[str]] = []
    for day in range(DAYS):
        today = FIRST + timedelta(days=day)
        rows.append([f"{day}-{n},c{n},{today} 1{n}:00,5" for n in range(8)])
    for n in (0, 3):  # the first, and one among others
        rows[50][n] = rows[50][n].replace("2017-", "2018-")
    rows[51][7] = rows[51][7].replace(",5", ",five")
    rows[52].append(rows[52][0])  # the log has it
    head, text = "no,who,when,paid\n", ["\n".join(of_day) for of_day in rows]
    files = {"orders_0.csv": head + "\n".join(text[:50]) + "\n"}  # one of many days, and then one a day
    files |= {f"orders_{day}.csv": f"{head}{text[day]}\n" for day in range(50, DAYS)}
    now = parse_moment(f"{FIRST + timedelta(days=DAYS + 1)}")
    settings = replace(write_shop(tmp_path, TILL, files), as_of=now)

    def found() -> Received:
        first = number(FIRST)
        return daily(bring_in(settings).log, shop_of(settings), first, first + DAYS - 1)

    of_days = found()
    (figure,) = (f for f in of_days.figures if f.kind == "rejected")
    shares = np.zeros(DAYS)
    shares[[50, 51]] = 2 / 8, 1 / 8
    place = of_days.figures.index(figure)
    np.testing.assert_allclose(of_days.values[:, place], angle(shares))
    assert (of_days.rows[:, place] == 8).all()
    assert figure.words.en == "orders that ingestion rejected (dated after it was taken in)"
    assert figure.words.zh == "订单中导入时被拒绝的占比（日期晚于导入之日）"
    sheet = tmp_path / "mended.csv"
    export(settings, sheet)
    mended = sheet.read_text("utf-8").replace(",2018-", ",2017-").replace(",five,", ",5,")
    sheet.write_text(mended, "utf-8")
    take_in(settings, sheet)
    assert {f.kind for f in found().figures} & {"rejected", "rows"} == {"rows"}
