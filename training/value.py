"""Fit what customers are worth: BG/NBD and Gamma-Gamma, and a learned pace.

The pace is learnt within the past: as of earlier moments BG/NBD is fitted anew, and boosted trees learn, from
orders that came after, by which factor it misses a customer. Only differences between customers are learnt:
each moment's own total is divided out. How high the total will be is left to BG/NBD: as of 18 moments of
three logs its totals were 8.6 % off (root mean square). Carrying forward what the latest quarter had over or
under what was expected made that 10.3 %, half of it 7.5 %; continuing the orders by age as a power law, 20 %
and more.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import lightgbm
import numpy as np

from features.errors import NotEnoughData
from features.moments import DAY
from serving.booster import LOG_MEAN, Booster
from serving.cards import ModelCard
from serving.summaries import SIGNS, Orders, summarise
from serving.value import FORMAT, KIND, Draws, ValueFile, ValueModel
from training import bgnbd, gamma_gamma
from training.past import LEAST, Past, deviance

DISCOUNT = 0.1  # of money a year later: what a retailer's capital costs, about
LEAST_DAYS = 28  # of a horizon that the pace is learnt on: below, there are hardly any orders to learn from
ROUNDS = 150
TREES = {
    "objective": "poisson",
    "learning_rate": 0.03,
    "num_leaves": 7,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 10.0,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}


@dataclass(frozen=True)
class Fitted:
    """A value model before it has a card. booster: LightGBM's text; None where BG/NBD alone did no worse."""

    file: ValueFile
    booster: str | None

    def model(self, card: ModelCard | None, seed: int) -> ValueModel:
        """Ready to score, without a folder."""
        booster = None if self.booster is None else Booster(self.booster, LOG_MEAN)
        return ValueModel(card, self.file, Draws.of(self.file.money, seed), booster)


def fit(
    orders: Orders,
    until: datetime,
    horizon_days: int,
    margin: float,
    discount: float = DISCOUNT,
    seed: int = 1,
) -> Fitted:
    """A model from what was known at `until`. NotEnoughData if the log is too short or too small."""
    known = summarise(orders, until)
    purchases, _ = bgnbd.fit(known.histories)
    money, _ = gamma_gamma.fit(known.orders, known.mean)
    booster = _pace(orders, until, int(known.histories.age.max(initial=0)), horizon_days, seed)
    file = ValueFile(FORMAT, KIND, horizon_days, discount, margin, purchases, money, booster is not None)
    return Fitted(file, booster)


def _pace(orders: Orders, until: datetime, age: int, horizon_days: int, seed: int) -> str | None:
    """Trees that give the logarithm of the pace, or None if they did not help on later time."""
    days = min(horizon_days, age // 3)
    # First a trial: learnt and judged on shorter horizons, the later one not overlapping the earlier.
    trial = age // 5
    if trial < LEAST_DAYS:
        return None
    try:
        early = Past.of(orders, until - 2 * trial * DAY, trial, until - trial * DAY)
        late = Past.of(orders, until - trial * DAY, trial, until)
    except NotEnoughData:
        return None
    pace = Booster(_learnt([early], seed), LOG_MEAN)
    tried = late.expected * np.exp(pace.raw(late.known.signs))
    level = late.came.sum() / np.array([late.expected.sum(), tried.sum()])  # the total is not what it learns
    if deviance(late.came, tried * level[1]) >= deviance(late.came, late.expected * level[0]):
        return None
    pasts = [Past.of(orders, until - int(back * days) * DAY, days, until) for back in (1, 1.5)]
    return _learnt(pasts, seed)


def _learnt(pasts: list[Past], seed: int) -> str:
    rows = np.concatenate([past.known.signs for past in pasts])
    came = np.concatenate([past.came for past in pasts])
    offsets = []
    for past in pasts:
        expected = np.maximum(past.expected, LEAST)
        offsets.append(np.log(expected * (past.came.sum() / expected.sum())))
    data = lightgbm.Dataset(rows, came, init_score=np.concatenate(offsets), feature_name=list(SIGNS))
    booster: Any = lightgbm.train({**TREES, "seed": seed}, data, ROUNDS)
    text: str = booster.model_to_string()
    return text
