"""The slow, obvious answer that the tests hold the engine to.

One customer, one moment, one feature at a time, over plain lists of events. It shares with the engine the
declarations and DuckDB's reading of a declaration's `where`; nothing of windows, money or gaps.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from statistics import median
from typing import Any

import duckdb

from features import duck
from features.definitions import CALENDAR, Feature
from features.log import Log
from features.shop import Shop
from features.tables import CORRECTED, PRECISION, TOTAL, hour_of

Event = dict[str, Any]


def compute(
    log: Log, shop: Shop, features: Mapping[str, Feature], moment: datetime
) -> dict[str, dict[str, float]]:
    """Customer -> feature -> value at the moment (NaN: null), of the customers known by then."""
    tables = {f.table for f in features.values() if f.table}
    with duck.connect() as connection:
        events = {table: _events(connection, log, shop, table, features) for table in tables}
    result = {}
    for row in log.read("customers").to_pylist():
        if row["known_at"] <= moment:
            mine = {
                t: [e for e in events[t] if t == "calendar" or e["customer_id"] == row["customer_id"]]
                for t in tables
            }
            result[row["customer_id"]] = one(mine, features, moment)
    return result


def one(
    events: Mapping[str, list[Event]], features: Mapping[str, Feature], moment: datetime
) -> dict[str, float]:
    """All features of one customer, whose events by table are given, the shop's calendar among them."""
    values: dict[str, float] = {}
    for name, feature in features.items():
        if feature.measure in CALENDAR:
            values[name] = calendar(feature, events["calendar"], moment)
        elif feature.table is not None:
            known = [
                e
                for e in events[feature.table]
                if max(e["at"], e["known_at"]) <= moment
                and (feature.window is None or e["at"] > moment - timedelta(days=feature.window))
            ]
            holds = [True if feature.where is None else e[feature.where] for e in known]
            values[name] = (
                math.nan
                if None in holds
                else measure(feature, [e for e, here in zip(known, holds, strict=True) if here], moment)
            )
    for name, feature in features.items():
        if feature.expression is not None:
            try:
                # The declaration has been checked to hold names, numbers and + - * / only.
                value = eval(feature.expression, {"__builtins__": {}, **_FUNCTIONS}, values)  # noqa: S307
            except ZeroDivisionError:
                value = math.nan
            values[name] = value
    return values


def _null_of_null(choose: Callable[..., float]) -> Callable[..., float]:
    return lambda a, b: math.nan if math.isnan(a) or math.isnan(b) else choose(a, b)


_FUNCTIONS = {"min": _null_of_null(min), "max": _null_of_null(max)}


def calendar(feature: Feature, events: list[Event], moment: datetime) -> float:
    """A measure of the calendar, which may lie ahead: what of it was known by the moment."""
    known = [e for e in events if e["known_at"] <= moment and (feature.where is None or e[feature.where])]
    match feature.measure:
        case "until_next":
            starts = [e["at"] for e in known if e["at"] > moment]
            return _days(min(starts) - moment) if starts else math.nan
        case "ahead":
            assert feature.window is not None
            return len([e for e in known if moment < e["at"] <= moment + timedelta(days=feature.window)])
        case "running":
            return len([e for e in known if e["at"] <= moment < e["until"]])
    raise AssertionError(feature.measure)


def coded(feature: Feature, event: Event) -> float | None:
    """A column's value as a number: of a vocabulary its code; None if it is null or not in it."""
    value = event[feature.column] if feature.column else None
    if feature.vocabulary is not None:
        return feature.vocabulary.index(value) if value in feature.vocabulary else None
    return None if value is None else float(value)


def measure(feature: Feature, events: list[Event], moment: datetime) -> float:
    """One measure over the events that count."""
    if feature.measure in ("mode", "last"):
        found = [
            (e["at"], max(e["at"], e["known_at"]), v) for e in events if (v := coded(feature, e)) is not None
        ]
        if not found:
            return math.nan
        if feature.measure == "last":
            return max(found)[2]
        times = Counter(value for _, _, value in found)
        return min(value for value, n in times.items() if n == max(times.values()))
    column = [e[feature.column] for e in events if e[feature.column] is not None] if feature.column else []
    days = sorted({e["day"] for e in events})
    gaps: list[int] = [(b - a).days for a, b in zip(days, days[1:], strict=False)]
    match feature.measure:
        case "count":
            return len(events)
        case "sum":
            return float(sum(column))
        case "max":
            return float(max(column)) if column else math.nan
        case "distinct":
            return len(set(column))
        case "days":
            return len(days)
        case "since_last":
            return _days(moment - max(e["at"] for e in events)) if events else math.nan
        case "since_first":
            return _days(moment - min(e["at"] for e in events)) if events else math.nan
    if not gaps:
        return math.nan
    n = len(gaps)
    match feature.measure:
        case "gap_median":
            return float(median(gaps))
        case "gap_mean":
            return float(sum(gaps) / n)
        case "gap_std":
            return math.sqrt(n * sum(g * g for g in gaps) - sum(gaps) ** 2) / n
        case "gap_max":
            return float(max(gaps))
    raise AssertionError(feature.measure)


def _days(time: timedelta) -> float:
    return time / timedelta(days=1)


def _events(
    connection: duckdb.DuckDBPyConnection,
    log: Log,
    shop: Shop,
    table: str,
    features: Mapping[str, Feature],
) -> list[Event]:
    """Rows of a table, each with its local `day` and the truth of every condition that a feature puts.

    None: not known, for it asks for the hour of a row of which only the day is known.
    """
    wheres = {f.where for f in features.values() if f.table == table and f.where}
    conditions = "".join(
        f""", coalesce({where}, CASE WHEN {"hour IS NOT NULL" if "hour" in where else "true"} THEN false END)
              AS "{where}" """
        for where in sorted(wheres)
    )
    connection.register("rows", log.read(table))
    relation = connection.sql(
        f"""SELECT *{conditions} FROM
            (SELECT *, {hour_of(table)} AS hour, isodow(local_at) AS weekday
             FROM (SELECT *, "at" AT TIME ZONE '{shop.zone.key}' AS local_at FROM rows))"""
    )
    events: list[Event] = relation.to_arrow_table().to_pylist()
    for event in events:
        day: date = event["at"].astimezone(shop.zone).date()
        event["day"] = day
        event["hour"] = None if event.get(PRECISION) else event["at"].astimezone(shop.zone).hour
        event["weekday"] = day.isoweekday()
        corrected = event.get(CORRECTED)
        event[TOTAL] = event.get("amount") if corrected is None else corrected
    return events
