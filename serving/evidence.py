"""Effects that randomised decisions showed, in place of those that were assumed.

A released model of effects (`propensity train uplift`) speaks of an action if the action's name is one of its
arms, its first arm is "nothing", and one of its outcomes is MARGIN, in the shop's currency, over its value
horizon; likewise OPT_OUT. What it knows of RETENTION, an order within the horizon, is told and not valued
(NOT_VALUED says why). Only randomised evidence counts: what was merely observed
replaces no assumption. Where choosing by customer was proven to bring more, it is a customer's own effect;
else the action's mean, the same for all.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from features.words import Words
from serving import effects
from serving.actions import Action
from serving.cards import Text
from serving.scores import columns_of

if TYPE_CHECKING:
    from serving.releases import Release

MARGIN = "margin"  # the outcome: gross margin of a customer's orders, before the costs of actions
NONE = "nothing"  # the first arm
OPT_OUT = "opt_out"  # the outcome: 1 with a withdrawn consent
RETENTION = "retention"  # the outcome: 1 with an order within the horizon
Shown = dict[str, tuple[float, float, float]]  # action -> effect on it: mean, and its 95 % interval
RANDOMISED = Text(
    "Shown by decisions that were drawn by lot on customers like these",
    "由对同类客户的随机抽取决策得出",
)
NOT_VALUED = Words(
    "the learnt effect on retention (an order within the horizon) is told and not valued: what such an order "
    "brings is in the margin already, and who would have ordered a week later was not lost. In the net value "
    "retention is what the action declares (retention_effect) times what the customer is worth beyond the "
    "horizon",
    "学得的留存效果（期限内下单）只作报告，不计入净值：该订单的毛利已计入毛利项，而晚一周才会下单的客户并未流失。"
    "净值中的留存项为行动声明的效果（retention_effect）乘以客户在期限之后的价值",
)
_Z = 1.959964


def shown(
    release: "Release",
    matrix: NDArray[np.float32],
    features: Mapping[str, Any],
    actions: Sequence[Action],
    horizon_days: int,
    currency: str,
    outcome: str = MARGIN,
) -> list[Shown]:
    """What the release shows of each customer, rows of [n, features]; nothing where it does not speak.

    FeatureMismatch if the features are not those that it was learnt on.
    """
    model = release.model
    assert isinstance(model, effects.EffectsModel)
    file, names = model.file, {action.name for action in actions}
    outcomes = [one.name for one in file.outcomes]
    if outcome not in outcomes or _unheard(model, horizon_days, currency):
        return [{} for _ in matrix]
    place = outcomes.index(outcome)
    columns = columns_of(release, features, "in force")
    of = file.outcomes[place]
    scored = model.score(np.ascontiguousarray(matrix[:, columns])) if of.personal else None
    found: list[Shown] = [{} for _ in matrix]
    for k, arm in enumerate(file.arms[1:], start=1):
        if arm not in names:
            continue
        if scored is not None:
            mean, error = scored.effect[:, place, k], scored.error[:, place, k]
        else:
            line, everyone = of.lines[k - 1], np.ones(len(matrix))
            mean, error = line.mean * everyone, line.mean_error * everyone
        ends = [(mean + z * error).tolist() for z in (0, -_Z, _Z)]
        for one, *effect in zip(found, *ends, strict=True):
            one[arm] = (effect[0], effect[1], effect[2])
    return found


def unheard(
    model: effects.EffectsModel, actions: Collection[str], horizon_days: int, currency: str
) -> list[Words]:
    """What decisions do not read of a model of effects, once it is released, and why; empty if all of it."""
    found = _unheard(model, horizon_days, currency)
    if not {MARGIN, OPT_OUT} & {one.name for one in model.file.outcomes}:
        shown = ", ".join(one.name for one in model.file.outcomes)
        found.append(Words(
            f"its outcome is {shown}: decisions read {MARGIN}, the gross margin of a customer's orders "
            f"before the costs of actions, and {OPT_OUT}, 1 with a withdrawn consent. Name the column so, if "
            "it is that",
            f"其结果为{shown}：决策只读取{MARGIN}（扣除行动成本前的客户订单毛利）和{OPT_OUT}（撤回授权为1）。"
            "若含义相同，请将该列改为此名",
        ))  # fmt: skip
    if RETENTION in {one.name for one in model.file.outcomes}:
        found.append(NOT_VALUED)
    strange = [arm for arm in model.file.arms[1:] if arm not in actions]
    if strange:
        arms, known = ", ".join(strange), ", ".join(name for name in actions if name != NONE)
        found.append(Words(
            f"no action of the shop is called {arms}: there are {known or 'none'}",
            f"本店没有名为{arms}的行动：现有{known or '无'}",
        ))  # fmt: skip
    return found


def _unheard(model: effects.EffectsModel, horizon_days: int, currency: str) -> list[Words]:
    """Why none of its outcomes replaces an assumption; empty if they may."""
    file, card, found = model.file, model.card, list[Words]()
    if file.evidence != "randomised":
        found.append(Words(
            f"its evidence is {file.evidence}, and only a lottery replaces an assumption",
            f"其证据等级为{file.evidence}，只有随机分配才能替代假设",
        ))  # fmt: skip
    if file.arms[0] != NONE:
        found.append(Words(
            f"its first arm is {file.arms[0]}, where decisions compare with {NONE}",
            f"其第一组为{file.arms[0]}，而决策以{NONE}为对照",
        ))  # fmt: skip
    if card.target.horizon_days != horizon_days:
        found.append(Words(
            f"its outcomes are of {card.target.horizon_days} days, the shop's value horizon of "
            f"{horizon_days}",
            f"其结果为{card.target.horizon_days}天，而本店的价值期限为{horizon_days}天",
        ))  # fmt: skip
    if card.currency != currency:
        found.append(Words(
            f"its money is {card.currency}, the shop's {currency}",
            f"其币种为{card.currency}，本店为{currency}",
        ))  # fmt: skip
    return found
