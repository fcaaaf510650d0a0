"""Charts of figures for pages: inline SVG with its words in both languages, readable without colours."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from features.pages import Html, html
from features.words import Words

_WIDTH, _ROW, _MARGIN = 640, 44, 14
_SPARK = 140


class Dot(NamedTuple):
    """A value and, if it is known, its interval. `shown`: the value as text, written beside its name."""

    name: Words
    value: float
    low: float | None = None
    high: float | None = None
    shown: str = ""


def dots(rows: Sequence[Dot], title: Words, reference: float | None = None) -> Html:
    """A row a value, with a bar from `low` to `high`; `reference`: a dashed line, such as no gain at 0.

    The axis reaches from the least to the largest of what is drawn: it need not start at 0.
    """
    ends = [end for row in rows for end in (row.value, row.low, row.high, reference) if end is not None]
    first, last = min(ends, default=0.0), max(ends, default=1.0)
    scale = (_WIDTH - 2 * _MARGIN) / ((last - first) or 1)

    def x(value: float) -> float:
        return _MARGIN + (value - first) * scale

    height = _ROW * len(rows) + _MARGIN
    shapes = []
    if reference is not None:
        shapes.append(f'<line class="rule" x1="{x(reference):.1f}" x2="{x(reference):.1f}" y2="{height}"/>')
    for place, row in enumerate(rows):
        y = _ROW * place + 32
        said = f": {row.shown}" if row.shown else ""
        shapes.append(_text(2, y - 14, Words(row.name.en + said, row.name.zh + said)))
        if row.low is not None and row.high is not None:
            span = f'x1="{x(row.low):.1f}" x2="{x(row.high):.1f}" y1="{y}" y2="{y}"'
            shapes.append(f'<line class="span" {span}/>')
        shapes.append(f'<circle cx="{x(row.value):.1f}" cy="{y}" r="5"/>')
    return _chart("".join(shapes), title, _WIDTH, height)


def curve(
    points: Sequence[tuple[float, float]], title: Words, across: Words, up: Words,
    dotted: bool = False,
) -> Html:  # fmt: skip
    """A curve of shares (x, y), each 0 to 1, beside the diagonal; `dotted`: with its points.

    across, up: what the axes are.
    """
    side, edge = 320, 40

    def at(x: float, y: float) -> tuple[float, float]:
        return edge + x * side, _MARGIN + (1 - y) * side

    (x1, y1), (x2, y2) = at(0, 0), at(1, 1)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in points))
    shapes = [
        f'<line class="rule" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>',
        f'<polyline points="{path}"/>',
        *(f'<text x="0" y="{at(0, share)[1] + 5:.1f}">{share:.0%}</text>' for share in (0, 0.5, 1)),
        *(f'<text x="{at(share, 0)[0] - 8:.1f}" y="{y1 + 18}">{share:.0%}</text>' for share in (0.5, 1)),
        _text(edge, y1 + 40, Words(f"→ {across.en}", f"→ {across.zh}")),
        _text(edge + 8, y2 + 14, Words(f"↑ {up.en}", f"↑ {up.zh}")),
    ]
    for x, y in (at(*point) for point in points) if dotted else ():
        shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
    return _chart("".join(shapes), title, side + 2 * edge, side + 60 + _MARGIN)


def spark(values: Sequence[float], title: Words) -> Html:
    """A line as small as a word: values from left to right, NaN a gap; from the least to the largest of them.

    It has no axis: `title` says what it shows. The last value has a dot.
    """
    known = [value for value in values if not math.isnan(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    step, scale = _SPARK / max(len(values) - 1, 1), 20 / ((high - low) or 1)
    shapes, run = [], list[str]()
    for place, value in enumerate([*values, math.nan]):
        if math.isnan(value):
            if run:
                shapes.append(f'<polyline points="{" ".join(run)}"/>')
            run = []
        else:
            run.append(f"{place * step:.1f},{22 - (value - low) * scale:.1f}")
    if values and not math.isnan(values[-1]):
        shapes.append(f'<circle cx="{_SPARK}" cy="{22 - (values[-1] - low) * scale:.1f}" r="2.5"/>')
    return Html(
        f'<svg class="spark" viewBox="-3 -1 {_SPARK + 6} 26" role="img" '
        f'aria-label="{escape(f"{title.en} · {title.zh}")}">{"".join(shapes)}</svg>'
    )


def _text(x: float, y: float, words: Words) -> str:
    both = (("en", words.en), ("zh-Hans", words.zh))
    return "".join(f'<text lang="{lang}" x="{x}" y="{y}">{escape(text)}</text>' for lang, text in both)


def _chart(shapes: str, title: Words, width: int, height: int) -> Html:
    return Html(
        f"<figure><figcaption>{html(title)}</figcaption>"
        f'<svg class="chart" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(f"{title.en} · {title.zh}")}">{shapes}</svg></figure>'
    )
