"""What other systems may tell us: a type for every event, and the rows of the log that it becomes.

An event's `id` is the one that its own system gives it (an order's number, for one): the row in the log has
it too, so that a nightly file with the same order is the same order. What changes is an event of its own: a
refund, a leaving, a closing, a withdrawal.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from features.moments import iso

MAX_EVENTS = 1000  # in one request

AHEAD = timedelta(minutes=5)  # clocks of other systems run ahead by seconds, not by more
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)  # before that it is a clock that was never set
MOST_MONEY = 10**12  # of one amount, in shop currency
MAX_LINES = 500
MAX_SOURCE, MAX_ID = 64, 256  # characters

# A text has to survive files, SQL and JSON, and to be told from another by eye: no control characters
# and none that reverse what follows (U+202E, for one); what names something has no blanks at its ends.
# The API's document has these as they are, but for the anchors: so they say nothing that Python alone reads.
_ODD = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff"
_BLANK = r"\x20\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_TEXT = rf"\A[^{_ODD}]+\Z"
_NAME = rf"\A[^{_ODD}{_BLANK}](?:[^{_ODD}]*[^{_ODD}{_BLANK}])?\Z"
_AMOUNT = r"\A[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?\Z"
PATTERNS = {
    _TEXT: "expected text without control characters",
    _NAME: "expected text without control characters, and without blanks at its ends",
    _AMOUNT: "expected an amount in digits such as 12.50",
}
"""Pattern -> what it expects, in words."""


def ecmascript(pattern: str) -> str:
    """A pattern of PATTERNS as JSON Schema has it. `$` is before a last line feed too in Python alone."""
    return pattern.replace(r"\A", "^").replace(r"\Z", "$")


Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID, pattern=_NAME)]
Text = Annotated[str, Meta(min_length=1, max_length=MAX_ID, pattern=_TEXT)]
Short = Annotated[str, Meta(min_length=1, max_length=MAX_SOURCE, pattern=_NAME)]
# Not Decimal: that reads 1_000 and digits of other scripts too.
Digits = Annotated[str, Meta(max_length=64, pattern=_AMOUNT)]
Amount = Digits | int | float
Whole = Annotated[int, Meta(ge=0, le=10**9)]

_COMMON = ("source", "id", "customer", "at")  # of every event, and no column of a row


def odd_time(at: datetime, now: datetime) -> str | None:
    """What was expected of a time that cannot be right; None if it can."""
    if at > now + AHEAD:
        return f"expected a time until now, {iso(now)}"
    return f"expected a time from {iso(EARLIEST)} on" if at < EARLIEST else None


Rows = Iterator[tuple[str, dict[str, Any]]]  # (table of the log, columns)


class Person(Struct, frozen=True, forbid_unknown_fields=True):
    """A customer as another system names her; whom we do not know yet becomes known by this."""

    source: Short
    id: Id


class Event(Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """What every event has. at: when it happened, RFC 3339 with its offset.

    `rows(exponent)` of each gives the log's rows, (table, columns) without the customer and the times;
    ValueError says "place: what was expected" of a value that fits its type alone.
    """

    source: Short
    id: Id
    customer: Id | Person
    at: Annotated[datetime, Meta(tz=True)]


class Interaction(Event, frozen=True, kw_only=True):
    """Something that a customer did on a channel. seconds: how long it lasted."""

    channel: Short
    product_id: Id | None = None
    category: Text | None = None
    seconds: Whole | None = None

    def rows(self, exponent: int) -> Rows:
        """One row of interactions, whose kind is the event's type."""
        yield "interactions", {"interaction_id": self.id, "kind": self.__struct_config__.tag} | _given(self)


class Visit(Interaction, frozen=True, kw_only=True, tag="visit"):
    """A visit."""


class View(Interaction, frozen=True, kw_only=True, tag="view"):
    """A look at a product."""


class Cart(Interaction, frozen=True, kw_only=True, tag="cart"):
    """A product put into the cart."""


class Comment(Interaction, frozen=True, kw_only=True, tag="comment"):
    """A comment; what it says is not for us."""


class Live(Interaction, frozen=True, kw_only=True, tag="live"):
    """Watching a live event."""


class Login(Interaction, frozen=True, kw_only=True, tag="login"):
    """A login."""


class Goods(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Goods that come back. items: pieces; goods sold by measure count as one, and have their measure."""

    product_id: Id
    amount: Amount
    items: Whole = 1
    measure: Whole | None = None
    category: Text | None = None
    department: Text | None = None
    brand: Text | None = None


class Line(Goods, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of an order. amount: after discounts. coupon: the part of the discount that a coupon gave."""

    discount: Amount = 0
    coupon: Amount = 0


class Order(Event, frozen=True, kw_only=True, tag="order"):
    """An order; `id` is its number. amount: paid to the shop; discount: taken off the price before."""

    channel: Short
    amount: Amount
    discount: Amount = 0
    store_id: Id | None = None
    lines: Annotated[list[Line], Meta(max_length=MAX_LINES)] = []

    def rows(self, exponent: int) -> Rows:
        """One row of orders, and one of order_lines a line."""
        yield (
            "orders",
            {
                "order_id": self.id,
                "channel": self.channel,
                "amount": _money("$.amount", self.amount, exponent),
                "discount": _money("$.discount", self.discount, exponent),
            }
            | ({} if self.store_id is None else {"store_id": self.store_id}),
        )
        yield from _lines(self.id, self.lines, exponent)


class Refund(Event, frozen=True, kw_only=True, tag="refund"):
    """Money given back, and the goods that came back with it: positive numbers. ref: the order."""

    channel: Short
    ref: Id
    amount: Amount
    store_id: Id | None = None
    lines: Annotated[list[Goods], Meta(max_length=MAX_LINES)] = []

    def rows(self, exponent: int) -> Rows:
        """An order of negative money with its ref, and its lines."""
        yield (
            "orders",
            {
                "order_id": self.id,
                "channel": self.channel,
                "amount": _money("$.amount", self.amount, exponent, sign=-1),
                "discount": _money("$.discount", 0, exponent),
                "ref": self.ref,
            }
            | ({} if self.store_id is None else {"store_id": self.store_id}),
        )
        yield from _lines(self.id, self.lines, exponent, sign=-1, ref=self.ref)


class Contact(Event, frozen=True, kw_only=True, tag="contact"):
    """A marketing contact that another system made. propensity: chance with which it was chosen, if drawn."""

    channel: Short
    action: Short
    campaign_id: Id | None = None
    until: Annotated[datetime, Meta(tz=True)] | None = None
    cost: Amount | None = None
    propensity: Annotated[float, Meta(gt=0, le=1)] | None = None

    def rows(self, exponent: int) -> Rows:
        """One row of contacts."""
        row = {"contact_id": self.id} | _given(self)
        if self.until is not None:
            try:
                row["until"] = iso(self.until)
            except OverflowError:  # with its offset: in UTC it is before the year 1, or after 9999
                raise ValueError("$.until: expected a time of the years 1 to 9999 of UTC") from None
        if self.cost is not None:
            row["cost"] = _money("$.cost", self.cost, exponent)
        yield "contacts", row


class Response(Event, frozen=True, kw_only=True, tag="response"):
    """An answer to a contact. channel: what an opt-out is about; without it, every channel."""

    kind: Literal["open", "click", "redeem", "buy", "opt-out"]
    contact_id: Id | None = None
    campaign_id: Id | None = None
    channel: Short | None = None

    def rows(self, exponent: int) -> Rows:
        """One row of responses; an opt-out also withdraws the consent to marketing."""
        row = _given(self)
        channel = row.pop("channel", "all")
        yield "responses", {"response_id": self.id} | row
        if self.kind == "opt-out":
            yield "consents", {"channel": channel, "purpose": "marketing", "status": "withdrawn"}


class Consent(Event, frozen=True, kw_only=True, tag="consent"):
    """A consent given or withdrawn, for a channel, or for `all` of them."""

    purpose: Literal["marketing", "service", "automation"]
    status: Literal["granted", "withdrawn"]
    channel: Short = "all"

    def rows(self, exponent: int) -> Rows:
        """One row of consents."""
        yield "consents", _given(self)


class Case(Event, frozen=True, kw_only=True, tag="case"):
    """A complaint, return or question, opened or closed: two events with one case_id. ref: the order."""

    case_id: Id
    kind: Literal["complaint", "return", "question"]
    change: Literal["opened", "closed"]
    channel: Short | None = None
    ref: Id | None = None
    reason: Text | None = None

    def rows(self, exponent: int) -> Rows:
        """One row of cases."""
        yield "cases", _given(self)


class Membership(Event, frozen=True, kw_only=True, tag="membership"):
    """A group, or a contact among the staff, joined or left."""

    kind: Literal["group", "staff"]
    place_id: Id
    change: Literal["joined", "left"]
    channel: Short | None = None

    def rows(self, exponent: int) -> Rows:
        """One row of memberships."""
        yield "memberships", _given(self)


class Survey(Event, frozen=True, kw_only=True, tag="survey"):
    """An answer to a survey: satisfaction 1 to 5, nps 0 to 10. ref: the order or case that it is about."""

    kind: Literal["satisfaction", "nps"]
    score: Annotated[int, Meta(ge=0, le=10)]
    ref: Id | None = None

    def rows(self, exponent: int) -> Rows:
        """One row of surveys."""
        if self.kind == "satisfaction" and not 1 <= self.score <= 5:
            raise ValueError("$.score: expected 1 to 5")
        yield "surveys", {"survey_id": self.id} | _given(self)


AnyEvent = (
    Visit | View | Cart | Comment | Live | Login | Order | Refund | Contact | Response | Consent | Case
    | Membership | Survey
)  # fmt: skip


def _lines(
    order: str, lines: Sequence[Goods], exponent: int, sign: int = 1, ref: str | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    for n, line in enumerate(lines):
        place = f"$.lines[{n}]"
        discount, coupon = (line.discount, line.coupon) if isinstance(line, Line) else (0, 0)
        if not (line.items or line.measure or _exact(line.amount) or _exact(discount)):
            raise ValueError(f"{place}: expected items, a measure, an amount or a discount")
        yield (
            "order_lines",
            _given(line)
            | {
                "order_id": order,
                "line": n,
                "items": sign * line.items,
                "amount": _money(f"{place}.amount", line.amount, exponent, sign),
                "discount": _money(f"{place}.discount", discount, exponent),
                "coupon": _money(f"{place}.coupon", coupon, exponent),
            }
            | ({} if line.measure is None else {"measure": sign * line.measure})
            | ({} if ref is None else {"ref": ref}),
        )


def _exact(amount: Amount) -> Decimal:
    return Decimal(str(amount) if isinstance(amount, float) else amount)


def _money(place: str, amount: Amount, exponent: int, sign: int = 1) -> str:
    """The amount with the currency's decimals; ValueError unless it is a positive amount of that currency."""
    given = _exact(amount)
    if not 0 <= given < MOST_MONEY:
        raise ValueError(f"{place}: expected an amount from 0 to {MOST_MONEY:,}")
    exact = round(given, exponent)
    if exact != given:
        raise ValueError(f"{place}: expected at most {exponent} decimals, as the shop's currency has")
    return str(sign * exact)


def _given(of: Struct) -> dict[str, Any]:
    """The fields that are not null, but for those that every event has."""
    values = ((field, getattr(of, field)) for field in of.__struct_fields__ if field not in _COMMON)
    return {field: value for field, value in values if value is not None}
