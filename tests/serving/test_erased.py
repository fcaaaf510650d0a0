"""Who is erased while the service runs: a real person of the log, of events, of decisions, of online rows."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from deliveries import deliver, identity, order
from running import Running, audited, release, running, settings_of, until

from features import online
from features.compute.engine import build
from features.files import locked
from features.ingestion.ingest import take
from features.log import Log
from features.moments import iso, parse_moment
from features.settings import Settings
from features.tombstones import Tombstones
from propensity import main
from propensity.erasing import erase
from propensity.steps import take_inbox
from serving import batch
from serving.cloudevents import Event
from serving.erasures import ask, asked
from serving.hooks import Hook, Pushes
from serving.outbox import Outbox, Settled

MOMENT = parse_moment("2017-02-10")
HER, OLD, CARD, OTHER = "anna-zmbq", "anna-old-zmbq", "card-zmbq", "c1"
KEY = f"journey 7 of {HER}"


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """She has two customer ids and a card; thirty others are there."""
    settings = replace(settings_of(tmp_path / "home"), as_of=MOMENT)
    days = range(1, 29)
    till = [order(f"{day}", f"c{day % 30}", f"2017-01-{day:02}", day) for day in days]
    till += [order(f"her {day}", (OLD, HER)[day % 2], f"2017-01-{day:02}", day) for day in days]
    who = [identity("crm", CARD, HER, "2017-01-02"), identity("crm", CARD, OLD, "2017-01-02")]
    take(settings, [deliver(tmp_path / "till", "till", {"orders": till, "identities": who})])
    made, _ = build(settings, [MOMENT])
    online.publish(settings, made, MOMENT)
    batch.score(settings, release(settings, tmp_path, made, "churn_28d"), made, MOMENT)
    return replace(settings, as_of=MOMENT + timedelta(hours=6))


@pytest.fixture
def service(home: Settings) -> Iterator[Running]:
    with running(home) as service:
        yield service


def visit(id: str, customer: Any) -> dict[str, Any]:
    return {
        "type": "visit",
        "source": "web",
        "id": id,
        "customer": customer,
        "channel": "app",
        "at": iso(MOMENT),
    }


def told(service: Running, *events: dict[str, Any]) -> list[str]:
    """What became of each event."""
    results = service.client.post("/v1/events", json={"events": events}).json()["results"]
    return [result["error"]["code"] if "error" in result else result["status"] for result in results]


def decide(service: Running, customer: Any, key: str) -> tuple[int, str]:
    body, headers = {"customer": customer}, {"idempotency-key": key}
    asked = service.client.post("/v1/decisions", json=body, headers=headers)
    return asked.status_code, asked.json().get("code", "")


def scored(service: Running, *customers: Any) -> list[str]:
    """`known_at` of each customer's scores, or the code of the error."""
    results = service.scores(*customers).json()["results"]
    return [result["error"]["code"] if "error" in result else result["known_at"] for result in results]


def holding(home: Settings, text: str) -> list[str]:
    """Files of the home in which a text can be read, compressed pages opened."""
    found = []
    for path in sorted(p for p in home.home.rglob("*") if p.is_file()):
        try:
            body = path.read_bytes()
        except FileNotFoundError:
            continue  # of a process that ended meanwhile
        if path.suffix == ".parquet":
            body += repr(pq.read_table(path, partitioning=None).to_pylist()).encode()
        if text.encode() in body:
            found.append(str(path.relative_to(home.home)))
    return found


def test_nothing_is_left_of_her_and_nothing_comes_back(home: Settings, service: Running) -> None:
    her: list[Any] = [HER, OLD, {"source": "crm", "id": CARD}, f"crm:{CARD}"]
    assert told(service, *(visit(f"v{n}", name) for n, name in enumerate(her))) == ["accepted"] * 4
    assert told(service, visit("of another", OTHER)) == ["accepted"]
    until(lambda: scored(service, HER, OTHER) == [iso(home.now())] * 2)
    assert (decide(service, HER, KEY), decide(service, OTHER, "k")) == ((200, ""), (200, ""))
    followed = Settled("warning.churn", "by hand", MOMENT, {HER: "in", OLD: "in"})
    event = Event("0" * 32, "warning", "churn", HER, MOMENT, {})
    with closing(Outbox(home)) as box:
        box.settle(
            [followed], [event], Pushes({"crm": Hook("crm", "https://crm.example.com", ("warning",))}, 9, "/")
        )
    take_inbox(home)  # so that the files which ingestion reads, and a generation, have her too
    assert {"ledger", "log", "online", "parts", "pushes", "snapshots", "scores"} <= {
        name.split("/")[0] for name in holding(home, "zmbq")
    }, "or this test could not fail"

    dry = erase(home, HER, dry_run=True)
    assert dry.removed.items() >= {"inbox events": 4, "decisions": 1, "pushes": 3, "orders": 28}.items()
    assert dry.removed["online rows"] >= 1
    assert decide(service, HER, KEY) == (200, ""), "a dry run changes nothing"
    done = CliRunner().invoke(main, ["erase", HER], env={"PROPENSITY_HOME": str(home.home)})
    assert done.exit_code == 0, done.output
    assert "zmbq" not in done.output

    assert scored(service, *her, OTHER) == ["unknown_customer"] * 4 + [iso(home.now())]
    assert decide(service, HER, KEY) == (410, "customer_erased")
    assert decide(service, HER, "another key") == (404, "unknown_customer")
    assert told(service, *(visit(f"w{n}", name) for n, name in enumerate(her))) == ["customer_erased"] * 4
    assert told(service, visit("of another", OTHER)) == ["duplicate"]
    assert decide(service, OTHER, "k") == (200, "")
    assert service.stop() == 0
    assert holding(home, "zmbq") == []
    assert "zmbq" not in service.log
    assert Log.open(home).damaged() == []
    assert erase(home, HER).removed == {}


def test_who_is_known_by_events_alone_can_be_erased_too(home: Settings) -> None:
    """A visitor of the mini-program, before any file says who it is."""
    with running(home) as service:
        assert told(service, visit("1", {"source": "web", "id": "guest-zmbq"})) == ["accepted"]
        until(lambda: scored(service, "web:guest-zmbq") == [iso(home.now())])
    assert erase(home, None, ("web", "guest-zmbq"), dry_run=True).removed == {
        "inbox events": 1,
        "online rows": 1,
    }
    erase(home, "web:guest-zmbq")
    assert holding(home, "guest-zmbq") == []
    tombstones = Tombstones.of(home)
    assert tombstones.identities([("web", "guest-zmbq")])
    assert tombstones.customers(["web:guest-zmbq"])


def test_who_asks_over_http_has_her_erased_without_the_command_line(home: Settings, service: Running) -> None:
    """A request for erasure comes in at a help desk, whose system has an API key and no shell."""
    assert told(service, visit("v", {"source": "crm", "id": CARD})) == ["accepted"]
    assert scored(service, OTHER) == [iso(MOMENT)]
    asked = service.client.delete(f"/v1/customers/{CARD}", params={"source": "crm"})
    assert (asked.status_code, asked.json()["status"]) == (202, "accepted")
    until(lambda: scored(service, HER, OLD) == ["unknown_customer"] * 2)
    of_card = {"url": f"/v1/customers/{CARD}", "params": {"source": "crm"}}
    until(lambda: service.client.delete(**of_card).json()["status"] == "erased")
    again = service.client.delete(f"/v1/customers/{HER}")
    assert (again.status_code, again.json()["status"]) == (200, "erased")
    assert not list((home.home / "erased" / "asked").iterdir())
    assert told(service, visit("w", HER)) == ["customer_erased"]
    assert service.stop() == 0
    assert holding(home, "zmbq") == []
    assert "zmbq" not in service.log
    lines = audited(home.home)
    first, done = (
        next(line for line in lines if line["action"] == action)
        for action in ("DELETE /v1/customers/{id}", "erased as asked")
    )
    assert first["request_id"] == done["request_id"] == asked.json()["request_id"]
    assert done["outcomes"]["orders"] == 28


def test_an_erasure_that_the_service_could_not_do_waits_for_who_can(home: Settings) -> None:
    """A host that serves without the log must not lose what a customer has a right to."""
    elsewhere = {"PROPENSITY_HOME": str(home.home), "PROPENSITY_AS_OF": iso(home.now())}
    ask(home, HER, "desk", "0" * 32)
    ask(home, HER, "desk", "1" * 32)  # the same, once more
    ask(home, "nobody-of-that-id", "desk", "2" * 32)
    dry = CliRunner().invoke(main, ["erase", "--asked", "--dry-run"], env=elsewhere)
    assert (dry.exit_code, dry.output) == (0, "2 would be erased\n")
    done = CliRunner().invoke(main, ["erase", "--asked"], env=elsewhere)
    assert done.exit_code == 0, done.output
    assert "erased 1 of those who were asked for; 1 known to nobody" in done.output
    assert holding(home, "zmbq") == []
    assert ask(home, HER, "desk", "3" * 32).status == "erased"
    assert ask(home, "nobody-of-that-id", "desk", "4" * 32).status == "unknown"
    (home.home / "log" / "CURRENT").rename(home.home / "log" / "AWAY")  # as a host without the log sees it
    assert ask(home, "nobody-of-that-id", "desk", "5" * 32).status == "unknown"
    assert holding(home, "nobody-of-that-id") == []


def test_who_is_nobody_is_told_so_until_somebody_has_the_id(home: Settings, service: Running) -> None:
    """A help desk that misspells an id would wait for ever; one that is told too much would not ask again."""
    nobody = {"source": "crm", "id": "nobody-zmbq"}

    def asked() -> tuple[int, str]:
        answer = service.client.delete(f"/v1/customers/{nobody['id']}", params={"source": nobody["source"]})
        return answer.status_code, answer.json()["status"]

    assert asked() == (202, "accepted")
    until(lambda: asked() == (200, "unknown"))
    assert asked() == (200, "unknown")
    assert not list((home.home / "erased" / "asked").iterdir()), "nothing is begun once more"
    assert holding(home, "nobody-zmbq") == []
    assert told(service, visit("v", nobody)) == ["accepted"]
    assert asked() == (202, "accepted")
    until(lambda: asked() == (200, "erased"))

    assert service.client.delete("/v1/customers/later-zmbq").json()["status"] == "accepted"
    until(lambda: service.client.delete("/v1/customers/later-zmbq").json()["status"] == "unknown")
    take(
        home,
        [deliver(home.home.parent / "more", "more", {"orders": [order("l", "later-zmbq", "2017-02-01", 5)]})],
    )
    assert service.client.delete("/v1/customers/later-zmbq").json()["status"] == "accepted"
    until(lambda: service.client.delete("/v1/customers/later-zmbq").json()["status"] == "erased")


def test_where_the_log_is_not_nobody_is_called_unknown(home: Settings) -> None:
    """A serving host without the log would lose every request for erasure by calling each id nobody's."""
    ask(home, HER, "desk", "0" * 32)
    (home.home / "log" / "CURRENT").rename(home.home / "log" / "AWAY")
    failed = CliRunner().invoke(main, ["erase", "--asked"], env={"PROPENSITY_HOME": str(home.home)})
    assert failed.exit_code == 1
    assert "where the log is" in failed.output
    assert ask(home, HER, "desk", "1" * 32).status == "accepted"
    (home.home / "log" / "AWAY").rename(home.home / "log" / "CURRENT")
    CliRunner().invoke(main, ["erase", "--asked"], env={"PROPENSITY_HOME": str(home.home)})
    assert ask(home, HER, "desk", "2" * 32).status == "erased"


def test_a_damaged_request_holds_up_no_other_and_is_named(
    home: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Else one bad sector keeps everybody else from being forgotten, with an error that names nothing."""
    ask(home, OTHER, "desk", "0" * 32)
    damaged = home.home / "erased" / "asked" / f"{'0' * 32}.json"
    damaged.write_bytes(damaged.read_bytes()[:20])
    assert ask(home, HER, "desk", "1" * 32).status == "accepted"
    assert [one.customer for _, one in asked(home)] == [HER]
    assert f"erasures: {damaged.name} is damaged" in caplog.text
    assert damaged.exists(), "nobody can say that it was done"


def test_an_erasure_binds_from_the_moment_in_which_it_is_accepted(home: Settings) -> None:
    """Else she gets another message after she was told that she is forgotten: it takes as long as the log is
    large, and longer where the log is on another machine."""
    her: list[Any] = [HER, OLD, {"source": "crm", "id": CARD}]
    asking = locked(home.home / "erased" / ".lock")
    with asking, running(home, watched=True) as service, running(home, watched=True) as other:
        assert decide(service, HER, KEY) == decide(service, OTHER, "k") == (200, "")
        body, headers = {"customer": HER}, {"idempotency-key": KEY}
        taken = service.client.post("/v1/decisions", json=body, headers=headers).json()["decision_id"]
        assert len(scored(other, *her)) == len([at for at in scored(service, *her) if at == iso(MOMENT)]) == 3
        asked = service.client.delete(f"/v1/customers/{CARD}", params={"source": "crm"})
        assert asked.json()["status"] == "accepted"
        for one in (service, other):
            assert scored(one, *her, OTHER) == ["unknown_customer"] * 3 + [iso(MOMENT)]
            assert decide(one, HER, "another key") == (404, "unknown_customer")
            assert decide(one, HER, KEY) == (410, "customer_erased")
            assert one.client.get(f"/v1/customers/{OLD}").status_code == 404
            may = one.client.get(f"/v1/decisions/{taken}").json()
            assert (may["may_send"], may["reason"] in ("unknown_customer", "nothing")) == (False, True)
            assert decide(one, OTHER, "k") == (200, "")
        assert service.stop() == 0
        with running(home) as again:
            assert scored(again, *her) == ["unknown_customer"] * 3
    with running(home, watched=True) as service:
        until(lambda: not list((home.home / "erased" / "asked").iterdir()))
        assert decide(service, HER, KEY) == (410, "customer_erased")
    assert holding(home, "zmbq") == []
