"""How good a value model is: on orders and money that came after the moment it was fitted as of."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from serving.booster import Numbers
from serving.value import LEVELS, ValueModel
from training import dates, pooled
from training.evaluate import DIGITS, REPLICATES, Figure, figure, judge
from training.figures import missed
from training.past import LEAST, Past, losses

_CELLS = 4_000_000  # of a block of bootstrap weights: bounds memory to some 100 MB
_CHUNK = 4_096  # customers simulated at a time
LEAST_ROWS = 30  # customers in a group: of fewer, their orders say nothing of its level
LEAST_DATED = 30  # dates in a group: of fewer, the share that had ordered says nothing
Figures = dict[str, Figure]


def judged(model: ValueModel, past: Past, seed: int) -> tuple[Figures, dict[str, Figures]]:
    """Figures of the model and of each baseline, with 95 % bootstrap intervals over customers.

    past: a moment at which the model was fitted or later, and what came. Baselines: `bgnbd` is BG/NBD fitted
    as of the moment, times Gamma-Gamma; `run_rate` has everybody go on as in as many days before, half as
    the customer did and half as the average.
    orders_ratio, money_ratio: came over expected. gains: what the baseline's Poisson deviance has more.
    """
    known, days = past.known, past.days
    money = model.money_per_order(known)
    expected = {
        "model": model.orders(known, days),
        "bgnbd": past.expected,
        "run_rate": (past.before + past.before.mean()) / 2,
    }
    columns: dict[str, Numbers] = {"one": np.ones(len(known)), "orders": past.came, "money": past.money}
    for name, orders in expected.items():
        columns |= {
            f"{name} orders": orders,
            f"{name} money": orders * money,
            f"{name} deviance": losses(past.came, orders),
            f"{name} error": np.abs(past.came - orders),
        }
    columns |= {f"below {level}": below for level, below in _below(model, past, seed).items()}
    wait = model.next_order(known)
    dated = wait <= days
    columns["dated"] = dated.astype(np.float64)
    columns["dated came"] = (dated & (past.wait <= np.where(dated, wait, 0.0))).astype(np.float64)
    names = list(columns)
    table = np.column_stack([columns[name] for name in names])
    sums = np.concatenate(
        [table.sum(axis=0, keepdims=True), *(w @ table for w in _resamples(len(table), seed))]
    )

    def of(name: str) -> Numbers:
        return sums[:, names.index(name)]

    def ratio(a: str, b: str) -> Figure:
        return _of(of(a), of(b))

    def figures(name: str) -> Figures:
        return {
            "orders_ratio": ratio("orders", f"{name} orders"),
            "money_ratio": ratio("money", f"{name} money"),
            "poisson_deviance": ratio(f"{name} deviance", "one"),
            "mean_absolute_error": ratio(f"{name} error", "one"),
        }

    result, baselines = figures("model"), {}
    for name in ("bgnbd", "run_rate"):
        gain = (of(f"{name} deviance") - of("model deviance")) / of("one")
        baselines[name] = figures(name) | {"poisson_deviance_gain": figure(float(gain[0]), gain[1:])}
    for level in LEVELS:
        result[f"below_p{level * 100:.0f}"] = ratio(f"below {level}", "one")
    result["came_by_next_order_date"] = ratio("dated came", "dated")  # the whole day that is told
    chances = {
        "model": model.chance(known, days),
        "bgnbd": past.purchases.any(known.histories, np.full(len(known), float(days))),
    }
    by_chance = judge((past.came > 0).astype(np.float64), chances, seed)
    for name, into in (("model", result), ("bgnbd", baselines["bgnbd"])):
        into |= {metric: by_chance[name].figures[metric] for metric in ("auc", "log_loss")}
    return result, baselines


def by_group(model: ValueModel, past: Past, seed: int) -> tuple[dict[str, Any], ...]:
    """Of each band of silence and of frequency: orders that came over expected, and the share that ordered
    by the date that was told, where it lay within the days that judge; with 95 % bootstrap intervals over
    customers.

    z: orders that came less those expected, in standard errors. level_off: beyond what the worst of so many
    groups shows by chance; of LEAST_ROWS customers or more. off: the date missed; of LEAST_DATED dates or
    more. The same customers by another name are told once.
    """
    known, days = past.known, past.days
    told, expected = model.next_order(known), model.orders(known, days)
    dated = told <= days
    came = dated & (past.wait <= np.where(dated, told, 0.0))
    every = [(kind, words, name, at == place) for kind, words, names, at in dates.groups(known.histories)
             for place, name in enumerate(names)]  # fmt: skip
    inside = np.column_stack([rows for *_, rows in every]).astype(np.float64)
    # Of each group: orders, expected, dated, came by then.
    table = np.column_stack([inside * of[:, None] for of in (past.came, expected, dated, came)])
    sums = np.concatenate(
        [table.sum(axis=0, keepdims=True), *(w @ table for w in _resamples(len(table), seed))]
    ).reshape(-1, 4, len(every))
    found: list[dict[str, Any]] = []
    for place, (kind, words, name, rows) in enumerate(every):
        if not rows.any() or any(np.array_equal(rows, other) for *_, other in every[:place]):
            continue
        orders, hoped, of, by = sums[:, :, place].T
        one: dict[str, Any] = {
            "kind": kind, "words": words._asdict(), "group": name._asdict(), "rows": int(rows.sum()),
            "orders_ratio": _of(orders, hoped), "dated": int(of[0]),
        }  # fmt: skip
        if one["rows"] >= LEAST_ROWS:
            missed_by = (past.came - expected)[rows]
            one["z"] = round(float(missed_by.sum() / np.sqrt((missed_by**2).sum())), DIGITS)
        if of[0] >= LEAST_DATED:
            one["came_by_next_order_date"] = _of(by, of)
            one["off"] = missed("came_by_next_order_date", one["came_by_next_order_date"])
        found.append(one)
    judged = [one for one in found if "z" in one]
    for one in judged:
        one["level_off"] = abs(one["z"]) > pooled.worst_of(len(judged))
    return tuple(found)


def _of(part: Numbers, whole: Numbers) -> Figure:
    """A ratio of sums, the first as they are, the others resampled."""
    values = np.divide(part, whole, out=np.ones(len(part)), where=whole > 0)
    return figure(float(values[0]), values[1:])


class Paired(NamedTuple):
    """Two models on the same customers. totals: orders that came over expected. deviances: mean, of Poisson.
    gain: what the second's deviance has more than the first's, with a paired interval."""

    totals: tuple[Figure, Figure]
    deviances: tuple[float, float]
    gain: Figure


def paired(first: ValueModel, second: ValueModel, past: Past, seed: int = 1) -> Paired:
    """Judge both by the orders that came, with 95 % bootstrap intervals over customers."""
    expected = [model.orders(past.known, past.days) for model in (first, second)]
    lost = [losses(past.came, orders) for orders in expected]
    table = np.column_stack([np.ones(len(past.known)), past.came, *expected, *lost])
    sums = np.concatenate(
        [table.sum(axis=0, keepdims=True), *(w @ table for w in _resamples(len(table), seed))]
    )
    n, came, ours, theirs, own, other = sums.T
    gain = (other - own) / n
    totals = [came / np.maximum(orders, LEAST) for orders in (ours, theirs)]
    return Paired(
        (figure(float(totals[0][0]), totals[0][1:]), figure(float(totals[1][0]), totals[1][1:])),
        (float(own[0] / n[0]), float(other[0] / n[0])),
        figure(float(gain[0]), gain[1:]),
    )


def _below(model: ValueModel, past: Past, seed: int) -> dict[float, Numbers]:
    """Whether a customer's money lay below each level of the distribution simulated for it, [n] of 0 and 1.

    Where much of a distribution is exactly nothing, its place in it is drawn: so a level of .9 is right if
    .9 of customers lie below, whatever share has nothing at all.
    """
    random, places = np.random.default_rng(seed), []
    for first in range(0, len(past.known), _CHUNK):
        rows = slice(first, first + _CHUNK)
        drawn = model.simulated(past.known.part(rows), past.days)
        came = np.maximum(past.money[rows], 0.0)[:, None]
        under, up_to = (drawn < came).mean(axis=1), (drawn <= came).mean(axis=1)
        places.append(under + random.random(len(under)) * (up_to - under))
    place = np.concatenate(places)
    return {level: (place <= level).astype(np.float64) for level in LEVELS}


def _resamples(n: int, seed: int) -> Iterator[Numbers]:
    """Blocks of weights [replicates, n]: how often each customer is drawn."""
    random, left = np.random.default_rng(seed), REPLICATES
    while left:
        block = min(left, max(1, _CELLS // n))
        yield random.multinomial(n, np.full(n, 1 / n), size=block).astype(np.float64)
        left -= block
