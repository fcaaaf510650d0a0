"""What no shop knows: the true rates, and the probabilities that follow from them at any moment.

    truth = Truth.load(folder)
    truth.purchase_probability(28, moment)     # of each customer, if nobody contacts her
    truth.churn_probability(28, moment)        # of being lost for good by then
    truth.effect_on_purchase("sms_coupon", moment)

All arrays have an entry a customer, in the order of `truth.ids` (her own id; a second account's is not there).
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.errors import UsageError
from features.sources.simulated.campaigns import ACTIONS, WINDOW
from features.sources.simulated.draws import Floats, Ints
from features.sources.simulated.purchases import SLOWED
from features.sources.simulated.world import World


@dataclass(frozen=True)
class Truth:
    """The truth tables of one simulated shop. Times are days since its start; infinite: never."""

    world: World
    customers: pa.Table
    ids: list[str]
    rate: Floats
    hazard: Floats
    acquired: Floats
    lost: Floats
    effects: dict[str, Floats]  # column of effects.parquet -> customers x ACTIONS
    grieved: tuple[Ints, Floats, Floats]  # customer, from, until

    @classmethod
    def load(cls, folder: Path) -> "Truth":
        """Of the folder that `propensity simulate` wrote."""
        world = World.load(folder / "world.json")

        def read(name: str) -> Any:
            return pq.read_table(folder / "truth" / f"{name}.parquet")

        def days(column: Any) -> Floats:
            us = column.cast(pa.int64()).fill_null(np.iinfo(np.int64).max).to_numpy()
            return np.where(us == np.iinfo(np.int64).max, np.inf, (us - world.origin_us) / 86_400e6)

        customers, effects, grieved = read("customers"), read("effects"), read("grievances")
        measures = [name for name in effects.column_names if name not in ("customer_id", "action")]
        return cls(
            world=world,
            customers=customers,
            ids=customers["customer_id"].to_pylist(),
            rate=customers["rate"].to_numpy(),
            hazard=customers["hazard"].to_numpy(),
            acquired=days(customers["acquired_at"]),
            lost=days(customers["churned_at"]),
            effects={name: effects[name].to_numpy().reshape(-1, len(ACTIONS)) for name in measures},
            grieved=(
                pc.index_in(
                    pc.utf8_slice_codeunits(grieved["customer_id"], 1),
                    pc.utf8_slice_codeunits(customers["customer_id"], 1),
                ).to_numpy(),
                days(grieved["at"]),
                days(grieved["until"]),
            ),
        )

    def alive(self, moment: datetime) -> "np.ndarray[Any, np.dtype[np.bool_]]":
        """Acquired by the moment and not yet lost."""
        t = self.world.day(moment)
        return (self.acquired <= t) & (self.lost > t)

    def churn_probability(self, horizon_days: float, moment: datetime) -> Floats:
        """Of being lost for good by moment + horizon, as of the truth at the moment: 1 - exp(-hazard x time).

        1 for those lost already; NaN for those not there yet.
        """
        t = self._within(horizon_days, moment)
        passed = self.world.hazard(np.array(t + horizon_days)) - self.world.hazard(np.array(t))
        return self._of(t, 1 - np.exp(-self.hazard * passed), 1.0)

    def purchase_probability(self, horizon_days: float, moment: datetime) -> Floats:
        """Of at least one order in (moment, moment + horizon], if no contact meddles with it.

        Orders compete with being lost: over a step in which rate a and hazard b are constant, the first to come
        is an order with probability a / (a + b) x (1 - exp(-(a + b))); steps are hours. Who had a bad
        experience is slower as long as that lasts. 0 for those lost already; NaN for those not there yet.
        """
        t = self._within(horizon_days, moment)
        hours = np.arange(np.floor(t * 24) + 1, np.ceil((t + horizon_days) * 24)) / 24
        edges = np.concatenate([[t], hours, [t + horizon_days]])
        season, hazard = np.diff(self.world.season(edges)), np.diff(self.world.hazard(edges))
        who = np.flatnonzero((self.acquired <= t) & (self.lost > t))
        until = self._slow_until(t)[who]
        rate, dies = self.rate[who], self.hazard[who]
        neither, buys = np.ones(len(who)), np.zeros(len(who))
        for low, high, busy, danger in zip(edges[:-1], edges[1:], season, hazard, strict=True):
            slow = (1 - SLOWED) * np.clip((until - low) / (high - low), 0, 1)
            a, b = rate * busy * (1 - slow), dies * danger
            passes = np.exp(-(a + b))
            buys += neither * a / np.maximum(a + b, 1e-300) * (1 - passes)
            neither *= passes
        result = np.zeros(len(self.ids))
        result[who] = buys
        return self._of(t, result, 0.0)

    def effect_on_purchase(self, action: str, moment: datetime) -> Floats:
        """By how much the action at the moment moves the probability of an order in the WINDOW days after.

        One more order with probability `orders` helps where there would be none; `put_off` stops those there are.
        """
        place = ACTIONS.index(action)
        p = self.purchase_probability(WINDOW, moment)
        factor = self.world.factor("response", np.array(self.world.day(moment)))
        moves = (1 - p) * self.effects["orders"][:, place] * factor - p * self.effects["put_off"][:, place]
        return np.where(self.alive(moment), moves, np.where(np.isnan(p), np.nan, 0.0))

    def _within(self, horizon_days: float, moment: datetime) -> float:
        t = self.world.day(moment)
        if not 0 <= t <= t + horizon_days <= self.world.days:
            raise UsageError(
                f"{moment} and {horizon_days} days after it do not lie within the simulated days: "
                f"{self.world.moment(0)} to {self.world.end}"
            )
        return t

    def _slow_until(self, t: float) -> Floats:
        """When the slowness that holds at t ends; 0 if none does."""
        customer, start, end = self.grieved
        until = np.zeros(len(self.ids))
        np.maximum.at(until, customer[start <= t], end[start <= t])
        return until

    def _of(self, t: float, alive: Floats, lost: float) -> Floats:
        return np.where(self.acquired > t, np.nan, np.where(self.lost > t, alive, lost))
