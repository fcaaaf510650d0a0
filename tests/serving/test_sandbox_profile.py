"""What a test key is told of one customer: every field, and no figure against another."""

from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

from msgspec import Struct
from sandboxed import client, home, key, key_of_jobs, service, visit  # noqa: F401

from features.moments import DAY, parse_moment
from serving.api import Identity, Score
from serving.client import Client
from serving.customer_types import CustomerAnswer, Health, LastDecision, NoValue
from serving.known import CASES, CONTACTS, WARNINGS
from serving.sandbox_customers import CUSTOMERS, Example
from serving.sandbox_profile import figures_of
from serving.segment_tables import TABLES

# ruff: noqa: F811 (fixtures of another module are arguments)


def test_every_field_of_the_profile_is_filled_of_somebody(client: Client) -> None:
    """Else the part of a page that shows it is first seen with a real customer on it."""
    pages = [client.customer(id) for id in (*CUSTOMERS, "test-unsegmented", "test-undecided")]
    assert set(declared(CustomerAnswer)) - {path for page in pages for path in filled(page)} == set()
    figures = {fact.feature for page in pages for fact in (*page.contacts, *page.cases)}
    assert set(CONTACTS) | set(CASES) <= figures
    warned = {
        fact.feature for page in pages if isinstance(page.health, Health) for fact in page.health.warnings
    }
    assert warned == set(WARNINGS)


def declared(of: Any, path: str = "") -> Iterator[str]:
    """Every field that an answer of that type may have, and of what is in it."""
    if isinstance(of, type) and issubclass(of, Struct):
        for name, inner in get_type_hints(of).items():
            at = f"{path}.{of.__name__}.{name}"
            yield at
            yield from declared(inner, at)
    for inner in get_args(of):
        yield from declared(inner, path)


def filled(value: Any, path: str = "") -> Iterator[str]:
    """Those of them that say something."""
    if isinstance(value, Struct):
        for name in value.__struct_fields__:
            at, inner = f"{path}.{type(value).__name__}.{name}", getattr(value, name)
            if inner not in (None, [], ""):
                yield at
                yield from filled(inner, at)
    if isinstance(value, list):
        for inner in value:
            yield from filled(inner, path)


def test_no_figure_of_a_page_contradicts_another(client: Client) -> None:
    """Else who builds the page takes a slip of ours for what a customer can be like."""
    contradicted = {}
    for id, example in CUSTOMERS.items():
        page = client.customer(id)
        assert called(example) == tuple(getattr(example, kind) for kind in TABLES), id
        if isinstance(page.value, NoValue):
            assert example.row["orders_365d"] == 0
            continue
        value, known_at = page.value, parse_moment(page.known_at)
        assert value.orders >= value.order_chance
        assert 0 < value.order_chance <= 1
        assert value.profit.p10 <= value.profit.p50 <= value.profit.p90
        assert (value.profit.p50 > 0) == (value.order_chance > 0.5) == (value.next_order_date is not None)
        contradicted[id] = value.contradicted_by
        soon = (known_at + 28 * DAY).date().isoformat() >= (value.next_order_date or "9999")
        for score in page.scores:
            if isinstance(score, Score):
                orders = score.probability if score.target == "repurchase_28d" else 1 - score.probability
                assert ((orders >= 0.5) != soon) == (score.target in value.contradicted_by), id
    for place, figure in enumerate(("days_since_order", "order_days_365d", "spend_365d")):
        fifths = sorted({(one.row[figure], one.rfm[place]) for one in CUSTOMERS.values() if one.tier})
        assert [of for _, of in fifths] == sorted((of for _, of in fifths), reverse=place == 0), figure
        assert len(fifths) == len(dict(fifths)), f"one {figure} lies in two fifths"
    assert {id for id, of in contradicted.items() if of} == {"test-complaint"}
    assert contradicted["test-complaint"] == ["churn_28d", "repurchase_28d"]


def test_an_id_that_became_hers_is_answered_as_hers(client: Client) -> None:
    """Else a journey that keeps the old id is first answered under another one in earnest."""
    assert client.customer("test-canonical").merged == ["test-merged"]
    old = client.customer("test-merged")
    assert (old.customer_id, old.merged) == ("test-canonical", ["test-merged"])
    assert client.customer(Identity(**CRM)).customer_id == "test-canonical"
    assert client.scores(["test-merged"]).results[0].customer_id == "test-canonical"
    assert client.decide("test-merged", "of the old id").customer_id == "test-canonical"
    of = client.events([visit("test-merged"), visit("test-merged") | {"id": "v", "customer": CRM}]).results
    assert [one.customer_id for one in of] == ["test-canonical"] * 2  # type: ignore[union-attr]


CRM = {"source": "crm", "id": "test-merged"}


def test_the_page_tells_the_last_decision_and_what_came_of_it(client: Client) -> None:
    """Else the part of the page where a journey's own doing shows is empty until it runs in earnest."""
    page = client.customer("test-decided")
    past = page.decision
    assert isinstance(past, LastDecision)
    assert client.customer("test-decided").decision == past
    assert (past.status, past.scenario) == ("delivered", "win_back")
    days = {fact.feature: fact.value for fact in page.contacts}
    known_at = parse_moment(page.known_at)
    assert parse_moment(past.as_of) == known_at - days["days_since_contact"] * DAY
    (order,) = past.outcomes
    assert parse_moment(order.at) == known_at - days["days_since_answer"] * DAY
    assert client.may_send(past.decision_id).reason == "sent"
    assert client.customer("test-not-due").decision is None
    for number in range(5):  # the last, whatever its id
        taken = client.decide("test-not-due", f"on a page {number}")
        told = client.customer("test-not-due").decision
        assert isinstance(told, LastDecision)
        assert (told.decision_id, told.status) == (taken.decision_id, "decided")
    report = {"source": "p", "id": "1", "decision_id": taken.decision_id, "at": taken.as_of}
    client.deliveries([report | {"status": "sent"}])
    client.outcomes([report | {"type": "order", "value": 20.0}])
    told = client.customer("test-not-due").decision
    assert isinstance(told, LastDecision)
    assert (told.status, told.cost, [of.value for of in told.outcomes]) == (
        "sent",
        told.expected_cost,
        [20.0],
    )
    client.decide("test-decided", "a newer one")
    assert client.customer("test-decided").decision.status == "decided"  # type: ignore[union-attr]


def called(example: Example) -> tuple[str | None, ...]:
    """What the rules of segments make of the figures."""
    places = {kind: table.first(figures_of(example), 1)[0] for kind, table in TABLES.items()}
    return tuple(None if at < 0 else TABLES[kind].entries[at].gives for kind, at in places.items())
