"""What a sceptic would do instead, fitted on every label known at the origin."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from features.words import Words
from serving.booster import Rows

if TYPE_CHECKING:
    from training.distributed import Cluster
    from training.samples import Dataset, Part

Numbers = NDArray[np.float64]

UNTUNED_ROUNDS = 100  # LightGBM's own default, as are all its parameters there
REGRESSIONS = {
    "recency": ("days_since_order",),
    "logistic_rfm": ("days_since_order", "orders_90d", "spend_90d"),
}
WORDS = {
    "recency": Words("recency alone", "仅看最近一次下单"),
    "logistic_rfm": Words("logistic regression on recency, frequency, money", "RFM逻辑回归"),
    "bgnbd": Words("BG/NBD", "BG/NBD模型"),
    "untuned_lightgbm": Words("untuned LightGBM", "未调参LightGBM"),
}


def scores(
    known: Part,
    test: Part,
    names: Sequence[str],
    seed: int,
    untuned: bool = True,
    cluster: Cluster | None = None,
) -> dict[str, Numbers]:
    """Probabilities [n] of each baseline for the test's rows; without one whose features are not built.

    untuned: with the untuned LightGBM, which takes longer than all the others.
    """
    from sklearn.linear_model import LogisticRegression  # seconds, which those who read a card need not spend

    from training.candidates import boosted

    found = {}
    for name, columns in REGRESSIONS.items():
        if not set(columns) <= set(names):
            continue
        places = [names.index(column) for column in columns]
        train, later = (_logs(part.matrix[:, places]) for part in (known, test))
        mean, scale = train.mean(axis=0), train.std(axis=0)
        scale[scale == 0] = 1.0
        for logs in (train, later):
            logs -= mean
            logs /= scale
        model = LogisticRegression().fit(train, known.label)
        found[name] = model.predict_proba(later)[:, 1]
    if untuned:
        booster = boosted(known, names, {"seed": seed}, UNTUNED_ROUNDS, cluster=cluster)
        found["untuned_lightgbm"] = np.asarray(booster.predict(test.matrix, num_threads=1), np.float64)
    return found


def of_orders(data: Dataset, origin: datetime, test: Part) -> dict[str, Numbers]:
    """BG/NBD's probabilities [n] for the test's rows, by the orders known at the origin; empty where it has
    nothing to say.
    """
    if data.buying is None:
        return {}
    chances = data.buying.chances(origin, [data.ids[number] for number in test.customer])
    return {} if chances is None else {"bgnbd": chances}


def _logs(rows: Rows) -> Numbers:
    """log(1 + x), since counts, money and days are skewed; 0 for what is not known, and for negative sums."""
    logs: Numbers = rows.astype(np.float64)  # the only copy
    np.nan_to_num(logs, copy=False)
    np.maximum(logs, 0, out=logs)
    return np.log1p(logs, out=logs)
