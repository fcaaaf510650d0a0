"""What customers are worth: orders, money and the next order's date, as a model of plain files.

    model.json       BG/NBD, Gamma-Gamma, horizon, discount, margin, how the next order's date is told
    booster.txt      LightGBM's own text: the learned pace, if it earned its place
    draws.npz        random numbers, drawn once, that every customer's distribution is simulated with
    card.json        what the model is, what it was fitted and judged on
    examples.npz     made-up customers with the figures that they had when saved
    SHA256SUMS       of all the others

The rules are those of `models`: no pickle, no clock, the same model is the same bytes, and a folder that
was changed, or that scores its examples differently in a single bit, does not load.

BG/NBD knows three figures of a customer. What else tells (the shape of the gaps, the money, how recent the
repeats are) enters as a pace: the customer lives `pace` times as fast as BG/NBD expects. So mean, chance,
date and distribution remain those of one model, at any horizon, whatever horizon the pace was learnt on.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from features.errors import ReleaseCorrupt
from serving import folders
from serving.booster import LOG_MEAN, Booster, Numbers
from serving.cards import ModelCard
from serving.formulas import exp, log
from serving.purchases import BgNbd, GammaGamma, Histories, Index
from serving.summaries import SIGNS, Summaries

KIND = "value"
FORMAT = 1
LEVELS = (0.1, 0.5, 0.9)  # of a customer's distribution: p10, p50, p90
YEAR = 365
_QUARTERS = 4  # of the horizon: money is discounted from the middle of the quarter that it is expected in
_CHUNK = 4_096  # customers simulated at a time: with 500 draws 16 MB an array
_BRANCHES = 64  # sums of up to so many gamma variates are drawn; larger ones are nearly normal
_SLOWEST, _FASTEST = 0.1, 10.0  # of a pace: beyond is no finding but an accident


class Dates(msgspec.Struct, frozen=True):
    """By which chance of an order the next order's date is told, so that half have ordered by it.

    edges: of a silence over the customer's own mean gap, ascending. levels: the chance for who ordered once,
    then for each band that the edges part.
    """

    edges: tuple[float, ...]
    levels: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.levels) != len(self.edges) + 2 or not all(0 < level < 1 for level in self.levels):
            raise ReleaseCorrupt(
                f"dates have the edges {self.edges} and the levels {self.levels}: expected two levels more "
                "than edges, each in (0, 1)"
            )

    def band(self, of: Histories) -> Index:
        """Which of the levels is each customer's, [n]."""
        gap = of.last / np.maximum(of.repeats, 1)
        silence = (of.age - of.last) / np.where(gap > 0, gap, 1.0)
        return np.where(of.repeats > 0, 1 + np.searchsorted(self.edges, silence, side="left"), 0)

    def of(self, histories: Histories) -> Numbers:
        """The level of each customer, [n]."""
        return np.asarray(self.levels)[self.band(histories)]


class ValueFile(msgspec.Struct, frozen=True):
    """model.json. discount: of money a year later. margin: profit as a share of money. dates: None of a
    release of before they were: one half for everybody, and days that are not whole."""

    format: int
    kind: str
    horizon_days: int
    discount: float
    margin: float
    purchases: BgNbd
    money: GammaGamma
    booster: bool
    dates: Dates | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.horizon_days <= 3_650 or not 0 <= self.discount < 1 or not 0 < self.margin <= 1:
            raise ReleaseCorrupt(
                "a value model needs 1 to 3,650 days, a discount in [0, 1), a margin in (0, 1]"
            )


class Draws(NamedTuple):
    """Random numbers, the same for every customer, so that a customer's figures depend on nobody else."""

    chance: Numbers  # [D] ascending, uniform: how many orders
    order: Numbers  # [D, _BRANCHES] gamma(p): what each of the coming orders brings
    own: Numbers  # [D, _BRANCHES] gamma(p), and
    prior: Numbers  # [D] gamma(q): what the customer's scale is, given the orders seen
    normal: Numbers  # [2, D]: the same for sums of more than _BRANCHES

    @classmethod
    def of(cls, money: GammaGamma, seed: int, draws: int = 500) -> "Draws":
        """Drawn anew."""
        random = np.random.default_rng(seed)
        return cls(
            (np.arange(draws) + random.random(draws)) / draws,
            random.gamma(money.p, size=(draws, _BRANCHES)),
            random.gamma(money.p, size=(draws, _BRANCHES)),
            random.gamma(money.q, size=draws),
            random.normal(size=(2, draws)),
        )


class Values(NamedTuple):
    """Figures over the horizon, float64 [n] each. Money is the shop's currency; NaN: not known."""

    orders: Numbers  # expected order days: two orders of one day are one
    chance: Numbers  # of an order
    profit_per_order: Numbers  # expected
    value: Numbers  # expected discounted profit
    value_p10: Numbers
    value_p50: Numbers
    value_p90: Numbers
    next_order_days: Numbers  # until half of such customers have ordered; NaN: not within a year
    alive: Numbers  # chance of not being lost: to be read, never to be ranked by (BgNbd.alive says why)


@dataclass(frozen=True)
class ValueModel:
    """A value model; never changes, safe to use from several threads. own: its card, None until judged."""

    own: ModelCard | None
    file: ValueFile
    draws: Draws
    booster: Booster | None

    @property
    def card(self) -> ModelCard:
        """What it says of itself, once it was judged."""
        assert self.own is not None
        return self.own

    def pace(self, of: Summaries) -> Numbers:
        """How much faster than by BG/NBD a customer lives, [n]."""
        if self.booster is None:
            return np.ones(len(of))
        return np.clip(exp(self.booster.raw(of.signs)), _SLOWEST, _FASTEST)

    def orders(self, of: Summaries, days: int) -> Numbers:
        """Order days to expect within `days`, [n]."""
        return self.file.purchases.expected(of.histories, days * self.pace(of))

    def chance(self, of: Summaries, days: int) -> Numbers:
        """Chance of an order within `days`, [n]."""
        return self.file.purchases.any(of.histories, days * self.pace(of))

    def next_order(self, of: Summaries) -> Numbers:
        """Days until half of such customers have ordered, [n], whole ones, as told and as judged; NaN if not
        within a year."""
        if (dates := self.file.dates) is None:
            return self.days(of.histories, self.pace(of), np.full(len(of), 0.5), whole=False)
        return self.days(of.histories, self.pace(of), dates.of(of.histories), whole=True)

    def days(self, of: Histories, pace: Numbers, share: Numbers, whole: bool) -> Numbers:
        """Days until an order has come with a chance [n], [n]; NaN if not within a year. whole: to the
        nearest day, the first of which is tomorrow."""
        days = self.file.purchases.next_order(of, share) / pace
        days = np.maximum(np.floor(days + 0.5), 1.0) if whole else days
        return np.where(days <= YEAR, days, np.nan)

    def money_per_order(self, of: Summaries) -> Numbers:
        """Money to expect of an order, [n]."""
        return self.file.money.expected(of.orders, of.mean)

    def score(self, of: Summaries) -> Values:
        """All figures over the model's own horizon; the same bits for one customer or many."""
        parts = [self._scored(of.part(slice(i, i + _CHUNK))) for i in range(0, len(of), _CHUNK)]
        if not parts:
            return Values(*(np.empty(0) for _ in Values._fields))
        return Values(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _scored(self, of: Summaries) -> Values:
        file, pace = self.file, self.pace(of)
        orders, worth = self._discounted(of.histories, pace)
        profit = file.margin * self.money_per_order(of)
        money = np.sort(self.simulated(of, file.horizon_days, pace), axis=1)
        # What discounting takes off the mean it takes off the distribution.
        per_money = file.margin * worth / np.where(orders > 0, orders, 1.0)
        draws = money.shape[1]
        low, middle, high = (money[:, int(level * draws)] * per_money for level in LEVELS)
        return Values(
            orders,
            file.purchases.any(of.histories, file.horizon_days * pace),
            profit,
            worth * profit,
            low,
            middle,
            high,
            self.next_order(of),
            file.purchases.alive(of.histories),
        )

    def _discounted(self, of: Histories, pace: Numbers) -> tuple[Numbers, Numbers]:
        """Orders to expect, [n], and what as many would count if all came today, [n]."""
        days, before, worth = self.file.horizon_days, np.zeros(len(pace)), np.zeros(len(pace))
        for quarter in range(1, _QUARTERS + 1):
            until = self.file.purchases.expected(of, days * quarter / _QUARTERS * pace)
            years = days * (quarter - 0.5) / _QUARTERS / YEAR
            factor = exp(years * log(np.array([1 - self.file.discount])))
            worth, before = worth + (until - before) * factor, until
        return before, worth

    def simulated(self, of: Summaries, days: int, pace: Numbers | None = None) -> Numbers:
        """Money within `days`, not discounted, [n, D]: draws of each customer's own distribution."""
        draws, p = self.draws, self.file.money.p
        pace = self.pace(of) if pace is None else pace
        n, size = len(of), len(draws.chance)
        # Draw j has k orders or more if its chance is below the k-th tail. So each tail says how many of the
        # ascending draws have another order; counted from the end, that is the number of orders of each.
        ends = np.zeros((n, size + 1), np.int32)
        for rows, tail in self.file.purchases.tails(of.histories, days * pace):
            ends[rows, np.searchsorted(draws.chance, tail)] += 1
        orders = np.cumsum(ends[:, :0:-1], axis=1, dtype=np.int32)[:, ::-1]
        brought = _sum(draws.order, draws.normal[0], orders, p)
        seen = np.broadcast_to(of.orders[:, None], orders.shape).astype(np.int32)
        scale = draws.prior + _sum(draws.own, draws.normal[1], seen, p)
        return (self.file.money.gamma + of.orders * of.mean)[:, None] * brought / scale


def _sum(drawn: Numbers, normal: Numbers, count: np.ndarray, p: float) -> Numbers:
    """Sums of `count` [n, D] gamma(p) variates."""
    sums = np.concatenate([np.zeros((len(drawn), 1)), np.add.accumulate(drawn, axis=1)], axis=1)
    within: Numbers = sums[np.arange(len(drawn)), np.minimum(count, _BRANCHES)]
    if count.max(initial=0) <= _BRANCHES:
        return within
    shape = p * np.maximum(count, 1)
    cube = 1 - 1 / (9 * shape) + normal / (3 * np.sqrt(shape))  # Wilson and Hilferty
    result: Numbers = np.where(count > _BRANCHES, shape * cube * cube * cube, within)
    return result


def save(
    folder: Path,
    card: ModelCard,
    file: ValueFile,
    booster: str | None,
    seed: int,
) -> ValueModel:
    """Write a model into a new or empty folder, and return it as `load` reads it back.

    booster: LightGBM's text of a Poisson model of the pace, over SIGNS. ReleaseCorrupt if the parts do not
    fit together, ReleaseError if the folder holds something.
    """
    folders.begin(folder)
    folders.write_json(folder / "model.json", file)
    folders.write_json(folder / folders.CARD, card)
    np.savez(folder / "draws.npz", allow_pickle=False, **Draws.of(file.money, seed)._asdict())
    if booster is not None:
        (folder / "booster.txt").write_bytes(booster.encode())
    examples = _examples(file, seed)
    expected = _assemble(folder).score(examples)
    made = {**examples.histories._asdict(), "mean": examples.mean, "signs": examples.signs}
    np.savez(folder / "examples.npz", allow_pickle=False, **made, **expected._asdict())
    folders.sign(folder)
    return load(folder)


def load(folder: Path) -> ValueModel:
    """The model of a folder, verified. ReleaseError if there is none, ReleaseCorrupt with the reason."""
    return folders.load(folder, _assemble, _verify_examples)


def _assemble(folder: Path) -> ValueModel:
    card = folders.read_json(folder / folders.CARD, ModelCard)
    file = folders.read_json(folder / "model.json", ValueFile)
    if (file.format, file.kind) != (FORMAT, KIND) or card.kind != KIND:
        raise ReleaseCorrupt(
            f"{folder / 'model.json'} is a {file.kind!r} of format {file.format}, its card a {card.kind!r}: "
            f"expected {KIND!r} and format {FORMAT}; promote a release that this Propensity trained"
        )
    booster = None
    if file.booster:
        booster = Booster((folder / "booster.txt").read_text("utf-8"), LOG_MEAN)
        if booster.features != tuple(SIGNS):
            raise ReleaseCorrupt(
                f"{folder / 'booster.txt'} reads {', '.join(booster.features[:5])} ...: expected "
                f"{', '.join([*SIGNS][:5])} ...; train the model again"
            )
    with folders.arrays(folder / "draws.npz") as drawn:
        draws = Draws(*(drawn[name] for name in Draws._fields))
    return ValueModel(card, file, draws, booster)


def _verify_examples(folder: Path, model: ValueModel) -> None:
    with folders.arrays(folder / "examples.npz") as saved:
        histories = Histories(*(saved[name] for name in Histories._fields))
        examples = Summaries(np.arange(len(histories.age)), histories, saved["mean"], saved["signs"])
        for name, now in model.score(examples)._asdict().items():
            if now.tobytes() != saved[name].tobytes():
                wrong = int(np.flatnonzero(now.view(np.int64) != saved[name].view(np.int64))[0])
                raise ReleaseCorrupt(
                    f"{folder} gives another {name} for example {wrong} than when it was saved: "
                    f"{now[wrong]}, expected {saved[name][wrong]}. It is not what was judged, or "
                    "LightGBM changed: promote it again, or retrain"
                )


def _examples(file: ValueFile, seed: int, n: int = 64) -> Summaries:
    """Made-up customers, nobody's: ages, orders, money and signs are each drawn by themselves."""
    random = np.random.default_rng(seed)
    age = np.floor(random.uniform(0, 800, n))
    repeats = np.where((random.random(n) < 0.4) | (age < 2), 0.0, np.floor(random.lognormal(1, 1.5, n)))
    repeats = np.minimum(repeats, age)
    last = np.where(repeats > 0, np.maximum(np.floor(age * random.random(n)), repeats), 0.0)
    mean = np.round(random.lognormal(0, 1, n) * file.money.gamma, 2)
    signs = np.round(random.lognormal(0, 1, (n, len(SIGNS))), 2)
    signs[random.random(signs.shape) < 0.1] = np.nan
    return Summaries(np.arange(n), Histories(repeats, last, age), mean, signs.astype(np.float32))
