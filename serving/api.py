"""What the API takes and gives: request and answer types, routes, and problem documents (RFC 9457).

Version 1 only ever adds. A list of customers answers 200 with one entry an id, in the order asked,
duplicates included; 404 is for a question about one customer; 503 only when nothing can be answered.
A problem never repeats a value that was sent: it names the place (`$.customers[3]`) and what was expected.
"""

import re
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from features.errors import (
    CustomerErased,
    DecisionError,
    FeatureError,
    FeaturesExpired,
    IdempotencyConflict,
    LogError,
    OnlineUnavailable,
    PropensityError,
    ReleaseError,
    SettingsError,
    UnknownCustomer,
    UsageError,
)
from features.settings import Settings
from serving.cards import ModelCard, Text

MAX_CUSTOMERS = 1000  # in one request
MAX_BODY = 1 << 20  # bytes; 1,000 identities of the longest kind in ASCII are 0.4 MB
MAX_REASONS = 10

ROUTES: Mapping[str, tuple[str, ...]] = {
    "/v1/scores": ("POST",),
    "/v1/decisions": ("POST",),
    "/v1/deliveries": ("POST",),
    "/v1/outcomes": ("POST",),
    "/v1/events": ("POST",),
    "/v1/models": ("GET", "HEAD"),
    "/v1/customers/{id}": ("GET", "HEAD"),
    "/healthz": ("GET", "HEAD"),
    "/livez": ("GET", "HEAD"),
    "/readyz": ("GET", "HEAD"),
    "/metrics": ("GET", "HEAD"),
    "/openapi.json": ("GET", "HEAD"),
    "/": ("GET", "HEAD"),
}
"""Path -> methods. What is not here is 404 before anything else sees it; `/v1/` needs a key."""

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
    limits the choice to its actions. context: what the journey knows right now; recorded with the decision,
    and without effect on it yet.
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
    """`GET /readyz` of a service that can answer. paused: what decisions do not do now (`pauses`).

    The reasons are in the answers alone: this one needs no key.
    """

    status: Literal["ready"]
    refused: list[Refused]
    paused: list[str] = []


class ModelsAnswer(Struct, frozen=True):
    """`GET /v1/models`. features: id of what is published, null if nothing is."""

    request_id: str
    as_of: str
    features: str | None
    models: list[ReleasedModel | BrokenModel]


class Offender(Struct, frozen=True):
    """Where in the body, and what was expected there."""

    path: str
    detail: str


class Problem(Exception):  # noqa: N818  the standard's word for it
    """An error answer. `code` is stable; `detail` is for people and repeats nothing that was sent."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: list[Offender] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})

    def document(self, request_id: str) -> bytes:
        """The `application/problem+json` body."""
        return encode(
            ProblemDocument(
                type=f"urn:propensity:problem:{self.code}",
                title=TITLES.get(self.code, "Error"),
                status=self.status,
                detail=self.detail,
                code=self.code,
                instance=f"urn:uuid:{uuid.UUID(request_id)}",
                request_id=request_id,
                errors=UNSET if self.errors is None else self.errors,
            )
        )


class ProblemDocument(Struct, frozen=True):
    """What went wrong, as RFC 9457 has it. errors: where in the body."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    request_id: str
    errors: list[Offender] | UnsetType = UNSET


TITLES = {
    "unauthorized": "A key is needed",
    "not_found": "No such route",
    "method_not_allowed": "Method not allowed",
    "malformed_json": "The body is not JSON",
    "invalid_request": "The body does not fit",
    "unknown_target": "No such target",
    "body_too_large": "The body is too large",
    "body_timeout": "The body did not arrive",
    "unsupported_media_type": "The body must be JSON",
    "idempotency_key": "An idempotency key is needed",
    "unknown_customer": "No such customer",
    "idempotency_conflict": "The key was used for another request",
    "customer_erased": "The customer was erased",
    "no_build": "No features to answer from",
    "online_unavailable": "The features cannot be read now",
    "features_expired": "The features are too old",
    "feature_mismatch": "The release needs other features",
    "no_release": "Nothing is released",
    "no_order": "No order yet",
    "release_corrupt": "The release is refused",
    "decision": "No decision can be taken",
    "settings": "The service is set up wrongly",
    "internal": "Internal error",
}

T = TypeVar("T", bound=Struct)
UNKNOWN_FIELD = "Object contains unknown field"
_QUOTES = "Invalid value", "Invalid enum value"  # msgspec's messages that repeat what was sent
_OF_IDENTITY = re.compile(r" - at `(\$\.customer|\$\.customers\[\d{1,3}\])`$")


def worded(message: str) -> tuple[str, str]:
    """(path, what was expected there) of msgspec's words; of an unknown field not to be shown as they are."""
    if message.startswith(UNKNOWN_FIELD):
        return "$", message
    # The path is ours and comes last; a value that is quoted before may look like one.
    expected, found, path = message.rpartition(" - at `")
    expected, path = (expected, path.rstrip("`")) if found else (message, "$")
    return path, "expected another value" if expected.startswith(_QUOTES) else expected


class Body(Generic[T]):
    """Decodes one type of body; compiled once."""

    def __init__(self, type: type[T]) -> None:
        self._type = type
        self._decoder = msgspec.json.Decoder(type)

    def decode(self, body: bytes) -> T:
        """Raise Problem 400 if it is not JSON in UTF-8, 422 with the JSON path if it does not fit."""
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError as error:
            path, expected = worded(str(error))
            if expected.startswith(UNKNOWN_FIELD):
                # The field's name is the caller's and may look like a path: only ours are taken from it.
                found = _OF_IDENTITY.search(str(error))
                path, of = (found[1], Identity) if found else ("$", self._type)
                expected = f"expected only the fields {', '.join(of.__struct_fields__)}"
            detail = f"{path}: {expected}"
            raise Problem(422, "invalid_request", detail, [Offender(path, expected)]) from None
        except msgspec.DecodeError as error:
            raise Problem(400, "malformed_json", f"the body is not valid JSON: {error}") from None
        except UnicodeDecodeError as error:
            raise Problem(400, "malformed_json", f"the body is not UTF-8: {error.reason}") from None
        except RecursionError:
            raise Problem(400, "malformed_json", "the body is nested too deeply") from None


SCORES = Body(ScoreRequest)
DECISIONS = Body(DecisionRequest)

_encoder = msgspec.json.Encoder()


def encode(answer: Any) -> bytes:
    """JSON; floats as the shortest text that reads back to the same bits."""
    return _encoder.encode(answer)


_STATUS: tuple[tuple[type[PropensityError], int], ...] = (
    (UnknownCustomer, 404),
    (FeaturesExpired, 503),
    (FeatureError, 503),
    (ReleaseError, 503),
    (LogError, 503),
    (IdempotencyConflict, 409),
    (CustomerErased, 410),
    (DecisionError, 503),
    (SettingsError, 503),
)


def problem_of(error: PropensityError, settings: Settings) -> Problem:
    """The problem that an error of ours is to a caller.

    A UsageError's message begins with the JSON path of the offender.
    """
    if type(error) is UsageError:
        detail = detail_of(error, settings)
        path, _, expected = detail.partition(": ")
        return Problem(422, "invalid_request", detail, [Offender(path, expected)])
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    headers = {"retry-after": "1"} if isinstance(error, OnlineUnavailable) else None
    return Problem(status, error.code, detail_of(error, settings), headers=headers)


def detail_of(error: PropensityError, settings: Settings) -> str:
    """The error's message; where our files are is not the caller's to know."""
    text = str(error).replace(str(settings.home), "PROPENSITY_HOME")
    return text.replace(str(settings.shop), "PROPENSITY_SHOP")
