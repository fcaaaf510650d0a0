"""What the API takes and gives: request and answer types, and routes. What goes wrong: `problems`.

Version 1 only ever adds. A list of customers answers 200 with one entry an id, in the order asked,
duplicates included; 404 is for a question about one customer; 503 only when nothing can be answered.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from serving.cards import ModelCard, Text

MAX_CUSTOMERS = 1000  # in one request
MAX_BODY = 1 << 20  # bytes; 1,000 identities of the longest kind in ASCII are 0.4 MB
MAX_REASONS = 10

_OPEN: Mapping[str, str | None] = {"GET": None, "HEAD": None}
_READ: Mapping[str, str | None] = {"GET": "score", "HEAD": "score"}
ROUTES: Mapping[str, Mapping[str, str | None]] = {
    "/v1/scores": {"POST": "score"},
    "/v1/decisions": {"POST": "decide"},
    "/v1/decisions/{id}": {"GET": "decide", "HEAD": "decide"},
    "/v1/deliveries": {"POST": "write"},
    "/v1/outcomes": {"POST": "write"},
    "/v1/events": {"POST": "write"},
    "/v1/models": _READ,
    "/v1/customers/{id}": {**_READ, "DELETE": "erase"},
    "/healthz": _OPEN,
    "/livez": _OPEN,
    "/readyz": _OPEN,
    "/metrics": _OPEN,
    "/openapi.json": _OPEN,
    "/": _OPEN,
}
"""Path -> method -> the scope that a key needs for it, None: no key. What is not here is 404, before
anything else sees it."""

SUNSET: Mapping[str, datetime] = {}
"""Path -> when it ends, six months or more ahead: its answers say so in a `Sunset` header (RFC 8594) from the
day on which it is put here. Empty: nothing ends."""

Id = Annotated[str, Meta(min_length=1, max_length=256)]
Name = Annotated[str, Meta(min_length=1, max_length=64)]


class Identity(Struct, frozen=True, forbid_unknown_fields=True):
    """A customer as another system names her."""

    source: Name
    id: Id


Customer = Id | Identity


class ScoreRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/scores`. targets: names of released models, default all. reasons: how many a score.

    exact: reasons by exact Shapley values, which take longer, instead of the approximation.
    """

    customers: Annotated[list[Customer], Meta(min_length=1, max_length=MAX_CUSTOMERS)]
    targets: Annotated[list[Name], Meta(min_length=1, max_length=64)] | None = None
    reasons: Annotated[int, Meta(ge=0, le=MAX_REASONS)] = 3
    exact: bool = False


class DecisionRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/decisions`. candidates: names of actions to choose among, default all; "nothing" always is.

    preview: answer what would be decided, and record and reserve nothing. scenario: one of the shop's, which
    limits the choice to its actions. context: what the journey knows right now, in the fields that are
    declared (cart_value, in_store, page ...; the shop's own), which conditions of actions and scenarios read
    as `now.NAME`; recorded, sealed, with the decision.
    """

    customer: Customer
    candidates: Annotated[list[Name], Meta(min_length=1, max_length=64)] | None = None
    preview: bool = False
    scenario: Name | None = None
    context: Annotated[dict[str, str | int | float | bool | None], Meta(max_length=64)] | None = None


class Failure(Struct, frozen=True):
    """Why one customer, or one target, has no answer."""

    code: str
    detail: str


class ReasonAnswer(Struct, frozen=True):
    """What the model looks at, not what causes anything: a topic, named by its strongest feature.

    value: of that feature, in its unit, null if not known. contribution: of the topic, in log-odds.
    """

    feature: str
    value: float | None
    contribution: float
    text: Text


class Score(Struct, frozen=True):
    """percentile: share of the moment's customers with at most this probability; null if none were scored.

    reasons_exact: whether the contributions of `reasons` are Shapley values, as asked for by `exact` and of a
    model that is a sum; false: an approximation, whose agreement with them the model's card tells.
    """

    target: str
    probability: float
    percentile: float | None
    model_version: str
    reasons: list[ReasonAnswer]
    reasons_exact: bool


class NoScore(Struct, frozen=True):
    """A target that cannot be answered now, while others can."""

    target: str
    error: Failure


class Answered(Struct, frozen=True):
    """One customer's scores. known_at: her features hold what was known then. stale: older than the limit."""

    customer_id: str
    known_at: str
    stale: bool
    scores: list[Score | NoScore]


class Unanswered(Struct, frozen=True):
    """One customer without an answer. customer_id is null for an identity that resolves to nobody."""

    customer_id: str | None
    error: Failure


class ScoreAnswer(Struct, frozen=True):
    """Answer to ScoreRequest; `as_of` is the service's now."""

    request_id: str
    as_of: str
    results: list[Answered | Unanswered]


class Profit(Struct, frozen=True):
    """Discounted, over the horizon, in the answer's currency: expected, and levels of its distribution."""

    expected: float
    p10: float
    p50: float
    p90: float


class Value(Struct, frozen=True, kw_only=True):
    """What a customer is worth over `horizon_days`, from the orders that were known at `known_at`.

    orders: expected days with an order. order_chance: of one or more. percentile: share of customers whose
    expected profit is at most this one's. next_order_date: by which an order has come with a chance of one
    half, in the shop's zone; null if that is not within a year. contradicted_by: the targets among `scores`
    that say the contrary of that date, such as repurchase_7d below one half where the date is within a week.
    Trust those: they read more than the orders, and were judged by what came within just so many days.
    """

    model_version: str
    known_at: str
    horizon_days: int
    currency: str
    orders: float
    order_chance: float
    profit: Profit
    percentile: float
    next_order_date: str | None
    contradicted_by: list[str]


class NoValue(Struct, frozen=True):
    """Why nothing is said of a customer's value."""

    error: Failure


class Segment(Struct, frozen=True):
    """What a customer is called among the others. meaning: what it says; why: the rule that decided."""

    name: str
    text: Text
    meaning: Text
    why: Text


class Tier(Struct, frozen=True):
    """The RFM tier, and the fifth of the buyers, 5 the best, in which recency, frequency and money lie."""

    segment: Segment
    recency: int
    frequency: int
    money: int


class Stage(Struct, frozen=True):
    """The life cycle stage. since: the first snapshot from which on the customer was in it without a break.

    since is null if there is no snapshot from before.
    """

    segment: Segment
    since: str | None


class Segments(Struct, frozen=True, kw_only=True):
    """Who a customer is among the others, from what was known at `known_at`.

    tier: null without an order. quadrant: of spending in the last year and profit expected of the next; null
    without an order, or without a value model. churn_reason: null for whoever is not silent for longer than
    usual; its meaning is what to do, and it says what was recorded around then, which need not be a cause.
    """

    model_version: str
    known_at: str
    tier: Tier | None
    quadrant: Segment | None
    stage: Stage
    churn_reason: Segment | None


class NoSegments(Struct, frozen=True):
    """Why nothing is said of a customer's segments."""

    error: Failure


class CustomerAnswer(Struct, frozen=True):
    """`GET /v1/customers/{id}`: one customer's scores with reasons, value, and segments.

    As in ScoreAnswer; scores: empty if no target is released.
    """

    request_id: str
    as_of: str
    customer_id: str
    known_at: str
    stale: bool
    scores: list[Score | NoScore]
    value: Value | NoValue
    segments: Segments | NoSegments


class ReleasedModel(Struct, frozen=True):
    """A model in service."""

    name: str
    version: str
    card: ModelCard


class BrokenModel(Struct, frozen=True):
    """A released model that is not in service, and why."""

    name: str
    error: Failure


class Refused(Struct, frozen=True):
    """A release in force that does not answer. serving: the version that does in its place, null if none."""

    name: str
    serving: str | None
    error: Failure


class ReadyAnswer(Struct, frozen=True):
    """`GET /readyz` of a service that answers what it is set up for. paused: what decisions do not do now
    (`pauses`); the reasons are in the answers alone: this one needs no key.

    missing: what it is not set up to answer, and why: scores without a released target. Decisions do without.
    """

    status: Literal["ready"]
    refused: list[Refused]
    paused: list[str] = []
    missing: list[Failure] = []


class ModelsAnswer(Struct, frozen=True):
    """`GET /v1/models`. features: id of what is published, null if nothing is."""

    request_id: str
    as_of: str
    features: str | None
    models: list[ReleasedModel | BrokenModel]
