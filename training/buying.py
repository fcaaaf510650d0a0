"""BG/NBD as a sceptic would use it: each buyer's chance of an order, from the orders known at a moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from features.errors import TrainingError
from features.log import Log
from serving.booster import Numbers
from serving.summaries import Orders, summarise
from training import bgnbd
from training.targets import Target

FITTED_ON = 20_000  # customers at most: four parameters are known well enough from these


@dataclass(frozen=True)
class Buying:
    """What a target asks of buyers' orders. one: whether the label's 1 is an order, or is none."""

    orders: Orders
    horizon_days: int
    one: bool

    @classmethod
    def of(cls, log: Log, target: Target) -> "Buying | None":
        """None for a target whose event is another than an order."""
        if target.label not in ("order", "no_order"):
            return None
        orders = Orders.of(log, ZoneInfo(str(log.shop["zone"])))
        return cls(orders, target.horizon_days, target.label == "order")

    def chances(self, moment: datetime, ids: Sequence[str]) -> Numbers | None:
        """Of the label's 1 for those customers, [n], fitted anew on what was known at the moment.

        None where BG/NBD has nothing to say: some of them never ordered, or too few ordered again to fit it.
        """
        known = summarise(self.orders, moment)
        place = dict(zip(np.asarray(self.orders.ids)[known.customer], range(len(known)), strict=True))
        rows = [place.get(id, -1) for id in ids]
        if -1 in rows:
            return None
        step = -(-len(known) // FITTED_ON)
        try:
            model, _ = bgnbd.fit(known.histories.part(slice(None, None, step)))
        except TrainingError:
            return None
        ahead = np.full(len(rows), float(self.horizon_days))
        order = model.any(known.histories.part(np.array(rows)), ahead)
        return order if self.one else 1 - order
