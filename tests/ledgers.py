"""A ledger of decisions drawn by lot, with what came of them: a small trial as a shop's log holds it."""

from contextlib import closing
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from features.moments import DAY
from features.settings import Settings
from serving.ledger import Entry, Ledger
from serving.ledger_reports import Outcome
from serving.sealing import Sealed
from training.uplift_trial import Trial

CHANNELS = {"nothing": None, "mail": "mail", "coupon": "sms"}
COSTS = {"nothing": 0.0, "mail": 0.1, "coupon": 0.3}
MARGIN_RATE = 0.25  # of the bundled shop


def write_ledger(
    settings: Settings, trial: Trial, at: datetime, margin: str = "profit", told: str = "all",
    holdout: int = 0, hashes: dict[str, str] | None = None, customers: int | None = None,
    told_at: datetime | None = None,
) -> None:  # fmt: skip
    """One decision a row of the trial, decided at `at`; orders worth its outcome if it is above 0.

    told: "all", or "contacts" for outcomes of those alone. holdout: so many more, held out. customers: how
    many share the decisions. told_at: when outcomes are told, by default at once.
    """
    features = msgspec.json.encode(hashes or dict.fromkeys(trial.names, "0" * 16))
    chances = np.zeros(len(trial.arms))
    for k in range(len(trial.arms)):
        own = (trial.arm == k) & (trial.given < 1)
        chances[k] = trial.given[own].mean() if own.any() else 0.0
    y = trial.outcomes[margin]
    with closing(Ledger(settings)) as ledger:
        with ledger.deciding():
            for row in range(len(trial) + holdout):
                held = row >= len(trial)
                arm = "nothing" if held else trial.arms[trial.arm[row]]
                who = f"c{row if customers is None else row % customers:06}"
                sure = held or trial.given[row] >= 1  # nothing was left to chance
                of = np.eye(len(trial.arms))[trial.arms.index(arm)] if sure else chances
                ledger.append(_entry(row, who, arm, of, trial, features, at, held), b"{}")
        outcomes = []
        for row in range(len(trial)):
            if y[row] > 0 and (told == "all" or trial.arm[row] > 0):
                value = float(y[row] / MARGIN_RATE)
                outcomes.append(
                    Outcome(
                        source="t", id=f"o{row}", decision_id=f"d{row:06}", type="order", value=value, at=at
                    )
                )
        for row in range(0, len(trial), 100):  # one in a hundred opts out, whatever was done
            told_of = {"source": "t", "decision_id": f"d{row:06}", "value": 1.0, "at": at}
            outcomes.append(Outcome(id=f"x{row}", type="opt_out", **told_of))  # type: ignore[arg-type]
        ledger.report(outcomes, told_at or at)


def _entry(
    row: int, who: str, arm: str, chances: Any, trial: Trial, features: bytes, at: datetime, held: bool
) -> Entry:
    actions = [{"action": a, "propensity": float(p)} for a, p in zip(trial.arms, chances, strict=True)]
    values = trial.matrix[row % len(trial)].astype("<f4").tobytes()
    return Entry(
        id=f"d{row:06}", client="t", idempotency_key=None, as_of=at, action=arm, channel=CHANNELS[arm],
        propensity=float(chances[trial.arms.index(arm)]), explored=not held, holdout=held,
        reserves=arm != "nothing", policy="2017-01-01", context=b'{"horizon_days":28}', features=features,
        build="b", releases=(), seed=row,
        sealed=Sealed(who, values, b"{}", msgspec.json.encode({"actions": actions})),
        scenario=("birthday", "silence")[row % 2], cost=COSTS[arm], window_end=at + 28 * DAY,
        matures_at=at + 35 * DAY,
    )  # fmt: skip
