"""The ledger: what was decided stays as it was, once, for every worker; and nobody is in it after erasure."""

import multiprocessing
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from features.errors import CustomerErased, DecisionError, IdempotencyConflict
from features.moments import DAY, parse_moment
from features.settings import Settings
from features.tombstones import Tombstones
from serving.api import problem_of
from serving.ledger import Entry, Ledger, Sealed
from serving.ledger_file import append_only
from serving.reservations import Reservation

NOW = parse_moment("2017-12-31")
REQUEST = b'{"customer":"marie"}'


def entry(id: str = "d1", customer: str = "marie", as_of: datetime = NOW, **changes: Any) -> Entry:
    whole = Entry(
        id=id,
        client="tests",
        idempotency_key=None,
        as_of=as_of,
        action="campaign_a",
        channel="mail",
        propensity=0.9625,
        explored=False,
        holdout=False,
        reserves=True,
        policy="2017-01-01",
        context=b'{"rules":1}',
        features=b'{"tenure":"abc"}',
        build="build@moment",
        releases=(("churn_28d", "7"),),
        seed=2**63 - 1,
        sealed=Sealed(customer, b"\x00\x00\x80\x3f", b'{"inputs":1}', b'{"customer_id":"marie"}'),
    )
    return msgspec.structs.replace(whole, **changes)


def write(ledger: Ledger, *entries: Entry, request: bytes = REQUEST) -> None:
    with ledger.deciding():
        for one in entries:
            ledger.append(one, request, held(one) if one.reserves else None)


def held(one: Entry) -> Reservation:
    """What a decision of these tests reserves: its contact, for ever."""
    return Reservation(one.as_of, None, one.as_of.date(), "", 0.5)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, as_of=NOW)


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    with closing(Ledger(settings)) as opened:
        yield opened


def tamper(ledger: Ledger, statement: str) -> None:
    """What somebody with the file could do."""
    with closing(sqlite3.connect(ledger.path)) as db, db:
        db.execute(statement)


def test_a_decision_is_read_back_as_it_was_written(settings: Settings, ledger: Ledger) -> None:
    """Also by another process, which opens the ledger anew."""
    written = entry(idempotency_key="k")
    write(ledger, written, entry("d2", "paul", channel=None, action="nothing", reserves=False, releases=()))
    assert ledger.read("d1") == written
    with closing(Ledger(settings)) as again:
        assert again.read("d1") == written
        assert again.read("d2").channel is None
    with pytest.raises(DecisionError, match="no such decision"):
        ledger.read("d3")


@pytest.mark.parametrize("table", ["decisions", "deliveries", "outcomes", "contexts"])
def test_what_is_written_cannot_be_changed_or_deleted(ledger: Ledger, table: str) -> None:
    """A ledger that can be corrected afterwards proves nothing."""
    write(ledger, entry())
    ledger.deliver("d1", "sent", NOW)
    ledger.outcome("d1", "order", 12.5, NOW, NOW + 28 * DAY, matured=False)
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET rowid = 99"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            tamper(ledger, statement)


def test_a_changed_record_is_noticed(ledger: Ledger) -> None:
    """A bad disk, or a hand that drops the trigger first, must not pass as a decision of ours."""
    write(ledger, entry(), entry("d2"))
    assert ledger.damaged() == []
    tamper(ledger, "DROP TRIGGER decisions_no_UPDATE")
    tamper(ledger, "UPDATE decisions SET propensity = 0.5 WHERE id = 'd1'")
    assert ledger.damaged() == ["d1"]
    with pytest.raises(DecisionError, match="damaged"):
        ledger.read("d1")
    assert ledger.read("d2").propensity == 0.9625


def test_an_idempotency_key_gives_its_own_answer_and_refuses_another_request(ledger: Ledger) -> None:
    """A retry after a timeout must not send twice, nor answer about somebody else."""
    assert ledger.stored_answer("tests", "k", REQUEST) is None
    write(ledger, entry(idempotency_key="k"))
    assert ledger.stored_answer("tests", "k", REQUEST) == b'{"customer_id":"marie"}'
    assert ledger.stored_answer("another client", "k", REQUEST) is None
    with pytest.raises(IdempotencyConflict, match="another request"):
        ledger.stored_answer("tests", "k", b'{"customer":"paul"}')
    with pytest.raises(DecisionError, match="UNIQUE"):
        write(ledger, entry("d2", idempotency_key="k"))
    write(ledger, entry("d3"), entry("d4"))  # without a key nothing is the same


def test_a_decision_that_fails_leaves_nothing_behind(ledger: Ledger) -> None:
    """Else a contact would be reserved that nobody was told of."""
    with pytest.raises(AttributeError):
        write(ledger, entry(), None)  # type: ignore[arg-type]
    with pytest.raises(DecisionError):
        ledger.read("d1")
    assert ledger.held("marie", NOW - 30 * DAY, NOW) == ()


def test_after_erasure_nothing_tells_who_it_was(ledger: Ledger) -> None:
    """The right to be forgotten: neither rows, nor free pages of the file, nor its write-ahead log."""
    write(ledger, entry(idempotency_key="marie's journey"), entry("d2", "paul", idempotency_key="k"))
    with closing(sqlite3.connect(ledger.path)) as db:
        (key,) = db.execute("SELECT key FROM pseudonyms WHERE customer_id = 'marie'").fetchone()
        (sealed,) = db.execute("SELECT sealed FROM decisions WHERE id = 'd1'").fetchone()

    def on_disk() -> bytes:
        return b"".join(path.read_bytes() for path in sorted(ledger.path.parent.iterdir()))

    assert key in on_disk()
    assert sealed in on_disk()
    assert b'"customer_id":"marie"' not in on_disk(), "what is sealed cannot be read even before"
    assert ledger.customers() == {"marie": 1, "paul": 1}
    ledger.erase(["marie", "nobody"])
    assert ledger.customers() == {"paul": 1}
    assert key not in on_disk()
    assert sealed not in on_disk()
    assert b"marie" not in on_disk()
    erased = ledger.read("d1")
    assert erased.sealed is None
    assert (erased.action, erased.propensity) == ("campaign_a", 0.9625)
    assert ledger.damaged() == []
    assert ledger.read("d2").sealed is not None
    with pytest.raises(CustomerErased, match="erased") as error:
        ledger.stored_answer("tests", "marie's journey", REQUEST)
    problem = problem_of(error.value, Settings())
    assert (problem.status, problem.code) == (410, "customer_erased"), "else its caller asks again for ever"
    assert ledger.stored_answer("tests", "another", REQUEST) is None
    assert ledger.stored_answer("tests", "k", REQUEST) == b'{"customer_id":"marie"}'
    ledger.erase(["marie"])
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        tamper(ledger, "UPDATE decisions SET propensity = 0.5")


def test_an_erasure_finishes_what_an_older_one_left(ledger: Ledger) -> None:
    """Version 0.1 deleted the key alone; a damaged record must not look whole for being erased."""
    write(ledger, entry(idempotency_key="marie's journey"), entry("d2"), entry("d3", "paul"))
    tamper(ledger, "DROP TRIGGER decisions_no_UPDATE")
    tamper(ledger, "UPDATE decisions SET propensity = 0.5 WHERE id = 'd2'")
    tamper(ledger, append_only("decisions", "UPDATE"))
    tamper(ledger, "DELETE FROM pseudonyms WHERE customer_id = 'marie'")
    ledger.erase([])
    with closing(sqlite3.connect(ledger.path)) as db:
        assert db.execute("SELECT length(sealed) FROM decisions WHERE id < 'd3'").fetchall() == [(0,), (0,)]
    assert b"marie" not in ledger.path.read_bytes()
    assert ledger.damaged() == ["d2"]


def test_who_was_erased_meanwhile_gets_no_decision(settings: Settings, ledger: Ledger) -> None:
    """A decision that began before an erasure must not write the customer's name again after it."""
    write(ledger, entry())
    Tombstones.of(settings).having(["marie"]).write()
    ledger.erase(["marie"])
    with pytest.raises(CustomerErased):
        write(ledger, entry("d2"))
    assert ledger.customers() == {}


def test_one_customer_has_one_pseudonym_and_two_have_two(ledger: Ledger) -> None:
    """Else her contacts would not add up, or two people would share a cap."""
    write(ledger, entry("d1"), entry("d2"), entry("d3", "paul"))
    with closing(sqlite3.connect(ledger.path)) as db:
        of = dict(db.execute("SELECT id, pseudonym FROM decisions"))
        assert db.execute("SELECT count(*) FROM contexts").fetchone() == (2,), (
            "said once, not once a decision"
        )
    assert of["d1"] == of["d2"] != of["d3"]


def test_releases_that_decisions_were_taken_with_are_named(ledger: Ledger) -> None:
    """Pruning one of them would make a decision impossible to replay."""
    write(
        ledger,
        entry("d1"),
        entry("d2", releases=(("churn_28d", "8"), ("repurchase_14d", "1"))),
        entry("d3", releases=()),
    )
    assert ledger.releases_named() == {("churn_28d", "7"), ("churn_28d", "8"), ("repurchase_14d", "1")}


def test_a_ledger_of_another_schema_is_refused(settings: Settings, ledger: Ledger) -> None:
    """Writing into it would lose columns that the other program wrote."""
    tamper(ledger, "PRAGMA user_version = 99")
    with pytest.raises(DecisionError, match="schema 99"):
        Ledger(settings)


def _rush(home: Path, cap: int, tries: int, barrier: Any, taken: Any) -> None:
    """A worker that opens the ledger and takes a contact whenever one seems free."""
    barrier.wait()
    with closing(Ledger(Settings(home=home, as_of=NOW))) as ledger:
        for number in range(tries):
            with ledger.deciding():
                if len(ledger.held("marie", NOW - DAY, NOW)) < cap:
                    id = f"{multiprocessing.current_process().name}-{number}"
                    ledger.append(entry(id), REQUEST, held(entry(id)))
                    with taken.get_lock():
                        taken.value += 1


def test_workers_together_never_pass_the_cap(tmp_path: Path, settings: Settings) -> None:
    """Two that count at the same time must not both take the last contact. They also create the ledger."""
    context = multiprocessing.get_context("spawn")
    barrier, taken = context.Barrier(4), context.Value("i", 0)
    workers = [context.Process(target=_rush, args=(tmp_path, 5, 20, barrier, taken)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert taken.value == 5
    with closing(Ledger(settings)) as ledger:
        assert len(ledger.held("marie", NOW - DAY, NOW)) == 5
        assert ledger.damaged() == []


def test_a_lock_that_is_held_too_long_says_so(
    ledger: Ledger, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller must hear that he may ask again, and an operator where to look."""
    monkeypatch.setattr("serving.ledger.BUSY_SECONDS", 0.05)
    with closing(Ledger(settings)) as other, ledger.deciding():
        refused = pytest.raises(DecisionError, match=r"ledger\.sqlite could not be locked")
        with refused, other.deciding():
            pytest.fail("two writers at once")


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


def test_a_damaged_file_is_said_at_every_door(settings: Settings) -> None:
    """Else: an internal error without a word of the backup, for every caller, until somebody looks."""
    with closing(Ledger(settings)) as ledger:
        write(ledger, entry(idempotency_key="k"))
        path = ledger.path
    size = path.stat().st_size
    with path.open("r+b") as file:  # all but the first page, which SQLite reads to open it
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
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
