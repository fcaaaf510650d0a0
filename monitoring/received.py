"""What each table of the log received on each day: rows, empty fields, kinds, sizes, hours, repetitions.

Everything is counted from rows that were known by the end of their day, in the shop's zone, so that a row
that arrived late changes no day afterwards, and a day counts the same whenever it is asked about. A figure is
on a scale on which changes compare: rows and sizes as logarithms, shares as angles (2 asin sqrt p).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import duckdb
import numpy as np

from features.describe.say import TABLES as NAMES
from features.describe.sheets import why_rejected
from features.duck import connect
from features.ingestion.rejected_days import Rejected, rejected_days
from features.log import Log
from features.shop import Shop
from features.sources.raw import literal
from features.tables import OURS, TABLES, Column
from features.words import Words, several
from monitoring.baseline import ANEW_Z, Bool, Float64, Int64

Kind = Literal[
    "rows", "empty", "share", "unseen", "size", "sign", "night", "repeated", "strangers", "rejected"
]
CHANCE = 5  # standard deviations of sampling: a share's angle and a count's logarithm have 1 / sqrt(rows)
FEW = 40  # different values of a text column, up to which each is looked at
USUAL = 28  # days
KNOWN_BY = 28  # days after which a value is no longer new
# Changes nobody cares about, in each kind's scale: a quarter of the rows; an angle of .2 is 1 % -> 4 % or
# 50 % -> 60 %; a tenth of a size. Of rows that are rejected 2 %, and three times that is a fifth.
LEAST: dict[Kind, float] = {
    "rows": 0.3,
    "empty": 0.2,
    "share": 0.25,
    "unseen": 0.2,
    "size": 0.15,
    "sign": 0.2,
    "night": 0.25,
    "repeated": 0.2,
    "strangers": 0.3,
    "rejected": 0.3,
}
STEADY: frozenset[Kind] = frozenset(
    {"empty", "sign", "repeated", "rejected"}
)  # which no sale or feast is a reason to move
ANEW: frozenset[Kind] = frozenset({"rows", "night"})  # whose days are judged together, too ...
MANY = 25  # ... of a table with so many rows on the middle day: of few, chance takes away more than it adds


class Figure(NamedTuple):
    """One daily figure of a table; column, value: "" where it is of whole rows. value: of what is unseen, the
    newest, if any, the most frequent first; of what was rejected, why most rows were lately."""

    table: str
    kind: Kind
    column: str = ""
    value: str = ""

    @property
    def words(self) -> Words:
        """What it counts."""
        table = NAMES.get(self.table, Words(self.table, self.table))
        en, zh = _SAID[self.kind]
        value = f" ({self.value})" if self.kind == "unseen" and self.value else self.value
        given = {"table": table.en, "column": self.column, "value": value}
        chinese = given | {"table": table.zh, "column": COLUMNS.get(self.column, self.column)}
        if self.kind == "rejected":
            chinese["value"] = why_rejected(self.value).zh
        return Words(en.format(**given), zh.format(**chinese))


COLUMNS = {  # of the log, as people call them in Chinese; the log's own name else
    "product_id": "商品编号", "category": "品类", "department": "部门", "brand": "品牌", "channel": "渠道",
    "store_id": "门店", "amount": "金额", "discount": "优惠金额", "ref": "关联单号", "items": "件数",
    "measure": "计量数", "coupon": "优惠券金额", "contact_id": "触达编号", "campaign_id": "活动编号",
    "action": "动作", "until": "截止时间", "cost": "成本", "propensity": "倾向概率", "kind": "类型",
    "seconds": "时长", "place_id": "社群或导购", "change": "变更", "case_id": "工单编号", "reason": "原因",
    "score": "评分", "tag": "标签", "origin": "来源", "purpose": "用途", "status": "状态", "name": "名称",
    "value": "数值", "label": "标记", "attributes": "属性", "order_id": "订单编号",
}  # fmt: skip
_SAID: dict[Kind, Words] = {
    "rows": Words("{table} received", "{table}到达条数"),
    "empty": Words("{table} without {column}", "{table}缺少{column}的占比"),
    "share": Words("{table} with {column} {value}", "{table}中{column}为{value}的占比"),
    "unseen": Words(
        "{table} with a {column} never seen before{value}", "{table}中出现新{column}{value}的占比"
    ),
    "size": Words("typical {column} of {table}", "{table}的{column}常见大小"),
    "sign": Words("{table} whose {column} is not above 0", "{table}中{column}不大于0的占比"),
    "night": Words("{table} between midnight and 6:00", "{table}中0至6点的占比"),
    "repeated": Words("{table} that say the same as another", "{table}内容重复的占比"),
    "strangers": Words("{table} of customers never seen before", "{table}中首次出现客户的占比"),
    "rejected": Words("{table} that ingestion rejected ({value})", "{table}中导入时被拒绝的占比（{value}）"),
}


@dataclass(frozen=True)
class Received:
    """values: float64 [days, figures], on each kind's scale, nan before the first that says something.

    On a day that says nothing it is the last value that did, and not `fresh`: a weekly table is judged, too.
    """

    first: int  # the first day, whole days since 1970, of the shop's zone
    figures: tuple[Figure, ...]
    values: Float64
    rows: Int64  # [days, figures]: that the figure is of
    fresh: Bool  # [days, figures]

    def least(self, anew: Bool | None = None) -> Float64:
        """[days, figures]: changes below which nobody cares, or that the chance of few rows makes; less of
        that where each day counts `anew`."""
        matters = np.array([LEAST[figure.kind] for figure in self.figures])
        counted = np.array([figure.kind == "rows" for figure in self.figures])
        # A day without any rows has no say in how many there should be.
        rows = np.maximum(np.where(counted, self.usual_rows(), self.rows), 1)
        chance = CHANCE if anew is None else np.where(anew, ANEW_Z, CHANCE)
        return np.asarray(np.maximum(matters, chance / np.sqrt(rows)))

    def anew(self) -> Bool:
        """[figures], whose days are judged together, too."""
        several = np.array([figure.kind in ANEW for figure in self.figures], bool)
        return np.asarray(several & (np.median(self.rows, axis=0) >= MANY))

    def usual_rows(self) -> Float64:
        """[days, figures]: mean rows of the USUAL days before each."""
        total = np.cumsum(np.vstack([np.zeros((1, self.rows.shape[1])), self.rows]), axis=0)
        day = np.arange(len(self.rows))
        start = np.maximum(0, day - USUAL)
        return np.asarray((total[day] - total[start]) / np.maximum(day - start, 1)[:, None])


def daily(log: Log, shop: Shop, first: int, last: int) -> Received:
    """The figures of every table of events, of the days from first to last (whole days since 1970)."""
    days = last - first + 1
    found: list[tuple[Figure, Float64, Int64]] = []
    of_events = [n for n in sorted(log.tables) if n in TABLES and "at" in TABLES[n].columns]
    names = [name for name in of_events if name not in ("calendar", "identities")]
    if not names:
        nothing = np.empty((days, 0))
        return Received(first, (), nothing, nothing.astype(np.int64), nothing.astype(bool))
    rejected = [one for one in rejected_days(log, shop) if first <= one.day <= last]
    with connect() as db:
        _seen(db, log, shop, names, first)
        for name in names:
            _view(db, log, shop, name, first, last)
            (rows_of_it, *others) = _figures(db, log, name, days)
            lacking = [one for one in rejected if one.table == name]
            found += [rows_of_it, *others, *_rejected(name, lacking, first, accepted=rows_of_it[2])]
    figures, values, rows = zip(*found, strict=True)
    return Received(first, figures, *_carried(np.column_stack(values), np.column_stack(rows)))


def _carried(values: Float64, rows: Int64) -> tuple[Float64, Int64, Bool]:
    """The last day that says something, on those that do not; and which do."""
    fresh = np.isfinite(values)
    day = np.where(fresh, np.arange(len(values))[:, None], -1)
    last = np.maximum(np.maximum.accumulate(day, axis=0), 0)
    figures = np.arange(values.shape[1])
    return values[last, figures], rows[last, figures], fresh


def _seen(db: duckdb.DuckDBPyConnection, log: Log, shop: Shop, tables: Sequence[str], first: int) -> None:
    """`seen`: of every customer, the day by which some row of any table told of her."""
    rows = " UNION ALL ".join(_dated(log, shop, table, first, "customer_id") for table in tables)
    db.execute(
        f"""CREATE TEMP TABLE seen AS
        SELECT customer_id, min(greatest(day, told)) AS since FROM ({rows}) GROUP BY customer_id"""
    )


def _view(db: duckdb.DuckDBPyConnection, log: Log, shop: Shop, table: str, first: int, last: int) -> None:
    """`received`: the rows of the days, with `day` (from 0) and `hour`, as known by the end of their day."""
    db.execute(
        f"""CREATE OR REPLACE TEMP TABLE received AS
        SELECT *, hour("at" AT TIME ZONE {literal(shop.zone.key)}) AS hour
        FROM ({_dated(log, shop, table, first, "*")})
        WHERE day BETWEEN 0 AND {last - first} AND told <= day"""
    )


def _dated(log: Log, shop: Shop, table: str, first: int, columns: str) -> str:
    """SQL of a table's rows with the days, from `first`, on which they happened and were told.

    What is known at midnight is of the day that is over: so is all that a till tells of whole days.
    """
    files = ", ".join(literal(str(path)) for path in log.paths(table))
    zone, told = literal(shop.zone.key), "(known_at - INTERVAL 1 MICROSECOND)"
    return f"""SELECT {columns},
          ("at" AT TIME ZONE {zone})::DATE - DATE '1970-01-01' - {first} AS day,
          ({told} AT TIME ZONE {zone})::DATE - DATE '1970-01-01' - {first} AS told
        FROM read_parquet([{files}], union_by_name = true, hive_partitioning = false)"""


def _figures(
    db: duckdb.DuckDBPyConnection, log: Log, table: str, days: int
) -> Iterator[tuple[Figure, Float64, Int64]]:
    there = {row[0] for row in db.execute("DESCRIBE received").fetchall()}
    columns = {n: c for n, c in TABLES[table].columns.items() if n in there and n not in OURS}
    plain = {n: c for n, c in columns.items() if n not in ("at", "known_at") and c.type != "map"}
    own = [n for n in plain if n not in TABLES[table].key or TABLES[table].key == ("customer_id",)]
    asked: dict[Figure, str] = {}
    counted: dict[str, str] = {}  # column -> how many rows its size is of
    for name, column in plain.items():
        if not column.required:
            asked[Figure(table, "empty", name)] = f'avg(("{name}" IS NULL)::INT)'
        if column.type in ("money", "integer", "real") and name != "line":
            asked[Figure(table, "size", name)] = f'avg(ln(1 + abs("{name}"))) FILTER ("{name}" <> 0)'
            counted[name] = f'count(*) FILTER ("{name}" <> 0)'
            asked[Figure(table, "sign", name)] = f'avg(("{name}" <= 0)::INT)'
    if "precision" not in there or not _day_only(db):
        asked[Figure(table, "night")] = "avg((hour < 6)::INT)"
    if own and len(own) < len(plain):
        same = ", ".join(f'"{name}"' for name in (*own, "at"))
        asked[Figure(table, "repeated")] = f"1 - count(DISTINCT hash({same})) / count(*)"
    expressions = ", ".join(["count(*)", *counted.values(), *asked.values()])
    counts = np.zeros((days, 1 + len(counted)), np.int64)
    values = np.full((days, len(asked)), np.nan)
    for day, *told in db.execute(f"SELECT day, {expressions} FROM received GROUP BY day").fetchall():
        counts[day] = told[: 1 + len(counted)]
        values[day] = [np.nan if value is None else float(value) for value in told[1 + len(counted) :]]
    rows = counts[:, 0]
    sizes = dict(zip(counted, counts.T[1:], strict=True))
    yield Figure(table, "rows"), np.log1p(rows), rows
    for place, figure in enumerate(asked):
        if figure.kind == "size":
            yield figure, values[:, place], sizes[figure.column]
        else:
            yield figure, angle(values[:, place]), rows
    for name, column in plain.items():
        if column.type == "text" and not name.endswith("_id") and name not in ("ref", "coupon"):
            yield from _kinds(db, table, name, rows)
    if table != "customers" and "customers" in log.tables:
        yield _strangers(db, table, rows)


def _kinds(
    db: duckdb.DuckDBPyConnection, table: str, column: str, rows: Int64
) -> Iterator[tuple[Figure, Float64, Int64]]:
    """The share of each value of a column of few, and of values that came up within KNOWN_BY days."""
    many = db.execute(f'SELECT approx_count_distinct("{column}") FROM received').fetchall()[0][0]
    if not 0 < many <= FEW:
        return
    shares: dict[str, Float64] = {}
    told = db.execute(
        f'SELECT day, "{column}", count(*) FROM received WHERE "{column}" IS NOT NULL GROUP BY ALL'
    )
    for day, value, count in told.fetchall():
        shares.setdefault(str(value), np.where(rows > 0, 0.0, np.nan))[day] = count / rows[day]
    new = np.where(rows > 0, 0.0, np.nan)
    newest: dict[str, float] = {}
    for value, share in sorted(shares.items()):
        since = int(np.flatnonzero(np.nan_to_num(share) > 0)[0])
        if since >= KNOWN_BY:
            new[since : since + KNOWN_BY] += share[since : since + KNOWN_BY]
            if since + KNOWN_BY >= len(rows):
                newest[value] = float(np.nansum(share))
        else:
            yield Figure(table, "share", column, value), angle(share), rows
    named = several(sorted(newest, key=lambda value: -newest[value]))
    yield Figure(table, "unseen", column, named), angle(new), rows


def _strangers(db: duckdb.DuckDBPyConnection, table: str, rows: Int64) -> tuple[Figure, Float64, Int64]:
    """The share of a day's customers of whom no table told before: not whom a new campaign reaches first."""
    share = np.full(len(rows), np.nan)
    told = db.execute(
        """SELECT day, avg((since = day)::INT)
        FROM (SELECT DISTINCT day, customer_id FROM received) JOIN seen USING (customer_id) GROUP BY day"""
    )
    for day, value in told.fetchall():
        share[day] = value
    return Figure(table, "strangers"), angle(share), rows


def _rejected(
    table: str, rejected: Sequence[Rejected], first: int, accepted: Int64
) -> Iterator[tuple[Figure, Float64, Int64]]:
    """The share of a day's rows that the log lacks; of a table that lost some."""
    if not rejected:
        return
    lost, lately = np.zeros_like(accepted), Counter[str]()
    newest = max(one.day for one in rejected)
    for one in rejected:
        lost[one.day - first] += one.rows
        lately[one.reason] += one.rows if one.day > newest - USUAL else 0
    rows = accepted + lost
    share = np.where(rows > 0, lost / np.maximum(rows, 1), np.nan)
    yield Figure(table, "rejected", "", lately.most_common(1)[0][0]), angle(share), rows


def _day_only(db: duckdb.DuckDBPyConnection) -> bool:
    return bool(db.execute("SELECT count(*) > 0 FROM received WHERE precision IS NOT NULL").fetchall()[0][0])


def angle(share: Float64) -> Float64:
    """A share on a scale on which its sampling noise is the same everywhere: 2 asin sqrt p, from 0 to pi."""
    return np.asarray(2 * np.arcsin(np.sqrt(np.clip(share, 0, 1))))


def share(angle: Float64) -> Float64:
    """The inverse of `angle`."""
    return np.asarray(np.sin(np.asarray(angle) / 2) ** 2)


__all__ = ["Column", "Figure", "Received", "angle", "daily", "share"]
