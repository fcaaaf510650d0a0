"""Scoring everyone: with what is released, and with a challenger beside it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from features.compute.builds import Build
from features.errors import FeatureMismatch, ReleaseError, UsageError
from features.moments import DAY, iso, midnight
from features.settings import Settings

if TYPE_CHECKING:
    from serving.releases import Release

Progress = Callable[[str, int, int], None] | None
FIRST_SNAPSHOT = 28 * DAY  # before that a log knows too little of anybody to learn from
IN_FORCE = ("", "champion")


def score_releases(
    settings: Settings, build: Build, moment: datetime
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Score everyone with every release; return those that were, and why each other one could not be."""
    from serving import kinds, releases

    scored, starved = [], []
    for release in kinds.in_order(releases.load(settings, name) for name in releases.names(settings)):
        if not kinds.scores(release):
            continue
        try:
            kinds.score(settings, release, build, moment)
            scored.append(f"{release.name} {release.version}")
        except FeatureMismatch as error:
            starved.append(str(error))
    return tuple(scored), tuple(starved)


def score_everyone(
    settings: Settings,
    wanted: str,
    out: Path | None,
    dry_run: bool,
    progress: Progress = None,
    reasons: int = 0,
    as_of: datetime | None = None,
) -> str:
    """Score everyone as of a moment, and build its snapshot if need be. None: as of `settings.as_of`; or of
    the last snapshot, where there is none, or the log is not complete until then.

    A version that is not in force is told beside the one that is.
    """
    from serving import batch, kinds, releases

    release = _version(settings, wanted)
    if not kinds.scores(release):
        raise UsageError(f"{release.name} scores nobody: `propensity models card {release.name}` shows it")
    if reasons and kinds.of(release.model.card) is not kinds.CLASSIFIER:
        raise UsageError(f"{release.name} gives no probability, so it has no reasons: leave out --reasons")
    build = Build.open(settings)
    put = settings.as_of
    moment = as_of or (put if put is not None and put <= build.complete_until else build.moments[-1])
    build.require(release.model.card.needs, f"release {release.name} {release.version}")
    if moment < build.log_starts_at + FIRST_SNAPSHOT:
        raise UsageError(
            f"as of {iso(moment)} the log, which starts {iso(build.log_starts_at)}, knows too little: "
            f"ask for {iso(midnight(build.log_starts_at + FIRST_SNAPSHOT + DAY))} or later"
        )
    if dry_run:
        more = "" if moment in build.moments else ", after building that snapshot"
        return f"would score everyone with {release.name} {release.version} as of {iso(moment)}{more}"
    if moment not in build.moments:
        from features.compute import engine

        build, _ = engine.build(settings, [moment], progress, current=False)
        build.require(release.model.card.needs, f"release {release.name} {release.version}")
    if reasons:
        path = batch.score(settings, release, build, moment, out, reasons)
    else:
        path = kinds.score(settings, release, build, moment, out)
    import pyarrow.parquet as pq

    scores = pq.read_table(path, columns=[kinds.of(release.model.card).figure])[0]
    inside = len(scores) - scores.null_count
    text = (
        f"{inside:,} of {len(scores):,} customers scored with {release.name} {release.version} as of "
        f"{iso(moment)}, the rest are outside its population: {path}"
    )
    if release.name not in releases.names(settings):
        return text
    champion = releases.load(settings, release.name)
    if champion.version == release.version or kinds.of(champion.model.card) != kinds.of(release.model.card):
        return text
    try:
        other = kinds.score(settings, champion, build, moment, None)
    except FeatureMismatch as error:
        return f"{text}\nNOT SCORED BESIDE IT: {error}"
    return f"{text}\n{_beside(path, other, champion)}"


def _version(settings: Settings, wanted: str) -> Release:
    """A released version, or a registered one by its number or alias."""
    from serving import kinds, releases
    from serving.releases import Release

    name, _, version = wanted.partition(":")
    if version in IN_FORCE:
        return releases.load(settings, name)
    try:
        return releases.load(settings, name, version)
    except ReleaseError:
        from training import registered

        number = registered.resolve(settings, name, version)
        return Release(name, number, kinds.load(registered.folder_of(settings, name, number)))


def _beside(path: Path, other: Path, champion: Release) -> str:
    """How far two versions agree about everybody, in words."""
    import numpy as np
    import pyarrow.parquet as pq
    from scipy.stats import spearmanr

    from serving import kinds

    figure = kinds.of(champion.model.card).figure
    own, its = (pq.read_table(p, columns=[figure])[0].to_numpy() for p in (path, other))
    if own.dtype == object:  # names, which have no order
        return (
            f"beside {champion.name} {champion.version}, which is in force: {(own == its).mean():.0%} of the "
            f"customers have the same {figure}"
        )
    both = ~np.isnan(own) & ~np.isnan(its)
    own, its = own[both], its[both]
    tenth = max(len(own) // 10, 1)
    first, firsts = (set(np.argsort(-scores, kind="stable")[:tenth].tolist()) for scores in (own, its))
    rank, same = spearmanr(own, its).statistic, len(first & firsts) / tenth
    return (
        f"beside {champion.name} {champion.version}, which is in force: rank correlation {rank:.3f}, "
        f"{same:.0%} of the highest tenth are the same, mean {figure} {own.mean():.4g} against "
        f"{its.mean():.4g}"
    )
