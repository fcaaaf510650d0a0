"""Learn, judge and register a segmentation: `propensity train segmentation`."""

import json
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np

from features.compute.builds import Build
from features.errors import NotEnoughData
from features.log import Log
from features.moments import DAY, iso, to_us
from features.settings import Settings
from features.shop import shop_of
from serving import segmentation as served
from serving import segmentation_scores, value
from serving.cards import ModelCard
from serving.segment_tables import TABLES
from serving.segmentation import Segmentation, SegmentationFile
from serving.summaries import Integers, Orders, summarise
from training import page, registry, transitions
from training.evaluate import Figure
from training.fit import Progress, Trained
from training.segmentation import Spans, learn
from training.segmentation_card import card_of
from training.targets import text
from training.transitions import STEP, Moves

NAME = served.KIND
RECIPE = 3  # raise when the same settings would give another model
LATER = 3 * STEP  # that a segmentation is judged on: so long, or a quarter of a shorter log
STEPS = 3


def train(settings: Settings, as_of: datetime, seed: int = 1, progress: Progress = None) -> Trained:
    """A segmentation learnt as of a moment, judged on what came after it; it becomes the challenger.

    The same data, recipe and seed are the same version. NotEnoughData if the log is too short or too small.
    """
    shop, build = shop_of(settings), Build.open(settings)
    log = Log.at(settings.home / "log" / build.log)
    known_by = min(as_of, log.complete_until)
    moment = _cut_off(build, known_by)
    along = transitions.steps(build.moments, moment, known_by)
    valued = _value_model(settings)
    recipe = {
        "recipe": RECIPE, "log": log.fingerprint, "build": build.id, "seed": seed, "cut_off": iso(moment),
        "known_by": iso(known_by), "snapshots": [iso(m) for m in along], "currency": shop.currency,
        "value_version": valued[0] if valued else None, "numpy": np.__version__,
        "rules": msgspec.json.encode(TABLES, order="deterministic").decode(),
    }  # fmt: skip
    key = sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    with registry.registering(settings, NAME) as door:
        if (found := door.find(key)) is not None:
            card = served.load(found.folder).card
            return Trained(
                found.run_id, found.version, card, found.folder, transitions.verdict(card.metrics), True
            )
        _say(progress, f"learning as of {moment:%Y-%m-%d}", 0)
        orders = Orders.of(log, shop.zone)
        file = _learned(build, orders, moment, valued)
        card = card_of(shop, log, build, file, moment, door.next_version(), seed)
        _say(progress, f"judging on {len(along)} snapshots", 1)
        card = _judged(Segmentation(card, file), build, orders, along, known_by, seed)
        with TemporaryDirectory(prefix="propensity-") as scratch:
            folder = Path(scratch) / "model"
            served.save(folder, card, file, seed)
            _say(progress, f"registering version {card.version}", 2)
            kept = door.register(
                folder,
                [page.write(Path(scratch) / "card.html", folder)],
                card,
                key,
                {k: v for k, v in recipe.items() if k != "rules"},
            )
    _say(progress, f"version {card.version} registered", STEPS)
    return Trained(kept.run_id, kept.version, card, kept.folder, transitions.verdict(card.metrics))


def plan(settings: Settings, as_of: datetime) -> str:
    """When it would be learnt and judged, in words."""
    build = Build.open(settings)
    known_by = min(as_of, build.complete_until)
    moment = _cut_off(build, known_by)
    along = transitions.steps(build.moments, moment, known_by)
    return (
        f"would train {NAME}: learnt as of {moment:%Y-%m-%d}, judged by who moves and orders after it, on "
        f"{len(along)} snapshots to {along[-1]:%Y-%m-%d}"
    )


def _cut_off(build: Build, known_by: datetime) -> datetime:
    later = max(STEP, min(LATER, (known_by - build.log_starts_at) / 4))
    built = [m for m in build.moments if m <= known_by - later and m >= build.log_starts_at + 2 * STEP]
    if not built:
        raise NotEnoughData(
            f"no snapshot lies {(2 * STEP).days} days or more after the log's start, "
            f"{iso(build.log_starts_at)}, and {later.days} or more before {iso(known_by)}: "
            "ingest a longer log, or build earlier snapshots"
        )
    return built[-1]


def _value_model(settings: Settings) -> tuple[str, value.ValueModel] | None:
    """(version, model) of value: the champion's, else the challenger's; None if none was trained."""
    aliases = registry.aliases(settings, "value")
    version = aliases.get(registry.CHAMPION) or aliases.get(registry.CHALLENGER)
    return None if version is None else (version, value.load(registry.folder_of(settings, "value", version)))


def _learned(
    build: Build, orders: Orders, moment: datetime, valued: tuple[str, value.ValueModel] | None
) -> SegmentationFile:
    """What is learnt of the snapshot of that moment and the orders known by then."""
    tables = {name: table.within(build.features) for name, table in TABLES.items()}
    names = served.features_of(tables)
    if absent := set(names) - set(build.features):
        raise NotEnoughData(f"a segmentation needs orders: the build lacks {', '.join(sorted(absent))}")
    snapshot = build.read(moment, ["customer_id", *names])
    potential = version = None
    if valued is not None:
        version, known = valued[0], summarise(orders, moment)
        by_customer = np.full(len(orders.ids) + 1, np.nan)
        by_customer[known.customer] = valued[1].score(known).value
        potential = by_customer[_places(orders, snapshot["customer_id"].to_pylist())]
    days = (moment - build.log_starts_at) // DAY
    values = {name: snapshot[name].to_numpy() for name in names}
    return learn(values, Spans.of(orders, moment), moment, days, tables, potential, version)


def _judged(
    model: Segmentation, build: Build, orders: Orders, along: Sequence[datetime], by: datetime, seed: int
) -> ModelCard:
    """The card with what came after the cut-off, and as a baseline what came before it."""
    table = model.file.tables["stage"]
    names = [label.name for label in table.labels]
    at: list[dict[str, int]] = []
    for moment in along:
        ids, segments = segmentation_scores.at(model, build, moment)
        stage = segmentation_scores.labels(table, segments.stage)
        at.append(dict(zip(ids.to_pylist(), stage.tolist(), strict=True)))

    def figures(place: int) -> dict[str, Figure]:
        here = list(at[place])
        came = orders.ahead(to_us(along[place]), STEP.days, to_us(by))[0]
        ordered = np.append(came > 0, False)[_places(orders, here)].astype(float)
        shares = transitions.ordering(names, np.array([at[place][id] for id in here]), ordered)
        before, after = _of_all(at[place : place + 2])
        return {**shares, **Moves.of(names, before, after).figures()}

    cut_off = along.index(model.card.trained_on.end)
    metrics = figures(cut_off) if len(along) > cut_off + 1 else {}
    apart = [transitions.moved(names, _of_all(at[i : i + 3]), seed) for i in range(len(at) - 2)]
    metrics |= transitions.most(apart)
    baselines = {"before": figures(0)} if cut_off else {}
    notes = (text(transitions.verdict(metrics)), *model.card.notes)
    return msgspec.structs.replace(model.card, metrics=metrics, baselines=baselines, notes=notes)


def _of_all(at: Sequence[dict[str, int]]) -> list[Integers]:
    """The stages of whoever is in every snapshot, [n] each."""
    both = [id for id in at[0] if all(id in one for one in at[1:])]
    return [np.array([one[id] for id in both], np.int64) for one in at]


def _places(orders: Orders, ids: Sequence[str]) -> Integers:
    """Of customers among the orders' own; -1, the last, for whoever has no order at all."""
    place = {id: i for i, id in enumerate(orders.ids.to_pylist())}
    return np.array([place.get(id, -1) for id in ids], np.int64)


def _say(progress: Progress, what: str, done: int) -> None:
    if progress:
        progress(f"{NAME}: {what}", done, STEPS)
