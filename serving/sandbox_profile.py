"""What a profile tells of a made-up customer: value and segments."""

from serving.api import Failure
from serving.customer_types import NoValue, Profit, Segment, Segments, Stage, Tier, Value
from serving.sandbox_customers import Example
from serving.sandbox_models import VERSION
from serving.segment_tables import TABLES


def value_of(example: Example, known_at: str, currency: str) -> Value | NoValue:
    """As of a real customer: NoValue before the first order."""
    if example.tier is None:
        return NoValue(Failure("no_order", "the customer had no order yet"))
    orders = example.row["orders_365d"] * (1 - example.risk)
    worth = example.value
    return Value(
        model_version=VERSION,
        known_at=known_at,
        horizon_days=365,
        currency=currency,
        orders=orders,
        order_chance=1 - example.risk**4,
        profit=Profit(worth, 0.3 * worth, 0.9 * worth, 2.0 * worth),
        percentile=min(99.9, worth / 5),
        next_order_date=None,
        contradicted_by=[],
    )


def segments_of(example: Example, known_at: str) -> Segments:
    """With the words of the segmentation's own tables."""

    def segment(table: str, name: str) -> Segment:
        label = next(label for label in TABLES[table].labels if label.name == name)
        why = next(entry for entry in TABLES[table].entries if entry.gives == name)
        return Segment(name, label.words, label.meaning, why.words)

    return Segments(
        model_version=VERSION,
        known_at=known_at,
        tier=None if example.tier is None else Tier(segment("tier", example.tier), *example.rfm),
        quadrant=None if example.quadrant is None else segment("quadrant", example.quadrant),
        stage=Stage(segment("stage", example.stage), None),
        churn_reason=None if example.churn_reason is None else segment("churn_reason", example.churn_reason),
    )
