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
    "own_history": Words("how often and when last the event itself came", "该事件自身的次数与最近一次"),
    "declared": Words("logistic regression on the columns that the target names", "目标指定列的逻辑回归"),
    "untuned_lightgbm": Words("untuned LightGBM", "未调参LightGBM"),
}


def scores(
    known: Part,
    test: Part,
    names: Sequence[str],
    seed: int,
    untuned: bool = True,
    cluster: Cluster | None = None,
    declared: Sequence[str] = (),
) -> dict[str, Numbers]:
    """Probabilities [n] of each baseline for the test's rows; without one whose features are not built.

    untuned: with the untuned LightGBM, which takes longer than all the others. declared: columns that the
    target names for a baseline of its own.
    """
    from training.candidates import boosted

    found = {}
    for name, columns in (*REGRESSIONS.items(), ("declared", tuple(declared))):
        if columns and set(columns) <= set(names):
            places = [names.index(column) for column in columns]
            train, later = (part.matrix[:, places] for part in (known, test))
            found[name] = _regression(train, known.label, later)
    if untuned:
        booster = boosted(known, names, {"seed": seed}, UNTUNED_ROUNDS, cluster=cluster)
        found["untuned_lightgbm"] = np.asarray(booster.predict(test.matrix, num_threads=1), np.float64)
    return found


def of_log(data: Dataset, origin: datetime, known: Part, test: Part) -> dict[str, Numbers]:
    """Probabilities [n] for the test's rows of what needs no feature: of a target of orders BG/NBD's, of
    another its own events', by what of the log was known; empty where they have nothing to say.
    """
    found = {}
    if data.habit is not None:
        train = data.habit.told(known.customer, data.moments(data.timeline.known(origin)))
        later = data.habit.told(test.customer, data.moments([origin]))
        found["own_history"] = _regression(train, known.label, later)
    if data.buying is not None:
        chances = data.buying.chances(origin, [data.ids[number] for number in test.customer])
        found |= {} if chances is None else {"bgnbd": chances}
    return found


def _regression(train: Rows, label: Numbers, later: Rows) -> Numbers:
    """Probabilities [n] of the later rows, by logistic regression on the logarithms of their columns."""
    from sklearn.linear_model import LogisticRegression  # seconds, which those who read a card need not spend

    learnt, asked = _logs(train), _logs(later)
    mean, scale = learnt.mean(axis=0), learnt.std(axis=0)
    scale[scale == 0] = 1.0
    for logs in (learnt, asked):
        logs -= mean
        logs /= scale
    said: Numbers = LogisticRegression().fit(learnt, label).predict_proba(asked)[:, 1]
    return said


def _logs(rows: Rows) -> Numbers:
    """log(1 + x), since counts, money and days are skewed; 0 for what is not known, and for negative sums."""
    logs: Numbers = rows.astype(np.float64)  # the only copy
    np.nan_to_num(logs, copy=False)
    np.maximum(logs, 0, out=logs)
    return np.log1p(logs, out=logs)
