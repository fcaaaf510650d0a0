"""One customer's decision as it is answered: from rules, inputs and a row of features, and nothing else.

`answer` is pure, so what `decisions.take_decision` recorded can be taken again from its record. The value of
an action (`decide` has the formula) is made of:

    P(order)          inputs.order_probability, within the shop's value horizon. It bounds what an action can
                      add, and never ranks customers by risk. Not known: effects stay as declared.
    margin per order  her average order of the last 365 days x the shop's margin rate
    lifetime value    0: decisions use no value model yet, so retention and opt-out terms are listed and are 0
    contacts          contacts_<per_days>d of her features, plus what the ledger reserved in as many days,
                      plus those of other systems that her features do not have yet
    consent           what she said of channel and purpose, or of all channels; else the shop's default
    open complaint    one that her features know of, or one that came in since

A feature that the build lacks, because the shop has no such table, counts as not known. An effect is assumed
(`evidence: "prior"`) until decisions drawn by lot showed another ("randomised"), and every answer says which.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from features.moments import DAY, iso
from features.shop import Policy
from features.words import Words
from serving.actions import Action, Condition, Evidence, Reach
from serving.cards import Text
from serving.decide import REASONS, Decisions, Limits, Situation, decide, in_holdout, needed_features, reason
from serving.evidence import RANDOMISED, Shown
from serving.prices import Prices
from serving.standing import OPEN_COMPLAINTS, Standing, automation, granted

Numbers = NDArray[np.float64]

ORDER_VALUE = "order_value_365d"
EVIDENCE: tuple[Evidence, ...] = ("prior", "randomised", "none")  # the weakest first
PRICE = "price"  # the reason where an action is eligible, and what it uses earns more elsewhere


class StepAnswer(Struct, frozen=True):
    """One message of an action. after_hours: since the decision. reach: whom it addresses."""

    channel: str
    text: Text
    after_hours: float
    cost: float
    reach: Reach


class ActionAnswer(Struct, frozen=True, kw_only=True):
    """One action for this customer.

    slot: when to send; null, as nothing chooses it yet. score: expected net value in shop currency, the sum
    of `terms` in their order; null if not known. price: what choosing it was charged, for money and a channel
    that are short. interval: of the score, from the interval of the effect
    alone. condition: the one that keeps the customer out. steps: every message in its order; none of nothing.
    by_person: a member of staff is to do it.
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
    reject_reason: str | None
    reject_text: Text | None
    condition: str | None
    steps: list[StepAnswer] = []
    by_person: bool = False


class Scored(Struct, frozen=True):
    """An action and its score."""

    action: str
    score: float


class Binding(Struct, frozen=True):
    """The action that would have scored best, and the filter that kept it out, or its `price`."""

    action: str
    reject_reason: str


class Used(Struct, frozen=True, kw_only=True):
    """What the decision was based on. Money in `currency`.

    consent: channel -> whether marketing may use it. recorded_consent: channel (or `all`) -> purpose -> what
    she said. contacts_told: of other systems, newer than her features.
    """

    order_probability: float | None
    order_model: str | None
    order_value: float | None
    margin_rate: float
    horizon_days: int
    currency: str
    contacts_in_log: int
    contacts_decided: int
    max_contacts: int
    per_days: int
    consent: dict[str, bool]
    contacts_told: int = 0
    recorded_consent: dict[str, dict[str, bool]] = {}
    open_complaint: bool = False
    effects_model: str | None = None


class DecisionAnswer(Struct, frozen=True, kw_only=True):
    """Answer to DecisionRequest. decision_id: null for a preview.

    evidence: the weakest of the eligible actions'. propensity: probability with which `action` was to be
    chosen. explore: drawn at random, whatever came out.
    runner_up: the best other eligible action, at the prices. duals: prices in force, of `budget` (a unit of
    currency) and of channels (a contact); empty where nothing is short.
    Times are RFC 3339 in UTC.
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


class Rules(Struct, frozen=True):
    """What a decision is taken under; recorded once for all decisions under the same rules."""

    policy: Policy
    actions: tuple[Action, ...]
    consent: dict[str, bool]
    margin_rate: float
    horizon_days: int
    currency: str
    prices: Prices = Prices()


class Inputs(Struct, frozen=True, kw_only=True):
    """What else one decision is taken from, beside the rules and her features.

    effects: of the actions of which `effects_model` shows any.
    """

    customer_id: str
    candidates: tuple[str, ...] | None
    as_of: datetime
    known_at: datetime
    stale: bool
    order_probability: float | None
    order_model: str | None
    contacts_decided: int
    last_decided: datetime | None
    seed: int
    scenario: str | None = None
    context: dict[str, str | int | float | bool | None] | None = None
    standing: Standing = Standing()
    effects: Shown = {}
    effects_model: str | None = None


def answer(rules: Rules, inputs: Inputs, row: Mapping[str, float], decision_id: str | None) -> DecisionAnswer:
    """The decision of one customer, from its recorded inputs alone: what `replay` runs again."""
    policy, actions = rules.policy, rules.actions
    rows, said = {name: np.array([value], np.float64) for name, value in row.items()}, inputs.standing
    situation = situation_of(rules, [inputs], rows)
    limits, prices = Limits(policy.max_contacts, policy.explore), rules.prices.of(actions)
    made = decide(actions, limits, situation, inputs.candidates, prices)
    chosen = actions[made.chosen[0]]
    answers = [_action_answer(rules, inputs, made, float(prices[j]), j) for j in range(len(actions))]
    evidence = _weakest([a for a in answers if a.eligible])
    others = [a for a in answers if a.eligible and a.score is not None and a.action != chosen.name]
    runner_up = max(others, key=lambda a: (a.score or 0.0) - a.price, default=None)
    valid_until = inputs.as_of + chosen.validity_days * DAY if chosen.channel is not None else None
    holdout = bool(situation.holdout[0])
    binding = _binding(answers, float(made.net[0, made.best[0]]))
    priced_out = binding is not None and binding.reject_reason == PRICE
    return DecisionAnswer(
        decision_id=decision_id,
        customer_id=inputs.customer_id,
        as_of=iso(inputs.as_of),
        known_at=iso(inputs.known_at),
        stale=inputs.stale,
        preview=decision_id is None,
        policy=policy.version,
        action=chosen.name,
        channel=chosen.channel,
        valid_until=None if valid_until is None else iso(valid_until),
        text=_text(chosen, rules, bool(made.explored[0]), _withheld(situation), priced_out, evidence),
        score=float(made.net[0, made.chosen[0]]),
        scenario=inputs.scenario,
        context=inputs.context,
        duals=rules.prices.duals,
        interval=(float(made.low[0, made.chosen[0]]), float(made.high[0, made.chosen[0]])),
        evidence=evidence,
        propensity=float(made.propensity[0, made.chosen[0]]),
        explore=bool(made.explored[0]),
        holdout=holdout,
        runner_up=None if runner_up is None else Scored(runner_up.action, runner_up.score or 0.0),
        binding_constraint=binding,
        actions=answers,
        used=Used(
            order_probability=inputs.order_probability,
            order_model=inputs.order_model,
            effects_model=inputs.effects_model,
            order_value=_known(row.get(ORDER_VALUE)),
            margin_rate=rules.margin_rate,
            horizon_days=rules.horizon_days,
            currency=rules.currency,
            contacts_in_log=int(_in_log(rules, rows, 1)[0]),
            contacts_decided=inputs.contacts_decided,
            max_contacts=policy.max_contacts,
            per_days=policy.per_days,
            consent={
                channel: granted(rules.consent, said, channel, "marketing") for channel in rules.consent
            },
            contacts_told=said.contacts,
            recorded_consent=said.consents,
            open_complaint=bool(situation.open_complaint[0]),
        ),
    )


def situation_of(rules: Rules, inputs: Sequence[Inputs], rows: Mapping[str, Numbers]) -> Situation:
    """What is known about n customers. rows: features by name [n], as the build has them; NaN: not known."""
    n, policy, said = len(inputs), rules.policy, [of.standing for of in inputs]
    unknown = np.full(n, math.nan)
    since_known = np.array([(of.as_of - of.known_at) / DAY for of in inputs])
    since_last = np.array([_days_since_last(of) for of in inputs])
    told = np.array([of.open_complaint for of in said], dtype=np.bool_)
    uses = {(channel, a.purpose) for a in rules.actions for channel in a.channels}
    return Situation(
        features={
            name: rows.get(name, unknown).astype(np.float32) for name in needed_features(rules.actions)
        },
        order_probability=np.array([_or_nan(of.order_probability) for of in inputs]),
        margin_per_order=rows.get(ORDER_VALUE, unknown) * rules.margin_rate,
        lifetime_value=np.zeros(n),
        contacts=_in_log(rules, rows, n)
        + np.array([of.contacts_decided + of.standing.contacts for of in inputs], dtype=np.int64),
        days_since_contact=np.fmin(rows.get("days_since_contact", unknown) + since_known, since_last),
        consent={
            use: np.array([granted(rules.consent, of, *use) for of in said], dtype=np.bool_) for use in uses
        },
        automation=np.array([automation(of) for of in said], dtype=np.bool_),
        open_complaint=told | (rows.get(OPEN_COMPLAINTS, unknown) > 0),
        holdout=in_holdout([of.customer_id for of in inputs], policy.salt, policy.holdout),
        seeds=np.array([of.seed for of in inputs], dtype=np.uint64),
        effects={
            name: np.array([of.effects.get(name, (math.nan,) * 3) for of in inputs])
            for name in {name for of in inputs for name in of.effects}
        },
    )


def _in_log(rules: Rules, rows: Mapping[str, Numbers], n: int) -> NDArray[np.int64]:
    return rows.get(f"contacts_{rules.policy.per_days}d", np.zeros(n)).astype(np.int64)


def _days_since_last(inputs: Inputs) -> float:
    """Since the last marketing contact that her features do not know; NaN if there is none."""
    last = [moment for moment in (inputs.last_decided, inputs.standing.last_contact) if moment is not None]
    return (inputs.as_of - max(last)) / DAY if last else math.nan


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _weakest(answers: Sequence[ActionAnswer]) -> Evidence:
    return next((e for e in EVIDENCE if e in {a.evidence for a in answers}), "none")


def _action_answer(rules: Rules, inputs: Inputs, made: Decisions, price: float, j: int) -> ActionAnswer:
    action, why = rules.actions[j], reason(int(made.reject[0, j]))
    score = _known(float(made.net[0, j]))
    known = score is not None
    failed = int(made.failed[0, j])
    return ActionAnswer(
        action=action.name,
        channel=action.channel,
        slot=None,
        text=_words(action.words),
        eligible=bool(made.eligible[0, j]),
        propensity=float(made.propensity[0, j]),
        score=score,
        price=price,
        interval=(float(made.low[0, j]), float(made.high[0, j])) if known else None,
        terms={name: float(of[0, j]) for name, of in made.terms.items()} if known else None,
        evidence="randomised" if action.name in inputs.effects else action.effect.evidence,
        evidence_text=RANDOMISED if action.name in inputs.effects else _words(action.effect.reason),
        reject_reason=why,
        reject_text=None if why is None else _words(REASONS[why]),
        condition=_condition((*action.eligible, *action.suppressed_if)[failed])
        if why in ("not_eligible", "excluded")
        else None,
        steps=[
            StepAnswer(step.channel, _words(step.words), step.after_hours, step.send_cost, step.reach)
            for step in action.steps
        ],
        by_person=action.by_person,
    )


def _binding(answers: Sequence[ActionAnswer], best: float) -> Binding | None:
    kept_out = [
        (a.score, a.action, a.reject_reason or PRICE)
        for a in answers
        if a.reject_reason != "not_a_candidate" and a.score is not None and a.score > best
    ]
    if not kept_out:
        return None
    _, action, why = max(kept_out, key=lambda of: of[0])
    return Binding(action, why)


def _withheld(situation: Situation) -> str | None:
    """What keeps every marketing action from this customer, whatever it is worth."""
    for why, holds in (
        ("no_automation", not situation.automation[0]),
        ("open_complaint", situation.open_complaint[0]),
        ("holdout", situation.holdout[0]),
    ):
        if holds:
            return why
    return None


def _text(
    chosen: Action, rules: Rules, explored: bool, withheld: str | None, priced_out: bool, evidence: Evidence
) -> Text:
    days = rules.horizon_days
    assumed = Words("under assumed effects", "按假设的效果")
    if evidence == "randomised":
        assumed = Words("by effects that decisions by lot showed", "按随机决策显示的效果")
    if withheld is not None and chosen.name == "nothing":
        why = REASONS[withheld]
    elif chosen.goal_kind == "service":
        why = Words("Owed to the customer, whatever it earns", "属于对客户应尽的服务，不以收益衡量")
    elif explored:
        why = Words(
            "Drawn at random among the eligible actions, to learn", "在符合条件的行动中随机抽取，用于学习"
        )
    elif chosen.name == "nothing" and priced_out:
        why = Words(
            f"Nothing eligible is expected to earn within {days} days what its budget or channel earns with "
            f"other customers, {assumed.en}",
            f"{assumed.zh}，符合条件的行动在{days}天内的预期收益均不及其预算或渠道用于其他客户的收益",
        )
    elif chosen.name == "nothing":
        why = Words(
            f"Nothing eligible is expected to earn back its cost within {days} days, {assumed.en}",
            f"{assumed.zh}，符合条件的行动预计在{days}天内均无法收回成本",
        )
    else:
        why = Words(
            f"The largest expected net value over {days} days of what is eligible, {assumed.en}",
            f"{assumed.zh}，在符合条件的行动中{days}天预期净值最大",
        )
    return Text(f"{chosen.words.en}. {why.en}.", f"{chosen.words.zh}。{why.zh}。")


def _condition(condition: Condition) -> str:
    bounds = [f">= {condition.at_least:g}"] if condition.at_least is not None else []
    bounds += [f"<= {condition.at_most:g}"] if condition.at_most is not None else []
    return f"{condition.feature} {' and '.join(bounds) or 'known'}"


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _words(words: Words) -> Text:
    return Text(words.en, words.zh)
