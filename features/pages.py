"""Self-contained pages for people: one HTML file in English and Chinese that asks nothing of the network.

    page(Words("Features", "特征"), section(Words("Orders", "订单"), table(head, rows), find=True))

Whatever is text is escaped here; what is an `Html` already is markup. The language is a radio button and
CSS, so it works without scripts; only the search box has one, inline. The page's own policy forbids the
browser to load anything. Dark where the reader's system is dark; made for a phone first.
"""

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Literal

from features.words import Words


class Html(str):
    """Markup, safe to put into a page as it is."""

    __slots__ = ()


Content = Words | Html | str | int | float | None


def html(content: Content) -> Html:
    """Any content as markup: Words in both languages, numbers with separators, None as a dash.

    >>> html("a < b"), html(1234567), html(0.5), html(None)
    ('a &lt; b', '1,234,567', '0.5', '–')
    >>> html(Words("Orders", "订单"))
    '<span lang="en">Orders</span><span lang="zh-Hans">订单</span>'
    """
    match content:
        case Html():
            return content
        case Words(en, zh):
            return Html(f'<span lang="en">{escape(en)}</span><span lang="zh-Hans">{escape(zh)}</span>')
        case None:
            return Html("–")
        case int() | float():
            return Html(f"{content:,}")
    return Html(escape(content))


def page(title: Words, *body: Content, note: Content = "", language: str = "en") -> str:
    """The whole document: a heading, the choice of language, an introduction, the body's parts below.

    language: `en` or `zh`, what is shown at first.
    """
    parts = "\n".join(map(html, body))
    return _PAGE.format(
        title=escape(f"{title.en} · {title.zh}"),
        heading=html(title),
        note=html(note),
        body=parts,
        css=_CSS,
        en=" checked" if language == "en" else "",
        zh=" checked" if language == "zh" else "",
    )


def section(title: Content, *body: Content, note: Content = "", open: bool = True) -> Html:
    """A part of the page that can be folded; `open`: unfolded at first."""
    inside = "\n".join(map(html, body))
    head = f"<summary><h2>{html(title)}</h2></summary>"
    intro = f'<p class="note">{html(note)}</p>' if note else ""
    return Html(f"<details{' open' if open else ''}>{head}{intro}{inside}</details>")


def banner(tone: Literal["good", "warning", "bad"], *parts: Content) -> Html:
    """What a reader in a hurry should take away, in the colour of good news, of bad, or of what can wait."""
    return Html(f'<p class="banner {tone}">{" ".join(map(html, parts))}</p>')


def tiles(numbers: Iterable[tuple[Content, Content]]) -> Html:
    """The few numbers that matter, side by side: (what, value)."""
    inside = "".join(f"<div><dt>{html(what)}</dt><dd>{html(value)}</dd></div>" for what, value in numbers)
    return Html(f'<dl class="tiles">{inside}</dl>')


def paragraph(*parts: Content) -> Html:
    """A paragraph of the parts, a blank between them."""
    return Html(f"<p>{' '.join(map(html, parts))}</p>")


def bullets(items: Iterable[Content]) -> Html:
    """A list without an order."""
    return Html(f"<ul>{''.join(f'<li>{html(item)}</li>' for item in items)}</ul>")


def code(text: str) -> Html:
    """Names, commands, expressions."""
    return Html(f"<code>{escape(text)}</code>")


def with_code(of: Content) -> Html:
    """A sentence whose commands, in backquotes, are shown as such."""
    return Html(re.sub("`([^`]+)`", r"<code>\1</code>", html(of)))


def table(head: Sequence[Content], rows: Iterable[Sequence[Content]], right: Sequence[int] = ()) -> Html:
    """A table; `right`: places of columns of numbers. On a phone each row becomes a card, its cells named.

    Rows are what the page's search box looks through.
    """
    names = [html(cell) for cell in head]
    side = [" class=right" if place in right else "" for place in range(len(names))]

    def cells(row: Sequence[Content]) -> str:
        return "".join(
            f'<td{where}><b class="label">{name}</b><span>{html(cell)}</span></td>'
            for where, name, cell in zip(side, names, row, strict=True)
        )

    header = "".join(f'<th scope="col"{where}>{name}</th>' for where, name in zip(side, names, strict=True))
    lines = "\n".join(f"<tr>{cells(row)}</tr>" for row in rows)
    return Html(f"<table><thead><tr>{header}</tr></thead><tbody>\n{lines}\n</tbody></table>")


def search_box() -> Html:
    """A box that hides every row of a table, and every section, without the words that are typed."""
    box = '<input type="search" id="search" autocomplete="off">'
    name = html(Words("Search", "搜索"))
    return Html(f'<label class="search">{name} {box}</label><script>{_SEARCH}</script>')


def bars(points: Sequence[tuple[str, float]], words: Words) -> Html:
    """A bar chart as inline SVG: (label, value >= 0) from left to right; `words` say what it shows."""
    top = max((value for _, value in points), default=0) or 1
    width = _WIDTH / max(len(points), 1)
    shapes = "".join(
        f'<rect x="{place * width:.2f}" y="{_HEIGHT * (1 - value / top):.2f}" width="{width * 0.8:.2f}" '
        f'height="{_HEIGHT * value / top:.2f}"><title>{escape(label)}: {_number(value)}</title></rect>'
        for place, (label, value) in enumerate(points)
    )
    return _figure(shapes, points, words, top)


def line(points: Sequence[tuple[str, float]], words: Words) -> Html:
    """A line chart as inline SVG: (label, value >= 0) from left to right; `words` say what it shows."""
    top = max((value for _, value in points), default=0) or 1
    step = _WIDTH / max(len(points) - 1, 1)
    path = " ".join(
        f"{place * step:.2f},{_HEIGHT * (1 - value / top):.2f}" for place, (_, value) in enumerate(points)
    )
    return _figure(f'<polyline points="{path}"/>', points, words, top)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:,g}"


_WIDTH, _HEIGHT = 600, 120


def _figure(shapes: str, points: Sequence[tuple[str, float]], words: Words, top: float) -> Html:
    first, last = (points[0][0], points[-1][0]) if points else ("", "")
    return Html(
        f'<figure><figcaption>{html(words)} <span class="note">(max {_number(top)})</span></figcaption>'
        f'<svg viewBox="0 -4 {_WIDTH} {_HEIGHT + 8}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(words.en)}">{shapes}</svg>'
        f'<div class="axis"><span>{escape(first)}</span><span>{escape(last)}</span></div></figure>'
    )


_SEARCH = """
document.getElementById("search").addEventListener("input", event => {
  const words = event.target.value.toLowerCase().split(/\\s+/).filter(Boolean);
  for (const row of document.querySelectorAll("tbody tr")) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every(word => text.includes(word));
  }
  for (const part of document.querySelectorAll("details")) {
    const rows = part.querySelectorAll("tbody tr");
    if (words.length > 0) part.open = true;
    part.hidden = words.length > 0 && rows.length > 0 && !part.querySelector("tbody tr:not([hidden])");
  }
});
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" \
content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
<header>
<h1>{heading}</h1>
<nav><input type="radio" name="language" id="en"{en}><label for="en">English</label>
<input type="radio" name="language" id="zh"{zh}><label for="zh">中文</label></nav>
</header>
<main>
<p class="note">{note}</p>
{body}
</main>
</body>
</html>
"""

_CSS = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5d6879; --line: #dfe4ea; --paper: #fff;
  --card: #f6f8fa; --accent: #0b6e99; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --soft: #9aa5b4; --line: #333c48;
  --paper: #14181e; --card: #1c222a; --accent: #5ab7de; } }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
:root:has(#zh:checked) [lang=en]:not(html), :root:not(:has(#zh:checked)) [lang=zh-Hans] { display: none; }
body { margin: 0; color: var(--ink); background: var(--paper); font: 16px/1.5 system-ui, -apple-system,
  "Segoe UI", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; }
header, main { max-width: 70rem; margin: 0 auto; padding: .75rem 1rem; }
header { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: baseline;
  justify-content: space-between; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 0; display: inline; }
nav input { position: absolute; opacity: 0; }
nav label { padding: .2rem .6rem; border: 1px solid var(--line); border-radius: 1rem; cursor: pointer; }
nav input:checked + label { background: var(--accent); color: var(--paper); border-color: var(--accent); }
nav input:focus-visible + label { outline: 2px solid var(--ink); }
.note { color: var(--soft); margin: .2rem 0; }
summary { cursor: pointer; padding: .6rem 0; }
details { border-top: 1px solid var(--line); margin-top: .6rem; }
.search { position: sticky; top: 0; display: flex; gap: .6rem; align-items: center; padding: .5rem 0;
  background: var(--paper); }
.search input { flex: 1; font: inherit; padding: .4rem .7rem; border: 1px solid var(--line);
  border-radius: .5rem; background: var(--card); color: inherit; }
code { font: .85em ui-monospace, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
table { width: 100%; border-collapse: collapse; margin: .4rem 0 1rem; }
th { text-align: left; color: var(--soft); font-weight: 600; } td, th { padding: .35rem .6rem .35rem 0;
  vertical-align: top; border-bottom: 1px solid var(--line); }
@media (min-width: 40.01rem) { th { word-break: keep-all; } td, th { min-width: 4rem; } }
.banner { padding: .7rem 1rem; border-left: .4rem solid; border-radius: .4rem; background: var(--card);
  font-size: 1.15rem; } .banner.good { border-color: #2e8b57; } .banner.bad { border-color: #c0392b; }
.banner.warning { border-color: #b26a00; }
.tiles { display: flex; flex-wrap: wrap; gap: .5rem; margin: .8rem 0; } .tiles div { flex: 1 1 7.5rem;
  background: var(--card); border-radius: .6rem; padding: .5rem .8rem; } .tiles dt { color: var(--soft); }
.tiles dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
.right { text-align: right; font-variant-numeric: tabular-nums; padding-right: 1.2rem; }
.label { display: none; }
figure { margin: .6rem 0; } svg { width: 100%; height: 8rem; fill: var(--accent); display: block; }
polyline { fill: none; stroke: var(--accent); stroke-width: 2; vector-effect: non-scaling-stroke; }
.chart { width: auto; max-width: 100%; height: auto; } .chart text { fill: var(--ink); font-size: 14px; }
.chart .rule { stroke: var(--soft); stroke-dasharray: 4 3; } .chart .span { stroke: var(--accent);
  stroke-width: 3; }
.axis { display: flex; justify-content: space-between; color: var(--soft); font-size: .8rem; }
@media (max-width: 40rem) { thead { display: none; } table, tbody, tr, td { display: block; }
  tr { background: var(--card); border-radius: .6rem; padding: .5rem .8rem; margin: .5rem 0; }
  td, td.right { border: 0; padding: .1rem 0; text-align: left; display: flex; gap: .6rem; }
  td .label { display: block; flex: 0 0 6.5rem; color: var(--soft); font-weight: 400; } }
@media print { :root { color-scheme: light; --ink: #000; --soft: #444; --line: #bbb; --paper: #fff;
    --card: #fff; --accent: #0b6e99; }
  nav, .search { display: none; } details::details-content { content-visibility: visible; height: auto; }
  tr, figure, .banner, .tiles div { break-inside: avoid; } h2 { break-after: avoid; }
  body { font-size: 10pt; } td, th { padding: .15rem .4rem .15rem 0; } }
"""
