# ruff: noqa: E501  # sentences in two languages read best unbroken
"""What the indicators count, as views over the log: DuckDB, with the days of the shop's zone as numbers.

`day` is when something happened, `seen` when it was first known at the end of a day: the same, unless a row
came late. Contacts and their answers are also those that the ledger knows and the log does not (`propensity
ledger export` was not run since).
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from features import duck
from features.describe.say import day as said_day
from features.describe.say import table as said_table
from features.describe.say import words
from features.exported import contact_id
from features.log import Log
from features.moments import iso
from features.settings import Settings
from features.shop import Shop, shop_of
from features.words import Words
from monitoring.health import churn_days
from monitoring.indicators import BOUGHT_BEFORE, CHURN, RECENT, Indicator
from serving.ledger import Ledger, exists

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_EPOCH = date(1970, 1, 1)
MOSTLY = 0.5  # of a table's rows: if more come late, what was known at the end of a day says little
_BY_CUSTOMER = "SELECT customer_id, day, min(seen) AS seen FROM {} GROUP BY customer_id, day"


@dataclass(frozen=True)
class _View:
    """sql: {orders} stands for that table. of: tables that it reads, all of them or, `any`, those there are.

    told: what its rows tell of; of which nobody ever tells, nothing is known. reads: views that it reads, which
    come before it. kept: read more than once, so it is counted once.
    """

    sql: str
    of: tuple[str, ...]
    told: Words
    any: bool = False
    reads: tuple[str, ...] = ()
    kept: bool = False


_ANSWERS = "('open', 'click', 'redeem', 'buy')"
VIEWS = {
    "sales": _View(
        "SELECT customer_id, amount::DOUBLE AS amount, day, seen FROM {orders} WHERE ref IS NULL",
        ("orders",), Words("orders", "订单"), kept=True,
    ),
    "bought": _View(
        _BY_CUSTOMER.format("sales"), ("orders",), Words("orders", "订单"), reads=("sales",), kept=True,
    ),
    "touches": _View(
        _BY_CUSTOMER.format("{interactions}"), ("interactions",), Words("visits or other interactions", "互动"),
        kept=True,
    ),
    "activity": _View(
        _BY_CUSTOMER.format("(FROM bought UNION ALL FROM touches)"),
        ("orders", "interactions"), Words("orders or interactions", "订单或互动"), any=True,
        reads=("bought", "touches"), kept=True,
    ),
    "farewells": _View(
        """SELECT customer_id, day, seen FROM {responses} WHERE kind = 'opt-out'
        UNION ALL SELECT customer_id, day, seen FROM {consents}
          WHERE purpose = 'marketing' AND status = 'withdrawn'
        UNION ALL SELECT customer_id, day, seen FROM {memberships} WHERE change = 'left'""",
        ("responses", "consents", "memberships"), Words("opt-outs or leavings", "退订或退出"), any=True,
    ),
    "complaints": _View(
        """SELECT ended(greatest(o."at", o.known_at)) AS opened,
          ended(greatest(o."at" + INTERVAL 24 HOUR, o.known_at)) AS late,
          ended(greatest(c."at", c.known_at)) AS closed
        FROM {cases} o LEFT JOIN {cases} c ON c.case_id = o.case_id AND c.change = 'closed'
        WHERE o.change = 'opened' AND o.kind = 'complaint'""",
        ("cases",), Words("complaints", "投诉"), kept=True,
    ),
    "sent": _View("SELECT day, seen FROM {contacts}", ("contacts",), Words("contacts", "触达")),
    "answers": _View(
        f"SELECT day, seen FROM {{responses}} WHERE kind IN {_ANSWERS}", ("responses",), Words("answers", "响应"),
    ),
    "coupons": _View(
        "SELECT coupon, day, seen FROM {order_lines} WHERE coupon > 0 AND ref IS NULL",
        ("order_lines",), Words("coupons", "优惠券"),
    ),
}  # fmt: skip
# What the log may lack has the columns that the views read, and no rows.
_COLUMNS: dict[str, dict[str, str]] = {
    "orders": {"amount": "DECIMAL(18, 2)", "ref": "VARCHAR"},
    "order_lines": {"coupon": "DECIMAL(18, 2)", "ref": "VARCHAR"},
    "interactions": {},
    "contacts": {"contact_id": "VARCHAR"},
    "responses": {"response_id": "VARCHAR", "kind": "VARCHAR"},
    "consents": {"purpose": "VARCHAR", "status": "VARCHAR"},
    "memberships": {"change": "VARCHAR"},
    "cases": {"case_id": "VARCHAR", "change": "VARCHAR", "kind": "VARCHAR"},
}


@dataclass(frozen=True)
class _Facts:
    """Of a table: rows, how many came after their day, and its first day."""

    rows: int
    late: int
    first: int | None


@contextmanager
def opened(settings: Settings, log: Log, last: date, late: bool = False) -> Iterator["Counted"]:
    """The views of a log until a day; late: as they are known now. LogError if it is not a whole log."""
    with closing(duck.connect()) as connection:
        yield Counted(settings, log, connection, last, late)


class Counted:
    """The views over one log, each made when first asked for."""

    def __init__(
        self, settings: Settings, log: Log, connection: "duckdb.DuckDBPyConnection", last: date, late: bool
    ) -> None:
        self._log, self._db, self._late = log, connection, late
        self._shop: Shop = shop_of(settings)
        self._churn, self._last = churn_days(settings), (last - _EPOCH).days
        self._facts: dict[str, _Facts] = {}
        self._made: dict[str, bool] = {}  # view -> whether it has a row
        zone = self._shop.zone.key
        self._db.execute(
            f"CREATE MACRO day_of(t) AS CAST(((t AT TIME ZONE '{zone}')::DATE - DATE '1970-01-01') AS INTEGER)"
        )
        # The day at whose end something was first known: midnight belongs to the day that it ends.
        self._db.execute("CREATE MACRO ended(t) AS day_of(t - INTERVAL 1 MICROSECOND)")
        self._raw(settings)
        begins = min((one.first for one in self._facts.values() if one.first is not None), default=self._last)
        self._db.execute(
            f"CREATE TEMP VIEW days AS SELECT unnest(range({begins}, {self._last + 1}))::INTEGER AS day"
        )

    def lacking(self, one: Indicator) -> Words | None:
        """Why it cannot be told; None if it can."""
        for name in one.events:
            view = VIEWS[name]
            there = [table for table in view.of if table in self._facts]
            if not there or (len(there) < len(view.of) and not view.any):
                en, zh = zip(*(said_table(table) for table in view.of if table not in there), strict=True)
                return Words(f"the log has no {' or '.join(en)}", f"日志中没有{'或'.join(zh)}")
            for table in there:
                facts = self._facts[table]
                if facts.late > MOSTLY * facts.rows and not self._late:
                    return words(
                        "most rows of {t} become known only after their day is over, so that what is known when "
                        "a day ends says little",
                        "{t}的多数记录在当日结束之后才可知，因此当日结束时的已知数据不足以说明", t=said_table(table),
                    )  # fmt: skip
            if not self._view(name):
                en, zh = zip(*(said_table(table) for table in there), strict=True)
                return words(
                    "none of the {t} tells of {told}", "{t}中没有{told}的记录",
                    t=Words(" and ".join(en), "与".join(zh)), told=view.told,
                )  # fmt: skip
        first = self._first(one)
        if first > self._last:
            return words(
                "it can be told from {day} on: {n} days before a day are needed", "自{day}起可统计：需要此前{n}天的数据",
                day=said_day(_EPOCH + timedelta(days=first)), n=self._back(one),
            )  # fmt: skip
        return None

    def rows(self, one: Indicator, start: date) -> "pa.Table":
        """Its table from a day on: day, name, segment, value, n. It must not be `lacking`."""
        for name in one.events:
            self._view(name)
        first = max(self._first(one), (start - _EPOCH).days)
        sql = one.sql.format(churn=self._churn, before=BOUGHT_BEFORE, recent=RECENT)
        found = self._db.execute(
            f"SELECT day, value::DOUBLE AS value, n::BIGINT AS n FROM ({sql}) "
            f"WHERE day BETWEEN {first} AND {self._last} ORDER BY day"
        ).fetchnumpy()
        day, value, n = found["day"].astype(np.int64), found["value"], found["n"].astype(np.int64)
        if one.counts:
            every = np.arange(first, self._last + 1)
            whole, rests = np.zeros(len(every)), np.zeros(len(every), np.int64)
            whole[day - first], rests[day - first] = value, n
            day, value, n = every, whole, rests
        return table(day, one.name, [""] * len(day), value, n)

    def _back(self, one: Indicator) -> int:
        return self._churn if one.looks_back == CHURN else one.looks_back

    def _first(self, one: Indicator) -> int:
        """The first day of which it can be told."""
        tables = {table for name in one.events for table in VIEWS[name].of if table in self._facts}
        return max(self._facts[table].first or 0 for table in tables) + self._back(one)

    def _view(self, name: str) -> bool:
        """Make it, with what it reads; whether it has a row."""
        if name not in self._made:
            view = VIEWS[name]
            for other in view.reads:
                self._view(other)
            sql = view.sql.format(**{table: f"raw_{table}" for table in _COLUMNS})
            self._db.execute(f"CREATE TEMP {'TABLE' if view.kept else 'VIEW'} {name} AS {sql}")
            self._made[name] = bool(self._db.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchall())
        return self._made[name]

    def _raw(self, settings: Settings) -> None:
        """A view a table of the log: its columns, `day` and `seen`; empty where the log has none."""
        known = '"at"' if self._late else "known_at"
        for table in _COLUMNS:
            parts = []
            if table in self._log.tables:
                files = ", ".join(f"'{path}'" for path in self._log.paths(table))
                parts.append(f"FROM read_parquet([{files}], hive_partitioning = false, union_by_name = true)")
            told = self._of_ledger(settings, table)
            if told is not None:
                self._db.register(f"ledger_{table}", told)
                key = f"{table[:-1]}_id"
                unknown = f" WHERE {key} NOT IN (SELECT {key} {parts[0]})" if parts else ""
                parts.append(f"FROM ledger_{table}{unknown}")
            if not parts:
                types = {"customer_id": "VARCHAR", '"at"': "TIMESTAMPTZ", "known_at": "TIMESTAMPTZ"}
                columns = ", ".join(f"{name} {of}" for name, of in {**types, **_COLUMNS[table]}.items())
                self._db.execute(f"CREATE TEMP TABLE none_{table} ({columns})")
                parts.append(f"FROM none_{table}")
            own = ", ".join(("customer_id", *_COLUMNS[table]))
            rows = " UNION ALL ".join(f'SELECT {own}, "at", known_at {part}' for part in parts)
            limit = f"WHERE known_at <= '{iso(settings.now())}'::TIMESTAMPTZ" if self._late else ""
            self._db.execute(
                f"CREATE TEMP VIEW raw_{table} AS SELECT * REPLACE ({known} AS known_at), "
                f'day_of("at") AS day, greatest(day_of("at"), ended({known})) AS seen FROM ({rows}) {limit}'
            )
            if table in self._log.tables or told is not None:
                found = self._db.execute(
                    f"SELECT count(*), count(*) FILTER (seen > day), min(day) FROM raw_{table}"
                ).fetchall()
                self._facts[table] = _Facts(*found[0])

    def _of_ledger(self, settings: Settings, table: str) -> "pa.Table | None":
        """Contacts that were sent, or what was answered, as the ledger has them; None without a ledger."""
        import pyarrow as pa

        if table not in ("contacts", "responses") or not exists(settings):
            return None
        with closing(Ledger(settings)) as ledger:
            if table == "contacts":
                found = [
                    (contact_id(row["number"], row["id"], row["also"]), "sent", row) for row in ledger.sent()
                ]
            else:
                told = ledger.told(tuple(_KINDS))
                found = [(row["key"].hex(), _KINDS[row["type"]], row) for row in told]
        if not found:
            return None
        moment = pa.timestamp("us", "UTC")
        return pa.table({
            f"{table[:-1]}_id": pa.array([id for id, _, _ in found], pa.string()),
            "kind": pa.array([kind for _, kind, _ in found], pa.string()),
            "customer_id": pa.array([row["customer_id"] for *_, row in found], pa.string()),
            "at": pa.array([row["at"] for *_, row in found], moment),
            "known_at": pa.array([max(row["at"], row["recorded_at"]) for *_, row in found], moment),
        })  # fmt: skip


# Type of an outcome -> kind of a response, as `propensity ledger export` writes it.
_KINDS: dict[Any, str] = {
    "open": "open", "click": "click", "redeem": "redeem", "order": "buy", "opt_out": "opt-out",
}  # fmt: skip


def table(day: Any, name: str, segment: list[str], value: Any, n: Any) -> "pa.Table":
    """Rows of one indicator, as `indicators.daily` has them. day: numbers since 1970."""
    import pyarrow as pa

    return pa.table({
        "day": pa.array(np.asarray(day, np.int32), pa.int32()).cast(pa.date32()),
        "name": pa.array([name] * len(day), pa.string()),
        "segment": pa.array(segment, pa.string()),
        "value": pa.array(np.asarray(value, np.float64)),
        "n": pa.array(np.asarray(n, np.int64)),
    })  # fmt: skip
