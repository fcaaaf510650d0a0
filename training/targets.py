"""Every target, declared once: what is predicted, for whom, how far ahead.

To add a target, add it to TARGETS (or to TARGETS in a shop's shop.py): `propensity train`, the contracts
(`target.problems`), the registry and the service pick it up by themselves. What a target is: `target`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import pyarrow.compute as pc

from features.definitions import Feature
from features.definitions import catalogue as feature_catalogue
from features.errors import TrainingError, UsageError
from features.log import Log
from features.shop import Shop
from features.toml import nearest
from features.words import Words
from serving.cards import Text
from training.populations import IN_A_GROUP, NON_BUYERS, REGULARS, WITH_STAFF, buyers, contacted
from training.target import LABELS, NEVER, Target, problems

__all__ = [
    "LABELS", "NEVER", "TARGETS", "Declared", "Target", "catalogue", "chosen", "lacking", "of_shop",
    "problems", "strange_categories", "text",
]  # fmt: skip

TARGETS: tuple[Target, ...] = (
    Target(
        name="churn_28d",
        horizon_days=28,
        population=buyers(90),
        label="no_order",
        words=Words("No order in the next 28 days", "未来28天内不下单"),
        score=Words("churn risk", "流失风险"),
        higher_is="bad",
        reason=Words(
            "Where most shop weekly, four weeks of silence are news, while there is still time to act. Of "
            "those silent for 90 days already it is asked whether they come back, not whether they leave. "
            "`propensity targets suggest` says which horizons fit the log.",
            "若多数客户每周购物，四周沉默已属异常，且仍来得及挽回。对已沉默90天者，问题是会否回流，而非会否流失。"
            "`propensity targets suggest`会根据日志给出合适的预测期。",
        ),
    ),
    Target(
        name="repurchase_7d",
        horizon_days=7,
        population=buyers(90),
        label="order",
        words=Words("An order in the next 7 days", "未来7天内下单"),
        score=Words("chance of another order", "复购可能性"),
        higher_is="good",
        reason=Words(
            "A week is one shopping rhythm: who comes anyway needs no incentive now.",
            "一周是一个购物节奏：本来就会来的客户此刻不需要激励。",
        ),
    ),
    Target(
        name="repurchase_14d",
        horizon_days=14,
        population=buyers(90),
        label="order",
        words=Words("An order in the next 14 days", "未来14天内下单"),
        score=Words("chance of another order", "复购可能性"),
        higher_is="good",
        reason=Words(
            "The validity of a short offer: who buys within it with or without the offer.",
            "短期优惠的有效期：无论有无优惠，谁会在此期间购买。",
        ),
    ),
    Target(
        name="churn_90d",
        horizon_days=90,
        population=buyers(90),
        label="no_order",
        words=Words("No order in the next 90 days", "未来90天内不下单"),
        score=Words("churn risk", "流失风险"),
        higher_is="bad",
        reason=Words(
            "For a shop where a month between orders is usual: a quarter of silence is a season missed.",
            "适用于通常一个月下单一次的商家：沉默一个季度即错过一季。",
        ),
        default=False,
    ),
    Target(
        name="overdue_28d",
        horizon_days=28,
        population=REGULARS,
        label="overdue",
        words=Words(
            "28 days on, a pause longer than nine of ten of their own", "28天后停购时间超过自身九成购物间隔"
        ),
        score=Words("risk of an unusual pause", "异常停购风险"),
        higher_is="bad",
        reason=Words(
            "A pause is long or short by the customer's own rhythm: ten days are news of who comes every "
            "other day, and none of who comes monthly. Three gaps at least, for a rhythm to be known.",
            "停购长短取决于客户自身节奏：对隔天来的客户，十天是异常；对每月来的客户则不是。至少三个间隔才能得知节奏。",
        ),
        default=False,
    ),
    Target(
        name="repurchase_28d",
        horizon_days=28,
        population=buyers(90),
        label="order",
        words=Words("An order in the next 28 days", "未来28天内下单"),
        score=Words("chance of another order", "复购可能性"),
        higher_is="good",
        reason=Words(
            "The month that plans and budgets are made for; where most shop weekly, churn_28d says it.",
            "计划与预算按月制定；若多数客户每周购物，则由churn_28d回答。",
        ),
        default=False,
    ),
    Target(
        name="repurchase_90d",
        horizon_days=90,
        population=buyers(90),
        label="order",
        words=Words("An order in the next 90 days", "未来90天内下单"),
        score=Words("chance of another order", "复购可能性"),
        higher_is="good",
        reason=Words(
            "For a shop where a season between orders is usual; shorter, hardly anybody would come again.",
            "适用于通常隔一季下单的商家；更短的预测期内几乎无人复购。",
        ),
        default=False,
    ),
    Target(
        name="first_order_28d",
        horizon_days=28,
        population=NON_BUYERS,
        label="order",
        words=Words("A first order in the next 28 days", "未来28天内首次下单"),
        score=Words("chance of a first order", "首购可能性"),
        higher_is="good",
        reason=Words(
            "Whoever is known by visits or a membership, and has not bought, is the cheapest to win; a "
            "first order that comes back in full has won nobody.",
            "通过访问或会员身份已知但尚未购买的客户最容易争取；首单全部退货则等于没有争取到。",
        ),
        returned=False,
        default=False,
    ),
    Target(
        name="category_repurchase_28d",
        horizon_days=28,
        population=buyers(90),
        label="category_order",
        words=Words("Goods of a category bought before, in the next 28 days", "未来28天内复购已购品类"),
        score=Words("chance of buying a category again", "品类复购可能性"),
        higher_is="good",
        reason=Words(
            "Whether a customer comes back for what was bought in the last 90 days, or only for something "
            "else: what came back in full was not wanted.",
            "客户是为近90天买过的品类回来，还是只买别的；全部退回的商品并非所需。",
        ),
        returned=False,
        default=False,
    ),
    Target(
        name="leave_group_28d",
        horizon_days=28,
        population=IN_A_GROUP,
        label="left_group",
        words=Words("Leaves a group in the next 28 days", "未来28天内退出社群"),
        score=Words("risk of leaving a group", "退群风险"),
        higher_is="bad",
        reason=Words(
            "Whoever leaves can no longer be reached there at no cost; a month leaves time to post less.",
            "退群者无法再免费触达；一个月的时间足以减少发帖。",
        ),
        default=False,
    ),
    Target(
        name="leave_staff_28d",
        horizon_days=28,
        population=WITH_STAFF,
        label="left_staff",
        words=Words("Removes a staff contact in the next 28 days", "未来28天内删除导购"),
        score=Words("risk of removing a staff contact", "删除导购风险"),
        higher_is="bad",
        reason=Words(
            "A contact that is removed does not come back by itself; a month leaves time to write less.",
            "被删除的导购不会自行恢复；一个月的时间足以减少打扰。",
        ),
        default=False,
    ),
    Target(
        name="opt_out_28d",
        horizon_days=28,
        population=contacted(90),
        label="opt_out",
        words=Words("Opts out of marketing in the next 28 days", "未来28天内退订营销"),
        score=Words("risk of opting out", "退订风险"),
        higher_is="bad",
        reason=Words(
            "Only who is contacted opts out, and an opt-out ends every later contact: it is the price of "
            "one message too many.",
            "只有被触达的客户才会退订，而退订终结此后所有触达：这是多发一条消息的代价。",
        ),
        default=False,
        adjusted=False,
    ),
)


class Declared(dict[str, Target]):
    """Targets that keep the contract, by name; and what is wrong with the others, for which nothing waits.

    wrong: name -> why, of a shop's with file and line; what has no name goes by its place in TARGETS.
    """

    def __init__(self) -> None:
        super().__init__()
        self.wrong: dict[str, str] = {}

    def named(self, name: str, others: Collection[str] = (), where: str = "") -> Target:
        """The target of that name. others: names of no target, to be told with those that there are.

        TrainingError if it is declared wrongly; UsageError, with what was probably meant, if it is not.
        """
        if name in self.wrong:
            raise TrainingError(self.wrong[name])
        if name not in self:
            known = (*self, *others)
            close = nearest(name, (*known, *self.wrong)) if name else "."
            said = f"no target {name or repr(name)}{where}; there are: {', '.join(known)}{close}"
            raise UsageError(said.rstrip("."))
        return self[name]


def of_shop(shop: Shop) -> Declared:
    """Built-in targets and the shop's own, by name, held against every feature that is declared."""
    own = shop.declared("TARGETS")
    found = catalogue(own, feature_catalogue(shop.declared("FEATURES")) if own else None)
    found.wrong = {name: f"{shop.place(name, 'TARGETS')}: {why}" for name, why in found.wrong.items()}
    return found


def catalogue(own: Iterable[object] = (), features: Mapping[str, Feature] | None = None) -> Declared:
    """Built-in targets and others, by name, each held to the contract.

    features: all that are declared, if populations are to be held against them too. Of a name given twice the
    first stays, for models that are of it, and cannot be asked for: which was meant is not known.
    """
    found = Declared()
    for place, target in enumerate((*TARGETS, *own), 1 - len(TARGETS)):
        if not isinstance(target, Target):
            found.wrong[f"number {place} of TARGETS"] = f"TARGETS holds {target!r}: expected Target(...)"
        elif target.name in found or target.name in found.wrong:
            said = f"target {target.name} is declared twice: give one of them another name"
            found.wrong[target.name] = said
        elif wrong := problems(target, features):
            found.wrong[str(target.name)] = "; ".join(wrong)
        else:
            found[target.name] = target
    return found


def lacking(target: Target, told: Mapping[str, int], features: Collection[str]) -> Words | None:
    """Why a target is absent from a log and a build with those features; None if it is not.

    told: how many of its events the log has, by table (`happened.told`). No features: none are built yet.
    """
    kind = LABELS[target.label]
    if not told:
        en, zh = " or ".join(kind.tables), "或".join(kind.tables)
        return Words(f"the log has no table {en}", f"日志中没有表{zh}")
    if not sum(told.values()):
        return Words(
            f"there are no {kind.called.en} among the log's {' or '.join(told)}",
            f"日志的{'、'.join(told)}中有0{kind.called.zh}",
        )
    for feature in (target.population.feature, *target.baseline):
        if features and feature is not None and feature not in features:
            return Words(
                f"the build has no feature {feature}: a declared one is computed by `propensity features "
                "backfill`",
                f"特征库中没有{feature}：已声明的特征由`propensity features backfill`计算",
            )
    return None


def strange_categories(targets: Iterable[Target], log: Log) -> list[str]:
    """Categories of targets that the log has no goods of, each with the nearest that it has."""
    asked = [target for target in targets if target.categories]
    if not asked or "order_lines" not in log.tables:
        return []
    known = [
        str(one) for one in pc.unique(log.read("order_lines", ["category"])["category"]).to_pylist() if one
    ]
    return [
        f"target {target.name}: the log has no goods of the category {name!r}{nearest(name, known)}"
        for target in asked
        for name in target.categories
        if name not in known
    ]


def chosen(
    targets: Declared,
    names: Sequence[str],
    of_shop: Sequence[str] = (),
    others: Collection[str] = (),
) -> list[Target]:
    """The targets of those names; without any, of the shop's (`targets` in shop.toml), else the default ones.

    UsageError names what is not declared, TrainingError what is declared wrongly; without names, that is left
    out. others: what can be trained beside targets, as it tells.
    """
    if names:
        return [targets.named(name, others) for name in names]
    wanted = of_shop or [name for name, target in targets.items() if target.default]
    where = " (shop.toml names it)"
    return [targets.named(name, where=where) for name in wanted if name not in targets.wrong]


def text(words: Words) -> Text:
    """Words as a card holds them."""
    return Text(words.en, words.zh)
