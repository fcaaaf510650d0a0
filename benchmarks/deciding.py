"""What one decision costs the processor: in process, model scoring and the write to the ledger included.

Twelve actions with conditions; a LightGBM model of 300 trees with 31 leaves over 40 features gives P(order);
every kind of limit is in the policy. CPU of the process a decision, the median over batches; the ledger is on
the disk, but waiting for it is no CPU.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import stated
from features import online
from features.compute.builds import Build
from features.definitions import catalogue, feature_hash
from features.moments import DAY, parse_moment
from features.settings import BUNDLED_SHOPS, Settings
from features.shop import shop_of
from serving import models, releases
from serving.api import DecisionRequest
from serving.decision_context import DecisionContext
from serving.decisions import take_decision

GOAL = 2.0  # ms
CUSTOMERS, BATCH, BATCHES = 3_000, 50, 40
MOMENT = parse_moment("2017-12-03")
ACTIONS = """
from dataclasses import replace
ACTIONS += [replace(ACTIONS[i % 3], name=f"more_{i}", channel=("mail", "sms")[i % 2]) for i in range(8)]
"""
LIMITS = """
reserve_hours = 48
person_above = 5.0

[[policy.cap]]
channel = "sms"
contacts = 1
days = 7

[[policy.cooldown]]
channel = "mail"
days = 2

[policy.send]
quiet = ["21:00", "09:00"]

[[policy.budget]]
amount = 1e6
per = "month"
"""


def figures() -> Iterator[dict[str, Any]]:
    """Milliseconds of CPU a decision."""
    with tempfile.TemporaryDirectory() as folder:
        settings = home_of(Path(folder))
        context = DecisionContext.open(settings)
        with closing(context.ledger):
            assert len(context.actions) == 12
            spent = [_batch(context, first) for first in range(0, BATCH * BATCHES, BATCH)]
    name = "CPU of a decision with 12 actions, model scoring included"
    value = statistics.median(spent)
    yield stated(f"{name}, median of {BATCHES} batches of {BATCH}", value, "ms", None, value, GOAL, most=True)
    yield stated(f"{name}, the least of them", min(spent), "ms", None, min(spent), None)


def _batch(context: DecisionContext, first: int) -> float:
    started = time.process_time()
    for number in range(first, first + BATCH):
        take_decision(
            context, DecisionRequest(f"c{number:05}"), client="benchmark", idempotency_key=f"{number}"
        )
    return (time.process_time() - started) / BATCH * 1e3


def home_of(folder: Path, versions: int = 1) -> Settings:
    """A shop, a published build of made-up rows over real features, so many versions of a model released."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    shop = folder / "shop"
    shutil.copytree(BUNDLED_SHOPS / "complete_journey", shop)
    with (shop / "shop.py").open("a", encoding="utf-8") as file:
        file.write(ACTIONS)
    with (shop / "shop.toml").open("a", encoding="utf-8") as file:
        file.write(LIMITS)
    settings = Settings(home=folder / "home", shop=shop, as_of=MOMENT)
    of_log, known = shop_of(settings).of_log, catalogue(shop_of(settings).declared("FEATURES"))
    needed = ["days_since_order", "orders_365d", "order_value_365d", "contacts_30d", "days_since_contact"]
    names = [*needed, *[name for name in known if name not in needed][:115]]
    random = np.random.default_rng(0)
    rows = random.exponential(20, (CUSTOMERS, len(names))).astype(np.float32)
    rows[:, 0], rows[:, 3] = 20, 0
    hashes = {name: feature_hash(known[name], known, of_log) for name in names}
    id = Build.id_of("deciding", hashes)
    build = Build(
        id, settings.home / "snapshots" / id, "deciding", MOMENT - 365 * DAY, MOMENT, hashes, (MOMENT,)
    )
    build.folder.mkdir(parents=True)
    at = pa.array([MOMENT] * CUSTOMERS, pa.timestamp("us", "UTC"))
    columns = {"customer_id": pa.array([f"c{n:05}" for n in range(CUSTOMERS)]), "moment": at, "known_at": at}
    columns |= {name: pa.array(rows[:, place]) for place, name in enumerate(names)}
    pq.write_table(pa.table(columns), build.path(MOMENT))
    build.write_manifest()
    online.publish(settings, build, MOMENT)
    for version in range(versions, 0, -1):  # the first is in force
        _release(settings, folder / f"model-{version}", names[:40], hashes, rows[:, :40], str(version))
    return settings


def _release(
    settings: Settings,
    folder: Path,
    names: list[str],
    hashes: dict[str, str],
    rows: np.ndarray[Any, Any],
    version: str,
) -> None:
    import lightgbm

    random = np.random.default_rng(int(version))
    label = (rows[:, 0] - rows[:, 1] + random.normal(0, 20, len(rows)) > 0).astype(float)
    data = lightgbm.Dataset(rows, label, feature_name=names)
    parameters = {"objective": "binary", "num_leaves": 31, "num_threads": 1, "verbosity": -1, "seed": 0}
    booster = lightgbm.train(parameters, data, 300).model_to_string()
    known = catalogue(shop_of(settings).declared("FEATURES"))
    features = tuple(
        models.FeatureCard(
            name=name,
            hash=hashes[name],
            unit=known[name].unit,
            en=known[name].words.en,
            zh=known[name].words.zh,
        )
        for name in names
    )
    words = models.Text("No order in the next 28 days", "未来28天内不下单")
    card = models.ModelCard(
        name="churn_28d", version=version, kind="lightgbm", currency="USD",
        target=models.TargetCard(
            name="churn_28d", horizon_days=28, population="all", label="no_order", words=words,
            higher_is="bad", score=words,
        ),
        features=features,
        trained_on=models.TrainedOn(
            build="b" * 16, log="l" * 16, start=MOMENT - 300 * DAY, end=MOMENT - 28 * DAY, rows=len(rows),
            base_rate=0.5, seed=0,
        ),
        tested_on=models.TestedOn(moment=MOMENT, rows=len(rows), base_rate=0.5),
        metrics={}, baselines={},
    )  # fmt: skip
    quantiles = np.nanquantile(rows, np.linspace(0.01, 0.99, 11), axis=0)
    examples = models.synthetic_examples(quantiles, np.full(len(names), 0.1), 0)
    models.save(folder, card, [models.Trees(booster)], models.LogisticCalibration(a=1.1, b=-0.05), examples)
    releases.publish(settings, folder, "churn_28d", version)
