# ruff: noqa: E501  # sentences in two languages read best unbroken
"""What was sent in the last days and what came back, what is left of the budgets, what the holdout proved, what
is paused."""

from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from features import duck
from features.describe.say import day as said_day
from features.describe.say import days as said_days
from features.describe.say import words
from features.describe.sheets import Sheet
from features.errors import SettingsError
from features.log import LEDGER, Log
from features.moments import iso
from features.settings import Settings
from features.shop import Shop, shop_of
from features.words import Words
from serving.ledger import Ledger, exists
from serving.pauses import listed
from training.realised import Realised

DAYS = 7  # that are told of together: every weekday once
NEARLY = 0.9  # of a budget: then it is said first

_USES = Words("Sent and answered", "发送与响应")
_PERIODS = {
    "day": Words("day", "每日"), "week": Words("week", "每周"), "month": Words("month", "每月"),
    "year": Words("year", "每年"),
}  # fmt: skip


@dataclass(frozen=True)
class Held:
    """What the holdout proved of the last window that is final; or why nothing is known. headline: of it."""

    found: Realised | None
    headline: Words


def uses(settings: Settings, log: Log) -> Sheet:
    """By scenario and channel, of DAYS days, today the last: of our decisions, then of other systems."""
    shop, now = shop_of(settings), settings.now()
    today = now.astimezone(shop.zone).date()
    first = today - timedelta(days=DAYS - 1)
    since, until = _midnight(first, shop), now + timedelta(microseconds=1)
    said = {one.name: one.words for one in shop.declared("SCENARIOS")}
    rows: list[tuple[Any, ...]] = []
    if exists(settings):
        with closing(Ledger(settings)) as ledger:
            for use in ledger.uses(since, until):
                name = said.get(use.scenario, Words(use.scenario, use.scenario)) if use.scenario else _ANY
                rows.append((name, use.channel, use.sent, use.reached, use.clicked, use.bought,
                             f"{use.cost:,.2f}", use.blocked))  # fmt: skip
    rows += _of_others(log, since, until)
    title = words("{what}, {days}", "{what}（{days}）", what=_USES, days=said_days(first, today))
    head = (
        Words("scenario", "场景"), Words("channel", "渠道"), Words("sent", "发送"), Words("reached", "触达"),
        Words("clicked", "点击"), Words("bought", "购买"), words("cost, {c}", "成本（{c}）", c=shop.currency),
        Words("blocked", "拦截"),
    )  # fmt: skip
    return Sheet(
        title, head, tuple(rows), right=(2, 3, 4, 5, 6, 7),
        note=Words(
            "What was told so far, of decisions of these days; a dash: nobody tells of it. Bought: ordered within "
            "the window, because of it or not. What it brought, the holdout says.",
            "这些天的决策迄今上报的情况；短横线表示无人上报。购买：窗口内有下单，不代表由其带来；真正带来的效果见对照组。",
        ),
        empty=Words(
            "Nothing was decided or sent in these days: decisions come by `propensity decide` or POST /v1/decisions.",
            "这些天没有决策或发送：决策来自 `propensity decide` 或 POST /v1/decisions。",
        ),
    )  # fmt: skip


_ANY = Words("without a scenario", "无场景")
_OTHERS = Words("other systems", "其他系统")


def _of_others(log: Log, since: datetime, until: datetime) -> list[tuple[Any, ...]]:
    """Contacts of the log that are not ours, by channel; answers where they name the contact."""
    sources = (
        [path for path in log.paths("contacts") if path.stem != LEDGER] if "contacts" in log.tables else []
    )
    if not sources:
        return []
    parquet = "read_parquet([{}], hive_partitioning = false, union_by_name = true)"
    files = parquet.format(", ".join(f"'{path}'" for path in sources))
    answers = "(SELECT NULL::VARCHAR AS contact_id, NULL::VARCHAR AS kind WHERE false)"
    if "responses" in log.tables:
        answers = parquet.format(", ".join(f"'{path}'" for path in log.paths("responses")))
    with closing(duck.connect()) as db:
        of = "SELECT count(*) FILTER (kind = '{}') > 0 FROM {} WHERE contact_id IS NOT NULL"
        opens, clicks, redeems, buys = (
            db.execute(of.format(kind, answers)).fetchall()[0][0]
            for kind in ("open", "click", "redeem", "buy")
        )
        found = db.execute(
            f"""SELECT channel, count(*), count(answered), count(clicked), count(bought), sum(cost)::DOUBLE
            FROM {files} LEFT JOIN (
              SELECT contact_id, max(1) AS answered, max(CASE WHEN kind IN ('click', 'redeem') THEN 1 END) AS clicked,
                max(CASE WHEN kind = 'buy' THEN 1 END) AS bought
              FROM {answers} WHERE kind <> 'opt-out' GROUP BY contact_id
            ) USING (contact_id)
            WHERE "at" >= '{iso(since)}'::TIMESTAMPTZ AND "at" < '{iso(until)}'::TIMESTAMPTZ
            GROUP BY channel ORDER BY count(*) DESC, channel"""
        ).fetchall()
    return [
        (_OTHERS, channel, sent, answered if opens else None, clicked if clicks or redeems else None,
         bought if buys else None, None if cost is None else f"{cost:,.2f}", None)
        for channel, sent, answered, clicked, bought, cost in found
    ]  # fmt: skip


@dataclass(frozen=True)
class Budgets:
    """short: those of which NEARLY all is spent, in words."""

    sheet: Sheet
    short: tuple[Words, ...] = ()


def budgets(settings: Settings) -> Budgets:
    """What is left of each budget of the policy in force, with what decisions hold."""
    shop, now = shop_of(settings), settings.now()
    title = words("Budget left, {c}", "剩余预算（{c}）", c=shop.currency)
    head = (
        Words("of", "范围"), Words("per", "周期"), Words("budget", "预算"), Words("spent or held", "已用或占用"),
        Words("left", "剩余"),
    )  # fmt: skip
    try:
        policy = shop.policy(now)
    except SettingsError:
        return Budgets(Sheet(title, head, (), empty=Words(
            "No [[policy]] of shop.toml is in force: nothing may be sent.", "shop.toml 中没有生效的 [[policy]]：不能发送。"
        )))  # fmt: skip
    if not policy.budgets:
        return Budgets(Sheet(title, head, (), empty=Words(
            "The policy sets no budget: [[policy.budget]] of shop.toml stops what would cost more.",
            "策略未设预算：可在 shop.toml 的 [[policy.budget]] 中设置硬性上限。",
        )))  # fmt: skip
    spent = tuple(0.0 for _ in policy.budgets)
    if exists(settings):
        with closing(Ledger(settings)) as ledger:
            spent = ledger.spent(policy.budgets, now.astimezone(shop.zone).date(), now)
    said = {one.name: one.words for one in shop.declared("SCENARIOS")}
    rows, short = [], []
    for budget, gone in zip(policy.budgets, spent, strict=True):
        name = said.get(budget.scenario, Words(budget.scenario, budget.scenario)) if budget.scenario else (
            Words("all marketing", "全部营销"))  # fmt: skip
        left = budget.amount - gone
        share = f" ({left / budget.amount:.0%})" if budget.amount else ""
        rows.append(
            (name, _PERIODS[budget.per], f"{budget.amount:,.2f}", f"{gone:,.2f}", f"{left:,.2f}{share}")
        )
        if gone >= NEARLY * budget.amount:
            short.append(words("{of}, {per}: {left} left", "{of}（{per}）：剩余{left}", of=name,
                               per=_PERIODS[budget.per], left=f"{left:,.2f} {shop.currency}"))  # fmt: skip
    return Budgets(Sheet(title, head, tuple(rows), right=(2, 3, 4)), tuple(short))


def lift(held: Held) -> Sheet:
    """Both groups of the last final window with their difference and its interval."""
    title, found = Words("What marketing brought, against the holdout", "营销增益（对照组比较）"), held.found
    head = (
        Words("outcome", "结果"), Words("treated", "处理组"), Words("held out", "对照组"),
        Words("difference", "差异"), Words("95 % interval", "95%区间"),
    )  # fmt: skip
    if found is None:
        return Sheet(title, head, (), empty=held.headline)
    rows = []
    for effect in found.effects:
        gap = effect.difference
        rows.append((effect.name, f"{effect.treated.mean:.4g}", f"{effect.held_out.mean:.4g}", f"{gap.value:+.4g}",
                     f"{gap.low:+.4g} … {gap.high:+.4g}"))  # fmt: skip
    a, b = (said_day(moment.date()) for moment in (found.since, found.until))
    note = words("{headline} {a} to {b}, look {look}.", "{headline}{a}至{b}，第{look}次查看。",
                 headline=held.headline, a=a, b=b, look=found.look)  # fmt: skip
    for warning in found.warnings:
        note = Words(f"{note.en} {warning.en}.", f"{note.zh}{warning.zh}。")
    if (exposed := found.told_exposed) is not None:
        note = Words(f"{note.en} {exposed.en}.", f"{note.zh}{exposed.zh}。")
    if found.warnings:  # figures that nobody may read are not shown
        return Sheet(title, head, (), empty=note)
    return Sheet(title, head, tuple(rows), right=(1, 2, 3, 4), note=note)


def paused(settings: Settings) -> Sheet:
    """What is paused now, since when and why."""
    shop = shop_of(settings)
    rows = tuple(
        (one.what, f"{one.since.astimezone(shop.zone):%Y-%m-%d %H:%M}", one.reason)
        for one in listed(settings)
        if one.until is None
    )
    head = (Words("what", "内容"), Words("since", "开始"), Words("why", "原因"))
    return Sheet(Words("Paused", "已暂停"), head, rows, empty=Words("Nothing is paused.", "没有暂停的内容。"))


def _midnight(day: date, shop: Shop) -> datetime:
    return datetime.combine(day, time(), shop.zone)
