"""The catalogue of actions: what may be done for a customer, what it costs, and what we assume that it does.

To add an action, add it to ACTIONS in the shop's shop.py: decisions, answers and the tests' contracts pick it
up by themselves. `retail` has examples to take over. Of its own the catalogue has "nothing" alone, as every
shop's actions, costs and terms are its own. A declared effect is an assumption with its reason (`evidence:
"prior"`); it ranks actions, and nothing may claim that it happened.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from features.errors import SettingsError
from features.typed import misfits
from features.words import Words
from serving.conditions import FIELDS, Condition, Live, problem_of

__all__ = [
    "NOTHING", "REACHES", "Action", "Condition", "Effect", "Evidence", "GoalKind", "Purpose", "Reach", "Step",
    "catalogue", "require_features",
]  # fmt: skip

# Of an effect: assumed, shown by decisions drawn by lot (`evidence`), or none where nothing is done.
Evidence = Literal["prior", "randomised", "none"]
GoalKind = Literal["margin", "retention", "service"]
Purpose = Literal["marketing", "service"]
_FIELDS = {field.name: field for field in FIELDS}
Reach = Literal["person", "group", "everyone"]  # whom a message on a channel addresses, the narrowest first
REACHES: tuple[Reach, ...] = ("person", "group", "everyone")


@dataclass(frozen=True)
class Effect:
    """Absolute change of the probability of an order within the shop's value horizon.

    .01 is one point: one more of a hundred customers orders. low, high: a 95 % interval of belief.
    """

    mean: float
    low: float
    high: float
    evidence: Evidence
    reason: Words


@dataclass(frozen=True)
class Step:
    """One message of an action. send_cost: shop currency, per customer. after_hours: since the decision."""

    channel: str
    words: Words
    send_cost: float = 0.0
    after_hours: float = 0.0
    reach: Reach = "person"


@dataclass(frozen=True, kw_only=True)
class Action:
    """One action on one channel, or an ordered bundle of several. Costs are in shop currency, per customer.

    goal_kind:        what it is for. An eligible action for service is owed: it goes before all others,
                      whatever it earns, and is never left to chance
    send_cost:        of the first message; those that follow have their own
    then:             the messages that follow, in their order: a bundle is one action, decided as a whole,
                      needs consent for the channel of every step, and is a contact on each
    after_hours:      from the decision to the first message
    reach:            whom the channel addresses. What addresses a group is decided for the group. A bundle
                      may address several: it is decided for the widest of them, and the steps of a narrower
                      one are a part of it (`part`), for each person or group whose own limits allow it
    part_of:          never declared: of such a part, for whom the whole was decided
    incentive:        expected cost of the offer to the shop, for a customer who redeems it
    redeem:           assumed probability of redeeming
    order_value:      assumed value of the order that it brings from a customer whose own is not known, as
                      there was none for a year; without it, such a customer cannot be offered it: nobody
                      knows what it is worth. A customer's own value, where known, goes before
    retention_effect: assumed change of the probability of remaining a customer, times the lifetime value
    optout_effect:    assumed change of the probability of opting out, times the lifetime value
    fatigue_cost:     charged for every contact that the customer already had in the policy's window
    validity_days:    days that the offer stands once decided
    suppress_days:    not within so many days of the last marketing contact of any kind
    eligible:         who may get it, and when: all of these conditions hold
    suppressed_if:    who must not: any of these conditions holds. What is not known does not rule out
    purpose:          marketing, or a service message, exempt from cap, suppression and holdout; consent
                      for the channel is needed for both
    by_person:        carried out by a member of staff, not by a machine
    """

    name: str
    channel: str | None  # None only for "nothing"
    words: Words
    goal: Words
    effect: Effect
    goal_kind: GoalKind = "margin"
    send_cost: float = 0.0
    incentive: float = 0.0
    redeem: float = 0.0
    order_value: float | None = None
    retention_effect: float = 0.0
    optout_effect: float = 0.0
    fatigue_cost: float = 0.0
    validity_days: int = 0
    suppress_days: int = 0
    eligible: tuple[Condition, ...] = ()
    suppressed_if: tuple[Condition, ...] = ()
    purpose: Purpose = "marketing"
    then: tuple[Step, ...] = ()
    reach: Reach = "person"
    by_person: bool = False
    after_hours: float = 0.0
    part_of: Reach | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every message in its order; none of "nothing"."""
        if self.channel is None:
            return ()
        first = Step(self.channel, self.words, self.send_cost, self.after_hours, self.reach)
        return (first, *self.then)

    @property
    def channels(self) -> tuple[str, ...]:
        """The channel of each step: a contact each, so one may come twice."""
        return () if self.channel is None else (self.channel, *(step.channel for step in self.then))

    @property
    def unit(self) -> Reach:
        """For whom it is decided: whoever the step of the widest reach addresses."""
        return max((step.reach for step in self.steps), key=REACHES.index, default="person")

    @property
    def narrower(self) -> tuple[Reach, ...]:
        """Whom else steps of the bundle address, the widest first: of each, it has a `part`."""
        found = {step.reach for step in self.steps}
        return tuple(reach for reach in reversed(REACHES) if reach in found and reach != self.unit)

    def part(self, reach: Reach) -> "Action":
        """The steps that address this reach, as an action: at their own times and costs.

        For its `unit`, the action goes on with its effect, its offer and all else; where all steps address
        that, it is the action itself. For a narrower reach, what is left is to send: it has no effect of its
        own, as that is the bundle's, and whoever may get it does (`decide`). ValueError if no step does.
        """
        if reach == self.unit and not self.narrower:
            return self
        own = [step for step in self.steps if step.reach == reach]
        if not own:
            raise ValueError(f"no step of {self.name} addresses {reach}")
        first, *then = own
        its = replace(
            self, channel=first.channel, words=first.words, send_cost=first.send_cost, then=tuple(then),
            reach=reach, after_hours=first.after_hours,
        )  # fmt: skip
        if reach == self.unit:
            return its
        return replace(
            its, effect=_OF_THE_WHOLE, incentive=0.0, redeem=0.0, order_value=None, retention_effect=0.0,
            optout_effect=0.0, fatigue_cost=0.0, part_of=self.unit,
        )  # fmt: skip

    @property
    def parts(self) -> tuple["Action", ...]:
        """What it is decided and sent as: its `part` for its unit, then those for whoever is narrower."""
        return tuple(self.part(reach) for reach in (self.unit, *self.narrower))

    @property
    def cost(self) -> float:
        """What it is expected to cost the shop: sending it, and the offer of those who redeem."""
        return self.sending + self.redeem * self.incentive

    @property
    def sending(self) -> float:
        """What sending all of its messages costs."""
        return self.send_cost + sum(step.send_cost for step in self.then)

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise SettingsError(f"action {self.name!r}: {problem}. Change its declaration")

    def _problem(self) -> str | None:
        if strange := misfits(self):
            return "; ".join(strange)
        if not self.name.isidentifier():
            return "its name must be an identifier such as win_back_sms"
        if not self.channel and self.name != "nothing":
            return 'it needs a channel, such as channel="sms"'
        if self.channel is not None and self.name == "nothing":
            return '"nothing" is in every catalogue already, and sends nothing: give yours another name'
        if not -1 <= self.effect.low <= self.effect.mean <= self.effect.high <= 1:
            return "its effect must satisfy -1 <= low <= mean <= high <= 1; one point is .01"
        if not (0 <= self.redeem <= 1 and abs(self.retention_effect) <= 1 and abs(self.optout_effect) <= 1):
            return "redeem must lie between 0 and 1, the other effects between -1 and 1"
        for key in ("send_cost", "incentive", "fatigue_cost", "validity_days", "suppress_days"):
            if getattr(self, key) < 0:
                return f"{key} is {getattr(self, key)}, negative: expected 0 or more"
        if self.order_value is not None and not 0 < self.order_value < float("inf"):
            return "its order_value must be above 0; leave it out if nobody can say"
        if not all((*self.words, *self.goal, *self.effect.reason)):
            return "it needs words, a goal and the reason of its effect, in English and Chinese"
        weighed = (self.effect.low, self.effect.high) != (0, 0)
        if self.goal_kind == "service" and (self.purpose != "service" or weighed):
            return "its goal_kind is service: that is owed, so its purpose is service and its effect 0"
        return self._problem_of_steps() or problem_of(self.eligible, self.suppressed_if)

    def _problem_of_steps(self) -> str | None:
        before = self.after_hours
        if before < 0:
            return f"its first message goes {before:g} hours after the decision: expected 0 or more"
        for number, step in enumerate(self.then, start=2):
            if self.channel is None or not step.channel:
                return f"step {number} needs a channel"
            if step.send_cost < 0:
                return f"step {number} has a negative send_cost"
            if step.after_hours < before:
                return f"step {number} comes before step {number - 1}: after_hours counts from the decision"
            if not all(step.words):
                return f"step {number} needs words in English and Chinese"
            before = step.after_hours
        return None


_OF_THE_WHOLE = Effect(
    0.0, 0.0, 0.0, "prior", Words("Its effect is the whole bundle's", "其效果计入整个组合行动")
)
NOTHING = Action(
    name="nothing",
    channel=None,
    words=Words("Do nothing", "不采取行动"),
    goal=Words("Leave the customer in peace, at no cost", "不打扰客户，不产生成本"),
    effect=Effect(0.0, 0.0, 0.0, "none", Words("Nothing is done", "未采取任何行动")),
)


def catalogue(
    own: Iterable[Action] = (),
    declared: Collection[str] | None = None,
    fields: Mapping[str, Live] = _FIELDS,
) -> dict[str, Action]:
    """ "Nothing" first, and a shop's own actions, by name.

    declared, fields: of `require_features`, if conditions are to be held against them. SettingsError for what
    is no action, a name twice, what no declaration can claim, or a channel that addresses a group here and a
    person there: who is asked, who is held out and what a contact costs hang on it.
    """
    by_name: dict[str, Action] = {}
    reach: dict[str, tuple[Reach, str]] = {}
    for action in (NOTHING, *own):
        if not isinstance(action, Action):
            raise SettingsError(f"ACTIONS holds {action!r}, which is no Action: declare it as Action(...)")
        if action.name == NOTHING.name and by_name:
            raise SettingsError('action "nothing" is in every catalogue already: leave it out of ACTIONS')
        if action.name in by_name:
            raise SettingsError(f"action {action.name!r} is declared twice: give one of them another name")
        if action.effect.evidence == "randomised":
            raise SettingsError(
                f"action {action.name!r} declares its effect as randomised: what is declared is assumed, "
                "evidence 'prior'. What decisions drawn by lot show comes from `propensity train uplift`, or "
                "of a trial from `propensity uplift --trial`, and replaces it once promoted"
            )
        if action.part_of is not None:
            raise SettingsError(
                f"action {action.name!r} declares part_of, which is found from the reach of its steps: leave "
                "it out"
            )
        by_name[action.name] = action
        for step in action.steps:
            first, where = reach.setdefault(step.channel, (step.reach, action.name))
            if first != step.reach:
                raise SettingsError(
                    f"channel {step.channel!r} addresses {first} in action {where!r}, and {step.reach} in "
                    f"{action.name!r}: give both the same reach, or one of them another channel"
                )
    if declared is not None:
        require_features(by_name.values(), declared, fields)
    return by_name


def require_features(
    actions: Iterable[Action], declared: Collection[str], fields: Mapping[str, Live] = _FIELDS
) -> None:
    """SettingsError for a condition on what nobody declares: nobody could ever meet it.

    declared: names of features. fields: of the live context.
    """
    for action in actions:
        for condition in (*action.eligible, *action.suppressed_if):
            if problem := condition.problem(declared, fields):
                raise SettingsError(f"action {action.name!r} {problem}")
