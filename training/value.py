"""Fit what customers are worth: BG/NBD and Gamma-Gamma, corrected by what came after earlier moments.

As of moments within the past BG/NBD is fitted anew, and two corrections are learnt from the orders that
came after. Which share of those held for lost come back: BG/NBD is too sure of loss, above all of weekly
shoppers. And, by boosted trees, by which factor a customer lives faster than expected. Both learn how
customers differ: each moment's own total is divided out. By which chance the next order's date is told is
learnt by `dates`, from a fit as of an earlier moment and what came after it.

How high the total will be is left to BG/NBD. What the latest quarter had over or under what was expected is
not carried forward, nor are orders continued by age as a power law: neither makes totals surer.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import lightgbm
import msgspec
import numpy as np

from features.errors import NotEnoughData
from features.moments import DAY
from features.shop import DISCOUNT
from serving.booster import LOG_MEAN, Booster
from serving.cards import ModelCard
from serving.summaries import SIGNS, Orders, summarise
from serving.value import FORMAT, KIND, Draws, ValueFile, ValueModel
from training import bgnbd, dates, gamma_gamma
from training.past import LEAST, Past, deviance, returns

LEAST_DAYS = 28  # of a horizon that the pace is learnt on: below, there are hardly any orders to learn from
ROUNDS = 150
TREES = {
    "objective": "poisson",
    "learning_rate": 0.03,
    "num_leaves": 7,
    "min_data_in_leaf": 50,
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
    fitted, age = _undated(orders, until, horizon_days, margin, discount, seed)
    days = min(horizon_days, age // 4)
    early = until - 2 * days * DAY
    model = fitted if days < dates.LEAST_DAYS else _earlier(orders, early, horizon_days, seed) or fitted
    told = dates.learnt(model.model(None, seed), orders, early, 0 if model is fitted else days, until)
    return Fitted(msgspec.structs.replace(fitted.file, dates=told), fitted.booster)


def _earlier(orders: Orders, until: datetime, horizon_days: int, seed: int) -> Fitted | None:
    """A fit as of an earlier moment, whose dates can be held against what came since; None: too little was
    known."""
    try:
        return _undated(orders, until, horizon_days, 1.0, 0.0, seed)[0]
    except NotEnoughData:
        return None


def _undated(
    orders: Orders, until: datetime, horizon_days: int, margin: float, discount: float, seed: int
) -> tuple[Fitted, int]:
    """(a model whose dates are told by one half, the days that its oldest customer is known for)."""
    known = summarise(orders, until)
    age = int(known.histories.age.max(initial=0))
    purchases, _ = bgnbd.fit(known.histories)
    money, _ = gamma_gamma.fit(known.orders, known.mean)
    share, booster = _corrections(orders, until, age, horizon_days, seed)
    purchases = msgspec.structs.replace(purchases, returns=share)
    file = ValueFile(FORMAT, KIND, horizon_days, discount, margin, purchases, money, booster is not None)
    return Fitted(file, booster), age


def _corrections(
    orders: Orders, until: datetime, age: int, horizon_days: int, seed: int
) -> tuple[float, str | None]:
    """BG/NBD's `returns`, and trees that give the logarithm of the pace; none of what did not help later."""
    days, trial = min(horizon_days, age // 3), age // 5
    if trial < LEAST_DAYS:
        return 0.0, None
    try:
        early = Past.of(orders, until - 2 * trial * DAY, trial, until - trial * DAY)
        late = Past.of(orders, until - trial * DAY, trial, until)
    except NotEnoughData:
        return 0.0, None
    pasts = [Past.of(orders, until - int(back * days) * DAY, days, until) for back in (1, 1.5)]
    share = returns(pasts)
    # A trial: learnt and judged on shorter horizons, of which the later does not overlap the earlier.
    tried = returns([early])
    early, late = early.returning(tried), late.returning(tried)
    plain = late.expected
    paced = plain * np.exp(Booster(_learnt([early], seed), LOG_MEAN).raw(late.known.signs))
    came = late.came.sum()
    if deviance(late.came, paced * came / paced.sum()) >= deviance(late.came, plain * came / plain.sum()):
        return share, None
    return share, _learnt([past.returning(share) for past in pasts], seed)


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
