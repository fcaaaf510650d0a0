"""Columns that were known only after the decision: they are spread otherwise by arm, or are the outcome."""

from collections.abc import Iterator

import numpy as np
from scipy.stats import rankdata

from features.words import Words
from training.uplift import LEAST, Trial
from training.uplift_balance import LOTTERY, Check, differ, said, weights
from training.uplift_learners import Bools, Numbers
from training.uplift_overlap import LEVEL, Told, told_apart

_PARTS, _EACH = 8, 100  # parts of a column's values; customers of each arm in one
_KNOWN = 0.5  # of the rows, of which a column must be known to be told to tell the outcome
_TOO_WELL, _TOO_WELL_AUC = 0.95, 0.98  # that a column tells an outcome


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
    listed = ", ".join(f"{column} ({said(p)})" for column, p in found[:5])
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
    weighted = weights(trial)
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
            differ(weighted * moment[:, None], trial.customer) for moment in moments if np.ptp(moment) > 0
        ]
        if (shape := _parts(values, null, parts)).shape[1] > 2:  # of two, the ranks say it already
            flat = (weighted[:, :, None] * shape[:, None, :]).reshape(len(values), -1)
            tests.append(differ(flat, trial.customer))
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
