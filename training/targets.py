"""Every target, declared once: what is predicted, for whom, how far ahead.

To add a target, add it to TARGETS (or to TARGETS in a shop's shop.py): `propensity train`, the contracts
(`problems`), the registry and the service pick it up by themselves.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from features.definitions import Feature
from features.errors import TrainingError
from features.words import Words
from serving.cards import Text
from training import populations
from training.populations import Population, buyers

Label = Literal["no_order", "order"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """One target. At a moment m the label looks at events with m < at <= m + horizon_days x 24 h.

    population: whom it speaks of. label: what counts as 1. returned: whether an order counts that came back
    in full within the horizon. higher_is: what a high probability means for the shop. score: what the
    probability is called, after "raises the". reason: why this target, with this horizon and population.
    default: whether `propensity train` without names trains it.
    """

    name: str
    horizon_days: int
    population: Population
    label: Label
    words: Words
    score: Words
    higher_is: Literal["bad", "good"]
    reason: str
    returned: bool = True
    default: bool = True


TARGETS: tuple[Target, ...] = (
    Target(
        name="churn_28d",
        horizon_days=28,
        population=buyers(90),
        label="no_order",
        words=Words("No order in the next 28 days", "未来28天内不下单"),
        score=Words("churn risk", "流失风险"),
        higher_is="bad",
        reason="Most customers shop weekly, so four weeks of silence are news, while there is still time to "
        "act; whoever was silent for 90 days is lost already, and would make the question easy.",
    ),
    Target(
        name="repurchase_7d",
        horizon_days=7,
        population=buyers(90),
        label="order",
        words=Words("An order in the next 7 days", "未来7天内下单"),
        score=Words("chance of another order", "复购可能性"),
        higher_is="good",
        reason="A week is one shopping rhythm: who comes anyway needs no incentive now.",
    ),
    Target(
        name="repurchase_14d",
        horizon_days=14,
        population=buyers(90),
        label="order",
        words=Words("An order in the next 14 days", "未来14天内下单"),
        score=Words("chance of another order", "复购可能性"),
        higher_is="good",
        reason="The validity of a short offer: who buys within it with or without the offer.",
    ),
)


def catalogue(own: Iterable[Target] = (), features: Mapping[str, Feature] | None = None) -> dict[str, Target]:
    """Built-in targets and a shop's own, by name. TrainingError for a name twice or a broken contract.

    features: all that are declared, if populations are to be held against them too.
    """
    by_name: dict[str, Target] = {}
    for target in (*TARGETS, *own):
        if target.name in by_name:
            raise TrainingError(f"target {target.name} is declared twice: give one of them another name")
        if wrong := problems(target, features):
            raise TrainingError(f"{wrong[0]}: correct it in the shop's shop.py")
        by_name[target.name] = target
    return by_name


def problems(target: Target, features: Mapping[str, Feature] | None = None) -> list[str]:
    """The contract that every target must pass; empty when it does. features: all that are declared."""
    found = []
    if not target.name.endswith(f"_{target.horizon_days}d") or not target.name.isidentifier():
        found.append(f"the name must end in its horizon, _{target.horizon_days}d, and be an identifier")
    if not 1 <= target.horizon_days <= 365:
        found.append(f"a horizon of {target.horizon_days} days is not within 1 to 365")
    found += populations.problems(target.population, features)
    if target.label not in ("no_order", "order"):
        found.append(f"the label {target.label!r} is neither 'no_order' nor 'order'")
    if target.higher_is != ("bad" if target.label == "no_order" else "good"):
        found.append("an order is good, no order is bad: higher_is says otherwise")
    if not all((*target.words, *target.score, target.reason)):
        found.append("words and score in English and Chinese, and a reason, are needed")
    return [f"target {target.name}: {problem}" for problem in found]


def text(words: Words) -> Text:
    """Words as a card holds them."""
    return Text(words.en, words.zh)
