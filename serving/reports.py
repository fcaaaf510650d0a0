"""`POST /v1/deliveries` and `POST /v1/outcomes`: what became of decisions, told by whoever carries them out.

Each is read by itself, so one that does not fit costs no other its place. What is answered `accepted` is in
the ledger. What an outcome needs to count: `ledger_reports.py`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from features.errors import DecisionError
from features.moments import iso
from features.settings import Settings
from serving.bodies import UNKNOWN_FIELD, Body, worded
from serving.codes import OF_REPORTS, one_of
from serving.events import MOST_MONEY, Digits, Id, Short, odd_time
from serving.ledger_reports import Delivery, Late, Outcome, Reported, Status, Type
from serving.problems import Problem

MAX_REPORTS = 1000  # in one request
MONEY = ("order", "refund")  # types whose value is money
Money = Annotated[float, Meta(ge=0, le=MOST_MONEY)] | Digits  # as events take it
Moment = Annotated[datetime, Meta(tz=True)]


class DeliveryReport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of a decision. source, id: who says so, and under which id, so that a repeat is known.

    blocked, cancelled and expired give a reserved contact back; sent and delivered use it up for good: what
    was sent may bounce (blocked), and is never cancelled or expired.
    blocked_by: by what it was. step: of an ordered bundle, counted from 1: those that follow move with it, or
    are given back with it; absent: the report is of all of it.
    """

    source: Short
    id: Id
    decision_id: Id
    status: Status
    at: Moment
    blocked_by: Short | None = None
    step: Annotated[int, Meta(ge=1, le=100)] | None = None


class OutcomeReport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the customer did after a decision, about every decision alike: also where nothing was done.

    value: what was paid to the shop (order) or back (refund), in its currency; else how often, 1 if absent.
    revises: the id of the order of the same source that a refund takes from.
    """

    source: Short
    id: Id
    decision_id: Id
    type: Type
    at: Moment
    value: Money | None = None
    revises: Id | None = None


class DeliveriesRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/deliveries`: 1 to 1,000, each read by itself."""

    deliveries: Annotated[
        list[Annotated[Raw, Meta(extra={"holds": DeliveryReport})]],
        Meta(min_length=1, max_length=MAX_REPORTS),
    ]


class OutcomesRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/outcomes`: 1 to 1,000, each read by itself."""

    outcomes: Annotated[
        list[Annotated[Raw, Meta(extra={"holds": OutcomeReport})]],
        Meta(min_length=1, max_length=MAX_REPORTS),
    ]


class ReportFailure(Struct, frozen=True):
    """Why one report was not taken. place: where in the body. It repeats no value."""

    code: Annotated[str, one_of(OF_REPORTS)]
    place: str
    detail: str


class ReportRefused(Struct, frozen=True):
    """A report that was not taken. source and id are null if they are no text."""

    source: str | None
    id: str | None
    error: ReportFailure


class DeliveryAnswer(Struct, frozen=True):
    """duplicate: it was told before, and nothing changed. contact: what it does to a reserved contact."""

    source: str
    id: str
    decision_id: str
    status: Literal["accepted", "duplicate"]
    contact: Literal["used", "released"]


class OutcomeAnswer(Struct, frozen=True):
    """duplicate: it was told before, and nothing changed. counts: whether it does; why_not: what is late.
    counted: how much of its value counts: of a refund, no more than what was left of its order.

    window_end: outcomes of this decision count until then, if they are told before matures_at.
    case_id: of a complaint about a customer's decision, the case that it opened: marketing waits until an
    event of type `case` closes it.
    """

    source: str
    id: str
    decision_id: str
    status: Literal["accepted", "duplicate"]
    counts: bool
    why_not: Late | None
    window_end: str
    matures_at: str
    counted: float
    case_id: str | None = None


class DeliveriesAnswer(Struct, frozen=True):
    """An entry a delivery, in the order sent; what is accepted is in the ledger."""

    request_id: str
    as_of: str
    results: list[DeliveryAnswer | ReportRefused]


class OutcomesAnswer(Struct, frozen=True):
    """An entry an outcome, in the order sent; what is accepted is in the ledger."""

    request_id: str
    as_of: str
    results: list[OutcomeAnswer | ReportRefused]


Record = Callable[[Sequence[Delivery | Outcome], datetime], list[Reported | DecisionError]]
R = TypeVar("R", DeliveryReport, OutcomeReport)


def take_deliveries(body: bytes, request_id: str, settings: Settings, record: Record) -> DeliveriesAnswer:
    """Record a request's deliveries. Problem 400, 422 if it is no list of them; DecisionError if the ledger
    cannot be written."""
    results = _DELIVERIES.take(_deliveries.decode(_text(body)).deliveries, settings, record, _delivery)
    return DeliveriesAnswer(request_id, iso(settings.now()), results)


def take_outcomes(body: bytes, request_id: str, settings: Settings, record: Record) -> OutcomesAnswer:
    """Record a request's outcomes; errors as those of `take_deliveries`."""
    results = _OUTCOMES.take(_outcomes.decode(_text(body)).outcomes, settings, record, _outcome)
    return OutcomesAnswer(request_id, iso(settings.now()), results)


def outcomes(results: Sequence[DeliveryAnswer | OutcomeAnswer | ReportRefused]) -> Counter[str]:
    """How many were accepted, duplicates, or refused for what."""
    return Counter(one.error.code if isinstance(one, ReportRefused) else one.status for one in results)


def _delivery(told: DeliveryReport, found: Reported) -> DeliveryAnswer:
    contact: Literal["used", "released"] = "used" if found.used else "released"
    return DeliveryAnswer(told.source, told.id, told.decision_id, found.status, contact)


def _outcome(told: OutcomeReport, found: Reported) -> OutcomeAnswer:
    ends = iso(found.window_end), iso(found.matures_at)
    return OutcomeAnswer(
        told.source,
        told.id,
        told.decision_id,
        found.status,
        found.why is None,
        found.why,
        *ends,
        found.counted,
        found.case_id,
    )


def _text(body: bytes) -> bytes:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise Problem(400, "malformed_json", f"the body is not UTF-8: {error.reason}") from None
    return body


class _Reports(Generic[R]):
    """Reads one kind of report, and has it recorded."""

    def __init__(self, kind: type[R], of: type[Delivery] | type[Outcome], name: str) -> None:
        self._kind: type[R] = kind
        self._of, self._name = of, name
        self._decoder: msgspec.json.Decoder[R] = msgspec.json.Decoder(kind)

    def take(
        self, raws: Sequence[Any], settings: Settings, record: Record, answer: Callable[[R, Reported], Any]
    ) -> list[Any]:
        now = settings.now()
        read = [self._read(bytes(raw), f"$.{self._name}[{place}]", now) for place, raw in enumerate(raws)]
        fit = [one for one in read if not isinstance(one, ReportRefused)]
        kept = iter(record([self._record(one) for one in fit], now) if fit else ())
        results: list[Any] = []
        for place, one in enumerate(read):
            if isinstance(one, ReportRefused):
                results.append(one)
                continue
            found = next(kept)
            if isinstance(found, DecisionError):
                failure = ReportFailure(found.code, f"$.{self._name}[{place}]", str(found))
                results.append(ReportRefused(one.source, one.id, failure))
            else:
                results.append(answer(one, found))
        return results

    def _record(self, told: R) -> Delivery | Outcome:
        of = msgspec.structs.asdict(told)
        if isinstance(told, OutcomeReport):
            of["value"] = 1.0 if told.value is None else float(told.value)
        return self._of(**of)

    def _read(self, raw: bytes, place: str, now: datetime) -> R | ReportRefused:
        try:
            told = self._decoder.decode(raw)
            if odd := odd_time(told.at, now):
                return self._refused(raw, place + ".at", odd)
        except msgspec.ValidationError as error:
            path, expected = worded(str(error), self._kind)
            if expected.startswith(UNKNOWN_FIELD):
                path, expected = "$", f"expected only the fields {', '.join(self._kind.__struct_fields__)}"
            return self._refused(raw, place + path[1:], expected)
        except (msgspec.DecodeError, RecursionError):
            return self._refused(b"null", place, "expected text in Unicode, and less nesting")
        if isinstance(told, OutcomeReport):
            if isinstance(told.value, str) and not 0 <= float(told.value) <= MOST_MONEY:
                return self._refused(raw, place + ".value", f"expected an amount from 0 to {MOST_MONEY:,}")
            if told.type in MONEY and told.value is None:
                return self._refused(raw, place + ".value", "expected an amount, of an order or refund")
            if (told.type == "refund") != (told.revises is not None):
                return self._refused(raw, place + ".revises", "expected the order's id, of a refund only")
        return told

    def _refused(self, raw: bytes, place: str, expected: str) -> ReportRefused:
        sent = msgspec.json.decode(raw)
        named = [sent.get(name) if isinstance(sent, dict) else None for name in ("source", "id")]
        source, id = (one if isinstance(one, str) and 1 <= len(one) <= 256 else None for one in named)
        return ReportRefused(source, id, ReportFailure("invalid_report", place, expected))


_deliveries, _outcomes = Body(DeliveriesRequest), Body(OutcomesRequest)
_DELIVERIES = _Reports(DeliveryReport, Delivery, "deliveries")
_OUTCOMES = _Reports(OutcomeReport, Outcome, "outcomes")
