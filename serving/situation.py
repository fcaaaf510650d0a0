"""What a decision is taken from: the rules in force, what is known of customers, when messages would go.

Pure: what `decisions` recorded gives the same situation again, also a record from before some of its fields.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from features.complaints import OPEN_COMPLAINTS
from features.moments import DAY
from features.policy import Budget, Cooldown, Policy
from serving.actions import Action, Purpose
from serving.conditions import Condition
from serving.contacts import counted, days_since
from serving.decide import DIGITS, Limits, Situation, needed_features
from serving.evidence import Shown
from serving.lifetime import Lifetime
from serving.lots import in_holdout
from serving.pauses import EVERYTHING, SCENARIO
from serving.prices import Prices
from serving.reservations import Contact
from serving.sending import Night, Slot, in_order, slot
from serving.standing import Standing, automation, granted, with_complaints

Numbers = NDArray[np.float64]

ORDER_VALUE = "order_value_365d"


class Rules(Struct, frozen=True):
    """What a decision is taken under; recorded once for all decisions under the same rules.

    paused: what -> reason. zone: the shop's; zones: what the codes of the policy's zone feature mean.
    released: (name, version) of the policy, as `rulebook` names it, and of the prices, if there are any.
    moments: scenario -> its own conditions, those that must hold and those that must not, if it has any.
    unfair: actions whose offer like customers of different groups do not get alike -> by which attributes.
    scenarios: action -> the scenarios that it waits for.
    """

    policy: Policy
    actions: tuple[Action, ...]
    consent: dict[str, bool]
    margin_rate: float
    horizon_days: int
    currency: str
    prices: Prices = Prices()
    paused: dict[str, str] = {}
    zone: str = "UTC"
    zones: tuple[str, ...] = ()
    released: tuple[tuple[str, str], ...] = ()
    moments: dict[str, tuple[tuple[Condition, ...], tuple[Condition, ...]]] = {}
    unfair: dict[str, tuple[str, ...]] = {}
    scenarios: dict[str, tuple[str, ...]] = {}


class Inputs(Struct, frozen=True, kw_only=True):
    """What else one decision is taken from, beside the rules and her features.

    held: contacts of decisions, sent or to be sent. spent: of each budget of the policy, in its order.
    contacts_decided, last_decided: of old records, in place of `held`. effects, optouts: on margin and on
    P(opts out), of the actions of which `effects_model` shows any. lifetime: what she is worth beyond the
    value horizon. follows: the decision for a group or everyone, of whose bundle it is her
    part, which goes not before what comes before it.
    """

    customer_id: str
    candidates: tuple[str, ...] | None
    as_of: datetime
    known_at: datetime
    stale: bool
    order_probability: float | None
    order_model: str | None
    contacts_decided: int = 0
    last_decided: datetime | None = None
    seed: int
    scenario: str | None = None
    context: dict[str, str | int | float | bool | None] | None = None
    standing: Standing = Standing()
    held: tuple[Contact, ...] = ()
    spent: tuple[float, ...] = ()
    effects: Shown = {}
    effects_model: str | None = None
    optouts: Shown = {}
    lifetime: Lifetime = Lifetime()
    follows: str | None = None
    not_before: datetime | None = None


def limits_of(rules: Rules, scenario: str | None = None) -> Limits:
    """What decisions under these rules keep to, in a scenario: one that is paused has everything paused."""
    policy = rules.policy
    unfair = frozenset(rules.unfair) if policy.price_fairness == "block" else frozenset[str]()
    paused = frozenset(rules.paused)
    if f"{SCENARIO}{scenario}" in paused:
        paused |= {EVERYTHING}
    closed = frozenset[str]()
    if rules.prices.closed:
        closed = frozenset(a.name for a in rules.actions if rules.prices.closes(a))
    return Limits(policy.explore, policy.caps, policy.cooldowns, paused, rules.margin_rate, unfair, closed)


def situation_of(rules: Rules, inputs: Sequence[Inputs], rows: Mapping[str, Numbers]) -> Situation:
    """What is known about n customers. rows: features by name [n], as the build has them; NaN: not known."""
    n, policy, said = len(inputs), rules.policy, [of.standing for of in inputs]
    rows = with_complaints(rows, said)
    unknown, now = np.full(n, math.nan), [of.as_of for of in inputs]
    since_known = np.array([(of.as_of - of.known_at) / DAY for of in inputs])
    others = [[*decided(of), *told(of)] for of in inputs]
    rested = [days_since(rest, rows, since_known, others, now) for rest in (Cooldown(0), *policy.cooldowns)]
    counts = {cap: counted(cap, rows, others, now) for cap in policy.caps}
    complained = np.array([of.open_complaint for of in said], dtype=np.bool_)
    uses = {(channel, a.purpose) for a in rules.actions for channel in a.channels}
    return Situation(
        features={name: rows.get(name, unknown).astype(np.float32) for name in needed_features(rules.actions)}
        | _live(rules.actions, inputs),
        order_probability=np.array([_or_nan(of.order_probability) for of in inputs]),
        margin_per_order=rows.get(ORDER_VALUE, unknown) * rules.margin_rate,
        lifetime_value=np.array([of.lifetime.value or 0.0 for of in inputs]),
        contacts=counts[policy.overall],
        days_since_contact=rested[0],
        consent={
            use: np.array([granted(rules.consent, of, *use) for of in said], dtype=np.bool_) for use in uses
        },
        automation=np.array([automation(of) for of in said], dtype=np.bool_),
        open_complaint=complained | (rows.get(OPEN_COMPLAINTS, unknown) > 0),
        holdout=in_holdout([of.customer_id for of in inputs], policy.salt, policy.holdout),
        seeds=np.array([of.seed for of in inputs], dtype=np.uint64),
        capped=np.array([counts[cap] for cap in policy.caps], dtype=np.int64).reshape(-1, n).T,
        rested=np.array(rested[1:], dtype=np.float64).reshape(-1, n).T,
        left=np.array(
            [
                min((left for left, _ in left_of(policy, of.spent, of.scenario)), default=math.inf)
                for of in inputs
            ]
        ),
        effects=_of_each([of.effects for of in inputs]),
        optouts=_of_each([of.optouts for of in inputs]),
        not_now=_not_now(rules, inputs, rows),
    )


def keeps_back(rules: Rules, inputs: Inputs, row: Mapping[str, float]) -> Condition | None:
    """The first of her scenario's own conditions that keeps its actions back now; None if none does."""
    must, must_not = rules.moments.get(inputs.scenario or "", ((), ()))
    for conditions, wanted in ((must, True), (must_not, False)):
        for c in conditions:
            value = c.now(inputs.context) if c.live else row.get(c.feature, math.nan)
            if bool(c.holds(np.array([value], np.float32))[0]) != wanted:
                return c
    return None


def _not_now(rules: Rules, inputs: Sequence[Inputs], rows: Mapping[str, Numbers]) -> NDArray[np.bool_]:
    if not any(of.scenario in rules.moments for of in inputs):
        return np.zeros(len(inputs), np.bool_)
    each = ({name: float(values[i]) for name, values in rows.items()} for i in range(len(inputs)))
    return np.array([keeps_back(rules, of, row) is not None for of, row in zip(inputs, each, strict=True)])


def _live(actions: Sequence[Action], inputs: Sequence[Inputs]) -> dict[str, NDArray[np.float32]]:
    """What the actions' conditions ask of the live context, by their columns [n]."""
    asked = {c.column: c for a in actions for c in (*a.eligible, *a.suppressed_if) if c.live}
    return {name: np.array([c.now(of.context) for of in inputs], np.float32) for name, c in asked.items()}


def slots_of(rules: Rules, as_of: datetime, row: Mapping[str, float]) -> dict[str, Slot] | None:
    """When a message of each purpose goes; None in records from before there were send times."""
    send = rules.policy.send
    if send is None:
        return None
    hour = next((int(row[name]) for name in send.hours if not math.isnan(row.get(name, math.nan))), None)
    return {
        "marketing": slot(as_of, *night_of(rules, row, "marketing"), hour),
        "service": slot(as_of, *night_of(rules, row, "service")),
    }


def slot_of(
    rules: Rules,
    as_of: datetime,
    row: Mapping[str, float],
    action: Action,
    slots: Mapping[str, Slot] | None,
    not_before: datetime | None = None,
) -> Slot | None:
    """When the first message of an action goes. slots: of `slots_of`, for those that go at once; not_before:
    of a part of a bundle, which keeps its order, whatever hour is preferred."""
    if slots is None or action.channel is None:
        return None
    if not_before is not None:
        return in_order(not_before, night_of(rules, row, action.purpose))
    if action.after_hours:
        slots = slots_of(rules, as_of + timedelta(hours=action.after_hours), row) or slots
    return slots[action.purpose]


def night_of(rules: Rules, row: Mapping[str, float], purpose: Purpose) -> Night:
    """The quiet hours that a message of that purpose keeps to."""
    send = rules.policy.send
    kept = send is not None and (purpose == "marketing" or send.service)
    return Night(zone_of(rules, row), send.quiet if send is not None and kept else None)


def held_until(policy: Policy, slot: Slot) -> datetime | None:
    """Until when a decision holds its contact and its cost if nobody says what became of it."""
    return None if policy.reserve_hours is None else slot.at + timedelta(hours=policy.reserve_hours)


def zone_of(rules: Rules, row: Mapping[str, float]) -> str:
    """The customer's zone if a feature knows it, else the shop's."""
    send = rules.policy.send
    code = row.get(send.zone, math.nan) if send is not None and send.zone is not None else math.nan
    return rules.zone if math.isnan(code) else rules.zones[int(code)]


def decided(inputs: Inputs) -> Sequence[Contact]:
    """Contacts of decisions, sent or to be sent."""
    if inputs.last_decided is None:
        return inputs.held
    return [Contact(inputs.last_decided, None)] * max(inputs.contacts_decided, 1)  # an old record


def told(inputs: Inputs) -> Sequence[Contact]:
    """Contacts of other systems that her features do not count."""
    said = inputs.standing
    if said.last_contact is None:
        return said.received
    return [Contact(said.last_contact, None)] * max(said.contacts, 1)  # an old record


def left_of(policy: Policy, spent: Sequence[float], scenario: str | None) -> list[tuple[float, Budget]]:
    """What is left of each budget that a decision of the scenario would be paid from, the shortest first.

    spent: of each budget of the policy, in its order.
    """
    pairs = zip(policy.budgets, spent, strict=True)
    # In whole millionths, as the ledger counts: else the last message that fits is a rounding too dear.
    left = [(round(b.amount - used, DIGITS), b) for b, used in pairs if b.scenario in (None, scenario)]
    return sorted(left, key=lambda of: of[0])


def _of_each(shown: Sequence[Shown]) -> dict[str, Numbers]:
    """Of each action of which anything is shown: [n, 3], NaN of whom nothing is."""
    names = {name for of in shown for name in of}
    return {name: np.array([of.get(name, (math.nan,) * 3) for of in shown]) for name in names}


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
