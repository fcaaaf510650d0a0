"""How good models are, on later time, against what a sceptic would do, with paired intervals.

Every figure is a mean over the origins of a backtest. A gain is stated by its value, and holds if the lower
end of its interval lies above 0. Where a level is off, the product says so itself: the flags are shown.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import quality_cdnow
from benchmarks.measure import gained, stated
from features.compute.builds import Build
from features.compute.engine import build
from features.definitions import catalogue as feature_catalogue
from features.definitions import tables_of
from features.ingestion.ingest import ingest
from features.log import Log
from features.moments import DAY, grid, parse_moment
from features.settings import BUNDLED_SHOPS, Settings
from features.shop import shop_of
from training import backtest, describe, pooled, samples
from training.candidates import Parameters
from training.samples import Dataset
from training.targets import LABELS, catalogue

SEED = 1
SETS = {
    "complete_journey": ("churn_28d", "repurchase_7d"),
    "online_retail": ("churn_28d", "churn_90d"),
}
# What the features of some tables give beyond all others: the same backtest without them.
WITHOUT = {
    "categories and goods": ("order_lines",),
    "coupons and campaigns": ("contacts", "responses"),
    "the calendar": ("calendar",),
    "all but orders": ("order_lines", "contacts", "responses", "calendar"),
}
AS_OF = {"complete_journey": parse_moment("2017-12-31")}


def figures() -> Iterator[dict[str, Any]]:
    """Gains over an untuned LightGBM and a logistic regression on recency, frequency and money; what more
    tables give; and the value models."""
    for name, targets in SETS.items():
        with tempfile.TemporaryDirectory() as folder:
            settings = _home(Path(folder), name, BUNDLED_SHOPS / name)
            for target in targets:
                yield from _gains(settings, name, target)
    yield from _given()
    yield from quality_cdnow.figures()


def _home(home: Path, name: str, shop: Path) -> Settings:
    settings = Settings(home=home, shop=shop)
    ingest(settings, name, _data(name))
    if shop_of(settings).calendar:
        ingest(settings, "calendar")
    log = Log.open(settings)
    build(settings, grid(log.starts_at + 28 * DAY, AS_OF.get(name, log.complete_until)))
    return settings


def _read(settings: Settings, name: str, target_name: str) -> tuple[Dataset, Parameters]:
    shop, log, made = shop_of(settings), Log.open(settings), Build.open(settings)
    target = catalogue(shop.declared("TARGETS"))[target_name]
    when = samples.timeline(target, made, AS_OF.get(name, log.complete_until))
    names, _ = samples.columns(made, feature_catalogue(shop.declared("FEATURES")), when)
    data = samples.read(settings, log, made, target, when, names)
    return data, Parameters(monotone=LABELS[target.label].monotone)


def _gains(settings: Settings, name: str, target: str) -> Iterator[dict[str, Any]]:
    data, parameters = _read(settings, name, target)
    when = data.timeline
    told = describe.backtest_of(backtest.walk(data, SEED, parameters, untuned=True))
    what = f"{name} {target}, {len(when.origins)} origins to {when.test:%Y-%m-%d}"
    own = told["metrics"]["model"]
    for metric in ("auc", "log_loss"):
        one = own[metric]
        shown = f"{what}: {metric.replace('_', '-')} [{one['low']:.4f} {one['high']:.4f}]"
        yield stated(shown, one["value"], "", None, one["value"], None)
    for other, gains in told["gains"].items():
        goal = 0 if other in ("untuned_lightgbm", "logistic_rfm") else None
        for metric, gain in gains.items():
            yield gained(f"{what}: {metric.replace('_', ' ')}", gain, other.replace("_", " "), goal)
    off = [one["moment"][:10] for one in told["origins"] if pooled.off(one)]
    ratios = " ".join(f"{one['observed_over_expected']:.2f}" for one in told["origins"])
    shown = f"{what}: origins whose level is flagged as off ({', '.join(off) or 'none'}; O/E {ratios})"
    yield stated(shown, len(off), "", None, len(off), None)


def _given() -> Iterator[dict[str, Any]]:
    """How much more churn_28d of Complete Journey has with the features of some tables: the ceiling."""
    name, target = "complete_journey", "churn_28d"
    with tempfile.TemporaryDirectory() as folder:
        data, parameters = _read(_home(Path(folder), name, BUNDLED_SHOPS / name), name, target)
    features = feature_catalogue()
    walked = backtest.walk(data, SEED, parameters)
    for group, tables in WITHOUT.items():
        kept = [
            place
            for place, of in enumerate(data.features)
            if not tables_of(features[of], features) & {*tables}
        ]
        less = backtest.walk(data.of(kept), SEED, parameters)
        _, gains = pooled.figures(
            [step.part.label for step in walked],
            [step.part.customer for step in walked],
            {"model": [s.scores["model"] for s in walked], "less": [s.scores["model"] for s in less]},
        )
        for metric, gain in gains["less"].items():
            what = f"{name} {target}, with {group}: {metric.replace('_', ' ')}"
            yield gained(what, gain, f"the same without their {len(data.features) - len(kept)} features")


def _data(name: str) -> Path:
    root = os.environ.get("PROPENSITY_DATA", Path(__file__).parents[2] / "shared" / "data")
    return Path(root) / name
