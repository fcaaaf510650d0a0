"""The catalogue of actions: what may be done for a customer, what it costs, and what we assume that it does.

To add an action, add it to ACTIONS (or to ACTIONS in a shop's shop.py): decisions, answers and the tests'
contracts pick it up by themselves. An effect here is an assumption with its reason (`evidence: "prior"`);
it ranks actions, and nothing may claim that it happened.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from features.errors import SettingsError
from features.words import Words

Evidence = Literal["prior", "none"]  # none: nothing is done, so nothing is assumed


@dataclass(frozen=True)
class Condition:
    """The feature must be known, and within [at_least, at_most] in its own unit where these are given."""

    feature: str
    at_least: float | None = None
    at_most: float | None = None


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


@dataclass(frozen=True, kw_only=True)
class Action:
    """One action on one channel. Costs are in shop currency, per customer.

    incentive:        expected cost of the offer to the shop, for a customer who redeems it
    redeem:           assumed probability of redeeming
    retention_effect: assumed change of the probability of remaining a customer, times her lifetime value
    optout_effect:    assumed change of the probability of opting out, times her lifetime value
    fatigue_cost:     charged for every contact that she already had in the policy's window
    validity_days:    days that the offer stands once decided
    suppress_days:    not within so many days of her last marketing contact of any kind
    purpose:          marketing, or a service message, exempt from cap, suppression and holdout; consent
                      for the channel is needed for both
    """

    name: str
    channel: str | None  # None only for "nothing"
    words: Words
    goal: Words
    effect: Effect
    send_cost: float = 0.0
    incentive: float = 0.0
    redeem: float = 0.0
    retention_effect: float = 0.0
    optout_effect: float = 0.0
    fatigue_cost: float = 0.0
    validity_days: int = 0
    suppress_days: int = 0
    eligible: tuple[Condition, ...] = ()
    purpose: Literal["marketing", "service"] = "marketing"

    @property
    def cost(self) -> float:
        """What it is expected to cost the shop: sending it, and the offer of those who redeem."""
        return self.send_cost + self.redeem * self.incentive

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise SettingsError(f"action {self.name!r}: {problem}. Change its declaration")

    def _problem(self) -> str | None:
        if not self.name.isidentifier():
            return "its name must be an identifier such as win_back_sms"
        if (self.channel is None) != (self.name == "nothing"):
            return 'it needs a channel, and only "nothing" has none'
        if not -1 <= self.effect.low <= self.effect.mean <= self.effect.high <= 1:
            return "its effect must satisfy -1 <= low <= mean <= high <= 1; one point is .01"
        if not (0 <= self.redeem <= 1 and abs(self.retention_effect) <= 1 and abs(self.optout_effect) <= 1):
            return "redeem must lie between 0 and 1, the other effects between -1 and 1"
        if min(self.send_cost, self.incentive, self.fatigue_cost, self.validity_days, self.suppress_days) < 0:
            return "a cost or a number of days is negative"
        if not all((*self.words, *self.goal, *self.effect.reason)):
            return "it needs words, a goal and the reason of its effect, in English and Chinese"
        for c in self.eligible:
            if c.at_least is not None and c.at_most is not None and c.at_least > c.at_most:
                return f"nobody can meet its condition on {c.feature}: at_least is above at_most"
        return None


NOTHING = Action(
    name="nothing",
    channel=None,
    words=Words("Do nothing", "不采取行动"),
    goal=Words("Leave the customer in peace, at no cost", "不打扰客户，不产生成本"),
    effect=Effect(0.0, 0.0, 0.0, "none", Words("Nothing is done", "未采取任何行动")),
)


def _assumed(points: float) -> Effect:
    """A prior for a coupon mailing, in points of order probability; interval 0 to 2 points.

    The largest public randomised trial of a retailer's mailings (64,000 customers, two weeks) found .3 and
    .7 points; coupons were not tested there, and these campaigns never were randomised.
    """
    reason = Words(
        "An assumption: randomised mailings of other retailers moved orders by 0 to 2 points; "
        "not measured on this shop's customers",
        "仅为假设：其他零售商的随机试验中，邮寄触达对下单概率的影响在0到2个百分点之间；尚未在本店客户上测量",
    )
    return Effect(points / 100, 0.0, 0.02, "prior", reason)


# The campaign types of the Complete Journey log, by the names that its contacts table uses.
# redeem: share of mailed households that redeemed in that log (rounded). incentive: the shop's own share of
# their coupons, makers pay the rest. send_cost: a page in a mailing that goes out anyway. The last two are
# assumptions of the demo: a shop declares its own actions with its own costs.
ACTIONS: tuple[Action, ...] = (
    Action(
        name="campaign_a",
        channel="mail",
        words=Words("Mail the large coupon booklet (campaign type A)", "邮寄大额优惠券手册（A类活动）"),
        goal=Words("One more order from an active customer", "促使活跃客户再次下单"),
        effect=_assumed(1.2),
        send_cost=0.04,
        incentive=0.60,
        redeem=0.16,
        validity_days=47,
        suppress_days=7,
        eligible=(Condition("days_since_order", at_most=90), Condition("orders_365d", at_least=2)),
    ),
    Action(
        name="campaign_b",
        channel="mail",
        words=Words("Mail the coupons of one range (campaign type B)", "邮寄单一品类优惠券（B类活动）"),
        goal=Words("One more order from an active customer", "促使活跃客户再次下单"),
        effect=_assumed(0.8),
        send_cost=0.02,
        incentive=0.50,
        redeem=0.065,
        validity_days=32,
        suppress_days=7,
        eligible=(Condition("days_since_order", at_most=90),),
    ),
    Action(
        name="campaign_c",
        channel="mail",
        words=Words("Mail the long-running coupons (campaign type C)", "邮寄长期优惠券（C类活动）"),
        goal=Words("Bring back a customer who has paused", "唤回暂停购物的客户"),
        effect=_assumed(0.7),
        send_cost=0.02,
        incentive=0.40,
        redeem=0.06,
        validity_days=64,
        suppress_days=7,
        eligible=(Condition("days_since_order", at_least=14, at_most=180),),
    ),
)


def catalogue(own: Iterable[Action] = ()) -> dict[str, Action]:
    """The built-in actions, "nothing" first, and a shop's own, by name. SettingsError for a name twice."""
    by_name: dict[str, Action] = {}
    for action in (NOTHING, *ACTIONS, *own):
        if action.name in by_name:
            raise SettingsError(f"action {action.name!r} is declared twice: give one of them another name")
        by_name[action.name] = action
    return by_name


def require_features(actions: Iterable[Action], declared: Collection[str]) -> None:
    """SettingsError for a condition on a feature that nobody declares: nobody could ever meet it."""
    for action in actions:
        for condition in action.eligible:
            if condition.feature not in declared:
                raise SettingsError(
                    f"action {action.name!r} has a condition on {condition.feature}, which is no feature: "
                    "`propensity features list` shows them"
                )
