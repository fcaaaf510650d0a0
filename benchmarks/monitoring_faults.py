"""Twenty faults as shops have them, planted one by one in a simulated shop: does the monitoring name each?

A fault of a source is planted in the raw files of the last days, and goes the whole way: ingested, built,
published, judged. A fault of the pipeline is planted in the snapshot before it is published.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import monitoring
from benchmarks.monitoring_shop import NAME, features_of, released, simulated
from features import online
from features.compute import engine
from features.compute.builds import Build
from features.ingestion.ingest import ingest
from features.log import Log
from features.moments import DAY
from features.settings import Settings

CUSTOMERS, DAYS, FEATURES, SEED = 20_000, 607, 60, 7  # it ends in a quiet week, just after a campaign
LAST_DAYS = 2  # that a fault of a source has lasted
CAMPAIGN = 20  # days with the last campaign in them: contacts are sent on its days alone
Change = Callable[[pa.Table, np.ndarray], pa.Table]  # a raw table, and which of its rows are of the last days


@dataclass(frozen=True)
class Fault:
    """table, change: of the raw files. snapshot: of the published rows. later: days for which nothing came.

    named: checks of which one must speak, and text that its words or cause must hold.
    """

    name: str
    named: tuple[str, ...]
    text: str = ""
    table: str = ""
    change: Change | None = None
    days: int = LAST_DAYS
    snapshot: Callable[[pa.Table], pa.Table] | None = None
    later: int = 0


def times(column: str, factor: float, share: float = 1.0) -> Change:
    """The column of a share of the rows, times a factor."""

    def change(rows: pa.Table, last: np.ndarray) -> pa.Table:
        chosen = last & (np.random.default_rng(1).random(len(rows)) < share)
        values = np.array([float(value) for value in rows[column].to_pylist()])
        return _with(rows, column, np.where(chosen, np.round(values * factor, 2), values).astype(object))

    return change


def becomes(column: str, of: Callable[[str | None], str | None]) -> Change:
    """Every value of the column, otherwise."""

    def change(rows: pa.Table, last: np.ndarray) -> pa.Table:
        values = rows[column].to_pylist()
        return _with(rows, column, [of(v) if now else v for v, now in zip(values, last, strict=True)])

    return change


def lost(share: float = 1.0, **where: str) -> Change:
    """A share of the rows never arrives: of those of which a column is a value, or of all."""

    def change(rows: pa.Table, last: np.ndarray) -> pa.Table:
        gone = last & (np.random.default_rng(1).random(len(rows)) < share)
        for column, value in where.items():
            gone &= np.array([one == value for one in rows[column].to_pylist()])
        return rows.filter(pa.array(~gone))

    return change


def twice(id: str) -> Change:
    """The rows came again, under other ids."""

    def change(rows: pa.Table, last: np.ndarray) -> pa.Table:
        again = rows.filter(pa.array(last))
        return pa.concat_tables([rows, _with(again, id, [f"{one}-2" for one in again[id].to_pylist()])])

    return change


def hours(shift: int) -> Change:
    """Local times taken for UTC, or the other way round."""

    def change(rows: pa.Table, last: np.ndarray) -> pa.Table:
        moved = rows
        for column in ("at", "known_at"):
            values = rows[column].cast(pa.int64()).to_numpy()
            shifted = pa.array(np.where(last, values + shift * 3_600_000_000, values))
            moved = _with(
                moved, column, shifted.cast(pa.timestamp("us")).cast(rows.schema.field(column).type)
            )
        return moved

    return change


def one_column(name: str, of: Callable[[np.ndarray], np.ndarray]) -> Callable[[pa.Table], pa.Table]:
    """A feature of the snapshot, otherwise."""
    return lambda rows: _with(rows, name, of(rows[name].to_numpy()).astype(np.float32))


def wrong_join(rows: pa.Table) -> pa.Table:
    """Every other feature is another customer's."""
    mixed = np.random.default_rng(1).permutation(len(rows))
    for name in rows.column_names[3::2]:
        rows = _with(rows, name, rows[name].take(pa.array(mixed)))
    return rows


def half(rows: pa.Table) -> pa.Table:
    """Every other customer is missing."""
    return rows.take(pa.array(np.arange(0, len(rows), 2)))


FAULTS: tuple[Fault, ...] = (
    Fault("amounts in cents", ("fields",), "amount", "orders", times("amount", 100)),
    Fault("a tenth of the amounts in cents", ("fields",), "amount", "orders", times("amount", 100, 0.2)),
    Fault("every amount is 1", ("fields",), "amount", "orders", becomes("amount", lambda _: "1.00")),
    Fault("amounts negative", ("received", "fields"), "order", "orders", times("amount", -1)),
    Fault("categories empty", ("fields",), "category", "interactions", becomes("category", lambda _: None)),
    Fault("a channel renamed", ("fields",), "channel", "orders", becomes("channel", lambda v: f"{v}2")),
    Fault("times 8 hours off", ("fields",), "midnight", "interactions", hours(-8)),
    Fault("two days came twice", ("received",), "order", "orders", twice("order_id")),
    Fault("contacts came twice", ("received",), "contact", "contacts", twice("contact_id"), CAMPAIGN),
    Fault("visits missing", ("received",), "visit", "interactions", lost()),
    Fault("a channel's visits missing", ("fields", "received"), "visit", "interactions", lost(channel="app")),
    Fault("half of the orders missing", ("received",), "order", "orders", lost(0.6)),
    Fault("a channel's orders missing", ("fields", "received"), "order", "orders", lost(channel="store")),
    Fault("ids of another system", ("received",), "order", "orders", becomes("customer_id", "X{}".format)),
    Fault("discounts not sent along", ("fields",), "discount", "orders", times("discount", 0)),
    Fault("no new data for 3 days", ("freshness",), later=3),
    Fault("rows of other customers", ("joint",), snapshot=wrong_join),
    Fault("a feature empty", ("nulls",), snapshot=one_column("overdue", lambda v: np.full_like(v, np.nan))),
    Fault("a feature in another unit", ("features",), snapshot=one_column("overdue", lambda v: v * 24)),
    Fault("half of the customers missing", ("population",), snapshot=half),
)


def found(faults: tuple[Fault, ...] = FAULTS) -> Iterator[tuple[Fault, bool, str]]:
    """Each fault, whether it was named, and what the monitoring said; a run that crashes is not named."""
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch)
        settings, moment = shop(whole)
        for number, fault in enumerate(faults):
            copy = whole / f"fault-{number}"
            shutil.copytree(settings.home, copy / "home")
            shutil.copytree(whole / "shop", copy / "shop", ignore=shutil.ignore_patterns("truth"))
            here = Settings(home=copy / "home", shop=copy / "shop", as_of=settings.as_of)
            try:
                named, said = tried(here, fault, moment)
            except Exception as error:  # whatever it is, it is what a fault must not do
                named, said = False, f"{type(error).__name__}: {error}"
            shutil.rmtree(copy)
            yield fault, named, said


def shop(folder: Path) -> tuple[Settings, datetime]:
    """A shop that was watched all along, and in which nothing is wrong; and its last moment."""
    settings = simulated(folder, SEED, CUSTOMERS, DAYS)
    log = Log.open(settings)
    features = features_of(settings, FEATURES)
    released(settings, folder, features, log.starts_at + 120 * DAY, log.complete_until - 60 * DAY)
    moment = log.complete_until
    settings = replace(settings, as_of=moment - DAY)
    online.publish(settings, engine.build(settings, [moment - DAY])[0], moment - DAY)
    monitoring.run(settings, html=False, keep=False)
    return replace(settings, as_of=moment), moment


def tried(settings: Settings, fault: Fault, moment: datetime) -> tuple[bool, str]:
    """Plant it, go the whole way, and see what is said."""
    if fault.change is not None:
        assert settings.shop is not None
        _plant(Path(settings.shop), fault, moment)
        ingest(settings)
    build, _ = engine.build(settings, [moment])
    if fault.snapshot is not None:
        _replant(build, moment, fault.snapshot)
    online.publish(settings, build, moment)
    now = replace(settings, as_of=moment + fault.later * DAY)
    verdict = monitoring.run(now, html=False, keep=False)
    loud = [finding for finding in verdict.findings if finding.status != "ok"]
    said = "; ".join(f"{f.subject} {f.check}: {f.words.en}" for f in loud)
    named = any(
        f.check in fault.named and fault.text in f"{f.words.en} {f.cause.en if f.cause else ''}" for f in loud
    )
    return named, said


def _plant(folder: Path, fault: Fault, moment: datetime) -> None:
    assert fault.change is not None
    for path in sorted((folder / f"{fault.table}.parquet").glob("*.parquet")):
        rows = pq.read_table(path, partitioning=None)
        since = pa.scalar(moment - fault.days * DAY, pa.timestamp("us", "UTC"))
        at = rows["at"].cast(pa.timestamp("us", "UTC"))
        pq.write_table(fault.change(rows, pc.greater_equal(at, since).to_numpy()), path)


def _replant(build: Build, moment: datetime, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(build.read(moment)), build.path(moment))
    build.write_manifest()


def _with(rows: pa.Table, column: str, values: object) -> pa.Table:
    field = rows.schema.field(column)
    made = values if isinstance(values, pa.Array | pa.ChunkedArray) else _array(values, field.type)
    return rows.set_column(rows.schema.get_field_index(column), field, made)


def _array(values: object, kind: pa.DataType) -> pa.Array:
    if pa.types.is_decimal(kind):
        return pa.array([f"{float(v):.2f}" for v in values], pa.string()).cast(kind)  # type: ignore[attr-defined]
    return pa.array(values, kind)


__all__ = ["FAULTS", "NAME", "Fault", "found", "shop", "tried"]
