"""What is known of one customer, for an operator: scores with reasons, and what the customer is worth."""

from typing import Any

from features.errors import PropensityError
from features.moments import iso
from features.online import Published
from serving import value, value_scores
from serving.api import (
    Customer,
    CustomerAnswer,
    Failure,
    NoValue,
    Profit,
    Value,
    detail_of,
)
from serving.cards import ModelCard
from serving.scores import Scorer

NO_ORDER = Failure("no_order", "the customer had no order yet, and a newcomer's value is not told")


def profile(scorer: Scorer, customer: Customer, request_id: str) -> CustomerAnswer:
    """One customer, by id or by another system's. UnknownCustomer, NoBuild or FeaturesExpired."""
    published, known = scorer.one(customer)
    worth = _value(scorer, published, known.customer_id)
    as_of = iso(scorer.settings.now())
    return CustomerAnswer(
        request_id, as_of, known.customer_id, known.known_at, known.stale, known.scores, worth
    )


def _value(scorer: Scorer, published: Published, customer_id: str) -> Value | NoValue:
    """From the scores of everyone that were written with what is published, or why there are none."""
    try:
        release = scorer.releases.get(value.KIND)
        row = value_scores.read(scorer.settings, release, published.moment, customer_id)
    except PropensityError as error:
        return NoValue(Failure(error.code, detail_of(error, scorer.settings)))
    return NoValue(NO_ORDER) if row is None else _told(row, release.model.card)


def _told(row: dict[str, Any], card: ModelCard) -> Value:
    date = row["next_order_date"]
    return Value(
        model_version=row["model_version"],
        known_at=iso(row["moment"]),
        horizon_days=card.target.horizon_days,
        currency=card.currency,
        orders=row["orders"],
        order_chance=row["chance"],
        profit=Profit(row["value"], row["value_p10"], row["value_p50"], row["value_p90"]),
        percentile=row["value_percentile"],
        next_order_date=None if date is None else date.isoformat(),
    )
