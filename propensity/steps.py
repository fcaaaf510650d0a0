"""What joins the packages, a function a command: the command line and the demo call the same ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from features.compute.builds import Build
from features.definitions import catalogue
from features.errors import LogError, UsageError
from features.log import Log
from features.moments import DAY, grid, iso
from features.settings import Settings
from features.shop import shop_of
from features.words import several
from propensity.scoring import FIRST_SNAPSHOT, Progress, score_releases
from propensity.wanted import Refused, unless_refused, wanted_of

if TYPE_CHECKING:
    from features.compute.backfill import Backfill
    from serving.cards import ModelCard
    from training.fit import Trained
    from training.leaks import Looked
    from training.targets import Target
    from training.tune import Search


@dataclass(frozen=True)
class Built:
    """What `build_features` did, in words, and what it made.

    starved: releases that it cannot feed. withheld: its snapshot was rolled back, so it is not served.
    """

    text: str
    build: Build | None
    computed: int
    starved: tuple[str, ...] = ()
    withheld: bool = False


def build_features(
    settings: Settings,
    since: datetime | None,
    every: int,
    publish: bool,
    dry_run: bool,
    progress: Progress = None,
    again: bool = False,
    as_of: datetime | None = None,
) -> Built:
    """Take the inbox into the log, build a grid of snapshots, tell Feast of them, and publish the last one
    with every release's scores. again: also if that was rolled back. as_of: where the grid ends; None: where
    the log lets it, which is said if it is an earlier day than today.
    """
    log, told = (Log.open(settings), "") if dry_run else _take_inbox(settings, progress)
    _check_whole(settings, log)
    why = "" if as_of else _not_today(settings, log)
    as_of = as_of or log.latest(settings)
    moments = grid(since or log.starts_at + FIRST_SNAPSHOT, as_of, every * DAY)
    if not moments:
        raise UsageError(f"no moment lies between the first snapshot and {iso(as_of)}: set --since earlier")
    from features.compute import engine

    span = f"{len(moments)} snapshots, every {every} days, {iso(moments[0])} to {iso(moments[-1])}"
    if dry_run:
        _, lacking = engine.missing(settings, moments)
        text = f"would have {span}: {len(lacking)} to compute"
        return Built(text + (", and publish the last" if publish else "") + why, None, 0)
    build, computed = engine.build(settings, moments, progress)
    text = f"build {build.id}: {span}; {computed} computed now, {len(build.features)} features{why}{told}"
    return _put_to_use(settings, build, as_of if publish else None, text, computed, again)


def _not_today(settings: Settings, log: Log) -> str:
    """Why the last snapshot is of an earlier day than today, by the shop's calendar; nothing if it is not."""
    last, zone = log.latest(settings), shop_of(settings).zone
    if last.astimezone(zone).date() >= settings.now().astimezone(zone).date():
        return ""
    return (
        f"\nthe last is of {iso(last)}, and not of today: the log is complete until "
        f"{iso(log.complete_until)}, and later features would be guesses"
    )


def _put_to_use(
    settings: Settings, build: Build, moment: datetime | None, text: str, computed: int, again: bool = False
) -> Built:
    """Tell Feast of a build; publish its snapshot of the moment, if one is given, with everyone's scores."""
    from features import online, told

    if not told.is_told(settings, build):
        from features import store  # loads Feast, which takes seconds

        store.apply(settings, build)
    starved: tuple[str, ...] = ()
    if moment is not None and not again and online.withdrawn(settings, build, moment):
        current = online.OnlineRows.open(settings).current()
        text += (
            f"\nNOT PUBLISHED: the snapshot of {iso(moment)} was rolled back, and stays withdrawn until "
            f"something newer is built; {current.id} is served. "
            "`propensity features build --again` publishes it nevertheless"
        )
        return Built(text, build, computed, withheld=True)
    if moment is not None:
        # Scores first: the service never answers with a percentile of other rows.
        scored, starved = score_releases(settings, build, moment)
        text += "".join(f"\nscored everyone with {name}" for name in scored)
        text += "".join(f"\nNOT SCORED: {why}" for why in starved)
        text += f"\npublished {online.publish(settings, build, moment, again)}"
    return Built(text, build, computed, starved)


def _check_whole(settings: Settings, log: Log) -> None:
    """LogError for a log of an older version that the engine cannot read; embedded, it is read as it is."""
    if settings.engine == "spark" and (lacking := log.lacking()):
        what = "; ".join(f"{table}: {', '.join(columns)}" for table, columns in sorted(lacking.items()))
        raise LogError(
            "an older version ingested the log, which lacks columns that PROPENSITY_ENGINE=spark reads "
            f"({what}): run `propensity ingest` first"
        )


def take_inbox(settings: Settings, progress: Progress = None) -> Log:
    """Make the log hold every event that other systems have told so far, and return it. LogError without one.

    Events that come meanwhile stay in the overlay, for the build after this one.
    """
    return _take_inbox(settings, progress)[0]


def _take_inbox(settings: Settings, progress: Progress) -> tuple[Log, str]:
    """The log with every event, and what became of them; nothing of a log without events."""
    from features.inbox import Inbox

    log, inbox = Log.open(settings), Inbox(settings)
    try:
        if inbox.last() == 0:
            return log, ""
        from features.ingestion.ingest import take
        from features.ingestion.mended import INBOX
        from features.ingestion.offenders import repeated
        from features.ingestion.untaken import untaken
        from features.sources.inbox import source

        folder, last = inbox.write_rows()
        taken = take(settings, [source(folder)], progress=progress)
        inbox.note_taken(taken.generation, last, untaken(settings, taken.generation))
    finally:
        inbox.close()
    of = [c for c in taken.account if c.source == INBOX and c.file is not None]
    kept = sum(c.rows for c in of if c.accepted)
    again = sum(c.rows for c in of if not c.accepted and repeated(c.what))
    rejected = sum(c.rows for c in of if not (c.accepted or c.aside or repeated(c.what)))
    text = f"\ninbox: {kept:,} rows of events in the log, {again:,} that files have brought too"
    if rejected:
        text += f"; REJECTED: {rejected:,} rows, `propensity rejects list` says why"
    return Log.open(settings), text


def backfill_features(
    settings: Settings, names: Sequence[str], publish: bool, dry_run: bool, progress: Progress = None
) -> Built:
    """Compute new features at every snapshot of the current build; put the new build to use as any other."""
    from features.compute import backfill

    _check_whole(settings, Log.open(settings))
    if dry_run:
        plan = backfill.planned(settings, names)
        return Built(_backfilled(plan, "would compute"), None, 0)
    made, done = backfill.backfill(settings, names, progress)
    if not done:
        return Built(f"build {made.build.id} has every declared feature: nothing to compute", made.build, 0)
    moments = [m for m in made.build.moments if m <= settings.now()]
    text = f"build {made.build.id}: {_backfilled(made, 'computed')}, {len(made.build.features)} features"
    at = moments[-1] if publish and moments else None
    return _put_to_use(settings, made.build, at, text, len(made.lacking))


def _backfilled(made: Backfill, what: str) -> str:
    columns = f"{len(made.new)} new feature{'s' * (len(made.new) != 1)} at {len(made.lacking)} snapshots"
    return f"{what} {columns}" + (f": {several(made.new)}" if made.new else "")


def train_targets(
    settings: Settings,
    names: Sequence[str],
    seed: int,
    progress: Progress = None,
    origins: int = 6,
    search: Search | None = None,
    scheduler: str | None = None,
    refused: Refused | None = None,
) -> list[Trained]:
    """Train the named models in that order, or those of the targets that are trained by default. What a plan
    can tell is said before anything is fitted. search: for each target's parameters. scheduler: of the Dask
    cluster that fits trees; None: this machine. refused: takes up why a model was not trained, its name among
    them, and the others are; None: the first that is not ends it.
    """
    from training import labels
    from training.distributed import cluster
    from training.fit import look, train
    from training.trainers import OF_NO_TARGET

    wanted = wanted_of(settings, names, refused)
    if not wanted:
        return []
    if len(wanted) > 1:  # one says it by itself, before it fits
        planned = _planned(settings, wanted, origins, refused)
        wanted = {name: wanted[name] for name in planned}
    as_of = labels.as_of_to_train(settings, Log.open(settings))
    of_targets = any(name not in OF_NO_TARGET for name in wanted)
    with cluster(scheduler) if scheduler and of_targets else nullcontext() as where:

        def ask(name: str) -> Looked | None:
            if progress:
                progress(f"{name}: looking for features that look ahead", 0, 1)
            return look(settings, name, as_of, seed, origins, search is not None, where)

        trained: list[Trained] = []
        looked: list[Looked] = []
        of_target = [name for name in wanted if name not in OF_NO_TARGET]
        if len(of_target) > 1:  # all are asked before one is fitted: what one finds binds all
            looked, unable = _looked(of_target, ask, refused)
            wanted = {name: target for name, target in wanted.items() if name not in unable}
        for name in wanted:
            with unless_refused(refused):
                trained.append(
                    OF_NO_TARGET[name].train(settings, as_of, seed, progress)
                    if name in OF_NO_TARGET
                    else train(settings, name, as_of, seed, progress, origins, search, where, looked)
                )
        return trained


def _looked(
    names: Sequence[str], ask: Callable[[str], Looked | None], refused: Refused | None
) -> tuple[list[Looked], set[str]]:
    """What was found of each target's features, and the targets of which it cannot be asked."""
    found: list[Looked] = []
    unable = set(names)
    for name in names:
        with unless_refused(refused):
            if (one := ask(name)) is not None:
                found.append(one)
            unable.remove(name)
    return found, unable


def plan_targets(
    settings: Settings, names: Sequence[str], origins: int = 6, refused: Refused | None = None
) -> str:
    """When each model would be fitted, calibrated and judged; errors as training it, as far as a plan can.

    refused: as for training.
    """
    return "\n".join(_planned(settings, wanted_of(settings, names, refused), origins, refused).values())


def _planned(
    settings: Settings, wanted: Mapping[str, Target | None], origins: int, refused: Refused | None
) -> dict[str, str]:
    """The plan of each model that can be trained, in a line."""
    from training import fit, labels, samples
    from training.trainers import OF_NO_TARGET

    if not wanted:
        return {}
    build, as_of = Build.open(settings), labels.as_of_to_train(settings, Log.open(settings))
    if any(target is not None for target in wanted.values()):
        shop = shop_of(settings)
        fit.require_declared(build, catalogue(shop.declared("FEATURES")), shop)
    lines = {}
    for name, target in wanted.items():
        with unless_refused(refused):
            if target is None:
                lines[name] = OF_NO_TARGET[name].plan(settings, as_of)
                continue
            when = samples.timeline(target, build, as_of, origins)
            known = when.known(when.test)
            lines[name] = (
                f"would train {target.name}: fitted on {len(known)} snapshots of {known[0]:%Y-%m-%d} to "
                f"{known[-1]:%Y-%m-%d}, judged as of {when.test:%Y-%m-%d}, and by a backtest at "
                f"{len(when.origins)} origin{'s' * (len(when.origins) > 1)} from {when.origins[0]:%Y-%m-%d} "
                "on"
            )
    return lines


_REPAIRED = {  # would be, or was
    True: "its files are damaged, and would be repaired from the registry",
    False: "its files were damaged, and are repaired from the registry",
}
_PUSHED = {
    True: "its files in PROPENSITY_RELEASES are not what they are here, and would be put there again",
    False: "its files in PROPENSITY_RELEASES were not what they are here, and are put there again",
}


def promote_target(
    settings: Settings, target: str, version: str | None, dry_run: bool, force: str | None = None
) -> str:
    """Release a version that the gate lets pass, score everyone with it, and say so."""
    from serving import effects, mirror, releases
    from training import registered, registry, uplift_registered, versions

    if dry_run:
        chosen = registry.resolve(settings, target, version)
        if chosen == registry.in_force(settings, target):
            registered.folder_of(settings, target, chosen)  # what it would be repaired from
            damaged, lacks = releases.damaged(settings, target, chosen), False
            if not damaged:  # else nobody can say what the store's should be
                lacks = mirror.lacks(settings, target, chosen)
            said = [_REPAIRED[True]] * damaged + [_PUSHED[True]] * lacks
            return (
                f"{target} version {chosen} is in force already: {'; '.join(said) or 'nothing would change'}"
            )
        against = registry.objections(settings, target, chosen)
        card = versions.card_of(registered.folder_of(settings, target, chosen))
        warned = "".join(f"\n{line}" for line in _judged(card))
        if not against:
            return f"would release {target} version {chosen}{warned}"
        listed = "".join(f"\n  {words.en}" for words in against)
        if force:
            return f"would release {target} version {chosen} against the gate, which objects:{listed}{warned}"
        return f"would not release {target} version {chosen} without --force:{listed}{warned}"
    before = registry.in_force(settings, target)
    release = registry.promote(settings, target, version, force)
    again = release.version == before
    done = [_REPAIRED[False]] * release.repaired + [_PUSHED[False]] * release.pushed
    what = "; ".join(done) or "nothing changes"
    lines = [
        f"{release.name} version {release.version} was in force already: {what}"
        if again
        else f"released {release.name} version {release.version}"
    ]
    if force:
        forced = registered.overruled(settings, release.name, release.version)
        lines.append(forced.en if forced else "the gate had no objection: --force was not needed")
    lines += _judged(release.model.card)
    if isinstance(release.model, effects.EffectsModel):
        unread = uplift_registered.unread(settings, release.model)
        lines += [f"WARNING: decisions do not read this: {words.en}" for words in unread]
    return "\n".join(lines)


def _judged(card: ModelCard) -> list[str]:
    """How a model did, and what whoever releases it has to know."""
    from training import describe, gate

    verdict = [describe.verdict_of(card).en] if card.backtest else [note.en for note in card.notes[:1]]
    return [*verdict, *(f"WARNING: {words.en}" for words in gate.cautions(card))]


def decide_for(
    settings: Settings,
    customer: str,
    key: str | None,
    preview: bool,
    scenario: str | None = None,
    now: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The decision's answer as the API gives it. Without a key, one is drawn: asked twice, decided twice."""
    import secrets

    from serving.api import DecisionRequest
    from serving.decision_context import DecisionContext
    from serving.decisions import take_decision
    from serving.incoming import MAX_KEY, is_key

    if key is not None and (not is_key(key.encode()) or key == customer):
        raise UsageError(
            f"--key must name no person: expected 1 to {MAX_KEY} printable ASCII characters, the same when "
            "it is asked again, and not the customer's id"
        )
    key = None if preview else key or secrets.token_hex(16)
    request = DecisionRequest(customer=customer, preview=preview, scenario=scenario, context=now or None)
    context = DecisionContext.open(settings)
    answer = take_decision(context, request, client="command line", idempotency_key=key)
    decoded: dict[str, Any] = msgspec.to_builtins(answer)
    return decoded


def replay_decision(settings: Settings, id: str, as_json: bool = False) -> tuple[str, int]:
    """What taking a recorded decision again, from its record, gives, and the exit code: 3 if it differs."""
    from serving.replays import replay

    again = replay(settings, id)
    code = 3 if again.verdict == "differs" else 0
    if as_json:
        return msgspec.json.encode(again).decode(), code
    return "\n".join([f"{again.decision_id}: {again.verdict}", *again.differences]), code
