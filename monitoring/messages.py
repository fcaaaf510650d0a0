"""What is told of alerts: the data of the event, and the same in words, in English and Chinese.

A message is one fault: all alerts of one topic in one run. It says what, how much, since when, the likely
cause, what makes up most of it, what to do, and where to read on.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from html import escape
from math import isfinite
from typing import Literal, NamedTuple

from msgspec import Struct

from features.words import Words
from monitoring.episodes import News, Severity
from monitoring.findings import Of, Scores, scores

Language = Literal["en", "zh"]
LISTED = 10  # alerts of a message that its data tell one by one
_LABEL = "padding:2px 12px 2px 0;color:#666;vertical-align:top;white-space:nowrap"
_TEXT = "padding:2px 0;overflow-wrap:anywhere"
SHOWN = 3  # and its words
TOLD = 3  # contributors that are told


class Said(Struct, frozen=True):
    """Words as JSON has them: by their language."""

    en: str
    zh: str

    @classmethod
    def of(cls, words: Words | None) -> "Said | None":
        """The same, or nothing."""
        return None if words is None else cls(*words)


class Share(Struct, frozen=True):
    """What makes up most of it. excess: over its own limit; 1 is at it."""

    name: str
    words: Said
    excess: float | None


class Told(Struct, frozen=True):
    """One alert of a message. limit: that was crossed; warns, pages: the values from which on it is which.
    stage: how far what is done about it has come. of: what was asked; only of a release its words do not say
    which. ranks_only: the scores say who comes first, and are no probabilities."""

    alert: str
    subject: str
    check: str
    news: News
    severity: Severity
    words: Said
    value: float | None
    limit: float | None
    since: date
    acknowledged_by: str = ""
    stage: str = ""
    of: Of = "release"
    warns: float | None = None
    pages: float | None = None
    ranks_only: bool = False


class Telling(Struct, frozen=True):
    """The data of an event. kind: of its most urgent news. alerts: the worst first, at most LISTED; more: how
    many beside. going_on: others of the topic, told before, that are not over. owner: who acts; owner_name:
    as the shop calls them. runbook, report: an address, or what to type or open."""

    kind: News
    severity: Severity
    topic: str
    shop: str
    as_of: datetime
    title: Said
    owner: str
    owner_name: str
    since: date
    alerts: tuple[Told, ...]
    more: int = 0
    going_on: int = 0
    cause: Said | None = None
    contributors: tuple[Share, ...] = ()
    action: Said | None = None
    acknowledge: str = ""
    runbook: str = ""
    report: str = ""


class Line(NamedTuple):
    """A line of a message. label: what it is, "" of one that goes on. item: one of a list."""

    label: str
    text: str
    item: bool = False


HEADS: dict[News, Words] = {
    "firing": Words("", ""),
    "worse": Words("worse than told before", "较此前通知已加重"),
    "changed": Words("news of it", "最新进展"),
    "reminder": Words("still on", "仍未恢复"),
    "escalation": Words("nobody acknowledged it", "无人认领"),
    "closed": Words("closed, judged no more", "已不再判断，关闭"),
    "resolved": Words("over", "已恢复"),
}
OVER: tuple[News, ...] = ("closed", "resolved")
SEVERITIES: dict[Severity, Words] = {"warning": Words("warning", "警告"), "page": Words("PAGE", "告警")}
USABLE: dict[Scores, Words] = {  # the scores, while it is on
    "usable": Words("can be used", "可继续使用"),
    "to_rank": Words("can be used to say who comes first, not for budgets", "可用于排序，不宜用于预算"),
    "doubtful": Words(
        "may be wrong until this is mended: begin nothing that rests on them",
        "修复前可能有误，请勿据此开展新的触达",
    ),
    "unanswered": Words("are not given until this is mended", "修复前不再给出"),
}


def title(kind: News, severity: Severity, said: Words, others: int) -> Said:
    """One line: how urgent, and what was seen; the worst speaks for all. others: how many more alerts."""
    head, urgent = HEADS[kind], SEVERITIES[severity]
    if kind in OVER:
        en, zh = head.en.upper(), head.zh
    else:
        en = f"{urgent.en}, {head.en}" if head.en else urgent.en
        zh = f"{urgent.zh}，{head.zh}" if head.zh else urgent.zh
    words = first(Said(*said))
    several = "s" * (others > 1)
    and_en, and_zh = (f", and {others} more alert{several}", f"，另有{others}项告警") if others else ("", "")
    return Said(_plain(f"[{en}] {words.en}{and_en}"), _plain(f"【{zh}】{words.zh}{and_zh}"))


def lines(of: Telling, language: Language) -> Iterator[Line]:
    """All that a message says below its title."""
    zh = language == "zh"

    def say(words: Said | None) -> str:
        return "" if words is None else _plain(words.zh if zh else words.en)

    def line(en: str, zh_: str, text: str) -> Iterator[Line]:
        if text:
            yield Line(zh_ if zh else en, text)

    over = of.kind in OVER
    apart = "：" if zh else ": "
    several = len(of.alerts) + of.more > 1
    for place, one in enumerate(of.alerts[:SHOWN]):
        named = f"{_plain(one.subject)}{apart}" if one.of == "release" else ""
        words = first(one.words) if several else one.words
        yield Line(("情况" if zh else "what") * (not place), named + say(words), several)
    if not several:
        yield from line("how much", "程度", _measured(of.alerts[0], zh))
    elif left := max(len(of.alerts) - SHOWN, 0) + of.more:
        yield Line("", f"另有{left}项" if zh else f"and {left} more", True)
    yield from line("since", "始于", f"{of.since}")
    if not over:
        usable = USABLE[scores((one.check, one.severity, one.ranks_only) for one in of.alerts)]
        yield from line("scores", "评分", say(Said.of(usable)))
        yield from line("likely cause", "可能原因", say(of.cause))
        for place, share in enumerate(of.contributors):
            label = ("主要来自" if zh else "most of it") if not place else ""
            times = "" if share.excess is None else f"（为其上限的{share.excess:.1f}倍）"
            if share.excess is not None and not zh:
                times = f" ({share.excess:.1f} x its limit)"
            said = say(share.words)
            yield Line(label, _plain(share.name) + (f"{apart}{said}" if said else "") + times, True)
        yield from line("do", "建议", say(of.action))
    if of.going_on:
        others = f"{of.going_on}项已通知，尚未恢复" if zh else f"{of.going_on} told before, not over"
        yield from line("the same fault", "同一故障", others)
    yield from line("whom", "负责", _plain(of.owner_name))
    taken = sorted({one.acknowledged_by for one in of.alerts if one.acknowledged_by})
    yield from line("acknowledged by", "已认领", _plain(", ".join(taken)))
    if not over and not taken:
        yield from line("acknowledge", "认领", _plain(of.acknowledge))
    yield from line("runbook", "处理手册", of.runbook)
    yield from line("report", "报告", of.report)
    offset = f"{of.as_of:%z}"
    zone = f"UTC{offset[:3]}:{offset[3:]}" if int(offset) else "UTC"
    yield from line("as of", "截至", f"{of.as_of:%Y-%m-%d %H:%M} {zone}")


def text(of: Telling, languages: Sequence[Language]) -> str:
    """As plain text."""
    return "\n\n".join(
        "\n".join([getattr(of.title, language), *(_texted(one, language) for one in lines(of, language))])
        for language in languages
    )


def page(of: Telling, languages: Sequence[Language]) -> str:
    """As HTML for a mail reader: no script, no style sheet, nothing to load."""
    parts = []
    for language in languages:
        rows = "".join(
            f'<tr><td style="{_LABEL}">{escape(one.label)}</td>'
            f'<td style="{_TEXT}">{_linked(one.text)}</td></tr>'
            for one in lines(of, language)
        )
        heading = escape(getattr(of.title, language))
        code = "zh-Hans" if language == "zh" else "en"
        parts.append(
            f'<div lang="{code}"><h3 style="margin:16px 0 8px">{heading}</h3>'
            f'<table style="border-collapse:collapse">{rows}</table></div>'
        )
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    body = f'<body style="font-family:sans-serif;margin:8px">{"".join(parts)}</body>'
    return f"<!doctype html><html><head>{head}</head>{body}</html>"


def _texted(line: Line, language: Language) -> str:
    if not line.label:
        return f"- {line.text}"
    return f"{line.label}{'：' if language == 'zh' else ': '}{line.text}"


def _linked(said: str) -> str:
    return f'<a href="{escape(said)}">{escape(said)}</a>' if is_address(said) else escape(said)


def is_address(said: str) -> bool:
    """Whether it can be clicked."""
    return re.fullmatch(r"https?://\S+", said) is not None


def _measured(one: Told, zh: bool) -> str:
    if one.value is None or not isfinite(one.value) or one.value in (one.limit, one.warns, one.pages):
        return ""  # a state is no measure
    said = [f"{one.value:.3g}"]
    if one.warns is not None:
        said.append(f"{one.warns:.3g}起警告" if zh else f"a warning from {one.warns:.3g}")
    if one.pages is not None:
        said.append(f"{one.pages:.3g}起紧急" if zh else f"urgent from {one.pages:.3g}")
    return "；".join(said) if zh else "; ".join(said)


def first(words: Said) -> Said:
    """Their first sentence."""
    return Said(re.split(r"\. (?=[A-Z])", words.en, maxsplit=1)[0], words.zh.partition("。")[0])


def _plain(said: str) -> str:
    """In one line, without what a robot or a mail reader would take for markup: figures and names come from
    data, and `<@all>` in a product's name must call nobody."""
    return " ".join(said.split()).replace("<", "‹").replace(">", "›").replace("](", "] (")
