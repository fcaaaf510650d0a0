"""Counting the days of a release: from what is published, or from the log as it was known then."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise

import numpy as np
import pyarrow as pa

from features.compute import engine
from features.compute.builds import Build
from features.definitions import Feature, catalogue, feature_hash
from features.errors import FeatureMismatch
from features.log import Log
from features.moments import DAY
from features.settings import Settings
from features.shop import Shop, shop_of
from monitoring.histograms import Edges, Float32, Histograms
from monitoring.profiles import Store, day_of
from serving.models import Model

REFERENCE_MOMENTS = 14  # of the training window, evenly: 26 days apart in a year, in step with no month
REFERENCE_ROWS = 120_000  # beyond, edges move by less than a thousandth of a column's rows
AT_ONCE = 60  # days whose features are held at a time
Progress = Callable[[str, int, int], None]


def matrix(model: Model, snapshot: pa.Table) -> Float32:
    """float32 [members, features and probability] of a snapshot's rows, columns contiguous."""
    card = model.card
    members = card.target.members
    inside = members.holds(snapshot[members.feature].to_numpy()) if members else np.True_
    if not np.all(inside):
        snapshot = snapshot.filter(pa.array(inside))
    values = np.empty((len(card.features) + 1, len(snapshot)), np.float32)
    for place, feature in enumerate(card.features):
        values[place] = snapshot[feature.name].to_numpy()
    for start in range(0, len(snapshot), 16_384):
        part = np.ascontiguousarray(values[:-1, start : start + 16_384].T)
        values[-1, start : start + 16_384] = model.score(part)
    return values.T


def update(
    settings: Settings,
    stores: Sequence[Store],
    build: Build,
    moments: Iterable[datetime],
    progress: Progress | None = None,
) -> int:
    """Count the days of those moments that are not counted yet; how many days were new.

    A moment of the build is counted from its snapshot, as it is answered from; the others from the log, as it
    was known then. Days of which the log tells otherwise by now are new again. The first call fixes the
    edges, by the training window. FeatureMismatch if a release reads a feature that is not declared, or not
    built, as it was.
    """
    for store in stores:
        build.require(store.model.card.needs, by=f"release {store.model.card.name}")
    log, shop = Log.open(settings), shop_of(settings)
    declared = declared_by(log, shop, stores)
    edges = {store: _edges(store, build, log, shop, declared) for store in stores}
    for store in stores:
        store.drop(store.outdated(build, log.complete_until))
    there = {store: store.days() for store in stores}
    lacking = [
        moment
        for moment in sorted({*moments})
        if moment > log.starts_at and any(day_of(moment) not in there[store] for store in stores)
    ]
    needs = {name for store in stores for name, _ in store.model.card.needs}
    for start in range(0, len(lacking), AT_ONCE):
        chunk = lacking[start : start + AT_ONCE]
        counted: dict[Store, dict[int, Histograms]] = {store: {} for store in stores}
        for moment, table in _tables(build, log, shop, declared, needs, chunk):
            day = day_of(moment)
            for store in stores:
                if day not in there[store]:
                    seen = edges[store].count(matrix(store.model, table))
                    counted[store][day] = counted[store][day] + seen if day in counted[store] else seen
        for store in stores:
            store.add(counted[store])
        if progress:
            progress("profiles", start + len(chunk), len(lacking))
    for store in stores:
        store.keep_counted(build, log.complete_until)
    return len(lacking)


def rows_of(
    build: Build,
    log: Log,
    shop: Shop,
    declared: Mapping[str, Feature],
    stores: Sequence[Store],
    moments: Sequence[datetime],
) -> list[tuple[datetime, pa.Table]]:
    """What the releases read of everybody, at those moments."""
    needs = {name for store in stores for name, _ in store.model.card.needs}
    found: dict[datetime, list[pa.Table]] = {}
    for moment, table in _tables(build, log, shop, declared, needs, moments):
        found.setdefault(moment, []).append(table)
    return [(moment, pa.concat_tables(tables)) for moment, tables in found.items()]


def declared_by(log: Log, shop: Shop, stores: Sequence[Store]) -> dict[str, Feature]:
    """The features that the log has. FeatureMismatch if one that a release reads is declared otherwise."""
    declared = engine.available(log, catalogue(shop.declared("FEATURES")))
    for store in stores:
        require(store, declared, shop)
    return declared


def require(store: Store, declared: Mapping[str, Feature], shop: Shop) -> None:
    """FeatureMismatch unless all that the release reads is declared as it was."""
    card = store.model.card
    for name, hash in card.needs:
        if name not in declared or feature_hash(declared[name], declared, shop.of_log) != hash:
            raise FeatureMismatch(
                f"{card.name} {card.version} reads {name}, which is no longer declared as it was: "
                "train and promote it again"
            )


def _tables(
    build: Build,
    log: Log,
    shop: Shop,
    declared: Mapping[str, Feature],
    names: set[str],
    moments: Sequence[datetime],
) -> Iterator[tuple[datetime, pa.Table]]:
    """(moment, rows of some customers): from the build's snapshots where there are some, else computed."""
    built = set(build.moments)
    for moment in moments:
        if moment in built:
            yield moment, build.read(moment, sorted(names))
    others = [moment for moment in moments if moment not in built and moment <= log.complete_until]
    if others:
        yield from engine.compute(log, shop, with_inputs(declared, names), others)


def _edges(store: Store, build: Build, log: Log, shop: Shop, declared: Mapping[str, Feature]) -> Edges:
    """The release's edges: fixed at first by the members of some moments of its training window."""
    found = store.reference()
    if found is not None:
        return found[0]
    card = store.model.card
    window, end = card.trained_on, min(card.trained_on.end, log.complete_until)
    built = [moment for moment in build.moments if window.start <= moment <= end]
    step = max(1, (end - window.start) // (REFERENCE_MOMENTS * DAY)) * DAY
    grid = [end - k * step for k in range(REFERENCE_MOMENTS) if end - k * step >= window.start]
    some = built[:: -(-len(built) // REFERENCE_MOMENTS)] if len(built) >= REFERENCE_MOMENTS else sorted(grid)
    names = {name for name, _ in card.needs}
    tables = _tables(build, log, shop, declared, names, some)
    values = np.concatenate([matrix(store.model, table) for _, table in tables])
    codes = {name for name in names if declared[name].vocabulary is not None}
    some_rows = values[:: max(1, -(-len(values) // REFERENCE_ROWS))]
    apart = max(((later - one) / DAY for one, later in pairwise(some)), default=0.0)
    return store.keep_reference(np.asfortranarray(some_rows), codes, apart)


def with_inputs(declared: Mapping[str, Feature], names: Iterable[str]) -> dict[str, Feature]:
    """The features of those names, and all that they are computed from."""
    found: dict[str, Feature] = {}

    def take(name: str) -> None:
        for other in declared[name].inputs:
            take(other)
        found[name] = declared[name]

    for name in sorted(names):
        take(name)
    return found
