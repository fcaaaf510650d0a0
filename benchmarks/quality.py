"""How good models are, on later time, against what a sceptic would do, with paired intervals.

Every figure is a mean over the origins of a backtest. A gain is stated by its value, and holds if the lower
end of its interval lies above 0. Where a level is off, the product says so itself: the flags are shown.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import quality_cdnow
from benchmarks.measure import stated
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
from training.backtest import Step
from training.candidates import Parameters
from training.targets import LABELS, catalogue

SEED = 1
SETS = {
    "complete_journey": ("churn_28d", "repurchase_7d"),
    "online_retail": ("churn_28d", "churn_90d"),
}
# What the features of some tables give beyond all others: the same backtest without them.
WITHOUT = {
    "complete_journey churn_28d": {
        "categories and goods": ("order_lines",),
        "coupons and campaigns": ("contacts", "responses"),
        "the calendar": ("calendar",),
        "all but orders": ("order_lines", "contacts", "responses", "calendar"),
    }
}
AS_OF = {"complete_journey": parse_moment("2017-12-31")}


def figures() -> Iterator[dict[str, Any]]:
    """Gains over an untuned LightGBM and over a logistic regression on recency, frequency and money."""
    for name, targets in SETS.items():
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings(home=Path(folder), shop=BUNDLED_SHOPS / name)
            ingest(settings, folder=_data(name))
            log = Log.open(settings)
            end = AS_OF.get(name, log.complete_until)
            build(settings, grid(log.starts_at + 28 * DAY, end))
            for target in targets:
                yield from _gains(settings, log, name, target)
    yield from quality_cdnow.figures()


def _gains(settings: Settings, log: Log, name: str, target_name: str) -> Iterator[dict[str, Any]]:
    shop, made = shop_of(settings), Build.open(settings)
    target = catalogue(shop.declared("TARGETS"))[target_name]
    when = samples.timeline(target, made, AS_OF.get(name, log.complete_until))
    names, _ = samples.columns(made, feature_catalogue(shop.declared("FEATURES")), when)
    data = samples.read(settings, log, made, target, when, names)
    parameters = Parameters(monotone=LABELS[target.label].monotone)
    walked = backtest.walk(data, SEED, parameters, untuned=True)
    told = describe.backtest_of(walked)
    what = f"{name} {target_name}, {len(when.origins)} origins to {when.test:%Y-%m-%d}"
    features = feature_catalogue(shop.declared("FEATURES"))
    for group, tables in WITHOUT.get(f"{name} {target_name}", {}).items():
        kept = [place for place, of in enumerate(names) if not tables_of(features[of], features) & {*tables}]
        less = backtest.walk(data.of(kept), SEED, parameters)
        yield from _given(f"{what}: {group}", len(names) - len(kept), walked, less)
    own = told["metrics"]["model"]
    for metric in ("auc", "log_loss"):
        one = own[metric]
        shown = f"{what}: {metric.replace('_', '-')} [{one['low']:.4f} {one['high']:.4f}]"
        yield stated(shown, one["value"], "", None, one["value"], None)
    for other, gains in told["gains"].items():
        for metric, gain in gains.items():
            shown = f"{what}: {metric.replace('_', ' ')} [{gain['low']:+.4f} {gain['high']:+.4f}]"
            figure = stated(shown, gain["value"], "", f"over {other.replace('_', ' ')}", gain["value"], None)
            judged = other in ("untuned_lightgbm", "logistic_rfm")
            yield figure | ({"goal": 0, "holds": gain["low"] > 0} if judged else {})
    off = [one["moment"][:10] for one in told["origins"] if pooled.off(one)]
    ratios = " ".join(f"{one['observed_over_expected']:.2f}" for one in told["origins"])
    shown = f"{what}: origins whose level is flagged as off ({', '.join(off) or 'none'}; O/E {ratios})"
    yield stated(shown, len(off), "", None, len(off), None)


def _given(
    what: str, features: int, walked: Sequence[Step], less: Sequence[Step]
) -> Iterator[dict[str, Any]]:
    """How much more a model has with some features than without them."""
    _, gains = pooled.figures(
        [step.part.label for step in walked],
        [step.part.customer for step in walked],
        {"model": [s.scores["model"] for s in walked], "without": [s.scores["model"] for s in less]},
    )
    for metric, gain in gains["without"].items():
        shown = f"{what}, {metric.replace('_', ' ')} [{gain['low']:+.4f} {gain['high']:+.4f}]"
        yield stated(shown, gain["value"], "", f"without their {features} features", gain["value"], None)


def _data(name: str) -> Path:
    root = os.environ.get("PROPENSITY_DATA", Path(__file__).parents[2] / "shared" / "data")
    return Path(root) / name
