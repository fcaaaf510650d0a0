"""Which action for which customer: pure arithmetic over customers x actions; no I/O, no clock, no dice.

Net value of an action for a customer, in shop currency over the shop's value horizon; the terms, in this
order, add up to it exactly:

    d_margin     effect on P(order) x margin per order; the effect leaves P(order) within [0, 1].
                 Or what decisions by lot showed of the effect on margin itself. Where her own margin is not
                 known, by the action's assumed order value, if it has one
    d_retention  effect on P(remains) x lifetime value
    send_cost    - cost of sending every message
    incentive    - P(redeem) x expected cost of the offer
    d_optout     - effect on P(opts out), declared or shown by lot, x lifetime value
    fatigue      - price of every contact that she already had in the policy's window

The largest expected net less its price is chosen, among the eligible actions and "nothing" (0); the earlier
in the catalogue at a tie, so "nothing" wins every tie. A price is what a short budget or channel earns
elsewhere (`prices`); 0 where nothing is short. With probability `explore` the choice is drawn instead,
uniformly over the eligible set E: P(a) = explore / |E| + (1 - explore) x [a is best]. Filters come first;
and where an action for service is eligible, that is owed: E then holds such actions alone. So is her part of
a bundle that was decided for her group, or for everyone (`Action.part`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.policy import Cap, Cooldown
from features.words import Words
from serving.actions import Action, Reach
from serving.declared import Declared, declared_of
from serving.lots import Bools, Floats, draw
from serving.pauses import pauses_of

TERMS = ("d_margin", "d_retention", "send_cost", "incentive", "d_optout", "fatigue")

# Why an action is not eligible; the first that applies, in this order.
REASONS: dict[str, Words] = {
    "not_a_candidate": Words("Not one of those that this request asks about", "不在本次请求询问的行动之列"),
    "paused": Words("Paused by the operators", "已被运营暂停"),
    "unfair_offer": Words(
        "Like customers of different groups do not get this offer alike, and the policy blocks that",
        "不同群体的同类客户获得该优惠的机会不均等，策略禁止此类优惠",
    ),
    "not_personal": Words(
        "Addresses a whole group or everyone: decided for them, not for one customer",
        "面向整个社群或所有人：按群体而非按单个客户决策",
    ),
    "not_eligible": Words("The customer does not meet the action's conditions", "客户不符合该行动的条件"),
    "excluded": Words("A condition rules the customer out", "客户符合该行动的排除条件"),
    "not_now": Words("The scenario waits for another moment", "该场景此刻不宜执行"),
    "value_unknown": Words(
        "The margin of an order is not known: the customer had none in the last year, nor does the action "
        "assume one",
        "近一年没有订单，无法得知其单笔订单毛利，且该行动未作假设",
    ),
    "no_automation": Words(
        "The customer has withdrawn consent to automated decisions", "客户已撤回对自动化决策的同意"
    ),
    "no_consent": Words("No consent for this channel", "客户未同意使用该渠道"),
    "open_complaint": Words("Marketing waits while a complaint is open", "投诉处理期间暂停营销"),
    "suppressed": Words("Too soon after the last marketing contact", "距上次营销触达时间过短"),
    "contact_cap": Words("The limit on marketing contacts is reached", "已达到营销触达次数上限"),
    "budget": Words("What is left of the budget is less than its cost", "剩余预算不足以支付该行动的成本"),
    "none_of_it": Words(
        "The plan in force has nothing left of its cost or channel", "现行计划对其成本或渠道已无额度"
    ),
    "holdout": Words(
        "In the group that marketing leaves alone, to measure against", "属于不做营销的对照组，用于衡量效果"
    ),
    "service_first": Words("What is owed to the customer comes first", "应先完成对客户的服务"),
    "too_late": Words("It would go when the round of its bundle is over", "届时其组合行动所在的轮次已经结束"),
    "bundle_first": Words(
        "The bundle that was decided for all of them has a part for this one",
        "已为全体决定的组合行动包含面向该对象的部分",
    ),
}
DIGITS = 6  # of a unit of currency, to which money is compared
PRICE = "price"  # of an action that is eligible, and what it uses earns more elsewhere
NONE_ELIGIBLE = "none_eligible"  # where no action could be taken, nor would another have paid
_CODES = ("", *REASONS)


@dataclass(frozen=True)
class Limits:
    """What the policy in force asks of a decision. explore: share of decisions drawn, 0..1.

    paused: names of what is paused, as `pauses` has them. margin_rate: of an order value that is assumed.
    unfair: names of actions whose offers are blocked as unfair; closed: of those of whose money or channel
    the plan in force has none.
    """

    explore: float
    caps: Sequence[Cap] = ()
    cooldowns: Sequence[Cooldown] = ()
    paused: frozenset[str] = frozenset()
    margin_rate: float = 0.0
    unfair: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Situation:
    """What is known about n customers. Arrays of length n; NaN means not known.

    features:           by name, those that the actions' conditions read; and by `Condition.column` what they
                        ask of the live context
    order_probability:  P(order within the value horizon) if left alone; NaN leaves an effect as it is
    margin_per_order:   shop currency
    lifetime_value:     shop currency beyond the value horizon; 0 where nobody estimates or declares it
    contacts:           marketing contacts in the policy's window, received or reserved
    days_since_contact: days since the last of them; NaN if there never was one
    capped:             [n, caps]: contacts that each cap counts, in its own window and on its channel
    rested:             [n, cooldowns]: days since the last contact that each cooldown looks at; NaN for none
    left:               shop currency that the budgets still allow to spend; infinite without one
    consent:            (channel, purpose) -> may be used; what is absent may not
    automation:         may be decided about without a person
    open_complaint:     waits for an answer to a complaint, and not for marketing
    holdout:            marketing leaves this customer alone
    seeds:              uint64, one a customer: all the chance that there is
    not_now:            the scenario's own conditions keep all of its actions back
    effects:            action -> what was shown of its effect on margin, in place of what it declares: mean,
                        low and high, shop currency [n, 3]; NaN of whom nothing was shown
    optouts:            the same of its effect on P(opts out), in place of optout_effect
    shut:               [n, A]: which actions the limits of a plan do not carry any more; empty: none
    """

    features: Mapping[str, NDArray[np.float32]]
    order_probability: Floats
    margin_per_order: Floats
    lifetime_value: Floats
    contacts: NDArray[np.int64]
    days_since_contact: Floats
    consent: Mapping[tuple[str, str], Bools]
    automation: Bools
    open_complaint: Bools
    holdout: Bools
    seeds: NDArray[np.uint64]
    capped: NDArray[np.int64]
    rested: Floats
    left: Floats
    not_now: Bools
    effects: Mapping[str, Floats] = field(default_factory=dict)
    optouts: Mapping[str, Floats] = field(default_factory=dict)
    shut: Bools = field(default_factory=lambda: np.zeros((0, 0), np.bool_))


@dataclass(frozen=True)
class Decisions:
    """n customers x A given actions. Rows of `propensity` add up to 1; `chosen`, `best`: column numbers."""

    eligible: Bools  # [n, A]
    reject: NDArray[np.int8]  # [n, A]; `reason(code)` names it
    failed: NDArray[np.int8]  # [n, A]; number of the action's first condition that keeps it out, -1 if none
    cap: NDArray[np.int8]  # [n, A]; number of the first cap that is reached, -1 if none
    cooldown: NDArray[np.int8]  # [n, A]; number of the first cooldown that is not over, -1 if none
    terms: Mapping[str, Floats]  # each [n, A]
    net: Floats  # [n, A]
    low: Floats  # [n, A]: net at the low end of the effect's interval
    high: Floats  # [n, A]
    best: NDArray[np.intp]  # [n]
    chosen: NDArray[np.intp]  # [n]
    explored: Bools  # [n]: drawn among several, whatever came out
    propensity: Floats  # [n, A]


def reason(code: int) -> str | None:
    """The name in REASONS of a code in `Decisions.reject`; None for an eligible action."""
    return _CODES[code] or None


def needed_features(actions: Sequence[Action]) -> list[str]:
    """Names of the features that the actions' conditions read, sorted."""
    every = (c for action in actions for c in (*action.eligible, *action.suppressed_if))
    return sorted({c.feature for c in every if not c.live})


def decide(
    actions: Sequence[Action],
    limits: Limits,
    situation: Situation,
    candidates: Sequence[str] | None = None,
    prices: Floats | None = None,
    unit: Reach = "person",
) -> Decisions:
    """Choose an action for each of n customers. `actions` contains "nothing", which is always eligible, but
    where a service is owed.

    candidates: names of the actions that may be chosen beside "nothing"; None for all. prices: [A], shop
    currency; None for none. unit: whom the actions that may be chosen address.
    """
    s, n, k, declared = situation, len(situation.seeds), len(actions), declared_of(actions)
    terms, low, high = _value(declared, s, limits.margin_rate)
    net, low, high = (_total({**terms, "d_margin": m}) for m in (terms["d_margin"], low, high))

    failed = declared.first_failed(s.features, n)
    cap = _first([passes(c, s.capped[:, i], declared.channels) for i, c in enumerate(limits.caps)], n, k)
    # NaN, where there never was a contact, is below no number of days.
    rest = [
        rests(c, s.rested[:, i], declared.names, declared.channels) for i, c in enumerate(limits.cooldowns)
    ]
    # A contact that is still to come counts, but not where no rest is asked for.
    wait = (s.days_since_contact[:, None] < declared.suppress_days) & (declared.suppress_days > 0)
    cooldown = _first(rest, n, k)
    consent = np.column_stack([consents(s, action) for action in actions])
    marketing, paused = declared.marketing, limits.paused
    tests = {
        "not_a_candidate": candidates is not None and [name not in candidates for name in declared.names],
        "paused": bool(paused) and [pauses_of(action, paused) is not None for action in actions],
        "unfair_offer": bool(limits.unfair) and [name in limits.unfair for name in declared.names],
        "not_personal": [of != unit for of in declared.units],
        "not_eligible": (failed >= 0) & (failed < declared.eligible),
        "excluded": failed >= declared.eligible,
        "not_now": s.not_now[:, None],
        "value_unknown": np.isnan(net),
        "no_automation": ~s.automation[:, None],
        "no_consent": ~consent,
        "open_complaint": s.open_complaint[:, None] & marketing,
        "suppressed": (wait | (cooldown >= 0)) & marketing,
        "contact_cap": (cap >= 0) & marketing,
        "budget": (declared.cost.round(DIGITS) > s.left[:, None]) & marketing,
        "none_of_it": _closed(limits, declared, s),
        "holdout": s.holdout[:, None] & marketing,
    }
    told = np.zeros((len(_CODES), n, k), dtype=np.bool_)
    for name, holds in tests.items():
        told[_CODES.index(name)] = holds
    told[:, :, declared.nothing] = False
    for why, of in (("service_first", declared.service), ("bundle_first", declared.part)):
        owed: Bools = of & np.logical_not(told.any(axis=0))
        told[_CODES.index(why)] = np.any(owed, axis=1)[:, None] & ~owed
    eligible: Bools = np.logical_not(told.any(axis=0))
    told[0] = eligible
    reject = told.argmax(axis=0).astype(np.int8)  # the first in order

    worth = net if prices is None else net - prices
    best, chosen, explored, propensity = draw(eligible, worth, limits.explore, s.seeds)
    return Decisions(
        eligible=eligible,
        reject=reject,
        failed=failed,
        cap=cap,
        cooldown=cooldown,
        terms=terms,
        net=net,
        low=low,
        high=high,
        best=best,
        chosen=chosen,
        explored=explored,
        propensity=propensity,
    )


def _closed(limits: Limits, declared: Declared, s: Situation) -> Bools:
    """Of which actions there is none, [A], or [n, A]."""
    closed = np.array([name in limits.closed for name in declared.names])
    return closed | s.shut if s.shut.size else closed


def _value(declared: Declared, s: Situation, margin_rate: float) -> tuple[dict[str, Floats], Floats, Floats]:
    """The terms of each action [n, A], and d_margin at both ends of the interval, with what a shown effect on
    opting out may add to it or take."""
    p, known = s.order_probability[:, None], ~np.isnan(s.order_probability)[:, None]
    worth = s.margin_per_order[:, None]
    worth = np.where(np.isnan(worth), declared.order_value * margin_rate, worth)
    least, most = np.where(known, -p, -1.0), np.where(known, 1.0 - p, 1.0)

    def margin(effect: Floats) -> Floats:
        moved = np.minimum(np.maximum(effect, least), most) * worth
        return np.where(effect == 0, 0.0, moved)  # no effect is worth 0, whatever an order is worth

    mean, low, high = (margin(declared.effects[end]) for end in ("mean", "low", "high"))
    mean, low, high = _shown(declared.names, s.effects, (mean, low, high))
    n, of = len(s.seeds), declared.terms
    lifetime = s.lifetime_value[:, None]
    leave = np.repeat(of["d_optout"][None, :], n, axis=0)
    leave, fewer, more = _shown(declared.names, s.optouts, (leave, leave, leave))
    low, high = low - (more - leave) * lifetime, high + (leave - fewer) * lifetime
    terms = {
        # Where it is not known how far it may be off, it is not known.
        "d_margin": np.where(np.isnan(low) | np.isnan(high), np.nan, mean),
        "d_retention": of["d_retention"] * lifetime,
        "send_cost": np.repeat(of["send_cost"][None, :], n, axis=0),
        "incentive": np.repeat(of["incentive"][None, :], n, axis=0),
        "d_optout": 0.0 - leave * lifetime,
        "fatigue": 0.0 - of["fatigue"] * s.contacts[:, None],
    }
    return terms, low, high


def _shown(
    names: Sequence[str], effects: Mapping[str, Floats], declared: tuple[Floats, Floats, Floats]
) -> tuple[Floats, Floats, Floats]:
    """An effect's mean, low and high, each [n, A]; what was shown in place of what is declared."""
    found = tuple(of.copy() for of in declared) if effects else declared
    for j, name in enumerate(names):
        for end, of in enumerate(found if name in effects else ()):
            shown = effects[name][:, end]
            of[:, j] = np.where(np.isnan(shown), of[:, j], shown)
    return found[0], found[1], found[2]


def _total(terms: Mapping[str, Floats]) -> Floats:
    total = terms[TERMS[0]]
    for name in TERMS[1:]:
        total = total + terms[name]
    return total


def consents(s: Situation, action: Action) -> Bools:
    """Who allows every channel that the action uses, bool [n]."""
    granted, nobody = np.ones(len(s.seeds), dtype=np.bool_), np.zeros(len(s.seeds), dtype=np.bool_)
    for channel in action.channels:
        granted = granted & s.consent.get((channel, action.purpose), nobody)
    return granted


def passes(cap: Cap, contacts: NDArray[Any], channels: Sequence[Sequence[str]]) -> Bools:
    """Which actions, each by the channels of its messages, would pass a cap [n, A].

    contacts: that it counts already [n].
    """
    more = np.array([len(of) if cap.channel is None else of.count(cap.channel) for of in channels])
    over: Bools = (more > 0) & (contacts[:, None] + more > cap.contacts)
    return over


def rests(rest: Cooldown, days: Floats, names: Sequence[str], channels: Sequence[Sequence[str]]) -> Bools:
    """Which actions a cooldown keeps back [n, A]. days: since the contact that it looks at [n], NaN: none."""
    about = [
        (rest.channel is None or rest.channel in of) and rest.action in (None, name)
        for name, of in zip(names, channels, strict=True)
    ]
    return (days < rest.days)[:, None] & np.array(about, dtype=np.bool_)


def _first(limits: Sequence[Bools], n: int, k: int) -> NDArray[np.int8]:
    """[n, A]: number of the first of the limits, each [n, A], that keeps an action back, else -1."""
    first = np.full((n, k), -1, dtype=np.int8)
    for number, back in reversed(list(enumerate(limits))):
        first[back] = number
    return first


def expected_loss(made: Decisions, row: int) -> float:
    """What the choice is expected to lose against the alternative that could most likely have been better.

    The expected opportunity loss (Raiffa and Schlaifer 1961): E max(0, D), where D is what an eligible
    alternative is worth more than what was chosen, net, and normal: each net's 95 % interval gives its
    standard deviation, and the two are taken as independent. "Nothing" is worth 0 for certain. Shop currency.
    """

    def deviation(j: int) -> float:
        return float(made.high[row, j] - made.low[row, j]) / (2 * 1.96)

    chosen, loss = int(made.chosen[row]), 0.0
    for j in np.flatnonzero(made.eligible[row]).tolist():
        if j == chosen:
            continue
        more = float(made.net[row, j] - made.net[row, chosen])
        spread = math.hypot(deviation(j), deviation(chosen))
        z = more / spread if spread > 0 else 0.0
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        below = more * (1 + math.erf(z / math.sqrt(2))) / 2 + spread * density
        loss = max(loss, below if spread > 0 else more)
    return loss
