"""What `GET /v1/customers/{id}` answers: all that an operator asks of one customer, on one page."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from serving.api import Failure, NoScore, ReasonAnswer, Score
from serving.cards import Text
from serving.ledger_reports import Status


class Profit(Struct, frozen=True):
    """Discounted, over the horizon, in the answer's currency: expected, and levels of its distribution."""

    expected: float
    p10: float
    p50: float
    p90: float


class Value(Struct, frozen=True, kw_only=True):
    """What a customer is worth over `horizon_days`, from the orders that were known at `known_at`.

    orders: expected days with an order. order_chance: of one or more. percentile: share of customers whose
    expected profit is at most this one's. next_order_date: by the end of which half of such customers have
    ordered, in the shop's zone; null if that is not within a year. contradicted_by: the targets among
    `scores` that say the contrary of that date, such as repurchase_7d below one half where the date is within
    a week, by more than the calibration error of that model. Trust those: they read more than the orders, and
    were judged by what came within just so many days.
    """

    model_version: str
    known_at: str
    horizon_days: int
    currency: str
    orders: Annotated[
        float,
        Meta(
            description="Expected days with an order: two orders of one day are one, and a return is none. "
            "So it may lie below a count of orders, such as the feature orders_90d."
        ),
    ]
    order_chance: float
    profit: Profit
    percentile: float
    next_order_date: Annotated[
        str | None,
        Meta(
            description="By the end of this day half of such customers have ordered; null: not within a year."
        ),
    ]
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


class Fact(Struct, frozen=True):
    """A figure of the customer's, from her features. value: in the feature's unit. text: what it says."""

    feature: str
    value: float
    text: Text


class TagAnswer(Struct, frozen=True):
    """What the customer is now, by a declared rule over her features. meaning: what it says of one."""

    name: str
    text: Text
    meaning: Text


class Health(Struct, frozen=True, kw_only=True):
    """Of 100 customers with this score so many will order within the target's horizon.

    score: 0 to 100, from the calibrated risk of `target`. drivers: what moves it, the strongest first, of
    either direction; no causes. warnings: what an operator should look at first, whatever the score.
    """

    score: float
    target: str
    text: Text
    drivers: list[ReasonAnswer]
    warnings: list[Fact]


class NoHealth(Struct, frozen=True):
    """Why nothing is said of a customer's health."""

    error: Failure


Standing = Literal["decided", "over"] | Status


class DecisionOutcome(Struct, frozen=True):
    """What the customer did then, as it counts. value: money of an order, less `refunded`; else how often."""

    type: str
    value: float
    at: str
    refunded: float


class LastDecision(Struct, frozen=True, kw_only=True):
    """What was decided last. status: `decided`, nothing is reported yet; `over`, nor was in its time; else
    what was reported last. text: why it was chosen. Times are RFC 3339 in UTC.

    score: the net value that was expected of it. expected_cost: of sending it and of its offer; cost: that
    again once it was sent, 0 where nothing was to be sent or nothing went out, null while nobody told. Both
    in `currency`. outcomes: those that count so far; they are final from matures_at on, and window_end is
    until when they may happen. What the action brought no single customer can show: `propensity evaluate`.
    """

    decision_id: str
    as_of: str
    action: str
    channel: str | None
    scenario: str | None
    send_at: str | None
    valid_until: str | None
    status: Standing
    text: Text
    score: float | None = None
    expected_cost: float | None = None
    cost: float | None = None
    currency: str | None = None
    outcomes: list[DecisionOutcome] = []
    window_end: str | None = None
    matures_at: str | None = None
    final: bool = False


class NoDecision(Struct, frozen=True):
    """Why the last decision is not told: the ledger cannot be read now."""

    error: Failure


class CustomerAnswer(Struct, frozen=True):
    """`GET /v1/customers/{id}`: one customer, under the id that all of hers became.

    scores: as in ScoreAnswer, empty if no target is released. merged: her other ids; null where the log that
    knows them is on another machine. contacts: how she is reached, and whether she answers. cases: what is
    open, and how she fared. tags: what she is now. decision: the last one, null if there was none.
    """

    request_id: str
    as_of: str
    customer_id: str
    known_at: str
    stale: bool
    scores: list[Score | NoScore]
    value: Value | NoValue
    segments: Segments | NoSegments
    health: Health | NoHealth | None = None
    contacts: list[Fact] = []
    cases: list[Fact] = []
    tags: list[TagAnswer] = []
    decision: LastDecision | NoDecision | None = None
    merged: list[str] | None = None
