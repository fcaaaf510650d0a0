"""What `/readyz` says while a part of the service is away: scores decide, and nothing is left unsaid."""

import os
import shutil
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from running import LONG, SERVE, Running, release, running, settings_of, small_build, until
from servers_postgres import PostgresServer
from tiny import TINY_FEATURES, TINY_MOMENT

from features import fresh, online
from features.settings import Settings
from serving.companion import Companion
from serving.ledger import Ledger
from serving.ledger_store import SERVICE_PATIENCE
from serving.readiness import FRESH, PATIENCE

# The superuser writes what nobody may write, but for these.
WITHOUT_POWERS = (
    ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")
    if os.geteuid() == 0
    else ()
)
METRIC = "propensity_decisions_refused"


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    settings = settings_of(tmp_path / "home")
    build = small_build(settings, names=[*TINY_FEATURES, "order_value_365d"])
    online.publish(settings, build, TINY_MOMENT)
    release(settings, tmp_path, build, "churn_28d")
    return settings


def decide(service: Running, key: str) -> httpx.Response:
    headers = {"idempotency-key": key}
    return service.client.post("/v1/decisions", json={"customer": "c0001"}, headers=headers)


def undecided(service: Running, within: float = LONG) -> None:
    """Assert that scores are answered, that it is ready, and that it says why no decision is taken."""
    assert service.scores("c0001").status_code == 200
    deadline, missing = time.monotonic() + within, []
    while not missing and time.monotonic() < deadline:
        ready = service.client.get("/readyz")
        assert ready.status_code == 200, "a balancer would keep the scores away, too"
        missing = ready.json()["missing"]
    assert [of["code"] for of in missing] == ["decision"]
    assert "ledger" in missing[0]["detail"]
    assert f"{METRIC} 1.0" in service.client.get("/metrics").text


def whole(service: Running, within: float = LONG) -> None:
    """Assert that it decides, and says so."""
    deadline = time.monotonic() + within
    ready: dict[str, Any] = {}
    while ready.get("missing") != [] and time.monotonic() < deadline:
        ready = service.client.get("/readyz").json()
    assert ready["missing"] == []
    assert f"{METRIC} 0.0" in service.client.get("/metrics").text
    assert decide(service, "whole").status_code == 200


def test_a_server_that_is_away_at_the_start_or_goes_away_is_told_and_followed(
    home: Settings, postgres: PostgresServer
) -> None:
    """Scorers that restart while the ledger's server is away must come back, and say what they do not do."""
    given = postgres.new_database()
    database = given.partition("@/")[2].partition("?")[0]
    postgres.run(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
    with running(home, watched=True, PROPENSITY_LEDGER=given) as service:
        undecided(service)
        assert decide(service, "1").status_code == 503
        ready = service.client.get("/readyz", headers={"authorization": ""}).text
        assert not [of for of in (database, "localhost", "127.0.0.1", "port") if of in ready], (
            f"whoever has no key learns where the ledger is: {ready}"
        )
        postgres.run(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
        whole(service)
        postgres.run(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
        postgres.cut(database)
        undecided(service)
        postgres.run(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
        whole(service)


def test_an_id_that_no_database_can_hold_is_unknown_and_no_alarm(
    home: Settings, postgres: PostgresServer
) -> None:
    """Else one caller with an odd id raises the alarm that no decision can be taken, as often as he likes."""
    at = {"source": "sender", "id": "1", "at": "2017-12-03T00:00:00Z", "decision_id": "\0"}
    with running(home, watched=True, PROPENSITY_LEDGER=postgres.new_database()) as service:
        client = service.client
        whole(service)
        for unknown in (client.get("/v1/decisions/%00"), client.get("/v1/decisions/a%00?approved=true")):
            assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_decision")
        for whose in ("%00", "c0001%00"):
            unknown = client.get(f"/v1/customers/{whose}")
            assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_customer")
        headers = {"idempotency-key": "odd"}
        unknown = client.post("/v1/decisions", json={"customer": "c0001\0"}, headers=headers)
        assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_customer")
        for name, of in (("deliveries", {"status": "sent"}), ("outcomes", {"type": "click"})):
            for odd in (at, at | {"id": "\0"}, at | {"source": "\0"}):
                (told,) = client.post(f"/v1/{name}", json={name: [odd | of]}).json()["results"]
                assert told["error"]["code"] == "invalid_report"
        assert client.get("/readyz").json()["missing"] == []
        assert f"{METRIC} 0.0" in client.get("/metrics").text


def test_a_server_that_does_not_answer_holds_no_probe_up(home: Settings) -> None:
    """A probe that waits five seconds for it has failed long before: no scorer would be in rotation."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"postgresql://member:secret@127.0.0.1:{silent.getsockname()[1]}/team"
        with running(home, watched=True, PROPENSITY_LEDGER=address) as service:
            detail = service.client.get("/readyz").json()["missing"][0]["detail"]
            assert not [
                word for word in ("127.0.0.1", f"{silent.getsockname()[1]}", "team") if word in detail
            ]
            for _ in range(3):
                started = time.monotonic()
                undecided(service, 0.1)
                assert time.monotonic() - started < SERVICE_PATIENCE - 1, "two probes, and a request"


@pytest.mark.parametrize("away", [0, SERVICE_PATIENCE + 1])
def test_no_probe_tells_what_an_earlier_one_waited_for_in_vain(
    home: Settings, postgres: PostgresServer, away: float
) -> None:
    """Else the first probe after a quiet hour raises an alarm that has long been over, or keeps one back."""

    def missing(service: Running) -> list[tuple[str, str]]:
        return [(of["code"], of["detail"]) for of in service.client.get("/readyz").json()["missing"]]

    late = f"the ledger did not answer within {PATIENCE:g} s: look at its disk, or its server"

    with running(home, watched=True, PROPENSITY_LEDGER=postgres.new_database()) as service:
        whole(service)
        with postgres.frozen():
            assert missing(service) == [("decision", late)]
            time.sleep(away)  # until it fails; or it answers once the server goes on
        time.sleep(FRESH + 1)
        if away:
            # On a busy machine it may be late now: that is news, and what it failed of then is none.
            assert missing(service) in ([], [("decision", late)]), "it was away long ago"
            until(lambda: missing(service) == [])
        else:
            with postgres.frozen():
                assert missing(service) == [("decision", late)], "it answered long ago"


def test_a_ledger_that_could_not_be_written_at_the_start_is_told_and_followed(home: Settings) -> None:
    """Else the service refuses every decision until somebody starts it again, and was ready all the while."""
    Ledger(home).close()
    file = home.home / "ledger" / "ledger.sqlite"
    file.chmod(0o444)
    with running(home, (*WITHOUT_POWERS, sys.executable, "-c", SERVE)) as service:
        undecided(service)
        refused = decide(service, "k")
        assert (refused.status_code, refused.json()["code"]) == (503, "decision")
        assert decide(service, "k").status_code == 503
        file.chmod(0o644)
        assert decide(service, "k").status_code == 200
        whole(service)
        file.chmod(0o444)
        undecided(service)
        file.chmod(0o644)
        whole(service)


def test_a_home_that_its_user_may_not_write_is_told_as_documented_and_followed(home: Settings) -> None:
    """An internal error says that we are broken, and not to come back: what was to be told is dropped."""
    event = {"type": "login", "source": "shop", "customer": "c0001", "channel": "app"}
    events = {"events": [event | {"id": "1", "at": "2017-12-02T00:00:00Z"}]}
    job = {"kind": "scores", "customers": ["c0001"]}
    with running(home, (*WITHOUT_POWERS, sys.executable, "-c", SERVE), watched=True) as service:

        def asked(events_alone: bool = False) -> list[tuple[int, str | None, str | None]]:
            answers = [service.client.post("/v1/events", json=events)]
            if not events_alone:
                answers.append(service.client.post("/v1/jobs", json=job))
                answers.append(service.client.delete("/v1/customers/c0002"))
            return [(of.status_code, of.json().get("code"), of.headers.get("retry-after")) for of in answers]

        log, storage, done = (503, "log", "1"), (503, "storage", "1"), (None, None)
        folders = [path for path in (home.home, *home.home.rglob("*")) if path.is_dir()]
        for folder in folders:
            folder.chmod(0o555)
        assert asked() == [log, storage, storage]
        assert service.scores("c0001").status_code == 200
        for folder in folders:
            folder.chmod(0o755)
        assert asked() == [(200, *done), (202, *done), (202, *done)]
        inbox = home.home / "log" / "inbox"
        inbox.chmod(0)  # its file is open, and may be another's by now
        assert asked(events_alone=True) == [log]
        inbox.chmod(0o755)
        assert asked(events_alone=True) == [(200, *done)]


@pytest.mark.parametrize("harm", ["overwritten", "deleted", "replaced", "blocks"])
def test_a_file_that_was_harmed_is_told(home: Settings, harm: str) -> None:
    """Decisions fail one by one, or are written where nobody finds them, and the probe called it well."""
    with running(home, watched=True) as service:
        whole(service)
        ledger = home.home / "ledger" / "ledger.sqlite"
        if harm == "overwritten":
            ledger.write_bytes(os.urandom(ledger.stat().st_size))
        elif harm == "deleted":
            ledger.unlink()
        elif harm == "replaced":  # by a backup, while the service goes on writing to the old one
            shutil.copy(ledger, ledger.with_name("backup"))
            ledger.with_name("backup").rename(ledger)
        else:  # what it begins with is whole: only who uses it finds out
            with ledger.open("r+b") as file:
                file.seek(4096)
                file.write(os.urandom(ledger.stat().st_size - 4096))
            with suppress(OSError):
                ledger.with_name("ledger.sqlite-wal").write_bytes(b"")
            decide(service, "lost")
        undecided(service)
        if harm in ("deleted", "replaced"):
            refused = decide(service, "lost")
            assert (refused.status_code, refused.json()["code"]) == (503, "decision"), "nobody could find it"


def test_a_release_that_is_damaged_while_it_serves_is_told_before_a_restart_loses_it(home: Settings) -> None:
    """Else it answers from memory for weeks, and the next start of the service is the alarm."""
    folder = home.home / "releases" / "churn_28d" / "1"
    text = folder / "booster-0.txt"
    before = text.read_bytes()

    def refused() -> list[Any]:
        assert service.scores("c0001").json()["results"][0]["scores"][0]["model_version"] == "1"
        ready = service.client.get("/readyz", headers={"authorization": ""})
        assert (ready.status_code, str(home.home) in ready.text) == (200, False)
        found: list[Any] = ready.json()["refused"]
        metrics = service.client.get("/metrics").text
        assert f'propensity_release_refused{{model="churn_28d"}} {float(bool(found))}' in metrics
        return found

    with running(home, watched=True) as service:
        assert refused() == []
        with text.open("r+b") as file:
            file.write(b"??")
        for _ in range(2):
            (told,) = refused()
            assert (told["name"], told["serving"], told["error"]["code"]) == (
                "churn_28d", "1", "release_corrupt",
            )  # fmt: skip
            assert "booster-0.txt was changed" in told["error"]["detail"]
        assert service.log.count("booster-0.txt was changed") == 1
        text.write_bytes(before)
        assert refused() == []
        text.touch()
        assert refused() == []
        for name in ("booster-0.txt", "SHA256SUMS"):
            aside = (folder / name).rename(home.home / name)
            assert len(refused()) == 1, name
            aside.rename(folder / name)
            assert refused() == []
        shutil.rmtree(folder)
        assert len(refused()) == 1


@pytest.mark.parametrize("part", ["folder", "version", "all"])
def test_a_model_that_cannot_be_looked_at_is_told_and_takes_nothing_else_with_it(
    home: Settings, tmp_path: Path, part: str
) -> None:
    """A restored folder of another user, or a share that fails, made an internal error of every answer; and
    once started again, the model was missing from each, and the probe called it well."""
    release(home, tmp_path, small_build(home), "repurchase_7d", seed=1)
    closed = home.home / "releases" / "churn_28d"
    if part == "version":
        version, closed = closed / "1", home.home / "share"
        closed.mkdir()
        version.rename(closed / "1")
        version.symlink_to(closed / "1")
    elif part == "all":
        closed = closed.parent
    command = (*WITHOUT_POWERS, sys.executable, "-c", SERVE)

    def refused() -> dict[str, str | None]:
        ready = service.client.get("/readyz", headers={"authorization": ""})
        assert (ready.status_code, str(home.home) in ready.text) == (200, False)
        found = {of["name"]: of for of in ready.json()["refused"]}
        assert {of["error"]["code"] for of in found.values()} <= {"release_corrupt"}
        metrics = service.client.get("/metrics").text
        for name in ("churn_28d", "repurchase_7d"):
            assert f'propensity_release_refused{{model="{name}"}} {float(name in found)}' in metrics
        assert service.client.get("/v1/models").status_code == 200
        return {name: of["serving"] for name, of in found.items()}

    def answers() -> tuple[Any, int, int]:
        profile = service.client.get("/v1/customers/c0001")
        return service.scores("c0001").json(), decide(service, "k").status_code, profile.status_code

    try:
        with running(home, command, watched=True) as service:
            (before, *_), _ = answers(), closed.chmod(0)
            (during, *statuses) = answers()
            assert (during["results"], statuses) == (before["results"], [200, 200])
            named = {"churn_28d": "1"} | ({"repurchase_7d": "1"} if part == "all" else {})
            assert refused() == named
            closed.chmod(0o755)
            assert refused() == {}
            closed.chmod(0)
        with running(home, command, watched=True) as service:
            if part == "all":
                for answer in (service.client.get("/readyz"), service.scores("c0001")):
                    assert (answer.status_code, answer.json()["code"]) == (503, "release_corrupt")
                    assert str(home.home) not in answer.text
            else:
                assert refused() == {"churn_28d": None}
                lost, other = service.scores("c0001").json()["results"][0]["scores"]
                assert (lost["target"], lost["error"]["code"]) == ("churn_28d", "release_corrupt")
                assert "cannot be read" in lost["error"]["detail"]
                assert other["model_version"] == "1"
                assert answers()[2] == 200
            closed.chmod(0o755)
            assert refused() == {}
            assert service.scores("c0001").json()["results"] == before["results"]
    finally:
        closed.chmod(0o755)


def test_the_companion_goes_on_once_its_disk_is_mended(home: Settings) -> None:
    """Else fresh rows wait until somebody starts the service again, and nothing says so."""
    inbox = home.home / "log" / "inbox"
    shutil.rmtree(inbox, ignore_errors=True)
    inbox.parent.mkdir(parents=True, exist_ok=True)
    inbox.write_text("in the way", "utf-8")
    companion = Companion(home)
    companion.start()
    try:
        time.sleep(1)
        inbox.unlink()
        until(lambda: fresh.watched(home))
    finally:
        companion.stop()
    assert not fresh.watched(home)


def test_a_ledger_that_cannot_be_made_is_told(home: Settings) -> None:
    """A home of which a file stands in the way, or a disk that is full at the start, is no internal error."""
    (home.home / "ledger").write_bytes(b"")
    with running(home, watched=True) as service:
        undecided(service)
        refused = decide(service, "1")
        assert (refused.status_code, refused.json()["code"]) == (503, "decision")
