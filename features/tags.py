"""Dated tags, derived from features by declared rules: who is what, from when until when.

To add a tag, add it to TAGS (or to TAGS in a shop's shop.py). `propensity tags build` evaluates each rule at
the build's snapshots, in their order, and writes a row into the log's table `tags` whenever a customer
begins or ceases to meet it: origin derived, at = known_at = the snapshot's moment, as nobody knew before.

Rows once written stay: each run goes on after the last moment that a tag was evaluated at, so another grid
of snapshots, or another rule, changes what comes and not what was. Features read imported tags only
(`definitions`), so nothing that is derived comes back into what it is derived from.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from features.errors import FeatureError
from features.rules import Bools, Rule
from features.typed import misfits
from features.words import Words


@dataclass(frozen=True, kw_only=True)
class Tag:
    """One tag. when: a rule over features, such as "overdue > 3 and orders_365d >= 3".

    What the rule compares with null is not known; a tag is set only where it is known to hold (`rules`).
    portrait: one of the few that together sketch who the customers are. meaning: what it says of one.
    """

    name: str
    words: Words
    meaning: Words
    when: str
    portrait: bool = False

    def __post_init__(self) -> None:
        if strange := misfits(self):
            raise FeatureError(f"tag {self.name}: {'; '.join(strange)}")
        if not self.name.isidentifier() or self.name != self.name.lower():
            raise FeatureError(f"tag {self.name!r}: its name must be an identifier such as drifting_away")
        if not all(text.strip() for text in (*self.words, *self.meaning)):
            raise FeatureError(f"tag {self.name}: its words or its meaning lack English or Chinese")
        self._rule  # noqa: B018  # refuses what is no rule

    @cached_property
    def _rule(self) -> Rule:
        return Rule(self.when, f"tag {self.name}")

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the features that the rule reads, sorted."""
        return self._rule.inputs

    def holds(self, values: Mapping[str, NDArray[np.float32]], rows: int) -> Bools:
        """For whom the rule is known to hold, of `rows` customers; values: feature -> [rows], NaN is null."""
        return self._rule.holds(values, rows)


def catalogue(own: Iterable[Tag], features: Iterable[str]) -> dict[str, Tag]:
    """Built-in tags and a shop's own, by name. FeatureError for a name twice or an unknown feature."""
    by_name, wrong = looked_through(own, features)
    if wrong:
        raise FeatureError(wrong[0][1])
    return by_name


def looked_through(
    own: Iterable[Tag], features: Iterable[str]
) -> tuple[dict[str, Tag], list[tuple[str, str]]]:
    """Tags by name; and all that is wrong: the name of a tag, and what."""
    by_name: dict[str, Tag] = {}
    wrong: list[tuple[str, str]] = []
    known = set(features)
    for tag in (*TAGS, *own):
        if not isinstance(tag, Tag):
            raise FeatureError(f"TAGS holds {tag!r}, no Tag: declare it as Tag(...)")
        if tag.name in by_name:
            wrong.append((tag.name, f"tag {tag.name} is declared twice: give one of them another name"))
            continue
        by_name[tag.name] = tag
        if unknown := [name for name in tag.inputs if name not in known]:
            wrong.append((tag.name, f"tag {tag.name} reads {', '.join(unknown)}, which is not declared"))
    return by_name, wrong


TAGS: tuple[Tag, ...] = (
    Tag(
        name="new_arrival",
        portrait=True,
        words=Words("New arrival", "新客"),
        meaning=Words(
            "The first known order was within the last 30 days.",
            "首次已知订单在近30天内。",
        ),
        when="tenure <= 30",
    ),
    Tag(
        name="loyal_regular",
        portrait=True,
        words=Words("Loyal regular", "忠实常客"),
        meaning=Words(
            "Twelve orders or more in a year, and not over three times the usual gap late.",
            "近一年有十二单及以上，且距上次下单未超过通常间隔的三倍。",
        ),
        when="orders_365d >= 12 and overdue <= 3",
    ),
    Tag(
        name="bargain_hunter",
        portrait=True,
        words=Words("Bargain hunter", "优惠敏感客"),
        meaning=Words(
            "A quarter or more of the price was discount in the last 90 days, over three orders or more.",
            "近90天有三单及以上，且优惠占原价四分之一以上。",
        ),
        when="orders_90d >= 3 and discount_share_90d >= 0.25",
    ),
    Tag(
        name="drifting_away",
        portrait=True,
        words=Words("Drifting away", "渐行渐远"),
        meaning=Words(
            "Three orders or more in a year, but none for three weeks and three times the usual gap.",
            "近一年有三单及以上，但距上次下单已超过三周且超过通常间隔的三倍。",
        ),
        when="orders_365d >= 3 and overdue > 3 and days_since_order > 21",
    ),
    Tag(
        name="quiet_group_member",
        portrait=True,
        words=Words("Quiet group member", "沉默群友"),
        meaning=Words(
            "Is in a group, but neither ordered in the last 90 days nor showed up in the last 30.",
            "仍在社群中，但近90天未下单，近30天也无互动。",
        ),
        when="groups >= 1 and orders_90d == 0 and active_days_30d == 0",
    ),
    Tag(
        name="tired_of_contacts",
        words=Words("Tired of contacts", "营销疲劳"),
        meaning=Words(
            "Three contacts or more in the last 90 days, and none was answered.",
            "近90天收到三次及以上营销触达，均未响应。",
        ),
        when="contacts_90d >= 3 and answered_contacts_90d == 0",
    ),
    Tag(
        name="unhappy",
        words=Words("Unhappy", "不满意"),
        meaning=Words(
            "A complaint is open, or the last survey answer was bad.",
            "有未结投诉，或最近一次问卷评分很低。",
        ),
        when="open_complaints > 0 or last_satisfaction <= 2 or last_nps <= 6",
    ),
)
