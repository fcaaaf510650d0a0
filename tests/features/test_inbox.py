"""The inbox: what was accepted is never lost, never counted twice, and says when it was known."""

import json
import multiprocessing
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from disks import read_only, small_disk

from features.errors import LogError
from features.inbox import Arrival, Inbox
from features.moments import iso, parse_moment
from features.settings import Settings, clock
from features.tombstones import Tombstones

NOW = parse_moment("2017-12-31")
SOURCE = "web"


@pytest.fixture
def inbox(home: Settings) -> Iterator[Inbox]:
    with closing(Inbox(home)) as inbox:
        yield inbox


def visit(id: str, customer: str = "c1", digest: bytes = b"d", minutes: int = -60, **of: Any) -> Arrival:
    row = {"interaction_id": id, "kind": "visit", "channel": "web"} | of
    at = NOW + timedelta(minutes=minutes)
    return Arrival(SOURCE, id, digest, customer, at, [("interactions", row)])


def test_an_inbox_that_nothing_came_into_reads_as_empty(home: Settings, inbox: Inbox) -> None:
    """Most homes have none; a decision must not make one, nor fail for want of it."""
    assert (inbox.last(), inbox.customers(0), inbox.rows(["c1"])) == (0, {}, [])
    inbox.erase(["c1"])
    assert not inbox.path.exists()


def test_the_same_event_is_kept_once_and_another_under_its_id_is_told(inbox: Inbox) -> None:
    """A caller repeats what it had no answer to: that must not be a second visit."""
    assert inbox.accept([visit("1"), visit("2"), visit("1")], NOW) == [
        ("accepted", "c1"),
        ("accepted", "c1"),
        ("duplicate", "c1"),
    ]
    assert inbox.accept([visit("1"), visit("2", digest=b"other")], NOW) == [
        ("duplicate", "c1"),
        ("event_conflict", "c1"),
    ]
    assert [row.body["interaction_id"] for row in inbox.rows(["c1"])] == ["1", "2"]


def test_two_events_about_the_same_thing_must_say_the_same(inbox: Inbox) -> None:
    """Two rows with one key would be one in the log, and nobody could say which."""

    def case(id: str, kind: str) -> Arrival:
        row = {"case_id": "7", "change": "opened", "kind": kind}
        return Arrival(SOURCE, id, id.encode(), "c1", NOW, [("cases", row)])

    arrivals = [case("1", "complaint"), case("2", "complaint"), case("3", "question")]
    assert [outcome for outcome, _ in inbox.accept(arrivals, NOW)] == [
        "accepted",
        "duplicate",
        "event_conflict",
    ]
    assert [kept.body["kind"] for kept in inbox.rows(["c1"])] == ["complaint"]


def test_a_withdrawal_at_the_moment_of_a_grant_is_kept(inbox: Inbox) -> None:
    """A preference centre saves both within one second: refused, she would be contacted all the same."""

    def consent(id: str, status: str) -> Arrival:
        row = {"channel": "mail", "purpose": "marketing", "status": status}
        return Arrival(SOURCE, id, id.encode(), "c1", NOW, [("consents", row)])

    told = inbox.accept([consent("1", "granted"), consent("2", "withdrawn")], NOW)
    assert [outcome for outcome, _ in told] == ["accepted", "accepted"]


def test_a_row_is_known_when_it_came_and_a_clock_that_runs_ahead_is_set_back(inbox: Inbox) -> None:
    """Late events must not change what was known before, and no row is known before it happened."""
    inbox.accept([visit("late", minutes=-5000), visit("ahead", minutes=3)], NOW)
    late, ahead = inbox.rows(["c1"])
    assert (late.known_at, late.body["at"]) == (NOW, iso(NOW - timedelta(minutes=5000)))
    assert (ahead.known_at, ahead.body["at"]) == (NOW, iso(NOW))


def test_who_waits_is_asked_by_number_and_by_time(inbox: Inbox) -> None:
    inbox.accept([visit("1", "c1"), visit("2", "c2")], NOW)
    inbox.accept([visit("3", "c1")], NOW + timedelta(minutes=1))
    assert inbox.customers(0) == {"c1": 3, "c2": 2}
    assert inbox.customers(2) == {"c1": 3}
    assert inbox.customers(3, since=NOW) == {"c1": 3}
    assert inbox.customers(3, since=NOW + timedelta(minutes=1)) == {}


def test_what_is_told_of_any_of_a_persons_ids_is_hers(inbox: Inbox) -> None:
    """Else her withdrawal under the old card would not bind the customer that the log has made of both."""
    inbox.accept([visit("1", "old"), visit("2", "new"), visit("3", "other")], NOW)
    inbox.note_aliases({"old": "new"})
    assert inbox.customers(0) == {"new": 2, "other": 3}
    assert [(r.customer_id, r.body["customer_id"], r.number) for r in inbox.rows(["new"])] == [
        ("new", "new", 1),
        ("new", "new", 2),
    ]
    inbox.note_aliases({})
    assert [row.number for row in inbox.rows(["new"])] == [2]


def test_the_rows_as_ingestion_reads_them_are_the_same_bytes_again(inbox: Inbox) -> None:
    """Else a build would take the inbox in anew each time."""
    inbox.accept([visit("1"), visit("2", "c2")], NOW)
    folder, last = inbox.write_rows()
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert last == 2
    assert list(first) == ["interactions.jsonl"]
    assert [json.loads(line)["known_at"] for line in first["interactions.jsonl"].splitlines()] == [
        iso(NOW)
    ] * 2
    inbox.write_rows()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


def test_an_erased_customer_leaves_nothing_in_any_file(inbox: Inbox) -> None:
    """Neither the database's free pages nor its log may still name her."""
    inbox.accept([visit("1", "zoe-1987", product_id="zoes-shoes"), visit("2", "c2")], NOW)
    inbox.write_rows()
    assert inbox.people() == {"zoe-1987": 1, "c2": 1}
    inbox.erase(["zoe-1987"])
    left = b"".join(path.read_bytes() for path in inbox.folder.rglob("*") if path.is_file())
    assert b"zoe-" not in left  # four bytes each: three also come about by chance, in a checksum
    assert b"zoes" not in left
    assert len(inbox.rows(["c2"])) == 1
    assert inbox.accept([visit("2", "c2")], NOW) == [("duplicate", "c2")]
    inbox.erase([])
    assert len(inbox.rows(["c2"])) == 1


def test_what_ingestion_reads_of_an_erased_customer_goes_also_after_a_kill(inbox: Inbox) -> None:
    """The database was cleared, the files beside it were not: the next run must not take it for done."""
    inbox.accept([visit("1", "zoe-1987"), visit("2", "c2")], NOW)
    folder, _ = inbox.write_rows()
    files = {path: path.read_bytes() for path in folder.iterdir()}
    inbox.erase(["zoe-1987"])
    for path, body in files.items():
        path.write_bytes(body)
    inbox.erase(["zoe-1987"])
    assert b"zoe" not in b"".join(path.read_bytes() for path in folder.iterdir())


def test_a_disk_that_refuses_is_an_error_and_keeps_what_was(inbox: Inbox) -> None:
    """`accepted` is said of nothing that is not on the disk."""
    inbox.accept([visit("1")], NOW)
    with closing(sqlite3.connect(inbox.path)) as other:
        other.execute("CREATE TRIGGER full BEFORE INSERT ON rows BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with pytest.raises(LogError, match="nothing was changed"):
        inbox.accept([visit("2")], NOW)
    assert inbox.last() == 1


def test_a_file_that_was_deleted_is_made_anew_and_takes_what_comes(inbox: Inbox) -> None:
    """Else what is accepted from then on is in a file that nobody finds."""
    inbox.accept([visit("1")], NOW)
    for path in inbox.folder.glob("events.sqlite*"):
        path.unlink()
    assert inbox.accept([visit("2")], NOW)[0][0] == "accepted"
    with closing(sqlite3.connect(inbox.path)) as other:
        assert other.execute("SELECT id FROM events").fetchall() == [("2",)]


def test_a_disk_that_was_mended_is_written_again(tmp_path: Path) -> None:
    """Else a service that was started on a read-only disk refuses every event until it is started anew."""
    home = Settings(home=tmp_path / "disk")
    with small_disk(home.home, 8), closing(Inbox(home)) as before, closing(Inbox(home)) as other:
        before.accept([visit("1")], NOW)
        read_only(other.folder, True)
        with pytest.raises(LogError):
            other.accept([visit("2")], NOW)
        read_only(other.folder, False)
        assert other.accept([visit("2")], NOW)[0][0] == "accepted"


def test_what_came_while_the_file_was_opened_anew_is_a_change_too(home: Settings, inbox: Inbox) -> None:
    """Else an event of that moment is in no fresh row until the next event comes."""
    with closing(Inbox(home)) as other:
        other.accept([visit("0")], NOW)
        seen = set()
        for number in range(1, 4):
            seen.add(inbox.changes())
            assert inbox.changes() in seen, "nothing came"
            other.accept([visit(f"{number}")], NOW)
            inbox.close()  # as after an error
        assert len(seen) == 3


def _accept(home: Settings, worker: int, count: int) -> None:
    with closing(Inbox(home)) as inbox:
        for i in range(count):
            inbox.accept([visit(f"{worker}-{i}"), visit(f"both-{i}")], NOW)


def test_several_processes_write_and_nothing_is_lost_or_twice(home: Settings, inbox: Inbox) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_accept, args=(home, worker, 30)) for worker in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(300)
        assert worker.exitcode == 0
    assert len(inbox.rows(["c1"])) == 90
    assert inbox.customers(0) == {"c1": 90}


def test_what_waits_is_what_neither_the_publication_nor_an_overlay_has(inbox: Inbox) -> None:
    """An operator who is told 0 believes that every score knows of every event."""
    moment, never = NOW - timedelta(hours=1), NOW + timedelta(hours=1)

    def first(publication: str, taken: int = 0, since: datetime = moment, start: int = 0) -> int | None:
        found = inbox.waiting(publication, taken, since, start)
        return None if found is None else found[0]

    assert first("a") is None
    before = clock()
    inbox.accept([visit("1"), visit("2", "c2"), visit("3", "c9")], NOW)
    inbox.note_aliases({"c9": "c1"})
    assert first("a") == 1
    number, told_at = inbox.waiting("a", 0, moment) or (0, before)
    assert before - timedelta(seconds=1) < told_at <= clock(), "not by a clock that stands still"
    assert first("a", taken=3, since=never) is None, "the log has them, and had them by that moment"
    assert first("a", taken=3, since=moment) == 1, "the log has them, but what is published is of before"
    inbox.note_overlaid("a", {"c1": 1})
    assert first("a") == 2
    assert first("b") == 1, "an overlay row is of one publication"
    inbox.note_overlaid("a", {"c2": 2})
    assert first("a") == first("a", start=3) == 3
    inbox.note_overlaid("a", {"c1": 3})
    assert first("a") is None


def test_a_file_of_before_goes_on(home: Settings, inbox: Inbox) -> None:
    """A home that is a version old must take events as it did."""
    inbox.accept([visit("1")], NOW)
    inbox.close()
    with closing(sqlite3.connect(inbox.path)) as db:
        db.execute("ALTER TABLE events DROP COLUMN told_at")
        db.execute("DROP TABLE refused")
        db.execute("PRAGMA user_version = 1")
    assert inbox.waiting("a", 0, NOW - timedelta(hours=1)) == (1, NOW)
    assert inbox.accept([visit("2")], NOW) == [("accepted", "c1")]
    with closing(Inbox(home)) as other:
        assert other.last() == 2


def test_who_was_erased_while_fresh_rows_were_written_is_not_noted_again(
    home: Settings, inbox: Inbox
) -> None:
    """Else the process that keeps rows fresh writes the id of somebody who has just been removed."""
    inbox.accept([visit("1", "zoe-zmbq"), visit("2", "c2")], NOW)
    Tombstones.of(home).having(["zoe-zmbq", "old-zmbq"]).write()
    inbox.erase(["zoe-zmbq"])
    inbox.note_overlaid("build", {"zoe-zmbq": 1, "c2": 2})
    inbox.note_aliases({"zoe-zmbq": "zoe-two", "old-zmbq": "zoe-two", "c3": "c2", "c4": "zoe-zmbq"})
    assert inbox.overlaid("c2") == ("build", 2)
    assert inbox.overlaid("zoe-zmbq") == ("", 0)
    inbox.close()
    assert b"zmbq" not in inbox.path.read_bytes()
