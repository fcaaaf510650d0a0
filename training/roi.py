"""What contacts brought, by scenario and channel, against being left alone; from the ledger's own lots.

For those who were contacted, with e1 the logged chance of such a contact, e0 of nothing, and m a model of the
outcome of nothing that has not seen the customer:

    effect = sum(T (y - m) - [nothing] e1 / e0 (y - m)) / sum(T)

the doubly robust effect on the treated: unbiased with the logged chances whatever m is. Intervals are normal,
from sums by customer. Only decisions in which both could have been drawn count; where nothing was left to
chance, nothing is known.

What was brought is of all that was decided, sent or not: what is not sent is no matter of chance. Costs are
of what a delivery says was sent; of what nobody told, they are not known: a use pays, or loses, only if it
does whatever was sent of that. What is owed to customers is for service: it has its cost, and is not judged
by margin.

Of many uses one always looks good: the intervals of all hold together (Bonferroni). Guardrails are looked at
any day, and stop a campaign: theirs are confidence sequences (`sequential`), which hold at every look, of all
guardrails together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from features.words import Words
from training.logged import SENT, UNTOLD, Logged
from training.sequential import LEAST, Difference, Guardrail, rare, widening
from training.uplift_learners import Numbers, Outcomes

Bools = NDArray[np.bool_]
MISSED = 0.1  # of the contacts, that left nothing to chance: with more, the others do not speak for all
PLANNED = 2_000  # customers at whom a guardrail's sequence is narrowest
ENOUGH = 1_000  # decisions, from which on a model of the outcome takes away noise
TIMES = 11.0  # the cost, beyond which what was brought is no longer told as a share of it: of 1,000 %
MOST = 0.005  # of a harm, that is tolerated: one customer in two hundred
HARMS = {
    "opt_out": Guardrail(Words("opt-outs", "退订"), MOST),
    "complaint": Guardrail(Words("complaints", "投诉"), MOST),
}
NONE_COUNTED = Words("no outcome counted: nothing to compare", "没有结果计入，无从比较")
UNLIKE = Words(
    "withheld: outcomes do not compare what was done (see above)", "不作结论：结果不可用于比较（见上文）"
)
OWED = Words("owed to the customer: not judged by margin", "对客户应尽的服务：不以毛利衡量")
_Z = 1.959964
_SIDES = 0.1  # a guardrail is broken, or holds, at 5 % on either side


@dataclass(frozen=True)
class Brought:
    """A scenario and channel. decided: contacts; customers: for whom. sent: told as sent; untold: of which
    nobody told. cost: of what was sent; untold_cost: of the untold, if they were sent.

    margin, orders: what they brought, in all; None: not known, and `why`. owed: for service.
    """

    scenario: str
    channel: str
    decided: int
    customers: int
    sent: int
    untold: int
    cost: float
    untold_cost: float
    margin: Difference | None
    orders: Difference | None
    why: Words | None = None
    owed: bool = False

    @property
    def most(self) -> float:
        """What it cost at most."""
        return self.cost + self.untold_cost

    @property
    def returned(self) -> Difference | None:
        """Return on what it cost at most, (margin - cost) / cost; None without a cost or a known margin."""
        if self.margin is None or self.most <= 0:
            return None
        return Difference(*((of - self.most) / self.most for of in vars(self.margin).values()))

    @property
    def return_words(self) -> Words | None:
        """The return as it is read: a share of the cost; beyond that, how many times the cost was brought;
        no figure where chance alone moves it by many times the cost, to either side of 0."""
        if (of := self.returned) is None:
            return None
        times = [1 + end for end in (of.value, of.low, of.high)]
        if max(map(abs, times)) <= TIMES:
            said = f"{of.value:+.0%} [{of.low:+.0%} {of.high:+.0%}]"
            return Words(said, said)
        if times[1] <= 0 <= times[2]:
            return Words(
                "the cost is too small beside the margin's interval to tell a return",
                "成本相对毛利的区间过小，回报率没有意义",
            )
        said = "{:,.0f} [{:,.0f} {:,.0f}]".format(*times)
        return Words(f"{said} times the cost", f"成本的{said}倍")

    @property
    def verdict(self) -> Literal["pays", "loses", "unsaid", "open", "unknown", "owed"]:
        """Whether what it brought is above its cost, beyond its interval, whatever was sent of the untold.

        unsaid: with some of the untold sent, or none, it would be told; with others not. open: with none.
        """
        if self.margin is None:
            return "owed" if self.owed else "unknown"
        if self.margin.low > self.most:
            return "pays"
        if self.margin.high < self.cost:
            return "loses"
        return "unsaid" if self.margin.low > self.cost or self.margin.high < self.most else "open"

    @property
    def withheld(self) -> "Brought":
        """Without what it is said to have brought, where outcomes do not compare what was done."""
        return self if self.margin is None else replace(self, margin=None, orders=None, why=UNLIKE)


@dataclass(frozen=True)
class Harm:
    """A harm of an action: the rise of its share among those who got it. state: None: not known."""

    action: str
    guardrail: Guardrail
    difference: Difference | None

    @property
    def state(self) -> Literal["broken", "open", "holds"] | None:
        """As the guardrail says."""
        return None if self.difference is None else self.guardrail.state(self.difference)

    @property
    def withheld(self) -> "Harm":
        """What is left to say where outcomes do not compare: an alarm is no claim, and stays."""
        return self if self.state == "broken" else replace(self, difference=None)


def brought(logged: Logged) -> list[Brought]:
    """Each scenario and channel of which there is a final outcome, the dearest first; what is owed apart."""
    channels = np.array([logged.channels.get(name) or "" for name in logged.actions])
    found = []
    own, owed = channels[logged.action], logged.service
    for scenario in sorted(set(logged.scenario)):
        here = (np.array(logged.scenario) == scenario) & logged.mature & ~logged.holdout
        for channel in sorted(set(own[here]) - {""}):
            for actions in ((channels == channel) & ~owed, (channels == channel) & owed):
                if (here & actions[logged.action]).any():
                    found.append(_brought(logged, here, scenario, str(channel), actions))
    width = float(norm.isf(0.025 / max(1, sum(one.margin is not None for one in found)))) / _Z
    wide = [
        one if one.margin is None else replace(one, margin=_scaled(one.margin, 1.0, width)) for one in found
    ]
    return sorted(wide, key=lambda one: (one.owed, -one.most))


def of_channel(logged: Logged, channel: str) -> Brought:
    """A channel in all scenarios together, without what is owed."""
    at = np.array([(logged.channels.get(name) or "") == channel for name in logged.actions])
    at &= ~logged.service
    return _brought(logged, logged.mature & ~logged.holdout, "", channel, at)


def of_all(logged: Logged) -> Brought:
    """All channels together, without what is owed."""
    at = np.array([bool(logged.channels.get(name)) for name in logged.actions]) & ~logged.service
    return _brought(logged, logged.mature & ~logged.holdout, "", "", at)


def harms(logged: Logged) -> list[Harm]:
    """What each action does to opt-outs and complaints, where these are known."""
    found: list[tuple[str, str, int, Difference | Words]] = []
    for name in (name for name in HARMS if name in logged.outcomes):
        usable = np.isfinite(logged.outcomes[name]) & ~logged.holdout
        for k, action in enumerate(logged.actions):
            if k and (usable & (logged.action == k)).any():
                only = np.arange(len(logged.actions)) == k
                effect = effect_on_treated(logged, usable, only, logged.outcomes[name], share=True)
                customers = len(np.unique(logged.customer[_compared(logged, usable, only)]))
                found.append((name, action, customers, effect))
    level = _SIDES / max(1, sum(isinstance(effect, Difference) for *_, effect in found))
    return [
        Harm(
            action, HARMS[name],
            None
            if isinstance(effect, Words)
            else _scaled(effect, 1.0, widening(customers, PLANNED, level) / _Z),
        )
        for name, action, customers, effect in found
    ]  # fmt: skip


def effect_on_treated(
    logged: Logged, rows: Bools, actions: Bools, outcome: Numbers, share: bool = False
) -> Difference | Words:
    """Mean effect of some actions [A] on those who got them, among rows [n]; or why it is not known.

    share: the outcome is 0 or 1 and may be rare: then no model of it, and an interval that knows this.
    """
    e1, e0 = logged.chances[:, actions].sum(axis=1), logged.chances[:, 0]
    treated, nothing = actions[logged.action], logged.action == 0
    here = _compared(logged, rows, actions)
    missed, contacts = int((rows & treated & ~here).sum()), int((rows & treated).sum())
    customers = [len(np.unique(logged.customer[here & of])) for of in (treated, nothing)]
    if missed == contacts and missed:
        return Words("nothing was left to chance", "未留随机性，无法得知")
    if missed > MISSED * contacts:
        fixed = f"{missed / contacts:.0%}"
        return Words(
            f"at {fixed} of the contacts nothing was left to chance: the others do not speak for them",
            f"{fixed}的触达未留随机性：其余触达不能代表它们",
        )
    weight = np.where(treated, 1.0, -e1 / np.where(e0 > 0, e0, 1.0))[here]
    left = weight[nothing[here]]
    effective = float(left.sum() ** 2 / (left @ left)) if len(left) else 0.0
    if min(*customers, effective) < LEAST:
        return Words(
            f"too few: {customers[0]} contacted, {effective:.0f} effective left alone, {LEAST} are needed",
            f"过少：触达{customers[0]}人，未触达有效样本{effective:.0f}，至少需{LEAST}",
        )
    if not share and not outcome[here].any():
        return NONE_COUNTED
    y = outcome[here] - _left_alone(logged, here, nothing, outcome, not share)
    total = float(treated[here].sum())
    value = float(weight @ y) / total
    influence = weight * y - value * treated[here]
    sums = np.bincount(np.unique(logged.customer[here], return_inverse=True)[1], influence)
    power = float(sums @ sums)
    for of in (treated[here], nothing[here]):  # that it came to none of them is no proof that it never will
        if share and not outcome[here][of].any():
            squares = weight[of] @ weight[of]
            power += float(squares) * rare(0.0, float(np.abs(weight[of]).sum() ** 2 / squares))
    half = _Z * float(np.sqrt(power)) / total
    return Difference(value, value - half, value + half)


def _compared(logged: Logged, rows: Bools, actions: Bools) -> Bools:
    """Decisions for these actions or nothing, in which both could have been drawn, [n]."""
    both = (logged.chances[:, actions].sum(axis=1) > 0) & (logged.chances[:, 0] > 0)
    return np.asarray(rows & both & (actions[logged.action] | (logged.action == 0)))


def _brought(logged: Logged, here: Bools, scenario: str, channel: str, actions: Bools) -> Brought:
    treated, owed = here & actions[logged.action], bool((actions & logged.service).any())
    margin, orders = (
        OWED if owed else effect_on_treated(logged, here, actions, outcome)
        for outcome in (logged.outcomes["margin"], logged.ordered)
    )
    decided = int(treated.sum())
    sent, untold = (treated & (logged.delivery == of) for of in (SENT, UNTOLD))
    return Brought(
        scenario, channel, decided, len(np.unique(logged.customer[treated])), int(sent.sum()),
        int(untold.sum()), float(logged.cost[sent].sum()), float(logged.cost[untold].sum()),
        None if isinstance(margin, Words) else _scaled(margin, decided),
        None if isinstance(orders, Words) else _scaled(orders, decided),
        margin if isinstance(margin, Words) else None, owed,
    )  # fmt: skip


def _left_alone(logged: Logged, here: Bools, nothing: Bools, outcome: Numbers, model: bool) -> Numbers:
    """The expected outcome of nothing of each row, by a model that has not seen its customer."""
    fold = logged.customer[here] % 2
    quiet, y = nothing[here], outcome[here]
    if not model or quiet.sum() < ENOUGH:
        means = [y[quiet & (fold != side)] for side in (0, 1)]
        return np.array([of.mean() if len(of) else y[quiet].mean() for of in means])[fold]
    found = np.empty(len(y))
    outcomes = Outcomes(np.ascontiguousarray(logged.matrix[here]), np.zeros(len(y), np.int64), 1)
    for side in (0, 1):
        own = fold == side
        found[own] = outcomes.fit(quiet & ~own, y, 1).means(logged.matrix[here][own])[:, 0]
    return found


def _scaled(of: Difference, by: float, width: float = 1.0) -> Difference:
    ends = (of.value + (end - of.value) * width for end in (of.low, of.high))
    return Difference(of.value * by, *(end * by for end in ends))


def worst(found: Sequence[Harm]) -> Literal["broken", "open", "holds"]:
    """Of all guardrails together."""
    states = {one.state for one in found}
    return "broken" if "broken" in states else "open" if states - {"holds"} else "holds"
