"""An id that a spreadsheet made 10.0 of, or took the zeros from: never a second person by that."""

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dirty import TILL, bring_in, write_shop
from running import running

from features import online
from features.compute.engine import build
from features.inbox import Inbox
from features.moments import parse_moment
from features.online import OnlineRows
from features.settings import Settings
from features.tombstones import Tombstones
from serving.arrivals import EventAnswer, EventRefused, take
from serving.misspelt import known_to

NOW = parse_moment("2024-01-06")
ORDERS = "no,who,day,paid\n" + "".join(
    f"{n},{who},2024-01-{1 + n:02},5\n" for n, who in enumerate(["10", "11", "12", "13.0", "0014"])
)
LINKS = """
[[mapping.till.read]]
table = "identities"
files = "links.csv"
[mapping.till.read.columns]
source = "of"
source_id = "id"
customer_id = "who"
"""
PEOPLE = "of,id,who\nweb,7,10\napp,1,10\napp,1,11\n"  # 10 and 11 are one


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("published")
    files = {"orders.csv": ORDERS, "links.csv": PEOPLE}
    settings = replace(write_shop(folder, "[mapping.till]\n" + TILL + LINKS, files), as_of=NOW)
    bring_in(settings)
    made, _ = build(settings, [NOW])
    online.publish(settings, made, NOW)
    return settings


@pytest.fixture
def home(published: Settings, tmp_path: Path) -> Settings:
    shutil.copytree(published.home, tmp_path / "home")
    return replace(published, home=tmp_path / "home", api_keys={"tests": "a-key-for-tests-only"})


@pytest.fixture
def inbox(home: Settings) -> Iterator[Inbox]:
    with closing(Inbox(home)) as inbox:
        yield inbox


def visit(customer: Any, id: str | None = None) -> dict[str, Any]:
    of = {"type": "visit", "source": "web", "channel": "web", "at": "2024-01-05T10:00:00Z"}
    return of | {"id": id or json.dumps(customer), "customer": customer}


def told(settings: Settings, inbox: Inbox, *events: Any) -> list[EventAnswer | EventRefused]:
    rows = OnlineRows.open(settings)
    body = json.dumps({"events": events}).encode()
    pairs = lambda people: rows.resolve([(p.source, p.id) for p in people])  # noqa: E731
    return take(body, "0" * 32, settings, inbox, pairs, known_to(settings, rows, inbox)).results


@pytest.mark.parametrize(
    ("customer", "place"),
    [
        ("10.0", ".customer"),
        ("12.00", ".customer"),
        ("11.0", ".customer"),  # merged
        ("14", ".customer"),  # 0014, whose zeros were lost
        ("14.0", ".customer"),
        ("0010", ".customer"),
        ({"source": "web", "id": "7.0"}, ".customer.id"),
    ],
)
def test_a_known_customers_number_written_otherwise_is_a_mistake_that_is_told(
    home: Settings, inbox: Inbox, customer: Any, place: str
) -> None:
    """Else one customer is two: one who buys, and one who complains, and is written to all the same."""
    before, refused, after = told(home, inbox, visit("10", "a"), visit(customer), visit("12", "b"))
    assert isinstance(refused, EventRefused)
    assert (refused.error.code, refused.error.place) == ("unknown_customer", f"$.events[1]{place}")
    assert "without .0" in refused.error.detail
    assert "send the id as text" in refused.error.detail
    assert refused.source == "web"
    assert [type(a) for a in (before, after)] == [EventAnswer] * 2, "and it costs no other its place"
    assert set(inbox.people()) == {"10", "12"}


@pytest.mark.parametrize(
    "customer",
    [
        "13.0",
        "99.0",
        "10.5",
        "10.0.0",
        "0014",
        "15",
        {"source": "web", "id": "8.0"},
        {"source": "app", "id": "7.0"},
    ],
)
def test_ids_are_kept_as_given_where_nobody_else_can_be_meant(
    home: Settings, inbox: Inbox, customer: Any
) -> None:
    """A log whose ids are written so, or a customer who is new, is no mistake."""
    (answer,) = told(home, inbox, visit(customer))
    assert isinstance(answer, EventAnswer)


def test_who_came_by_an_event_alone_is_known_too(home: Settings, inbox: Inbox) -> None:
    """She is new this morning, so nothing is published of her; nor of who stands in the same request."""
    told(home, inbox, visit("55"), visit({"source": "web", "id": "56"}))
    later = told(
        home, inbox, visit("55.0"), visit({"source": "web", "id": "56.0"}), visit("77"), visit("77.0")
    )
    assert [isinstance(a, EventRefused) for a in later] == [True, True, False, True]
    zeros = told(home, inbox, visit("88"), visit("0088"), visit({"source": "app", "id": "0088"}))
    assert [isinstance(a, EventRefused) for a in zeros] == [True, False, False], "zeros are lost, never won"


def test_who_was_erased_does_not_come_back_by_a_misspelt_id(home: Settings, inbox: Inbox) -> None:
    Tombstones.of(home).having(["12"]).write()
    (refused,) = told(home, inbox, visit("12.0"))
    assert isinstance(refused, EventRefused)
    assert inbox.people() == {}


def test_the_service_asks_what_is_published(home: Settings) -> None:
    with running(home) as service:
        body = {"events": [visit("10.0"), visit("10")]}
        refused, taken = service.client.post("/v1/events", json=body).json()["results"]
    assert (refused["error"]["code"], taken["status"]) == ("unknown_customer", "accepted")
