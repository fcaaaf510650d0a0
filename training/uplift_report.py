"""What a trial says, for people: a verdict, tables in both languages, a page."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from features.charts import Dot, dots
from features.describe.say import words
from features.describe.sheets import Sheet
from features.pages import Html, banner, page, section, table
from features.words import Words
from training.qini import Ranking
from training.uplift import Uplift
from training.uplift_balance import Check
from training.uplift_draw import assumed
from training.uplift_estimates import Estimate, shown
from training.uplift_trial import Trial
from training.uplift_verdict import LEARNERS, called, failed, only_if, verdict

Beside = Mapping[str, Sequence[Estimate]]  # of each outcome by which nothing is chosen, the arms' effects
NONE: Beside = {}


def arms(found: Uplift, unknown: Collection[int] = (), trial: Trial | None = None) -> Sheet:
    """Each arm, its effect and who would get it. unknown: arms of which no effect can be told."""
    drawn = assumed(trial) if trial is not None else Words("", "")
    not_known = Words("not known", "未知")
    shares = np.bincount(found.chosen, minlength=len(found.arms)) / len(found.chosen)
    policy = shares if found.personal else _of_default(found)
    rows = [
        (
            name, int(found.rows[k]), not_known if k in unknown else f"{found.reach[k]:.0%}",
            not_known if k in unknown else shown(found.means[k]),
            None if not k else not_known if {0, k} & {*unknown} else shown(found.effects[k], True),
            f"{found.costs[k]:g}", f"{policy[k]:.0%}",
        )
        for k, name in enumerate(found.arms)
    ]  # fmt: skip
    return Sheet(
        Words("Arms", "方案"),
        (
            Words("arm", "方案"), Words("decisions", "决策数"), Words("possible for", "可得占比"),
            words("mean {o}", "平均{o}", o=found.outcome),
            words("over {c}", "比{c}多", c=called(found.arms[0])), Words("cost", "成本"),
            Words("of the policy", "策略占比"),
        ),
        tuple(rows), right=(1, 2, 3, 4, 5, 6),
        note=Words(
            "Means if everyone for whom it is possible had the arm, doubly robust, with 95 % intervals. The "
            f"intervals of all differences between arms hold together. {drawn.en}".strip(),
            f"“若所有可得者都得到该方案”的均值（双重稳健），附95%区间。各方案间差异的区间同时成立。{drawn.zh}",
        ),
    )  # fmt: skip


def _of_default(found: Uplift) -> np.ndarray:
    """Shares of the default, and of the control where it is not possible."""
    share = np.zeros(len(found.arms))
    share[found.default] += found.reach[found.default]
    share[0] += 1 - found.reach[found.default]
    return share


def fifths(found: Uplift, unknown: Collection[int] = ()) -> Sheet:
    """Whether those who are predicted to be moved more were moved more; of arms whose effect can be told."""
    alike = Words("all, predicted alike", "全部（预测相同）")
    rows = [
        (found.arms[k], place + 1 if len(parts) > 1 else alike, f"{predicted:+.4g}", shown(came, True))
        for k, parts in enumerate(found.fifths, start=1)
        for place, (predicted, came) in enumerate(parts)
        if not {0, k} & {*unknown}
    ]
    return Sheet(
        Words("Predicted effects, and what came", "预测效果与实际结果"),
        (
            Words("arm", "方案"), Words("fifth", "五分位"), Words("predicted", "预测"), Words("came", "实际"),
        ),
        tuple(rows), right=(1, 2, 3),
        note=words(
            "Customers in fifths by predicted effect, by models that have not seen them ({learner}), shrunk "
            "to the arm's mean as far as they proved right. Whoever is predicted alike is in one part. Each "
            "95 % interval is of its part alone: one of several may miss.",
            "按预测效果将客户分为五等份；模型未见过这些客户（{learner}），并按其准确程度向方案均值收缩。预测相同者归入同一部分。"
            "各95%区间仅对该部分单独成立：多个之中可能有一个不准。",
            learner=LEARNERS[found.learner],
        ),
        empty=Words("No effect can be told.", "无法得知任何效果。"),
    )  # fmt: skip


def unknown_of(checks: Sequence[Check]) -> frozenset[int]:
    """Places of the arms of which, by the checks, no effect can be told."""
    return frozenset(k for check in checks if check.holds is False for k in check.arms)


def rankings(ranked: Sequence[Ranking]) -> Sheet:
    """Who finds those whom an arm moves: the effect, or the chance to buy."""

    def state(of: Ranking) -> Words:
        if (one := of.more) is None:
            return of.untold or Words("not compared", "不比较")
        if one.low <= 0 <= one.high:
            return Words("not told apart", "无法区分")
        return Words("uplift", "增益模型") if one.value > 0 else Words("response model", "响应模型")

    return Sheet(
        Words("Ranking by effect, beside a response model", "按效果排序，与响应模型对照"),
        (
            Words("arm", "方案"), Words("Qini", "Qini"), Words("response model", "响应模型"),
            Words("AUUC", "AUUC"), Words("response model", "响应模型"), Words("Qini more", "Qini之差"),
            Words("better", "更优"),
        ),
        tuple(
            (of.arm, f"{of.qini:.4f}", f"{of.qini_response:.4f}", f"{of.auuc:.4f}", f"{of.auuc_response:.4f}",
             shown(of.more, True) if of.more else None, state(of))
            for of in ranked
        ),
        right=(1, 2, 3, 4, 5),
        note=Words(
            "0: no better than chance, 1: the best possible. A response model ranks by who buys, whatever "
            "is done. Customers are ranked among those whom the same model has not seen. Where uplift is "
            "better, it tells whom an arm moves most, which counts if the arm is dear or cannot be given to "
            "all; that some do better without it is another question, and the verdict answers it by what a "
            "policy earns.",
            "0：不优于随机；1：最优。响应模型按购买可能性排序，与是否触达无关。客户仅与同一模型未见过的客户一起排序。"
            "增益模型更优，说明它更能找出最受影响的客户：当方案昂贵或无法给予所有人时有用；"
            "是否有人不采用该方案更好是另一个问题，由结论按策略收益回答。",
        ),
        empty=Words(
            "Only for outcomes of 0 and 1, in a lottery with one propensity an arm.",
            "仅适用于0/1结果，且每个方案的概率恒定。",
        ),
    )  # fmt: skip


def others(found: Uplift, beside: Beside, unknown: Collection[int] = ()) -> Sheet:
    """What the arms do to outcomes by which nothing is chosen."""
    return Sheet(
        Words("Other outcomes", "其他结果"),
        (
            Words("outcome", "结果"), Words("arm", "方案"),
            words("over {c}", "比{c}多", c=called(found.arms[0])),
        ),
        tuple(
            (outcome, found.arms[k],
             Words("not known", "未知") if {0, k} & {*unknown} else shown(effect, True))
            for outcome, effects in beside.items()
            for k, effect in enumerate(effects)
            if k
        ),
        right=(2,),
        note=words(
            "Before costs. What is chosen, and the verdict, is by {o} alone, which was named first. Of each "
            "outcome the intervals of all arms hold together; of many outcomes, one may look good by chance.",
            "未扣成本。选择与结论仅依据最先指定的{o}。每个结果各方案的区间同时成立；结果较多时，可能有某个偶然显得好。",
            o=found.outcome,
        ),
    )  # fmt: skip


def as_json(
    trial: Trial, found: Uplift, checks: Sequence[Check], ranked: Sequence[Ranking], beside: Beside = NONE
) -> dict[str, Any]:
    """All of it, for programs."""
    share = np.bincount(found.chosen, minlength=len(found.arms)) / len(found.chosen)
    unknown = unknown_of(checks)
    return {
        "drawn_by": trial.cluster or trial.unit, "assumed": assumed(trial)._asdict(),
        "outcome": found.outcome, "evidence": found.evidence, "rows": len(trial),
        "notes": [of._asdict() for of in trial.notes],
        "verdict": verdict(found, checks)._asdict(), "best": found.arms[found.best],
        "default": found.arms[found.default], "better": found.better,
        "only_if": rests._asdict() if (rests := only_if(checks)) else None,
        "personal": found.personal, "learner": found.learner, "gain": found.gain._asdict(),
        "gain_over_default": found.instead._asdict(),
        "checks": [
            {"name": of.name.en, "holds": of.holds, "doubtful": of.doubtful, "words": of.words._asdict()}
            for of in checks
        ],
        "arms": [
            {
                "arm": name, "decisions": int(found.rows[k]),
                "reach": None if k in unknown else float(found.reach[k]),
                "cost": float(found.costs[k]),
                "mean": None if k in unknown else found.means[k]._asdict(),
                "effect": None if {0, k} & unknown else found.effects[k]._asdict(),
                "best_over": None if {found.best, k} & unknown else found.over[k]._asdict(),
                "of_the_policy": float(share[k] if found.personal else _of_default(found)[k]),
            }
            for k, name in enumerate(found.arms)
        ],
        "others": {
            outcome: {
                name: None if {0, k} & unknown else of[k]._asdict()
                for k, name in enumerate(found.arms)
                if k
            }
            for outcome, of in beside.items()
        },
        "rankings": [
            of._asdict()
            | {name: part and part._asdict() for name, part in (("more", of.more), ("untold", of.untold))}
            for of in _told(found, ranked, unknown)
        ],
    }  # fmt: skip


def checked(checks: Sequence[Check], unread: Sequence[str] = (), notes: Sequence[Words] = ()) -> Sheet:
    """What was looked at."""
    state = {
        True: Words("no sign of trouble", "未见异常"),
        False: Words("FAILS", "未通过"),
        None: Words("cannot tell", "无法判断"),
    }
    given, far = Words("rests on your word", "以您所述为准"), Words("few lots are as far off", "较为少见")
    rows = [
        (check.name, given if check.only_if is not None else far if check.doubtful else state[check.holds],
         check.words)
        for check in checks
    ]  # fmt: skip
    left = words(
        "Columns left out, of too many values: {n}.", "因取值过多而未使用的列：{n}。", n=", ".join(unread)
    )
    return Sheet(
        Words("Checks", "检查"),
        (Words("check", "检查项"), Words("state", "状态"), Words("what", "说明")),
        tuple(rows), note=_together([*notes, *[left] * bool(unread)]),
    )  # fmt: skip


def _together(notes: Sequence[Words]) -> Words | None:
    return Words(" ".join(of.en for of in notes), "".join(of.zh for of in notes)) if notes else None


def sheets(
    trial: Trial, found: Uplift, checks: Sequence[Check], ranked: Sequence[Ranking], beside: Beside = NONE
) -> tuple[Sheet, ...]:
    """All of it, in the order in which it is read."""
    unknown = unknown_of(checks)
    ranked = _told(found, ranked, unknown)
    more = (others(found, beside, unknown),) if beside else ()
    figures = (arms(found, unknown, trial), *more, fifths(found, unknown), rankings(ranked))
    if failed(checks):
        figures = tuple(replace(one, note=_doubted(one.note)) for one in figures)
    return checked(checks, trial.unread, trial.notes), *figures


def _doubted(note: Words | None) -> Words:
    """A note after a warning: whoever reads a table alone has not read the verdict."""
    doubt = Words(
        "A check fails: what stands here is no effect to go by.", "有检查未通过：以下数字不可作为效果依据。"
    )
    return doubt if note is None else Words(f"{doubt.en} {note.en}", f"{doubt.zh}{note.zh}")


def _told(found: Uplift, ranked: Sequence[Ranking], unknown: Collection[int]) -> list[Ranking]:
    """Those of arms whose effect can be told."""
    return [of for of in ranked if not {0, found.arms.index(of.arm)} & {*unknown}]


def render(
    name: str, trial: Trial, found: Uplift, checks: Sequence[Check], ranked: Sequence[Ranking],
    language: str = "en", beside: Beside = NONE,
) -> str:  # fmt: skip
    """One self-contained HTML document in both languages; `language`: the one that it shows at first."""
    good = found.evidence == "randomised" and not failed(checks)
    unknown = unknown_of(checks)
    kept = _told(found, ranked, unknown)
    parts: list[Html] = [banner("good" if good else "bad", verdict(found, checks))]
    for sheet in sheets(trial, found, checks, ranked, beside):
        body = table(sheet.head, sheet.rows, sheet.right) if sheet.rows else ""
        extra = _effects(found, unknown) if sheet.title == arms(found).title else ""
        extra = _ranked(kept) if sheet.title == rankings(kept).title else extra
        note = sheet.note or "" if sheet.rows else sheet.empty
        parts.append(section(sheet.title, Html(extra), Html(body), note=note))
    title = words("Trial {name}: {outcome}", "试验{name}：{outcome}", name=name, outcome=found.outcome)
    n = f"{len(trial):,}"
    note = words("{n} customers, {k} arms.", "{n}位客户，{k}个方案。", n=n, k=len(found.arms))
    return page(title, *parts, note=note, language=language)


def _ranked(ranked: Sequence[Ranking]) -> Html:
    rows = [Dot(Words(of.arm, of.arm), *of.more, shown=shown(of.more, True)) for of in ranked if of.more]
    if not rows:
        return Html("")
    title = Words("Qini coefficient more than a response model's, 95 %", "Qini系数比响应模型高出，95%区间")
    return dots(rows, title, reference=0.0)


def _effects(found: Uplift, unknown: Collection[int] = ()) -> Html:
    rows = [
        Dot(Words(name, name), *found.effects[k], shown=shown(found.effects[k], True))
        for k, name in enumerate(found.arms)
        if k and not {0, k} & {*unknown}
    ]
    over = Words("personal policy over the best arm", "个性化策略比最佳方案多")
    if not unknown and found.gain.low < found.gain.high:
        rows.append(Dot(over, *found.gain, shown=shown(found.gain, True)))
        if found.default != found.best:
            usual = called(found.arms[found.default])
            over = words("personal policy over {arm}", "个性化策略比{arm}多", arm=usual)
            rows.append(Dot(over, *found.instead, shown=shown(found.instead, True)))
    title = words("{o}: effects with 95 % intervals", "{o}：效果及95%区间", o=found.outcome)
    return dots(rows, title, reference=0.0)
