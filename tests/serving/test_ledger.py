"""The ledger: what was decided stays as it was, once, for every worker; and nobody is in it after erasure.

The same contract for the file of one host and for a PostgreSQL of several.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from features.errors import (
    CustomerErased,
    DecisionError,
    IdempotencyConflict,
    ReportConflict,
    UnknownDecision,
)
from features.moments import DAY, parse_moment
from features.settings import Settings
from features.tombstones import Tombstones
from serving.ledger import Entry, Ledger
from serving.ledger_reports import Delivery, Outcome, Reported, Uncounted
from serving.ledger_schema import append_only
from serving.problems import problem_of
from serving.reservations import Contact, Reservation
from serving.sealing import Sealed

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
        scenario="birthday",
        cost=0.25,
        window_end=as_of + 28 * DAY,
        matures_at=as_of + 35 * DAY,
    )
    return msgspec.structs.replace(whole, **changes)


def write(ledger: Ledger, *entries: Entry, request: bytes = REQUEST) -> None:
    with ledger.deciding():
        for one in entries:
            ledger.append(one, request, held(one) if one.reserves else None)


def held(one: Entry) -> Reservation:
    """What a decision of these tests reserves: its contact, for ever."""
    return Reservation(one.as_of, None, one.as_of.date(), "", 0.5)


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    place = request.param
    if place == "postgresql":
        place = request.getfixturevalue("postgres").new_database()
    return Settings(home=tmp_path, as_of=NOW, ledger=place)


in_a_file = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    with closing(Ledger(settings)) as opened:
        yield opened


def rows(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    """What somebody with the database could do."""
    if settings.ledger == "sqlite":
        with closing(sqlite3.connect(settings.home / "ledger" / "ledger.sqlite")) as db, db:
            return db.execute(statement).fetchall()
    with psycopg.connect(settings.ledger, options="-csearch_path=propensity_ledger") as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def unlock(settings: Settings) -> None:
    of = "decisions_no_UPDATE" if settings.ledger == "sqlite" else "append_only ON decisions"
    rows(settings, f"DROP TRIGGER {of}")


def delivery(status: Any, id: str = "1", decision: str = "d1", at: datetime = NOW, **more: Any) -> Delivery:
    return Delivery(source="sender", id=id, decision_id=decision, status=status, at=at, **more)


def outcome(id: str, type: Any = "order", value: float = 10.0, at: datetime = NOW, **more: Any) -> Outcome:
    whole = {"source": "shop", "decision_id": "d1", **more}
    return Outcome(id=id, type=type, value=value, at=at, **whole)


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
def test_what_is_written_cannot_be_changed_or_deleted(settings: Settings, ledger: Ledger, table: str) -> None:
    """A ledger that can be corrected afterwards proves nothing."""
    write(ledger, entry())
    ledger.report([delivery("sent"), outcome("1")], NOW)
    column = {"contexts": "hash", "decisions": "id"}.get(table, "number")
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = {column}"):
        with pytest.raises((sqlite3.IntegrityError, psycopg.Error), match="append-only"):
            rows(settings, statement)


def test_a_changed_record_is_noticed(settings: Settings, ledger: Ledger) -> None:
    """A bad disk, or a hand that drops the trigger first, must not pass as a decision of ours."""
    write(ledger, entry(), entry("d2"))
    assert ledger.damaged() == []
    unlock(settings)
    rows(settings, "UPDATE decisions SET propensity = 0.5 WHERE id = 'd1'")
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
    with pytest.raises(DecisionError, match=r"(?i)unique"):
        write(ledger, entry("d2", idempotency_key="k"))
    write(ledger, entry("d3"), entry("d4"))  # without a key nothing is the same


def test_a_decision_that_fails_leaves_nothing_behind(ledger: Ledger) -> None:
    """Else a contact would be reserved that nobody was told of."""
    with pytest.raises(AttributeError):
        write(ledger, entry(), None)  # type: ignore[arg-type]
    with pytest.raises(DecisionError):
        ledger.read("d1")
    assert ledger.held("marie", NOW - 30 * DAY, NOW) == ()


def test_reserved_contacts_are_counted_within_the_window(ledger: Ledger) -> None:
    """The window is open at its start, as the features' are; a backdated question sees later ones too."""
    second = timedelta(seconds=1)
    write(
        ledger,
        entry("old", as_of=NOW - 30 * DAY),
        entry("first", as_of=NOW - 30 * DAY + second),
        entry("later", as_of=NOW),
        entry("left alone", action="nothing", reserves=False),
        entry("of another", "paul"),
    )
    times = [NOW - 30 * DAY + second, NOW]
    assert [one.at for one in ledger.held("marie", NOW - 30 * DAY, NOW)] == times
    assert [one.at for one in ledger.held("marie", NOW - 60 * DAY, NOW)] == [NOW - 30 * DAY, *times]
    assert ledger.held("nobody", NOW - 30 * DAY, NOW) == ()
    for days in (0, 30, 60):
        everybody = ledger.held_by_all(NOW - days * DAY, NOW)
        assert everybody.get("marie", ()) == ledger.held("marie", NOW - days * DAY, NOW)


@pytest.mark.parametrize(("status", "left"), [
    ("sent", 1), ("delivered", 1), ("blocked", 0), ("cancelled", 0), ("expired", 0)
])  # fmt: skip
def test_a_contact_that_did_not_happen_is_given_back(ledger: Ledger, status: Any, left: int) -> None:
    """Else a campaign that the printer lost would keep the customer from every other."""
    write(ledger, entry())
    ledger.report([delivery(status, blocked_by="printer" if status == "blocked" else None)], NOW)
    assert len(ledger.held("marie", NOW - DAY, NOW)) == left
    late = [
        delivery("delivered", "3", at=NOW + 2 * DAY), delivery("expired", "2", at=NOW + 3 * DAY),
        delivery("cancelled", "6", at=NOW + 3 * DAY), delivery("blocked", "7", at=NOW + 3 * DAY),
        delivery("delivered", "3", at=NOW + 2 * DAY),
    ]  # fmt: skip
    sent, expired, cancelled, bounced, again = ledger.report(late, NOW + 3 * DAY)
    assert isinstance(sent, Reported)
    assert isinstance(expired, ReportConflict)
    assert "was told as sent before, and what was sent cannot be cancelled" in str(cancelled)
    assert isinstance(bounced, Reported)
    assert bounced.used, "the customer may have seen it, whoever says that it bounced"
    assert isinstance(again, Reported)
    assert again.status == "duplicate"
    contact = Contact(NOW + 2 * DAY, "mail", "campaign_a")
    assert ledger.held("marie", NOW - DAY, NOW) == (contact,), (
        "what was sent once stays sent, whatever is told afterwards"
    )
    write(ledger, entry("d0", action="nothing", channel=None, reserves=False))
    (nothing,) = ledger.report([delivery("sent", "5", "d0")], NOW)
    assert isinstance(nothing, ReportConflict), "of a decision to do nothing there is nothing to deliver"
    (unknown,) = ledger.report([delivery("sent", "4", "d9")], NOW)
    assert isinstance(unknown, UnknownDecision)


def test_what_is_told_twice_counts_once(ledger: Ledger) -> None:
    """A sender repeats what it got no answer to. With another content under the same id, one of them errs."""
    write(ledger, entry(), entry("d2"))
    first, again = (ledger.report([outcome("1"), delivery("sent")], NOW + of * DAY) for of in (0, 40))
    assert [one.status for one in first if isinstance(one, Reported)] == ["accepted"] * 2
    assert [one.status for one in again if isinstance(one, Reported)] == ["duplicate"] * 2
    assert [one.why for one in again if isinstance(one, Reported)] == [None, None], "it was told in time"
    other = ledger.report([outcome("1", value=11.0), outcome("1", decision_id="d2")], NOW)
    assert [type(one) for one in other] == [IdempotencyConflict] * 2
    ledger.report([outcome("1", source="till")], NOW)  # another system's numbers are its own
    assert sum(kept.value for kept in ledger.outcomes("d1")["d1"]) == 20.0


def test_an_outcome_counts_in_its_window_until_it_is_final(ledger: Ledger) -> None:
    """Else a figure that was reported as final changes, or an order of next year proves this year's mail."""
    write(ledger, entry())
    end, matures = NOW + 28 * DAY, NOW + 35 * DAY
    second = timedelta(seconds=1)
    told = [
        (outcome("first", at=NOW), NOW, None),
        (outcome("late", at=end - second), matures - second, None),
        (outcome("after", at=end), end, "after_window"),
        (outcome("too late", at=end - second), matures, "after_maturity"),
        (outcome("back", "refund", 4.0, end + DAY, revises="first"), end + DAY, None),
        (outcome("back too late", "refund", 4.0, end, revises="late"), matures, "after_maturity"),
    ]
    for one, known, why in told:
        (found,) = ledger.report([one], known)
        assert isinstance(found, Reported)
        assert (found.why, found.window_end, found.matures_at) == (why, end, matures), one.id
        assert found.counted == (one.value if why is None else 0.0)
    assert [(kept.type, kept.value) for kept in ledger.outcomes()["d1"]] == [("order", 6.0), ("order", 10.0)]
    assert ledger.uncounted() == Uncounted(after_window=1, after_maturity=1, late=frozenset({"d1"}))
    (lost,) = ledger.report([outcome("x", "refund", 1.0, revises="nothing")], NOW)
    assert isinstance(lost, ReportConflict), "a refund of nothing would make money of nothing"
    (early,) = ledger.report([outcome("before", at=NOW - DAY)], NOW)
    assert isinstance(early, ReportConflict), "what came before a decision, no decision brought"
    rest = [outcome(id, "refund", 99.0, revises="first") for id in ("rest", "more", "rest")]
    counted = [one.counted for one in ledger.report(rest, NOW) if isinstance(one, Reported)]
    assert counted == [6.0, 0.0, 6.0], "what counts is told, again to who asks again"
    assert ledger.outcomes("d1")["d1"][0].value == 0.0, "more than was paid cannot come back"


def test_nothing_more_is_kept_of_who_was_erased(ledger: Ledger) -> None:
    """An order that comes in after the erasure must not begin a new record."""
    write(ledger, entry())
    ledger.erase(["marie"])
    (found,) = ledger.report([outcome("1")], NOW)
    assert isinstance(found, CustomerErased)
    assert ledger.outcomes() == {}
    assert ledger.uncounted() == Uncounted()


@in_a_file
def test_after_erasure_nothing_tells_who_it_was(settings: Settings, ledger: Ledger) -> None:
    """The right to be forgotten: neither rows, nor free pages of the file, nor its write-ahead log."""
    write(ledger, entry(idempotency_key="marie's journey"), entry("d2", "paul", idempotency_key="k"))
    ((key,),) = rows(settings, "SELECT key FROM pseudonyms WHERE customer_id = 'marie'")
    ((sealed,),) = rows(settings, "SELECT sealed FROM decisions WHERE id = 'd1'")

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
        rows(settings, "UPDATE decisions SET propensity = 0.5")


def test_erasure_is_the_same_in_any_database(settings: Settings, ledger: Ledger) -> None:
    """Whoever moves to PostgreSQL must not bring the right to be forgotten to an end."""
    write(ledger, entry(idempotency_key="marie's journey"), entry("d2", "paul"))
    ledger.report([outcome("1")], NOW)
    ledger.erase(["marie"])
    assert ledger.customers() == {"paul": 1}
    assert ledger.read("d1").sealed is None
    assert rows(settings, "SELECT length(sealed) FROM decisions WHERE id = 'd1'") == [(0,)]
    assert rows(settings, "SELECT count(*) FROM decisions WHERE idempotency_key LIKE '%marie%'") == [(0,)]
    assert ledger.damaged() == []
    with pytest.raises(CustomerErased):
        ledger.stored_answer("tests", "marie's journey", REQUEST)
    with pytest.raises((sqlite3.IntegrityError, psycopg.Error), match="append-only"):
        rows(settings, "UPDATE decisions SET propensity = 0.5")


@in_a_file
def test_an_erasure_finishes_what_an_older_one_left(settings: Settings, ledger: Ledger) -> None:
    """Version 0.1 deleted the key alone; a damaged record must not look whole for being erased."""
    write(ledger, entry(idempotency_key="marie's journey"), entry("d2"), entry("d3", "paul"))
    unlock(settings)
    rows(settings, "UPDATE decisions SET propensity = 0.5 WHERE id = 'd2'")
    rows(settings, append_only("decisions", "UPDATE"))
    rows(settings, "DELETE FROM pseudonyms WHERE customer_id = 'marie'")
    ledger.erase([])
    assert rows(settings, "SELECT length(sealed) FROM decisions WHERE id < 'd3'") == [(0,), (0,)]
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


def test_one_customer_has_one_pseudonym_and_two_have_two(settings: Settings, ledger: Ledger) -> None:
    """Else her contacts would not add up, or two people would share a cap."""
    write(ledger, entry("d1"), entry("d2"), entry("d3", "paul"))
    of = dict(rows(settings, "SELECT id, pseudonym FROM decisions"))
    assert rows(settings, "SELECT count(*) FROM contexts") == [(2,)], "said once, not once a decision"
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
    newer = "PRAGMA user_version = 99" if settings.ledger == "sqlite" else "UPDATE version SET version = 99"
    rows(settings, newer)
    with pytest.raises(DecisionError, match="schema 99"):
        Ledger(settings)
