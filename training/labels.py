"""What came true: the label of each customer at each moment, from what was known of it in time.

A label of moment m looks at events with m < at <= m + horizon, as far as they were known by a moment that
is no earlier than its end: what arrived later cannot change it. Rows with a `ref` return or correct an
order; they are no orders.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.compute.builds import Build
from features.errors import NotEnoughData, UsageError
from features.log import Log
from features.moments import DAY, iso, to_us
from features.settings import Settings, clock
from training.happened import Tables, happened, ints, places
from training.targets import LABELS, Target

_COLUMNS = {  # that labels read, besides whose and when
    "orders": ("ref",),
    "order_lines": ("ref", "category"),
    "memberships": ("kind", "change"),
    "responses": ("kind",),
    "consents": ("purpose", "status"),
}
_OF_RETURNS = ("order_id", "amount")


def members(build: Build, target: Target, moment: datetime) -> pa.Table:
    """The population at a moment, from the snapshot, as serving sees it: customer_id, moment."""
    condition = target.population.members(build.features)
    names = [condition.feature] if condition else []
    snapshot = build.read(moment, ["customer_id", "moment", *names])
    if condition:
        snapshot = snapshot.filter(pa.array(condition.holds(snapshot[condition.feature].to_numpy())))
    return snapshot.select(["customer_id", "moment"])


def events(log: Log, target: Target) -> dict[str, pa.Table]:
    """The tables of the log that the target's labels are made of. LogError if it has none of them.

    Each has customer_id, at, known_at and the columns that the label reads; for `overdue` also `day`, the
    days since 1970-01-01 in the shop's zone.
    """
    tables = LABELS[target.label].tables
    more = () if target.returned else _OF_RETURNS
    found = {
        name: log.read(name, ["customer_id", "at", "known_at", *_COLUMNS[name], *more])
        for name in [name for name in tables if name in log.tables] or tables[:1]
    }
    if target.label == "overdue":
        return {name: with_days(table, str(log.shop["zone"])) for name, table in found.items()}
    return found


def with_days(table: pa.Table, zone: str) -> pa.Table:
    """The table with `day`: days since 1970-01-01 at its `at` in a zone, int32; the schema names the zone."""
    local = pc.local_timestamp(table["at"].cast(pa.timestamp("us", zone)))
    dated = table.append_column("day", local.cast(pa.date32()).cast(pa.int32()))
    return dated.replace_schema_metadata({"zone": zone})


def labels(
    tables: Tables, spine: pa.Table, target: Target, known_by: Mapping[datetime, datetime]
) -> NDArray[np.float64]:
    """The label of each row of the spine (customer_id, moment): 0 or 1, float64 [n].

    tables: what `events` gives. An event of moment m counts if m < at <= m + horizon, and if it was known by
    `known_by[m]`. NotEnoughData if that is before the horizon's end: the label is not mature.
    """
    horizon = target.horizon_days * DAY
    for moment, by in known_by.items():
        if moment + horizon > by:
            raise NotEnoughData(
                f"the label of {iso(moment)} is known at {iso(moment + horizon)}, not by {iso(by)}"
            )
    ids = _ids(tables.values())
    coded = {name: _coded(table, ids) for name, table in tables.items()}
    customer, at = places(spine["customer_id"], ids), ints(spine["moment"])
    result = np.zeros(len(spine))
    for by in sorted(set(known_by.values())):
        known = {
            name: table.filter(pc.less_equal(table["known_at"], to_us(by))) for name, table in coded.items()
        }
        to_whom = happened(known, target)
        for moment in (m for m, known_at in known_by.items() if known_at == by):
            marked = np.zeros(len(ids) + 1, bool)  # the last is of those without any event, place -1
            marked[to_whom(to_us(moment), to_us(moment + horizon))] = True
            rows = np.flatnonzero(at == to_us(moment))
            result[rows] = marked[customer[rows]]
    return 1.0 - result if target.label == "no_order" else result


def as_of_to_train(settings: Settings, log: Log) -> datetime:
    """The moment that was put, no later than the log is complete: labels of afterwards are nobody's; without
    one, as anywhere. UsageError for a moment that has not come."""
    put = settings.as_of
    if put is not None and put > clock() + DAY:  # a day: so far apart are the calendars of two zones
        raise UsageError(
            f"{iso(put)} has not come yet, so nothing is known as of then. The log is complete until "
            f"{iso(log.complete_until)}: name a moment by then (--as-of, PROPENSITY_AS_OF), or none"
        )
    return log.latest(settings)


def settled(log: Log, target: Target, until: datetime, known_by: datetime) -> datetime:
    """The earliest moment at which all was known that labels of horizons to `until` know by `known_by`: the
    labels, and who was contacted, are the same by either. LogError if the log cannot be read.
    """
    from pyarrow.dataset import dataset

    at, known_at = pc.field("at"), pc.field("known_at")
    late = (at <= pa.scalar(until)) & (known_at > pa.scalar(until)) & (known_at <= pa.scalar(known_by))
    tables = (*LABELS[target.label].tables, *(("contacts",) if target.adjusted else ()))
    last = [until]
    for name in (name for name in tables if name in log.tables):
        found = dataset(log.paths(name)).to_table(columns=["known_at"], filter=late)
        last += pc.unique(found["known_at"]).to_pylist()
    return max(last)


def _ids(tables: Iterable[pa.Table]) -> pa.Array:
    """Every customer of the tables, once."""
    chunks = [chunk for table in tables for chunk in table["customer_id"].chunks]
    return pc.unique(pa.chunked_array(chunks, pa.string()))


def _coded(table: pa.Table, ids: pa.Array) -> pa.Table:
    """The table by `at`, with `customer`, a place among ids, for customer_id; times in us, minor units."""
    columns: dict[str, object] = {name: table[name] for name in table.column_names}
    columns |= {"at": ints(table["at"]), "known_at": ints(table["known_at"])}
    columns["customer"] = places(columns.pop("customer_id"), ids)
    if "amount" in columns:
        amount = table["amount"]
        columns["amount"] = ints(pc.multiply(amount, 10**amount.type.scale))
    return pa.table(columns, metadata=table.schema.metadata).sort_by("at")
