"""To whom did it happen: for each kind of label, from the events known in time to the customers.

Tables come ascending by `at`, with `at` and `known_at` in us and `customer`, a small whole number. A moment
costs as much as the events of its horizon, so that hundreds of thousands of customers at a year of moments
take seconds.
"""

from collections.abc import Callable, Mapping
from datetime import date
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.log import Log
from features.moments import DAY_US, from_us
from training.targets import Target

Ints = NDArray[np.int64]
# (moment, end of the horizon), both in us -> the customers to whom it happened, in any order, some repeated
Happened = Callable[[int, int], Ints]
Tables = Mapping[str, pa.Table]

_EPOCH = date(1970, 1, 1).toordinal()  # day 0 of `labels.with_days`
OWN_SHARE = 0.9  # of a customer's own gaps: a pause longer than nine of ten is unusual for this customer
FEWEST_GAPS = 3  # of fewer, the longest says nothing of what is usual


def happened(tables: Tables, target: Target) -> Happened:
    """To whom the target's event happened, from tables as `labels` prepares them."""
    match target.label:
        case "order" | "no_order":
            return _orders(tables["orders"], target)
        case "category_order":
            return _categories(tables["order_lines"], target)
        case "overdue":
            return _overdue(tables["orders"])
        case "left_group" | "left_staff" | "opt_out":
            return _rows(tables, target)


def told(target: Target, log: Log) -> dict[str, int]:
    """How many of its events the log holds, of all time, by table; a table that the log lacks is absent."""
    from pyarrow.dataset import dataset

    return {
        table: int(dataset(log.paths(table)).count_rows(filter=rows))
        for table, rows in events_of(target).items()
        if table in log.tables
    }


def events_of(target: Target) -> dict[str, pc.Expression]:
    """Which rows are the target's events, by table; of orders and goods those that take nothing back."""
    match target.label:
        case "order" | "no_order" | "overdue":
            return {"orders": pc.field("ref").is_null()}
        case "category_order":
            named = pc.field("category").isin(target.categories) if target.categories else pc.scalar(True)
            return {"order_lines": pc.field("category").is_valid() & named & pc.field("ref").is_null()}
        case "left_group" | "left_staff":
            of = pc.field("kind") == target.label.removeprefix("left_")
            return {"memberships": of & (pc.field("change") == "left")}
        case "opt_out":
            marketing = pc.field("purpose") == "marketing"
            return {
                "responses": pc.field("kind") == "opt-out",
                "consents": marketing & (pc.field("status") == "withdrawn"),
            }


def _rows(tables: Tables, target: Target) -> Happened:
    """Whoever has a row that is the event."""
    of = events_of(target)
    rows = [table.filter(of[name]) for name, table in tables.items()]
    parts = [(ints(table["at"]), ints(table["customer"])) for table in rows]
    return lambda moment, until: np.concatenate([who[_window(at, moment, until)] for at, who in parts])


def _orders(orders: pa.Table, target: Target) -> Happened:
    """Whoever orders; an order that came back in full counts only if the target says so."""
    bought = orders.filter(pc.is_null(orders["ref"]))
    customer, kept = ints(bought["customer"]), _kept(orders, bought, target)
    return lambda moment, until: customer[kept(moment, until)]


def _categories(lines: pa.Table, target: Target) -> Happened:
    """Whoever buys one of the target's categories; without any, one that this customer bought before.

    Before: in the days before the moment that the population looks back. The goods of a category in one
    order are taken together: they came back if all of them did.
    """
    goods = lines.filter(pc.is_valid(lines["category"]))
    if target.categories:
        goods = goods.filter(pc.is_in(goods["category"], pa.array(target.categories)))
    if not target.returned:
        goods = _together(goods)
    bought = goods.filter(pc.is_null(goods["ref"]))
    customer, kept = ints(bought["customer"]), _kept(goods, bought, target)
    if target.categories:
        return lambda moment, until: customer[kept(moment, until)]
    category = ints(bought["category"].combine_chunks().dictionary_encode().indices)
    _, pair = np.unique(np.stack([customer, category]), axis=1, return_inverse=True)
    at, known_at, back = ints(bought["at"]), ints(bought["known_at"]), target.population.days * DAY_US

    def again(moment: int, until: int) -> Ints:
        before = _window(at, moment - back, moment)
        had = np.zeros(len(pair), bool)
        had[pair[before][known_at[before] <= moment]] = True
        now = kept(moment, until)
        return customer[now][had[pair[now]]]

    return again


def _together(lines: pa.Table) -> pa.Table:
    """A row for the goods of one order and category; order_id and ref name both."""
    for name in ("order_id", "ref"):
        both = pc.binary_join_element_wise(lines[name], lines["category"], "\0")  # which is in no id
        lines = lines.set_column(lines.column_names.index(name), name, both)
    keys = ["order_id", "ref", "customer", "category", "at", "known_at"]
    goods = lines.group_by(keys).aggregate([("amount", "sum")])
    return goods.rename_columns({"amount_sum": "amount"}).sort_by("at")


def _kept(rows: pa.Table, bought: pa.Table, target: Target) -> Callable[[int, int], Ints]:
    """(moment, until) -> places among what was bought, without what came back in full by then."""
    at = ints(bought["at"])
    every = np.arange(len(at))
    if target.returned:
        return lambda moment, until: every[_window(at, moment, until)]
    back = rows.filter(pc.is_valid(rows["ref"]))
    place = places(back["ref"], bought["order_id"])
    of_one = place >= 0
    place, back_at, money = place[of_one], ints(back["at"])[of_one], ints(back["amount"])[of_one]
    paid = ints(bought["amount"])

    def kept(moment: int, until: int) -> Ints:
        window = every[_window(at, moment, until)]
        by_end = slice(0, int(np.searchsorted(back_at, until, side="right")))
        first = window[0] if len(window) else 0
        inside = (place[by_end] >= first) & (place[by_end] < first + len(window))
        returned = np.zeros(len(window), np.int64)
        np.add.at(returned, place[by_end][inside] - first, money[by_end][inside])
        return window[(returned >= 0) | (paid[window] + returned > 0)]

    return kept


def _overdue(orders: pa.Table) -> Happened:
    """Whoever, at the horizon's end, is silent for longer than OWN_SHARE of the own gaps known at the moment.

    A gap is the days between successive days with an order, in the shop's zone; so is the silence, from the
    last of them to the day on which the horizon ends: an order on that day still ends a gap of just so long.
    """
    zone = ZoneInfo(orders.schema.metadata[b"zone"].decode())  # `labels.with_days`
    bought = orders.filter(pc.is_null(orders["ref"]))
    at, customer, on = ints(bought["at"]), ints(bought["customer"]), ints(bought["day"])
    usable = np.maximum(at, ints(bought["known_at"]))
    # A day is known with its first order that is: by customer, day, and when it is known.
    order = np.lexsort((usable, on, customer))
    whose, day = customer[order], on[order]
    new = np.ones(len(order), bool)
    new[1:] = (whose[1:] != whose[:-1]) | (day[1:] != day[:-1])
    whose, day, usable = whose[new], day[new], usable[order][new]
    people = int(customer.max(initial=-1)) + 1

    def limits(moment: int) -> NDArray[np.float64]:
        """The gap in days that a customer's own seldom exceed, [people]; inf if too few are known."""
        seen = usable <= moment
        who, gap = whose[seen], np.diff(day[seen], prepend=0)
        within = np.zeros(len(who), bool)
        within[1:] = who[1:] == who[:-1]
        # Sorted by customer, then gap: as one number, which sorts many times as fast as two.
        both = np.sort((who[within] << 32) + gap[within])
        who, gap = both >> 32, both & 0xFFFFFFFF
        number = np.bincount(who, minlength=people)
        first = np.cumsum(number) - number
        place = first + np.ceil(OWN_SHARE * number).astype(np.int64) - 1
        enough = number >= FEWEST_GAPS
        limit = np.full(people, np.inf)
        limit[enough] = gap[place[enough]]
        return limit

    def silent(moment: int, until: int) -> Ints:
        last = np.full(people, np.iinfo(np.int64).max)
        end = int(np.searchsorted(at, until, side="right"))
        last[customer[:end]] = on[:end]  # ascending: the last one stays
        today = from_us(until).astimezone(zone).toordinal() - _EPOCH
        return np.flatnonzero(today - last > limits(moment))

    return silent


def _window(at: Ints, moment: int, until: int) -> slice:
    """Where, among ascending times, those lie with moment < at <= until."""
    first, end = np.searchsorted(at, [moment, until], side="right")
    return slice(int(first), int(end))


def places(values: pa.ChunkedArray, among: pa.Array | pa.ChunkedArray) -> Ints:
    """The place of each value among others, int64 [n]; -1 if it is not there."""
    among = among.combine_chunks() if isinstance(among, pa.ChunkedArray) else among
    return ints(pc.fill_null(pc.index_in(values, among), -1))


def ints(values: pa.ChunkedArray | pa.Array) -> Ints:
    """Whole numbers, or times in us, int64 [n]."""
    whole: Ints = np.asarray(values.cast(pa.int64()))
    return whole
