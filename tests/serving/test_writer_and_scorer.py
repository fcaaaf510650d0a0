"""A writer, which has the log, and a scorer with an empty home: what binds, binds on both, or is refused."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from logs import TODAY
from running import ROOT, Running, environment, release, running, settings_of, until
from servers import RedisServer
from servers_postgres import PostgresServer
from test_fresh import subset

from features import duck, online
from features.compute.engine import build
from features.ingestion.ingest import ingest
from features.moments import DAY, iso
from features.settings import Settings
from features.sources import complete_journey


@dataclass
class Hosts:
    """Two real services, and how a command is run on the host of each."""

    writer: Running
    scorer: Running
    homes: tuple[Settings, Settings]
    shared: dict[str, str]
    customers: list[str]
    known: int = 0

    def command(self, settings: Settings, *arguments: str) -> str:
        """What `propensity ...` prints on the host of that home."""
        done = subprocess.run(
            [sys.executable, "-m", "propensity", *arguments],
            env=environment(settings, 3000) | self.shared,
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def contacted(self) -> dict[str, Any]:
        """A decision for a contact, of a customer whom no test had before."""
        while True:
            customer, self.known = self.customers[self.known], self.known + 1
            answer = decide(self.scorer, customer)
            if answer["channel"]:
                return answer


@pytest.fixture(scope="module")
def hosts(
    tmp_path_factory: pytest.TempPathFactory, redis_of_all: RedisServer, postgres: PostgresServer
) -> Iterator[Hosts]:
    with redis_of_all.client() as client:
        client.flushall()
    folder = tmp_path_factory.mktemp("writer")
    shared = {
        "PROPENSITY_ONLINE": redis_of_all.url,
        "PROPENSITY_LEDGER": postgres.new_database(),
        "PROPENSITY_RELEASES": str(folder / "store"),
    }
    first = replace(
        settings_of(folder / "a" / "home", TODAY),
        online=redis_of_all.url,
        releases=shared["PROPENSITY_RELEASES"],
    )
    second = replace(first, home=folder / "b" / "home")
    orders = complete_journey.find(None) / "transactions.parquet"
    with duck.connect() as connection:
        found = connection.sql(
            f"""SELECT household_id::VARCHAR FROM read_parquet('{orders}')
                GROUP BY ALL ORDER BY count(*) DESC, 1 LIMIT 120"""
        ).fetchall()
    customers = [id for (id,) in found]
    ingest(first, folder=subset(folder / "raw", customers, []))
    made, _ = build(first, [TODAY])
    online.publish(first, made, TODAY)
    release(first, folder, made, "churn_28d")
    (folder / "b").mkdir()
    (folder / "store").mkdir()  # it is there, and nothing was promoted into it
    with running(first, **shared) as writer, running(second, **shared) as scorer:
        until(lambda: decide(scorer, customers[0], preview=True).get("code") is None)
        until(lambda: "fresh rows ready" in writer.log)
        yield Hosts(writer, scorer, (first, second), shared, customers)


def decide(host: Running, customer: str, **more: Any) -> dict[str, Any]:
    key = {"idempotency-key": f"{customer}-{time.monotonic_ns()}"}
    answer = host.client.post("/v1/decisions", json={"customer": customer} | more, headers=key)
    found: dict[str, Any] = answer.json()
    return found


def sendable(host: Running, decided: dict[str, Any]) -> tuple[bool, str | None]:
    said = host.client.get(f"/v1/decisions/{decided['decision_id']}").json()
    return said["may_send"], said["reason"]


def outcome(id: str, decided: dict[str, Any], type: str) -> dict[str, Any]:
    return {"source": "desk", "id": id, "decision_id": decided["decision_id"], "type": type, "at": iso(TODAY)}


def refused(answer: httpx.Response) -> bool:
    said = answer.json()
    assert "this host has no log: send it to the host that has" in said["detail"], said
    assert "retry-after" not in answer.headers, "the same host answers the same"
    return (answer.status_code, said["code"]) == (503, "log")


@pytest.mark.parametrize("type", ["opt_out", "complaint"])
def test_what_must_bind_is_refused_where_it_would_bind_one_host_alone(hosts: Hosts, type: str) -> None:
    """Else who opted out is written to by every other host, and by this one once it is replaced."""
    decided = hosts.contacted()
    told = [
        outcome(f"{type}-{decided['customer_id']}", decided, type),
        outcome(f"open-{type}", decided, "open"),
    ]
    assert refused(hosts.scorer.client.post("/v1/outcomes", json={"outcomes": told}))
    assert sendable(hosts.scorer, decided) == sendable(hosts.writer, decided) == (True, None)
    results = hosts.writer.client.post("/v1/outcomes", json={"outcomes": told}).json()["results"]
    assert [one["status"] for one in results] == ["accepted", "accepted"], (
        "the refused host took none of them"
    )
    reason = "no_consent" if type == "opt_out" else "open_complaint"
    assert sendable(hosts.writer, decided) == (False, reason), "at once"
    until(lambda: sendable(hosts.scorer, decided) == (False, reason))


def test_an_outcome_that_binds_nobody_may_be_told_to_a_scorer(hosts: Hosts) -> None:
    """Else a sender loses what the ledger alone keeps, which every host writes."""
    decided = hosts.contacted()
    told = {"outcomes": [outcome("clicked", decided, "click")]}
    (first,) = hosts.scorer.client.post("/v1/outcomes", json=told).json()["results"]
    (again,) = hosts.writer.client.post("/v1/outcomes", json=told).json()["results"]
    assert (first["status"], again["status"]) == ("accepted", "duplicate")


def test_events_and_erasures_are_refused_where_they_would_be_lost(hosts: Hosts) -> None:
    """`accepted` of a host that forgets is a lost order, a lost withdrawal, or somebody not erased."""
    visit = {"type": "visit", "source": "web", "id": "v1", "customer": hosts.customers[0], "at": iso(TODAY)}
    told = {"events": [visit | {"channel": "web"}]}
    assert refused(hosts.scorer.client.post("/v1/events", json=told))
    assert refused(hosts.scorer.client.delete(f"/v1/customers/{hosts.customers[0]}"))
    (kept,) = hosts.writer.client.post("/v1/events", json=told).json()["results"]
    assert kept["status"] == "accepted"
    home = hosts.homes[1].home
    assert not (home / "erased" / "asked").exists()
    assert not (home / "log" / "inbox" / "events.sqlite").exists()


def test_a_pause_binds_every_host_at_once(hosts: Hosts) -> None:
    """An emergency stop that reaches one host of five goes on sending a wrong price from four."""
    decided, other = hosts.contacted(), hosts.customers[-1]
    for home in hosts.homes:  # whoever stops it may be logged in anywhere
        hosts.command(home, "pause", "everything", "--reason", "wrong price")
        for host in (hosts.writer, hosts.scorer):
            assert host.client.get("/readyz").json()["paused"] == ["everything"]
            assert sendable(host, decided) == (False, "paused")
            assert decide(host, other, preview=True)["channel"] is None
            assert decide(host, other)["channel"] is None
        assert "wrong price" in hosts.command(hosts.homes[1], "pause")
        hosts.command(home, "resume", "everything")
        for host in (hosts.writer, hosts.scorer):
            assert host.client.get("/readyz").json()["paused"] == []
            assert sendable(host, decided) == (True, None)


def test_a_complaint_told_to_the_writer_binds_the_scorer_where_the_log_has_none(hosts: Hosts) -> None:
    """No feature counts complaints then: else all hosts but one go on writing to whoever complained."""
    decided = hosts.contacted()
    customer = decided["customer_id"]

    def case(change: str) -> None:
        told = {"type": "case", "source": "desk", "id": change, "customer": customer, "at": iso(TODAY)}
        said = told | {"case_id": "desk:1", "kind": "complaint", "change": change}
        (kept,) = hosts.writer.client.post("/v1/events", json={"events": [said]}).json()["results"]
        assert kept["status"] == "accepted"

    case("opened")
    assert sendable(hosts.writer, decided) == (False, "open_complaint"), "at once"
    until(lambda: sendable(hosts.scorer, decided) == (False, "open_complaint"))
    for host in (hosts.writer, hosts.scorer):
        answer = decide(host, customer)
        assert (answer["channel"], answer["used"]["open_complaint"]) == (None, True)
        assert "" not in answer["used"]["recorded_consent"], "a complaint is no consent"
    case("closed")
    assert sendable(hosts.writer, decided) == (True, None), "at once"
    until(lambda: sendable(hosts.scorer, decided) == (True, None))


def test_what_the_log_has_of_a_contact_counts_once_on_every_host(hosts: Hosts) -> None:
    """Else a scorer counts each contact twice, and writes half as often as the policy allows."""
    decided = next(of for of in iter(hosts.contacted, {}) if not of["used"]["contacts_in_log"])
    id, customer = decided["decision_id"], decided["customer_id"]
    sent = {"source": "post", "id": id, "decision_id": id, "status": "sent", "at": iso(TODAY)}
    (kept,) = hosts.writer.client.post("/v1/deliveries", json={"deliveries": [sent]}).json()["results"]
    assert kept["status"] == "accepted"
    writer = hosts.homes[0]
    hosts.command(writer, "ledger", "export")
    hosts.command(writer, "features", "build", "--as-of", iso(TODAY), "--since", iso(TODAY))
    for home, host in zip(hosts.homes, (hosts.writer, hosts.scorer), strict=True):
        used = decide(host, customer, preview=True)["used"]
        assert (used["contacts_in_log"], used["contacts_decided"]) == (1, 0)
        later = iso(TODAY + 8 * DAY)  # when a second one is not too soon any more
        said = hosts.command(home, "decide", customer, "--preview", "--json", "--as-of", later)
        reasons = {of["reject_reason"] for of in json.loads(said)["actions"] if of["action"] != "nothing"}
        assert None in reasons, f"two contacts a month are allowed, and this is one: {reasons}"
