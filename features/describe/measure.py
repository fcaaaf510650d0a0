"""The counting behind `facts.py`: DuckDB over the log's parquet; what exceeds `MEMORY` goes to the disk."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from features import duck
from features.definitions import catalogue
from features.describe.absent import absent, untimed
from features.describe.facts import EVENTS, Account, Consent, Facts, Goods, Month, Part
from features.describe.gaps import Gap, find_gaps
from features.ingestion.suspicions import Suspicion, suspicions
from features.log import Log
from features.moments import parse_moment
from features.settings import Settings
from features.shop import Shop, shop_of
from features.tables import TABLES
from features.unread import held, unread

if TYPE_CHECKING:
    import duckdb

MEMORY = 2_190_000_000  # bytes
PAUSE = 92  # days without an event, after which the few before are no slow start
Progress = Callable[[str, int, int], None]


def measure(settings: Settings, progress: Progress | None = None) -> Facts:
    """Count the log in force. LogError if there is none."""
    log, shop = Log.open(settings), shop_of(settings)
    manifest: dict[str, Any] = json.loads((log.folder / "manifest.json").read_text("utf-8"))
    settings.home.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(prefix=".describe-", dir=settings.home) as spill,
        duck.connect(memory=MEMORY, folder=Path(spill) / "work") as connection,
    ):
        counting = _Counting(log, connection)
        parts: list[Part] = []
        gaps: list[Gap] = []
        streams = [(table, source) for table in TABLES if table in log.tables for source in log.files[table]]
        for done, (table, source) in enumerate(streams):
            if progress:
                progress(f"{table} of {source}", done, len(streams) + 1)
            told = manifest["sources"].get(source, {}).get("complete_until")  # null of a calendar, for one
            until = parse_moment(told or manifest["complete_until"])
            part, found = counting.part(table, source, until)
            parts.append(part)
            # Orders and their lines mostly come together: then it is said once.
            gaps += [gap for gap in found if not any(_same(gap, other) for other in gaps)]
        if progress:
            progress("customers and months", len(streams), len(streams) + 1)
        kept = settings.home / "parts"
        places = {s: kept / s / facts["part"] for s, facts in manifest["sources"].items() if "part" in facts}
        rejects = settings.home / "rejects" / log.fingerprint
        odd = suspicions(settings, shop, places, log, rejects, Path(spill) / "parts")
        return _facts(settings, log, shop, manifest, counting, parts, gaps, odd)


def _facts(
    settings: Settings,
    log: Log,
    shop: Shop,
    manifest: dict[str, Any],
    counting: "_Counting",
    parts: list[Part],
    gaps: list[Gap],
    odd: tuple[Suspicion, ...],
) -> Facts:
    features = catalogue(shop.declared("FEATURES"))
    months, orders, (begins, early) = counting.months(), counting.orders(), counting.begins()
    return Facts(
        shop=shop.name,
        log=log.fingerprint,
        zone=str(log.shop["zone"]),
        currency=str(log.shop["currency"]),
        starts_at=log.starts_at,
        complete_until=log.complete_until,
        begins=begins,
        early=early,
        days=max(0, (counting.day(log.complete_until) - begins).days),
        parts=tuple(parts),
        months=months,
        gaps=tuple(sorted(gaps, key=lambda gap: (gap.first, gap.table, gap.source))),
        accounts=_accounts(settings, log, manifest),
        features=len(features),
        absent=absent(log, features),
        untimed=untimed(log, features),
        unread=tuple(unread(held(log), features, shop.channels)),
        suspicions=odd,
        orders=sum(month.orders for month in months),
        sales=sum((month.sales for month in months), Decimal()),
        returns=sum(month.returns for month in months),
        returned=sum((month.returned for month in months), Decimal()),
        consents=counting.consents(shop),
        goods=counting.goods(),
        **orders,
    )


class _Counting:
    """Queries over one log."""

    def __init__(self, log: Log, connection: "duckdb.DuckDBPyConnection") -> None:
        self.log, self.zone, self.connection = log, ZoneInfo(str(log.shop["zone"])), connection

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a query: each is an aggregate, and small."""
        found: list[tuple[Any, ...]] = self.connection.execute(sql).fetchall()
        return found

    def table(self, name: str) -> str:
        """A table of all sources, with `local_at`, as SQL."""
        files = ", ".join(f"'{path}'" for path in self.log.paths(name))
        return f"""(SELECT *, "at" AT TIME ZONE '{self.zone.key}' AS local_at
                    FROM read_parquet([{files}], hive_partitioning = false))"""

    def day(self, moment: datetime) -> date:
        """A moment's date in the zone of the log."""
        return moment.astimezone(self.zone).date()

    def begins(self) -> tuple[date, int]:
        """The first day of orders, and how many are before it, as `_first` says."""
        sold = f"SELECT local_at::DATE AS day, count(*) FROM {self.table('orders')} WHERE ref IS NULL"
        return _first(dict(self.rows(f"{sold} GROUP BY day ORDER BY day")))

    def part(self, table: str, source: str, until: datetime) -> tuple[Part, list[Gap]]:
        """One source's rows of one table, and the gaps in them up to `until`."""
        rows = int(str(self.log.files[table][source]["rows"]))
        if "at" not in TABLES[table].columns:
            return Part(table, source, rows), []
        path = self.log.folder / table / f"{source}.parquet"
        file = f"read_parquet('{path}', hive_partitioning = false)"
        late_by = self.rows(
            f"""SELECT date_diff('second', "at", known_at) // 60 AS minutes, count(*) FROM {file}
                WHERE known_at > "at" GROUP BY ALL ORDER BY ALL"""
        )
        days = self.rows(
            f"""SELECT ("at" AT TIME ZONE '{self.zone.key}')::DATE AS day, count(*), min("at"), max("at")
                FROM {file} GROUP BY day ORDER BY day"""
        )
        part = Part(
            table, source, rows,
            first=min((day[2] for day in days), default=None),
            last=max((day[3] for day in days), default=None),
            late=sum(count for _, count in late_by),
            late_median=_quantile(late_by, 0.5),
            late_p95=_quantile(late_by, 0.95),
        )  # fmt: skip
        return part, self.gaps(table, source, {day[0]: day[1] for day in days}, until)

    def gaps(self, table: str, source: str, days: dict[date, int], until: datetime) -> list[Gap]:
        """Gaps between the day after the first event and `until`: the first day may have begun late."""
        if table not in (*EVENTS, "order_lines") or not days:
            return []
        start = _first(days)[0] + timedelta(days=1)
        length = (self.day(until) - start).days  # the day of `until` is not wholly in the log
        if length <= 0:
            return []
        counts = np.array([days.get(start + timedelta(days=n), 0) for n in range(length)], np.int64)
        found = find_gaps(table, source, start, counts)
        return [self.with_holidays(gap) for gap in found]

    def with_holidays(self, gap: Gap) -> Gap:
        """The gap, with what the calendar says of its days."""
        if "calendar" not in self.log.tables:
            return gap
        names = self.rows(
            f"""SELECT DISTINCT name FROM {self.table("calendar")}
                WHERE kind = 'holiday' AND local_at::DATE <= '{gap.last}'
                      AND "until" AT TIME ZONE '{self.zone.key}' > '{gap.first}'
                ORDER BY name"""
        )
        return replace(gap, holidays=tuple(name for (name,) in names))

    def months(self) -> tuple[Month, ...]:
        """Every month of the log. Rows of it outside the log's days are a month of their own, of 0 days."""
        (begins, _), ends = self.begins(), self.day(self.log.complete_until)

        def month(local: str) -> str:
            day = f"{local}::DATE"
            return f"date_trunc('month', {day})::DATE, {day} >= '{begins}' AND {day} < '{ends}'"

        every = " UNION ALL ".join(
            f"SELECT {month('local_at')}, customer_id, '{name}' <> 'contacts' AS own FROM {self.table(name)}"
            for name in EVENTS
            if name in self.log.tables
        )
        counted = self.rows(
            f"""SELECT month, within, sum(n)::BIGINT, count(*) FILTER (own)
                FROM (SELECT month, within, customer_id, bool_or(own) AS own, count(*) AS n
                      FROM ({every}) t(month, within, customer_id, own) GROUP BY ALL)
                GROUP BY ALL"""
        )
        sold = self.rows(
            f"""SELECT {month("local_at")}, count(*) FILTER (ref IS NULL),
                       coalesce(sum(amount) FILTER (ref IS NULL), 0),
                       count(*) FILTER (ref IS NOT NULL AND amount < 0),
                       coalesce(-sum(amount) FILTER (ref IS NOT NULL AND amount < 0), 0)
                FROM {self.table("orders")} GROUP BY 1, 2"""
        )
        first = self.rows(
            f"""SELECT {month("first")}, count(*)
                FROM (SELECT min(local_at) AS first FROM {self.table("orders")}
                      WHERE ref IS NULL GROUP BY customer_id) GROUP BY 1, 2"""
        )
        by_month = {(of, within): values for of, within, *values in counted}
        money = {(of, within): values for of, within, *values in sold}
        new = {(of, within): n for of, within, n in first}
        days = {((begins + timedelta(days=n)).replace(day=1), True) for n in range((ends - begins).days)}
        months = []
        for key in sorted({*days, *by_month, *money}, key=lambda key: (key[0], not key[1])):
            start, inside = key
            end = (start + timedelta(days=31)).replace(day=1)
            events, active = by_month.get(key, (0, 0))
            orders, sales, returns, returned = money.get(key, (0, Decimal(), 0, Decimal()))
            months.append(
                Month(
                    start=start, days=(min(end, ends) - max(start, begins)).days if inside else 0,
                    length=(end - start).days, events=events, active=active, orders=orders, sales=sales,
                    returns=returns, returned=returned, new=new.get(key, 0),
                )
            )  # fmt: skip
        return tuple(months)

    def orders(self) -> dict[str, int]:
        """The numbers of `Facts` about customers, returns and contacts."""
        orders = self.table("orders")
        ((buyers, one_time),) = self.rows(
            f"""SELECT count(*), count(*) FILTER (n = 1)
                FROM (SELECT count(*) AS n FROM {orders} WHERE ref IS NULL GROUP BY customer_id)"""
        )
        ((unmatched,),) = self.rows(
            f"""SELECT count(*) FROM {orders} WHERE ref IS NOT NULL AND amount < 0
                AND ref NOT IN (SELECT order_id FROM {orders} WHERE ref IS NULL)"""
        )
        ((look_alikes,),) = self.rows(
            f"""SELECT coalesce(sum(n - 1), 0)::BIGINT
                FROM (SELECT count(*) AS n FROM {orders} WHERE ref IS NULL AND amount > 0
                      GROUP BY customer_id, "at", amount HAVING n > 1)"""
        )
        known, several, shared, contacts, drawn = 0, 0, 0, 0, 0
        if "customers" in self.log.tables:
            ((known,),) = self.rows(
                f"SELECT count(*) FROM (SELECT DISTINCT customer_id FROM {self.table('customers')})"
            )
        if "identities" in self.log.tables:
            ids = self.table("identities")
            ((several,),) = self.rows(
                f"""SELECT count(*) FROM (SELECT customer_id FROM
                    (SELECT DISTINCT customer_id, source_id FROM {ids})  -- one id in two systems is one
                    GROUP BY customer_id HAVING count(*) > 1)"""
            )
            ((shared,),) = self.rows(
                f"""SELECT count(*) FROM (SELECT source, source_id FROM
                    (SELECT DISTINCT customer_id, source, source_id FROM {ids})
                    GROUP BY ALL HAVING count(*) > 1)"""
            )
        if "contacts" in self.log.tables:
            ((contacts, drawn),) = self.rows(
                f"SELECT count(*), count(propensity) FROM {self.table('contacts')}"
            )
        return {
            "customers": known, "buyers": buyers, "one_time": one_time, "several_ids": several,
            "shared_ids": shared, "unmatched": unmatched, "look_alikes": look_alikes,
            "contacts": contacts, "with_propensity": drawn,
        }  # fmt: skip

    def goods(self) -> Goods:
        """What was sold, and what of it no category says."""
        if "order_lines" not in self.log.tables:
            return Goods(0, 0, None)
        ((products, without, first),) = self.rows(
            f"""SELECT count(*), count(*) FILTER (n = 0), min(product_id) FILTER (n = 0)
                FROM (SELECT product_id, count(category) AS n FROM {self.table("order_lines")} GROUP BY 1)"""
        )
        return Goods(products, without, first)

    def consents(self, shop: Shop) -> tuple[Consent, ...]:
        """Marketing consent for every channel that is contacted, asked for, or named in shop.toml."""
        everyone = 0
        if "customers" in self.log.tables:
            sql = f"SELECT count(*) FROM (SELECT DISTINCT customer_id FROM {self.table('customers')})"
            ((everyone,),) = self.rows(sql)
        stated: dict[str, tuple[int, int]] = {}
        if "consents" in self.log.tables:
            for channel, granted, withdrawn in self.rows(
                f"""SELECT channel, count(*) FILTER (status = 'granted'),
                           count(*) FILTER (status = 'withdrawn')
                    FROM (SELECT channel, arg_max(status, ("at", known_at)) AS status
                          FROM {self.table("consents")} WHERE purpose = 'marketing'
                          GROUP BY customer_id, channel) GROUP BY channel"""
            ):
                stated[channel] = granted, withdrawn
        used: set[str] = set()
        if "contacts" in self.log.tables:
            used = {c for (c,) in self.rows(f"SELECT DISTINCT channel FROM {self.table('contacts')}")}
        return tuple(
            Consent(
                channel,
                *stated.get(channel, (0, 0)),
                unknown=max(0, everyone - sum(stated.get(channel, (0, 0)))),
                default=shop.consent_default.get(channel),
            )  # fmt: skip
            for channel in sorted({*stated, *used, *shop.consent_default})
        )


def _first(days: dict[date, int]) -> tuple[date, int]:
    """The day on which events begin, and how many odd ones are before it. days: ascending, with their events.

    Odd are single rows with an impossible date, such as 1970-01-01, which make no log of decades: at most one
    event in a thousand, and then `PAUSE` days without any. A shop that starts slowly begins with its first.
    """
    total, seen = sum(days.values()), 0
    first, early = next(iter(days)), 0
    for (day, count), following in zip(days.items(), [*days][1:], strict=False):
        seen += count
        if seen * 1000 > total:
            break
        if (following - day).days > PAUSE:
            first, early = following, seen
    return first, early


def _same(gap: Gap, other: Gap) -> bool:
    """The same days of orders, and of their lines or returns."""
    pair = other.table == "orders" and gap.table in ("order_lines", "cases")
    return pair and (gap.source, gap.first, gap.last) == (other.source, other.first, other.last)


def _quantile(counted: list[tuple[Any, ...]], share: float) -> int | None:
    """The smallest value that at least `share` of the rows do not exceed: (value, rows), values ascending."""
    wanted = share * sum(count for _, count in counted)
    seen = 0
    for value, count in counted:
        seen += count
        if seen >= wanted:
            return int(value)
    return None


def _accounts(settings: Settings, log: Log, manifest: dict[str, Any]) -> tuple[Account, ...]:
    """Ingestion's own account, with the first rejected line of each kind from the kept rejects."""
    connection = duck.shared()
    found = []
    for source, facts in sorted(manifest["sources"].items()):
        rejects = settings.home / "rejects" / log.fingerprint / f"{source}.parquet"
        first: dict[tuple[str, str, str], int] = {}
        if rejects.exists():
            sql = f"""SELECT "table", file, reason, min(line) FROM read_parquet('{rejects}') GROUP BY ALL"""
            first = {(t, file, why): line for t, file, why, line in connection.execute(sql).fetchall()}
        for table, file, accepted, what, rows, *aside in facts["account"]:
            line = None if accepted else first.get((table, file, what))
            found.append(Account(source, table, file, accepted, what, rows, any(aside), line))
    connection.close()
    return tuple(found)
