"""What an operator is told of a customer beside scores: figures, tags, health, ids, the last decision."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from features import tags
from features.compute.builds import Build
from features.definitions import Feature, catalogue
from features.errors import PropensityError
from features.log import Log
from features.moments import iso, parse_moment
from features.online import Published
from features.settings import Settings
from features.shop import shop_of
from features.tags import Tag
from serving.api import Failure, NoScore, Score
from serving.cards import Text
from serving.customer_types import DecisionOutcome, Fact, Health, LastDecision, NoHealth, Standing, TagAnswer
from serving.ledger import Entry, Ledger
from serving.ledger_reports import FREED
from serving.reasons import value_words
from serving.scores import Scorer

# In the order in which an operator asks.
CONTACTS = (
    "days_since_contact", "last_contact_channel", "contacts_30d", "answered_contacts_90d",
    "unanswered_contacts_90d", "response_rate", "days_since_answer", "answer_hour_365d",
    "preferred_hour_365d", "groups", "silence", "visits_30d",
)  # fmt: skip
CASES = (
    "open_complaints", "open_cases", "cases_ever", "complaints_365d", "return_share_365d",
    "days_since_complaint", "last_satisfaction", "last_nps",
)  # fmt: skip
# Feature -> from which value on an operator should look at it first, whatever the model says.
WARNINGS: Mapping[str, float] = {"open_complaints": 1, "overdue": 3, "unanswered_contacts_90d": 3}
DRIVERS = 5


class Declared:
    """What a shop declares, read once: features and tags by name, and its currency."""

    def __init__(self, settings: Settings) -> None:
        shop = shop_of(settings)
        self.features: Mapping[str, Feature] = catalogue(shop.declared("FEATURES"))
        self.tags: Mapping[str, Tag] = shop.read("TAGS", tags.catalogue, self.features)
        self.currency = shop.currency


def facts(names: Sequence[str], row: Mapping[str, float], declared: Declared) -> list[Fact]:
    """Those figures of a row that are published and known, in words. row: feature -> value, NaN is null."""
    found = []
    for name in names:
        value = row.get(name, math.nan)
        if math.isnan(value) or name not in declared.features:
            continue
        feature = declared.features[name]
        said = value_words(value, feature.unit, declared.currency)
        text = Text(f"{feature.words.en}: {said.en}", f"{feature.words.zh}：{said.zh}")
        found.append(Fact(name, value, text))
    return found


def tagged(row: Mapping[str, float], declared: Declared) -> list[TagAnswer]:
    """The tags whose rules are known to hold of a row; one that reads what is not published is left out."""
    import numpy as np

    values = {name: np.array([value], np.float32) for name, value in row.items()}
    return [
        TagAnswer(tag.name, Text(*tag.words), Text(*tag.meaning))
        for tag in declared.tags.values()
        if set(tag.inputs) <= values.keys() and bool(tag.holds(values, 1)[0])
    ]


def health(
    scorer: Scorer, scores: Sequence[Score | NoScore], row: Mapping[str, float], declared: Declared
) -> Health | NoHealth:
    """From the risk of staying away of the shortest horizon that is released and says something of her."""
    risks, whys = [], []
    for score in scores:
        try:
            target = scorer.releases.get(score.target).model.card.target
        except PropensityError:  # what cannot be read says so among the scores
            continue
        if target.label != "no_order":
            continue
        if isinstance(score, Score):
            risks.append((target.horizon_days, score))
        else:
            whys.append(score.error)
    if not risks:
        none = Failure("no_release", "no released target tells how likely this customer stays away")
        return NoHealth(whys[0] if whys else none)
    days, score = min(risks, key=lambda found: (found[0], found[1].target))
    return health_of(score, days, row, declared)


def health_of(score: Score, horizon_days: int, row: Mapping[str, float], declared: Declared) -> Health:
    """From the score of a target whose label is that no order comes within its horizon."""
    stays = 100 * (1 - score.probability)
    warnings = [
        fact for fact in facts(tuple(WARNINGS), row, declared) if fact.value >= WARNINGS[fact.feature]
    ]
    return Health(
        score=stays,
        target=score.target,
        text=Text(
            f"Of 100 customers like this one, {stays:.0f} order within {horizon_days} days",
            f"类似客户每100位中约{stays:.0f}位会在{horizon_days}天内下单",
        ),
        drivers=score.reasons,
        warnings=warnings,
    )


class Merges:
    """The ids that became another's, by the log that is published; read once a build."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._build, self._of = "", dict[str, list[str]]()

    def of(self, published: Published, customer_id: str) -> list[str] | None:
        """Her other ids, ascending; None where the log is on another machine."""
        if published.build != self._build:
            try:
                log = Build.open(self._settings, published.build).log
                rows = Log.at(self._settings.home / "log" / log).merges().to_pylist()
            except (PropensityError, OSError):
                return None
            found: dict[str, list[str]] = {}
            for row in rows:
                found.setdefault(row["canonical_id"], []).append(row["customer_id"])
            self._of, self._build = found, published.build
        return sorted(self._of.get(customer_id, []))


def last_decision(ledger: Ledger, customer_id: str, now: datetime) -> LastDecision | None:
    """What was decided about her last, and what became of it. DecisionError if the ledger cannot be read."""
    entry = ledger.last(customer_id)
    if entry is None or entry.sealed is None:
        return None
    answer = _ANSWER.decode(entry.sealed.answer)
    told = ledger.deliveries(entry.id)
    until = answer.valid_until
    over = until is not None and now > parse_moment(until)
    status: Standing = told[-1][0] if told else "over" if over else "decided"
    sent = None if not told else any(of not in FREED for of, _ in told)
    cost = 0.0 if answer.channel is None or sent is False else _spent(ledger, entry) if sent else None
    end, matures = entry.window_end, entry.matures_at
    return LastDecision(
        decision_id=entry.id,
        as_of=answer.as_of,
        action=answer.action,
        channel=answer.channel,
        scenario=answer.scenario,
        send_at=answer.send_at,
        valid_until=until,
        status=status,
        text=answer.text,
        score=answer.score,
        expected_cost=entry.cost,
        cost=cost,
        currency=answer.used.currency,
        outcomes=[
            DecisionOutcome(of.type, of.value, iso(of.at), of.refunded)
            for of in ledger.outcomes(entry.id).get(entry.id, [])
        ],
        window_end=None if end is None else iso(end),
        matures_at=None if matures is None else iso(matures),
        final=matures is not None and now >= matures,
    )


def _spent(ledger: Ledger, entry: Entry) -> float | None:
    """What sending it cost: of a bundle, what went."""
    went = ledger.went(entry.id).get(entry.id)
    if went is None or entry.cost is None or math.isclose(went.cost, entry.cost, abs_tol=1e-6):
        return entry.cost  # kept in millionths
    return went.cost


class _Used(msgspec.Struct, frozen=True):
    currency: str | None = None


class _Taken(msgspec.Struct):
    """What of an answer is read here; older ones lack some."""

    as_of: str
    action: str
    channel: str | None
    text: Text
    scenario: str | None = None
    send_at: str | None = None
    valid_until: str | None = None
    score: float | None = None
    used: _Used = _Used()


_ANSWER = msgspec.json.Decoder(_Taken)
