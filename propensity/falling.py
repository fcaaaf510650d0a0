"""Who falls due for which scenario: found among everybody who is published, written down, then told.

Rows are the published ones with fresh events, as a decision would read them. A customer who is due and was
told of does not fall due for the same scenario again until that is over.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from features import online
from features.complaints import OPEN_COMPLAINTS
from features.compute.builds import Build
from features.definitions import catalogue as feature_catalogue
from features.errors import UsageError
from features.files import locked, write_atomically
from features.log import Log
from features.moments import DAY, from_us, iso, to_us
from features.online import PRESENT, Published
from features.settings import Settings
from propensity.pushed import push_due
from propensity.tables import say
from serving import due, releases, score_store
from serving.decision_context import DecisionContext
from serving.pauses import SCENARIO
from serving.scenarios import Scenario, aged, days_until
from serving.scores import answerable
from serving.standing import Standing, with_complaints

_CHUNK = 4_096  # customers read at a time
Progress = Callable[[str, int, int], None] | None


@dataclass
class Found:
    """who: scenario -> customers for whom it holds. absent: scenario -> why it cannot be told.

    paused: scenario -> why; who falls due meanwhile is told of when it goes on.
    partly: scenarios that are told by events alone, as nothing is published of what they read.
    """

    as_of: datetime
    customers: int = 0
    who: dict[str, list[str]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    paused: dict[str, str] = field(default_factory=dict)
    partly: set[str] = field(default_factory=set)


def tell_due(
    settings: Settings,
    names: Sequence[str],
    as_json: bool,
    out: Path | None,
    dry_run: bool,
    progress: Progress = None,
) -> int:
    """Find who falls due, write them down, and tell of each once: to `out`, or a line each on stdout.

    A dry run prints the same lines, of which some have no id yet, and uses up nobody. Returns the exit code:
    3 if a scenario that was named cannot be told.
    UsageError for a scenario that is not declared, or an `out` that is there: it may not be read yet.
    """
    context = DecisionContext.open(settings)
    with closing(context.ledger):
        scenarios = _chosen(context, names)
        if out is not None and out.exists():
            raise UsageError(
                f"{out} is there already, perhaps not read yet: name another file, or move it away"
            )
        with due.opened(settings) as known, locked(known.lock):
            found = find(context, scenarios, progress)
            fresh = {name: known.new(name, ids, found.as_of) for name, ids in found.who.items()}
            if dry_run:
                _write(_would(known, fresh, scenarios, found.as_of), scenarios, as_json, None)
            else:
                for name, ids in fresh.items():
                    known.add(name, ids, found.as_of, found.as_of + scenarios[name].due_days * DAY)
                told = list(known.untold(scenarios, found.as_of))
                push_due(settings, told, scenarios)  # under their ids: told again, it adds nothing
                _write(told, scenarios, as_json, out)
                known.told(one.id for one in told)
    _count(found, fresh, dry_run, out)
    return 3 if names and found.absent else 0


def _chosen(context: DecisionContext, names: Sequence[str]) -> dict[str, Scenario]:
    declared = context.scenarios
    if not declared:
        raise UsageError(
            f"{context.shop.folder / 'shop.py'} declares no SCENARIOS: `from serving.retail import ACTIONS, "
            "SCENARIOS` takes over the examples, to be changed as you need them"
        )
    for name in names:
        if name not in declared:
            raise UsageError(f"there is no scenario {name!r}; there are {', '.join(declared)}")
    return {name: declared[name] for name in names or declared}


def find(context: DecisionContext, scenarios: Mapping[str, Scenario], progress: Progress = None) -> Found:
    """For whom each scenario holds now. NoBuild if nothing is published, FeaturesExpired if it is too old."""
    settings = context.settings
    found = Found(settings.now())
    published = answerable(context.rows.current(), settings, found.as_of)
    given = _Given(context, published, found.as_of)
    paused = context.pauses.paused()
    for scenario in scenarios.values():
        if (reason := paused.get(f"{SCENARIO}{scenario.name}")) is not None:
            found.paused[scenario.name] = reason
            continue
        why = given.lacking(scenario)
        if why is None:
            found.who[scenario.name] = []
            if given.told_alone(scenario):
                found.partly.add(scenario.name)
        else:
            found.absent[scenario.name] = why
    ids = _everybody(settings, published)
    for first in range(0, len(ids), _CHUNK):
        if progress:
            progress("customers", first, len(ids))
        some = ids[first : first + _CHUNK]
        told = context.standings.told_of(some)  # before the rows: then what they lack is here
        now, rows = context.rows.latest(some)
        if now.id != published.id:
            raise UsageError("another snapshot was published meanwhile: run it again")
        here = np.flatnonzero(rows.status == PRESENT)
        there = [some[place] for place in here.tolist()]
        days = (to_us(found.as_of) - rows.known_at[here]) / (DAY.total_seconds() * 1e6)
        said = [
            context.standings.complaints(told[id], published, from_us(moment)) if id in told else 0
            for id, moment in zip(there, rows.known_at[here].tolist(), strict=True)
        ]
        values = given.values(rows.matrix[here], days, said, [scenarios[name] for name in found.who])
        for name, holding in found.who.items():
            due_now = scenarios[name].holds(values, *given.of(scenarios[name], there))
            holding += [id for id, is_due in zip(there, due_now.tolist(), strict=True) if is_due]
        found.customers += len(there)
    for name in sorted(found.partly):
        if not found.who[name]:
            del found.who[name]
            found.partly.remove(name)
            found.absent[name] = f"the published features lack {OPEN_COMPLAINTS}, nor did a complaint come in"
    if progress:
        progress("customers", len(ids), len(ids))
    return found


def _everybody(settings: Settings, published: Published) -> list[str]:
    """Ids of the snapshot, and of those who became known since."""
    snapshot = Build.open(settings, published.build).read(published.moment, ["customer_id"])
    ids: list[str] = snapshot["customer_id"].to_pylist()
    return sorted({*ids, *online.overlays(settings, published)})


class _Given:
    """What scenarios are told from, beside the rows: days of the year, segments; read when first needed."""

    def __init__(self, context: DecisionContext, published: Published, as_of: datetime) -> None:
        self._settings, self._published = context.settings, published
        self._features = feature_catalogue(context.shop.declared("FEATURES"))
        self._today = as_of.astimezone(context.shop.zone).date()
        self._columns = {name: place for place, name in enumerate(published.features)}
        self._attributes: dict[str, dict[str, str]] | None = None
        self._labels: dict[str, dict[str, str | None]] = {}

    def lacking(self, scenario: Scenario) -> str | None:
        """Why nobody can be told to be due; None if they can."""
        absent = [name for name in scenario.inputs if name not in self._columns]
        if absent and not self.told_alone(scenario):
            return f"the published features lack {', '.join(absent)}"
        if scenario.anniversary and not self._days_of(scenario.anniversary.attribute):
            return f"no customer of the log has the attribute {scenario.anniversary.attribute}"
        if scenario.segment:
            return self._segmented(scenario.segment.table)
        return None

    def told_alone(self, scenario: Scenario) -> bool:
        """Whether all that is not published of what it reads are complaints, which events tell too."""
        return [name for name in scenario.inputs if name not in self._columns] == [OPEN_COMPLAINTS]

    def values(
        self,
        matrix: NDArray[np.float32],
        days: NDArray[np.float64],
        complaints: Sequence[int],
        scenarios: Sequence[Scenario],
    ) -> Mapping[str, NDArray[np.float64]]:
        """feature -> [n] at the moment, of those that the scenarios read. complaints: that came in since."""
        wanted = {name for scenario in scenarios for name in scenario.inputs} | {OPEN_COMPLAINTS}
        there = [name for name in wanted if name in self._columns]
        rows = {n: aged(self._features.get(n), matrix[:, self._columns[n]], days) for n in there}
        rows.setdefault(OPEN_COMPLAINTS, np.full(len(matrix), np.nan))
        return with_complaints(rows, [Standing(complaints=more) for more in complaints])

    def of(self, scenario: Scenario, ids: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """(days until the anniversary, label of the segment), [n] each."""
        until, labels = np.full(len(ids), np.nan), np.full(len(ids), "", object)
        if scenario.anniversary:
            known = self._days_of(scenario.anniversary.attribute)
            until[:] = [days_until(known.get(id, ""), self._today) for id in ids]
        if scenario.segment:
            of = self._labels[scenario.segment.table]
            labels[:] = [of.get(id) or "" for id in ids]
        return until, labels.astype(str)

    def _days_of(self, attribute: str) -> dict[str, str]:
        """customer -> the attribute, of those who have it."""
        if self._attributes is None:
            self._attributes = {}
            log = Log.open(self._settings)
            if "customers" in log.tables:
                table = log.read("customers", ["customer_id", "known_at", "attributes"]).sort_by("known_at")
                pairs = zip(table["customer_id"].to_pylist(), table["attributes"].to_pylist(), strict=True)
                for id, attributes in pairs:
                    for name, value in attributes or ():
                        self._attributes.setdefault(name, {})[id] = value
        return self._attributes.get(attribute, {})

    def _segmented(self, table: str) -> str | None:
        """Read everybody's label; or why there is none."""
        import pyarrow.parquet as pq

        if "segmentation" not in releases.names(self._settings):
            return "no segmentation is released: `propensity train segmentation`, then promote it"
        version = releases.current(self._settings, "segmentation")
        file = score_store.path(self._settings, "segmentation", version, self._published.moment)
        if not file.exists():
            return f"segmentation {version} has not scored {iso(self._published.moment)}: promote it again"
        if table not in pq.read_schema(file).names:
            return f"segmentation {version} has no {table}"
        scores = pq.read_table(file, columns=["customer_id", table])
        pairs = zip(scores["customer_id"].to_pylist(), scores[table].to_pylist(), strict=True)
        self._labels[table] = dict(pairs)
        return None


def _would(
    known: due.DueList, fresh: Mapping[str, Sequence[str]], scenarios: Mapping[str, Scenario], at: datetime
) -> list[due.Due]:
    """Whom it would tell of; who would only fall due has no id yet."""
    until = {name: at + scenarios[name].due_days * DAY for name in fresh}
    new = [due.Due("", name, id, at, until[name]) for name, ids in fresh.items() for id in ids]
    return sorted([*known.untold(scenarios, at), *new], key=lambda one: (one.scenario, one.customer))


def _write(
    told: Sequence[due.Due], scenarios: Mapping[str, Scenario], as_json: bool, out: Path | None
) -> None:
    lines = list(_lines(told, scenarios, as_json or out is not None))
    if out is not None:
        write_atomically(out, "".join(f"{line}\n" for line in lines).encode())
        return
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()  # only then it is told


def _lines(told: Sequence[due.Due], scenarios: Mapping[str, Scenario], as_json: bool) -> Iterator[str]:
    for one in told:
        scenario = scenarios[one.scenario]
        if not as_json:
            yield "\t".join((one.scenario, one.customer, iso(one.until), one.id))
            continue
        of = (
            msgspec.to_builtins(one)
            | {"id": one.id or None}
            | {"since": iso(one.since), "until": iso(one.until)}
        )
        yield msgspec.json.encode(of | {"purpose": scenario.purpose, "actions": scenario.actions}).decode()


def _count(found: Found, fresh: Mapping[str, Sequence[str]], dry_run: bool, out: Path | None) -> None:
    """What happened, on standard error: standard output is for who is due."""
    say(f"{found.customers:,} customers as of {iso(found.as_of)}", err=True)
    for name, ids in found.who.items():
        already = len(ids) - len(fresh[name])
        would = "would fall due" if dry_run else "fell due"
        of = ", of those alone who complained since the last build" if name in found.partly else ""
        say(f"{name}: {len(fresh[name]):,} {would}; {already:,} are due already{of}", err=True)
    for name, why in found.absent.items():
        say(f"{name}: cannot be told: {why}", err=True)
    for name, why in found.paused.items():
        say(f"{name}: is paused, because: {why}; who falls due is told of when it goes on", err=True)
    if out is not None and not dry_run:
        say(f"written to {out}", err=True)
