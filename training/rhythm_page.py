"""The rhythm of a log and the targets that it suggests, for people: tables in both languages, and a page."""

from collections.abc import Callable, Collection, Sequence
from html import escape
from math import isnan

from features.describe.say import words
from features.describe.sheets import Sheet
from features.pages import Html, code, html, page, paragraph, section, table
from features.words import Words
from training.rhythm import QUANTILES, Rhythm
from training.suggest import HORIZONS, Proposal, source

_WIDTH, _HEIGHT, _LEFT, _BELOW = 600, 220, 40, 24  # of the plot and, in it, of the axes' labels
_COLOURS = ("var(--accent)", "#d9822b", "#2e8b57")


def verdict(rhythm: Rhythm, found: Sequence[Proposal]) -> Words:
    """What an operator should know first."""
    ready = [one.target.name for one in found if one.needed_days <= rhythm.days]
    late = [one for one in found if one.needed_days > rhythm.days]
    told = words(
        "The log's own rhythm suggests {names}.",
        "按日志自身的购物节奏，建议目标：{names}。",
        names=Words(", ".join(ready), "、".join(ready)),
    )
    if not late:
        return told
    short = words(
        "The log is too short for {name}: it has {days} days, and {needed} are needed.",
        "日志过短，无法训练{name}：目前有{days}天，需要{needed}天。",
        name=", ".join(one.target.name for one in late),
        days=rhythm.days,
        needed=max(one.needed_days for one in late),
    )
    return Words(f"{told.en} {short.en}", told.zh + short.zh) if ready else short


def gaps(rhythm: Rhythm) -> Sheet:
    """How long customers stay away."""
    shares = tuple(Words(f"{q:.0%} up to", f"{q:.0%}不超过") for q in QUANTILES)
    repeat = len(rhythm.own)
    return Sheet(
        Words("Days between days with an order", "两次下单日之间的天数"),
        (Words("of", "统计对象"), Words("number", "数量"), *shares),
        (
            (Words("gaps", "购物间隔"), len(rhythm.gaps), *_days(rhythm.quantiles(rhythm.gaps))),
            (Words("customers' own medians", "客户自身中位数"), repeat, *_days(rhythm.quantiles(rhythm.own))),
        ),
        right=tuple(range(1, 2 + len(QUANTILES))),
        note=words(
            "{repeat} of {all} buyers ordered on two days or more, and have gaps. A gap longer than the log "
            "cannot be seen: of a short log the figures are too small.",
            "{all}位买家中有{repeat}位在两天及以上下单，才有间隔。长于日志的间隔无法看到：日志较短时数值偏小。",
            repeat=repeat, all=rhythm.customers,
        ),
    )  # fmt: skip


def silences(rhythm: Rhythm) -> Sheet:
    """What a silence of each horizon means."""
    return Sheet(
        Words("What a silence means", "沉默意味着什么"),
        (
            Words("days", "天数"), Words("gaps that are longer", "更长的间隔占比"),
            words("come back within {n} more days", "之后{n}天内回归", n=rhythm.followed),
        ),
        tuple((h, f"{rhythm.longer(h):.1%}", _share(rhythm.back(h))) for h in HORIZONS if h < rhythm.days),
        right=(0, 1, 2),
        note=Words(
            "Come back: of all silences that lasted so long, and that the log shows for so many days more.",
            "回归：在沉默达到该天数、且日志覆盖之后这些天的情形中所占比例。",
        ),
    )  # fmt: skip


def proposed(rhythm: Rhythm, found: Sequence[Proposal], by_itself: Collection[str] = ()) -> Sheet:
    """The proposed targets. by_itself: those that `propensity train` trains without being named."""

    def state(proposal: Proposal) -> Words:
        if proposal.needed_days > rhythm.days:
            return words("needs {n} days of log", "需要{n}天日志", n=proposal.needed_days)
        if proposal.declared and proposal.target.name in by_itself:
            return Words("declared: trained by itself", "已声明：默认训练")
        if proposal.declared:
            return Words("declared: trained by name", "已声明：按名称训练")
        return Words("to be declared in shop.py", "需在shop.py中声明")

    return Sheet(
        Words("Proposed targets", "建议目标"),
        (
            Words("name", "名称"), Words("for whom", "适用客户"), Words("how many", "人数"),
            Words("of them 1", "其中为1"), Words("state", "状态"),
        ),
        tuple(
            (
                one.target.name, one.target.population.words, one.members, _share(one.base_rate), state(one),
            )
            for one in found
        ),
        right=(2, 3),
        note=Words(
            "How many, and of them 1: at the last moment whose label is known.",
            "人数及其中为1的占比：以标签已知的最后时点为准。",
        ),
    )  # fmt: skip


def reasons(found: Sequence[Proposal]) -> Sheet:
    """Why each is proposed."""
    head = (Words("name", "名称"), Words("why", "理由"))
    rows = tuple((one.target.name, one.reason) for one in found)
    return Sheet(Words("Why", "理由"), head, rows)


def declarations(found: Sequence[Proposal]) -> str:
    """What to write into shop.py for the proposals that nobody declared; empty if there are none."""
    return "\n".join(source(one.target) for one in found if not one.declared)


def sheets(rhythm: Rhythm, found: Sequence[Proposal], by_itself: Collection[str] = ()) -> tuple[Sheet, ...]:
    """All of it, in the order in which it is read."""
    return gaps(rhythm), silences(rhythm), proposed(rhythm, found, by_itself), reasons(found)


def render(
    shop: str,
    rhythm: Rhythm,
    found: Sequence[Proposal],
    language: str = "en",
    by_itself: Collection[str] = (),
) -> str:
    """One self-contained HTML document in both languages; `language`: the one that it shows at first."""
    parts = [section(Words("The rhythm", "购物节奏"), _plot(rhythm, found))]
    parts += [
        section(sheet.title, table(sheet.head, sheet.rows, sheet.right), note=sheet.note or "")
        for sheet in sheets(rhythm, found, by_itself)
    ]
    if own := declarations(found):
        title = Words("For TARGETS in shop.py", "写入shop.py的TARGETS")
        parts.append(section(title, Html(f"<pre>{code(own)}</pre>")))
    title = words("Targets for {shop}", "{shop}的预测目标", shop=shop)
    return page(title, *parts, note=verdict(rhythm, found), language=language)


def _plot(rhythm: Rhythm, found: Sequence[Proposal]) -> Html:
    """Three shares over the days of a silence, and where the proposed horizons lie: inline SVG."""
    horizons = [one.target.horizon_days for one in found]
    longest = min(rhythm.days, max(90, 2 * max(horizons), int(rhythm.quantiles(rhythm.gaps)[-1])))
    curves: list[tuple[Words, Callable[[int], float]]] = [
        (Words("gaps that are longer", "更长的间隔占比"), rhythm.longer),
        (
            Words("customers whose usual gap is longer", "通常间隔更长的客户占比"),
            rhythm.usually_longer,
        ),
        (
            words("silences that end within {n} more days", "沉默后{n}天内回归占比", n=rhythm.followed),
            rhythm.back,
        ),
    ]
    steps = range(0, longest + 1, max(1, longest // 120))
    shapes = [_gridline(share) for share in (0, 0.5, 1)]
    shapes += [_marked(days, longest, dashed=days in horizons) for days in sorted({0, longest, *horizons})]
    legend = []
    for colour, (name, share_of) in zip(_COLOURS, curves, strict=True):
        shares = [(days, share_of(days)) for days in steps]
        points = " ".join(f"{_x(d, longest):.1f},{_y(s):.1f}" for d, s in shares if not isnan(s))
        shapes.append(f'<polyline points="{points}" style="stroke:{colour}"/>')
        legend.append(f'<span style="color:{colour}">■</span> {html(name)}')
    title = Words("Share, by days of silence", "按沉默天数的占比")
    label = escape(title.en)
    return Html(
        f"<figure><figcaption>{html(title)}</figcaption>"
        f'<svg viewBox="0 -8 {_WIDTH} {_HEIGHT + 8}" style="height:auto" role="img" aria-label="{label}">'
        f"{''.join(shapes)}</svg>{paragraph(*map(Html, legend))}</figure>"
    )


def _x(days: float, longest: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - 10) * days / longest


def _y(share: float) -> float:
    return (_HEIGHT - _BELOW) * (1 - share)


def _gridline(share: float) -> str:
    y = _y(share)
    return (
        f'<line x1="{_LEFT}" x2="{_WIDTH - 10}" y1="{y}" y2="{y}" style="stroke:var(--line)"/>'
        f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end" {_TEXT}>{share:.0%}</text>'
    )


def _marked(days: int, longest: int, dashed: bool) -> str:
    x, bottom = _x(days, longest), _HEIGHT - _BELOW
    line = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{bottom}" {_DASHED}/>' if dashed else ""
    return f'{line}<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle" {_TEXT}>{days}</text>'


_TEXT = 'style="fill:var(--soft);font-size:11px"'
_DASHED = 'style="stroke:var(--ink);stroke-dasharray:4 3"'


def _days(values: Sequence[float]) -> tuple[str, ...]:
    return tuple(f"{value:g}" for value in values)


def _share(value: float) -> str | None:
    return None if isnan(value) else f"{value:.1%}"
