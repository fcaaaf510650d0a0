"""Every measure over the tables that only some shops have, against the slow obvious answer."""

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from logs import write_log

from features.compute import kernel, reference
from features.compute.engine import compute
from features.compute.expressions import evaluate
from features.contracts import part_of
from features.definitions import Feature
from features.errors import FeatureError
from features.log import Log
from features.moments import from_us, offsets_of, parse_moment, to_us
from features.settings import Settings
from features.shop import Shop
from features.words import Words

SHOP = Shop.load(Settings().shop)
MOMENTS = [parse_moment(d) for d in ("2017-03-01", "2017-03-12T18:30:00Z", "2017-06-04")]
START = parse_moment("2017-01-01")
CUSTOMERS = ("1", "01", "b")
Rows = dict[str, list[dict[str, Any]]]


def declared(*rows: tuple[str, str, str | None, dict[str, Any]]) -> dict[str, Feature]:
    """Features of (measure, table, column, further entries), named by their place; and expressions."""
    return {
        f"f{n}": Feature(
            name=f"f{n}",
            words=Words("x", "x"),
            unit="days",
            measure=measure,  # type: ignore[arg-type]
            table=table,
            column=column,
            **more,
        )
        for n, (measure, table, column, more) in enumerate(rows)
    }


CHANNELS = ("store", "app", "it's mail")
FEATURES = declared(
    ("mode", "interactions", "channel", {"vocabulary": CHANNELS, "window": 30}),
    ("mode", "interactions", "channel", {"vocabulary": CHANNELS}),
    ("mode", "interactions", "hour", {"window": 90}),
    ("mode", "interactions", "weekday", {"where": "kind = 'view'"}),
    ("mode", "interactions", "seconds", {"window": 7}),
    ("last", "interactions", "channel", {"vocabulary": ("app", "store")}),
    ("last", "interactions", "seconds", {"window": 30, "where": "hour(local_at) >= 12"}),
    ("distinct", "interactions", "hour", {"window": 30}),
    ("distinct", "interactions", "category", {"window": 30}),
    ("sum", "interactions", "seconds", {"window": 7}),
    ("max", "interactions", "weekday", {"window": 7}),
    ("max", "interactions", "seconds", {}),
    ("days", "interactions", None, {"window": 30}),
    ("last", "orders", "amount", {}),
    ("mode", "orders", "amount", {"window": 90}),
    ("last", "surveys", "score", {"where": "kind = 'nps'"}),
    ("mode", "surveys", "score", {}),
    ("last", "scores", "value", {"where": "name = 'risk'"}),
    ("last", "scores", "value", {"window": 30}),
    ("mode", "scores", "value", {}),
    ("last", "scores", "label", {"vocabulary": ("gold", "silver")}),
    ("last", "consents", "status", {"vocabulary": ("withdrawn", "granted"), "where": "channel = 'app'"}),
    ("count", "memberships", None, {"where": "change = 'left'", "window": 90}),
    ("gap_median", "memberships", None, {}),
    ("since_last", "cases", None, {"where": "change = 'opened'"}),
    ("distinct", "tags", "tag", {"where": "origin = 'imported' and change = 'set'"}),
    ("until_next", "calendar", None, {}),
    ("until_next", "calendar", None, {"where": "kind = 'sale'"}),
    ("ahead", "calendar", None, {"window": 30}),
    ("running", "calendar", None, {"where": "kind = 'live'"}),
    ("running", "calendar", None, {}),
    ("count", "calendar", None, {"window": 7}),
    ("count", "calendar", None, {"where": "isodow(local_at) >= 6"}),
    ("since_last", "calendar", None, {}),
)
EXPRESSIONS = (
    "min(f0, f1)",
    "max(f24, 3)",
    "min(f9 / f12, 2)",
    "max(1 / f22, f23) - f0",
    "-min(f33, f26) * 2",
)
FEATURES |= {
    f"e{n}": Feature(
        name=f"e{n}", words=Words("x", "x"), unit="days", measure="expression", expression=expression
    )
    for n, expression in enumerate(EXPRESSIONS)
}


@st.composite
def logs(draw: st.DrawFn) -> Rows:
    """Random rows of every table that only some shops have; many at the same time, some known late."""
    names = (
        "interactions",
        "orders",
        "surveys",
        "scores",
        "consents",
        "memberships",
        "cases",
        "tags",
        "calendar",
    )
    rows: Rows = {name: [] for name in names}
    far = st.integers(0, 200 * 24).map(lambda h: START + timedelta(hours=h))
    edges = [
        m + timedelta(days=d, microseconds=u) for m in MOMENTS for d in (-30, -7, 0, 30) for u in (-1, 0, 1)
    ]
    late = st.sampled_from([0, 0, 1, 7, 40]).map(lambda d: timedelta(days=d))
    for n in range(draw(st.integers(1, 30))):
        table = draw(st.sampled_from(names))
        at: datetime = draw(st.one_of(far, st.sampled_from(edges)))
        kinds = {
            "interactions": ("view", "live"),
            "surveys": ("nps",),
            "calendar": ("sale", "live", "holiday"),
        }
        changes = {"memberships": ("joined", "left"), "cases": ("opened", "closed"), "tags": ("set",)}
        rows[table].append(
            {
                **{
                    f"{name}_id": str(n)
                    for name in ("interaction", "order", "survey", "case", "event", "place")
                },
                "customer_id": draw(st.sampled_from(CUSTOMERS)),
                "at": at,
                "known_at": at + draw(late) - (timedelta(days=60) if table == "calendar" else timedelta(0)),
                "until": at + timedelta(days=draw(st.integers(0, 9))),
                "kind": draw(st.sampled_from(kinds.get(table, ("group",)))),
                "change": draw(st.sampled_from(changes.get(table, ("set",)))),
                "channel": draw(st.sampled_from([*CHANNELS, "unheard of"])),
                "category": draw(st.sampled_from([None, "c1", "c2"])),
                "seconds": draw(st.sampled_from([None, 0, 5, 70])),
                "amount": Decimal(draw(st.integers(0, 300))) / 100,
                "discount": Decimal(0),
                "score": draw(st.integers(0, 3)),
                "name": draw(st.sampled_from(["risk", "tier"])),
                "value": draw(st.sampled_from([None, 0.1, 0.25, -3.0])),
                "label": draw(st.sampled_from([None, "gold", "silver", "tin"])),
                "tag": draw(st.sampled_from(["a", "b"])),
                "origin": "imported",
                "purpose": "marketing",
                "status": draw(st.sampled_from(["granted", "withdrawn"])),
            }
        )
    rows["customers"] = [{"customer_id": c, "at": START, "known_at": START} for c in CUSTOMERS]
    return rows


def values(log: Log, moments: list[datetime], bucket: int = 50_000) -> dict[tuple[datetime, str, str], float]:
    return {
        (moment, row["customer_id"], name): row[name]
        for moment, table in compute(log, SHOP, FEATURES, moments, bucket=bucket)
        for row in table.to_pylist()
        for name in FEATURES
    }


def differing(a: dict[Any, float], b: dict[Any, float]) -> list[Any]:
    assert a.keys() == b.keys()
    return [key for key in a if not np.array_equal(np.float32(a[key]), np.float32(b[key]), equal_nan=True)]


contract = settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@contract
@given(logs())
def test_every_measure_equals_the_slow_obvious_answer(tmp_path_factory: Any, rows: Rows) -> None:
    log = write_log(tmp_path_factory.mktemp("log"), rows, parts=2)
    slow = {
        (moment, id, name): value
        for moment in MOMENTS
        for id, named in reference.compute(log, SHOP, FEATURES, moment).items()
        for name, value in named.items()
    }
    assert differing(values(log, MOMENTS, bucket=2), slow) == []


@contract
@given(logs(), st.sampled_from(MOMENTS))
def test_nothing_known_later_changes_any_measure(tmp_path_factory: Any, rows: Rows, moment: datetime) -> None:
    """The calendar among them: what is announced later was not ahead."""
    log = write_log(tmp_path_factory.mktemp("log"), rows)
    then = part_of(log, tmp_path_factory.mktemp("then"), CUSTOMERS, moment)
    assert differing(values(log, [moment]), values(then, [moment])) == []


def test_a_zero_division_inside_min_is_null_not_the_other_number() -> None:
    known = {"a": np.array([1.0, 6.0]), "b": np.array([0.0, 2.0])}
    assert np.array_equal(evaluate("min(a / b, 4)", known), [math.nan, 3.0], equal_nan=True)


@pytest.mark.parametrize(
    ("measure", "table", "column"),
    [("sum", "scores", "value"), ("last", "contacts", "until"), ("max", "orders", "channel")],
)
def test_a_measure_of_a_column_that_has_no_such_thing_is_refused(
    tmp_path_factory: Any, measure: str, table: str, column: str
) -> None:
    """Else a sum of floating point numbers would depend on the order of rows."""
    known = {"customer_id": "1", "at": START, "known_at": START}
    log = write_log(tmp_path_factory.mktemp("log"), {table: [], "customers": [known]})
    features = declared((measure, table, column, {}))
    with pytest.raises(FeatureError, match=column):
        list(compute(log, SHOP, features, MOMENTS, bucket=1))


def test_no_moments_make_no_tables(tmp_path: Any) -> None:
    """Else the kernel would look for rows in a grid that has none."""
    rows = [{"customer_id": c, "at": START, "known_at": START} for c in CUSTOMERS]
    log = write_log(tmp_path, {"customers": rows, "contacts": rows})
    assert list(compute(log, SHOP, declared(("count", "contacts", None, {})), [])) == []


def test_rows_that_several_buckets_share_are_read_once(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a build would decode a fifth of a large log twice."""
    rows = [{"customer_id": c, "at": START, "known_at": START} for c in CUSTOMERS]
    log = write_log(tmp_path, {"customers": rows, "contacts": rows})
    reads: list[int] = []
    whole = pq.ParquetFile.read_row_groups

    def counted(*arguments: Any, **named: Any) -> Any:
        reads.append(1)
        return whole(*arguments, **named)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", counted)
    features = declared(("count", "contacts", None, {}))
    tables = [table for _, table in compute(log, SHOP, features, MOMENTS[:1], bucket=1)]
    assert [table["f0"].to_pylist() for table in tables] == [[1], [1], [1]]
    assert len(reads) == 1


def test_rows_that_cannot_be_read_end_every_bucket_that_waits_for_them(tmp_path: Any) -> None:
    """Else a build over a damaged file would hang for ever."""
    rows = [{"customer_id": c, "at": START, "known_at": START} for c in CUSTOMERS]
    log = write_log(tmp_path, {"customers": rows, "contacts": rows})
    (path,) = log.paths("contacts")
    whole = path.read_bytes()
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    path.write_bytes(b"\xff" * (len(whole) - footer) + whole[-footer:])
    with pytest.raises(OSError, match="deserialize"):
        list(compute(log, SHOP, declared(("count", "contacts", None, {})), MOMENTS[:1], bucket=1))


@given(
    st.sampled_from(["America/New_York", "Asia/Shanghai", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"]),
    st.lists(st.integers(504_921_600, 1_893_456_000), min_size=1, max_size=20),  # 1986 to 2029
)
def test_the_shops_clock_is_right_to_the_microsecond_around_its_changes(
    zone: str, seconds: list[int]
) -> None:
    """Else an evening order would fall on another day or hour for a part of the year."""
    clock = ZoneInfo(zone)
    moments = [from_us(second * 1_000_000) for second in seconds]
    starts, shifts = offsets_of(clock, to_us(min(moments)), to_us(max(moments)))
    edges = [from_us(start + d) for start in starts[1:] for d in (-1, 0)]
    at = np.array([to_us(m) for m in (*moments, *edges)], np.int64)
    local = kernel.shifted(at, starts, shifts)
    expected = [to_us(m.astimezone(clock).replace(tzinfo=UTC)) for m in (*moments, *edges)]
    assert local.tolist() == expected
