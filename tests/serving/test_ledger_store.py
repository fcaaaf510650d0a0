"""Where the ledger is written: workers at once, locks, full disks, damage, restarts, upgrades and kills."""

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from servers_postgres import PostgresServer
from test_ledger import NOW, REQUEST, entry, held, in_a_file, ledger, outcome, rows, settings, unlock, write  # noqa: F401

from features.errors import DecisionError
from features.moments import DAY, to_us
from features.settings import Settings
from serving.in_force import InForce
from serving.ledger import Ledger
from serving.ledger_reports import Delivery, Reported
from serving.ledger_store import PostgresStore, SqliteStore
from serving.sealing import Sealed

# ruff: noqa: F811 (fixtures of another module are arguments)

_COUNT = """import sqlite3, sys
print(*sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM decisions").fetchone())"""


def _rush(settings: Settings, name: str, barrier: Any, taken: Any) -> None:
    """A worker that opens the ledger and takes a contact whenever one of five seems free."""
    barrier.wait()
    with closing(Ledger(settings)) as ledger:
        for number in range(20):
            with ledger.deciding():
                if len(ledger.held("marie", NOW - DAY, NOW)) < 5:
                    one = entry(f"{name}-{number}")
                    ledger.append(one, REQUEST, held(one))
                    with taken.get_lock():
                        taken.value += 1


def test_workers_together_never_pass_the_cap(settings: Settings) -> None:
    """Two that count at the same time must not both take the last contact. They also create the ledger."""
    context = multiprocessing.get_context("spawn")
    taken = context.Value("i", 0)
    # A file is locked by processes; a server knows connections, and threads with one each are enough.
    of_file = settings.ledger == "sqlite"
    barrier = context.Barrier(4) if of_file else threading.Barrier(4)
    start: Any = context.Process if of_file else threading.Thread
    workers = [start(target=_rush, args=(settings, str(n), barrier, taken)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not of_file or [worker.exitcode for worker in workers] == [0] * 4
    assert taken.value == 5
    with closing(Ledger(settings)) as ledger:
        assert len(ledger.held("marie", NOW - DAY, NOW)) == 5
        assert ledger.damaged() == []


def test_a_lock_that_is_held_too_long_says_so(
    ledger: Ledger, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller must hear that he may ask again, and an operator where to look."""
    for module in ("serving.ledger", "serving.ledger_store"):
        monkeypatch.setattr(f"{module}.BUSY_SECONDS", 0.05)
    with closing(Ledger(settings)) as other, ledger.deciding():
        refused = pytest.raises(DecisionError, match=r"ledger.* could not be locked for 0.05 s")
        with refused, other.deciding():
            pytest.fail("two writers at once")


@in_a_file
def test_a_full_disk_is_said_and_nothing_is_half_decided(ledger: Ledger) -> None:
    """Else: the caller sees an internal error, and nobody looks at the disk."""
    write(ledger, entry())
    (pages,) = ledger._db.execute("PRAGMA page_count").fetchone()
    ledger._db.execute(f"PRAGMA max_page_count = {pages}")
    large = entry("d2", sealed=Sealed("marie", b"", b"x" * 1_000_000, b""))
    with pytest.raises(DecisionError, match="could not be written.*disk"):
        write(ledger, large)
    ledger._db.execute("PRAGMA max_page_count = 1000000")
    write(ledger, large)
    assert ledger.read("d2") == large


@in_a_file
def test_a_probe_leaves_the_file_to_whom_it_belongs(ledger: Ledger) -> None:
    """Else: the next program that reads the ledger and ends takes itself for the last, and deletes the log to
    which a service goes on writing: every decision after it is lost, and others do not see its caps."""
    write(ledger, entry())
    ledger.require_usable()
    for number in (1, 2):
        counted = subprocess.check_output([sys.executable, "-c", _COUNT, ledger.path], text=True)
        assert int(counted) == number
        write(ledger, entry(f"after-{number}"))
    assert Path(f"{ledger.path}-wal").exists()


@in_a_file
def test_a_damaged_file_is_said_at_every_door(settings: Settings) -> None:
    """Else: an internal error without a word of the backup, for every caller, until somebody looks."""
    with closing(Ledger(settings)) as ledger:
        write(ledger, entry(idempotency_key="k"))
        path = ledger.path
    with closing(sqlite3.connect(path)) as db:  # SQLite needs the pages before these to open the file
        pages = [root for (root,) in db.execute("SELECT rootpage FROM sqlite_master WHERE rootpage > 0")]
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        for page in pages:
            file.seek(4096 * (page - 1))
            file.write(b"\xff" * 4096)
    with closing(Ledger(settings)) as ledger:
        for ask in (
            lambda: ledger.stored_answer("tests", "k", REQUEST),
            lambda: ledger.held("marie", NOW - DAY, NOW),
            lambda: ledger.read("d1"),
            lambda: ledger.releases_named(),
            lambda: ledger.damaged(),
            lambda: ledger.erase(["marie"]),
            lambda: write(ledger, entry("d2")),
        ):
            with pytest.raises(DecisionError, match=r"ledger\.sqlite could not be .*restore its backup"):
                ask()
    path.write_bytes(b"not a database at all" * 1000)
    with pytest.raises(DecisionError, match="could not be opened"):
        Ledger(settings)


def test_a_server_that_was_restarted_is_asked_again(postgres: PostgresServer, tmp_path: Path) -> None:
    """Else every worker must be restarted after it. What was begun meanwhile is said to have failed."""
    url = postgres.new_database()
    with closing(Ledger(Settings(home=tmp_path, as_of=NOW, ledger=url))) as ledger:
        write(ledger, entry())
        postgres.cut(url.split("/")[-1].partition("?")[0])
        with pytest.raises(DecisionError, match=r"PostgreSQL database team_\d+ on .*PROPENSITY_LEDGER"):
            write(ledger, entry("d2"))
        write(ledger, entry("d2"))
        assert ledger.read("d2").action == "campaign_a"
        assert isinstance(ledger._db, PostgresStore)


@in_a_file
def test_a_ledger_of_the_first_schema_goes_on(settings: Settings, ledger: Ledger) -> None:
    """An update must not lose what was decided, nor take it for damaged, nor forget until when it counts."""
    old = entry(scenario=None, cost=None, window_end=None, matures_at=None, context=b'{"horizon_days":28}')
    write(ledger, old, *(msgspec.structs.replace(old, id=id) for id in ("sent", "held")))
    for table in ("deliveries", "outcomes", "reservations", "spending", "pauses", "fairness"):
        rows(settings, f"DROP TABLE {table}")
    rows(settings, "DROP INDEX decisions_following")
    for column in ("scenario", "cost", "window_end", "matures_at", "unit", "follows"):
        rows(settings, f"ALTER TABLE decisions DROP COLUMN {column}")
    rows(settings, "CREATE TABLE deliveries (decision_id TEXT, status TEXT, at INTEGER, blocked_by TEXT)")
    rows(settings, "CREATE INDEX deliveries_by_decision ON deliveries (decision_id)")
    rows(settings, "CREATE TABLE outcomes (decision_id TEXT, type TEXT, value REAL, at INTEGER, "
                   "window_end INTEGER, matured INTEGER)")  # fmt: skip
    for id, status in (("d1", "blocked"), ("sent", "sent")):
        rows(settings, f"INSERT INTO deliveries VALUES ('{id}', '{status}', {to_us(NOW)}, NULL)")
    rows(settings, "PRAGMA user_version = 1")
    with closing(Ledger(settings)) as again:
        assert again.read("d1") == old
        assert again.damaged() == []
        assert [one.at for one in again.held("marie", NOW - DAY, NOW + 999 * DAY)] == [NOW, NOW]
        (found,) = again.report([outcome("1", at=NOW + 28 * DAY)], NOW + 28 * DAY)
        assert found == Reported("accepted", "after_window", NOW + 28 * DAY, NOW + 35 * DAY)
        write(again, entry("d2"))
    with closing(Ledger(settings)) as twice:
        assert twice.read("d2") == entry("d2")


@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_a_ledger_of_an_older_schema_goes_on(settings: Settings, ledger: Ledger, version: int) -> None:
    """On either store: an update must not lose or doubt what was decided, nor count a report twice."""
    write(ledger, entry("d1"), entry("d2"))
    told = Delivery(source="s", id="1", decision_id="d1", status="sent", at=NOW)
    ledger.report([told], NOW)
    ledger._db.execute("DROP INDEX decisions_following")
    ledger._db.execute("ALTER TABLE decisions DROP COLUMN follows")
    for table in ("fairness", "pauses")[: 2 if version < 4 else 5 - version]:
        ledger._db.execute(f"DROP TABLE {table}")
    for table, column in (("decisions", "unit"), ("deliveries", "step")) if version == 2 else ():
        ledger._db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    if settings.ledger == "sqlite":
        ledger._db.execute(f"PRAGMA user_version = {version}")
    else:
        ledger._db.execute(f"UPDATE version SET version = {version}")
    with closing(Ledger(settings)) as again:
        assert again.read("d1") == entry("d1")
        assert again.damaged() == []
        (repeat,) = again.report([told], NOW)
        assert (repeat.status, repeat.used) == ("duplicate", True)  # type: ignore[union-attr]
        assert [one.id for one in again.entries()] == ["d1", "d2"]
        assert InForce(again).read() == ({}, {})


@in_a_file
def test_with_power_every_answer_waits_for_the_disk_and_shares_the_wait(settings: Settings) -> None:
    """Else a power cut takes back what a sender was told; and each would wait for all before it."""
    with closing(Ledger(replace(settings, durability="power"))) as ledger:
        assert isinstance(ledger._db, SqliteStore)
        group = ledger._db._group
        assert group is not None
        write(ledger, entry("alone"))
        assert group.syncs == 1
        with ThreadPoolExecutor(8) as pool, group._flush:  # the disk is busy
            told = [pool.submit(write, ledger, entry(f"d{i}")) for i in range(8)]
            while group._asked < 9:
                time.sleep(0.001)
            waiting = not any(one.done() for one in told)
        assert waiting
        assert [one.result() for one in told] == [None] * 8
        assert group.syncs == 2


@in_a_file
def test_after_the_disk_did_not_confirm_a_write_nothing_is_acknowledged(settings: Settings) -> None:
    """Else the next fsync, which succeeds, vouches for what the system has forgotten; and a sender who is
    told that nothing was done decides anew."""
    read, unsyncable = os.pipe()
    with closing(Ledger(replace(settings, durability="power"))) as ledger:
        assert isinstance(ledger._db, SqliteStore)
        group = ledger._db._group
        assert group is not None
        write(ledger, entry("d1"))
        assert group._file is not None
        os.dup2(unsyncable, sound := group._file)
        for id in ("d2", "d3"):
            with pytest.raises(DecisionError, match="was written, and the disk did not say.*ask again under"):
                write(ledger, entry(id))
            with pytest.raises(DecisionError, match="the disk did not say"):
                ledger.require_usable()
            with Path(__file__).open() as file:  # the disk is well again
                os.dup2(file.fileno(), sound)
    for end in (read, unsyncable):
        os.close(end)
    with closing(Ledger(settings)) as again:
        assert [one.id for one in again.entries()] == ["d1", "d2", "d3"]
        write(again, entry("d4"))


_HURRY = """
import sys
from pathlib import Path
sys.path += [{tests!r}, {tests!r} + "/serving"]
from test_ledger import Ledger, Settings, entry, write
ledger = Ledger(Settings(home=Path({home!r}), durability={durability!r}))
for number in range(1_000_000):
    write(ledger, entry(f"d{{number}}", f"c{{number % 50}}"))
    print(number, flush=True)
"""


@pytest.mark.parametrize("durability", ["process", "power"])
def test_a_kill_at_full_speed_loses_nothing_that_was_acknowledged(tmp_path: Path, durability: str) -> None:
    """Else: a customer was told of a coupon of which the shop knows nothing."""
    tests = str(Path(__file__).parents[1])
    code = _HURRY.format(tests=tests, home=str(tmp_path), durability=durability)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        lines = [worker.stdout.readline() for _ in range(300)]
        worker.send_signal(signal.SIGKILL)
        lines += worker.stdout.read().splitlines(keepends=True)
    acknowledged = [int(line) for line in lines if line.endswith("\n")]
    assert len(acknowledged) >= 300
    with closing(Ledger(Settings(home=tmp_path))) as ledger:
        kept = [one.id for one in ledger.entries()]
        assert {f"d{number}" for number in acknowledged} <= set(kept)
        assert len(kept) <= len(acknowledged) + 1, "nothing is there that was never told, but for the last"
        assert ledger.damaged() == []
