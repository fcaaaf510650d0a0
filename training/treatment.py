"""Interventions bend the labels: a customer who stayed because of a coupon teaches that risky customers stay.

Risk is meant without the shop's doing. A contact within the horizon counts as treatment; its effect on the
log-odds is estimated beside the features and taken out, so that the model speaks of customers who are left
alone. With contacts that were not drawn by lot that is an adjustment, no proof of an effect.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.errors import SettingsError
from features.log import Log
from features.shop import Shop
from serving.lots import Lots

BY_CHANCE = 0.001  # that nobody of a holdout is contacted, were its customers contacted like the others
LEAST = 500  # rows of each kind, treated and not: with fewer, nothing is adjusted


def treated(log: Log, spine: pa.Table, horizon: timedelta, known_by: datetime) -> NDArray[np.bool_]:
    """Whether each row's customer (customer_id, moment) was contacted in (moment, moment + horizon]: [n]."""
    if "contacts" not in log.tables:
        return np.zeros(len(spine), np.bool_)
    contacts = log.read("contacts", ["customer_id", "at", "known_at"])
    contacts = contacts.filter(pc.less_equal(contacts["known_at"], pa.scalar(known_by)))
    ids = pc.unique(contacts["customer_id"])
    who = _ints(pc.index_in(contacts["customer_id"], ids))
    at = _ints(contacts["at"])
    times = np.unique(at)
    wide = len(times) + 1
    keys = np.sort(who * wide + np.searchsorted(times, at))
    row = _ints(pc.fill_null(pc.index_in(spine["customer_id"], ids), -1))
    moment = _ints(spine["moment"])
    # A customer's first contact after the moment, and after the horizon's end.
    first, last = (
        np.searchsorted(keys, row * wide + np.searchsorted(times, edge, side="right"))
        for edge in (moment, moment + int(horizon / timedelta(microseconds=1)))
    )
    found: NDArray[np.bool_] = (row >= 0) & (last > first)
    return found


def adjustable(flags: NDArray[np.bool_]) -> bool:
    """Whether there are enough rows of both kinds to tell them apart."""
    return min(int(flags.sum()), int((~flags).sum())) >= LEAST


def held_out(
    shop: Shop, ids: Sequence[str], moment: datetime, treated: NDArray[np.bool_], lots: Lots | None = None
) -> NDArray[np.bool_]:
    """Whom the policy in force at a moment holds out, if they were left alone: bool [n], else all False.

    A policy is a promise of its shop; a log that contacts some of its holdout, or hardly anybody else,
    holds no holdout of that moment. lots: of whoever asks for many moments.
    """
    try:
        policy = shop.policy(moment)
    except SettingsError:  # none was in force yet
        return np.zeros(len(ids), np.bool_)
    held = (lots or Lots()).in_holdout(ids, policy.salt, policy.holdout)
    others = treated[~held]
    by_chance = (1 - others.mean()) ** int(held.sum()) if len(others) else 1.0
    real = not treated[held].any() and by_chance < BY_CHANCE
    return held if real else np.zeros(len(ids), np.bool_)


def _ints(column: pa.ChunkedArray) -> NDArray[np.int64]:
    ints: NDArray[np.int64] = column.cast(pa.int64()).to_numpy()
    return ints
