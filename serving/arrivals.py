"""`POST /v1/events`: read what came in, keep it in the inbox, and say of each event what became of it.

Each event is read by itself, so one that does not fit costs no other its place. What is answered `accepted`
is on the disk; the next decision and, within a second, the next score are taken with it.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol, get_args

import msgspec
from msgspec import Meta, Raw, Struct

from features.inbox import Arrival, Outcome, named
from features.moments import iso
from features.settings import Settings
from features.shop import shop_of
from features.toml import nearest
from serving.bodies import MISSING, UNKNOWN_FIELD, Body, worded
from serving.codes import OF_EVENTS, one_of
from serving.events import (
    MAX_EVENTS,
    MAX_ID,
    MAX_SOURCE,
    AnyEvent,
    Goods,
    Line,
    Order,
    Person,
    odd_time,
)
from serving.misspelt import MISSPELT, Knows, Named, misspelt
from serving.problems import Problem

SLIPS = 10  # unknown fields of one object that are looked at
ERASED = "this customer was erased: nothing of them is kept"
CONFLICT = (
    "this id, or what this event is about, was told before with another content: send a new id. An id names "
    "one thing in the whole log: a system whose numbers are its own sends them with a prefix"
)
REFUSED = (
    "it was accepted, and the log did not take it: {}. If it is another thing of that number, send it under "
    "a new id, such as the number with a prefix"
)


class EventRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/events`: 1 to 1,000 of AnyEvent, each read by itself."""

    events: Annotated[list[Raw], Meta(min_length=1, max_length=MAX_EVENTS)]


class EventFailure(Struct, frozen=True):
    """Why one event was not taken. place: where in the body. It repeats no value."""

    code: Annotated[str, one_of(OF_EVENTS)]
    place: str
    detail: str


class EventAnswer(Struct, frozen=True):
    """What became of one event. duplicate: it was accepted before, and nothing changed.

    customer_id: whom it counts for. An id that became another customer's is answered as hers, once published.
    """

    source: str
    id: str
    customer_id: str
    status: Literal["accepted", "duplicate"]


class EventRefused(Struct, frozen=True):
    """One event that was not taken. source and id are null if they are no text of the allowed length."""

    source: str | None
    id: str | None
    error: EventFailure


class EventsAnswer(Struct, frozen=True):
    """Answer to EventRequest, an entry an event in the order sent; what is accepted is on the disk."""

    request_id: str
    as_of: str
    results: list[EventAnswer | EventRefused]


_REQUEST = Body(EventRequest)
_EVENT = msgspec.json.Decoder(AnyEvent)
_TYPES = {str(kind.__struct_config__.tag): kind for kind in get_args(AnyEvent)}
_INNER = re.compile(r" - at `(\$\.(customer|lines)(?:\[\d{1,3}\])?)`$")

Row = tuple[str, dict[str, Any]]


class Keeps(Protocol):
    """What keeps events: the inbox."""

    def accept(self, arrivals: Sequence[Arrival], received_at: datetime) -> Sequence[tuple[Outcome, str]]:
        """As `Inbox.accept`."""
        ...

    def refusal(self, source: str, id: str) -> str | None:
        """As `Inbox.refusal`."""
        ...


def take(
    body: bytes,
    request_id: str,
    settings: Settings,
    inbox: Keeps,
    resolve: Callable[[Sequence[Person]], Sequence[str | None]],
    knows: Knows = lambda customers: (),
    whose: Callable[[Sequence[str]], Mapping[str, str]] = lambda ids: {},
) -> EventsAnswer:
    """Keep the events of a request; the answer is for when they are on the disk.

    resolve: the published customer of each identity; whom it does not know is known from now on by that
    identity alone. whose: of those ids that became another customer's, hers. knows: see `misspelt`.
    Problem 400 if the body is not JSON, 422 if it is no list of 1 to MAX_EVENTS; LogError if the inbox cannot
    be written.
    """
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise Problem(400, "malformed_json", f"the body is not UTF-8: {error.reason}") from None
    now, exponent = settings.now(), shop_of(settings).exponent
    raws = [bytes(raw) for raw in _REQUEST.decode(body).events]
    read = [_read(raw, f"$.events[{place}]", exponent, now) for place, raw in enumerate(raws)]
    fit = [found for found in read if not isinstance(found, EventRefused)]
    odd = misspelt((event.customer for event, _ in fit), knows)
    read = [_refused_as_misspelt(found, place, odd) for place, found in enumerate(read)] if odd else read
    fit = [found for found in read if not isinstance(found, EventRefused)]
    people = {event.customer for event, _ in fit if isinstance(event.customer, Person)}
    known = dict(zip(people, resolve(list(people)), strict=True)) if people else {}
    hers = whose([event.customer for event, _ in fit if isinstance(event.customer, str)])
    arrivals = [_arrival(event, rows, known) for event, rows in fit]
    kept = iter(inbox.accept(arrivals, now) if arrivals else ())
    results: list[EventAnswer | EventRefused] = []
    for place, found in enumerate(read):
        if isinstance(found, EventRefused):
            results.append(found)
            continue
        event = found[0]
        outcome, customer_id = next(kept)
        if outcome == "customer_erased":
            failure = EventFailure(outcome, f"$.events[{place}].customer", ERASED)
            results.append(EventRefused(event.source, event.id, failure))
        elif outcome == "event_conflict":
            failure = EventFailure(outcome, f"$.events[{place}]", CONFLICT)
            results.append(EventRefused(event.source, event.id, failure))
        elif outcome == "event_refused":
            why = REFUSED.format(inbox.refusal(event.source, event.id))
            results.append(
                EventRefused(event.source, event.id, EventFailure(outcome, f"$.events[{place}].id", why))
            )
        else:
            hers_now = hers.get(customer_id, customer_id)
            results.append(EventAnswer(event.source, event.id, hers_now, outcome))
    return EventsAnswer(request_id, iso(now), results)


def outcomes(answer: EventsAnswer) -> Counter[str]:
    """How many events were accepted, duplicates, or refused for what."""
    return Counter(r.error.code if isinstance(r, EventRefused) else r.status for r in answer.results)


def _refused_as_misspelt(
    found: tuple[AnyEvent, list[Row]] | EventRefused, place: int, odd: Collection[Named]
) -> tuple[AnyEvent, list[Row]] | EventRefused:
    if isinstance(found, EventRefused) or found[0].customer not in odd:
        return found
    event, inside = found[0], "" if isinstance(found[0].customer, str) else ".id"
    failure = EventFailure("unknown_customer", f"$.events[{place}].customer{inside}", MISSPELT)
    return EventRefused(event.source, event.id, failure)


def _arrival(event: AnyEvent, rows: Sequence[Row], known: Mapping[Person, str | None]) -> Arrival:
    customer = event.customer
    # Of what it means rather than how it was written: another order of fields, or 1.1 for 1.10, is the same.
    meaning = msgspec.json.encode([customer, iso(event.at), rows], order="deterministic")
    digest = hashlib.blake2b(meaning, digest_size=16).digest()
    if isinstance(customer, str):
        return Arrival(event.source, event.id, digest, customer, event.at, rows)
    found = known[customer]
    if found is None:  # her id there is a fact of its own: a later file may say who she is
        rows = [*rows, ("identities", {"source": customer.source, "source_id": customer.id})]
        found = named(customer.source, customer.id)
    told_as = (customer.source, customer.id)
    return Arrival(event.source, event.id, digest, found, event.at, rows, told_as)


def _read(raw: bytes, place: str, exponent: int, now: datetime) -> tuple[AnyEvent, list[Row]] | EventRefused:
    try:
        try:
            event = _EVENT.decode(raw)
        except msgspec.ValidationError as error:
            path, expected = _explained(raw, str(error))
            return EventRefused(*_named(raw), EventFailure("invalid_event", place + path[1:], expected))
    except msgspec.DecodeError:  # half of a surrogate pair, for one
        return EventRefused(None, None, EventFailure("invalid_event", place, "expected text in Unicode"))
    except RecursionError:
        return EventRefused(None, None, EventFailure("invalid_event", place, "expected less nesting"))
    try:
        if odd := odd_time(event.at, now):
            raise ValueError(f"$.at: {odd}")
        return event, list(event.rows(exponent))
    except ValueError as error:
        path, _, expected = str(error).partition(": ")
        failure = EventFailure("invalid_event", place + path[1:], expected)
        return EventRefused(event.source, event.id, failure)


def _named(raw: bytes) -> tuple[str | None, str | None]:
    """The source and id of an event that does not fit, so that its sender finds it; None if not readable."""
    sent = msgspec.json.decode(raw)
    given = [sent.get("source"), sent.get("id")] if isinstance(sent, dict) else [None, None]
    lengths = MAX_SOURCE, MAX_ID
    source, id = (
        v if isinstance(v, str) and 1 <= len(v) <= n else None for v, n in zip(given, lengths, strict=True)
    )
    return source, id


def _explained(raw: bytes, message: str) -> tuple[str, str]:
    """(path, what was expected there): msgspec's words, where these repeat nothing that was sent."""
    sent = msgspec.json.decode(raw)
    if not isinstance(sent, dict):
        return "$", "expected an object"
    kind = _TYPES.get(str(sent.get("type")))
    path, expected = worded(message, kind)
    if kind is None or path == "$.type":
        return "$.type", f"expected one of {', '.join(_TYPES)}"
    if expected.startswith(UNKNOWN_FIELD):
        # The field's name is the caller's and may look like a path: only ours are taken from it.
        found = _INNER.search(message)
        path, inside = (found[1], found[2]) if found else ("$", "")
        of = {"customer": Person, "lines": Line if kind is Order else Goods}.get(inside, kind)
        return path, f"expected only the fields {', '.join(of.__struct_fields__)}{_slip(sent, path, of)}"
    if missing := MISSING.match(message):
        return f"{path}.{missing[1]}", "expected: this field is required"
    return path, expected


def _slip(sent: dict[str, Any], path: str, of: type[Struct]) -> str:
    """Which field an unknown one is probably meant to be: a name of ours, for theirs may be anything."""
    found = re.fullmatch(r"\$\.(\w+)(?:\[(\d+)\])?", path)
    inside: Any = sent.get(found[1]) if found else sent
    if found and found[2]:
        inside = inside[int(found[2])] if isinstance(inside, list) and len(inside) > int(found[2]) else None
    if not isinstance(inside, dict):  # a name that looks like a path
        return ""
    fields = (*of.__struct_fields__, "type")
    unknown = [name for name in inside if name not in fields and len(name) <= MAX_SOURCE][:SLIPS]
    near = (nearest(name, [field for field in fields if field not in inside]) for name in unknown)
    return next((words for words in near if words != "."), "")
