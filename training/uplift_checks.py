"""Whether a trial can be believed: its sample ratio, columns from after the decision, overlap.

All rest on one fact: with the right propensities, 1{arm = k} / p - 1 has mean 0 for every arm, also when
multiplied with anything that was known before the decision.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.stats import chi2, rankdata

from features.words import Words
from training.uplift import LEAST, Trial
from training.uplift_learners import Bools, Ints, Numbers
from training.uplift_overlap import ENOUGH, FLOOR, LEVEL, Told, told_apart

ROUNDED = 0.05  # propensities that are written in two digits miss their sum of 1 by less
_PARTS, _EACH = 8, 100  # parts of a column's values; customers of each arm in one
_KNOWN = 0.5  # of the rows, of which a column must be known to be told to tell the outcome
_TOO_WELL, _TOO_WELL_AUC = 0.95, 0.98  # that a column tells an outcome
_SUMMED = 12  # arms of which every sum is looked at, at most


LOTTERY = Words("columns known before", "决策前已知的列")  # the check that a lottery alone can be put to


class Check(NamedTuple):
    """What was looked at, whether it holds (None: it cannot be told), and what that means.

    arms: places of those of which, for that, no effect can be told.
    """

    name: Words
    holds: bool | None
    words: Words
    arms: tuple[int, ...] = ()


def checks(trial: Trial) -> list[Check]:
    """Everything that is looked at, in the order in which it is read."""
    told = told_apart(trial) if trial.evidence == "randomised" else None
    return [sample_ratio(trial), before_decision(trial, told), foretold(trial), overlap(trial, told)]


def sample_ratio(trial: Trial) -> Check:
    """Whether customers were given the arms as often as the propensities say (chi-square)."""
    name = Words("sample ratio", "样本比例")
    if trial.evidence != "randomised":
        return Check(name, None, Words("no lottery to compare with", "无随机分配可比对"))
    weights = _weights(trial)
    if np.abs(weights.mean(axis=0)).max() < 1e-9:
        return Check(
            name, None,
            Words(
                "shares were taken as found: say what they should be (--share)",
                "比例取自数据本身：请用--share说明应有比例",
            ),
        )  # fmt: skip
    # Constant propensities that do not sum to 1 put every total off by what no lot can explain: no variance.
    off = weights.sum(axis=1) / trial.could.sum(axis=1)
    p = 0.0 if np.ptp(off) < 1e-9 and abs(off.mean()) > ROUNDED else _differ(weights, trial.customer)
    counts = np.bincount(trial.arm, minlength=len(trial.arms))
    found = ", ".join(
        f"{arm} {count:,} ({1 + total / rows:.1%})"
        for arm, count, total, rows in zip(
            trial.arms, counts, weights.sum(axis=0), trial.could.sum(axis=0), strict=True
        )
    )
    wrong = list(_no_lottery(trial))
    if wrong and (p < LEVEL or any(of.certain for of in wrong)):
        en = "; ".join(f"where {' or '.join(of.arms)} could be given, {of.sum}" for of in wrong)
        zh = "；".join(f"可给予{'、'.join(of.arms)}时，{of.sum}" for of in wrong)
        return Check(
            name, False,
            Words(
                f"propensities that no lottery has, as they do not sum to 1: {en}. Give the chance with "
                "which each was drawn among what could be given there",
                f"倾向概率之和不为1，不可能来自随机分配：{zh}。请填写在当时可选的各项中实际抽取的概率",
            ),
        )  # fmt: skip
    if p >= LEVEL:
        return Check(name, True, Words(f"as assigned (p = {p:.2g})", f"与分配一致（p = {p:.2g}）"))
    return Check(
        name, False,
        Words(
            f"sample ratio mismatch (p = {p:.1g}): rows against what the propensities promise: {found}. "
            "Rows were lost or added after the lottery, or the propensities are not those that it used: "
            "find out before anything else",
            f"样本比例不符（p = {p:.1g}）：实际行数与倾向概率的承诺之比：{found}。"
            "随机分配后有行丢失或增加，或倾向概率不是实际所用：请先查明原因",
        ),
    )  # fmt: skip


class _NoLottery(NamedTuple):
    """Arms that could be given where their propensities do not sum to 1; the sum as text. certain: it shows
    without a look at how often they were given."""

    arms: list[str]
    sum: str
    certain: bool


def _no_lottery(trial: Trial) -> Iterator[_NoLottery]:
    """Of rows that could have had the same arms, each of one propensity, where these do not sum to 1.

    If they were a lottery's that differs by row, each row would have an arm with another propensity than the
    one that is seen, and none was ever drawn: it is certain where that is less likely than LEVEL.
    """
    sets, which = np.unique(trial.could, axis=0, return_inverse=True)
    for number, could in enumerate(sets):
        rows, arms = which.ravel() == number, np.flatnonzero(could)
        seen = [np.unique(trial.given[rows & (trial.arm == k)].round(9)) for k in arms]
        chances = [float(of[0]) for of in seen if len(of) == 1]
        if len(chances) < len(arms) or len(arms) > _SUMMED or abs(sum(chances) - 1) <= ROUNDED:
            continue
        some = (sum(of) for size in range(1, len(arms)) for of in combinations(chances, size))
        most = max((of for of in some if of <= 1), default=0.0)
        terms = " + ".join(f"{chance:.3g}" for chance in chances)
        certain = most ** len(np.unique(trial.customer[rows])) < LEVEL
        yield _NoLottery([trial.arms[k] for k in arms], f"{terms} = {sum(chances):.3g}", certain)


def before_decision(trial: Trial, told: Told | None = None) -> Check:
    """Whether any column, or all together, differ between arms that were drawn by lot: then something is from
    after the decision. No sign of it is no proof: what no arm changed looks the same before and after."""
    name = LOTTERY
    if trial.evidence != "randomised":
        return Check(name, None, Words("cannot be told without a lottery", "无随机分配，无法判断"))
    found, told = list(post_treatment(trial)), told or told_apart(trial)
    area = "{:.3f} [{:.3f} {:.3f}]".format(*told.auc)
    if not found and not told.apart:
        shown, arm = f"{len(trial.names)}", trial.arms[told.arm]
        return Check(
            name, True,
            Words(
                f"no sign of any from after the decision: the values of none of {shown} columns are spread "
                f"otherwise in an arm, nor do all together tell {arm} from {trial.arms[0]} (AUC {area})",
                f"未见决策之后才可知的列：{shown}列的分布在各组间均无差异，"
                f"全部列合起来也无法区分{arm}与{trial.arms[0]}（AUC {area}）",
            ),
        )  # fmt: skip
    if not found:
        arm = trial.arms[told.arm]
        return Check(
            name, False,
            Words(
                f"together they tell {arm} from {trial.arms[0]}, which were drawn by lot (AUC {area}): some "
                "were known only after the decision, so that they hold its effect, or the lottery was not "
                "one, or not the same for all. Leave such columns out (--ignore)",
                f"各列合起来可区分随机分配的{arm}与{trial.arms[0]}（AUC {area}）：其中有些列在决策之后才可知"
                "（已含其效果），或分组并非随机、并非对所有人一致。请用--ignore排除",
            ),
        )  # fmt: skip
    listed = ", ".join(f"{column} (p = {p:.1g})" for column, p in found[:5])
    more = len(found) - 5
    listed += f" + {more}" if more > 0 else ""
    return Check(
        name, False,
        Words(
            f"differ between arms that were drawn by lot: {listed}. They were known only after the decision, "
            "so that they hold its effect, or the lottery was not one. Leave such columns out (--ignore)",
            f"在随机分组之间存在差异：{listed}。这些列在决策之后才可知（已含其效果），或分组并非随机。"
            "请用--ignore排除",
        ),
    )  # fmt: skip


def post_treatment(trial: Trial) -> Iterator[tuple[str, float]]:
    """(column, p) of each whose values, or whose being known, differ between the arms of a lottery.

    By ranks, so that no outlier hides a difference, and by how often each part of the values comes, so that
    a difference in spread or shape shows although the means are alike; Bonferroni over the columns.
    """
    weights = _weights(trial)
    least = min(len(np.unique(trial.customer[trial.arm == k])) for k in range(len(trial.arms)))
    parts = min(_PARTS, least // _EACH)
    for name, values in zip(trial.names, trial.matrix.T, strict=True):
        null = np.isnan(values)
        ranks = np.zeros(len(values))
        if (~null).any():
            ranks[~null] = rankdata(values[~null])
            ranks[~null] -= ranks[~null].mean()
        moments = [ranks, null - null.mean()]
        tests = [
            _differ(weights * moment[:, None], trial.customer) for moment in moments if np.ptp(moment) > 0
        ]
        if (shape := _parts(values, null, parts)).shape[1] > 2:  # of two, the ranks say it already
            flat = (weights[:, :, None] * shape[:, None, :]).reshape(len(values), -1)
            tests.append(_differ(flat, trial.customer))
        p = min(1.0, len(tests) * min(tests, default=1.0))
        if p < LEVEL / len(trial.names):
            yield name, p


def _parts(values: Numbers, null: Bools, most: int) -> Numbers:
    """In which of at most so many equal parts of the known values each row is, [n, parts], of mean 0."""
    known = values[~null]
    if most < 3 or not len(known):
        return np.zeros((len(values), 0))
    edges = np.unique(np.quantile(known, np.linspace(0, 1, most + 1)[1:-1], method="inverted_cdf"))
    which = np.searchsorted(edges, values)
    flags = (which[:, None] == np.arange(len(edges) + 1)) & ~null[:, None]
    kept = flags.sum(axis=0) >= len(known) / (2 * most)  # a part with next to nobody tells nothing
    found: Numbers = flags[:, kept].astype(np.float64)
    return np.asarray(found - found.mean(axis=0), np.float64)


def foretold(trial: Trial) -> Check:
    """Whether any column tells an outcome nearly perfectly: then it is likely that outcome, known afterwards.

    By ranks; of an outcome of two values by the area under the curve.
    """
    name = Words("columns that tell the outcome", "能说明结果的列")
    found = list(_foretelling(trial))
    if not found:
        return Check(
            name, True,
            Words(
                "no sign of an outcome among the columns: none tells it nearly perfectly",
                "未见结果混入列中：没有任何列能近乎完美地说明结果",
            ),
        )  # fmt: skip
    listed = ", ".join(f"{column} → {outcome} ({how})" for column, outcome, how in found[:5])
    listed += f" + {len(found) - 5}" if len(found) > 5 else ""
    return Check(
        name, False,
        Words(
            f"suspicious, as they tell the outcome nearly perfectly: {listed}. What is known before a "
            "decision hardly can: most likely they were written with the outcome. Leave them out (--ignore)",
            f"可疑（近乎完美地说明结果）：{listed}。决策之前可知的信息几乎不可能做到：很可能与结果同时写入。"
            "请用--ignore排除",
        ),
    )  # fmt: skip


def _foretelling(trial: Trial) -> Iterator[tuple[str, str, str]]:
    """(column, outcome, how well) of each that tells an outcome nearly perfectly."""
    for outcome, y in trial.outcomes.items():
        values = np.unique(y)
        for column, x in zip(trial.names, trial.matrix.T, strict=True):
            known = ~np.isnan(x)
            if known.mean() < _KNOWN or len(values) < 2 or np.ptp(y[known]) == 0 or np.ptp(x[known]) == 0:
                continue
            ranks = rankdata(x[known])
            if len(values) == 2:
                high = y[known] == values[1]
                few, many = int(high.sum()), int((~high).sum())
                area = (ranks[high].sum() - few * (few + 1) / 2) / (few * many)
                if max(area, 1 - area) >= _TOO_WELL_AUC and min(few, many) >= LEAST:
                    yield column, outcome, f"AUC {max(area, 1 - area):.3f}"
            elif abs(rho := float(np.corrcoef(ranks, rankdata(y[known]))[0, 1])) >= _TOO_WELL:
                yield column, outcome, f"rank correlation {rho:.3f}"


def overlap(trial: Trial, told: Told | None = None) -> Check:
    """Whether each arm's customers stand for all: by the effective sample size, (sum w)^2 / sum w^2, and by
    whether everybody could have had each arm and the control. told: of a lottery; else as estimated."""
    sizes, name = effective(trial), Words("overlap", "重叠")
    if trial.evidence == "randomised":
        never = (told or told_apart(trial)).never
        lacking = never > 0
    else:
        never = _below(trial)
        lacking = never > 1 - ENOUGH
    least = ", ".join(f"{arm} {chance:.3f}" for arm, chance in zip(trial.arms, _least(trial), strict=True))
    shown = ", ".join(f"{arm} {size:,.0f}" for arm, size in zip(trial.arms, sizes, strict=True))
    words = Words(
        f"effective customers: {shown}; smallest propensity known: {least}",
        f"有效样本量：{shown}；已知的最小倾向概率：{least}",
    )
    arms = tuple(np.flatnonzero(lacking).tolist())
    if arms or trial.evidence == "prior":
        en, zh = "; ".join(_never(trial, never, arms, 0)), "；".join(_never(trial, never, arms, 1))
        return Check(
            name, False,
            Words(
                f"too little: {en or 'who got what was nearly decided by the columns'}. Of an arm that some "
                "could never have, no effect on all can be told: leave out the customers who could not "
                f"have it. {words.en}",
                f"不足：{zh or '列几乎决定了谁得到什么'}。部分客户不可能得到某方案时，无法得知其对所有人的"
                f"效果：请排除不可能得到它的客户。{words.zh}",
            ),
            arms,
        )  # fmt: skip
    return Check(name, bool(sizes.min() >= LEAST), words)


def _never(trial: Trial, never: Numbers, arms: Sequence[int], language: int) -> Iterator[str]:
    rare = trial.evidence != "randomised"
    for k in arms:
        arm, share = trial.arms[k], f"{never[k]:.0%}"
        yield (
            f"{share} of customers could {'hardly' if rare else 'never'} have had {arm}",
            f"{share}的客户{'几乎' if rare else ''}不可能得到{arm}",
        )[language]


def _below(trial: Trial) -> Numbers:
    """Of each arm, the share of customers whose estimated propensity is too small, [K]."""
    if trial.chances is None:
        return np.zeros(len(trial.arms))
    found: Numbers = (trial.chances < FLOOR).mean(axis=0)
    return found


def _least(trial: Trial) -> Numbers:
    """Of each arm the smallest propensity that is known, given or not, [K]."""
    if trial.chances is not None:
        return np.asarray(trial.chances.min(axis=0), np.float64)
    least = np.array([trial.given[trial.arm == k].min() for k in range(len(trial.arms))])
    if len(trial.arms) == 2 and trial.possible is None:  # what one has not, the other has
        least = np.minimum(least, [1 - trial.given[trial.arm == k].max() for k in (1, 0)])
    return least


def effective(trial: Trial) -> Numbers:
    """Each arm's effective sample size in customers, [K]; the control's beside the arm where it is least."""

    def size(rows: Bools) -> float:
        sums = np.bincount(trial.customer[rows], 1 / trial.given[rows])
        return float(sums.sum() ** 2 / (sums @ sums)) if len(sums) else 0.0

    arms, could = range(1, len(trial.arms)), trial.could
    control = min(size(could[:, k] & (trial.arm == 0)) for k in arms)
    return np.array([control, *(size(trial.arm == k) for k in arms)])


def _weights(trial: Trial) -> Numbers:
    flags = np.eye(len(trial.arms))[trial.arm]
    return np.where(trial.could, flags / trial.given[:, None] - 1, 0.0)


def _differ(columns: Numbers, customer: Ints) -> float:
    """The p-value of all means of [n, m] being 0 (Wald); columns, and a customer's rows, may depend on each
    other."""
    mean = columns.mean(axis=0)
    sums = np.column_stack([np.bincount(customer, column) for column in (columns - mean).T])
    covariance = sums.T @ sums / len(columns) ** 2
    values, basis = np.linalg.eigh(covariance)
    kept: Bools = values > 1e-9 * values.max(initial=0.0)
    if not kept.any():
        return float(np.allclose(mean, 0))
    # What cannot vary must be 0: a fixed sum of weights says nothing.
    along = basis.T @ mean
    return float(chi2.sf((along[kept] ** 2 / values[kept]).sum(), int(kept.sum())))
