"""A log that grows by a day must not cost a year again, nor leave a snapshot that is no longer true."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from logs import OF_LOG, write_log

from features import duck
from features.compute.builds import Build, first_difference
from features.compute.engine import build, missing
from features.files import write_atomically
from features.ingestion import digests
from features.log import Log
from features.moments import DAY, iso, parse_moment
from features.settings import Settings
from features.tables import TABLES

START = parse_moment("2017-03-01")
DAYS = [START + n * DAY for n in range(1, 15)]
Rows = dict[str, list[dict[str, Any]]]


def publish(settings: Settings, rows: Rows, until: datetime, name: str) -> Log:
    """Make these rows the home's log, as an ingestion would, complete until a moment."""
    folder = settings.home / "log" / name
    log = write_log(folder, rows)
    connection = duck.connect()
    files = {
        table: {path.stem: digests.of_file(connection, TABLES[table], path) for path in log.paths(table)}
        for table in log.tables
    }
    digests.write(folder / "digests.json", files)
    manifest = {
        "starts_at": iso(START),
        "complete_until": iso(until),
        "shop": OF_LOG,
        "files": log.files,
    }
    write_atomically(folder / "manifest.json", json.dumps(manifest).encode())
    write_atomically(settings.home / "log" / "CURRENT", name.encode())
    return Log.open(settings)


def rows_known_by(rows: Rows, moment: datetime) -> Rows:
    return {table: [row for row in events if row["known_at"] <= moment] for table, events in rows.items()}


def a_log(seed: int) -> Rows:
    """Two weeks of 40 customers, who come one after another; a fifth of the rows is known days later."""
    draw = random.Random(seed)
    rows: Rows = {"orders": [], "contacts": [], "calendar": []}
    for n in range(300):
        at = START + timedelta(seconds=draw.randrange(14 * 86_400))
        customer = f"{draw.randrange(1 + int((at - START) / DAY * 3)):03}"
        late = draw.choice([0, 0, 0, 0, draw.randrange(5 * 86_400)])
        row = {"customer_id": customer, "at": at, "known_at": at + timedelta(seconds=late)}
        if n % 4:
            money = {"amount": Decimal(draw.randrange(9999)) / 100, "discount": Decimal(0)}
            rows["orders"].append({**row, **money, "order_id": str(n), "channel": "store"})
        else:
            rows["contacts"].append({**row, "contact_id": str(n), "action": "a", "channel": "mail"})
    for n in range(4):
        at = START + n * 5 * DAY
        times = {"at": at, "known_at": at - 2 * DAY, "until": at + DAY}
        rows["calendar"].append({"event_id": str(n), "kind": "sale", "name": "x", **times})
    first: dict[str, datetime] = {}
    for event in (*rows["orders"], *rows["contacts"]):
        id = event["customer_id"]
        first[id] = min(first.get(id, event["known_at"]), event["known_at"])
    rows["customers"] = [{"customer_id": c, "at": k, "known_at": k} for c, k in first.items()]
    return rows


def bytes_of(built: Build) -> dict[datetime, bytes]:
    return {moment: built.path(moment).read_bytes() for moment in built.moments}


@pytest.mark.parametrize("seed", [1, 2])
def test_a_log_that_grows_day_by_day_gives_the_bytes_of_a_build_from_scratch(
    home: Settings, tmp_path: Path, seed: int
) -> None:
    rows = a_log(seed)
    for number, day in enumerate(DAYS):
        publish(home, rows_known_by(rows, day - timedelta(microseconds=1)), day, f"g{number}")
        grown, computed = build(home, DAYS[: number + 1])
        assert computed <= 2, "the new day, and the moment on which the new day begins"
    other = replace(home, home=tmp_path / "other")
    publish(other, rows_known_by(rows, DAYS[-1] - timedelta(microseconds=1)), DAYS[-1], "whole")
    scratch, computed = build(other, DAYS)
    assert computed == len(DAYS)
    assert bytes_of(grown) == bytes_of(scratch)


def test_a_row_that_was_known_in_the_past_has_the_snapshots_since_computed_again(home: Settings) -> None:
    """An identity merge or a mended reject rewrites what was known: old features would stay wrong."""
    rows = a_log(3)
    publish(home, rows, DAYS[-1], "before")
    before, _ = build(home, DAYS)
    corrected = {**rows, "orders": [*rows["orders"]]}
    place = next(i for i, row in enumerate(rows["orders"]) if DAYS[6] < row["known_at"] < DAYS[7])
    corrected["orders"][place] = {**rows["orders"][place], "amount": Decimal("99999.00")}
    publish(home, corrected, DAYS[-1], "after")
    assert missing(home, DAYS)[1] == DAYS[6:], "a dry run says the same"
    after, computed = build(home, DAYS)
    assert computed == len(DAYS[6:])
    changed = [day for day in DAYS if bytes_of(before)[day] != bytes_of(after)[day]]
    assert changed
    assert min(changed) >= DAYS[7], "nobody knew it before"


def test_a_table_of_the_calendar_that_changes_counts_as_any_other(home: Settings) -> None:
    rows = a_log(4)
    publish(home, rows, DAYS[-1], "before")
    build(home, DAYS)
    moved = [{**row, "until": row["until"] + DAY} for row in rows["calendar"]]
    publish(home, {**rows, "calendar": moved}, DAYS[-1], "after")
    assert missing(home, DAYS)[1] == DAYS


def test_what_no_feature_reads_changes_nothing(home: Settings) -> None:
    """Else a new product in the catalogue would cost a year of features."""
    rows = a_log(5)
    publish(home, {**rows, "products": [{"product_id": "1"}]}, DAYS[-1], "before")
    build(home, DAYS)
    publish(home, {**rows, "products": [{"product_id": "1"}, {"product_id": "2"}]}, DAYS[-1], "after")
    assert missing(home, DAYS)[1] == []


def test_a_taken_over_snapshot_outlives_the_build_that_it_is_from(home: Settings) -> None:
    rows = a_log(6)
    publish(home, rows_known_by(rows, DAYS[-2] - timedelta(microseconds=1)), DAYS[-2], "before")
    before, _ = build(home, DAYS[:-1])
    publish(home, rows, DAYS[-1], "after")
    after, _ = build(home, DAYS)
    expected = bytes_of(after)
    for path in before.folder.iterdir():
        path.unlink()
    assert bytes_of(Build.open(home, after.id)) == expected


def test_a_log_without_digests_may_differ_from_its_beginning() -> None:
    some = {"orders": {"2017-03-01": "a"}}
    assert first_difference({}, some) == datetime.min.replace(tzinfo=UTC)
    assert first_difference(some, some) is None
    assert first_difference(some, {"orders": {"2017-03-01": "a", "2017-03-02": "b"}}) == parse_moment(
        "2017-03-02"
    )
    assert first_difference(some, {**some, "contacts": {"2017-02-01": "b"}}) == parse_moment("2017-02-01")
