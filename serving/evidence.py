"""Effects that randomised decisions showed, in place of those that were assumed.

A released model of effects (`propensity train uplift`) speaks of an action if the action's name is one of its
arms, its first arm is "nothing", and one of its outcomes is MARGIN, in the shop's currency, over its value
horizon; likewise OPT_OUT. What it knows of retention, an order within the horizon, weighs no lifetime value:
who would have ordered a week later is not lost. Only randomised evidence counts: what was merely observed
replaces no assumption. Where choosing by customer was proven to bring more, it is a customer's own effect;
else the action's mean, the same for all.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serving import effects
from serving.actions import Action
from serving.cards import Text
from serving.scores import columns_of

if TYPE_CHECKING:
    from serving.releases import Release

MARGIN = "margin"  # the outcome: gross margin of a customer's orders, before the costs of actions
OPT_OUT = "opt_out"  # the outcome: 1 with a withdrawn consent
Shown = dict[str, tuple[float, float, float]]  # action -> effect on it: mean, and its 95 % interval
RANDOMISED = Text(
    "Shown by decisions that were drawn by lot on customers like these",
    "由对同类客户的随机抽取决策得出",
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
    if (
        file.evidence != "randomised"
        or file.arms[0] != "nothing"
        or outcome not in outcomes
        or (model.card.target.horizon_days, model.card.currency) != (horizon_days, currency)
    ):
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
