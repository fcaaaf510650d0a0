"""A judged card by hand, over the small model of the serving tests: every figure another one."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from features.compute.builds import Build
from features.settings import Settings
from features.words import Words
from serving import models
from training.registry import Kept, registering

METRICS = (
    "auc", "average_precision", "log_loss", "brier", "calibration_error", "observed_over_expected",
    "calibration_slope", "calibration_intercept",
)  # fmt: skip
COMPARED = ("auc_gain", "average_precision_gain", "log_loss_gain", "brier_gain")
WHOM = Words("customers with an order in the last 90 days", "近90天有订单的客户")
FEATURES = (("days_since_order", "days"), ("orders_90d", "count"), ("spend_90d", "currency"))


def figures_by_hand(seed: int, **changes: float) -> dict[str, Any]:
    """metrics, baselines and backtest of a card; a change sets a gain or a level: `recency=-0.1`."""
    random = np.random.default_rng(seed)

    def figure(middle: float) -> dict[str, float]:
        value = middle + random.uniform(-0.05, 0.05)
        return {
            "value": value,
            "low": value - random.uniform(0, 0.04),
            "high": value + random.uniform(0, 0.04),
        }

    def gain(baseline: str) -> dict[str, float]:
        value = changes.get(baseline, 0.1)
        return {
            "value": value,
            "low": value - random.uniform(0, 0.04),
            "high": value + random.uniform(0, 0.04),
        }

    def level(of: float = 1.0) -> dict[str, float]:
        return {
            "observed_over_expected": of * random.uniform(0.95, 1.05),
            "z": random.uniform(-1.9, 1.9) if of == 1.0 else 7.5,
            "calibration_slope": random.uniform(0.92, 1.08),
        }

    names = ("recency", "logistic_rfm", "untuned_lightgbm")
    metrics = {name: figure(0.8) for name in METRICS}
    ratio = changes.get("level", 1.0)
    metrics["observed_over_expected"] = {"value": ratio, "low": ratio - 0.0412, "high": ratio + 0.0523}
    baselines = {
        name: {metric: figure(0.6) for metric in METRICS} | {metric: gain(name) for metric in COMPARED}
        for name in names
    }
    origins = [
        {
            "moment": f"2017-{month:02}-03T00:00:00Z", "rows": 1000 + month, "base_rate": month / 100,
            "model": "spline", "calibration": "slope", "auc": random.uniform(0.7, 0.9),
            "log_loss": random.uniform(0.2, 0.4), **level(1.7 if month == 12 else 1.0),
            "effect_of_contacts": random.uniform(-0.5, 0.5),
            "untreated": {"rows": 700 + month, **level()}, "treated": {"rows": 300 + month, **level(1.6)},
        }
        for month in (10, 11, 12)
    ]  # fmt: skip
    backtest = {
        "metrics": {name: {"auc": figure(0.8), "log_loss": figure(0.3)} for name in ("model", *names)},
        "gains": {name: {"auc_gain": gain(name), "log_loss_gain": gain(name)} for name in names},
        "origins": origins,
        "contacts": {
            "untreated": {"rows": 2_136, "observed_over_expected": 1.013, "z": 0.4},
            "held_out": {"rows": 107, "observed_over_expected": 1.042, "z": 0.6},
            "treated": {"rows": 936, "observed_over_expected": 0.713, "z": -4.25},
        },
    }
    tenths = [
        {"expected": e, "observed": e * random.uniform(0.8, 1.2), "error": 0.01} for e in (0.1, 0.3, 0.6)
    ]
    gains = {name: np.linspace(0, 1, 51).tolist() for name in ("model", *names)}
    told = {"auc": figure(0.7), "observed_over_expected": 1.07, "z": random.uniform(-2, 2), "off": False}
    channel = {"by": "channel", "words": {"en": "Channel", "zh": "渠道"}}
    city = {"by": "city", "words": {"en": "city", "zh": "city"}}
    few = {"group": {"en": "not known", "zh": "未知"}, "rows": 17, "base_rate": 0.3}
    segments = (
        {**channel, "group": {"en": "store", "zh": "门店"}, "rows": 987, "base_rate": 0.2, **told},
        {**city, "group": {"en": "Basel", "zh": "Basel"}, "rows": 654, "base_rate": 0.1, **told, "off": True},
        {**city, **few},
    )  # fmt: skip
    gaps = {name: figure(0.1) for name in ("chosen", "found", "wrongly")}
    return {
        "metrics": metrics, "baselines": baselines, "backtest": backtest, "segments": segments,
        "curves": {"reliability": tenths, "gain": gains}, "fairness": ({**city, "groups": 2, **gaps},),
        "importance": {"days_since_order": 0.9, "orders_90d": 0.2, "spend_90d": 0.4},
        "reasons": {"first": 0.91, "first_three": 0.82, "correlation": 0.97},
    }  # fmt: skip


def model_by_hand(
    folder: Path,
    version: str = "1",
    build: str = "b" * 16,
    end: datetime = datetime(2017, 11, 5, tzinfo=UTC),
    **changes: Any,
) -> Path:
    """Save a model that scores by three features, the first most; its card is judged by hand. The folder."""
    card = models.ModelCard(
        name="churn_28d", version=version, kind="spline", currency="USD",
        target=models.TargetCard(
            name="churn_28d", horizon_days=28, population=WHOM.en, label="no_order",
            words=models.Text("No order in the next 28 days", "未来28天内不下单"), higher_is="bad",
            score=models.Text("churn risk", "流失风险"),
            members=models.Members("orders_90d", "h" * 16),
        ),
        features=tuple(
            models.FeatureCard(name=n, hash="h" * 16, unit=unit, en=f"{n} <in words>", zh=f"特征{n}")
            for n, unit in FEATURES
        ),
        trained_on=models.TrainedOn(
            build=build, log="l" * 16, start=datetime(2017, 4, 1, tzinfo=UTC),
            end=end, rows=43_210, base_rate=0.123, seed=7,
        ),
        tested_on=models.TestedOn(moment=datetime(2017, 12, 3, tzinfo=UTC), rows=2_345, base_rate=0.234),
        notes=(models.Text("A note on what was left out.", "关于未使用特征的说明。"),),
        **{**figures_by_hand(int(version)), **changes},
    )  # fmt: skip
    terms = tuple(
        models.Term(name, (0.0, 90.0), (20.0,), (15.0,), (weight,), 0.0)
        for (name, _), weight in zip(FEATURES, (1.2, -0.3, 0.6), strict=True)
    )
    examples = np.random.default_rng(0).uniform(0, 90, (20, 3)).astype(np.float32)
    models.save(folder, card, [models.Logistic(0.1, terms)], models.IdentityCalibration(), examples)
    return folder


def registered(settings: Settings, folder: Path) -> Kept:
    """Register a model's folder, with the build that its card names."""
    card = models.load(folder).card
    build = Build(
        id=card.trained_on.build, folder=settings.home / "snapshots" / card.trained_on.build,
        log=card.trained_on.log, log_starts_at=card.trained_on.start, complete_until=card.tested_on.moment,
        features=dict(card.needs), moments=(card.tested_on.moment,),
    )  # fmt: skip
    if not build.folder.exists():
        build.folder.mkdir(parents=True)
        build.write_manifest(current=False)
    with registering(settings, card.name) as door:
        return door.register(folder, [], card, f"key of {card.version}", {"seed": card.trained_on.seed})
