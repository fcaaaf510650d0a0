"""Columns that were known only after the decision: they are spread otherwise by arm, or are the outcome."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import rankdata

from features.words import Words
from serving.booster import Rows
from training.uplift_balance import LEVEL, LOTTERY, RARE, Check, by_the_lot, differ, said, weights
from training.uplift_draw import alike
from training.uplift_learners import Bools, Numbers
from training.uplift_overlap import Told, told_apart
from training.uplift_trial import LEAST, Aside, Trial, columns_of

_PARTS, _EACH = 8, 100  # parts of a column's values; customers of each arm in one
_KNOWN = 0.5  # of the rows, of which a column must be known to be told to tell the outcome
_TOO_WELL, _TOO_WELL_AUC = 0.95, 0.98  # that a column tells an outcome

ONLY_IF = (
    "Find out when they were written: leave a column out (--ignore) only if that was after the decision, and "
    "the verdict will rest on your word for it; one that was known before shows that the draw is not what it "
    "is said to be"
)
ONLY_IF_ZH = (
    "请查明其写入时间：仅当某列在决策之后写入时才用--ignore排除，此后结论将以此为前提；"
    "若在决策之前已知，则说明抽取与所述不符"
)


def before_decision(trial: Trial, told: Told | None = None) -> Check:
    """Whether any column, or all together, differ between arms that were drawn by lot: then something is from
    after the decision. No sign of it is no proof: what no arm changed looks the same before and after."""
    name = LOTTERY
    if trial.evidence != "randomised":
        return Check(name, None, Words("cannot be told without a lottery", "无随机分配，无法判断"))
    found, told = list(post_treatment(trial)), told or told_apart(trial)
    area, arm = f"AUC {told.auc.value:.3f}, {said(told.p)}", trial.arms[told.arm]
    if not found and LEVEL <= told.p < RARE:
        return Check(name, None, doubt(
            f"together they tell {arm} from {trial.arms[0]}, which were drawn by lot ({area})",
            f"各列合起来可区分随机分配的{arm}与{trial.arms[0]}（{area}）",
        ), doubtful=True)  # fmt: skip
    if not found and not told.apart:
        shown = len(columns_of(trial.names))
        return Check(
            name, True,
            Words(
                f"no sign of any from after the decision: the values of none of {shown} column"
                f"{'s' * (shown > 1)} are spread otherwise in an arm, nor do all together tell {arm} from "
                f"{trial.arms[0]} ({area})",
                f"未见决策之后才可知的列：{shown}列的分布在各组间均无差异，"
                f"全部列合起来也无法区分{arm}与{trial.arms[0]}（{area}）",
            ),
        )  # fmt: skip
    if not found:
        return Check(
            name, False,
            Words(
                f"together they tell {arm} from {trial.arms[0]}, which were drawn by lot ({area}): some "
                "were known only after the decision, so that they hold its effect; or the propensities are "
                f"not those of the draw, or rows are missing. {ONLY_IF}",
                f"各列合起来可区分随机分配的{arm}与{trial.arms[0]}（{area}）：其中有些列在决策之后才可知"
                f"（已含其效果）；或倾向得分并非抽取时所用，或有行缺失。{ONLY_IF_ZH}",
            ),
        )  # fmt: skip
    columns = listed(found)
    return Check(
        name, False,
        Words(
            f"differ between arms that were drawn by lot: {columns}. They were known only after the "
            "decision, so that they hold its effect; or the propensities are not those of the draw, or rows "
            f"are missing. {ONLY_IF}",
            f"在随机分组之间存在差异：{columns}。这些列在决策之后才可知（已含其效果）；或倾向得分并非抽取时所用，"
            f"或有行缺失。{ONLY_IF_ZH}",
        ),
    )  # fmt: skip


def left_out(trial: Trial, told: Told) -> Check | None:
    """Whether columns that were left out (`Trial.aside`) differ between arms drawn by lot; None: none was.

    One from after the decision may. One from before says that the draw is not what it is said to be, whether
    or not it is learnt from. Which it is, no figure tells: so it is no failure, but all rests on it.
    """
    if not trial.ignored or trial.evidence != "randomised":
        return None
    name = Words("columns left out (--ignore)", "排除的列（--ignore）")
    aside = trial.aside or Aside((), np.empty((len(trial), 0), np.float32))
    found = list(post_treatment(replace(trial, names=aside.names, matrix=aside.matrix)))
    together = alike(trial, trial.ignored)
    found += [(of.column, of.p) for of in together]
    shown, drawn = listed(found), [of.column for of in together if of.nearly]
    if not found:
        every = np.hstack([trial.matrix, aside.matrix])
        both = told_apart(replace(trial, names=(*trial.names, *aside.names), matrix=every))
        if told.apart or not both.apart:  # what is learnt from tells the arms apart by itself: that fails
            return Check(name, True, Words(
                f"none of {len(trial.ignored)} is spread otherwise in an arm",
                f"{len(trial.ignored)}列的分布在各组间均无差异",
            ))  # fmt: skip
        found = [(column, both.auc.value) for column in aside.names]
        shown = f"{', '.join(columns_of(aside.names))} (AUC {both.auc.value:.3f})"
    names = columns_of(column for column, _ in found)
    columns = Words(" and ".join(filter(None, [", ".join(names[:-1]), names[-1]])), "、".join(names))
    return Check(
        name, None,
        Words(
            f"differ between arms that were drawn by lot: {shown}. What was written after the decision may. "
            "If any was known before, the propensities are not those of the draw, or rows are missing: "
            "leaving it out mends nothing"
            + (f". If the arm was drawn by {drawn[0]}, say --cluster {drawn[0]}" if drawn else ""),
            f"在随机分组之间存在差异：{shown}。决策之后写入的列可以如此；若其中任何一列在决策之前已知，"
            "则倾向得分并非抽取时所用，或有行缺失：排除该列无济于事"
            + (f"。若方案按{drawn[0]}抽取，请用--cluster {drawn[0]}" if drawn else ""),
        ),
        only_if=Words(
            f"{columns.en} {'was' if len(names) == 1 else 'were'} written after the decision",
            f"{columns.zh}在决策之后写入",
        ),
    )  # fmt: skip


def listed(found: Sequence[tuple[str, float]]) -> str:
    """The first columns of (column or value of one, p), and how many more there are."""
    least = {
        column: min(p for name, p in found if columns_of([name]) == (column,))
        for column in columns_of(name for name, _ in found)
    }
    more = len(least) - 5
    return ", ".join(f"{column} ({said(p)})" for column, p in list(least.items())[:5]) + (
        f" + {more}" * (more > 0)
    )


def doubt(en: str, zh: str) -> Words:
    """What is said of columns where few lots are as far off, and yet too many for a failure."""
    return Words(
        f"{en}. Few lots are as far off, though it is no proof: find out whether a column was written after "
        "the decision, and leave out what was (--ignore); until then nothing is claimed of choosing for each "
        "customer",
        f"{zh}。随机分配很少偏离至此，但尚不足以证明：请查明是否有列在决策之后写入，并用--ignore排除；"
        "在此之前，不声称为每位客户分别选择更好",
    )


def moments(values: Rows) -> list[Numbers]:
    """What of a column [n] a lottery spreads alike, of mean 0, where it differs: its ranks, whether null."""
    null = np.isnan(values)
    ranks = np.zeros(len(values))
    if (~null).any():
        ranks[~null] = rankdata(values[~null])
        ranks[~null] -= ranks[~null].mean()
    return [moment for moment in (ranks, null - null.mean()) if np.ptp(moment) > 0]


def post_treatment(trial: Trial) -> Iterator[tuple[str, float]]:
    """(column, p) of each whose values, or whose being known, differ between the arms of a lottery.

    By ranks, so that no outlier hides a difference, and by how often each part of the values comes, so that
    a difference in spread or shape shows although the means are alike; Bonferroni over the columns.
    """
    weighted, customers = weights(trial), trial.customer
    for name, values in zip(trial.names, trial.matrix.T, strict=True):
        null = np.isnan(values)
        tests = [by_the_lot(trial, moment) for moment in moments(values)]
        known = min(len(np.unique(customers[(trial.arm == k) & ~null])) for k in range(len(trial.arms)))
        if (shape := _parts(values, null, min(_PARTS, known // _EACH))).shape[1] > 2:
            # Of two parts, the ranks say it already.
            flat = (weighted[:, :, None] * shape[:, None, :]).reshape(len(values), -1)
            tests.append(differ(flat, customers))
        if tests and (p := len(tests) * min(tests)) < LEVEL / len(trial.names):
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
