"""A shop to be watched: a log, and a release over many of its features, made without a training."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np

from features.compute import engine
from features.definitions import Feature, catalogue, feature_hash
from features.ingestion.ingest import ingest
from features.log import Log
from features.settings import Settings
from features.shop import shop_of
from features.sources.simulated.world import World
from features.sources.simulated.writing import simulate
from serving import models, releases
from serving.cards import FeatureCard, Members, ModelCard, TargetCard, TestedOn, Text, TrainedOn

NAME = "churn_28d"
# What the release weighs, beside the others that it only reads.
WEIGHTS = {"overdue": 0.8, "orders_30d": -0.3, "days_since_order": 0.2, "spend_90d": -0.1, "visits_30d": -0.2}


def simulated(folder: Path, seed: int, customers: int, days: int) -> Settings:
    """A simulated shop's log."""
    simulate(World(customers=customers, days=days, seed=seed), folder / "shop", workers=1)
    settings = Settings(home=folder / "home", shop=folder / "shop")
    ingest(settings)
    return settings


def features_of(settings: Settings, several: int) -> dict[str, Feature]:
    """So many features of all tables, evenly, and those that are weighed; the calendar's left out."""
    declared = engine.available(Log.open(settings), catalogue(shop_of(settings).declared("FEATURES")))
    names = [name for name, feature in declared.items() if feature.table != "calendar"]
    some = [*names[:: max(1, len(names) // several)], *WEIGHTS, "orders_90d"]
    return {name: declared[name] for name in dict.fromkeys(some) if name in declared}


def released(
    settings: Settings, folder: Path, features: Mapping[str, Feature], since: datetime, until: datetime
) -> models.Model:
    """A logistic model that reads the features, released; as if trained on those days of the log."""
    log, shop = Log.open(settings), shop_of(settings)
    declared = engine.available(log, catalogue(shop.declared("FEATURES")))
    hashes = {n: feature_hash(declared[n], declared, shop.of_log) for n in {*features, "orders_90d"}}
    weights = {name: weight for name, weight in WEIGHTS.items() if name in features}
    card = ModelCard(
        name=NAME,
        version="1",
        kind="logistic",
        currency=shop.currency,
        target=TargetCard(
            name=NAME,
            horizon_days=28,
            population="customers with an order in the last 90 days",
            label="no_order",
            words=Text("No order in the next 28 days", "未来28天内不下单"),
            higher_is="bad",
            members=Members("orders_90d", hashes["orders_90d"]),
        ),
        features=tuple(
            FeatureCard(name, hashes[name], one.unit, one.words.en, one.words.zh)
            for name, one in features.items()
        ),
        trained_on=TrainedOn("0" * 16, log.fingerprint, since, until, 1000, 0.2, 0),
        tested_on=TestedOn(until, 1000, 0.2),
        metrics={},
        baselines={},
        importance=dict.fromkeys(features, 1.0) | {name: 20 * abs(w) for name, w in weights.items()},
    )
    logistic = models.Logistic(
        intercept=-0.5,
        terms=tuple(
            models.Term(
                feature=name, knots=(0.0, 20.0), mean=(1.0,), scale=(1.0,), coef=(weight,), missing=0.0
            )
            for name, weight in weights.items()
        ),
    )
    examples = models.synthetic_examples(np.zeros((11, len(features))), np.full(len(features), 0.1), 0)
    models.save(folder / "model", card, [logistic], models.IdentityCalibration(), examples)
    releases.publish(settings, folder / "model", NAME, "1")
    model = releases.load(settings, NAME).model
    assert isinstance(model, models.Model)
    return model
