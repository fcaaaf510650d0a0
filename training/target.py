"""What a target is: whom it speaks of, what counts as 1, how far ahead; and the contract that each must pass.

The targets themselves are in `targets`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from features.definitions import Feature
from features.toml import nearest
from features.typed import misfits
from features.words import Words
from training import populations
from training.populations import Population

Label = Literal[
    "order",  # an order, also the first
    "no_order",
    "category_order",  # goods of one of `categories`; without any, of a category that this customer bought
    "left_group",  # left a group
    "left_staff",  # removed a member of staff from the contacts
    "opt_out",  # opted out, or withdrew a consent to marketing
    "overdue",  # silent at the horizon's end for longer than nine of ten of the customer's own gaps
]
Tone = Literal["bad", "good"]


@dataclass(frozen=True)
class Kind:
    """Of a label: the tables that it is read from, of which the log must have one, and what 1 means.

    called: the events that it is made of, in the plural. monotone: feature -> 1 if its chance can only rise
    with it, all else equal, -1 if only fall: for what is known, not for what is likely.
    """

    tables: tuple[str, ...]
    called: Words
    higher_is: Tone
    words: Words
    monotone: Mapping[str, int] = field(default_factory=dict)


_ORDERS = (("orders",), Words("orders", "笔订单"))
_GOODS = (("order_lines",), Words("order lines with such goods", "行此类商品的订单明细"))
_OPT_OUTS = (("responses", "consents"), Words("opt-outs", "次退订"))
_GROUPS = (("memberships",), Words("departures from groups", "次退群"))
_STAFF = (("memberships",), Words("removals of staff contacts", "次删除导购"))

LABELS: dict[Label, Kind] = {
    "order": Kind(*_ORDERS, "good", Words("an order", "有订单")),
    "no_order": Kind(*_ORDERS, "bad", Words("no order", "无订单"), {"days_since_order": 1}),
    "category_order": Kind(*_GOODS, "good", Words("goods of a category", "购买某品类")),
    "left_group": Kind(*_GROUPS, "bad", Words("left a group", "退出社群")),
    "left_staff": Kind(*_STAFF, "bad", Words("removed a staff contact", "删除导购")),
    "opt_out": Kind(*_OPT_OUTS, "bad", Words("an opt-out", "退订")),
    "overdue": Kind(*_ORDERS, "bad", Words("silent beyond the own rhythm", "沉默超过自身节奏")),
}

# What no target's score may be used for, whatever it predicts: every card says so.
NEVER: tuple[Words, ...] = (
    Words(
        "Never as a reason to refuse service, or to price differently between like customers.",
        "不得据此拒绝服务，也不得对条件相同的客户差别定价。",
    ),
    Words(
        "Never as a cause: what moves a score goes with what happens, it need not bring it about.",
        "不得当作原因：影响分数的特征只是与结果相关，未必导致结果。",
    ),
    Words(
        "Never outside its population, and never for another shop than the one whose log it learned from.",
        "不得用于适用人群之外的客户，也不得用于日志来源以外的其他商家。",
    ),
    Words(
        "Never as an uplift: it says who will, not whom a message or a coupon would change. "
        "Only contacts drawn by lot can say that.",
        "不得当作增益：它预测谁会这样做，而不是触达或优惠券会改变谁；后者只能由随机触达得出。",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """One target. At a moment m the label looks at events with m < at <= m + horizon_days x 24 h.

    population: whom it speaks of. label: what counts as 1. categories: for `category_order`, of which goods.
    returned: whether an order, or a category's goods, counts that came back in full within the horizon.
    higher_is: what a high probability means for the shop. score: what the probability is called, after
    "raises the". reason: why this target, with this horizon and population. default: whether `propensity
    train` without names trains it, if shop.toml names no `targets`. adjusted: whether it is meant as if
    nobody were contacted (treatment.py); not where contacts are what brings it about. baseline: features on
    which a logistic regression is fitted that the model must beat, beside those that every model must.
    """

    name: str
    horizon_days: int
    population: Population
    label: Label
    words: Words
    score: Words
    higher_is: Tone
    reason: Words | str  # text of a shop's own: in whatever language it is written
    categories: tuple[str, ...] = ()
    returned: bool = True
    default: bool = True
    adjusted: bool = True
    baseline: tuple[str, ...] = ()

    @property
    def asks(self) -> tuple[Label, int, Population, bool, tuple[str, ...]]:
        """The question, without its words: label, horizon, population, what counts."""
        return self.label, self.horizon_days, self.population, self.returned, self.categories

    @property
    def why(self) -> Words:
        """The reason in both languages, or as the shop wrote it."""
        return Words(self.reason, self.reason) if isinstance(self.reason, str) else self.reason

    @property
    def counts(self) -> Words:
        """What counts as 1, and whether what came back does."""
        words = LABELS[self.label].words
        if self.returned:
            return words
        return Words(f"{words.en}, unless it came back in full", f"{words.zh}（全部退货不计）")


def problems(target: Target, features: Mapping[str, Feature] | None = None) -> list[str]:
    """The contract that every target must pass; empty when it does. features: all that are declared."""
    if strange := misfits(target):
        return [f"target {target.name}: {problem}" for problem in strange]
    found = []
    if not target.name.endswith(f"_{target.horizon_days}d") or not target.name.isidentifier():
        found.append(f"the name must end in its horizon, _{target.horizon_days}d, and be an identifier")
    if not 1 <= target.horizon_days <= 365:
        found.append(f"a horizon of {target.horizon_days} days is not within 1 to 365")
    found += populations.problems(target.population, features)
    if target.higher_is != LABELS[target.label].higher_is:
        found.append(f"of {target.label} more is {LABELS[target.label].higher_is}: higher_is says otherwise")
    if features is not None and (unknown := [one for one in target.baseline if one not in features]):
        close = nearest(unknown[0], features).rstrip(".")
        found.append(f"the baseline names {', '.join(unknown)}, which is no declared feature{close}")
    if target.categories and target.label != "category_order":
        found.append(f"categories go with the label category_order, not with {target.label}")
    if target.label == "category_order" and not (target.categories or target.population.days):
        found.append("without categories, the population must look back some days: what was bought in them")
    if not all((*target.words, *target.score, *target.why)):
        found.append("words and score in English and Chinese, and a reason, are needed")
    return [f"target {target.name}: {problem}" for problem in found]
