"""A generated log of orders alone, and the same features of it by pandas and by SQL, as well as these can."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import duck
from features.definitions import WINDOWS, Feature, Measure
from features.files import write_atomically
from features.ingestion import digests
from features.ingestion.canonical import ROWS_A_GROUP, arrow_schema
from features.log import Log
from features.moments import DAY, iso, parse_moment
from features.settings import Settings
from features.shop import Shop
from features.tables import TABLES
from features.words import Words

if TYPE_CHECKING:
    import pandas as pd

SHOP = Shop.load(Settings().shop)
MOMENTS = [datetime(2018, month, 1, tzinfo=UTC) for month in range(1, 13)]
COLUMNS = ["customer_id", "at", "known_at", "amount", "discount", "store_id", "channel", "ref"]
GOODS = "ref is null"
_STAMP = pa.timestamp("us", "UTC")

# name: measure, column, condition; each over four windows.
_MEASURES: dict[str, tuple[Measure, str | None, str | None]] = {
    "orders": ("count", None, GOODS),
    "spend": ("sum", "amount", None),
    "discount": ("sum", "discount", None),
    "order_max": ("max", "amount", GOODS),
    "order_days": ("days", None, GOODS),
    "stores": ("distinct", "store_id", GOODS),
    "channels": ("distinct", "channel", GOODS),
    "weekend_orders": ("count", None, f"weekday >= 6 and {GOODS}"),
    "evening_orders": ("count", None, f"hour >= 17 and {GOODS}"),
    "app_orders": ("count", None, f"channel = 'app' and {GOODS}"),
    "returns": ("count", None, "ref is not null"),
    "returned": ("sum", "amount", "ref is not null"),
}
_EXPRESSIONS = {
    "order_value": "spend_{w}d / orders_{w}d",
    "discount_share": "discount_{w}d / (spend_{w}d + discount_{w}d)",
    "weekend_share": "weekend_orders_{w}d / orders_{w}d",
    "return_share": "returns_{w}d / orders_{w}d",
}


def features() -> dict[str, Feature]:
    """66 features: 16 over four windows, and two recencies."""
    words = Words("of the benchmark", "基准")
    found: list[Feature] = []
    for w in WINDOWS:
        for name, (measure, column, where) in _MEASURES.items():
            found.append(
                Feature(name=f"{name}_{w}d", words=words, unit="orders", measure=measure,
                        table="orders", column=column, where=where, window=w)
            )  # fmt: skip
        for name, expression in _EXPRESSIONS.items():
            text = expression.format(w=w)
            found.append(
                Feature(name=f"{name}_{w}d", words=words, unit="share", measure="expression", expression=text)
            )
    recency: tuple[tuple[str, Measure], ...] = (("days_since_order", "since_last"), ("tenure", "since_first"))
    for name, measure in recency:
        found.append(
            Feature(name=name, words=words, unit="days", measure=measure, table="orders", where=GOODS)
        )
    return {feature.name: feature for feature in found}


def make(folder: Path, customers: int, orders: int, days: int = 730, shares: np.ndarray | None = None) -> Log:
    """Orders spread evenly from 2017-01-01 on, 5 % of them returns, written as ingestion writes a log.

    shares: of the orders, of each customer; None: the same.
    """
    draw = np.random.default_rng(1)
    who = draw.integers(0, customers, orders) if shares is None else draw.choice(customers, orders, p=shares)
    who = np.sort(who)
    at = 1_483_228_800_000_000 + draw.integers(0, days * 86_400, orders) * 1_000_000
    order = np.lexsort((at, who))
    who, at = who[order], pa.array(at[order]).cast(_STAMP)
    returned = draw.random(orders) < 0.05
    amount = draw.integers(100, 20_000, orders) * np.where(returned, -1, 1)
    discount = np.where(draw.random(orders) < 0.4, draw.integers(1, 2_000, orders), 0)
    numbers = pa.array(np.arange(orders)).cast(pa.string())
    ids = pc.utf8_lpad(pa.array(np.arange(customers)).cast(pa.string()), 8, "0")
    columns = {
        "order_id": numbers,
        "customer_id": ids.take(pa.array(who)),
        "at": at,
        "known_at": at,
        "channel": pa.array(["store", "app", "web"]).take(pa.array(draw.integers(0, 3, orders))),
        "store_id": pa.array([f"s{n:03}" for n in range(200)]).take(
            pa.array(draw.geometric(0.05, orders) % 200)
        ),
        "amount": _money(amount),
        "discount": _money(discount),
        "ref": pc.if_else(pa.array(returned), numbers, None),
    }
    schema = arrow_schema(TABLES["orders"], SHOP.exponent)
    table = pa.table(
        [columns[f.name] if f.name in columns else pa.nulls(orders, f.type) for f in schema], schema=schema
    )
    assert columns.keys() <= set(schema.names)
    known = table.group_by("customer_id").aggregate([("known_at", "min")]).sort_by("customer_id")
    since = known["known_at_min"]
    for name, rows in (
        ("orders", table),
        ("customers", pa.table({"customer_id": known["customer_id"], "at": since, "known_at": since})),
    ):
        path = folder / name / "made.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(rows, path, compression="zstd", row_group_size=ROWS_A_GROUP)
    return opened(folder)


def known_by(settings: Settings, log: Log, moment: datetime) -> None:
    """Make the rows known before a moment the home's log, complete until then."""
    folder = settings.home / "log" / f"{moment:%Y%m%d}"
    connection = duck.connect()
    files = {}
    for table in log.tables:
        path = folder / table / "made.parquet"
        path.parent.mkdir(parents=True)
        kept = pq.read_table(log.paths(table)[0], filters=[("known_at", "<", moment)])
        pq.write_table(kept, path, compression="zstd", row_group_size=131_072)
        files[table] = {"made": digests.of_file(connection, _written(table, kept.column_names), path)}
    digests.write(folder / "digests.json", files)
    manifest = {
        "starts_at": iso(log.starts_at),
        "complete_until": iso(moment),
        "shop": log.shop,
        "files": {table: {"made": {"rows": 0, "sha256": ""}} for table in log.tables},
    }
    write_atomically(folder / "manifest.json", json.dumps(manifest).encode())
    write_atomically(settings.home / "log" / "CURRENT", folder.name.encode())


def _written(table: str, columns: Sequence[str]) -> Any:
    whole = TABLES[table]
    return replace(whole, columns={c: whole.columns[c] for c in columns})


def opened(folder: Path) -> Log:
    """The log that `make` wrote."""
    files: dict[str, dict[str, dict[str, object]]] = {t: {"made": {}} for t in ("orders", "customers")}
    until = parse_moment("2019-01-01")
    return Log(folder, "made", parse_moment("2017-01-01"), until, SHOP.of_log, files)


def _money(minor: np.ndarray) -> pa.Array:
    halves = np.column_stack([minor, np.where(minor < 0, -1, 0)]).astype(np.int64)
    kind = pa.decimal128(18, SHOP.exponent)
    return pa.Array.from_buffers(kind, len(minor), [None, pa.py_buffer(halves)])


def in_pandas(log: Log, moments: Sequence[datetime]) -> "Iterator[pd.DataFrame]":
    """What one writes first: a mask and a groupby a window. One frame a moment, by customer."""
    import pandas as pd

    table = pq.read_table(log.paths("orders")[0], columns=COLUMNS)
    for column in ("amount", "discount"):
        place = table.column_names.index(column)
        table = table.set_column(place, column, table[column].cast(pa.float64()))
    orders = table.to_pandas(strings_to_categorical=True)
    local = orders["at"].dt.tz_convert(SHOP.zone.key)
    orders["day"] = local.dt.floor("D")
    orders["weekend"], orders["evening"] = local.dt.dayofweek >= 5, local.dt.hour >= 17
    orders["app"], orders["return"] = orders["channel"] == "app", orders["ref"].notna()
    for moment in moments:
        known = orders[orders["at"] <= moment]
        everyone = known["customer_id"].unique()
        columns: dict[str, pd.Series] = {}
        for w in WINDOWS:
            window = known[known["at"] > moment - w * DAY]
            all_, goods, back = (
                part.groupby("customer_id", observed=True)
                for part in (window, window[~window["return"]], window[window["return"]])
            )
            found = {
                "orders": goods.size(),
                "spend": all_["amount"].sum(),
                "discount": all_["discount"].sum(),
                "order_max": goods["amount"].max(),
                "order_days": goods["day"].nunique(),
                "stores": goods["store_id"].nunique(),
                "channels": goods["channel"].nunique(),
                "weekend_orders": goods["weekend"].sum(),
                "evening_orders": goods["evening"].sum(),
                "app_orders": goods["app"].sum(),
                "returns": back.size(),
                "returned": back["amount"].sum(),
            }
            for name, series in found.items():
                fill = np.nan if name == "order_max" else 0
                columns[f"{name}_{w}d"] = series.reindex(everyone, fill_value=fill)
            c = {name: columns[f"{name}_{w}d"] for name in found}
            some = c["orders"].where(c["orders"] > 0)
            price = c["spend"].round(2) + c["discount"].round(2)
            columns[f"order_value_{w}d"] = c["spend"] / some
            columns[f"discount_share_{w}d"] = c["discount"] / price.where(price.abs() > 0.001)
            columns[f"weekend_share_{w}d"] = c["weekend_orders"] / some
            columns[f"return_share_{w}d"] = c["returns"] / some
        times = known[~known["return"]].groupby("customer_id", observed=True)["at"]
        for name, series in (("days_since_order", times.max()), ("tenure", times.min())):
            columns[name] = (moment - series.reindex(everyone)) / pd.Timedelta(days=1)
        frame = pd.DataFrame(columns, index=everyone.astype(str))
        yield frame[list(features())].astype(np.float32).sort_index()


def in_sql(log: Log, moments: Sequence[datetime]) -> Iterator[pa.Table]:
    """The fastest SQL that we found: batches of m, customer_id and the features.

    Each order is joined to the few moments whose window it is in, and grouped; distinct values are counted
    at their last order in the window, so that nothing is sorted again for a window; recency is an ASOF join.
    """
    connection = duck.connect()
    orders, customers = (log.paths(table)[0] for table in ("orders", "customers"))
    listed = ", ".join(f"(TIMESTAMPTZ '{moment.isoformat()}')" for moment in moments)
    connection.execute(f"CREATE TEMP TABLE moments AS SELECT * FROM (VALUES {listed}) t(m)")
    connection.execute(
        f"""CREATE TEMP TABLE customers AS SELECT customer_id, known_at, row_number() OVER () AS c
            FROM '{customers}'"""
    )
    local = f"""("at" AT TIME ZONE '{SHOP.zone.key}')"""
    # What follows this order on the same day, in the same store, on the same channel: sorted once each.
    connection.execute(
        f"""CREATE TEMP TABLE o AS
            SELECT *, lead(t) OVER (PARTITION BY c, good, day ORDER BY t) AS next_day,
                   lead(t) OVER (PARTITION BY c, good, store_id ORDER BY t) AS next_store,
                   lead(t) OVER (PARTITION BY c, good, channel ORDER BY t) AS next_channel
            FROM (SELECT c, "at" AS t, (amount * 100)::BIGINT AS amount, (discount * 100)::BIGINT AS discount,
                         store_id, channel, ref IS NULL AS good, {local}::DATE AS day,
                         isodow({local}) >= 6 AS weekend, hour({local}) >= 17 AS evening
                  FROM '{orders}' JOIN customers USING (customer_id))"""
    )
    for w in WINDOWS:
        connection.execute(
            f"""CREATE TEMP TABLE w{w} AS
                SELECT c, m, count(*) FILTER (good) AS orders, sum(amount)::DOUBLE / 100 AS spend,
                       sum(discount)::DOUBLE / 100 AS discount,
                       max(amount) FILTER (good) / 100.0 AS order_max,
                       count(*) FILTER (good AND (next_day IS NULL OR next_day > m)) AS order_days,
                       count(*) FILTER (good AND (next_store IS NULL OR next_store > m)) AS stores,
                       count(*) FILTER (good AND (next_channel IS NULL OR next_channel > m)) AS channels,
                       count(*) FILTER (good AND weekend) AS weekend_orders,
                       count(*) FILTER (good AND evening) AS evening_orders,
                       count(*) FILTER (good AND channel = 'app') AS app_orders,
                       count(*) FILTER (NOT good) AS returns,
                       coalesce(sum(amount) FILTER (NOT good), 0)::DOUBLE / 100 AS returned
                FROM o JOIN moments ON t <= m AND t > m - INTERVAL {w * 24} HOURS GROUP BY c, m"""
        )
    select = []
    for name, feature in features().items():
        base, _, days = name.rpartition("_")
        of = f"w{days[:-1]}."
        if feature.measure == "expression":
            above, below = {
                "order_value": ("spend", f"{of}orders"),
                "discount_share": ("discount", f"({of}spend + {of}discount)"),
                "weekend_share": ("weekend_orders", f"{of}orders"),
                "return_share": ("returns", f"{of}orders"),
            }[base]
            select.append(f"({of}{above} / nullif({below}, 0))::FLOAT AS {name}")
        elif base == "order_max":
            select.append(f"{of}{base}::FLOAT AS {name}")
        elif feature.window:
            select.append(f"coalesce({of}{base}, 0)::FLOAT AS {name}")
    joins = " ".join(f"LEFT JOIN w{w} ON w{w}.c = s.c AND w{w}.m = s.m" for w in WINDOWS)
    reader = connection.sql(
        f"""SELECT s.m, s.customer_id, {", ".join(select)},
                   (epoch_us(s.m) - epoch_us(l.t))::DOUBLE / 86400e6 AS days_since_order,
                   CASE WHEN f.t <= s.m THEN (epoch_us(s.m) - epoch_us(f.t))::DOUBLE / 86400e6 END AS tenure
            FROM (SELECT c, customer_id, m FROM customers JOIN moments ON known_at <= m) s
                 ASOF LEFT JOIN (SELECT c, t FROM o WHERE good) l ON l.c = s.c AND s.m >= l.t
                 LEFT JOIN (SELECT c, min(t) AS t FROM o WHERE good GROUP BY c) f ON f.c = s.c {joins}"""
    ).to_arrow_reader(100_000)
    for batch in reader:
        yield pa.Table.from_batches([batch])
    connection.close()
