"""Events that are accepted and that the log then cannot take, or that name nobody: the sender learns it."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dirty import TILL, bring_in, write_shop

from features.inbox import Inbox
from features.ingestion import rejects
from features.log import Log
from features.moments import parse_moment
from features.settings import Settings
from propensity.steps import take_inbox
from serving.arrivals import EventAnswer, EventRefused, take

NOW = parse_moment("2024-03-01")
HEAD = "no,who,day,paid\n"
TOLD = HEAD + "17,ann,2024-01-02,5\n18,bob,2024-01-03,5\n19,ann,2024-02-03,5\n"


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    settings = write_shop(tmp_path, "[mapping.till]\n" + TILL, {"orders.csv": TOLD})
    bring_in(settings)
    return replace(settings, as_of=NOW)


@pytest.fixture
def inbox(home: Settings) -> Iterator[Inbox]:
    with closing(Inbox(home)) as inbox:
        yield inbox


def order(id: str, customer: str, at: str = "2024-02-10T10:00:00Z", **of: Any) -> dict[str, Any]:
    line = {"product_id": "p1", "amount": 5}
    common = {"type": "order", "source": "web", "channel": "web", "amount": 5, "lines": [line]}
    return common | {"id": id, "customer": customer, "at": at} | of


def nobody(people: Sequence[Any]) -> list[str | None]:
    return [None] * len(people)


def told(settings: Settings, inbox: Inbox, *events: Any) -> list[EventAnswer | EventRefused]:
    return take(json.dumps({"events": events}).encode(), "0" * 32, settings, inbox, nobody).results


def test_an_order_that_is_another_customers_in_the_log_is_told_to_its_sender(
    home: Settings, inbox: Inbox
) -> None:
    """Else two systems number alike, every second sale of the web shop is dropped, and it never learns."""
    events = [order("17", "zed"), order("20", "zed")]
    assert [a.status for a in told(home, inbox, *events) if isinstance(a, EventAnswer)] == ["accepted"] * 2
    assert len(inbox.rows(["zed"], ["orders"])) == 2
    take_inbox(home)
    again, taken = told(home, inbox, *events)
    assert isinstance(again, EventRefused)
    assert (again.error.code, again.error.place, again.id) == ("event_refused", "$.events[0].id", "17")
    assert "another customer's order_id in till" in again.error.detail
    assert "send it under a new id" in again.error.detail
    assert isinstance(taken, EventAnswer)
    assert taken.status == "duplicate"
    held = {row.body["order_id"] for row in inbox.rows(["zed"], ["orders", "order_lines"])}
    assert held == {"20"}, "a fresh row of hers must say what the log says"
    (new,) = told(home, inbox, order("web:17", "zed"))
    assert isinstance(new, EventAnswer)
    take_inbox(home)
    orders = {r["order_id"]: r["customer_id"] for r in Log.open(home).read("orders").to_pylist()}
    assert orders == {"17": "ann", "18": "bob", "19": "ann", "20": "zed", "web:17": "zed"}


def test_what_the_log_takes_after_all_is_refused_no_more(home: Settings, inbox: Inbox) -> None:
    """The till's file was wrong and came again: the event stands as it was told."""
    told(home, inbox, order("18", "zed"))
    take_inbox(home)
    assert inbox.refusal("web", "18") == "another customer's order_id in till"
    assert home.shop is not None
    (home.shop / "orders.csv").write_text(TOLD.replace("18,bob", "28,bob"))
    bring_in(home)
    take_inbox(home)
    assert inbox.refusal("web", "18") is None
    (answer,) = told(home, inbox, order("18", "zed"))
    assert isinstance(answer, EventAnswer)
    assert [row.body["order_id"] for row in inbox.rows(["zed"], ["orders"])] == ["18"]


def test_what_a_person_mended_is_not_to_be_sent_again(home: Settings, inbox: Inbox, tmp_path: Path) -> None:
    """Sent under a new id as well, the order would be there twice."""
    told(home, inbox, order("18", "zed", lines=[]))
    take_inbox(home)
    sheet = tmp_path / "rejects.csv"
    assert rejects.export(home, sheet, "inbox") == 1
    text = sheet.read_text("utf-8-sig")
    head, row = text.splitlines()
    place = head.split(",").index("order_id")
    cells = row.split(",")
    cells[place] = "18b"
    sheet.write_text(f"{head}\n{','.join(cells)}\n", "utf-8")
    rejects.take_in(home, sheet)
    take_inbox(home)
    assert "18b" in {r["order_id"] for r in Log.open(home).read("orders").to_pylist()}
    assert inbox.refusal("web", "18") is None
    (answer,) = told(home, inbox, order("18", "zed", lines=[]))
    assert isinstance(answer, EventAnswer)
    assert answer.status == "duplicate"
    assert inbox.rows(["zed"], ["orders"]) == [], "the log has it, under its mended id"


def test_who_is_erased_leaves_no_refusal(home: Settings, inbox: Inbox) -> None:
    """A note of what was refused would be of somebody of whom nothing is kept."""
    told(home, inbox, order("17", "zed"))
    take_inbox(home)
    assert inbox.refusal("web", "17")
    inbox.erase(["zed"])
    assert inbox.refusal("web", "17") is None
