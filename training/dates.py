"""By which day half of such customers have ordered: how sure the model must be of an order by the day told.

BG/NBD spreads the wait for the next order as if a silence said nothing of how customers come back: of those
silent for more than three of their own gaps a third had ordered by the day that it was half sure of. So the
chance that is asked for is learnt by bands of silence over the own gap, from moments after a fit of its own,
on the whole days that are told; and the value card judges it later, by the same bands.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from features.errors import NotEnoughData
from features.moments import DAY
from features.words import Words
from serving.purchases import Histories, Index
from serving.summaries import Orders
from serving.value import Dates, ValueModel
from training.past import Past

EDGES = (1.0, 2.0, 3.0)  # of the silence over the customer's own mean gap
LEVELS = np.arange(5, 96) / 100  # that are tried
LEAST_DAYS = 28  # that a date is learnt on
STEPS = 4  # moments in as many days as follow each
SHRUNK = 50  # customers of the whole that each band is mixed with: a band of few says little by itself
FREQUENT = (1, 2, 5, 10, 30)  # orders after the first, at least, of the next band of frequency


def learnt(model: ValueModel, orders: Orders, fitted: datetime, days: int, until: datetime) -> Dates:
    """Levels by band from what came in the `days` after several moments since the model was fitted, by
    `until`. One half where too little came."""
    plain = Dates(EDGES, (0.5,) * (len(EDGES) + 2))
    step, pasts = days // STEPS, list[Past]()
    if days < LEAST_DAYS:
        return plain
    for n in range(STEPS + 1):
        try:
            pasts.append(Past.of(orders, fitted + n * step * DAY, days, until))
        except NotEnoughData:
            continue
    missed, counted = (np.zeros((len(LEVELS), len(plain.levels))) for _ in range(2))
    for past in pasts:
        band, pace = plain.band(past.known.histories), model.pace(past.known)
        for row, level in enumerate(LEVELS):
            told = model.days(past.known.histories, pace, np.full(len(band), level), whole=True)
            rows = told <= past.days
            counted[row] += np.bincount(band[rows], minlength=len(plain.levels))
            missed[row] += np.bincount(band[rows], (past.wait <= told)[rows] - 0.5, len(plain.levels))
    if not pasts or counted.sum(axis=1).min() == 0:
        return plain
    whole = missed.sum(axis=1) / counted.sum(axis=1)
    off = np.abs(missed + SHRUNK * whole[:, None]) / (counted + SHRUNK)
    return Dates(EDGES, tuple(float(LEVELS[row]) for row in np.argmin(off.round(9), axis=0)))


def groups(of: Histories) -> Sequence[tuple[str, Words, Sequence[Words], Index]]:
    """(name, words, a name for each group, the group of each customer [n]): by silence, and by frequency."""
    band = Dates(EDGES, (0.5,) * (len(EDGES) + 2)).band(of)
    edges = [f"{edge:g}" for edge in EDGES]
    by_silence = [
        Words("ordered once, no gap yet", "仅下单一次，尚无间隔"),
        Words(f"up to {edges[0]} gap", f"不超过{edges[0]}个间隔"),
        *(
            Words(f"over {a} to {b} gaps", f"大于{a}至{b}个间隔")
            for a, b in zip(edges, edges[1:], strict=False)
        ),
        Words(f"over {edges[-1]} gaps", f"大于{edges[-1]}个间隔"),
    ]
    days = [1 + least for least in FREQUENT]
    by_frequency = [
        Words("1", "1"),
        *(
            Words(f"{a}" if b == a + 1 else f"{a} to {b - 1}", f"{a}" if b == a + 1 else f"{a}至{b - 1}")
            for a, b in zip(days, days[1:], strict=False)
        ),
        Words(f"{days[-1]} or more", f"{days[-1]}及以上"),
    ]
    return (
        ("silence", Words("Silence over the own mean gap", "沉默时长与自身平均间隔之比"), by_silence, band),
        (
            "order_days", Words("Days with an order so far", "至今下单天数"), by_frequency,
            np.searchsorted(FREQUENT, of.repeats, side="right"),
        ),
    )  # fmt: skip
