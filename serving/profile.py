"""What is known of one customer, for an operator: scores with reasons, worth, and place among the others."""

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from features.complaints import OPEN_COMPLAINTS
from features.errors import PropensityError
from features.moments import iso, parse_moment
from features.online import Published
from serving import known, score_store, segmentation, value, value_scores
from serving.api import Answered, Customer, Failure, NoScore, Score
from serving.cards import ModelCard
from serving.customer_types import (
    CustomerAnswer,
    LastDecision,
    NoDecision,
    NoSegments,
    NoValue,
    Profit,
    Segment,
    Segments,
    Stage,
    Tier,
    Value,
)
from serving.ledger import Ledger
from serving.problems import detail_of
from serving.scores import Scorer
from serving.segmentation import Segmentation
from serving.standing import Standings

NO_ORDER = Failure("no_order", "the customer had no order yet, and a newcomer's value is not told")

UNSEEN = Failure("no_build", "the customer is not among those who were segmented last; the next build tells")


class Profiles:
    """Answers about one customer at a time. For one thread at a time. ledger: opens it, or raises."""

    def __init__(self, scorer: Scorer, ledger: Callable[[], Ledger]) -> None:
        self._scorer, self._ledger = scorer, ledger
        self._declared = known.Declared(scorer.settings)
        self._standings = Standings(scorer.settings)
        self._merges = known.Merges(scorer.settings)

    def of(self, customer: Customer, request_id: str) -> CustomerAnswer:
        """One customer, by id or by another system's. UnknownCustomer, NoBuild or FeaturesExpired."""
        scorer, declared = self._scorer, self._declared
        published, found, row = scorer.one(customer)
        now, id = scorer.settings.now(), found.customer_id
        return CustomerAnswer(
            request_id=request_id,
            as_of=iso(now),
            customer_id=id,
            known_at=found.known_at,
            stale=found.stale,
            scores=found.scores,
            value=_value(scorer, published, id, found.scores),
            segments=_segments(scorer, published, id),
            health=known.health(scorer, found.scores, row, declared),
            contacts=known.facts(known.CONTACTS, row, declared),
            cases=known.facts(known.CASES, self._with_complaints(published, found, row), declared),
            tags=known.tagged(row, declared),
            decision=self._decision(id, now),
            merged=self._merges.of(published, id),
        )

    def _with_complaints(
        self, published: Published, found: Answered, row: dict[str, float]
    ) -> Mapping[str, float]:
        """Her figures with the complaints that they do not know, as decisions count them."""
        told = self._standings.told(found.customer_id)
        more = self._standings.complaints(told, published, parse_moment(found.known_at))
        if not more:
            return row
        known = row.get(OPEN_COMPLAINTS, math.nan)
        return row | {OPEN_COMPLAINTS: more + (0.0 if math.isnan(known) else known)}

    def _decision(self, customer_id: str, now: datetime) -> LastDecision | NoDecision | None:
        try:
            return known.last_decision(self._ledger(), customer_id, now)
        except PropensityError as error:
            return NoDecision(Failure(error.code, detail_of(error, self._scorer.settings)))


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
    """The targets of an order, or of none, by which the date of the next order is wrong."""
    wait = row["next_order_days"]
    found = []
    for score in scores:
        if isinstance(score, NoScore):
            continue
        card = scorer.releases.get(score.target).model.card
        target = card.target
        if target.label not in _OF_ORDERS:
            continue
        chance = score.probability if target.label == "order" else 1 - score.probability
        if contrary(wait is not None and wait <= target.horizon_days, chance, card.metrics):
            found.append(score.target)
    return found


def contrary(within: bool, chance: float, metrics: Mapping[str, Mapping[str, float]]) -> bool:
    """Whether a chance of an order within a horizon says the contrary of a date by which half have ordered,
    and that lies within it, or does not: it is on the other side of one half by more
    than it may itself be wrong,
    the upper end of the calibration error of its own test (0 of a card without).

    >>> error = {"calibration_error": {"value": 0.01, "low": 0.0, "high": 0.02}}
    >>> [contrary(True, chance, error) for chance in (0.492, 0.47, 0.6)]
    [False, True, False]
    """
    beyond = metrics.get("calibration_error", {}).get("high", 0.0)
    return chance < 0.5 - beyond if within else chance >= 0.5 + beyond


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
