"""A home of an older version: every command works on it, or says which command brings it up to date."""

import json
import shutil
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dirty import TILL, bring_in, run, write_shop

from features import online
from features.compute.engine import build
from features.files import sha256
from features.fresh import Overlay
from features.inbox import Arrival, Inbox
from features.ingestion import rejects
from features.log import Log
from features.online import OnlineRows
from features.settings import Settings
from features.tables import CORRECTED, PRECISION
from propensity.steps import take_inbox

# Of days without a time, and of times: today's log tells them apart.
DAYS = "".join(f"{n},c{n % 5},2024-0{1 + n // 28}-{1 + n % 28:02},5\n" for n in range(80))
TIMES = "".join(f"w{n},c{n % 7},2024-0{1 + n // 28}-{1 + n % 28:02} 10:30,7\n" for n in range(80))
WEB = TILL.replace("mapping.till", "mapping.web").replace("orders.csv", "web.csv").replace('"store"', '"web"')
OLDER = "older-none"  # the folder of a part that an older version wrote


def older(home: Path, columns: Iterable[str] = (PRECISION, CORRECTED)) -> None:
    """Make it a home of a version that had not these columns, nor read files as this one does."""
    for path in [*home.glob("log/*/*/*.parquet"), *home.glob("parts/*/*/*.parquet")]:
        rows = pq.read_table(path, partitioning=None)
        schema = pq.read_schema(path)
        kept = [name for name in schema.names if name not in columns]
        if kept != schema.names:
            bytes_before = rows.select(kept)
            path.unlink()  # shared by a hard link
            pq.write_table(bytes_before, path, row_group_size=1 << 17)
    for path in home.glob("parts/*/*/part.json"):
        facts = json.loads(path.read_text("utf-8"))
        facts["stamp"] = "older"
        for table, of in facts["files"].items():
            of["sha256"] = sha256(path.parent / f"{table}.parquet")
        path.write_text(json.dumps(facts), "utf-8")
        path.parent.rename(path.parent.with_name(OLDER))
    for path in home.glob("log/*/manifest.json"):
        facts = json.loads(path.read_text("utf-8"))
        for table, sources in facts["files"].items():
            for source, of in sources.items():
                of["sha256"] = sha256(path.parent / table / f"{source}.parquet")
        for of in facts["sources"].values():
            of |= {"stamp": "older", "part": OLDER}
        path.write_text(json.dumps(facts), "utf-8")


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    files = {"orders.csv": "no,who,day,paid\n" + DAYS, "web.csv": "no,who,day,paid\n" + TIMES}
    settings = write_shop(tmp_path, f"[mapping.till]\n{TILL}[mapping.web]\n{WEB}", files)
    bring_in(settings)
    return settings


@pytest.mark.parametrize(
    "command", [("check",), ("features", "build"), ("log", "describe"), ("rejects", "list")]
)
def test_a_command_works_on_a_log_that_lacks_a_column(home: Settings, command: tuple[str, ...]) -> None:
    """An upgrade on a Monday must not stand the week's campaigns still."""
    shutil.copytree(home.home, home.home.with_name("new"))
    before = run(replace(home, home=home.home.with_name("new")), *command)
    assert before.exit_code in (0, 3), before.output
    older(home.home)
    done = run(home, *command)
    assert done.exit_code == before.exit_code, done.output
    assert "Traceback" not in done.output


def test_ingesting_again_gives_what_a_new_home_has(home: Settings) -> None:
    """Else an older home stays older for ever, and its hours are those of midnight."""
    whole = {table: Log.open(home).read(table) for table in Log.open(home).tables}
    older(home.home)
    assert PRECISION not in pq.read_schema(Log.open(home).paths("orders")[0]).names
    done = run(home, "ingest")
    assert done.exit_code == 0, done.output
    assert {table: Log.open(home).read(table) for table in Log.open(home).tables} == whole


def test_ingesting_one_source_of_two_leaves_the_other_readable(home: Settings) -> None:
    older(home.home)
    done = run(home, "ingest", "web")
    assert done.exit_code == 0, done.output
    assert run(home, "features", "build").exit_code == 0
    assert run(home, "check").exit_code == 0


def test_a_correction_that_an_older_version_named_otherwise_still_mends_its_row(
    home: Settings, tmp_path: Path
) -> None:
    """Else what somebody corrected last year waits to be corrected again after every upgrade."""
    assert home.shop is not None
    wrong = "900,c1,2024-02-30,5\n901,c1,nothing,5\n"
    (home.shop / "orders.csv").write_text(f"no,who,day,paid\n{DAYS}{wrong}")
    bring_in(home)
    sheet = tmp_path / "rejects.csv"
    assert rejects.export(home, sheet) == 2
    sheet.write_text(sheet.read_text("utf-8").replace(",2024-02-30,", ",2024-02-29,", 1), "utf-8")
    rejects.take_in(home, sheet)
    (taken,) = home.home.glob("rejects/taken/*.parquet")
    rows = pq.read_table(taken)
    named = pa.array([f"{id}, as it was" for id in rows["reject"].to_pylist()])
    pq.write_table(rows.set_column(rows.column_names.index("reject"), "reject", named), taken)
    older(home.home)
    done = run(home, "ingest")
    assert done.exit_code == 0, done.output
    assert [(of.rows, of.mended) for of in rejects.reasons(home)] == [(2, 1)]
    held = [row["order_id"] for row in Log.open(home).read("orders").to_pylist()]
    assert (held.count("900"), held.count("901")) == (1, 0)
    assert rejects.export(home, tmp_path / "again.csv") == 1
    (home.shop / "orders.csv").write_text(f"no,who,day,paid\n{DAYS}{wrong.replace('30,5', '31,6')}")
    bring_in(home)
    assert [(of.rows, of.mended) for of in rejects.reasons(home)] == [(2, 0)], "another row in its place"


def test_fresh_events_are_computed_on_a_log_that_lacks_a_column(home: Settings) -> None:
    """An overlay that fails leaves a complaint of this morning unread until somebody ingests again."""
    older(home.home)
    made, _ = build(home, [Log.open(home).complete_until])
    online.publish(home, made, made.moments[-1])
    now = replace(home, as_of=made.moments[-1] + timedelta(hours=1))
    row = {"order_id": "f1", "channel": "web", "amount": "5.00", "discount": "0.00"}
    with closing(Inbox(now)) as inbox:
        inbox.accept([Arrival("web", "f1", b"d", "c1", now.now(), [("orders", row)])], now.now())
    before = OnlineRows.open(now).read(OnlineRows.open(now).current(), ["c1"]).matrix.copy()
    assert Overlay(now).step() == 1
    after = OnlineRows.open(now).read(OnlineRows.open(now).current(), ["c1"]).matrix
    assert (before != after).any()
    take_inbox(now)
    assert "f1" in Log.open(now).read("orders")["order_id"].to_pylist()


SPARK = {"PROPENSITY_ENGINE": "spark", "PROPENSITY_SPARK_MASTER": "local[1]"}


@pytest.mark.parametrize("command", [("build",), ("build", "--dry-run"), ("backfill", "orders_30d")])
def test_a_cluster_that_cannot_read_an_older_log_is_told_what_to_run(
    home: Settings, command: tuple[str, ...]
) -> None:
    """Else: two screens of Java, and nobody knows that a command of a minute would do."""
    older(home.home)
    done = run(home, "features", *command, **SPARK)
    assert done.exit_code == 1, done.output
    said = " ".join(done.output.split())
    assert "orders: precision, corrected" in said
    assert "run `propensity ingest` first" in said
    assert run(home, "ingest", "web").exit_code == 0, "one source: the others' files are written anew as well"
    assert Log.open(home).lacking() == {}
