"""What `propensity evaluate policy` and `propensity experiment plan` read, show and write."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from features.charts import Dot, dots
from features.describe.say import words
from features.describe.sheets import Sheet
from features.errors import UsageError
from features.files import write_atomically
from features.pages import banner, bullets, page, section, table
from features.words import Words
from propensity.sheets import show, told
from propensity.tables import say
from training.experiments import Outcome, customers_for, least_effect, looked_at, power
from training.immature import Immature
from training.policy_value import FEW, SWITCH, LoggedDecisions, PolicyValue, evaluate
from training.uplift_table import read

if TYPE_CHECKING:
    import pyarrow as pa

UNSURE = 3  # exit code: a warning
PAGE = 4  # exit code: a guardrail is broken
_ROUNDING = 1e-12  # of a figure of money or a share a decision
_HOLDOUTS = (0.02, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True)
class PolicyTable:
    """A table of decisions and its columns, as a command line names them.

    policy: a column with the arm that it would take, or the beginning of columns `<policy>_<arm>` with its
    chances; predicted: of columns `<predicted>_<arm>`.
    """

    file: Path
    arm: str
    propensity: str
    outcome: str
    policy: str
    customer: str | None = None
    predicted: str | None = None


def evaluate_policy(asked: PolicyTable, language: str, out: Path | None) -> int:
    """Judge a policy on a table of logged decisions; the exit code: 3 if the data cannot carry a verdict."""
    log, immature = read_log(asked)
    found = evaluate(log)
    if (biased := immature.biased()) is not None:
        found = replace(found, warnings=(biased, *found.warnings))
    return tell_policy(found, immature.total, language, out, [], immature.by_arm())


def tell_policy(
    found: PolicyValue,
    immature: int,
    language: str,
    out: Path | None,
    more: Sequence[Sheet],
    by_arm: Words | None = None,
    notes: Sequence[Words] = (),
) -> int:
    """Show what a policy would have earned, and write the page; the exit code. more: what else is shown.
    by_arm: of which arms the decisions without an outcome are. notes: what else to know."""
    say(told(found.verdict, language))
    lines = (*found.warnings, *notes, found.rule, found.elsewhere)
    for warning in lines:
        say(f"- {told(warning, language)}")
    sheets = [*policy_sheets(found, immature, by_arm), *more]
    for sheet in sheets:
        show(sheet, language)
    if out is not None:
        title = Words("What a policy would have earned", "策略的离线评估")
        tone = banner("good" if found.carried else "bad", found.verdict)
        parts = [tone, bullets([*lines])]
        parts.append(dots(
            [
                Dot(Words(of.name, of.name), of.gain, of.gain_low, of.gain_high,
                    "{} [{} {}]".format(*(number(g, "+").en for g in (of.gain, of.gain_low, of.gain_high))))
                for of in found.estimates
                if not math.isnan(of.gain + of.gain_low + of.gain_high)
            ],
            Words("Gain a decision over what was done, 95 %", "每次决策相对实际执行的增益，95%区间"),
            reference=0.0,
        ))  # fmt: skip
        write_page(out, title, parts, sheets, language)
    return 0 if found.carried else UNSURE


def read_log(asked: PolicyTable) -> tuple[LoggedDecisions, Immature]:
    """A log from a CSV or parquet file, and the decisions without an outcome, which were left out of it.

    UsageError for a column or a value that is not there.
    """
    file, arm, outcome, customer = asked.file, asked.arm, asked.outcome, asked.customer
    policy, propensity, predicted = asked.policy, asked.propensity, asked.predicted
    rows = read(file)
    needed = [arm, propensity, outcome, *([customer] if customer else [])]
    absent = [name for name in needed if name not in rows.column_names]
    if absent:
        raise UsageError(f"{file} has no column {', '.join(absent)}: it has {', '.join(rows.column_names)}")
    none = np.array(rows[outcome].is_null(nan_is_null=True))
    immature = Immature(
        np.array([str(of) for of in rows[arm].to_pylist()]), _numbers(rows, propensity), none,
        np.arange(len(none)) if customer is None else np.unique(
            np.array([str(of) for of in rows[customer].to_pylist()]), return_inverse=True
        )[1],
    )  # fmt: skip
    rows = rows.filter(~none)
    taken = [str(of) for of in rows[arm].to_pylist()]
    start = f"{policy}_"
    chances = [name.removeprefix(start) for name in rows.column_names if name.startswith(start)]
    if policy in rows.column_names:
        wanted = [str(of) for of in rows[policy].to_pylist()]
        arms = sorted({*taken, *wanted})
        target = (np.array(wanted)[:, None] == np.array(arms)[None, :]).astype(np.float64)
    elif chances:
        arms = sorted({*taken, *chances})
        target = np.column_stack([
            _numbers(rows, start + of) if of in chances else np.zeros(len(taken)) for of in arms
        ])  # fmt: skip
    else:
        raise UsageError(
            f"{file} has no column {policy} with the policy's arm, and none {start}<arm> with its chances"
        )
    places = {of: place for place, of in enumerate(arms)}
    model = None
    if predicted is not None:
        lacking = [f"{predicted}_{of}" for of in arms if f"{predicted}_{of}" not in rows.column_names]
        if lacking:
            raise UsageError(f"{file} has no column {', '.join(lacking)} with the predicted outcome")
        model = np.column_stack([_numbers(rows, f"{predicted}_{of}") for of in arms])
    log = LoggedDecisions(
        arm=np.array([places[of] for of in taken], np.intp),
        propensity=_numbers(rows, propensity),
        outcome=_numbers(rows, outcome),
        target=target,
        predicted=model,
        customer=None if customer is None else [str(of) for of in rows[customer].to_pylist()],
    )
    return log, immature


def _numbers(rows: pa.Table, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    import pyarrow as pa

    try:
        return np.array(rows[name].cast(pa.float64()).to_numpy(), np.float64)
    except pa.ArrowInvalid as error:
        raise UsageError(f"column {name} holds what is no number ({error})") from None


def policy_sheets(found: PolicyValue, immature: int, by_arm: Words | None = None) -> list[Sheet]:
    """The estimates, what they rest on, and the clipping curve."""
    left = None
    if by_arm is not None and immature:
        left = words("Without an outcome, and so left out: {arms}.", "无结果而未计入：{arms}。", arms=by_arm)
    estimates = Sheet(
        Words("Mean outcome a decision, 95 % intervals", "每次决策的平均结果，95%区间"),
        (Words("estimate", "估计方法"), Words("value", "值"), Words("interval", "区间"),
         Words("over what was logged", "相对实际策略"), Words("interval", "区间")),
        tuple(
            (of.name, number(of.value), interval(of.low, of.high),
             number(of.gain, "+"), interval(of.gain_low, of.gain_high))
            for of in found.estimates
        ),
        right=(1, 2, 3, 4),
        note=words(
            "What was done had {logged} a decision. Switch-DR leaves weights above {switch} to the "
            "outcome model, and its interval holds what these say of that model's error. Intervals are of "
            "one look and one policy: the best of several, or of many days, looks better than it is.",
            "实际策略每次决策的平均结果为{logged}。Switch-DR对权重超过{switch}的决策改用结果模型，"
            "其区间已计入这些权重所显示的模型误差。"
            "区间仅对单次查看、单个策略成立：从多个策略或多日中挑出的最优者会显得过好。",
            logged=number(found.logged), switch=f"{SWITCH:g}",
        ),
    )  # fmt: skip
    rests = Sheet(
        Words("What it rests on", "数据依据"),
        (Words("what", "项目"), Words("number", "数量")),
        (
            (Words("decisions with an outcome", "有结果的决策"), found.decisions),
            (Words("without one yet, left out", "尚无结果、未计入"), immature),
            (Words("customers", "客户"), found.customers),
            (words("effective customers; a verdict needs {few}", "有效客户数；得出结论至少需要{few}",
                   few=f"{FEW:.0f}"), round(found.effective)),
            (Words("decisions that the policy could have taken", "该策略可能做出的决策占比"),
             f"{found.matched:.1%}"),
            (Words("largest weight", "最大权重"), f"{found.largest:,.1f}"),
        ),
        right=(1,), note=left,
    )  # fmt: skip
    clipping = Sheet(
        Words("If weights are cut", "权重截断的影响"),
        (Words("at", "上限"), Words("of the decisions", "受影响的决策"),
         Words("SNIPS", "SNIPS"), Words("DR", "DR")),
        tuple(
            (Words("not at all", "不截断") if of.share == 0 and of.cap == np.inf else f"{of.cap:g}",
             f"{of.share:.1%}", number(of.snips), number(of.dr))
            for of in found.clipping
        ),
        right=(1, 2, 3),
        note=found.steady,
    )  # fmt: skip
    return [estimates, rests, clipping]


def plan_experiment(
    base: float,
    effect: float | None,
    deviation: float | None,
    holdout: float,
    customers: int | None,
    wanted: float,
    language: str,
    out: Path | None,
) -> None:
    """Say how large an experiment must be, or what one of that size shows."""
    if effect is None and customers is None:
        raise UsageError("nothing to plan: give --effect, --customers, or both")
    outcome = Outcome(base, deviation)
    headline = _headline(outcome, effect, holdout, customers, wanted)
    holdouts = sorted({*_HOLDOUTS, holdout})
    sheet = plan_sheet(outcome, effect, holdouts, customers, wanted)
    say(told(headline, language))
    show(sheet, language)
    if out is not None:
        write_page(
            out, Words("Plan of an experiment", "实验方案"),
            [banner("good", headline), *_plan_picture(outcome, effect, holdouts, customers, wanted)],
            [sheet], language,
        )  # fmt: skip


def _headline(
    outcome: Outcome, effect: float | None, holdout: float, customers: int | None, wanted: float
) -> Words:
    if effect is not None and customers is not None:
        chance = f"{power(outcome, effect, holdout, customers):.0%}"
        return words(
            "With {n} customers and {h} held out, an effect of {e} is shown with a probability of {p}.",
            "共{n}位客户、{h}对照，检出效果{e}的概率为{p}。",
            n=customers, h=f"{holdout:.1%}", e=f"{effect:g}", p=chance,
        )  # fmt: skip
    if effect is not None:
        return words(
            "{n} customers, {h} of them held out, show an effect of {e} with a probability of {p}.",
            "需要{n}位客户（其中{h}对照），才能以{p}的概率检出效果{e}。",
            n=customers_for(outcome, effect, holdout, wanted), h=f"{holdout:.1%}", e=f"{effect:g}",
            p=f"{wanted:.0%}",
        )  # fmt: skip
    assert customers is not None
    least = _shown(least_effect(outcome, holdout, customers, wanted))
    return words(
        "With {n} customers and {h} held out, the least effect that is shown with a probability of {p}: {e}.",
        "共{n}位客户、{h}对照，能以{p}的概率检出的最小效果为{e}。",
        n=customers, h=f"{holdout:.1%}", p=f"{wanted:.0%}", e=least,
    )  # fmt: skip


def _plan_picture(
    outcome: Outcome, effect: float | None, holdouts: list[float], customers: int | None, wanted: float
) -> list[Any]:
    """By share held out: the power, what is shown least, or the customers that are needed."""
    values: list[float | None]
    if effect is not None and customers is not None:
        title = Words("Chance to show the effect", "检出该效果的概率")
        values = [power(outcome, effect, h, customers) for h in holdouts]
        texts = [f"{of:.0%}" for of in values if of is not None]
    elif effect is not None:
        title = words("Customers for {p}", "达到{p}所需客户", p=f"{wanted:.0%}")
        values = [float(customers_for(outcome, effect, h, wanted)) for h in holdouts]
        texts = [f"{of:,.0f}" for of in values if of is not None]
    else:
        assert customers is not None
        title = Words("Least effect that is shown, one look", "能检出的最小效果（只看一次）")
        values = [least_effect(outcome, h, customers, wanted) for h in holdouts]
        texts = [_shown(of) for of in values if of is not None]
    known = [(h, of) for h, of in zip(holdouts, values, strict=True) if of is not None]
    rows = [
        Dot(words("{h} held out", "{h}对照", h=f"{h:.1%}"), of, shown=text)
        for (h, of), text in zip(known, texts, strict=True)
    ]
    return [dots(rows, title)] if rows else []


def plan_sheet(
    outcome: Outcome, effect: float | None, holdouts: list[float], customers: int | None, wanted: float
) -> Sheet:
    """What each share of customers held out asks for, and shows."""
    head, rows = [Words("held out", "对照比例")], [[f"{h:.1%}"] for h in holdouts]
    if effect is not None:
        head.append(words("customers for {p}", "达到{p}所需客户", p=f"{wanted:.0%}"))
        for row, h in zip(rows, holdouts, strict=True):
            row.append(f"{customers_for(outcome, effect, h, wanted):,}")
    if customers is not None:
        head += [Words("least effect, one look", "最小效果（只看一次）"),
                 Words("least effect, looked at any day", "最小效果（可每日查看）")]  # fmt: skip
        for row, h in zip(rows, holdouts, strict=True):
            row += [
                _shown(least_effect(outcome, h, customers, wanted)),
                _shown(looked_at(outcome, h, customers, wanted)),
            ]
        if effect is not None:
            head.append(Words("power", "检出概率"))
            for row, h in zip(rows, holdouts, strict=True):
                row.append(f"{power(outcome, effect, h, customers):.0%}")
    return Sheet(
        Words("By share held out", "按对照比例"), tuple(head), tuple(map(tuple, rows)),
        right=tuple(range(len(head))),
        note=Words(
            "Two-sided test, customers drawn at random. One look: the first of `evaluate holdout`, at the "
            "end that was planned, which may err by 3 % so that all later ones stay within 5 %. Any day: "
            "with a confidence sequence at 5 %, which stays valid however often it is looked at.",
            "双侧检验，客户随机分组。只看一次：`evaluate holdout`在计划结束时点的首次查看，允许误判3%，"
            "使以后各次查看合计不超过5%。可每日查看：使用显著性5%的置信序列，查看多少次都有效。",
        ),
    )  # fmt: skip


def write_page(out: Path, title: Words, parts: list[Any], sheets: list[Sheet], language: str) -> None:
    """A page of parts and sheets, and its path on standard output."""
    told_in = [
        section(of.title, table(of.head, of.rows, of.right), note=of.note or "")
        if of.rows
        else section(of.title, note=of.empty)
        for of in sheets
    ]
    write_atomically(out, page(title, *parts, *told_in, language=language).encode())
    say(str(out))


def number(value: float, sign: str = "") -> Words:
    """Four digits; 0 for what rounding alone left of it, and of what is no number that it is not known.

    >>> number(-7e-15).en
    '0'
    """
    if math.isnan(value):
        return Words("not known", "未知")
    said = f"{value:{sign}.4g}" if abs(value) > _ROUNDING else "0"
    return Words(said, said)


def interval(low: float, high: float) -> Words:
    """Both ends, as `number` has them."""
    if math.isnan(low) or math.isnan(high):
        return number(math.nan)
    return words("{low} to {high}", "{low}至{high}", low=number(low), high=number(high))


def _shown(effect: float | None) -> str:
    return "–" if effect is None else f"{effect:.3g}"
