"""Two machines that share Redis and PostgreSQL, and no disk: together they keep what one alone keeps."""

import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest
from running import CUSTOMERS, Running, release, running, settings_of, small_build
from servers import RedisServer
from servers_postgres import PostgresServer
from tiny import TINY_FEATURES, TINY_MOMENT

from features import online


@pytest.fixture(scope="module")
def hosts(
    tmp_path_factory: pytest.TempPathFactory, redis_of_all: RedisServer, postgres: PostgresServer
) -> Iterator[tuple[Running, Running]]:
    """Each with a home of its own; the shop's folder is the same."""
    with redis_of_all.client() as client:
        client.flushall()
    folder = tmp_path_factory.mktemp("hosts")
    shared = {"PROPENSITY_ONLINE": redis_of_all.url, "PROPENSITY_LEDGER": postgres.new_database()}
    first = replace(settings_of(folder / "a" / "home"), online=redis_of_all.url)
    build = small_build(first, names=[*TINY_FEATURES, "order_value_365d"])
    online.publish(first, build, TINY_MOMENT)
    release(first, folder, build, "churn_28d")
    second = replace(first, home=folder / "b" / "home")
    shutil.copytree(first.home / "releases", second.home / "releases")
    with running(first, watched=True, **shared) as a, running(second, watched=True, **shared) as b:
        yield a, b


def decide(host: Running, key: str, customer: str) -> httpx.Response:
    return host.client.post("/v1/decisions", json={"customer": customer}, headers={"idempotency-key": key})


def test_a_cap_holds_across_machines(hosts: tuple[Running, Running]) -> None:
    """Else two journeys on two machines write to the same customer at once, and nobody was wrong."""
    customers = CUSTOMERS[:40]
    asked = [(hosts[n % 2], f"{customer}-{n}", customer) for customer in customers for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = [answer.json() for answer in pool.map(lambda one: decide(*one), asked)]
    contacts = Counter(one["customer_id"] for one in answers if one["action"] != "nothing")
    assert len(contacts) > 10
    assert set(contacts.values()) == {1}, "one, and then its action rests"
    both = {one["decision_id"] for one in answers}
    assert len(both) == len(answers)


def test_a_key_is_answered_alike_by_every_machine(hosts: tuple[Running, Running]) -> None:
    """A load balancer sends a repeated request anywhere: a second decision would be a second contact."""
    asked = [(hosts[n % 2], f"again-{n // 4}", CUSTOMERS[100 + n // 4]) for n in range(80)]
    with ThreadPoolExecutor(8) as pool:
        answers = [*pool.map(lambda one: decide(*one), asked)]
    assert {answer.status_code for answer in answers} == {200}
    for start in range(0, 80, 4):
        assert len({answer.content for answer in answers[start : start + 4]}) == 1
    other = decide(hosts[1], "again-0", CUSTOMERS[500])
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


def test_what_became_of_a_decision_may_be_told_to_any_machine(hosts: tuple[Running, Running]) -> None:
    """Else a sender must know which machine decided."""
    decided = next(
        answer
        for n in range(200, 260)
        if (answer := decide(hosts[0], f"told-{n}", CUSTOMERS[n]).json())["action"] != "nothing"
    )
    report = {"source": "sender", "id": "1", "decision_id": decided["decision_id"], "at": decided["as_of"]}
    body = {"deliveries": [report | {"status": "blocked", "blocked_by": "opt-out"}]}
    first, again = (
        host.client.post("/v1/deliveries", json=body).json()["results"][0] for host in hosts[::-1]
    )
    assert (first["status"], first["contact"], again["status"]) == ("accepted", "released", "duplicate")
    seen = hosts[1].client.get(f"/v1/decisions/{decided['decision_id']}").json()
    assert seen["decision_id"] == decided["decision_id"]
