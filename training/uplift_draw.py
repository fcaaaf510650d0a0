"""What an arm was drawn by: rows that share a value of a column and always have the same arm had one draw.

Lots drawn for each row by itself agree within a value no more often than their chances say. With the arm's
residual e = 1{arm = k} - p, the sum over pairs of rows of one value of e_i e_j has mean 0 and a variance that
the chances tell; a value of a single row says nothing. What is beyond is judged by a bound that holds for
whatever such draws do (Cantelli), and where that does not settle it by drawing them anew: with rare arms and
few pairs the sum is far from normal.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from features.errors import UsageError
from features.words import Words
from training.uplift_balance import LEVEL, Check, chances, said, weights
from training.uplift_learners import Ints, Numbers
from training.uplift_trial import Trial

_NEARLY = 0.9  # of the agreement that is more than chance, from which on a value is said to have one arm
_LOOK = 3.0  # standard deviations, below which nothing is to be found
_EACH = 2  # draws of all lots anew for each that a level lets through
_CELLS = 4_000_000  # rows drawn at a time
_ENOUGH = 10  # draws as extreme as what was seen: it is no sign
_OFTEN = 5  # rows of a value, at most, as a customer has


class Alike(NamedTuple):
    """A column whose values go with arms. values: how many it has; several: those with several rows; share:
    of the pairs of rows of one value that chance would not make agree, those that do; 1: each has one arm."""

    column: str
    values: int
    several: int
    share: float
    p: float

    @property
    def nearly(self) -> bool:
        """Whether its values have one arm each, or nearly."""
        return self.share >= _NEARLY


def alike(trial: Trial, names: Iterable[str], nulls: bool = True) -> list[Alike]:
    """Columns of a lottery's table whose values go with arms beyond what lots drawn one by one do, at LEVEL,
    Bonferroni over all columns. names: of these. nulls: whether having no value is a value."""
    trial = _draws(trial)
    wanted, level = {*names}, LEVEL / max(len(trial.values), 1)
    found = []
    for name, codes in trial.values.items():
        if name in wanted and (one := _alike(trial, name, codes, level, nulls)) is not None and one.p < level:
            found.append(one)
    return found


def _draws(trial: Trial) -> Trial:
    """A row for each draw: of customers, or clusters, who have one arm in all of their rows, the first."""
    _, first, who = np.unique(trial.customer, return_index=True, return_inverse=True)
    one_each = len(first) < len(trial) and bool((trial.arm == trial.arm[first][who]).all())
    return trial.part(first) if one_each else trial


def _alike(trial: Trial, name: str, codes: Ints, level: float, nulls: bool) -> Alike | None:
    sizes = np.bincount(codes)
    sizes[0] *= nulls
    rows = np.flatnonzero(sizes[codes] > 1)
    if (values := int((sizes > 0).sum())) <= len(trial.arms) or not len(rows):
        return None  # a value for each arm is the arm's own name
    rows = rows[np.argsort(codes[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(codes[rows], prepend=-1))

    def pairs(one: Numbers, other: Numbers) -> float:
        """The sum of one_i other_j over pairs of rows of one value, each in both orders."""
        sums = [np.add.reduceat(of, starts) for of in (one, other)]
        return float(sums[0] @ sums[1] - one @ other)

    lots = _lots(trial, rows)
    variance = sum(2 * pairs(of, of) for of in lots.shared)
    total = sum(pairs(of, of) for of in lots.seen.T)
    if variance <= 0 or (z := total / variance**0.5) < _LOOK:
        return None
    chance, flags = chances(trial)[rows], np.eye(len(trial.arms))[trial.arm[rows]]
    every = pairs(np.ones(len(rows)), np.ones(len(rows)))
    by_chance = min(sum(pairs(of, of) for of in chance.T) / every, 1.0)
    agree = sum(pairs(of, of) for of in flags.T) / every
    share = (agree - by_chance) / (1 - by_chance) if by_chance < 1 else 0.0
    p = 1 / (1 + z**2) if lots.known else 1.0
    if p >= level:
        p = _redrawn(lots, starts, total, level)
    return Alike(name, values, len(starts), share, p)


class _Lots(NamedTuple):
    """What rows' lots left and might have left, of all arms but the control. seen: residuals [n, K - 1].
    shared: products of two arms' residuals, as expected, or as seen where a row's chances are not all known
    [n]. draw: residuals of lots drawn anew, [draws, n] of each arm. known: whether the chances are."""

    seen: Numbers
    shared: list[Numbers]
    draw: Callable[[np.random.Generator, int], Iterator[Numbers]]
    known: bool


def _lots(trial: Trial, rows: Ints) -> _Lots:
    """Of two arms, or of chances that all rows share, residuals are 1{arm = k} - p, and are drawn anew.

    Else a row tells the chance of the arm alone that it got: they are p (1{arm = k} / p - 1), with the
    mean p outside, whose mean is 0 too; and their signs are drawn anew, as their spread is only seen.
    """
    chance, places = chances(trial), range(1, len(trial.arms))
    known = len(trial.arms) == 2 or trial.chances is not None or bool(np.ptp(chance, axis=0).max() < 1e-9)
    scale = chance if known else np.broadcast_to(chance.mean(axis=0), chance.shape)
    seen = (scale * weights(trial))[:, 1:]
    # Shares other than promised are the sample ratio's to tell: so what all rows have in common is taken out.
    seen = (seen - seen.mean(axis=0))[rows]
    if not known:
        shared = [seen[:, k - 1] * seen[:, j - 1] for k in places for j in places]

        def turned(random: np.random.Generator, times: int) -> Iterator[Numbers]:
            signs = random.choice([-1.0, 1.0], (times, len(rows)))
            yield from (signs * seen[:, k - 1] for k in places)

        return _Lots(seen, shared, turned, known)
    chance = chance[rows]
    edges = np.cumsum(chance, axis=1)
    shared = [chance[:, k] * ((k == j) - chance[:, j]) for k in places for j in places]

    def drawn(random: np.random.Generator, times: int) -> Iterator[Numbers]:
        at = random.random((times, len(rows))) * edges[:, -1]
        yield from (((at >= edges[:, k - 1]) & (at < edges[:, k])) - chance[:, k] for k in places)

    return _Lots(seen, shared, drawn, known)


def _redrawn(lots: _Lots, starts: Ints, total: float, level: float) -> float:
    """How often lots drawn anew, row by row, go with values as much as was seen (Monte Carlo)."""
    random, wanted = np.random.default_rng(0), int(np.ceil(_EACH / level))
    done = beyond = 0
    while done < wanted and beyond < _ENOUGH:
        sums: Numbers = np.zeros(min(max(_CELLS // len(lots.seen), 1), wanted - done))
        for left in lots.draw(random, len(sums)):
            sums += (np.add.reduceat(left, starts, axis=1) ** 2).sum(axis=1) - (left**2).sum(axis=1)
        done, beyond = done + len(sums), beyond + int((sums >= total).sum())
    return (1 + beyond) / (1 + done)


def refused(trial: Trial) -> UsageError | None:
    """What to say of a lottery whose arm was drawn by a column, or known before the column was written."""
    asked = trial.values.keys() - {*trial.ignored}
    found = [of for of in alike(trial, asked, nulls=False) if of.nearly and of.several > len(trial.arms)]
    if not found:
        return None
    one = min(found, key=lambda of: of.values)  # of stores and their tills, the stores were drawn
    others = [of.column for of in found if of is not one]
    exact = f"each of the {one.values:,} values of {one.column} came with one arm only"
    nearly = f"rows with the same {one.column} ({one.values:,} values) nearly always had the same arm"
    by = "cluster"
    if trial.cluster is None and (often := _often(trial.values[one.column])):
        exact, by = f"each value of {one.column} comes {often}, with one arm only", "customer"
    return UsageError(
        f"{exact if one.share > 1 - 1e-9 else nearly} ({said(one.p)}), which lots drawn row by row hardly "
        f"ever do: so the arm was drawn by {one.column}, or {one.column} was written after it. If drawn, say "
        f"--{by} {one.column}, whose rows then count as one draw; if written afterwards, --ignore "
        f"{one.column}" + f". The same holds of {', '.join(others[:5])}" * bool(others)
    )


def _often(codes: Ints) -> str:
    """How often each value comes, if as a customer's id does: at least twice, and never many times."""
    sizes = np.bincount(codes)[1:]
    sizes = sizes[sizes > 0]
    if not len(sizes) or sizes.min() < 2 or sizes.max() > _OFTEN:
        return ""
    if sizes.min() == sizes.max():
        return {2: "twice"}.get(int(sizes[0]), f"{sizes[0]} times")
    return f"{sizes.min()} to {sizes.max()} times"


def with_values(trial: Trial) -> Check | None:
    """Whether the arm goes with values of a column that is too fine to learn from; None: there is none."""
    names = [name for name in trial.unread if name in trial.values]
    if trial.evidence != "randomised" or not names:
        return None
    name, found = Words("columns of too many values", "取值过多的列"), alike(trial, names)
    if not found:
        return Check(name, True, Words(
            f"the arm goes with the values of none of {len(names)}, as if drawn row by row",
            f"{len(names)}列的取值均与方案无关，符合逐行抽取",
        ))  # fmt: skip
    listed = ", ".join(f"{of.column} ({said(of.p)})" for of in found[:5])
    return Check(name, False, Words(
        f"rows with the same value have the same arm more often than lots drawn row by row: {listed}. The "
        "propensities are not those of the draw, or rows are missing; or the arm was drawn by such a column, "
        "which --cluster tells; or it was written after the decision, which --ignore tells",
        f"取值相同的行得到同一方案的次数多于逐行抽取：{listed}。倾向得分并非抽取时所用，或有行缺失；"
        "或方案按该列抽取（用--cluster说明）；或该列在决策之后写入（用--ignore说明）",
    ))  # fmt: skip


def who_had(trial: Trial) -> Check | None:
    """Whether customers with several rows had one arm, or the arm was drawn for each row; without a column
    that tells them, whether one looks as if it did. None: there is nothing to say."""
    name, k = Words("rows of a customer", "同一客户的行"), len(trial.arms)
    if trial.evidence != "randomised" or trial.cluster:
        return None
    if trial.unit is None:
        ids = [(column, often) for column, codes in trial.values.items() if (often := _often(codes))]
        return Check(name, None, Words(
            f"each value of {ids[0][0]} comes {ids[0][1]}, as a customer's may: if it tells the customer, "
            f"say --customer {ids[0][0]}, as rows of one customer are no two customers",
            f"{ids[0][0]}的每个取值都出现多次，如同客户标识：若它标识客户，请用--customer {ids[0][0]}说明，"
            "因为同一客户的多行不是多位客户",
        )) if ids else None  # fmt: skip
    had = np.unique(trial.customer * k + trial.arm) // k
    several = int((np.unique(had, return_counts=True)[1] > 1).sum())
    everybody = len(np.unique(had))
    if several:
        return Check(name, None, Words(
            f"{several:,} of {everybody:,} values of {trial.unit} had several arms, so the arm was drawn row "
            "by row: what one arm did to a customer may last into rows of another, which no figure tells",
            f"{trial.unit}的{everybody:,}个取值中有{several:,}个得到过多个方案，即方案逐行抽取："
            "某方案对客户的影响可能延续到其他方案的行，任何数字都无法说明",
        ))  # fmt: skip
    return Check(name, True, Words(
        f"each of {everybody:,} values of {trial.unit} had one arm, and counts as one draw",
        f"{trial.unit}的{everybody:,}个取值各只有一个方案，各计为一次抽取",
    ))  # fmt: skip


def assumed(trial: Trial) -> Words:
    """What the intervals take for granted about the draw."""
    if trial.cluster:
        n = len(np.unique(trial.customer))
        return Words(
            f"The arm was drawn by {trial.cluster}: intervals are over its {n:,} values, by Student's t.",
            f"方案按{trial.cluster}抽取：区间按其{n:,}个取值计算（t分布）。",
        )
    if trial.unit:
        return Words(
            f"Intervals take each value of {trial.unit} to have been drawn on its own; if the arm was drawn "
            "by store, say, they are too narrow: name that column (--cluster).",
            f"区间假定{trial.unit}的每个取值各自独立抽取；若方案按门店等抽取，则区间过窄：请指明该列（--cluster）。",
        )
    return Words(
        "Intervals take each customer, a row, to have been drawn separately; if the arm was drawn by store, "
        "say, they are too narrow: name that column (--cluster).",
        "区间假定每位客户（每行）各自独立抽取；若方案按门店等抽取，则区间过窄：请指明该列（--cluster）。",
    )
