# ruff: noqa: E501  # sentences in two languages read best unbroken
"""The morning page: what operations should know and do today, on one screen.

    gather(settings, held) -> Today      everything, each block on its own: what is absent says why, and what to do
    page(today)                          one self-contained page, `files` with the CSVs beside it

Nothing here decides or changes anything: it reads what others wrote, as known now.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime

from features.describe.say import count, words
from features.describe.sheets import Sheet
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
    """A part of the page. name: of its CSV; open: unfolded at first."""

    name: str
    sheet: Sheet
    open: bool = True


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
        if not self.todo:
            return words("{state}; nothing waits for anybody.", "{state}；没有待办事项。", state=state)
        things = count(len(self.todo), "thing needs somebody", "项需要处理", "things need somebody")
        return words("{state}; {n}.", "{state}；{n}。", state=state, n=things)


def gather(settings: Settings, held: Callable[[], Held]) -> Today:
    """Everything the page tells. held: what the holdout proved, or why nothing is known.

    SettingsError for a shop that cannot be read; whatever else is absent is told in its place.
    """
    shop, lamps = shop_of(settings), lights(settings)
    churn = churn_days(settings)
    try:
        log, why = Log.open(settings), None
    except PropensityError as error:
        log, why = None, _because(error)
    blocks: list[Block] = []
    todo: list[Words] = []
    told: list[Figure] = []
    if log is not None:
        try:
            told = figures(settings, log, lamps.unusual, churn)
        except PropensityError as error:
            why = _because(error)
    for light in (lamps.data, lamps.models):
        if light.colour in ("page", "warning"):
            todo.append(words("{title}: {words}", "{title}：{words}", title=light.title, words=light.words))
    unusual = [one for one in told if one.unusual is not None]
    if unusual:
        todo.append(
            words(
                "Unusual: {names}", "异常指标：{names}", names=_listed(one.indicator.words for one in unusual)
            )
        )

    def risk() -> list[Block]:
        found = customers.at_risk(settings)
        if found.customers:
            todo.append(count(found.customers, "valuable customer newly at risk", "位高价值客户新近有流失风险",
                              "valuable customers newly at risk"))  # fmt: skip
        return [Block("at_risk", found.sheet)]

    def work() -> list[Block]:
        assert log is not None
        found = queue.waiting(settings, log)
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
        ):
            if number:
                todo.append(count(number, one, zh, many))
        lists = [
            Block(name, sheet)
            for name, sheet in zip(("complaints", "handed_over"), found.lists, strict=False)
        ]
        return [Block("queue", found.summary), *lists]

    def money() -> list[Block]:
        found = campaigns.budgets(settings)
        todo.extend(words("Budget nearly spent: {of}", "预算即将用尽：{of}", of=one) for one in found.short)
        return [Block("budget", found.sheet)]

    def stopped() -> list[Block]:
        found = campaigns.paused(settings)
        if found.rows:
            todo.append(
                words(
                    "Paused: {names}", "已暂停：{names}", names=", ".join(str(row[0]) for row in found.rows)
                )
            )
        return [Block("paused", found)]

    if log is not None:
        blocks += _block(_QUEUE, work)
    blocks += _block(_RISK, risk)
    if log is not None:
        day = last_day(settings, log)
        blocks += _block(_SENT, lambda: [Block("campaigns", campaigns.uses(settings, log, day))])
    blocks += _block(_MONEY, money)
    blocks += _block(_LIFT, lambda: [Block("holdout", campaigns.lift(held(), shop.currency))])
    blocks += _block(_PAUSED, stopped)
    blocks += _block(_STAGES, lambda: [
        Block(f"stages{place or ''}", sheet) for place, sheet in enumerate(customers.stages(settings))
    ])  # fmt: skip
    return Today(
        shop.name, shop.currency, settings.now(), None if log is None else last_day(settings, log), lamps,
        tuple(todo), tuple(told), tuple(blocks), churn, why,
    )  # fmt: skip


_QUEUE, _RISK = Words("The queue, by owner", "待办（按负责人）"), Words("Newly at risk", "新近流失风险")
_SENT, _MONEY = Words("Sent and answered", "发送与响应"), Words("Budget left", "剩余预算")
_LIFT, _PAUSED = Words("Against the holdout", "对照组比较"), Words("Paused", "已暂停")
_STAGES = Words("Life cycle stages", "生命周期阶段")


def _block(title: Words, make: Callable[[], list[Block]]) -> list[Block]:
    """The block, or in its place why it cannot be told: one that fails takes no other with it."""
    try:
        return make()
    except PropensityError as error:
        return [Block("", Sheet(title, (), (), empty=_because(error)))]


def _because(error: PropensityError) -> Words:
    return Words(f"It cannot be told: {error}", f"无法显示：{error}")


def _listed(names: Iterable[Words]) -> Words:
    said = list(names)
    return Words(", ".join(one.en for one in said), "、".join(one.zh for one in said))
