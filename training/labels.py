"""What came true: the label of each customer at each moment, from what was known of it in time.

A label of moment m looks at events with m < at <= m + horizon, as far as they were known by a moment that
is no earlier than its end: what arrived later cannot change it. Rows with a `ref` return or correct an
order; they are no orders.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.compute.builds import Build
from features.errors import NotEnoughData
from features.log import Log
from features.moments import DAY, iso, to_us
from training.targets import Target

Ints = NDArray[np.int64]
# (moment, end of the horizon), both in us -> codes of the customers to whom it happened, in any order
Happened = Callable[[int, int], Ints]
Tables = Mapping[str, pa.Table]


def members(build: Build, target: Target, moment: datetime) -> pa.Table:
    """The population at a moment, from the snapshot, as serving sees it: customer_id, moment."""
    condition = target.population.members(build.features)
    names = [condition.feature] if condition else []
    snapshot = build.read(moment, ["customer_id", "moment", *names])
    if condition:
        snapshot = snapshot.filter(pa.array(condition.holds(snapshot[condition.feature].to_numpy())))
    return snapshot.select(["customer_id", "moment"])


def events(log: Log, target: Target) -> dict[str, pa.Table]:
    """The tables and columns of the log that the target's labels are made of. LogError if one is absent."""
    returns = () if target.returned else ("order_id", "amount")
    return {"orders": log.read("orders", ["customer_id", "at", "known_at", "ref", *returns])}


def labels(
    tables: Tables, spine: pa.Table, target: Target, known_by: Mapping[datetime, datetime]
) -> NDArray[np.float64]:
    """The label of each row of the spine (customer_id, moment): 0 or 1, float64 [n].

    tables: what `events` gives. An event of moment m counts if m < at <= m + horizon, and if it was known by
    `known_by[m]`. NotEnoughData if that is before the horizon's end: the label is not mature.
    """
    for moment, by in known_by.items():
        until = moment + target.horizon_days * DAY
        if until > by:
            raise NotEnoughData(f"the label of {iso(moment)} is known at {iso(until)}, not by {iso(by)}")
    ids = pc.unique(pa.chunked_array([c for table in tables.values() for c in table["customer_id"].chunks]))
    coded = {name: _coded(table, ids) for name, table in tables.items()}
    customer = _places(spine["customer_id"], ids)
    at = _us(spine["moment"])
    result = np.zeros(len(spine))
    for by in sorted(set(known_by.values())):
        happened = _orders(coded["orders"], target, to_us(by))
        for moment in (m for m, known in known_by.items() if known == by):
            rows = np.flatnonzero(at == to_us(moment))
            marked = np.zeros(len(ids) + 1, bool)  # the last: who has no event at all, place -1
            marked[happened(to_us(moment), to_us(moment + target.horizon_days * DAY))] = True
            result[rows] = marked[customer[rows]]
    return 1.0 - result if target.label == "no_order" else result


def _orders(orders: pa.Table, target: Target, by: int) -> Happened:
    """Orders; none of those that came back in full by the horizon's end, if the target says so."""
    known = orders.filter(pc.less_equal(orders["known_at"], by))
    bought = known.filter(pc.is_null(known["ref"])).sort_by("at")
    at, customer = _ints(bought["at"]), _ints(bought["customer"])
    if target.returned:
        return lambda moment, until: customer[_window(at, moment, until)]
    amount = _minor_units(bought["amount"])
    back = known.filter(pc.is_valid(known["ref"])).sort_by("at")
    place = _places(back["ref"], bought["order_id"])
    of_one = place >= 0
    place, back_at = place[of_one], _ints(back["at"])[of_one]
    back_amount = _minor_units(back["amount"])[of_one]

    def kept(moment: int, until: int) -> Ints:
        window = _window(at, moment, until)
        first, size = window.start, window.stop - window.start
        by_end = place[: np.searchsorted(back_at, until, side="right")]
        money = back_amount[: len(by_end)]
        inside = (by_end >= first) & (by_end < window.stop)
        returned = np.zeros(size, np.int64)
        np.add.at(returned, by_end[inside] - first, money[inside])
        all_of_it = (returned < 0) & (amount[window] + returned <= 0)
        kept_by: Ints = customer[window][~all_of_it]
        return kept_by

    return kept


def _window(at: Ints, moment: int, until: int) -> slice:
    """Where, among ascending times, those lie with moment < at <= until."""
    first, end = np.searchsorted(at, [moment, until], side="right")
    return slice(int(first), int(end))


def _coded(table: pa.Table, ids: pa.Array) -> pa.Table:
    """The table with `customer`, a customer's place among ids, and its times as int64 in us."""
    table = table.append_column("customer", pa.array(_places(table["customer_id"], ids)))
    for name in ("at", "known_at"):
        table = table.set_column(table.column_names.index(name), name, pa.array(_us(table[name])))
    return table.drop_columns(["customer_id"])


def _places(values: pa.ChunkedArray, among: pa.Array | pa.ChunkedArray) -> Ints:
    """The place of each value among others, int64 [n]; -1 if it is not there."""
    among = among.combine_chunks() if isinstance(among, pa.ChunkedArray) else among
    return _ints(pc.fill_null(pc.index_in(values, among), -1))


def _us(times: pa.ChunkedArray) -> Ints:
    return _ints(times)


def _minor_units(money: pa.ChunkedArray) -> Ints:
    """Decimals as whole minor units."""
    return _ints(pc.multiply(money, 10**money.type.scale))


def _ints(values: pa.ChunkedArray) -> Ints:
    ints: Ints = values.cast(pa.int64()).to_numpy()
    return ints
