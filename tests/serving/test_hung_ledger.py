"""A ledger that takes what it is sent and answers nothing, or is locked: scores go on, decisions say so."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from running import LONG, Running, release, running, settings_of, small_build, until
from servers import RedisServer
from servers_postgres import PostgresServer
from test_ledger import NOW, REQUEST, entry, outcome, write
from tiny import TINY_FEATURES, TINY_MOMENT

from features import online
from features.errors import DecisionError
from features.settings import Settings
from serving.ledger import Ledger
from serving.ledger_store import SERVICE_PATIENCE
from serving.turns import REST

# Seconds for a decision that is not taken: what it waits for, and what a busy machine adds; not what two wait
# for that wait for each other.
SOON = 2 * SERVICE_PATIENCE - 0.5
CALLERS = 16


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.new_database()


@contextmanager
def scorer(folder: Path, redis: RedisServer, ledger: str) -> Iterator[Running]:
    """One whose rows come from Redis, as on every host that shares a ledger."""
    with redis.client() as client:
        client.flushall()
    settings = replace(settings_of(folder / "home"), online=redis.url)
    build = small_build(settings, names=[*TINY_FEATURES, "order_value_365d"])
    online.publish(settings, build, TINY_MOMENT)
    release(settings, folder, build, "churn_28d")
    with running(settings, watched=True, PROPENSITY_ONLINE=redis.url, PROPENSITY_LEDGER=ledger) as service:
        assert decide(service, "first")[0].status_code == 200
        yield service


def decide(service: Running, key: str) -> tuple[httpx.Response, float]:
    """The answer, and after how many seconds it came."""
    began, headers = time.monotonic(), {"idempotency-key": key}
    answer = service.client.post("/v1/decisions", json={"customer": "c0001"}, headers=headers)
    return answer, time.monotonic() - began


def sockets(service: Running) -> int:
    """How many the process has open."""
    found = 0
    for file in Path(f"/proc/{service.process.pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found += file.readlink().name.startswith("socket:")
    return found


def scores_go_on(service: Running) -> None:
    """Assert it while more decisions are asked for than are tried at once; these soon say why not."""
    with ThreadPoolExecutor(CALLERS) as pool:
        asked = [pool.submit(decide, service, f"hung-{n}") for n in range(CALLERS)]
        time.sleep(0.5)  # all of them wait
        while not all(one.done() for one in asked):
            began = time.monotonic()
            assert service.scores("c0001").status_code == 200
            assert time.monotonic() - began < SERVICE_PATIENCE - 1.5, "a score waited for the ledger"
            time.sleep(0.1)
    for answer, seconds in (one.result() for one in asked):
        assert (answer.status_code, answer.json()["code"]) == (503, "decision"), answer.text
        assert "retry-after" in answer.headers
        assert seconds < SOON
    ready = service.client.get("/readyz")
    assert ready.status_code == 200
    assert [of["code"] for of in ready.json()["missing"]] == ["decision"]


def follows(service: Running) -> None:
    """Assert that it decides again, without a restart."""
    deadline = time.monotonic() + LONG
    while (answer := decide(service, "after")[0]).status_code != 200:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)


def test_a_server_that_freezes_keeps_nobody_from_scores(
    tmp_path: Path, redis_of_all: RedisServer, postgres: PostgresServer, url: str
) -> None:
    """Else one hung disk under PostgreSQL stops every scorer."""
    with scorer(tmp_path, redis_of_all, url) as service:
        with postgres.frozen():
            scores_go_on(service)
        follows(service)


def test_a_scorer_ends_in_time_while_the_server_is_frozen(
    tmp_path: Path, redis_of_all: RedisServer, postgres: PostgresServer, url: str
) -> None:
    """Else a rollout waits for every scorer until it is killed, with what it was answering."""
    with scorer(tmp_path, redis_of_all, url) as service, postgres.frozen(), ThreadPoolExecutor(9) as pool:
        before = sockets(service)
        asked = [pool.submit(decide, service, f"cut off-{n}") for n in range(8)]
        asked.append(pool.submit(lambda: (service.client.get("/readyz"), 0)))
        until(lambda: sockets(service) >= before + 8)  # they have come; one may come by what was open
        time.sleep(0.7)
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < 25, "who starts pods gives them half a minute"
        assert {one.result()[0].status_code for one in asked} == {503, 200}


def test_a_lock_that_another_host_holds_keeps_nobody_from_scores(
    tmp_path: Path, redis_of_all: RedisServer, postgres: PostgresServer, url: str
) -> None:
    """Else those who decide wait for each other, each as long as the lock may take."""
    with scorer(tmp_path, redis_of_all, url) as service:
        database = url.partition("@/")[2].partition("?")[0]
        with psycopg.connect(postgres.admin, dbname=database) as other:
            other.execute("SELECT pg_advisory_xact_lock(hashtext('decide'))")
            scores_go_on(service)
        follows(service)


def test_a_host_that_freezes_with_the_lock_loses_it_and_what_it_wrote(tmp_path: Path, url: str) -> None:
    """Else all hosts decide nothing until somebody finds it; and when it wakes, it writes the rest of what it
    was about beside what others decided meanwhile."""

    def half(ledger: Ledger, other: Ledger) -> None:
        with ledger.deciding():
            ledger.append(entry("d1"), b"")
            time.sleep(7)
            write(other, entry("d2"))
            ledger.append(entry("d3"), b"")

    settings = Settings(home=tmp_path, as_of=NOW, ledger=url)
    with closing(Ledger(settings, patience=1)) as frozen, closing(Ledger(settings)) as other:
        with pytest.raises(DecisionError, match="nothing was changed"):
            half(frozen, other)
        assert [one.id for one in other.entries()] == ["d2"]
        time.sleep(REST)
        write(frozen, entry("d4"))
        assert [one.id for one in other.entries()] == ["d2", "d4"]


def test_a_server_that_freezes_over_a_commit_is_not_said_to_have_changed_nothing(
    postgres: PostgresServer, tmp_path: Path, url: str
) -> None:
    """It does it once it goes on: whoever asked under another key then would decide twice."""

    def half(ledger: Ledger, stack: ExitStack) -> None:
        with ledger.deciding():
            ledger.append(entry("d1", idempotency_key="k"), REQUEST)
            stack.enter_context(postgres.frozen())

    with closing(Ledger(Settings(home=tmp_path, as_of=NOW, ledger=url), patience=1)) as ledger:
        with ExitStack() as stack, pytest.raises(DecisionError, match="under the same key") as told:
            half(ledger, stack)
        assert "nothing was changed" not in str(told.value)
        time.sleep(REST)
        until(lambda: ledger.stored_answer("tests", "k", REQUEST) is not None)  # which has to go on first


@contextmanager
def cut_at_commits(postgres: PostgresServer, url: str) -> Iterator[tuple[str, threading.Event]]:
    """The URL of a way to the server. While the event is set, it breaks off once the server has answered a
    COMMIT, before the caller hears of it: as a network that fails then."""
    cutting, port = threading.Event(), urlsplit(postgres.admin).port or 5432

    def carry(source: socket.socket, to: socket.socket, sent: bytearray, back: bool) -> None:
        with suppress(OSError):
            while some := source.recv(65536):
                if not back:
                    sent[:] = some
                elif cutting.is_set() and b"COMMIT" in sent:
                    break
                to.sendall(some)
        for end in (source, to):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def listen() -> None:
        with suppress(OSError), ExitStack() as stack:
            while True:
                here = stack.enter_context(way.accept()[0])
                there = stack.enter_context(socket.socket(socket.AF_UNIX))
                there.connect(f"{postgres.socket}/.s.PGSQL.{port}")
                for of in ((here, there, sent := bytearray(), False), (there, here, sent, True)):
                    threading.Thread(target=carry, args=of, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as way:
        threading.Thread(target=listen, daemon=True).start()
        head, _, rest = url.partition("@/")
        yield f"{head}@127.0.0.1:{way.getsockname()[1]}/{rest.partition('?')[0]}", cutting
        way.shutdown(socket.SHUT_RDWR)


def test_a_connection_that_is_lost_over_a_commit_is_not_said_to_have_changed_nothing(
    postgres: PostgresServer, tmp_path: Path, url: str
) -> None:
    """The decision is there: whoever believed that it is not, and asked under another key, would contact the
    customer twice."""
    with cut_at_commits(postgres, url) as (way, cutting):
        settings = Settings(home=tmp_path, as_of=NOW, ledger=way)
        with closing(Ledger(settings)) as ledger:
            cutting.set()
            with pytest.raises(DecisionError, match="under the same key") as told:
                write(ledger, entry("d1", idempotency_key="k"))
            cutting.clear()
            assert "nothing was changed" not in str(told.value)
            assert not [of for of in ("secret", "member", "\n") if of in str(told.value)]
            assert ledger.stored_answer("tests", "k", REQUEST) is not None


@pytest.mark.parametrize("broken", ["lost", "failed"])
def test_what_fails_unsaid_within_a_transaction_undoes_all_of_it(
    postgres: PostgresServer, tmp_path: Path, url: str, broken: str
) -> None:
    """Reading what a report is about may fail; what follows must not be written by a new connection, without
    the lock, nor a commit that undoes be taken for one."""

    def half(ledger: Ledger) -> None:
        with ledger.deciding():
            ledger.append(entry("d1"), b"")
            if broken == "lost":
                postgres.cut(url.partition("@/")[2].partition("?")[0])
            with suppress(DecisionError), ledger.reading() as db:
                db.execute("SELECT 1 FROM no_such_table")
            if broken == "lost":
                ledger.append(entry("d2"), b"")

    with closing(Ledger(Settings(home=tmp_path, as_of=NOW, ledger=url))) as ledger:
        with pytest.raises(DecisionError, match="nothing was changed"):
            half(ledger)
        assert list(ledger.entries()) == []
        (told,) = ledger.report([outcome("1")], NOW)
        assert isinstance(told, DecisionError), "there is no such decision"
