"""A model that trains in a second, over made-up rows of real features, for tests of what serves models."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from logs import OF_LOG

from features.definitions import catalogue, feature_hash
from serving import models, value
from serving.purchases import BgNbd, GammaGamma

# The first column decides most, the rest a little, so that tests know what to expect of an explanation.
TINY_FEATURES = (
    "days_since_order", "orders_30d", "orders_90d", "spend_90d",
    "order_value_90d", "discount_share_90d", "tenure", "overdue",
)  # fmt: skip
TINY_MOMENT = datetime(2017, 12, 3, tzinfo=UTC)


def tiny_rows(n: int, seed: int = 0) -> np.ndarray:
    """Made-up rows over TINY_FEATURES, float32 [n, 8]; a tenth of order_value_90d and overdue is null."""
    random = np.random.default_rng(seed)
    scale = np.array([20, 4, 12, 300, 25, 0.2, 200, 1.5])
    rows = random.exponential(scale, (n, len(scale)))
    rows[:, 1:3] = np.floor(rows[:, 1:3])
    rows[:, (4, 7)] = np.where(random.random((n, 2)) < 0.1, np.nan, rows[:, (4, 7)])
    return rows.astype(np.float32)


@cache
def tiny_booster(seed: int = 0, trees: int = 30) -> str:
    """LightGBM's text of a small model of "will not order"."""
    import lightgbm

    rows = tiny_rows(1_000, seed)
    lost = rows[:, 0] / 20 - rows[:, 2] / 12 + np.random.default_rng(seed).normal(size=len(rows)) > 0
    data = lightgbm.Dataset(rows, lost.astype(float), feature_name=list(TINY_FEATURES))
    parameters = {
        "objective": "binary", "num_leaves": 8, "seed": seed, "deterministic": True, "force_row_wise": True,
        "num_threads": 1, "verbosity": -1,
    }  # fmt: skip
    return lightgbm.train(parameters, data, trees).model_to_string()


def tiny_card(name: str = "churn_28d", version: str = "1", **changes: Any) -> models.ModelCard:
    """A card over TINY_FEATURES with the hashes of the built-in catalogue."""
    known = catalogue()
    card = models.ModelCard(
        name=name,
        version=version,
        kind="lightgbm",
        currency="USD",
        target=models.TargetCard(
            name=name,
            horizon_days=28,
            population="customers with an order in the last 90 days",
            label="no_order",
            words=models.Text("No order in the next 28 days", "未来28天内不下单"),
            higher_is="bad",
            score=models.Text("churn risk", "流失风险"),
        ),
        features=tuple(
            models.FeatureCard(
                name=n, hash=feature_hash(known[n], known, OF_LOG), unit=known[n].unit,
                en=known[n].words.en, zh=known[n].words.zh,
            )
            for n in TINY_FEATURES
        ),
        trained_on=models.TrainedOn(
            build="b" * 16, log="l" * 16, start=datetime(2017, 4, 1, tzinfo=UTC),
            end=datetime(2017, 11, 5, tzinfo=UTC), rows=1_000, base_rate=0.5, seed=0,
        ),
        tested_on=models.TestedOn(moment=TINY_MOMENT, rows=200, base_rate=0.5),
        metrics={"auc": {"value": 0.8, "low": 0.75, "high": 0.85}},
        baselines={"recency": {"auc": {"value": 0.7, "low": 0.65, "high": 0.75}}},
    )  # fmt: skip
    return msgspec.structs.replace(card, **changes)


def tiny_model(
    folder: Path, name: str = "churn_28d", version: str = "1", seed: int = 0, **changes: Any
) -> Path:
    """Save a small model into `folder`; another seed is another model. Returns the folder."""
    examples = models.synthetic_examples(
        np.nanquantile(tiny_rows(1_000), np.linspace(0.01, 0.99, 11), axis=0), np.full(8, 0.1), seed
    )
    models.save(
        folder,
        tiny_card(name, version, **changes),
        [models.Trees(tiny_booster(seed))],
        models.LogisticCalibration(a=1.1, b=-0.05),
        examples,
    )
    return folder


def tiny_value(folder: Path, version: str = "1") -> Path:
    """Save a value model of made-up parameters into `folder`; returns it."""
    file = value.ValueFile(
        value.FORMAT, value.KIND, 365, 0.1, 0.3, BgNbd(0.8, 20.0, 0.8, 4.0), GammaGamma(6.0, 4.0, 15.0), False
    )
    card = tiny_card("value", version, kind="value", features=())
    card = msgspec.structs.replace(card, target=msgspec.structs.replace(card.target, horizon_days=365))
    value.save(folder, card, file, None, seed=1)
    return folder
