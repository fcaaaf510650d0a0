"""Types and places of `POST /v1/events`: what fits, what does not, and that nothing sent is ever repeated."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest
from msgspec.structs import fields

from features.inbox import Inbox
from features.moments import parse_moment
from features.settings import Settings
from features.tables import TABLES
from features.tombstones import Tombstones
from serving import arrivals
from serving.arrivals import EventAnswer, EventRefused, EventsAnswer, take
from serving.problems import Problem

NOW = parse_moment("2017-12-31")
SECRET = "Zoe-1987-secret"
COMMON = {"source": "crm", "id": "1", "customer": "c1", "at": "2017-12-30T10:00:00-05:00"}
LINE = {"product_id": "p1", "amount": 5}
ONE_OF_EACH: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("visit", "view", "cart", "comment", "live", "login"), {"channel": "app"}),
    "order": {"channel": "app", "amount": "12.50", "discount": 1, "lines": [LINE | {"coupon": "0.5"}]},
    "refund": {"channel": "app", "amount": 5, "ref": "o1", "lines": [LINE | {"items": 2}]},
    "contact": {"channel": "sms", "action": "news", "until": "2018-01-05T00:00:00Z", "cost": ".05"},
    "response": {"kind": "click", "contact_id": "k"},
    "consent": {"purpose": "marketing", "status": "withdrawn", "channel": "sms"},
    "case": {"case_id": "k1", "kind": "complaint", "change": "opened"},
    "membership": {"kind": "group", "place_id": "g1", "change": "joined"},
    "survey": {"kind": "nps", "score": 9},
}


@pytest.fixture
def inbox(home: Settings) -> Iterator[Inbox]:
    with closing(Inbox(home)) as inbox:
        yield inbox


def settings_of(inbox: Inbox) -> Settings:
    return Settings(home=inbox.folder.parents[1], as_of=NOW)


def nobody(people: Sequence[Any]) -> list[str | None]:
    """Nobody is known by another system's id."""
    return [None] * len(people)


def told(inbox: Inbox, *events: Any) -> EventsAnswer:
    body = json.dumps({"events": events}).encode()
    return take(body, "0" * 32, settings_of(inbox), inbox, nobody)


@pytest.mark.parametrize("type", ONE_OF_EACH)
def test_an_event_of_each_type_becomes_rows_that_keep_the_logs_contract(inbox: Inbox, type: str) -> None:
    """What is accepted and then rejected at the next build would be lost without a word."""
    from features import duck

    (answer,) = told(inbox, COMMON | {"type": type} | ONE_OF_EACH[type]).results
    assert isinstance(answer, EventAnswer), answer
    rows = inbox.rows(["c1"])
    assert rows
    with duck.connect() as connection:
        for row in rows:
            table = TABLES[row.table]
            given = row.body | {"known_at": row.known_at.isoformat()}
            assert set(given) <= set(table.columns)
            columns = ", ".join(
                f'CAST(? AS {_SQL[column.type]}) AS "{name}"' for name, column in table.columns.items()
            )
            values = [None if name not in given else str(given[name]) for name in table.columns]
            assert not [n for n, c in table.columns.items() if c.required and n not in given]
            for reason, rule in table.rules:
                found = connection.execute(f"SELECT ({rule}) FROM (SELECT {columns})", values).fetchall()
                assert found == [(True,)], reason


_SQL = {
    "text": "VARCHAR",
    "moment": "TIMESTAMPTZ",
    "money": "DECIMAL(18, 2)",
    "integer": "BIGINT",
    "real": "DOUBLE",
}
_SQL["map"] = "VARCHAR"


def test_a_refund_is_negative_money_and_goods_with_its_order(inbox: Inbox) -> None:
    """Else a return would count as revenue."""
    told(inbox, COMMON | {"type": "refund"} | ONE_OF_EACH["refund"])
    line, order = (row.body for row in inbox.rows(["c1"]))
    assert (order["amount"], order["ref"], order["discount"]) == ("-5.00", "o1", "0.00")
    assert (line["amount"], line["items"], line["ref"], line["discount"]) == ("-5.00", -2, "o1", "0.00")


def test_the_same_event_written_differently_is_the_same(inbox: Inbox) -> None:
    """Another library writes 12.5 for 12.50, and another offset for the same moment."""
    order = COMMON | {"type": "order"} | ONE_OF_EACH["order"]
    same = dict(reversed(order.items())) | {"amount": 12.5, "at": "2017-12-30T15:00:00.000Z"}
    other = order | {"amount": 12.51}
    answers = told(inbox, order, same, other).results
    assert [getattr(a, "status", None) or a.error.code for a in answers] == [
        "accepted", "duplicate", "event_conflict",
    ]  # fmt: skip


def test_a_customer_named_by_another_system_is_one_person_from_her_first_event_on(inbox: Inbox) -> None:
    person = {"source": "web", "id": "42"}
    first, second = (
        told(inbox, COMMON | {"type": "visit", "channel": "app", "id": id, "customer": person}).results[0]
        for id in ("1", "2")
    )
    assert first.customer_id == second.customer_id == inbox.resolve("web", "42")
    identities = [row for row in inbox.rows([first.customer_id]) if row.table == "identities"]
    assert [(row.body["source"], row.body["source_id"]) for row in identities] == [("web", "42")]
    assert inbox.resolve("web", "43") is None


def bad(type: str = "visit", **of: Any) -> dict[str, Any]:
    return COMMON | {"type": type, **ONE_OF_EACH.get(type, {})} | of


NOT_IN_UTC = ("9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00")  # it ends, and begins, between
BAD: list[tuple[Any, str]] = [
    (19870101, ""),
    ([SECRET], ""),
    ({}, ".type"),
    (bad(SECRET), ".type"),
    ({k: v for k, v in bad().items() if k != "channel"}, ".channel"),
    (bad(channel=""), ".channel"),
    (bad(channel="a\nb"), ".channel"),
    (bad(id="x" * 257), ".id"),
    (bad(**{SECRET: 1}), ""),
    (bad(**{f"{SECRET}` - at `$.zoe": 1}), ""),
    (bad(customer=19870101), ".customer"),
    (bad(customer={"source": SECRET}), ".customer.id"),
    (bad("order", lines=[LINE, {"amount": 5}]), ".lines[1].product_id"),
    (bad(customer={"source": "a", "id": "b", SECRET: 1}), ".customer"),
    (bad(at="2017-12-30T10:00:00"), ".at"),
    (bad(at=SECRET), ".at"),
    (bad(at=1514678400), ".at"),
    (bad(at="2017-12-31T00:06:00Z"), ".at"),
    (bad(at="1970-01-01T00:00:00Z"), ".at"),
    (bad(seconds=-1), ".seconds"),
    (bad("order", amount=SECRET), ".amount"),
    (bad("order", amount="NaN"), ".amount"),
    (bad("order", amount="-Infinity"), ".amount"),
    (bad("order", amount=1e30), ".amount"),
    (bad("order", amount=-1), ".amount"),
    (bad("order", amount="1.005"), ".amount"),
    (bad("order", lines=[LINE] * 501), ".lines"),
    (bad("order", lines=[LINE, LINE | {SECRET: 1}]), ".lines[1]"),
    (bad("order", lines=[LINE, LINE | {"items": SECRET}]), ".lines[1].items"),
    (bad("order", lines=[LINE, LINE | {"amount": "0.001"}]), ".lines[1].amount"),
    (bad("order", lines=[LINE | {"items": 0, "amount": 0}]), ".lines[0]"),
    (bad("refund", lines=[LINE | {"discount": 1}]), ".lines[0]"),
    (bad("contact", propensity=0), ".propensity"),
    *((bad("contact", **{of: at}), f".{of}") for of in ("at", "until") for at in NOT_IN_UTC),
    (bad("consent", purpose=SECRET), ".purpose"),
    (bad("case", change=SECRET), ".change"),
    (bad("survey", kind="satisfaction", score=0), ".score"),
    (bad("survey", score=11), ".score"),
]


@pytest.mark.parametrize(("event", "place"), BAD)
def test_an_event_that_does_not_fit_names_its_place_and_costs_no_other(
    inbox: Inbox, event: Any, place: str
) -> None:
    """One bad event of a thousand must not stop the others, whenever they are sent again, nor a detail repeat
    what a person sent."""
    answer = told(inbox, bad(id="before"), event, bad(id="after"))
    before, refused, after = answer.results
    assert isinstance(before, EventAnswer)
    assert isinstance(after, EventAnswer)
    assert isinstance(refused, EventRefused)
    assert (refused.error.code, refused.error.place) == ("invalid_event", f"$.events[1]{place}")
    assert refused.error.detail
    for value in (SECRET, "19870101", "1514678400", "zoe"):
        assert value not in refused.error.detail


def _wrong() -> Iterator[tuple[Any, str]]:
    """Every field of an event of each type, absent where it is required, null, and of another type."""
    for kind, of in ONE_OF_EACH.items():
        whole = COMMON | {"type": kind} | of
        struct = arrivals._TYPES[kind]
        required = {field for field in whole if field in struct.__struct_fields__}
        required -= {f.name for f in fields(struct) if not f.required}
        for field in whole:
            if field in required or field == "type":
                yield {key: value for key, value in whole.items() if key != field}, field
            yield whole | {field: {"nothing": SECRET}}, field
            yield whole | {field: True}, field


@pytest.mark.parametrize("kind", ONE_OF_EACH)
def test_the_field_that_is_wrong_is_named_with_the_events_place(inbox: Inbox, kind: str) -> None:
    """A sender of a thousand events reads which of them, and which field of it, and mends that."""
    wrong = [(event, field) for event, field in _wrong() if event.get("type", kind) == kind]
    answers = told(inbox, *(event for event, _ in wrong)).results
    for place, ((_, field), refused) in enumerate(zip(wrong, answers, strict=True)):
        assert isinstance(refused, EventRefused), field
        named = refused.error.place.removeprefix(f"$.events[{place}].")
        assert named.split(".")[0].split("[")[0] == field
        assert refused.error.detail.lower().startswith("expected"), refused.error.detail


@pytest.mark.parametrize(
    ("event", "place", "meant"),
    [
        (bad(chanel="app"), "", "channel"),
        (bad("order", amonut=5), "", ""),  # the right one is there: nothing is missing
        ({k: v for k, v in bad("order").items() if k != "amount"} | {"Amonut": 5}, "", "amount"),
        (bad(customer={"source": "web", "idd": "1"}), ".customer", "id"),
        (bad("order", lines=[LINE, {"productid": "p", "amount": 1}]), ".lines[1]", "product_id"),
        (bad(**{"x` - at `$.lines[7]": 1}), "", ""),
        (bad(**{"x` - at `$.customer": 1}), "", ""),
    ],
)
def test_a_field_that_is_misspelt_is_said_by_the_name_that_it_should_have(
    inbox: Inbox, event: dict[str, Any], place: str, meant: str
) -> None:
    """Only our own names are ever repeated, and a name that looks like a path breaks nothing."""
    if "chanel" in event:
        del event["channel"]
    (refused,) = told(inbox, event).results
    assert isinstance(refused, EventRefused)
    assert refused.error.detail.startswith("expected only the fields")
    assert ("did you mean" in refused.error.detail) == bool(meant)
    if meant:
        assert refused.error.place == f"$.events[0]{place}"
        assert refused.error.detail.endswith(f"; did you mean '{meant}'?")


@pytest.mark.parametrize(
    ("event", "place", "detail"),
    [
        ('{"type": "%s", "type": "visit"}', ".type", "expected one of visit, "),
        ('{"type": "visit", "type": "%s"}', ".type", "expected one of visit, "),
        ('{"type": "visit", "type": "%s` - at `$.id`"}', ".type", "expected one of visit, "),
        ('{"type": "consent", "status": "%s` - at `$.id`"}', ".status", "expected one of granted, withdrawn"),
        ('{"type": "consent", "status": "%s", "type": "visit"}', ".status", "expected another value"),
    ],
)
def test_a_value_that_is_no_choice_is_never_repeated(
    inbox: Inbox, event: str, place: str, detail: str
) -> None:
    """A name in the wrong field would come to stand in the logs of whoever sent it."""
    body = b'{"events": [%s]}' % (event % SECRET).encode()
    (refused,) = take(body, "0" * 32, settings_of(inbox), inbox, nobody).results
    assert isinstance(refused, EventRefused)
    assert refused.error.place == f"$.events[0]{place}"
    assert refused.error.detail.startswith(detail)
    assert SECRET not in refused.error.detail


@pytest.mark.parametrize(
    ("event", "named"),
    [
        (bad(seconds=-1), ("crm", "1")),
        (bad("nothing"), ("crm", "1")),
        (bad(source="x" * 65, seconds=-1), (None, "1")),
        (bad(id=7), ("crm", None)),
        (bad(id=""), ("crm", None)),
        ([1], (None, None)),
    ],
)
def test_a_refused_event_is_named_by_its_source_and_id(
    inbox: Inbox, event: Any, named: tuple[str | None, str | None]
) -> None:
    """Else its sender has to count entries to find which of a thousand to mend."""
    (refused,) = told(inbox, event).results
    assert isinstance(refused, EventRefused)
    assert (refused.source, refused.id) == named


@pytest.mark.parametrize(
    "id",
    ["abc\n", " a", "a ", "\u3000a", "\ufeffa", "a\u202eb", "a\u200f", "\u2067a", "a\x85b", "a\x9f", "\x7f"],
)
def test_an_id_that_cannot_be_told_from_another_by_eye_is_refused_in_words(inbox: Inbox, id: str) -> None:
    """Two rows of one order, and a person who looks at both and sees no difference."""
    for of in ({"id": id}, {"customer": id}, {"customer": {"source": "web", "id": id}}, {"channel": id}):
        (refused,) = told(inbox, bad(**of)).results
        assert isinstance(refused, EventRefused), of
        assert refused.error.detail.startswith("expected text without control characters")


def test_ids_of_every_script_and_words_with_blanks_are_taken(inbox: Inbox) -> None:
    for id in ("订单 7", "a b", "Zoë", "👩\u200d👧"):
        (answer,) = told(inbox, bad(id=id, category=" shoes ")).results
        assert isinstance(answer, EventAnswer), answer


@pytest.mark.parametrize(
    "amount", ["1_000", " 1", "1\n", "\u0661", "0x10", "", "infinity", "1" * 65, True, None]
)
def test_an_amount_is_a_plain_number_or_is_refused(inbox: Inbox, amount: Any) -> None:
    """What one system writes as 1_000 by mistake must not become money."""
    for of in ({"amount": amount}, {"lines": [LINE | {"coupon": amount}]}):
        (refused,) = told(inbox, bad("order", **of)).results
        assert isinstance(refused, EventRefused), of
        assert "regex" not in refused.error.detail


@pytest.mark.parametrize(
    ("amount", "kept"),
    [("1e3", "1000.00"), ("+.5", "0.50"), (7, "7.00"), (0.1, "0.10"), ("0E+999", "0.00")],
)
def test_an_amount_is_the_same_money_however_it_is_written(inbox: Inbox, amount: Any, kept: str) -> None:
    (answer,) = told(inbox, bad("order", amount=amount)).results
    assert isinstance(answer, EventAnswer), answer
    assert [row.body["amount"] for row in inbox.rows(["c1"]) if row.table == "orders"] == [kept]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b'{"events": [{]}', 400),
        (b'{"events": ["\xff"]}', 400),
        (b"[]", 422),
        (b'{"events": []}', 422),
        (b'{"events": [%s]}' % b",".join([b"1"] * 1001), 422),
        (b'{"events": [1], "extra": 1}', 422),
        (b'{"events":' + b"[" * 5000, 400),
        (b'{"events": [{"a":' + b"[" * 5000 + b"]" * 5000 + b"}]}", 400),
    ],
)
def test_a_body_that_is_no_list_of_events_is_a_problem(inbox: Inbox, body: bytes, status: int) -> None:
    with pytest.raises(Problem) as caught:
        take(body, "0" * 32, settings_of(inbox), inbox, nobody)
    assert caught.value.status == status
    assert not inbox.path.exists()


def test_an_event_of_any_depth_is_refused_and_never_an_internal_error(inbox: Inbox) -> None:
    """Between what the whole body and what one event may nest, the service would answer 500."""
    said = set()
    for depth in range(800, 1000):
        nested = b"[" * depth + b"]" * depth
        try:
            answer = take(b'{"events": [%s]}' % nested, "0" * 32, settings_of(inbox), inbox, nobody)
            (refused,) = answer.results
            assert isinstance(refused, EventRefused)
            said.add(refused.error.code)
        except Problem as problem:
            said.add(problem.code)
    assert said <= {"invalid_event", "malformed_json"}


def test_nothing_is_kept_of_who_was_erased_under_whichever_name(inbox: Inbox) -> None:
    """Other systems go on telling of her; her row must not come back by that."""
    Tombstones.of(settings_of(inbox)).having(["gone", "web:43"], [("web", "42")]).write()
    named = ["gone", {"source": "web", "id": "42"}, {"source": "web", "id": "43"}, "c1"]
    results = told(inbox, *(bad(id=str(i), customer=customer) for i, customer in enumerate(named))).results
    assert [r.error.code if isinstance(r, EventRefused) else r.status for r in results] == [
        "customer_erased", "customer_erased", "customer_erased", "accepted",
    ]  # fmt: skip
    assert list(inbox.customers(0)) == ["c1"]
