# ruff: noqa: E501  # sentences in two languages read best unbroken
"""The morning page: what operations should know and do today, on one screen.

    gather(settings, held) -> Today      everything, each block on its own: what is absent says why, and what to do
    page(today)                          one self-contained page, `files` with the CSVs beside it

Nothing here decides or changes anything: it reads what others wrote, as known now.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime

from features.describe.say import count, words
from features.describe.sheets import Cell, Sheet
from features.errors import PropensityError
from features.log import Log
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from monitoring.health import churn_days
from monitoring.indicators import last_day
from monitoring.today import campaigns, customers, queue
from monitoring.today.campaigns import Held
from monitoring.today.figures import Figure, figures
from monitoring.today.lights import Lights, lights

__all__ = ["Block", "Held", "Today", "gather"]


@dataclass(frozen=True)
class Block:
    """A part of the page. name: of its CSV; open: unfolded at first; dense: a table also on a phone. most: rows
    on the page, whose CSV has all; aside: how many columns, the last ones, only the CSV has."""

    name: str
    sheet: Sheet
    open: bool = True
    dense: bool = False
    most: int | None = None
    aside: int = 0

    @property
    def head(self) -> tuple[Words, ...]:
        """Of the columns that are on the page."""
        return self.sheet.head[: len(self.sheet.head) - self.aside]

    @property
    def shown(self) -> tuple[tuple[Cell, ...], ...]:
        """The rows that are on the page."""
        return tuple(row[: len(self.head)] for row in self.sheet.rows[: self.most])


@dataclass(frozen=True)
class Today:
    """as_of: now. day: the last complete one, which the indicators speak of; None without a log.

    todo: what needs somebody, the most urgent first. figures: empty where `why` says why. churn: days.
    """

    shop: str
    currency: str
    as_of: datetime
    day: date | None
    lights: Lights
    todo: tuple[Words, ...]
    figures: tuple[Figure, ...]
    blocks: tuple[Block, ...]
    churn: int
    why: Words | None = None

    @property
    def verdict(self) -> Words:
        """The whole morning in one sentence."""
        state = {
            "ok": Words("Data and models hold", "数据与模型正常"),
            "warning": Words("Data or models need a look", "数据或模型需要关注"),
            "unknown": Words("Whether data and models hold is not known", "数据与模型状态未知"),
            "page": Words("Data or models need somebody now", "数据或模型需要立即处理"),
        }[self.lights.worst]
        if self.lights.unreleased and self.lights.worst == "ok":
            state = Words("Data hold, and no model is released", "数据正常，尚无已发布模型")
        if not self.todo:
            return words("{state}; nothing waits for anybody.", "{state}；没有待办事项。", state=state)
        things = count(len(self.todo), "thing waits for somebody", "类事项待处理", "things wait for somebody")
        return words("{state}; {n}.", "{state}；{n}。", state=state, n=things)


def gather(settings: Settings, held: Callable[[], Held]) -> Today:
    """Everything the page tells. held: what the holdout proved, or why nothing is known.

    SettingsError for a shop that cannot be read; whatever else is absent is told in its place.
    """
    shop, lamps, churn = shop_of(settings), lights(settings), churn_days(settings)
    log: Log | None = None
    why: Words | None = None
    told: list[Figure] = []
    try:
        log = Log.open(settings)
        told = figures(settings, log, lamps.unusual)
    except PropensityError as error:
        why = _because(error)
    unusual = [one.indicator.words for one in told if one.unusual is not None]
    todo = [words("Unusual: {names}", "异常指标：{names}", names=_listed(unusual))] if unusual else []
    parts = [Part([], [*todo, *lamps.tasks])]
    if log is not None:
        parts.append(_part(_QUEUE, lambda: _queue(settings, log)))
    parts.append(_part(_RISK, lambda: _risk(settings)))
    if log is not None:
        parts.append(_part(_SENT, lambda: Part([Block("campaigns", campaigns.uses(settings, log))])))
    parts += [
        _part(_MONEY, lambda: _money(settings)),
        _part(_LIFT, lambda: Part([Block("holdout", campaigns.lift(held()), dense=True)])),
        _part(_PAUSED, lambda: _paused(settings)),
        _part(_STAGES, lambda: _stages(settings)),
    ]
    return Today(
        shop.name, shop.currency, settings.now(), None if log is None else last_day(settings, log), lamps,
        tuple(one for part in parts for one in part.todo), tuple(told),
        tuple(block for part in parts for block in part.blocks), churn, why,
    )  # fmt: skip


@dataclass(frozen=True)
class Part:
    """What one question gives the page: blocks, and what of it needs somebody."""

    blocks: list[Block]
    todo: list[Words] = field(default_factory=list)


_QUEUE, _RISK = Words("The queue, by owner", "待办（按负责人）"), Words("Newly at risk", "新近流失风险")
_SENT, _MONEY = Words("Sent and answered", "发送与响应"), Words("Budget left", "剩余预算")
_LIFT, _PAUSED = Words("Against the holdout", "对照组比较"), Words("Paused", "已暂停")
_STAGES = Words("Life cycle stages", "生命周期阶段")


def _part(title: Words, make: Callable[[], Part]) -> Part:
    """The part, or in its place why it cannot be told: one that fails takes no other with it."""
    try:
        return make()
    except PropensityError as error:
        return Part([Block("", Sheet(title, (), (), empty=_because(error)))])


def _queue(settings: Settings, log: Log) -> Part:
    found = queue.waiting(settings, log)
    todo = [
        count(number, one, zh, many)
        for number, one, many, zh in (
            (
                found.late,
                "complaint open past 24 hours",
                "complaints open past 24 hours",
                "件投诉超24小时未结",
            ),
            (
                found.soon,
                "complaint due within 24 hours",
                "complaints due within 24 hours",
                "件投诉24小时内到期",
            ),
            (
                found.handed,
                "decision handed over to a person",
                "decisions handed over to a person",
                "项决策转人工",
            ),
        )
        if number
    ]
    blocks = [
        Block("queue", found.summary, dense=True),
        Block("complaints", found.complaints, most=found.recent, aside=1),
    ]
    if found.over is not None:
        blocks.append(Block("handed_over", found.over, open=False, most=queue.MOST, aside=1))
    return Part(blocks, todo)


def _risk(settings: Settings) -> Part:
    found, n = customers.at_risk(settings), "valuable customer{} newly at risk"
    todo = [count(found.customers, n.format(""), "位高价值客户新近有流失风险", n.format("s"))]
    return Part([Block("at_risk", found.sheet)], todo if found.customers else [])


def _money(settings: Settings) -> Part:
    found = campaigns.budgets(settings)
    todo = [words("Budget nearly spent: {of}", "预算即将用尽：{of}", of=one) for one in found.short]
    return Part([Block("budget", found.sheet, dense=True)], todo)


def _paused(settings: Settings) -> Part:
    found = campaigns.paused(settings)
    names = ", ".join(str(row[0]) for row in found.rows)
    todo = [words("Paused: {names}", "已暂停：{names}", names=names)] if found.rows else []
    return Part([Block("paused", found, dense=True)], todo)


def _stages(settings: Settings) -> Part:
    sheets = enumerate(customers.stages(settings))
    return Part([Block(f"stages{n or ''}", sheet, open=not n, dense=True) for n, sheet in sheets])


def _because(error: PropensityError) -> Words:
    return Words(f"It cannot be told: {error}", f"无法显示：{error}")


def _listed(names: Iterable[Words]) -> Words:
    said = list(names)
    return Words(", ".join(one.en for one in said), "、".join(one.zh for one in said))
