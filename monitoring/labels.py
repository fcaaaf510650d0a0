"""What everyone was told at an earlier moment, and what came of it: joined once it is known, never before.

Scores come from the score store, of whichever version said them. Where nobody was told anything, but a
snapshot of the moment lies in the build, the model may be asked now: `backfilled`, not what was told. Labels
are training's own (`training.labels`), also with a shorter horizon; an outcome whose time is not over is
absent, not zero.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.compute.builds import Build
from features.errors import NotEnoughData, ReleaseError, TrainingError
from features.exported import contact_id
from features.log import Log
from features.moments import DAY, from_us, to_us
from features.settings import Settings
from features.shop import Shop, shop_of
from monitoring.trained import thin
from serving import releases, score_store
from serving.cards import ModelCard
from serving.ledger import Ledger, exists
from serving.lots import Lots
from serving.models import Model
from training import labels as of_training
from training.compare import known
from training.happened import ints
from training.targets import Target, of_shop
from training.treatment import held_out, treated

Numbers = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Told:
    """Probabilities of one moment. customers: text [n], the ids they have today; score: float64 [n]."""

    moment: datetime
    version: str
    backfilled: bool
    customers: pa.ChunkedArray
    score: Numbers


@dataclass(frozen=True)
class Outcomes:
    """What came in the `days` after a moment. label: 0 or 1, float64; treated: contacted meanwhile; held: in
    the policy's holdout, and left alone; all [n], as `told` has its customers."""

    told: Told
    days: int
    label: Numbers
    treated: Bools
    held: Bools


@dataclass(frozen=True)
class Facts:
    """What labels are made of: the log, the target's events in it, and contacts of the ledger that it lacks.

    events: of the calendar. known_by: what is known by then counts; no outcome after it is known at all.
    """

    settings: Settings
    shop: Shop
    log: Log
    target: Target
    tables: Mapping[str, pa.Table]
    contacts: Sequence[tuple[str, datetime]]
    events: Sequence[tuple[int, int]]
    known_by: datetime
    lots: Lots = field(default_factory=Lots)

    @classmethod
    def of(cls, settings: Settings, card: ModelCard, known_by: datetime | None = None) -> "Facts":
        """Of a model's target. TrainingError if the shop declares it no more, or asks another question."""
        shop, log = shop_of(settings), Log.open(settings)
        target = of_shop(shop).get(card.target.name)
        asked = (card.target.label, card.target.horizon_days)
        if target is None or (target.label, target.horizon_days) != asked:
            now = "not at all" if target is None else f"as {target.label} within {target.horizon_days} days"
            raise TrainingError(
                f"{card.name} {card.version} predicts {card.target.label} within {card.target.horizon_days} "
                f"days, and the shop declares {card.target.name} {now}: train {card.name} again"
            )
        by = min(settings.now(), log.complete_until, known_by or log.complete_until)
        tables = of_training.events(log, target)
        return cls(settings, shop, log, target, tables, _contacts(settings, log), _events(log, by), by)

    def mature(self, moment: datetime, days: int) -> bool:
        """Whether all that came in so many days after a moment is known."""
        return moment + days * DAY <= self.known_by

    def shares(self) -> tuple[int, ...]:
        """Days that are a third and two thirds of the horizon, in whole weeks: a window with two Sundays is
        another one than a window with one. None of a horizon under three weeks, which is soon over itself."""
        horizon = self.target.horizon_days
        return tuple(7 * round(horizon * part / 21) for part in (1, 2)) if horizon >= 21 else ()

    def eventful(self, moment: datetime, days: int) -> float:
        """Share of so many days after a moment that the shop's calendar has an event in."""
        first, end = to_us(moment), to_us(moment + days * DAY)
        part = sum(max(0, min(until, end) - max(at, first)) for at, until in self.events)
        return min(1.0, part / (end - first))


def _events(log: Log, known_by: datetime) -> list[tuple[int, int]]:
    """(from, until) of the calendar's events, in us, ascending; those that overlap are one."""
    if "calendar" not in log.tables:
        return []
    rows = log.read("calendar", ["at", "until", "known_at"])
    rows = rows.filter(pc.less_equal(rows["known_at"], pa.scalar(known_by)))
    found: list[tuple[int, int]] = []
    for at, until in sorted(zip(ints(rows["at"]).tolist(), ints(rows["until"]).tolist(), strict=True)):
        if found and at < found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], until)
        else:
            found.append((at, until))
    return found


def told(settings: Settings, log: Log, name: str, moment: datetime) -> Told | None:
    """What everyone was told by a model's release at a moment; None: nothing that is still known.

    The version that was in force then, where that is on record; else, of several, the last that could be:
    that was released, and whose test was over. (A challenger that was scored beside it told nobody.)
    """
    folder = settings.home / "scores" / name
    versions = sorted((path.name for path in folder.glob("*") if path.is_dir()), key=_number, reverse=True)
    recorded = releases.in_force(settings, name, moment)
    versions = versions if recorded is None else [recorded]
    for version in versions:
        path = score_store.path(settings, name, version, moment)
        if not path.exists():
            continue
        try:
            card = releases.load(settings, name, version).classifier.card
        except ReleaseError:  # never released, or pruned since
            continue
        if card.tested_on.moment + card.target.horizon_days * DAY > moment:
            continue
        rows = pq.read_table(path, columns=["customer_id", "probability"], partitioning=None)
        rows = rows.filter(pc.is_valid(rows["probability"]))
        customers, kept = _today(log, rows["customer_id"])
        return Told(moment, version, False, customers, rows["probability"].to_numpy()[kept])
    return None


def backfilled(model: Model, build: Build, moment: datetime, most: int | None = None) -> Told:
    """What the model says now of a moment's population. most: so many of it, evenly.

    NoBuild if the build has no such snapshot, FeatureMismatch if it is not what the model reads.
    """
    card = model.card
    build.require(card.needs, by=f"release {card.name} {card.version}")
    snapshot = build.read(moment, ["customer_id", *(name for name, _ in card.needs)])
    members = card.target.members
    inside = np.arange(len(snapshot))
    if members is not None:
        inside = np.flatnonzero(members.holds(snapshot[members.feature].to_numpy()))
    if most is not None:
        inside = thin(inside, most)
    matrix = np.empty((len(inside), len(card.features)), np.float32)
    for place, feature in enumerate(card.features):
        matrix[:, place] = snapshot[feature.name].to_numpy()[inside]
    score = model.score(matrix) if len(inside) else np.zeros(0)
    return Told(moment, card.version, True, snapshot["customer_id"].take(pa.array(inside)), score)


def told_at(settings: Settings, name: str) -> list[datetime]:
    """The moments of which the score store holds anything of a model's, by any version."""
    stems = {path.stem for path in (settings.home / "scores" / name).glob("*/*.parquet")}
    return sorted(datetime.strptime(stem, "%Y%m%dT%H%M%S%z") for stem in stems)


def may_be_asked(model: Model, moment: datetime) -> bool:
    """Whether what it says of a moment is a prediction: it has learnt from no label of later."""
    return moment >= known(model) and moment > model.card.tested_on.moment


def joined(facts: Facts, what: Sequence[Told], days: int) -> list[Outcomes]:
    """What came in so many days after each moment, read in one pass. NotEnoughData if one is not over."""
    if early := [one.moment for one in what if not facts.mature(one.moment, days)]:
        raise NotEnoughData(
            f"what comes in the {days} days after {early[0]:%Y-%m-%d} is not known by "
            f"{facts.known_by:%Y-%m-%d %H:%M}: it is not mature"
        )
    if not what:
        return []
    spine = pa.concat_tables([_spine(one) for one in what])
    target = replace(facts.target, horizon_days=days)  # the same question, asked of less time
    label = of_training.labels(facts.tables, spine, target, {one.moment: facts.known_by for one in what})
    flags = np.zeros(len(spine), np.bool_)
    if facts.target.adjusted:
        flags = treated(facts.log, spine, days * DAY, facts.known_by)
    edges = np.cumsum([len(one.score) for one in what])[:-1]
    found = []
    for one, came, of_log in zip(what, np.split(label, edges), np.split(flags, edges), strict=True):
        reached = of_log | _reached(facts, one, days * DAY) if facts.target.adjusted else of_log
        held = np.zeros(len(came), np.bool_)
        if reached.any():
            held = held_out(facts.shop, one.customers.to_pylist(), one.moment, reached, facts.lots)
        found.append(Outcomes(one, days, came, reached, held))
    return found


def _spine(what: Told) -> pa.Table:
    at = pa.array(np.full(len(what.score), to_us(what.moment)), pa.timestamp("us", "UTC"))
    return pa.table({"customer_id": what.customers, "moment": at})


def _reached(facts: Facts, what: Told, within: timedelta) -> Bools:
    """Whom the ledger knows as contacted in that time, and the log does not yet."""
    until = what.moment + within
    whom = [id for id, at in facts.contacts if what.moment < at <= until]
    found: Bools = pc.is_in(what.customers, pa.array(whom, pa.string())).to_numpy().astype(np.bool_)
    return found


def _contacts(settings: Settings, log: Log) -> list[tuple[str, datetime]]:
    """(customer, when) of every marketing contact of the ledger that the log lacks."""
    if not exists(settings):
        return []
    now = _names(log)
    logged = set[str]()
    if "contacts" in log.tables:
        logged = set(log.read("contacts", ["contact_id"])["contact_id"].to_pylist())
    with closing(Ledger(settings)) as ledger:
        return [
            (now.get(row["customer_id"], row["customer_id"]), from_us(row["at"]))
            for row in ledger.sent()
            if contact_id(row["number"], row["id"], row["also"]) not in logged
        ]


def _names(log: Log) -> dict[str, str]:
    merged = log.merges()
    return dict(zip(merged["customer_id"].to_pylist(), merged["canonical_id"].to_pylist(), strict=True))


def _today(log: Log, ids: pa.ChunkedArray) -> tuple[pa.ChunkedArray, NDArray[np.int64]]:
    """The ids that customers have today, each once, and their places: of two that were merged since, the
    first counts. Under an old id nothing happens any more, and that would be taken for silence."""
    names = _names(log)
    if names:
        ids = pa.chunked_array([pa.array([names.get(id, id) for id in ids.to_pylist()], pa.string())])
    _, first = np.unique(ids.combine_chunks().dictionary_encode().indices.to_numpy(), return_index=True)
    first = np.sort(first)
    return ids.take(pa.array(first)), first


def _number(version: str) -> tuple[int, str]:
    """Versions as they were made: 10 after 9."""
    return (int(version), "") if version.isdigit() else (-1, version)
