"""A home with weekly snapshots, a model trained on most of them, and a last one where things may be wrong."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
from builds_by_hand import write_build
from logs import OF_LOG
from numpy.typing import NDArray

from features import online
from features.compute.builds import Build
from features.definitions import catalogue, feature_hash
from features.moments import DAY, parse_moment
from features.settings import Settings
from serving import models, releases

NAMES = ("orders_30d", "spend_90d", "overdue", "discount_share_30d", "orders_90d", "tenure")
LAST = parse_moment("2017-12-31")
MOMENTS = tuple(LAST - 7 * week * DAY for week in range(36, -1, -1))
JUDGED = MOMENTS[-5]
TRAINED = (MOMENTS[0], MOMENTS[-9])
Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def rows(week: int, customers: int = 1500) -> NDArray[np.float32]:
    """What a steady shop looks like in one week: a season of a fifth, growing tenure, some nulls."""
    random = np.random.default_rng(week)
    season = 1 + 0.2 * np.sin(week / 6)
    orders = random.poisson(4 * season, customers)
    matrix = np.column_stack(
        [
            orders,
            random.gamma(2, 120 * season, customers),
            random.exponential(1, customers),
            random.beta(2, 8, customers),
            orders + random.poisson(8, customers),
            random.uniform(0, 100 + 7 * week, customers),
        ]
    ).astype(np.float32)
    matrix[random.random(customers) < 0.1, 3] = np.nan
    return matrix


def world(
    settings: Settings,
    change: Change = lambda matrix: matrix,
    customers_now: int = 1500,
    features: Sequence[str] = NAMES,
) -> Build:
    """Write the snapshots, the last one changed by `change`; release a model; publish the last snapshot."""
    declared = catalogue()
    hashes = {name: feature_hash(declared[name], declared, OF_LOG) for name in features}
    columns = [NAMES.index(name) for name in features]
    snapshots: Mapping[datetime, tuple[list[str], NDArray[np.float32]]] = {}
    for week, moment in enumerate(MOMENTS):
        matrix = rows(week)
        if moment == LAST:
            matrix = change(rows(week, customers_now))
        snapshots = {**snapshots, moment: ([f"c{n:05}" for n in range(len(matrix))], matrix[:, columns])}
    build = write_build(settings, features, snapshots, hashes=hashes)
    online.publish(settings, build, LAST)
    return build


def release(settings: Settings, folder: Path, build: Build, name: str = "churn_28d") -> models.ModelCard:
    """Release a logistic model of overdue and orders over the build's features."""
    declared = catalogue()
    names = list(build.features)
    card = models.ModelCard(
        name=name,
        version="1",
        kind="logistic",
        currency="USD",
        target=models.TargetCard(
            name=name,
            horizon_days=28,
            population="customers with an order in the last 90 days",
            label="no_order",
            words=models.Text("No order in the next 28 days", "未来28天内不下单"),
            higher_is="bad",
            members=models.Members("orders_90d", build.features["orders_90d"]),
        ),
        features=tuple(
            models.FeatureCard(
                n, build.features[n], declared[n].unit, declared[n].words.en, declared[n].words.zh
            )
            for n in names
        ),
        trained_on=models.TrainedOn(build.id, build.log, TRAINED[0], TRAINED[1], 1000, 0.2, 0),
        tested_on=models.TestedOn(JUDGED, 1500, 0.2),
        metrics={},
        baselines={},
    )
    logistic = models.Logistic(
        intercept=-1.0,
        terms=tuple(
            models.Term(feature=n, knots=(0.0, 20.0), mean=(1.0,), scale=(1.0,), coef=(c,), missing=0.0)
            for n, c in (("overdue", 0.8), ("orders_30d", -0.3))
        ),
    )
    examples = models.synthetic_examples(np.zeros((11, len(names))), np.full(len(names), 0.1), 0)
    models.save(folder / f"model-{name}", card, [logistic], models.IdentityCalibration(), examples)
    releases.publish(settings, folder / f"model-{name}", name, "1")
    return card


def settings_of(home: Settings) -> Settings:
    return replace(home, as_of=LAST)
