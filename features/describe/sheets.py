"""What is told of a log, as tables in both languages: the page and the terminal show the same ones."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from features.describe import say
from features.describe.absent import in_short
from features.describe.facts import Account, Consent, Facts, Month, Part
from features.describe.say import words
from features.ingestion.folding import JOINED_PERSON, MENDED_SINCE, NOT_MENDED
from features.ingestion.refusals import GONE, NO_CHANNEL, OF_RETURNS, OTHERWISE
from features.ingestion.scrubbing import LINKED
from features.ingestion.yielding import USED
from features.sources.bounds import AFTER, BEFORE, DECADES, LATER
from features.sources.corrected import NO_OBJECT, UNCLEAR
from features.sources.customers import JOINED_CUSTOMER
from features.sources.sales import JOINED, JOINED_ORDER
from features.tables import TABLES
from features.words import Words

Cell = Words | str | int | None


@dataclass(frozen=True)
class Sheet:
    """A table with a title. note: how to read it. empty: said instead where it has no rows.

    right: places of columns of numbers. A sheet of two columns pairs a name with a number.
    """

    title: Words
    head: tuple[Words, ...]
    rows: tuple[tuple[Cell, ...], ...]
    right: tuple[int, ...] = ()
    note: Words | None = None
    empty: Words = Words("None.", "无。")


def states(facts: Facts) -> Words:
    """What the log states of itself; the days that are counted begin where it says that orders do."""
    start = say.moment(facts.starts_at, facts.zone)
    if facts.early:
        start = words(
            "{begins} ({n} before, from {first} on)", "{begins}（此前另有{n}，始于{first}）",
            begins=say.day(facts.begins), n=say.count(facts.early, "odd one", "个异常订单"), first=start,
        )  # fmt: skip
    return words(
        "{sources}. Orders from {start}, complete until {end}; days are those of {zone}, money is in {currency}. Log {log}.",
        "{sources}。订单始于{start}，数据完整至{end}；日期按{zone}时区，金额单位{currency}。日志 {log}。",
        sources=", ".join(sorted({part.source for part in facts.parts})),
        start=start, end=say.moment(facts.complete_until, facts.zone),
        zone=facts.zone, currency=facts.currency, log=facts.log,
    )  # fmt: skip


def headline(facts: Facts) -> list[tuple[Words, Cell]]:
    """The few numbers that tell the size and the state of a log."""
    nobody, of = facts.anonymous
    return [
        (Words("buyers", "买家"), facts.buyers),
        (Words("days", "天"), facts.days),
        (Words("orders", "订单"), facts.orders),
        (Words("sales", "销售额"), _money(facts, facts.sales)),
        (Words("of it returned", "其中退货"), say.share(facts.returned, facts.sales)),
        (Words("rows without a customer", "无客户的行"), say.share(nobody, of) if of else "0%"),
        (Words("rows rejected", "被拒绝的行"), say.share(facts.rejected, facts.raw)),
    ]


def months(facts: Facts) -> Sheet:
    """Coverage by month."""

    def name(month: Month) -> Words:
        named = say.month(month.start)
        if month.days == month.length:
            return named
        if month.days == 0:
            return words("{m} (outside the log's days)", "{m}（日志区间之外）", m=named)
        return words(
            "{m} ({n} of {of} days)", "{m}（{of}天中的{n}天）", m=named, n=month.days, of=month.length
        )

    return Sheet(
        Words("Month by month", "逐月概况"),
        (
            Words("month", "月份"), Words("events", "事件"), Words("active", "活跃"), Words("new", "新客"),
            Words("orders", "订单"), Words("sales", "销售额"), Words("returned", "退货额"),
        ),
        tuple(
            (name(m), m.events, m.active, m.new, m.orders, _money(facts, m.sales), _money(facts, m.returned))
            for m in facts.months
        ),
        right=(1, 2, 3, 4, 5, 6),
        note=Words(
            "Events: rows of everything that happened, order lines left out. Active: customers who did something themselves; to be "
            "contacted is not that. Sales: before returns. New: first orders of buyers, so the first months hold old customers too.",
            "事件：所有发生的记录，不含订单明细。活跃：自己有行为的客户，被触达不算。销售额未扣除退货。新客：首次下单的买家，因此最初几个月包含老客户。",
        ),
    )  # fmt: skip


def gaps(facts: Facts) -> Sheet:
    """Days that seem to be missing, and how that is judged."""

    def why(days: int, holidays: Sequence[str]) -> Words:
        if holidays:
            return words(
                "a holiday, {names}: probably closed", "{names}假日：可能闭店", names=", ".join(holidays)
            )
        if days == 1:
            return Words("one day: closed, or a file was not delivered", "仅一天：闭店，或文件未交付")
        return words("{n} days in a row: closed, or not delivered", "连续{n}天：闭店或未交付", n=days)

    return Sheet(
        Words("Days that seem to be missing", "疑似缺失的日期"),
        (
            Words("days", "日期"), Words("table", "数据表"), Words("source", "来源"), Words("rows", "行数"),
            Words("usual", "通常"), Words("why it is shown", "原因"),
        ),
        tuple(
            (say.days(g.first, g.last), say.table(g.table), g.source, g.found, g.usual, why(g.days, g.holidays))
            for g in facts.gaps
        ),
        right=(3, 4),
        note=Words(
            "A day is held against the days of the same weekday around it, eight before and eight after: it is missing if three quarters "
            "of them have events and it has at most a twentieth of their median. Neighbouring missing days are one gap, if at least 10 "
            "events are lacking. Tables whose events come in bursts, such as answers to campaigns, are too unsteady to be judged so.",
            "将某天与前后各八周的同一星期几比较：其中至少四分之三有事件、而该天不足其中位数的二十分之一，即视为缺失。"
            "相邻的缺失日合为一处，且至少缺少10条事件。成批出现的事件（如活动响应）波动太大，不作判断。",
        ),
    )  # fmt: skip


def customers(facts: Facts) -> Sheet:
    """Who is in the log."""
    return Sheet(
        Words("Customers", "客户"),
        (Words("customers", "客户"), Words("number", "数量")),
        (
            (Words("in the log", "日志中"), facts.customers),
            (Words("with an order (buyers)", "有订单（买家）"), facts.buyers),
            (Words("known, without an order", "已识别但无订单"), max(0, facts.customers - facts.buyers)),
            (Words("buyers with one order only", "只下过一单的买家"), _and_share(facts.one_time, facts.buyers)),
            (Words("known under more than one id", "拥有多个标识"), facts.several_ids),
            (Words("ids given to several customers", "属于多位客户的标识"), facts.shared_ids),
        ),
        right=(1,),
    )  # fmt: skip


def returns(facts: Facts) -> Sheet:
    """What came back, and what came twice."""
    money = words(
        "{m} ({s})", "{m}（{s}）", m=_money(facts, facts.returned), s=say.share(facts.returned, facts.sales)
    )
    return Sheet(
        Words("Returns and repetitions", "退货与重复"),
        (Words("what", "项目"), Words("number", "数量")),
        (
            (Words("returns, against orders", "退货数（占订单）"), _and_share(facts.returns, facts.orders)),
            (Words("money returned, against sales", "退货额（占销售额）"), money),
            (Words("returns whose order is in the log", "能找到原订单的退货"), facts.returns - facts.unmatched),
            (Words("returns whose order is not", "找不到原订单的退货"), facts.unmatched),
            (Words("raw rows with the key of an earlier one", "主键与之前重复的原始行"), facts.repeated),
            (Words("orders with another's customer, time and amount", "客户、时间、金额与另一单相同的订单"), facts.look_alikes),
        ),
        right=(1,),
    )  # fmt: skip


def parts(facts: Facts) -> Sheet:
    """Rows, times and lateness by table and source."""

    def row(part: Part) -> tuple[Cell, ...]:
        return (
            say.table(part.table), part.source, part.rows,
            say.moment(part.first, facts.zone) if part.first else None,
            say.moment(part.last, facts.zone) if part.last else None,
            say.share(part.late, part.rows) if part.first else None,
            None if part.late_median is None else say.duration(part.late_median),
            None if part.late_p95 is None else say.duration(part.late_p95),
        )  # fmt: skip

    return Sheet(
        Words("Where the rows come from", "数据来源"),
        (
            Words("table", "数据表"), Words("source", "来源"), Words("rows", "行数"), Words("from", "最早"),
            Words("to", "最晚"), Words("late", "迟到"), Words("typical", "一般"), Words("slow", "较慢"),
        ),
        tuple(map(row, facts.parts)),
        right=(2, 5, 6, 7),
        note=Words(
            "A row is late if it became known after it happened. Typical: half of the late rows were known by then; slow: 95 of 100 were.",
            "在发生之后才获知的行算作迟到。一般：半数迟到行在此时间内获知；较慢：95%在此时间内获知。",
        ),
    )  # fmt: skip


def fates(facts: Facts) -> Sheet:
    """What became of raw rows that were not simply taken in: what is wrong first, then the largest."""
    read: dict[tuple[str, str, str | None], int] = {}
    for a in facts.accounts:
        read[a.source, a.table, a.file] = read.get((a.source, a.table, a.file), 0) + a.rows
    told = sorted(
        (a for a in facts.accounts if a.what or not a.accepted),
        key=lambda a: (a.accepted, a.aside, -a.rows, a.source, a.what),
    )

    def row(a: Account) -> tuple[Cell, ...]:
        fate = (
            Words("taken in", "接收")
            if a.accepted
            else Words("joined", "合并")
            if a.what.startswith(JOINED)
            else Words("mended", "已更正")
            if a.what.startswith(MENDED_SINCE)
            else Words("not mended", "未能更正")
            if a.what.startswith(NOT_MENDED)
            else Words("left out", "剔除")
            if a.aside
            else Words("rejected", "拒绝")
        )
        line = None if a.first_line is None else a.first_line + 1
        share = say.share(a.rows, read[a.source, a.table, a.file])
        why = why_rejected(a.what.removeprefix(MENDED_SINCE).removeprefix(NOT_MENDED))
        return fate, why, a.rows, share, a.file, a.source, line

    return Sheet(
        Words("Rows that were rejected, left out, joined to others or special", "被拒绝、剔除、合并或特殊的行"),
        (
            Words("fate", "处理"), Words("why", "原因"), Words("rows", "行数"), Words("of the file", "占该文件"),
            Words("file", "文件"), Words("source", "来源"), Words("first row", "首行"),
        ),
        tuple(map(row, told)),
        right=(2, 3, 6),
        note=words(
            "{n} of {of} raw rows were rejected ({s}): they broke a contract, and are kept in rejects/, each with its reason. Left out is "
            "what is not for a log of customers; joined is what is in the log with an earlier row; mended, what `propensity rejects take` brought since. Rows count from 1, a header left out.",
            "{of}行原始数据中有{n}行（{s}）违反数据约定而被拒绝，连同原因保存在 rejects/。剔除的是不属于客户日志的行；合并的行已随先前的行计入日志；已更正的行已由 `propensity rejects take` 补入。行号从1起，不含表头。",
            n=facts.rejected, of=facts.raw, s=say.share(facts.rejected, facts.raw),
        ),
    )  # fmt: skip


def why_rejected(reason: str) -> Words:
    """Ingestion's reason in both languages; one that a table's rules or a source give, as they give it."""
    if reason.startswith("no "):
        return Words(reason, f"缺少{reason.removeprefix('no ')}")
    if reason.startswith("a second row with the same "):
        key = reason.removeprefix("a second row with the same ")
        otherwise = "，内容却不同" if key.endswith(OTHERWISE) else ""
        return Words(reason, f"{key.removesuffix(OTHERWISE)}重复{otherwise}")
    if other := re.match(r"another (customer|day)'s (.+) in (\w+)$", reason):
        of = "客户" if other[1] == "customer" else "日期"
        return Words(reason, f"{other[3]} 中另一{of}的{other[2]}")
    if other := re.match(rf"the same (.+) as a row of (\w+)({OTHERWISE})?$", reason):
        return Words(reason, f"与 {other[2]} 中某行的{other[1]}相同{'，内容却不同' if other[3] else ''}")
    if unread := re.match(rf"(\w+) is not ({'|'.join(_UNREAD)})$", reason):
        return Words(reason, f"{unread[1]}不是{_UNREAD[unread[2]]}")
    if reason.endswith(UNCLEAR):
        return Words(reason, f"{reason.removesuffix(UNCLEAR)}的金额写法有歧义")
    return Words(reason, _REASONS.get(reason, reason))


_UNREAD = {
    "a moment": "有效的时间", "an amount of money": "有效的金额", "a whole number": "整数", "a number": "数字",
}  # fmt: skip
_REASONS = {
    JOINED_ORDER: "并入先前行的订单：没有丢失",
    JOINED_CUSTOMER: "并入先前行的客户信息：没有丢失",
    JOINED_PERSON: "并入同一人同一时刻的另一行：没有丢失",
    LINKED: "会使某人与已删除者成为同一人",
    NO_OBJECT: "attributes 的内容不是JSON对象",
    LATER: "日期晚于导入之日",
    BEFORE: f"日期比其余行早{DECADES}年以上",
    AFTER: f"日期比其余行晚{DECADES}年以上",
    GONE: "原行已不再被拒绝：以文件现有内容为准",
    USED: "日志已按其明细之和作为订单使用过",
    OF_RETURNS: "退货的 order_id 下的销售",
    NO_CHANNEL: "缺少渠道",
}


def absent(facts: Facts) -> Sheet:
    """Which features will be missing or empty, by the table or column that they lack."""
    return Sheet(
        Words("Features that will be missing", "将缺失的特征"),
        (Words("the log has no", "日志中没有"), Words("number", "数量"), Words("features", "特征")),
        tuple(
            (say.lacking(a.table, a.column), len(a.features), in_short(a.features))
            for a in sorted(facts.absent, key=lambda a: (list(TABLES).index(a.table), a.column or ""))
        ),
        right=(1,),
        note=Words(
            "orders_{7,30}d: orders_7d and orders_30d.", "orders_{7,30}d 即 orders_7d 和 orders_30d。"
        ),
        empty=words("None: all {n} can be computed.", "无：全部{n}个均可计算。", n=facts.features),
    )


def consents(facts: Facts) -> Sheet:
    """Whether contacts were randomised, and who may be contacted."""

    def by_default(consent: Consent) -> Words:
        if consent.default is None:
            return Words("refused: not named there", "拒绝：未写明")
        return Words("allowed", "允许") if consent.default else Words("refused", "拒绝")

    def row(c: Consent) -> tuple[Cell, ...]:
        shares = (
            _and_share(n, c.granted + c.withdrawn + c.unknown) for n in (c.granted, c.withdrawn, c.unknown)
        )
        return c.channel, *shares, by_default(c)

    drawn = words(
        "{n} of {of} contacts ({s}) have a logged propensity: the chance by which they were sent, without which no effect of a contact "
        "can be learned.",
        "{of}次触达中有{n}次（{s}）记录了倾向概率，即发送的概率；没有它就无法学习触达的效果。",
        n=facts.with_propensity, of=facts.contacts, s=say.share(facts.with_propensity, facts.contacts),
    )  # fmt: skip
    return Sheet(
        Words("Contacts and marketing consent", "触达与营销授权"),
        (
            Words("channel", "渠道"), Words("granted", "同意"), Words("withdrawn", "已撤回"), Words("not stated", "未表态"),
            Words("the latter, by shop.toml", "未表态者按 shop.toml"),
        ),
        tuple(map(row, facts.consents)),
        right=(1, 2, 3),
        note=drawn if facts.contacts else Words("The log has no contacts.", "日志中没有触达。"),
        empty=Words("No channel is used or named.", "没有使用或写明任何渠道。"),
    )  # fmt: skip


def _money(facts: Facts, amount: Decimal) -> str:
    return say.money(amount, facts.currency)


def _and_share(part: int, whole: int) -> Words:
    return words("{n} ({s})", "{n}（{s}）", n=part, s=say.share(part, whole))
