"""What a decision answers, as JSON has it: the choice, every action with its reason, what it was based on."""

from typing import Annotated, Literal

from msgspec import Struct
from msgspec.structs import force_setattr

from serving.actions import Evidence, Reach
from serving.cards import Text
from serving.codes import one_of
from serving.decide import NONE_ELIGIBLE, PRICE, REASONS


def _as_floats(answer: Struct, *names: str) -> None:
    """A shop may declare 3 where a number is meant, and JSON has other bytes for 3.0, as it is read again."""
    for name in names:
        if isinstance(value := getattr(answer, name), int):
            force_setattr(answer, name, float(value))


class StepAnswer(Struct, frozen=True):
    """One message of an action. after_hours: since the decision. reach: whom it addresses."""

    channel: str
    text: Text
    after_hours: float
    cost: float
    reach: Reach

    def __post_init__(self) -> None:
        _as_floats(self, "after_hours", "cost")


class ActionAnswer(Struct, frozen=True, kw_only=True):
    """One action for this customer.

    slot: when it would be sent. score: expected net value in shop currency, the sum of `terms` in their
    order; null if not known. price: what choosing it was charged, for money and a channel that are short.
    interval: of the score, from the interval of the effect alone. condition: the one that keeps the
    customer out. steps: every message in its order; none of nothing. by_person: a member of staff is to do
    it. order_value: the value of an order that was assumed, as the customer's own is not known; null where it
    is, or nothing is assumed. unfair_by: attributes of customers whose groups did not get its offer alike, as
    it was last measured. limit, limit_text: the pause, cap, rest or budget that keeps the action back.
    """

    action: str
    channel: str | None
    slot: str | None = None
    text: Text
    eligible: bool
    propensity: float
    score: float | None
    price: float = 0.0
    interval: tuple[float, float] | None
    terms: dict[str, float] | None
    evidence: Evidence
    evidence_text: Text
    reject_reason: Annotated[str | None, one_of(REASONS)]
    reject_text: Text | None
    condition: str | None
    steps: list[StepAnswer] = []
    by_person: bool = False
    limit: str | None = None
    limit_text: Text | None = None
    order_value: float | None = None
    unfair_by: list[str] = []

    def __post_init__(self) -> None:
        _as_floats(self, "order_value")


class Scored(Struct, frozen=True):
    """An action and its score."""

    action: str
    score: float


class Binding(Struct, frozen=True):
    """The best action that could otherwise have been taken, and what kept it out: a filter, or its `price`.

    An action that is not for this customer could not: one that was not asked about, that addresses a group,
    or that has a condition which she does not meet. Where nothing could be done, nor would any of the others
    have paid: action "nothing", reason `none_eligible`, and commonest, that of most actions; else null.
    """

    action: str
    reject_reason: Annotated[str, one_of((*REASONS, PRICE, NONE_ELIGIBLE))]
    commonest: Annotated[str | None, one_of(REASONS)] = None


class Used(Struct, frozen=True, kw_only=True):
    """What the decision was based on. Money in `currency`.

    consent: channel -> whether marketing may use it. recorded_consent: channel (or `all`) -> purpose -> what
    she said. contacts_told: of other systems, newer than her features; contacts_decided: of decisions, sent
    or held; max_contacts, per_days: the cap over all channels that the counts are of, null without one.
    budgets_left: what is left of each budget of the policy, in its order. zone: of the times of day.
    policy_release, prices_release: the versions of what is declared and of the prices, `policy@3`; `policy@#`
    and the content's hash of a policy that nobody released; null of old records, and without prices.
    lifetime_value: beyond the horizon, by lifetime_from; null: not counted, and lifetime_text says why.
    """

    order_probability: float | None
    order_model: str | None
    order_value: float | None
    margin_rate: float
    horizon_days: int
    currency: str
    contacts_in_log: int
    contacts_decided: int
    max_contacts: int | None
    per_days: int | None
    consent: dict[str, bool]
    contacts_told: int = 0
    budgets_left: list[float] = []
    paused: dict[str, str] = {}
    zone: str | None = None
    recorded_consent: dict[str, dict[str, bool]] = {}
    open_complaint: bool = False
    effects_model: str | None = None
    policy_release: str | None = None
    prices_release: str | None = None
    lifetime_value: float | None = None
    lifetime_from: str | None = None
    lifetime_text: Text | None = None


class DecisionAnswer(Struct, frozen=True, kw_only=True):
    """Answer to DecisionRequest. decision_id: null for a preview.

    evidence: the weakest of the actions asked about. propensity: probability with which `action` was to be
    chosen. explore: drawn at random, whatever came out; false where there was but one to draw.
    runner_up: the best other eligible action, at the prices. duals: prices in force, of `budget` and of
    the policy's budgets, `month_budget` (a unit of currency), and of channels (a contact); empty where
    nothing is short. send_at: when to send, not before; why then: send_text. reserved_until: the contact and
    its cost are held until a delivery is reported, or until then; later it must not be sent. expected_loss:
    of being wrong (`decide.expected_loss`), where the policy bounds it. route: `person` where it is above
    that bound, or where automated decisions are refused: then a person decides before anything is sent, and
    `GET /v1/decisions/{id}` says no until it is asked with approved=true. follows: the decision for a group
    or everyone of whose bundle this is the customer's part (`propensity decide --groups`). Times are RFC 3339
    in UTC.
    """

    decision_id: str | None
    customer_id: str
    as_of: str
    known_at: str
    stale: bool
    preview: bool
    policy: str
    action: str
    channel: str | None
    valid_until: str | None
    text: Text
    score: float
    interval: tuple[float, float]
    evidence: Evidence
    propensity: float
    explore: bool
    holdout: bool
    scenario: str | None = None
    context: dict[str, str | int | float | bool | None] | None = None
    duals: dict[str, float] = {}
    runner_up: Scored | None
    binding_constraint: Binding | None
    actions: list[ActionAnswer]
    used: Used
    send_at: str | None = None
    send_text: Text | None = None
    reserved_until: str | None = None
    expected_loss: float | None = None
    route: Literal["automatic", "person"] = "automatic"
    route_text: Text | None = None
    follows: str | None = None
