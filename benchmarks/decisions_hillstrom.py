"""Hillstrom's trial of two mails, real: fitted on a half, judged on the other, many times."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.measure import stated
from training.qini import qini
from training.uplift import fit
from training.uplift_learners import Numbers, Outcomes
from training.uplift_table import trial_of
from training.uplift_trial import Trial

ARMS = ("No E-Mail", "Mens E-Mail", "Womens E-Mail")
SEED = 1
LEAST, WORST = -0.02, -0.05


@cache
def whole() -> Trial:
    """All of it. Not found where the public data are not: see PROPENSITY_DATA."""
    root = os.environ.get("PROPENSITY_DATA", Path(__file__).parents[2] / "shared" / "data")
    table = pq.read_table(Path(root) / "hillstrom" / "hillstrom.parquet")
    outcomes = ("visit", "conversion", "spend")
    return trial_of(table, "segment", outcomes, control=ARMS[0], shares=dict.fromkeys(ARMS, 1 / 3))


def tried(seed: int) -> dict[str, Any]:
    """A half-split: the conversion policy's value on the other half, and who ranks visits better."""
    trial = whole()
    half = np.random.default_rng(seed).permutation(len(trial)) < len(trial) // 2
    known, later = trial.part(half), trial.part(~half)
    found = fit(known, "conversion", seed=SEED)
    arm, came = found.policy(later.matrix), later.outcomes["conversion"]
    constant = np.full(len(later), found.best)
    row: dict[str, Any] = {
        "personal": found.personal,
        "deviates": float((arm != constant).mean()),
        "policy": _worth(later, came, arm),
        "constant": _worth(later, came, constant),
        "best_constant": max(_worth(later, came, np.full(len(later), k)) for k in range(len(ARMS))),
    }
    for place, mail in ((1, "mens"), (2, "womens")):
        own, other = _against_none(known, place), _against_none(later, place)
        visits, one = other.outcomes["visit"], fit(own, "visit", seed=SEED)
        everyone = np.ones(len(own), np.bool_)
        nobody = np.zeros(len(own), np.int64)  # of several arms: it does not know of the mail
        response = Outcomes(own.matrix, nobody, 1).fit(everyone, own.outcomes["visit"], SEED)
        for name, score in (
            ("uplift", one.estimated(other.matrix)),
            ("response", response.means(other.matrix)),
        ):
            row[f"{mail}_{name}"] = qini(visits, score[:, -1], other.arm == 1)
        row[f"{mail}_personal"] = one.personal
    return row


def _worth(trial: Trial, outcome: Numbers, arm: np.ndarray) -> float:
    """Mean outcome under a policy, by inverse propensities."""
    return float((outcome * (trial.arm == arm) / trial.given).mean())


def _against_none(trial: Trial, arm: int) -> Trial:
    """One mail against none, each with a chance of one half."""
    rows = (trial.arm == arm) | (trial.arm == 0)
    return replace(
        trial, arms=(ARMS[0], ARMS[arm]), arm=(trial.arm[rows] > 0).astype(np.int64),
        matrix=trial.matrix[rows], given=np.full(rows.sum(), 0.5), customer=trial.customer[rows],
        outcomes={name: y[rows] for name, y in trial.outcomes.items()},
    )  # fmt: skip


def figures(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Of all half-splits. The paired mean's interval is over splits, which share customers: a rough one."""
    what = f"decisions, real (Hillstrom), {len(rows)} half-splits"
    relative = np.array([row["policy"] / row["constant"] - 1 for row in rows])
    low = (
        float(relative.mean() - 1.96 * relative.std(ddof=1) / np.sqrt(len(rows))) if len(rows) > 1 else np.nan
    )
    mean, worst = float(relative.mean()), float(relative.min())
    against = "the best constant arm of the fitted half"
    yield stated(f"{what}: conversion, policy over {against}", mean, "", None, mean, None)
    yield stated(f"{what}: the same, lower bound", low, "", None, low, LEAST)
    yield stated(f"{what}: the same, worst split", worst, "", None, worst, WORST)
    hindsight = float(np.mean([row["policy"] / row["best_constant"] - 1 for row in rows]))
    yield stated(
        f"{what}: conversion, policy over the best arm in hindsight", hindsight, "", None, hindsight, None
    )
    moved = float(np.mean([row["deviates"] for row in rows]))
    yield stated(
        f"{what}: conversion, customers who get another arm than the best", moved, "", None, moved, None
    )
    claims = float(np.mean([row["personal"] for row in rows]))
    yield stated(f"{what}: conversion, personal uplift claimed", claims, "", None, claims, None)
    for mail in ("womens", "mens"):
        uplift, response = (
            np.array([row[f"{mail}_{name}"] for row in rows]) for name in ("uplift", "response")
        )
        ratio = float(uplift.mean() / response.mean())
        peer = f"a response model's {response.mean():.4f}"
        wins = float((uplift > response).mean())
        shown = f"{what}: visits, {mail} mail, Qini (better in {wins:.0%} of splits)"
        yield stated(shown, float(uplift.mean()), "", peer, ratio, 1.0 if mail == "womens" else None)
        proven = float(np.mean([row[f"{mail}_personal"] for row in rows]))
        shown = f"{what}: visits, {mail} mail, splits where personal uplift is proven"
        yield stated(shown, proven, "", None, proven, 0.05 if mail == "mens" else None, most=True)
