"""What is known of one customer, for an operator: scores with reasons, worth, and place among the others."""

from typing import Any

from features.errors import PropensityError
from features.moments import iso
from features.online import Published
from serving import score_store, segmentation, value, value_scores
from serving.api import (
    Customer,
    CustomerAnswer,
    Failure,
    NoScore,
    NoSegments,
    NoValue,
    Profit,
    Score,
    Segment,
    Segments,
    Stage,
    Tier,
    Value,
)
from serving.cards import ModelCard
from serving.problems import detail_of
from serving.scores import Scorer
from serving.segmentation import Segmentation

NO_ORDER = Failure("no_order", "the customer had no order yet, and a newcomer's value is not told")

UNSEEN = Failure("no_build", "the customer is not among those who were segmented last; the next build tells")


def profile(scorer: Scorer, customer: Customer, request_id: str) -> CustomerAnswer:
    """One customer, by id or by another system's. UnknownCustomer, NoBuild or FeaturesExpired."""
    published, known = scorer.one(customer)
    worth = _value(scorer, published, known.customer_id, known.scores)
    as_of = iso(scorer.settings.now())
    return CustomerAnswer(
        request_id, as_of, known.customer_id, known.known_at, known.stale, known.scores, worth,
        _segments(scorer, published, known.customer_id),
    )  # fmt: skip


def _value(
    scorer: Scorer, published: Published, customer_id: str, scores: list[Score | NoScore]
) -> Value | NoValue:
    """From the scores of everyone that were written with what is published, or why there are none."""
    try:
        release = scorer.releases.get(value.KIND)
        row = value_scores.read(scorer.settings, release, published.moment, customer_id)
    except PropensityError as error:
        return NoValue(Failure(error.code, detail_of(error, scorer.settings)))
    if row is None:
        return NoValue(NO_ORDER)
    return _told(row, release.model.card, _contradicted(scorer, scores, row))


def _contradicted(scorer: Scorer, scores: list[Score | NoScore], row: dict[str, Any]) -> list[str]:
    """The targets of an order, or of none, by which the date of the next order is more likely wrong."""
    wait = row["next_order_days"]
    found = []
    for score in scores:
        if isinstance(score, NoScore):
            continue
        target = scorer.releases.get(score.target).model.card.target
        if target.label not in _OF_ORDERS:
            continue
        chance = score.probability if target.label == "order" else 1 - score.probability
        if (wait is not None and wait <= target.horizon_days) != (chance >= 0.5):
            found.append(score.target)
    return found


_OF_ORDERS = ("order", "no_order")  # labels


def _segments(scorer: Scorer, published: Published, customer_id: str) -> Segments | NoSegments:
    """As everyone was segmented with what is published, in the words of the release, or why not."""
    try:
        release = scorer.releases.get(segmentation.KIND)
        row = score_store.row(scorer.settings, release, published.moment, customer_id)
    except PropensityError as error:
        return NoSegments(Failure(error.code, detail_of(error, scorer.settings)))
    assert isinstance(release.model, Segmentation)
    if row is None:
        return NoSegments(UNSEEN)
    tables = release.model.file.tables

    def segment(kind: str) -> Segment | None:
        if row[kind] is None:
            return None
        label, entry = tables[kind].told(row[f"{kind}_rule"])
        return Segment(label.name, label.words, label.meaning, entry.words)

    tier, stage, since = segment("tier"), segment("stage"), row["since"]
    assert stage is not None
    return Segments(
        model_version=row["model_version"],
        known_at=iso(row["moment"]),
        tier=None if tier is None else Tier(tier, row["r"], row["f"], row["m"]),
        quadrant=segment("quadrant"),
        stage=Stage(stage, None if since is None else iso(since)),
        churn_reason=segment("churn_reason"),
    )


def _told(row: dict[str, Any], card: ModelCard, contradicted_by: list[str]) -> Value:
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
        contradicted_by=contradicted_by,
    )
