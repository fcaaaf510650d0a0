# ruff: noqa: E501  # sentences in two languages read best unbroken
"""The business indicators of a day, each declared once: what is counted, which way is bad, who answers for it.

To add one, add it to INDICATORS: `daily`, the morning page and the anomalies pick it up by themselves. Days
are the shop's; a day is counted once the log has all of it. What is said of a day is what was known when it
ended (`known_at`), so a row that comes late does not rewrite what was said; `late=True` asks for all that is
known now. What a shop lacks is absent by name, with its reason, and never a zero.

The health score of customers, by segment, comes beside these from what everyone was scored (`health`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from features.log import Log
from features.moments import DAY
from features.settings import Settings
from features.words import Words
from monitoring.findings import Owner

if TYPE_CHECKING:
    import pyarrow as pa

Unit = Literal["orders", "customers", "share", "money", "cases", "points"]
Series = Mapping[str, tuple[NDArray[np.datetime64], NDArray[np.float64]]]
RECENT = 28  # days of a customer's usual coming and going: four of every weekday
CHURN = -1  # stands for the days of silence after which a customer is called churned
BOUGHT_BEFORE = 90  # days before an order in which another makes it a repeat: a season


@dataclass(frozen=True, kw_only=True)
class Indicator:
    """One figure of a day.

    meaning: what exactly is counted. bad: the direction that nobody wants. events: what it counts, views of
    `counting`, all of which the log must have; looks_back: days of them before a day that must be there too
    (CHURN: as many as the churn model's horizon). sql: a row (day, value, n) a day, over these views and all
    `days`; n: what the value rests on. A day is a number, of days since 1970. counts: a day without a row is
    a true 0; else nothing can be said of that day.
    """

    name: str
    words: Words
    meaning: Words
    unit: Unit
    bad: Literal["up", "down"]
    events: tuple[str, ...]
    owner: Owner
    reason: str
    sql: str
    looks_back: int = 0
    counts: bool = True


INDICATORS: tuple[Indicator, ...] = (
    Indicator(
        name="orders",
        words=Words("Orders", "订单数"),
        meaning=Words(
            "Orders of the day; what came back later is not taken off", "当日订单数，不扣除此后的退货"
        ),
        unit="orders",
        bad="down",
        events=("sales",),
        owner="operations",
        reason="what the shop lives on; it is also the first to show a till or a feed that is down",
        sql="SELECT day, count(*) AS value, count(*) AS n FROM sales WHERE seen = day GROUP BY day",
    ),
    Indicator(
        name="active_customers",
        words=Words("Active customers", "活跃客户数"),
        meaning=Words(
            "Customers who ordered that day, or visited, viewed, commented, logged in ...",
            "当日有订单，或有访问、浏览、评论、登录等互动的客户数",
        ),
        unit="customers",
        bad="down",
        events=("activity",),
        owner="operations",
        reason="people come before they buy: it moves earlier than orders",
        sql="SELECT day, count(*) AS value, count(*) AS n FROM activity WHERE seen = day GROUP BY day",
    ),
    Indicator(
        name="churned_customers",
        words=Words("Churned customers", "流失客户数"),
        meaning=Words(
            "Customers whose last order is {churn} days old that day; of as many buyers on that earlier day",
            "当日距最近一次下单满{churn}天的客户数（相对于{churn}天前的买家）",
        ),
        unit="customers",
        bad="up",
        events=("bought",),
        owner="operations",
        reason="whoever passes the horizon of the churn model is what it warned of: counted, not predicted",
        sql="""WITH later AS (
            SELECT day, seen, min(seen) OVER (
              PARTITION BY customer_id ORDER BY day ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
            ) AS again FROM bought)
          SELECT day + {churn} AS day, count(*) FILTER (again IS NULL OR again > day + {churn}) AS value,
            count(*) AS n
          FROM later WHERE seen <= day + {churn} GROUP BY day""",
        looks_back=CHURN,
    ),
    Indicator(
        name="repurchase",
        words=Words("Repurchase share", "复购占比"),
        meaning=Words(
            f"Of the customers who ordered that day, the share who had in the {BOUGHT_BEFORE} days before",
            f"当日下单客户中，此前{BOUGHT_BEFORE}天内已下过单的占比",
        ),
        unit="share",
        bad="down",
        events=("bought",),
        owner="operations",
        reason="it says on the same day whether customers come back; a good campaign for newcomers lowers it too",
        sql="""WITH earlier AS (
            SELECT day, seen, max(day) OVER (
              PARTITION BY customer_id ORDER BY seen RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS last FROM bought)
          SELECT day, avg(CASE WHEN last >= day - {before} THEN 1.0 ELSE 0.0 END) AS value, count(*) AS n
          FROM earlier WHERE seen = day GROUP BY day""",
        looks_back=BOUGHT_BEFORE,
        counts=False,
    ),
    Indicator(
        name="average_order",
        words=Words("Average order", "客单价"),
        meaning=Words("Mean amount paid for an order of the day", "当日订单的平均实付金额"),
        unit="money",
        bad="down",
        events=("sales",),
        owner="operations",
        reason="a price list with another unit shows here before it shows anywhere else",
        sql="""SELECT day, avg(amount::DOUBLE) AS value, count(*) AS n FROM sales WHERE seen = day
          GROUP BY day""",
        counts=False,
    ),
    Indicator(
        name="interaction_rate",
        words=Words("Interaction rate", "互动率"),
        meaning=Words(
            f"Of the customers who ordered or interacted in the {RECENT} days until then, the share who "
            "interacted that day",
            f"截至当日{RECENT}天内有订单或互动的客户中，当日有互动的占比",
        ),
        unit="share",
        bad="down",
        events=("touches", "activity"),
        owner="operations",
        reason="how often customers come, whatever their number: a mini program that breaks shows here",
        sql="""WITH recent AS (
            SELECT seen, day + {recent} AS gone, max(day + {recent}) OVER (
              PARTITION BY customer_id ORDER BY seen, day ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS covered FROM activity
          ), spans AS (
            SELECT greatest(seen, coalesce(covered, seen)) AS came, gone FROM recent
          ), changes AS (
            SELECT came AS day, 1 AS change FROM spans WHERE came < gone
            UNION ALL SELECT gone, -1 FROM spans WHERE came < gone
            UNION ALL SELECT day, 0 FROM days
          ), known AS (
            SELECT day, sum(sum(change)) OVER (ORDER BY day) AS n FROM changes GROUP BY day
          ), those AS (SELECT day, count(*) AS came FROM touches WHERE seen = day GROUP BY day)
          SELECT day, coalesce(came, 0) / n AS value, n FROM known LEFT JOIN those USING (day) WHERE n > 0""",
        looks_back=RECENT,
        counts=False,
    ),
    Indicator(
        name="opt_outs",
        words=Words("Opt-outs and unfriending", "退订与删除好友数"),
        meaning=Words(
            "Customers who that day opted out, withdrew a marketing consent, left a group or removed a member "
            "of staff",
            "当日退订、撤回营销授权、退群或删除导购的客户数",
        ),
        unit="customers",
        bad="up",
        events=("farewells",),
        owner="operations",
        reason="whoever leaves a channel can never be asked back there: the price of one message too many",
        sql="""SELECT day, count(DISTINCT customer_id) AS value, count(*) AS n FROM farewells
          WHERE seen = day GROUP BY day""",
    ),
    Indicator(
        name="open_complaints",
        words=Words("Complaints open past 24 hours", "超24小时未结投诉"),
        meaning=Words(
            "Complaints that were open for more than 24 hours when the day ended; of all that were open",
            "当日结束时已超过24小时仍未结案的投诉数（相对于全部未结投诉）",
        ),
        unit="cases",
        bad="up",
        events=("complaints",),
        owner="operations",
        reason="24 hours is what customers are promised; whoever waits longer is not to be sent offers",
        sql="""WITH changes AS (
            SELECT late AS day, 1 AS late, 0 AS open FROM complaints WHERE late < coalesce(closed, late + 1)
            UNION ALL SELECT closed, -1, 0 FROM complaints WHERE late < closed
            UNION ALL SELECT opened, 0, 1 FROM complaints WHERE opened < coalesce(closed, opened + 1)
            UNION ALL SELECT closed, 0, -1 FROM complaints WHERE opened < closed
            UNION ALL SELECT day, 0, 0 FROM days)
          SELECT day, sum(sum(late)) OVER (ORDER BY day) AS value, sum(sum(open)) OVER (ORDER BY day) AS n
          FROM changes GROUP BY day""",
    ),
    Indicator(
        name="contact_answers",
        words=Words(f"Answers of the day per contact of {RECENT} days", f"当日响应数÷{RECENT}天触达数"),
        meaning=Words(
            "Opens, clicks, redemptions and purchases answered that day, divided by the contacts sent in the "
            f"{RECENT} days until then. It is not the response rate: where 25 % of all contacts are answered, "
            f"it is about {25 / RECENT:.1f} % a day (25 % / {RECENT})",
            f"当日的打开、点击、核销与购买响应数 ÷ 截至当日{RECENT}天内的触达数。这不是响应率："
            f"若25%的触达有响应，则每日约为{25 / RECENT:.1f}%（25% ÷ {RECENT}）",
        ),
        unit="share",
        bad="down",
        events=("sent", "answers"),
        owner="operations",
        reason="messages that reach nobody, or links that lead nowhere, are seen here and in no error log; a "
        "share of those contacts that were ever answered would move by a 28th on the day that all answers stop, "
        "and needs answers that name their contact, which many systems do not",
        sql="""WITH changes AS (
            SELECT seen AS day, 1 AS change FROM sent WHERE seen < day + {recent}
            UNION ALL SELECT day + {recent}, -1 FROM sent WHERE seen < day + {recent}
            UNION ALL SELECT day, 0 FROM days
          ), recent AS (
            SELECT day, sum(sum(change)) OVER (ORDER BY day) AS n FROM changes GROUP BY day
          ), those AS (SELECT day, count(*) AS came FROM answers WHERE seen = day GROUP BY day)
          SELECT day, coalesce(came, 0) / n AS value, n FROM recent LEFT JOIN those USING (day) WHERE n > 0""",
        looks_back=RECENT,
        counts=False,
    ),
    Indicator(
        name="coupon_cost",
        words=Words("Coupon cost", "优惠券成本"),
        meaning=Words("What coupons took off the goods of the day", "当日商品由优惠券抵扣的金额"),
        unit="money",
        bad="up",
        events=("coupons",),
        owner="operations",
        reason="a voucher that can be used twice, or by everybody, is money until somebody looks",
        sql="""SELECT day, sum(coupon)::DOUBLE AS value, count(*) AS n FROM coupons WHERE seen = day
          GROUP BY day""",
    ),
)
HEALTH = Indicator(
    name="health",
    words=Words("Customer health", "客户健康分"),
    meaning=Words(
        "Of 100 customers, how many order within the churn model's horizon, as everyone was scored; by segment",
        "按最近一次全量评分，每100位客户中预计会在流失模型期限内下单的人数；按分层",
    ),
    unit="points",
    bad="down",
    events=(),
    owner="models",
    reason="a mean over a segment that falls says where the shop is about to lose customers",
    sql="",
    counts=False,
)


def named(name: str) -> Indicator:
    """One of INDICATORS, or HEALTH. KeyError for another name."""
    return {one.name: one for one in (*INDICATORS, HEALTH)}[name]


def last_day(settings: Settings, log: Log) -> date:
    """The last day of the shop's zone of which the log has all, and that is over."""
    from features.shop import shop_of

    until = min(log.complete_until, settings.now())
    return until.astimezone(shop_of(settings).zone).date() - DAY


def daily(settings: Settings, log: Log, start: date, end: date, late: bool = False) -> "pa.Table":
    """Every indicator of the days from `start` to `end`, both included, as far as the log has them.

    Columns: day (date32), name, segment ("" of all; of `health` a value tier), value (float64), n (int64, what
    it rests on), by name, segment and day. late: with rows that were not known yet when their day ended.
    What cannot be told has no rows; `told` says why.
    """
    return told(settings, log, start, end, late)[0]


def told(
    settings: Settings, log: Log, start: date, end: date, late: bool = False
) -> tuple["pa.Table", dict[str, Words]]:
    """What `daily` gives, and why the other indicators cannot be told, by name."""
    import pyarrow as pa

    from monitoring import counting, health

    parts, absent = [], {}
    with counting.opened(settings, log, min(end, last_day(settings, log)), late) as counted:
        for one in INDICATORS:
            why = counted.lacking(one)
            if why is None:
                parts.append(counted.rows(one, start))
            else:
                absent[one.name] = why
    parts.append(health.rows(settings, start, end))
    why = health.lacking(settings)
    return pa.concat_tables(parts), absent if why is None else {**absent, HEALTH.name: why}


def series(table: "pa.Table") -> Series:
    """What `daily` gave, by name: (days ascending [n], values [n]); a segment's as `health:champions`."""
    found = {}
    keys = sorted(set(zip(table["name"].to_pylist(), table["segment"].to_pylist(), strict=True)))
    names, segments = (table[column].to_numpy(zero_copy_only=False) for column in ("name", "segment"))
    days = table["day"].to_numpy().astype("datetime64[D]")
    values = table["value"].to_numpy()
    for name, segment in keys:
        own = np.flatnonzero((names == name) & (segments == segment))
        own = own[np.argsort(days[own], kind="stable")]
        found[f"{name}:{segment}" if segment else name] = (days[own], values[own])
    return found
