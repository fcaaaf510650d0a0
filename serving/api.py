"""What the API takes and gives: request and answer types, and routes. What goes wrong: `problems`.

Version 1 only ever adds. A list of customers answers 200 with one entry an id, in the order asked,
duplicates included; 404 is for a question about one customer; 503 only when nothing can be answered.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from serving.cards import ModelCard, Text
from serving.codes import OF_FAILURES, one_of

MAX_CUSTOMERS = 1000  # in one request
MAX_BODY = 1 << 20  # bytes; 1,000 identities of the longest kind in ASCII are 0.4 MB
MAX_REASONS = 10

_OPEN: Mapping[str, str | None] = {"GET": None, "HEAD": None}
_READ: Mapping[str, str | None] = {"GET": "score", "HEAD": "score"}
ROUTES: Mapping[str, Mapping[str, str | None]] = {
    "/v1/scores": {"POST": "score"},
    "/v1/scores.arrow": {"POST": "score"},
    "/v1/jobs": {"POST": "score"},
    "/v1/jobs/{id}": {**_READ, "DELETE": "score"},
    "/v1/jobs/{id}/result": _READ,
    "/v1/changes": _READ,
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

QUERIES: Mapping[str, tuple[str, ...]] = {
    "/v1/scores.arrow": ("targets",),
    "/v1/changes": ("since", "limit", "of"),
    "/v1/decisions/{id}": ("approved",),
    "/v1/customers/{id}": ("source",),
}
"""Path -> the names that its query may hold. Any other name is refused where a key is needed: who sends
`?preview=true` must not be given a decision that counts."""

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

    code: Annotated[str, one_of(OF_FAILURES)]
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
    """A release in force that does not answer. serving: the version that does in its place, null if none; its
    own, while it answers from memory and is damaged on the disk."""

    name: str
    serving: str | None
    error: Failure


class ReadyAnswer(Struct, frozen=True):
    """`GET /readyz` of a service that answers what it is set up for. paused: what decisions do not do now
    (`pauses`); the reasons are in the answers alone: this one needs no key.

    missing: what it does not answer, with the code that is got, and why: scores without a released target,
    decisions without a ledger that can be written, events if the last could not be kept.
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
