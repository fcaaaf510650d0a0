"""The page of a verdict: what happened, whether it matters, what to do; then each model and table."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Literal

import numpy as np

from features.describe.say import table as table_words
from features.moments import iso
from features.pages import Content, Html, banner, bullets, html, paragraph, section, table, tiles, with_code
from features.pages import page as document
from features.words import Words
from monitoring.episodes import Episode
from monitoring.evidence import Evidence
from monitoring.findings import STATUSES, UNRELEASED, Finding, Status, scores, worst
from monitoring.measures import wider
from monitoring.messages import USABLE
from monitoring.panels import Panel, Shift
from monitoring.verdicts import Verdict, behind, first_of_kind, unjudged, unreleased

PAST = 90  # days of a figure's picture
MOST = 12  # figures of a model that are shown, the furthest first
LINK = Html('<a href="evidently.html">evidently.html</a>')
STATUS = {
    "ok": Words("as usual", "正常"),
    "warning": Words("look at it", "需关注"),
    "page": Words("act now", "立即处理"),
}
OWNER = {
    "data": Words("data", "数据"),
    "models": Words("models", "模型"),
    "operations": Words("operations", "运营"),
}
_TONES: dict[Status, Literal["good", "warning", "bad"]] = {"ok": "good", "warning": "warning", "page": "bad"}
_DATA_ALONE = Words("Nothing to do: the data are as usual.", "无需处理：数据正常。")
_ALL = Words("Nothing to do: data and models are as usual.", "无需处理：数据与模型均正常。")
_URGENT = {
    "warning": Words("Worth a look today", "今天请查看"),
    "page": Words("Act now", "请立即处理"),
}


def page(
    verdict: Verdict, language: str = "en", over: Sequence[Episode] = (), clear: Sequence[Episode] = ()
) -> str:
    """The whole page, self-contained, in both languages. over: alerts that ended lately, the last first;
    clear: that are on, and would not be by this day alone."""
    day = iso(verdict.until)[:10]
    wrong = [finding for finding in verdict.findings if finding.status != "ok"]
    about = topics(wrong)
    messages = [_message(topic) for topic in about]
    alone = unreleased(verdict.evidence, verdict.findings)
    return document(
        Words(f"Monitoring of {day}", f"{day} 监控报告"),
        banner(_TONES[worst(wrong)], headline(wrong, alone), *_why(about)),
        paragraph(with_code(UNRELEASED)) if alone else "",
        paragraph(with_code(later)) if (later := behind(verdict.moment, verdict.shop)) else "",
        _wider(verdict),
        *messages,
        _clear(clear),
        _over(over),
        *(_model(seen, verdict) for seen in verdict.evidence),
        _tables(verdict),
        _indicators(verdict),
        _unjudged(verdict),
        _closer(verdict) if verdict.evidence else "",
        language=language,
    )


def headline(wrong: Sequence[Finding], alone: bool = False) -> Words:
    """How urgent it is, and what answers may be used for meanwhile. alone: there is no model to judge."""
    if not wrong:
        return _DATA_ALONE if alone else _ALL
    urgent = _URGENT[worst(wrong)]
    usable = USABLE[scores((one.check, one.status, one.ranks_only) for one in wrong)]
    return Words(f"{urgent.en}; answers {usable.en}.", f"{urgent.zh}；结果{usable.zh}。")


def said(finding: Finding) -> Words:
    """The verdict in a word. What is beyond its limit is never as usual, nor is what was not judged."""
    if finding.status == "ok" and finding.value != finding.value:
        return Words("not judged", "未判断")
    if finding.status == "ok" and finding.better >= 1:
        return Words("unusual, not bad", "异常但非不利")
    return STATUS[finding.status]


def _why(about: Sequence[Sequence[Finding]]) -> list[Content]:
    """The likely cause of the most urgent that has one: figures alone do not say what happened."""
    urgent = [topic for topic in about if topic[0].status == about[0][0].status]
    cause = next(filter(None, map(_cause, urgent)), None)
    if cause is None:
        return []
    return [with_code(Words(f"Likely cause: {cause.en}.", f"可能原因：{cause.zh}。"))]


def _cause(findings: Iterable[Finding]) -> Words | None:
    return next((finding.cause for finding in findings if finding.cause), None)


def _wider(verdict: Verdict) -> Content:
    """That smaller faults may be missed on this day, and why."""
    names = first_of_kind(verdict.evidence, verdict.shop)
    if not names:
        return ""
    said = wider(names)
    return paragraph(
        Words(
            f"Today is judged {said.en}. A smaller fault may be missed; what is lost altogether, or in "
            "another unit, is still found.",
            f"今日{said.zh}。较小的异常可能漏报；数据整体缺失或单位错误仍会发现。",
        )
    )


def _unjudged(verdict: Verdict) -> Content:
    """By name, what the line only counts."""
    names = unjudged(verdict.findings, verdict.asked)
    if not names:
        return ""
    en, zh = ", ".join(one.en for one in names), "、".join(one.zh for one in names)
    return paragraph(Words(f"Not judged yet: {en}.", f"暂不判断：{zh}。"))


def topics(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Findings of one fault together, the most urgent first."""
    ordered = sorted(findings, key=lambda f: f.topic)
    groups = [
        sorted(group, key=lambda f: (-STATUSES.index(f.status), -_finite(f.value)))
        for _, group in groupby(ordered, key=lambda f: f.topic)
    ]
    return sorted(groups, key=lambda group: -STATUSES.index(group[0].status))


def _message(findings: list[Finding]) -> Html:
    first = findings[0]
    title = first.said
    since = min((f.since for f in findings if f.since), default=None)
    facts: list[tuple[Content, Content]] = [
        (Words("How urgent", "紧急程度"), STATUS[first.status]),
        (Words("Who", "负责"), OWNER[first.owner]),
    ]
    if since:
        facts.append((Words("Since", "起始"), f"{since}"))
    parts: list[Content] = [tiles(facts)]
    if cause := _cause(findings):
        parts.append(paragraph(Words("Likely cause:", "可能原因："), with_code(cause)))
    advice = {f.advice for f in findings if f.advice}
    parts.append(paragraph(Words("What to do:", "处理建议：")))
    parts.append(bullets(map(with_code, sorted(advice))))
    most = sorted((c for f in findings for c in f.contributors), key=lambda c: -_finite(c.excess))[:3]
    if most:
        parts.append(paragraph(Words("Most of it:", "主要来自：")))
        parts.append(bullets(c.words for c in most))
    others = [f.said for f in findings[1:]]
    if others:
        parts.append(paragraph(Words("Seen as well:", "同时出现：")))
        parts.append(bullets(map(with_code, others)))
    return section(with_code(title), *parts)


def _clear(episodes: Sequence[Episode]) -> Content:
    """What is on, though nothing shows it today: else page and list of alerts contradict each other."""
    if not episodes:
        return ""
    return section(
        Words("Still on, and quiet by this day", "仍未结束，但当日已无异常"),
        paragraph(
            Words(
                "Over once it is well below its limit on two days; nobody is told again until then.",
                "连续两天明显低于上限后结束；此前不再重复通知。",
            )
        ),
        bullets(
            with_code(
                Words(
                    f"{one.finding.said.en} (since {one.since})", f"{one.finding.said.zh}（自{one.since}起）"
                )
            )
            for one in episodes
        ),
    )


def _over(episodes: Sequence[Episode]) -> Content:
    """What is over: else whoever was away reads of an alert's beginning, and never of its end."""
    if not episodes:
        return ""
    return section(
        Words("Over in the last two weeks", "近两周已结束的告警"),
        table(
            (Words("Alert", "告警"), Words("Urgency", "级别"), Words("Began", "开始"), Words("Ended", "结束"),
             Words("What was seen", "情况")),
            (
                (one.finding.question, STATUS[one.peak], f"{one.since}", _ended(one), one.finding.words)
                for one in episodes
            ),
        ),
        open=False,
    )  # fmt: skip


def _ended(one: Episode) -> Content:
    day = f"{one.ended:%Y-%m-%d}"
    return Words(f"{day}, judged no more", f"{day}，已不再判断") if one.unjudged else day


def _model(seen: Evidence, verdict: Verdict) -> Html:
    card = seen.card
    mine = [finding for finding in verdict.findings if finding.subject == card.name]
    panel = seen.panel
    furthest = _furthest(panel)
    return section(
        Words(
            f"{card.name} {card.version}: {card.target.words.en}",
            f"{card.name} {card.version}：{card.target.words.zh}",
        ),
        _checks(mine, verdict.asked),
        paragraph(
            Words(
                "The figures that are furthest from what was expected of them, and their last 90 days:",
                "偏离预期最多的指标及其近90天走势：",
            )
        ),
        _figures(panel, furthest),
        open=any(finding.status != "ok" for finding in mine),
    )


def _tables(verdict: Verdict) -> Html:
    mine = [finding for finding in verdict.findings if finding.of in ("shop", "table")]
    calm = [one for one in mine if one.of == "table" and one.status == "ok" and one.value == one.value]
    usual: dict[str, list[Words]] = defaultdict(list)
    for one in calm:
        usual[one.check].append(table_words(one.subject))
    return section(
        Words("What the tables received", "各表接收情况"),
        _checks([one for one in mine if one not in calm], verdict.asked),
        bullets(
            with_code(_calm(_asks(verdict.asked[check], check), tables)) for check, tables in usual.items()
        ),
        _figures(verdict.shop.received, _furthest(verdict.shop.received)),
        open=any(finding.status != "ok" for finding in mine),
    )


def _calm(asks: Words, tables: Sequence[Words]) -> Words:
    en, zh = ", ".join(one.en for one in tables), "、".join(one.zh for one in tables)
    return Words(f"{asks.en}: as usual, of {en}", f"{asks.zh}：{zh}均正常")


def _indicators(verdict: Verdict) -> Html:
    panel = verdict.shop.indicators
    names = [subject.name for subject in panel.subjects]
    mine = [f for f in verdict.findings if f.of == "indicator"]
    unusual = sorted((f for f in mine if f.status != "ok" or f.better >= 1), key=lambda f: -f.value)
    absent = [Words(f"{n}: {why.en}", f"{n}：{why.zh}") for n, why in verdict.shop.absent.items()]
    return section(
        Words("Business indicators", "经营指标"),
        table(
            (Words("Indicator", "指标"), Words("Verdict", "结论"), Words("Of its limit", "占上限"),
             Words(f"{PAST} days", f"{PAST}天")),
            ((f.words, said(f), _share(f), _spark(panel, names.index(f.subject)))
             for f in (*unusual, *(f for f in mine if f not in unusual))),
            right=(2,),
        ),
        bullets(map(with_code, absent)),
        open=bool(unusual),
    )  # fmt: skip


def _share(finding: Finding) -> Content:
    return None if finding.value != finding.value else f"{max(finding.value, finding.better):.0%}"


def _checks(findings: Sequence[Finding], asked: Mapping[str, Words]) -> Html:
    return table(
        (
            Words("Check", "检查"),
            Words("Verdict", "结论"),
            Words("Figure (limit)", "数值（上限）"),
            Words("What was seen", "说明"),
        ),
        (
            (with_code(_asks(asked[f.check], f.check)), said(f), _value(f), with_code(f.words))
            for f in sorted(findings, key=lambda f: -STATUSES.index(f.status))
        ),
        right=(2,),
    )


def _asks(words: Words, name: str) -> Words:
    """With the name that alerts, silences and `monitor explain` know it by."""
    return Words(f"{words.en} `{name}`", f"{words.zh} `{name}`")


def _value(finding: Finding) -> Content:
    if finding.value != finding.value:
        return None
    return f"{max(finding.value, finding.better):.2f} ({finding.crossed:g})"


def _furthest(panel: Panel) -> list[int]:
    excess = np.nan_to_num(np.abs(panel.judged.excess[-1]))
    return [int(column) for column in np.argsort(-excess, kind="stable")[:MOST] if excess[column] > 0]


def _figures(panel: Panel, columns: Sequence[int]) -> Html:
    shifts = [panel.shift(column) for column in columns]
    return table(
        (
            Words("Figure", "指标"),
            Words("Of its limit", "占上限"),
            Words(f"{PAST} days", f"{PAST}天"),
        ),
        (
            (_told(shift), f"{abs(shift.excess):.0%}", _spark(panel, column))
            for shift, column in zip(shifts, columns, strict=True)
        ),
        right=(1,),
    )


def _told(shift: Shift) -> Words:
    return shift.words


def _spark(panel: Panel, column: int) -> Html:
    """The figure's last days as a line, days on which it stood out as dots."""
    values = panel.native[-PAST:, column]
    out = panel.judged.out[-PAST:, column]
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < 2:
        return html(None)
    low, high = float(values[known].min()), float(values[known].max())
    x, y = known * (180 / max(1, len(values) - 1)), 28 - 24 * (values[known] - low) / ((high - low) or 1)
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    dots = "".join(
        f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3"/>' for a, b, o in zip(x, y, out[known], strict=True) if o
    )
    words = escape(panel.subjects[column].words.en)
    return Html(
        f'<svg viewBox="-3 0 186 32" width="186" height="32" role="img" aria-label="{words}">'
        f'<polyline points="{line}"/>{dots}</svg>'
    )


def without_closer(page: str, days: float) -> str:
    """The page, whose link to Evidently's says that it is kept for so many days, and is gone."""
    gone = Words(f"removed after {days:g} days", f"保留{days:g}天后已删除")
    return page.replace(LINK, html(gone))


def _closer(verdict: Verdict) -> Html:
    if verdict.closer is not None:
        said = paragraph(
            Words("Distributions of what moved, drawn by Evidently:", "Evidently绘制的变化特征分布："), LINK
        )
    elif verdict.page_error is None and not verdict.drawn:
        said = paragraph(
            with_code(
                Words(
                    "No feature moved, so Evidently drew none: `propensity monitor report` draws them all.",
                    "没有特征变化，因此Evidently未绘图：`propensity monitor report` 可绘制全部特征。",
                )
            )
        )
    elif verdict.page_error is None:
        said = paragraph(
            Words(
                "Evidently's page of what moved is being drawn: open this one again later.",
                "Evidently的变化特征分布页面正在生成：请稍后重新打开本页。",
            )
        )
    else:
        why = verdict.page_error
        said = paragraph(
            Words(
                f"Evidently's page was not written ({why}); the verdict does not depend on it.",
                f"Evidently页面未生成（{why}）；结论不受影响。",
            )
        )
    return section(Words("Look closer", "深入查看"), said, open=False)


def _finite(value: float) -> float:
    return float(np.nan_to_num(value, nan=0.0, posinf=1e9))
