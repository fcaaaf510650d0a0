# ruff: noqa: E501  # sentences in two languages, and CSS, read best unbroken
"""The morning page as a file: verdict first, then what to do, the figures, and the lists; CSVs beside it."""

import csv
import io
import re
from collections.abc import Iterable
from datetime import date
from html import escape
from zoneinfo import ZoneInfo

import numpy as np

from features.charts import spark
from features.describe.say import day as said_day
from features.describe.say import moment as said_moment
from features.describe.say import words
from features.describe.sheets import Cell, Sheet
from features.moments import iso
from features.pages import Content, Html, bullets, html, page, section, table, with_code
from features.words import Words
from monitoring.indicators import HEALTH
from monitoring.today import Block, Today
from monitoring.today.figures import SHOWN, Figure, against, shown, usual, weekday
from monitoring.today.lights import WORDS, Light

PAGE = "today.html"
LEAST = 5  # days, of which a line says something
CSVS = (
    "indicators", "queue", "complaints", "handed_over", "at_risk", "campaigns", "budget", "holdout", "paused",
    "stages", "stages1",
)  # fmt: skip
_NUMBER = re.compile(r"[+-]?[\d,.]+ ?(%|pp)?( \([+-]?\d+%\))?$")


def written(today: Today, zone: str, language: str) -> str:
    """The whole page, with both languages in it; language: what is shown at first."""
    title = words("Today, {day}", "今日，{day}", day=said_day(_local(today, zone)))
    note = words("{shop}, {at} ({zone}; {utc}). ", "{shop}，{at}（{zone}；{utc}）。", shop=today.shop,
                 at=said_moment(today.as_of, zone), zone=zone, utc=iso(today.as_of))  # fmt: skip
    if today.day is not None:
        figures = words(
            "Figures of {weekday}, {day}, the last complete day.", "数据截至最近一个完整日：{day}，{weekday}。",
            weekday=weekday(today.day), day=said_day(today.day),
        )  # fmt: skip
        note = Words(note.en + figures.en, note.zh + figures.zh)
    parts: list[Content] = [Html(f"<style>{_CSS}</style>"), _verdict(today), _lights(today)]
    if today.todo:
        parts.append(Html(f'<ol class="todo">{"".join(f"<li>{html(one)}</li>" for one in today.todo)}</ol>'))
    parts.append(_figures(today))
    parts += [_section(block) for block in today.blocks if block.shown]
    parts += _quiet(today)
    if today.figures:
        parts.append(_meanings(today))
    return page(title, *parts, note=note, language=language)


def files(today: Today, language: str) -> dict[str, bytes]:
    """File name -> CSV of a block, in one language, with the mark by which spreadsheets know UTF-8."""
    found = {"indicators.csv": _csv(_INDICATORS_HEAD, _indicator_rows(today))}
    for block in today.blocks:
        if block.name:
            head = [_told(cell, language) for cell in block.sheet.head]
            rows = [[_told(cell, language) for cell in row] for row in block.sheet.rows]
            found[f"{block.name}.csv"] = _csv(head, rows)
    return found


def sheet(today: Today) -> Sheet:
    """The indicators as a table, for the terminal."""
    head = (
        Words("indicator", "指标"), Words("value", "数值"), Words("compared with", "对比"), Words("change", "变化"),
    )  # fmt: skip
    rows = tuple(
        (_name(one, today), _value(one, today), one.why or usual(one, today.currency), against(one))
        for one in today.figures
    )
    title = Words("Indicators", "指标")
    if today.day is not None:
        title = words("Indicators of {weekday}, {day}", "指标（{day}，{weekday}）", weekday=weekday(today.day),
                      day=said_day(today.day))  # fmt: skip
    return Sheet(title, head, rows, right=(1, 3), empty=today.why or Words("None.", "无。"))


def _verdict(today: Today) -> Html:
    colour = today.lights.worst
    return Html(f'<p class="banner {colour}">{html(today.verdict)}</p>')


def _lights(today: Today) -> Html:
    def light(one: Light) -> str:
        return (
            f'<div class="light {one.colour}"><i></i><p><b>{html(one.title)}: {html(WORDS[one.colour])}</b><br>'
            f"{with_code(one.words)}</p></div>"
        )

    return Html(f'<div class="lights">{light(today.lights.data)}{light(today.lights.models)}</div>')


def _figures(today: Today) -> Html:
    if not today.figures:
        return section(Words("Indicators", "指标"), note=with_code(today.why or Words("", "")))
    cards, absent, segments = [], [], []
    for one in today.figures:
        if one.segment:
            segments.append(one)
        elif one.value is None:
            absent.append(
                with_code(
                    words("{name}: {why}", "{name}：{why}", name=one.indicator.words, why=one.why or "")
                )
            )
        else:
            cards.append(_card(one, today))
    parts: list[Content] = [Html(f'<div class="figures">{"".join(cards)}</div>')]
    if segments:
        head = (Words("health by tier", "健康分（按分层）"), Words("now", "当前"), Words("before", "此前"),
                Words("change", "变化"))  # fmt: skip
        rows = [(_name(one, today), _value(one, today),
                 None if one.usual is None else shown(HEALTH, one.usual, today.currency), against(one))
                for one in segments]  # fmt: skip
        parts.append(_as("dense", table(head, rows, right=(1, 2, 3))))
    if absent:
        parts += [Html(f'<p class="note">{html(Words("Not told:", "无法统计："))}</p>'), bullets(absent)]
    return section(Words("Indicators", "指标"), *parts)


def _card(one: Figure, today: Today) -> str:
    change = against(one)
    said = html(usual(one, today.currency))
    if change is not None:
        said = Html(f"{said} <b>{escape(change)}</b>")
    line = words("{name}, {n} days", "{name}，{n}天", name=one.indicator.words, n=SHOWN)
    enough = np.isfinite(one.line).sum() >= LEAST
    alarm = ' class="unusual"' if one.unusual else ""
    why = f'<p class="alarm">{html(one.unusual)}</p>' if one.unusual else ""
    return (
        f"<div{alarm}><dt>{html(one.indicator.words)}</dt><dd>{_split(one, today)}</dd>"
        f"{spark(one.line.tolist(), line) if enough else ''}<p>{said}</p>{why}</div>"
    )


def _section(block: Block) -> Html:
    of = block.sheet
    rows = table(block.head, block.shown, of.right)
    kind = "dense" if block.dense else "inline"
    return section(of.title, _as(kind, rows), note=with_code(of.note) if of.note else "", open=block.open)


def _as(kind: str, rows: Html) -> Html:
    """dense: a table also on a phone; inline: there a card a row, its cells one after another."""
    return Html(f'<div class="{kind}">{rows}</div>')


def _quiet(today: Today) -> list[Html]:
    """What has nothing to show, and why: a sentence each, at the end."""
    said = [
        with_code(words("{title}: {why}", "{title}：{why}", title=block.sheet.title, why=block.sheet.empty))
        for block in today.blocks
        if not block.shown
    ]
    return [section(Words("Nothing to show", "无内容"), bullets(said))] if said else []


def _meanings(today: Today) -> Html:
    indicators = {one.indicator.name: one.indicator for one in today.figures}.values()
    rows = [
        (one.words, words(_text(one.meaning.en, today), _text(one.meaning.zh, today))) for one in indicators
    ]
    note = Words(
        "What was known when the day ended. Usual: the median of the same weekday of the last four weeks.",
        "以当日结束时的已知数据为准。通常：近四周同一星期几的中位数。",
    )
    head = (Words("indicator", "指标"), Words("what is counted", "统计口径"))
    return section(Words("How it is counted", "统计口径"), table(head, rows), note=note, open=False)


def _text(text: str, today: Today) -> str:
    return text.replace("{churn}", str(today.churn))


def _name(one: Figure, today: Today) -> Words:
    if not one.segment:
        return one.indicator.words
    from serving.segment_tables import TIERS

    called = {label.name: Words(label.words.en, label.words.zh) for label in TIERS.labels}
    return called.get(one.segment, Words(one.segment, one.segment))


def _value(one: Figure, today: Today) -> str | None:
    return None if one.value is None else shown(one.indicator, one.value, today.currency)


def _split(one: Figure, today: Today) -> str:
    """The number, and smaller its currency."""
    number, _, unit = (_value(one, today) or "").partition(" ")
    return escape(number) + (f" <small>{escape(unit)}</small>" if unit else "")


_INDICATORS_HEAD = ("day", "indicator", "segment", "en", "zh", "unit", "value", "usual", "note")


def _indicator_rows(today: Today) -> Iterable[list[str]]:
    for one in today.figures:
        numbers = ["" if value is None else f"{value:.6g}" for value in (one.value, one.usual)]
        note = (one.why or one.unusual or Words("", "")).en
        yield [str(one.day), one.indicator.name, one.segment, *one.indicator.words, one.indicator.unit, *numbers,
               note]  # fmt: skip


def _csv(head: Iterable[str], rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(head)
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8-sig")


def _harmless(cell: str) -> str:
    """A spreadsheet takes what begins so for a formula, and would run what a customer typed."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") and not _NUMBER.match(cell) else cell


def _told(cell: Cell, language: str) -> str:
    match cell:
        case Words(en, zh):
            return zh if language == "zh" else en
        case None:
            return ""
    return str(cell)


def _local(today: Today, zone: str) -> date:
    return today.as_of.astimezone(ZoneInfo(zone)).date()


_CSS = """
.banner { margin: .6rem 0; font-weight: 600; } .banner.ok { border-color: #2e8b57; }
.banner.warning { border-color: #d98e04; } .banner.page { border-color: #c0392b; }
.banner.unknown { border-color: #8a94a3; }
.lights { display: flex; flex-wrap: wrap; gap: .5rem; } .light { flex: 1 1 16rem; display: flex; gap: .6rem;
  align-items: flex-start; background: var(--card); border-radius: .6rem; padding: .5rem .8rem; min-width: 0; }
.light p { margin: 0; font-size: .9rem; overflow-wrap: anywhere; } .light i { flex: 0 0 .9rem; height: .9rem;
  margin-top: .25rem; border-radius: 50%; background: #8a94a3; }
.light.ok i { background: #2e8b57; } .light.warning i { background: #d98e04; } .light.page i { background: #c0392b; }
.todo { margin: .6rem 0; padding-left: 1.6rem; } .todo li { margin: .15rem 0; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.6rem, 1fr)); gap: .5rem; }
.figures div { background: var(--card); border-radius: .6rem; padding: .5rem .7rem; min-width: 0; }
.figures dt { color: var(--soft); font-size: .85rem; } .figures dd { margin: 0; font-size: 1.25rem; font-weight: 600;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.figures p { margin: 0; font-size: .78rem; color: var(--soft); } .figures b { color: var(--ink); white-space: nowrap; }
.figures .unusual { outline: 2px solid #d98e04; } .figures .alarm { color: var(--ink); }
.spark { width: 100%; height: 1.7rem; margin: .2rem 0; overflow: visible; }
.spark polyline { stroke-width: 1.5; }
.figures small { font-size: .8rem; font-weight: 400; color: var(--soft); }
td span { min-width: 0; overflow-wrap: anywhere; }
@media (min-width: 40.01rem) { td span { overflow-wrap: break-word; } td.right span { white-space: nowrap; } }
@media (max-width: 40rem) {
  .dense table { display: table; font-size: .85rem; } .dense thead { display: table-header-group; }
  .dense tbody { display: table-row-group; } .dense tr { display: table-row; background: none; }
  .dense td { display: table-cell; border-bottom: 1px solid var(--line); padding: .3rem .5rem .3rem 0; }
  .dense td.right { text-align: right; } .dense td .label { display: none; } .dense th { padding-right: .5rem; }
  .dense td.right span { overflow-wrap: normal; }
  .dense .right { padding-right: .2rem; padding-left: .2rem; }
  .inline tr { font-size: .9rem; } .inline td { display: inline-block; max-width: 100%; padding: 0; margin-right: .8rem; }
  .inline td:first-child span { font-weight: 600; } .inline td:first-child .label { display: none; }
  .inline td .label { display: inline; margin-right: .3rem; }
}
@media print { .light, .figures div { break-inside: avoid; } }
"""
