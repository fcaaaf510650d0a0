"""What `propensity evaluate policy` and `propensity evaluate actions` make of the ledger's own decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from features.charts import Dot, dots
from features.describe.say import words
from features.describe.sheets import Sheet
from features.moments import to_us
from features.pages import banner, bullets, tiles
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from propensity.actions_shown import brought_sheet, harms_sheet, together_sheet, use
from propensity.credited import credits_sheet, held_beside
from propensity.evaluated import PAGE, UNSURE, tell_policy, write_page
from propensity.sheets import show, told
from propensity.tables import say
from serving import effects
from training import attribution, counted, logged_policy, outcomes_by_arm, registry, roi
from training.logged import Logged, moment, read
from training.logged_outcomes import From
from training.roi import Brought, Harm
from training.uplift_logged import reported_of_all


@dataclass(frozen=True)
class LoggedPolicy:
    """policy: an action's name, `greedy`, `uplift` or `uplift@VERSION`. since: earlier ones are left out."""

    policy: str
    outcome: str = "margin"
    source: From | None = None
    since: datetime | None = None


def evaluate_logged(settings: Settings, asked: LoggedPolicy, language: str, out: Path | None) -> int:
    """Judge a policy on the ledger; the exit code: 3 if the data cannot carry a verdict."""
    logged = read(settings, asked.source)
    since = asked.since
    model = None
    if asked.policy.partition("@")[0] == effects.KIND:
        version = registry.resolve(settings, effects.KIND, asked.policy.partition("@")[2] or None)
        model = effects.load(registry.folder_of(settings, effects.KIND, version))
    if since is not None:
        logged = logged.part(logged.as_of >= to_us(since))
    warnings = []
    if model is None:
        choice = (
            logged_policy.greedy(logged)
            if asked.policy == logged_policy.GREEDY
            else logged_policy.constant(logged, asked.policy)
        )
    else:
        choice = logged_policy.of_model(logged, model)
        learnt = model.card.trained_on.end
        if (logged.as_of <= to_us(learnt)).any():
            warnings.append(words(
                "The model has learnt from decisions until {day}: judge it on later ones (--since)",
                "模型学习了截至{day}的决策：请用之后的决策评估（--since）", day=f"{learnt:%Y-%m-%d}",
            ))  # fmt: skip
    warnings += _unlike(logged)
    found = logged_policy.warned(logged_policy.judged(logged, choice, asked.outcome), warnings)
    notes = [] if logged.why is None else [logged.why]
    return tell_policy(
        found, int((~logged.mature).sum()), language, out, [outcomes_sheet(logged)], notes=notes
    )


def _unlike(logged: Logged) -> list[Words]:
    """Why outcomes do not compare what was done, if they were not told of all alike."""
    alike = reported_of_all(logged)
    none = [alike.words] if alike.holds is False else []
    none += [logged.lacking] if logged.lacking is not None else []
    return [*none, *outcomes_by_arm.silent(logged), *outcomes_by_arm.unlike(logged)]


def outcomes_sheet(logged: Logged) -> Sheet:
    """Of each action, how many decisions have no outcome yet, or none that counts."""
    return Sheet(
        Words("Outcomes by action", "各行动的结果"),
        (Words("action", "行动"), Words("decisions", "决策"), Words("not final yet", "未成熟"),
         Words("with an order that counts", "有计入的订单"), Words("with one told too late", "订单上报过晚")),
        tuple(
            (one.action, f"{one.decisions:,}", _of(one.young, one.decisions),
             _of(one.ordered, one.decisions - one.young),
             _of(one.late, one.decisions) if logged.source == "reported" else "–")
            for one in outcomes_by_arm.by_arm(logged)
        ),
        right=(1, 2, 3, 4),
        note=Words(
            "The holdout is left out. Orders are those of final decisions; of whom none was told, there was "
            "none. If actions lack outcomes unlike by more than chance, it is said above.",
            "不含对照组。订单仅计已成熟的决策；未上报订单即视为没有订单。若各行动缺失结果的差异超出随机误差，上文会指出。",
        ),
    )  # fmt: skip


def _of(some: int, all: int) -> str:
    return f"{some:,} ({some / all:.1%})" if all else "–"


def evaluate_actions(settings: Settings, source: From | None, language: str, out: Path | None) -> int:
    """What contacts brought; the exit code: 4 if a guardrail is broken, 3 if outcomes cannot be compared."""
    logged, currency = read(settings, source), shop_of(settings).currency
    found, harms = roi.brought(logged), roi.harms(logged)
    held = held_beside(settings)
    none = counted.none_counts(logged)
    warnings = [none] if none else _unlike(logged)
    if warnings:  # what the headline does not claim, no row, tile or picture does
        found, harms = [one.withheld for one in found], [one.withheld for one in harms]
    tone, headline = _headline(found, harms, bool(warnings), currency, none)
    sheets = [
        brought_sheet(logged, found, currency), harms_sheet(logged, harms),
        credits_sheet(logged, held, comparable=not warnings),
        together_sheet(attribution.interactions(logged), comparable=not warnings),
    ]  # fmt: skip
    say(told(headline, language))
    told_of = logged.why, _young(logged), _untold(found), _late(logged, none)
    notes = [note for note in told_of if note is not None]
    for warning in (*warnings, *notes):
        say(f"- {told(warning, language)}")
    for sheet in sheets:
        show(sheet, language)
    if out is not None:
        parts: list[Any] = [banner("good" if tone else "bad", headline)]
        parts += [bullets([*warnings, *notes])] if warnings or notes else []
        parts += [tiles(_tiles(logged, found, currency)), *_pictures(found, harms, currency)]
        write_page(out, Words("What actions brought", "行动带来了什么"), parts, sheets, language)
    if any(one.state == "broken" for one in harms):
        return PAGE
    return UNSURE if warnings else 0


def _headline(
    found: Sequence[Brought], harms: Sequence[Harm], warned: bool, currency: str, none: Words | None = None
) -> tuple[bool, Words]:
    broken = [one for one in harms if one.state == "broken"]
    if broken:
        one = broken[0]
        return False, words(
            "Stop {action}: it raises {harm} by more than {most}.",
            "请停止{action}：它使{harm}上升超过{most}。",
            action=one.action, harm=one.guardrail.name, most=f"{one.guardrail.most:.1%}",
        )  # fmt: skip
    if none:
        return False, Words("What actions brought is not known.", "尚不知行动带来了什么。")
    if warned:
        return False, Words(
            "Nothing is claimed: outcomes were not told alike of what was done and what was not.",
            "不作任何结论：对行动与不行动的结果上报不一致。",
        )
    known = [one for one in found if one.margin is not None]
    if not known:
        return False, Words(
            "What actions brought is not known yet: too few final outcomes, or nothing was left to chance.",
            "尚不知行动带来了什么：最终结果过少，或未留随机性。",
        )
    # Every line of the table is in one of these numbers, or it looks as if the others were forgotten.
    n = Counter(one.verdict for one in found)
    parts = [words(
        "Of {n} uses of channels, {pays} earned more than they cost, {loses} less",
        "共{n}种渠道用途：{pays}种收益高于成本，{loses}种低于成本",
        n=len(found) - n["owed"], pays=n["pays"], loses=n["loses"],
    )]  # fmt: skip
    if n["open"]:
        parts.append(words(
            "; of {n} the interval is too wide to tell", "；{n}种区间过宽，无法判断", n=n["open"]
        ))  # fmt: skip
    if n["unsaid"]:
        parts.append(words(
            "; of {n} it depends on what was sent, which nobody told",
            "；{n}种取决于是否已送出，而无送达回报", n=n["unsaid"],
        ))  # fmt: skip
    if n["unknown"]:
        parts.append(words("; of {n} nothing is known", "；{n}种未知", n=n["unknown"]))
    if n["owed"]:
        parts.append(words(
            "; {n} more are owed to customers", "；另有{n}种为对客户应尽的服务", n=n["owed"]
        ))  # fmt: skip
    return not n["loses"], Words("".join(of.en for of in parts) + ".", "".join(of.zh for of in parts) + "。")


def _young(logged: Logged) -> Words | None:
    """How many decisions have no final outcome yet, and until when; None if all have."""
    young = ~logged.mature
    if not young.any():
        return None
    first, last = (f"{moment(end):%Y-%m-%d}" for end in _ends(logged.matures_at[young]))
    log = logged.source == "log"
    return words(
        "{n} of {all} decisions are not final yet: the next is on {first}, the last on {last}{log}",
        "{all}次决策中有{n}次结果未成熟：最早于{first}、最晚于{last}成熟{log}",
        n=f"{int(young.sum()):,}", all=f"{len(logged):,}", first=first, last=last,
        log=Words(", once the log tells it", "（须待日志覆盖至该日）") if log else Words("", ""),
    )  # fmt: skip


def _ends(of: Any) -> tuple[Any, Any]:
    return of.min(), of.max()


def _late(logged: Logged, none: Words | None) -> Words | None:
    """How many orders count for nothing, where others do; None if all that were told do."""
    late = None if none else counted.late_words(logged)
    return late and words("Orders that count for nothing: {late}", "未计入的订单：{late}", late=late)


def _untold(found: Sequence[Brought]) -> Words | None:
    """How many contacts nobody told of; None if none."""
    untold = sum(one.untold for one in found)
    if not untold:
        return None
    return words(
        "Of {n} of {all} contacts nobody told whether they were sent (POST /v1/deliveries): their cost is "
        "not among the costs, but told beside them; the return counts it as if they were sent, and a verdict "
        "is told where it is the same whether they were sent or not",
        "{all}次触达中有{n}次无送达回报（POST /v1/deliveries）：成本栏不含其成本，另列于其旁；"
        "回报率按已送出计；无论这些触达是否送出结论都相同时，才给出结论",
        n=f"{untold:,}", all=f"{sum(one.decided for one in found):,}",
    )  # fmt: skip


def _tiles(logged: Logged, found: Sequence[Brought], currency: str) -> list[tuple[Words, str]]:
    cost = sum(one.cost for one in found)
    margin = [one.margin.value for one in found if one.margin is not None]
    return [
        (Words("decisions", "决策"), f"{len(logged):,}"),
        (Words("with a final outcome", "结果已成熟"), f"{int(logged.mature.sum()):,}"),
        (Words("contacts sent", "已送出的触达"), f"{sum(one.sent for one in found):,}"),
        (words("cost, {c}", "成本（{c}）", c=currency), f"{cost:,.2f}"),
        (
            words("margin brought, {c}", "带来的毛利（{c}）", c=currency),
            f"{sum(margin):,.2f}" if margin else "–",
        ),
    ]


def _pictures(found: Sequence[Brought], harms: Sequence[Harm], currency: str) -> list[Any]:
    rows = [
        Dot(use(one), one.margin.value - one.most, one.margin.low - one.most, one.margin.high - one.most,
            f"{one.margin.value - one.most:+,.0f} {currency}")
        for one in found
        if one.margin is not None
    ]  # fmt: skip
    pictures = []
    if rows:
        title = Words(
            "Margin brought less its cost if all was sent, 95 % intervals",
            "带来的毛利减全部送出时的成本，95%区间",
        )
        pictures.append(dots(rows, title, reference=0.0))
    ill = [
        Dot(Words(f"{one.action}: {one.guardrail.name.en}", f"{one.action}：{one.guardrail.name.zh}"),
            one.difference.value, one.difference.low, one.difference.high, f"{one.difference.value:+.2%}")
        for one in harms
        if one.difference is not None
    ]  # fmt: skip
    if ill:
        most = harms[0].guardrail.most
        title = Words("Rise of harms; the dashed line is what is tolerated", "负面影响的上升；虚线为容忍上限")
        pictures.append(dots(ill, title, reference=most))
    return pictures
