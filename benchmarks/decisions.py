"""Are personal policies worth it, and does the product know when not? Against the best constant arm.

Simulated worlds with known effects (PROPENSITY_WORLDS of each kind, by default 20), then Hillstrom's real
trial in half-splits (PROPENSITY_SPLITS, 50). With PROPENSITY_BENCH_CACHE, a folder, a run goes on where an
earlier one of the same recipe stopped.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom

from benchmarks import decisions_hillstrom
from benchmarks.decisions_worlds import KINDS, ROWS, Kind, world
from benchmarks.measure import kept, stated
from training.uplift import RECIPE, fit
from training.uplift_estimates import Estimate

WORLDS, SPLITS, SEED = 20, 50, 1


def figures() -> Iterator[dict[str, Any]]:
    """Recovery, shortfall, coverage and false claims where the truth is known; then the real trial."""
    worlds = int(os.environ.get("PROPENSITY_WORLDS", WORLDS))
    splits = int(os.environ.get("PROPENSITY_SPLITS", SPLITS))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(os.environ.get("PROPENSITY_BENCH_CACHE", folder)) / f"decisions-{RECIPE}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        wanted = [(kind, seed) for seed in range(worlds) for kind in KINDS]
        yield from _of_worlds(kept(path, wanted, _tried))
        halves = [("hillstrom", seed) for seed in range(splits)]
        rows = kept(path, halves, lambda _, seed: decisions_hillstrom.tried(seed))
        yield from decisions_hillstrom.figures(list(rows.values()))


def _tried(kind: Kind, seed: int) -> dict[str, Any]:
    """What the product makes of a world, beside the truth."""
    made = world(kind, seed)
    found = fit(made.trial, "profit", made.costs, SEED)
    everyone = np.arange(len(made.trial))
    constant = made.nothing + float(made.net.mean(axis=0).max())
    costs = [made.costs.get(arm, 0.0) for arm in made.trial.arms]
    effects = made.net.mean(axis=0) + costs
    gained = float((made.net[everyone, found.chosen] - made.net[everyone, found.constant]).mean())
    return {
        "constant": constant,
        "oracle": made.nothing + float(made.net.max(axis=1).mean()),
        "policy": made.worth(found.policy(made.trial.matrix)),
        "personal": found.personal,
        "better": found.better,
        "effects_covered": all(map(_covers, found.effects, effects)),
        "gain": [found.gain.value, found.gain.low, found.gain.high, gained],
        "gain_covered": _covers(found.gain, gained),
    }


def _covers(one: Estimate, truth: float) -> bool:
    return bool(one.low - 1e-9 <= truth <= one.high + 1e-9)


def _of_worlds(rows: dict[tuple[str, int], dict[str, Any]]) -> Iterator[dict[str, Any]]:
    of = {kind: [row for (k, _), row in rows.items() if k == kind] for kind in KINDS}
    each = len(of["none"])
    what = f"decisions, simulated, {each} worlds of {ROWS:,} decisions"
    most = sum(row["oracle"] - row["constant"] for row in of["varies"])
    got = sum(row["policy"] - row["constant"] for row in of["varies"])
    yield stated(
        f"{what}: share of (best policy - best constant arm) recovered, effects vary", got / most, "",
        None, got / most, 0.6,
    )  # fmt: skip
    proven = sum(row["personal"] for row in of["varies"]) / each
    yield stated(f"{what}: personal uplift proven, effects vary", proven, "", None, proven, None)
    for kind in KINDS:
        worst = min(row["policy"] / row["constant"] - 1 for row in of[kind])
        yield stated(
            f"{what}: worst policy against the true best constant arm, effects: {kind}", worst, "",
            None, worst, -0.01,
        )  # fmt: skip
    everything = [row for kind in KINDS for row in of[kind]]
    for name, shown in (("effects_covered", "all effects of a world"), ("gain_covered", "the gain")):
        share = sum(row[name] for row in everything) / len(everything)
        least = float(binom.ppf(0.01, len(everything), 0.95)) / len(everything)  # of 95 % if they are right
        yield stated(f"{what}: 95 % intervals that hold {shown}", share, "", None, share, least)
    for names, shown in (
        (("personal",), "personal uplift"),
        (("personal", "better"), "any uplift"),
    ):
        quiet = sum(not any(row[name] for name in names) for row in of["none"]) / each
        yield stated(f"{what}: no claim of {shown}, no effects", quiet, "", None, quiet, 0.95)
