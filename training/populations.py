"""Whom a target speaks of, decided from one feature of the snapshot: the service can check it without a log.

A shop's own population is a `Population` over any feature, built-in or from its shop.py.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from features.definitions import Feature
from features.errors import FeatureError
from features.toml import nearest
from features.words import Words
from serving.cards import Members, Op

_WINDOW = re.compile(r"_\d+d$")


@dataclass(frozen=True, kw_only=True)
class Population:
    """The customers of whom `feature op value` holds at the moment; without a feature, everyone known.

    words: in the plural, as in "speaks only of ...". days: of log that the condition needs before it means
    what it says; a window that reaches back beyond the log's start would be another population each week.
    """

    words: Words
    feature: str | None = None
    op: Op = ">"
    value: float = 0.0
    days: int = 0

    def members(self, hashes: Mapping[str, str]) -> Members | None:
        """The condition, for a build's or release's features (name -> hash); None: everyone.

        FeatureError if the feature is not among them.
        """
        if self.feature is None:
            return None
        if self.feature not in hashes:
            raise FeatureError(
                f"{self.words.en} are known by {self.feature}, which is not built: the log lacks its table, "
                "or `propensity features backfill` has not run since it was declared"
            )
        return Members(self.feature, hashes[self.feature], self.op, self.value)


EVERYONE = Population(words=Words("every customer known", "所有已知客户"))
NON_BUYERS = Population(
    words=Words("identified customers without an order", "尚未下单的已识别客户"),
    feature="days_since_order",
    op="unknown",
)
IN_A_GROUP = Population(words=Words("customers in a group", "在社群中的客户"), feature="groups")
WITH_STAFF = Population(
    words=Words("customers with a member of staff as contact", "已添加导购的客户"), feature="staff_contacts"
)
REGULARS = Population(  # four days are three gaps, the fewest that say what is usual for a customer
    words=Words("customers with orders on 4 days or more in the last 90", "近90天有4天及以上下单的客户"),
    feature="order_days_90d",
    op=">=",
    value=4,
    days=90,
)


def buyers(days: int) -> Population:
    """Customers with an order in that many days before the moment, one of the features' windows."""
    words = Words(f"customers with an order in the last {days} days", f"近{days}天有订单的客户")
    return Population(words=words, feature=f"orders_{days}d", days=days)


def contacted(days: int) -> Population:
    """Customers with a campaign contact in that many days before the moment, one of the features' windows."""
    words = Words(f"customers contacted in the last {days} days", f"近{days}天收到过营销触达的客户")
    return Population(words=words, feature=f"contacts_{days}d", days=days)


def consenting(channel: str, words: Words) -> Population:
    """Customers whose last word on marketing through a channel is yes; words: for the channel."""
    said = Words(f"customers who allow marketing by {words.en}", f"同意{words.zh}营销的客户")
    return Population(words=said, feature=f"{channel}_consent", op="==", value=1)


def _meant(name: str, features: Mapping[str, Feature]) -> str:
    """What a feature that is not declared probably should have been: another window of it, or a like name."""
    family = _WINDOW.sub("", name)
    windows = [one for one in features if _WINDOW.sub("", one) == family and one != family]
    if windows and family != name:
        return f"; its windows are {', '.join(windows)}"
    return nearest(name, features).rstrip(".")


def problems(population: Population, features: Mapping[str, Feature] | None = None) -> list[str]:
    """The contract that every population must pass; empty when it does. features: all that are declared."""
    found = []
    if not all(population.words):
        found.append("the population needs words in English and Chinese")
    if not 0 <= population.days <= 3660:
        found.append(f"the population's {population.days} days are not within 0 to 3660")
    if features is not None and population.feature is not None:
        feature = features.get(population.feature)
        if feature is None:
            meant = _meant(population.feature, features)
            found.append(
                f"the population is known by {population.feature}, which is no declared feature{meant}"
            )
        elif population.days < (feature.window or 0):
            found.append(f"the population needs days={feature.window}: {feature.name} looks back so far")
    return found
