"""Orders as value models read them: one line of figures a customer, from what was known at a moment.

An order counts once a customer and day (in the shop's zone), since two baskets of one afternoon are one
decision to buy. Goods that came back do not count as orders, and their money is taken off.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from features.log import Log
from features.moments import DAY_US, offsets_of, to_us
from serving.booster import Numbers, Rows
from serving.formulas import log
from serving.purchases import Histories

Integers = NDArray[np.int64]

# What the learned part of a value model reads. All but money and repeats are shares and ratios: they mean the
# same for a customer of a month and of three years, so what is learnt at one age of a log holds at another.
SIGNS = {
    "repeats": ("days", "Days with an order, after the first", "首单之后有订单的天数"),
    "silence": ("share", "Time since the last order over the time since the first", "距末单与距首单时间之比"),
    "last_gap": ("share", "Last gap between orders over that time", "最近间隔与距首单时间之比"),
    "gap_variation": ("ratio", "Spread of the gaps over their mean", "购买间隔的离散程度"),
    "overdue": ("ratio", "Time since the last order over the mean gap", "距末单时间与平均间隔之比"),
    "later_half": ("share", "Share of repeat order days in the later half", "后半段复购占比"),
    "last_quarter": ("share", "Share of repeat order days in the last quarter", "最后四分之一复购占比"),
    "money": ("log of money", "Money an order day, less what came back", "每个下单日的净金额"),
    "first_money": ("log of money", "Money of the first order day", "首个下单日的金额"),
    "last_money": ("log of money", "Money of the last order day", "最近下单日的金额"),
}  # fmt: skip


@dataclass(frozen=True)
class Orders:
    """Rows of the log's orders. customer: index into `ids`; at, known: microseconds; day: in `zone`."""

    ids: Any  # text [customers], ascending, numpy or Arrow
    customer: Integers
    at: Integers
    known: Integers
    day: Integers
    money: Numbers
    back: NDArray[np.bool_]  # a return or a correction of an order
    zone: ZoneInfo

    @classmethod
    def of(cls, log: Log, zone: ZoneInfo) -> "Orders":
        """Those of a log."""
        import pyarrow as pa
        import pyarrow.compute as pc

        table = log.read("orders", ["customer_id", "at", "known_at", "amount", "ref"])
        ids = pc.unique(table["customer_id"]).sort()
        index = pc.index_in(table["customer_id"], ids).combine_chunks()
        customer = np.from_dlpack(index).astype(np.int64)
        at, known = (
            np.from_dlpack(table[name].combine_chunks().cast(pa.int64())).astype(np.int64)
            for name in ("at", "known_at")
        )
        money = np.from_dlpack(table["amount"].combine_chunks().cast(pa.float64())).astype(np.float64)
        back = np.from_dlpack(pc.is_valid(table["ref"]).combine_chunks().cast(pa.uint8())).astype(bool)
        return cls(ids, customer, at, known, days_of(at, zone), money, back, zone)

    def by(self, moment: int) -> "Orders":
        """What was known at a moment (microseconds)."""
        return self.where((self.at <= moment) & (self.known <= moment))

    def ahead(self, moment: int, days: int, by: int) -> tuple[Numbers, Numbers, Numbers]:
        """What came in the `days` after a moment and was known `by`, each [customers]: order days, net money,
        days until the first order (inf without one)."""
        until, today, n = moment + days * DAY_US, self.today(moment), len(self.ids)
        late = self.where((self.at > moment) & (self.at <= until) & (self.known <= by))
        bought = late.where(~late.back & (late.day > today))
        pairs = np.unique(bought.customer * 2**32 + bought.day)
        wait = np.full(n, np.inf)
        np.minimum.at(wait, bought.customer, bought.day - today)
        return _counts(pairs >> 32, n), _counts(late.customer, n, late.money), wait

    def today(self, moment: int) -> int:
        """The last day that began before a moment: at midnight the day that ends."""
        return int(days_of(np.array([moment - 1]), self.zone)[0])

    def where(self, rows: NDArray[np.bool_]) -> "Orders":
        """Those rows."""
        return replace(
            self, customer=self.customer[rows], at=self.at[rows], known=self.known[rows], day=self.day[rows],
            money=self.money[rows], back=self.back[rows],
        )  # fmt: skip


class Summaries(NamedTuple):
    """Customers with an order, ascending. customer: index into the orders' ids; times in days."""

    customer: Integers
    histories: Histories
    mean: Numbers  # net money an order day, 0 or more
    signs: Rows  # float32 [n, len(SIGNS)], null is NaN

    @property
    def orders(self) -> Numbers:
        """Order days, [n]."""
        return self.histories.repeats + 1

    def part(self, rows: Any) -> "Summaries":
        """Those of some customers."""
        return Summaries(self.customer[rows], self.histories.part(rows), self.mean[rows], self.signs[rows])

    def __len__(self) -> int:
        return len(self.customer)


def days_of(at: Integers, zone: ZoneInfo) -> Integers:
    """Days since 1970-01-01 on the zone's calendar."""
    if not len(at):
        return at
    starts, offsets = offsets_of(zone, int(at.min()), int(at.max()))
    days: Integers = (at + offsets[np.searchsorted(starts, at, side="right") - 1]) // DAY_US
    return days


def summarise(orders: Orders, moment: datetime) -> Summaries:
    """Everybody with an order that was known at the moment."""
    now = to_us(moment)
    known, today = orders.by(now), orders.today(now)
    bought = known.where(~known.back)
    order = np.lexsort((bought.day, bought.customer))
    who, day, money = bought.customer[order], bought.day[order], bought.money[order]
    new = np.append(True, (np.diff(who) != 0) | (np.diff(day) != 0))[: len(who)]
    paid = np.bincount(np.cumsum(new) - 1, money, minlength=int(new.sum()))
    who, day = who[new], day[new]  # one row a customer and day
    first = np.append(True, np.diff(who) != 0)[: len(who)]
    start = np.flatnonzero(first)
    end = (np.append(start[1:], len(who)) - 1)[: len(start)]
    person, customer = np.cumsum(first) - 1, who[start]
    n = len(customer)
    repeats = (end - start).astype(np.float64)
    last = (day[end] - day[start]).astype(np.float64)
    age = np.maximum((today - day[start]).astype(np.float64), last)  # an order at this very midnight
    net = np.bincount(known.customer, known.money, minlength=len(orders.ids))[customer]
    mean = np.maximum(net / (repeats + 1), 0.0)
    gap, repeat = np.diff(day, prepend=day[:1]).astype(np.float64), ~first
    gaps = np.bincount(person[repeat], gap[repeat], minlength=n)
    squares = np.bincount(person[repeat], gap[repeat] ** 2, minlength=n)
    since = np.maximum(today - day, 0) / np.maximum(age[person], 1)  # 1 at the first order, 0 at the moment
    with np.errstate(divide="ignore", invalid="ignore"):  # without a gap there is none to speak of: NaN
        mean_gap = gaps / repeats
        spread = np.sqrt(np.maximum(squares / repeats - mean_gap * mean_gap, 0.0))
        columns = {
            "repeats": repeats,
            "silence": (age - last) / np.maximum(age, 1),
            "last_gap": np.where(repeats > 0, gap[end], np.nan) / np.maximum(age, 1),
            "gap_variation": np.where(repeats > 1, spread / mean_gap, np.nan),
            "overdue": (age - last) / mean_gap,
            "later_half": np.bincount(person[repeat & (since < 0.5)], minlength=n) / repeats,
            "last_quarter": np.bincount(person[repeat & (since < 0.25)], minlength=n) / repeats,
            "money": log(1 + mean),
            "first_money": log(1 + np.maximum(paid[start], 0)),
            "last_money": log(1 + np.maximum(paid[end], 0)),
        }
    columns["overdue"] = np.where(repeats > 0, columns["overdue"], np.nan)
    signs = np.column_stack([columns[name].astype(np.float32) for name in SIGNS])
    return Summaries(customer, Histories(repeats, last, age), mean, signs)


def _counts(customer: Integers, n: int, weights: Numbers | None = None) -> Numbers:
    return np.bincount(customer, weights, minlength=n).astype(np.float64)
