"""What a profile tells of a made-up customer: value and segments, such that no figure contradicts another."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from features.moments import DAY, iso
from features.shop import Shop
from serving.api import NoScore, Score
from serving.customer_types import NoValue, Profit, Segment, Segments, Stage, Tier, Value
from serving.profile import NO_ORDER, contrary
from serving.sandbox_customers import Example
from serving.sandbox_models import HORIZON, VERSION
from serving.segment_tables import TABLES

_YEAR = 365
_GAP = 30.0  # days between orders, of somebody with one
_USUAL, _GONE = 2, 5  # own gaps within which nearly all come again, and after which hardly anybody does
_SPENT, _EXPECTED = 400.0, 250.0  # what half of the buyers are below: money of the past year, of the next


class Coming(NamedTuple):
    """The orders to come: she returns with a chance, and then orders at random, once a gap on average.

    The chance is such that an order within the horizon of the scores has theirs.
    """

    returns: float
    gap: float
    each: float  # money of an order

    @classmethod
    def of(cls, example: Example) -> "Coming":
        """Of a customer with an order, by her orders alone."""
        gap = example.row.get("gap_mean", _GAP)
        risk = example.risk if example.alone is None else example.alone
        return cls((1 - risk) / -math.expm1(-HORIZON / gap), gap, example.row["order_value_365d"])

    @property
    def orders(self) -> float:
        """Expected within a year."""
        return self.returns * _YEAR / self.gap

    @property
    def chance(self) -> float:
        """Of an order within a year."""
        return self.returns * -math.expm1(-_YEAR / self.gap)

    @property
    def wait(self) -> float | None:
        """Days within which half of such customers have ordered; None: not within a year."""
        return -self.gap * math.log1p(-0.5 / self.returns) if self.chance > 0.5 else None

    def at_most(self, share: float) -> int:
        """As many orders within a year as that share of such customers has at most."""
        mean, orders = _YEAR / self.gap, 0
        one = math.exp(-mean)  # chance of just so many, of those who return
        have = 1 - self.returns + self.returns * one
        while have < share:
            orders += 1
            one *= mean / orders
            have += self.returns * one
        return orders


def value_of(
    example: Example, known_at: datetime, scores: Sequence[Score | NoScore], shop: Shop
) -> Value | NoValue:
    """As of a real customer: NoValue before the first order."""
    if example.tier is None:
        return NoValue(NO_ORDER)
    coming = Coming.of(example)
    each, wait = coming.each * shop.margin_rate, coming.wait
    p10, p50, p90 = (each * coming.at_most(share) for share in (0.1, 0.5, 0.9))
    today = (known_at - timedelta(microseconds=1)).astimezone(shop.zone).date()
    soon = wait is not None and wait <= HORIZON
    wrong = contrary(soon, 1 - example.risk, {})
    return Value(
        model_version=VERSION,
        known_at=iso(known_at),
        horizon_days=_YEAR,
        currency=shop.currency,
        orders=coming.orders,
        order_chance=coming.chance,
        profit=Profit(each * coming.orders, p10, p50, p90),
        percentile=math.floor(1000 - 1000 * 0.5 ** (coming.orders * coming.each / _EXPECTED)) / 10,
        next_order_date=None if wait is None else (today + math.ceil(wait) * DAY).isoformat(),
        contradicted_by=[of.target for of in scores if wrong and isinstance(of, Score)],
    )


def segments_of(example: Example, known_at: datetime) -> Segments:
    """In the words of the segmentation's own tables, by the rule that holds of her figures."""
    figures = figures_of(example)

    def segment(kind: str) -> Segment:
        table = TABLES[kind]
        label, rule = table.told(table.entries[table.first(figures, 1)[0]].name)
        return Segment(label.name, label.words, label.meaning, rule.words)

    since = None if example.since is None else iso(known_at - example.since * DAY)
    return Segments(
        model_version=VERSION,
        known_at=iso(known_at),
        tier=None if example.tier is None else Tier(segment("tier"), *example.rfm),
        quadrant=None if example.quadrant is None else segment("quadrant"),
        stage=Stage(segment("stage"), since),
        churn_reason=None if example.churn_reason is None else segment("churn_reason"),
    )


def figures_of(example: Example) -> Mapping[str, Any]:
    """What the rules of segments read: her features, and what a segmentation makes of them (`MADE`)."""
    import numpy as np

    row = dict(example.row)
    row["order_days"] = row["order_days_365d"]
    if "gap_mean" in row:
        row |= {"usual_gap": _USUAL * row["gap_mean"], "gone_after": _GONE * row["gap_mean"]}
    if example.tier is not None:
        coming = Coming.of(example)
        row |= zip("rfm", example.rfm, strict=True)
        row["present"] = row["spend_365d"] - _SPENT
        row["potential"] = coming.orders * coming.each - _EXPECTED
    return defaultdict(lambda: np.array([math.nan]), {name: np.array([of]) for name, of in row.items()})
