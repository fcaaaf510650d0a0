"""Every feature, declared once: what it measures, over which window, in which unit, in words for people.

To add a feature, add it to FEATURES (or to FEATURES in a shop's shop.py): `propensity features list`,
the builds, the contracts of the tests and the releases pick it up by themselves.

Semantics, for a customer at a moment m (`reference.py` computes exactly this, slowly):
* An event is known at m if `max(at, known_at) <= m`, and in a window of w days if also `at > m - w x 24 h`.
* No event: counts and sums are 0, a true zero. A measure that then has no meaning is null (NaN), never 0.
* Money is summed in minor units and given in the shop's currency. A day is a date in the shop's zone.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from features.errors import FeatureError
from features.tables import LOCAL, TABLES
from features.words import Words

KERNEL_VERSION = 2  # raise whenever the kernel would give another number for the same declaration
WINDOWS = (7, 30, 90, 365)  # days

Measure = Literal[
    "count",  # events
    "sum",  # of a column
    "max",  # of a column
    "distinct",  # different values of a column
    "days",  # different local dates with an event
    "since_last",  # days from the last event to the moment; null without one
    "since_first",  # days from the first event to the moment; null without one
    "gap_median",  # days between successive active dates: median, mean, standard deviation, longest;
    "gap_mean",  # null with fewer than two active dates
    "gap_std",
    "gap_max",
    "mode",  # most frequent value of a column; of equally frequent ones the smallest
    "last",  # a column's value at the event that happened last; of several then, known last, then largest
    "until_next",  # of the calendar: days to the start of the next event; null if none is known
    "ahead",  # of the calendar: events that start within the window after the moment
    "running",  # of the calendar: events that have started and not ended
    "expression",  # of other features
]
_HISTORY = ("since_last", "since_first", "gap_median", "gap_mean", "gap_std", "gap_max")
_COLUMN = ("sum", "max", "distinct", "mode", "last")
_CODED = ("mode", "last")  # of a text column they give a code of the vocabulary
CALENDAR = ("until_next", "ahead", "running")  # may look at what lies ahead, if it was known by the moment


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One feature.

    table, column: of the customer log, or `hour` and `weekday` of an event. where: a condition on one row,
    in SQL; `local_at` is the event's time in the shop's zone; null counts as false. window: days, None for
    all of known history. vocabulary: for mode and last of text, the values in the order of their codes 0, 1,
    ...; other values are left out. expression: + - * /, min(a, b) and max(a, b) over other features' names
    and numbers; a division by zero or a null gives null.
    """

    name: str
    words: Words
    unit: str  # orders, items, money, days, share, ratio ...
    measure: Measure
    table: str | None = None
    column: str | None = None
    where: str | None = None
    window: int | None = None
    vocabulary: tuple[str, ...] | None = None
    expression: str | None = None

    def __post_init__(self) -> None:
        derived = self.measure == "expression"
        if derived != (self.expression is not None) or derived == (self.table is not None):
            raise FeatureError(f"{self.name}: declare either a table and a measure of it, or an expression")
        if (self.measure in _COLUMN) != (self.column is not None):
            raise FeatureError(f"{self.name}: the measure {self.measure} goes with a column if {_COLUMN}")
        if self.measure not in get_args(Measure):
            raise FeatureError(f"{self.name}: {self.measure!r} is no measure: {', '.join(get_args(Measure))}")
        if self.table is not None and self.table not in TABLES:
            raise FeatureError(f"{self.name}: {self.table!r} is no table of the log: {', '.join(TABLES)}")
        if self.window is not None and not (isinstance(self.window, int) and 1 <= self.window <= 3660):
            raise FeatureError(f"{self.name}: window {self.window!r} is not a number of days, 1 to 3660")
        if self.measure in _HISTORY and self.window is not None:
            raise FeatureError(f"{self.name}: {self.measure} looks at all known history, it takes no window")
        if self.table is not None:
            self._check_column(self.table)

    def _check_column(self, table: str) -> None:
        columns = TABLES[table].columns
        if self.column is not None and self.column not in columns and self.column not in LOCAL:
            raise FeatureError(
                f"{self.name}: {table} has no column {self.column!r}: {', '.join([*columns, *LOCAL])}"
            )
        text = self.column in columns and columns[self.column].type == "text"
        if (self.vocabulary is not None) != (text and self.measure in _CODED):
            raise FeatureError(f"{self.name}: a vocabulary goes with {' and '.join(_CODED)} of a text column")
        if self.vocabulary is not None and len(set(self.vocabulary)) != len(self.vocabulary):
            raise FeatureError(f"{self.name}: its vocabulary names a value twice")
        if self.measure in CALENDAR and table != "calendar":
            raise FeatureError(f"{self.name}: {self.measure} is of the calendar, not of {table}")
        if table == "calendar" and self.measure not in (*CALENDAR, "count", "since_last"):
            raise FeatureError(
                f"{self.name}: of the calendar there are {', '.join(CALENDAR)}, count, since_last"
            )
        if (self.measure == "ahead") > (self.window is not None) or (
            self.measure in ("until_next", "running") and self.window is not None
        ):
            raise FeatureError(f"{self.name}: of the calendar, only ahead and count take a window")

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the features that an expression reads, sorted."""
        if self.expression is None:
            return ()
        tree = ast.parse(self.expression, mode="eval")
        functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                if (
                    not isinstance(node.func, ast.Name)
                    or node.func.id not in FUNCTIONS
                    or len(node.args) != 2
                    or node.keywords
                ):
                    raise FeatureError(f"{self.name}: only min(a, b) and max(a, b) can be called")
            elif not isinstance(node, _ALLOWED):
                raise FeatureError(
                    f"{self.name}: {type(node).__name__} is not allowed in {self.expression!r}"
                )
        names = (node for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in functions)
        return tuple(sorted({node.id for node in names}))

    @property
    def source(self) -> str:
        """What it is computed from, for people: `sum(orders.amount) where amount > 50`."""
        if self.expression is not None:
            return self.expression
        column = f".{self.column}" if self.column else ""
        where = f" where {self.where}" if self.where else ""
        return f"{self.measure}({self.table}{column}){where}"


FUNCTIONS = ("min", "max")
_ALLOWED = (
    ast.Expression, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div,
    ast.UnaryOp, ast.USub, ast.Name, ast.Load, ast.Constant,
)  # fmt: skip


def feature_hash(feature: Feature, catalogue: Mapping[str, Feature], of_log: Mapping[str, object]) -> str:
    """16 hex digits over what decides a feature's values; words left out.

    That is the declaration, those of its inputs, the kernel's version, and `Shop.of_log`: a day of another
    zone, or money of another currency, is another feature.
    """
    declaration = {
        "kernel": KERNEL_VERSION,
        "shop": dict(of_log),
        "measure": feature.measure,
        "table": feature.table,
        "column": feature.column,
        "where": feature.where,
        "window": feature.window,
        "vocabulary": feature.vocabulary,
        "expression": feature.expression,
        "inputs": {name: feature_hash(catalogue[name], catalogue, of_log) for name in feature.inputs},
    }
    return hashlib.sha256(json.dumps(declaration, sort_keys=True).encode()).hexdigest()[:16]


def catalogue(own: Iterable[Feature] = ()) -> dict[str, Feature]:
    """Built-in features and a shop's own, by name. FeatureError for a name twice or an unknown input."""
    by_name: dict[str, Feature] = {}
    for feature in (*FEATURES, *own):
        if feature.name in by_name:
            raise FeatureError(f"{feature.name} is declared twice: give one of them another name")
        by_name[feature.name] = feature
    for feature in by_name.values():
        for name in feature.inputs:
            if name not in by_name:
                raise FeatureError(f"{feature.name} reads {name}, which is not declared")
    return by_name


# One row makes a feature for each of WINDOWS: name, English, Chinese, unit, measure, table, column, where.
# A return is a row of its own with a `ref`: it lowers sums of money and goods, and counts as no order.
# fmt: off
_WINDOWED: tuple[tuple[str, str, str, str, Measure, str, str | None, str | None], ...] = (
    ("orders", "Orders", "订单数", "orders", "count", "orders", None, "ref is null"),
    ("spend", "Money spent", "消费金额", "money", "sum", "orders", "amount", None),
    ("discount", "Discount received", "优惠金额", "money", "sum", "orders", "discount", None),
    ("order_max", "Largest order", "最大单笔订单金额", "money", "max", "orders", "amount", "ref is null"),
    ("order_days", "Days with an order", "有订单的天数", "days", "days", "orders", None, "ref is null"),
    ("stores", "Different stores", "光顾门店数", "stores", "distinct", "orders", "store_id", "ref is null"),
    ("weekend_orders", "Weekend orders", "周末订单数", "orders", "count", "orders", None, "isodow(local_at) >= 6 and ref is null"),
    ("evening_orders", "Orders after 17:00", "17点后订单数", "orders", "count", "orders", None, "hour(local_at) >= 17 and ref is null"),
    ("lines", "Order lines", "购买商品行数", "lines", "count", "order_lines", None, "ref is null"),
    ("items", "Items", "购买件数", "items", "sum", "order_lines", "items", None),
    ("categories", "Different product categories", "购买品类数", "categories", "distinct", "order_lines", "category", "ref is null"),
    ("departments", "Different departments", "购买部门数", "departments", "distinct", "order_lines", "department", "ref is null"),
    ("private_spend", "Money spent on own brands", "自有品牌消费金额", "money", "sum", "order_lines", "amount", "brand = 'Private'"),
    ("discounted_lines", "Discounted lines", "打折商品行数", "lines", "count", "order_lines", None, "discount > 0 and ref is null"),
    ("coupon_lines", "Lines bought with a coupon", "用券商品行数", "lines", "count", "order_lines", None, "coupon > 0 and ref is null"),
    ("contacts", "Campaign contacts received", "收到的营销触达次数", "contacts", "count", "contacts", None, None),
    ("responses", "Coupons redeemed", "核销优惠券数", "coupons", "count", "responses", None, "kind = 'redeem'"),
    ("response_campaigns", "Campaigns answered", "有响应的营销活动数", "campaigns", "distinct", "responses", "campaign_id", None),
)
# The same for expressions; {w} is the window: name, English, Chinese, unit, expression.
_WINDOWED_EXPRESSIONS: tuple[tuple[str, str, str, str, str], ...] = (
    ("order_value", "Average order", "平均客单价", "money", "spend_{w}d / orders_{w}d"),
    ("discount_share", "Discount as a share of the price", "优惠占原价比例", "share", "discount_{w}d / (spend_{w}d + discount_{w}d)"),
    ("items_per_order", "Items per order", "每单件数", "items", "items_{w}d / orders_{w}d"),
    ("weekend_share", "Share of weekend orders", "周末订单占比", "share", "weekend_orders_{w}d / orders_{w}d"),
    ("private_share", "Own brands' share of spending", "自有品牌消费占比", "share", "private_spend_{w}d / spend_{w}d"),
)
# fmt: on


def _windowed() -> Iterator[Feature]:
    for w in WINDOWS:
        for name, en, zh, unit, measure, table, column, where in _WINDOWED:
            yield Feature(
                name=f"{name}_{w}d",
                words=Words(f"{en} in the last {w} days", f"近{w}天{zh}"),
                unit=unit,
                measure=measure,
                table=table,
                column=column,
                where=where,
                window=w,
            )
        for name, en, zh, unit, expression in _WINDOWED_EXPRESSIONS:
            yield Feature(
                name=f"{name}_{w}d",
                words=Words(f"{en} in the last {w} days", f"近{w}天{zh}"),
                unit=unit,
                measure="expression",
                expression=expression.format(w=w),
            )


FEATURES: tuple[Feature, ...] = (
    *_windowed(),
    Feature(
        name="days_since_order",
        words=Words("Days since the last order", "距上次下单天数"),
        unit="days",
        measure="since_last",
        table="orders",
        where="ref is null",
    ),
    Feature(
        name="days_since_contact",
        words=Words("Days since the last campaign contact", "距上次营销触达天数"),
        unit="days",
        measure="since_last",
        table="contacts",
    ),
    Feature(
        name="days_since_response",
        words=Words("Days since the last coupon redeemed", "距上次核销优惠券天数"),
        unit="days",
        measure="since_last",
        table="responses",
    ),
    Feature(
        name="tenure",
        words=Words("Days since the first known order", "首单至今天数"),
        unit="days",
        measure="since_first",
        table="orders",
        where="ref is null",
    ),
    Feature(
        name="gap_median",
        words=Words("Usual days between shopping days (median)", "通常购物间隔天数（中位数）"),
        unit="days",
        measure="gap_median",
        table="orders",
        where="ref is null",
    ),
    Feature(
        name="gap_mean",
        words=Words("Average days between shopping days", "平均购物间隔天数"),
        unit="days",
        measure="gap_mean",
        table="orders",
        where="ref is null",
    ),
    Feature(
        name="gap_std",
        words=Words("Irregularity of the days between shopping days", "购物间隔波动（标准差）"),
        unit="days",
        measure="gap_std",
        table="orders",
        where="ref is null",
    ),
    Feature(
        name="gap_max",
        words=Words("Longest pause between shopping days", "最长购物间隔天数"),
        unit="days",
        measure="gap_max",
        table="orders",
        where="ref is null",
    ),
    Feature(
        name="overdue",
        words=Words(
            "Time since the last order, as a multiple of the usual gap", "距上次下单时间相当于通常间隔的倍数"
        ),
        unit="ratio",
        measure="expression",
        expression="days_since_order / gap_median",
    ),
    Feature(
        name="orders_trend",
        words=Words("Orders of the last 30 days against the 90-day pace", "近30天订单相对近90天节奏"),
        unit="ratio",
        measure="expression",
        expression="3 * orders_30d / orders_90d",
    ),
    Feature(
        name="spend_trend",
        words=Words("Spending of the last 30 days against the 90-day pace", "近30天消费相对近90天节奏"),
        unit="ratio",
        measure="expression",
        expression="3 * spend_30d / spend_90d",
    ),
    Feature(
        name="orders_trend_year",
        words=Words("Orders of the last 90 days as a share of the year's", "近90天订单占近一年比例"),
        unit="share",
        measure="expression",
        expression="orders_90d / orders_365d",
    ),
    Feature(
        name="response_rate",
        words=Words("Campaigns answered per contact, last 365 days", "近365天营销响应率"),
        unit="share",
        measure="expression",
        expression="response_campaigns_365d / contacts_365d",
    ),
)
