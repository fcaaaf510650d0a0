"""Whether a log can be modelled, and what is to be looked at first: in words, each with what to do."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from features.describe import say
from features.describe.absent import in_short
from features.describe.facts import Facts
from features.describe.say import words
from features.describe.sheets import Sheet
from features.words import Words

# With fewer buyers, of whom one in seven is lost, the 95 % interval of an AUC is wider than +-0.05: no model
# can be told from a rule of thumb.
BUYERS = 500
# History, an embargo, calibration and a later test of a 28-day target need about half a year.
DAYS = 180
# Shares from which a fault is worth somebody's morning; below, it changes no figure that counts.
ANONYMOUS, REJECTED, LOOK_ALIKE, UNMATCHED = 0.05, 0.01, 0.01, 0.1
NAMED = 5  # causes in one sentence

Weight = Literal["stop", "look", "know"]
WEIGHTS: dict[Weight, Words] = {
    "stop": Words("stops modelling", "阻碍建模"),
    "look": Words("look at it", "需要查看"),
    "know": Words("good to know", "供参考"),
}


@dataclass(frozen=True)
class Finding:
    """weight: `stop`: no modelling; `look`: somebody should look; `know`: a limit of what can be had."""

    weight: Weight
    what: Words
    do: Words


@dataclass(frozen=True)
class Verdict:
    """enough: the log can be modelled. findings: the weightiest first."""

    enough: bool
    words: Words
    findings: tuple[Finding, ...]

    @property
    def sheet(self) -> Sheet:
        """The findings as a table."""
        return Sheet(
            Words("What to look at", "需要关注"),
            (Words("weight", "级别"), Words("what", "现象"), Words("what to do", "处理办法")),
            tuple((WEIGHTS[finding.weight], finding.what, finding.do) for finding in self.findings),
            empty=Words("Nothing.", "没有需要关注的问题。"),
        )


def judge(facts: Facts) -> Verdict:
    """The verdict on what was counted."""
    size: dict[str, Words | int] = {
        "buyers": say.count(facts.buyers, "buyer", "位买家"),
        "days": say.count(facts.days, "day", "天"),
        "least": BUYERS,
        "least_days": DAYS,
    }
    stops = list(_stops(facts))
    if stops:
        text = words(
            "There is not enough to model: {buyers} in {days}; at least {least} buyers and {least_days} days "
            "are needed.",
            "数据不足，无法建模：{days}内有{buyers}；至少需要{least}位买家和{least_days}天。",
            **size,
        )
    else:
        text = words(
            "There is enough to model: {buyers} in {days} (at least {least} and {least_days} are needed).",
            "数据足够建模：{days}内有{buyers}（至少需要{least}位和{least_days}天）。",
            **size,
        )
    return Verdict(not stops, text, (*stops, *_looks(facts), *_knows(facts)))


def _stops(facts: Facts) -> Iterator[Finding]:
    if facts.buyers < BUYERS:
        yield Finding(
            "stop",
            words(
                "{n} with an order, {short} fewer than {least}: a model could not be told from a rule of thumb.",
                "有订单的客户{n}，比{least}少{short}：无法证明模型优于经验规则。",
                n=say.count(facts.buyers, "customer", "位"), short=BUYERS - facts.buyers, least=BUYERS,
            ),
            Words(
                "Ingest older orders or further shops; check the anonymous share. Until then, use a rule such "
                "as the days since the last order.",
                "导入更早的订单或更多门店，并检查匿名占比。在此之前请使用规则，例如距上次下单天数。",
            ),
        )  # fmt: skip
    if facts.days < DAYS:
        yield Finding(
            "stop",
            words(
                "{n} of orders, {short} fewer than {least}: too short to learn on one part and to judge on a "
                "later one.",
                "订单覆盖{n}，比{least}天少{short}天：不足以在前段学习并在后段检验。",
                n=say.count(facts.days, "day", "天"), short=DAYS - facts.days, least=DAYS,
            ),
            words(
                "Ingest older orders, or wait {short} days and ingest again.",
                "导入更早的订单，或再等{short}天后重新导入。",
                short=DAYS - facts.days,
            ),
        )  # fmt: skip


def _looks(facts: Facts) -> Iterator[Finding]:
    for odd in facts.suspicions:
        yield Finding("look", odd.what, odd.do)
    missing = [gap for gap in facts.gaps if not gap.holidays]
    if missing:
        worst = max(missing, key=lambda gap: gap.usual - gap.found)
        yield Finding(
            "look",
            words(
                "{n}, the largest: {found} {table} of {source} on {days}, where {usual} are usual.",
                "{n}，最大的一处：{source}的{table}在{days}只有{found}条，而通常有{usual}条。",
                n=say.count(len(missing), "gap that looks like a missing delivery", "处疑似漏交付", "gaps that look like missing deliveries"),
                found=worst.found or Words("no", "0"), table=say.table(worst.table),
                source=worst.source, days=say.days(worst.first, worst.last), usual=worst.usual,
            ),
            Words(
                "If the shop was closed, write the day into its calendar; if not, have the files delivered "
                "again and ingest them.",
                "如果当天闭店，请写入日历；否则请补交文件并重新导入。",
            ),
        )  # fmt: skip
    if facts.early:
        yield Finding(
            "look",
            words(
                "{n} of {of} orders are dated before {begins} (the first {first}), and none for months between: "
                "such dates seem to be wrong.",
                "{of}个订单中有{n}个早于{begins}（最早为{first}），其间数月没有订单：日期似乎有误。",
                n=facts.early, of=facts.orders,
                first=say.moment(facts.starts_at, facts.zone), begins=say.day(facts.begins),
            ),
            Words(
                "Correct these dates, or leave the rows out: features count from the first order.",
                "请更正这些日期或剔除这些行：特征从首个订单起计算。",
            ),
        )  # fmt: skip
    nobody, of = facts.anonymous
    if of and nobody >= ANONYMOUS * of:
        yield Finding(
            "look",
            words(
                "{share} of the rows name no customer ({n} of {of}): they are in nobody's history.",
                "{share}的行没有客户标识（{of}行中的{n}行）：不属于任何客户的历史。",
                share=say.share(nobody, of), n=nobody, of=of,
            ),
            Words(
                "Ask for the customer at the till, or join card numbers as identities. Sales per customer are "
                "understated by these rows.",
                "请在收银时识别客户，或把卡号作为标识关联。这些行使人均销售额被低估。",
            ),
        )  # fmt: skip
    if facts.broken and facts.broken >= REJECTED * facts.raw:
        yield Finding(
            "look",
            words(
                "{share} of the rows broke a contract ({n} of {of}).",
                "{share}的行违反数据约定（{of}行中的{n}行）。",
                share=say.share(facts.broken, facts.raw), n=facts.broken, of=facts.raw,
            ),
            Words(
                "Look at the reasons below and at rejects/; mend the files and ingest them again.",
                "请查看下面的原因和 rejects/，修正文件后重新导入。",
            ),
        )  # fmt: skip
    if facts.look_alikes and facts.look_alikes >= LOOK_ALIKE * facts.orders:
        yield Finding(
            "look",
            words(
                "{n} orders repeat another's customer, time and amount ({share}): they may have been delivered "
                "twice under new ids.",
                "{n}个订单与另一订单的客户、时间和金额相同（{share}）：可能以新编号重复交付。",
                n=facts.look_alikes, share=say.share(facts.look_alikes, facts.orders),
            ),
            Words("Compare two of them in the source's system.", "请在源系统中核对其中两个。"),
        )  # fmt: skip
    if facts.unmatched and facts.unmatched >= UNMATCHED * facts.returns:
        yield Finding(
            "look",
            words(
                "{share} of the returns are of an order that the log lacks ({n} of {of}).",
                "{share}的退货找不到对应订单（{of}笔中的{n}笔）。",
                share=say.share(facts.unmatched, facts.returns), n=facts.unmatched, of=facts.returns,
            ),
            Words(
                "Orders from before the log's start are harmless; else check how returns name their order.",
                "日志开始之前的订单无妨；否则请检查退货如何引用订单。",
            ),
        )  # fmt: skip
    refused = [c.channel for c in facts.consents if not c.granted and not c.default]
    if refused:
        yield Finding(
            "look",
            words(
                "Nobody may be contacted through {channels}: no consent is on record.",
                "不得通过{channels}联系任何人：没有授权记录。",
                channels=", ".join(refused),
            ),
            Words(
                "Ingest the consents, or state in shop.toml what your terms allow.",
                "请导入授权记录，或在 shop.toml 中写明条款所允许的范围。",
            ),
        )
    for one in facts.unread:
        if one.kind == "channel":
            yield Finding("look", one.what, one.do)
    if facts.shared_ids:
        yield Finding(
            "look",
            words(
                "{n} given to more than one customer: they are one person, or an id was used again.",
                "{n}属于多位客户：同一人，或标识被重复使用。",
                n=say.count(facts.shared_ids, "id was", "个标识", "ids were"),
            ),
            Words("Check where these ids come from.", "请检查这些标识的来源。"),
        )


def _knows(facts: Facts) -> Iterator[Finding]:
    for one in facts.unread:
        if one.kind == "score":
            yield Finding("know", one.what, one.do)
    lacking = sum(len(absent.features) for absent in facts.absent)
    if lacking:
        yield Finding(
            "know",
            words(
                "{n} of {of} features will be missing or empty: the log has no {what}.",
                "{of}个特征中有{n}个将缺失或为空：日志中没有{what}。",
                n=lacking, of=facts.features,
                what=_lacking(facts),
            ),
            Words(
                "Bring in those tables if the shop has them; the models work without.",
                "如果商店有这些数据，请导入；没有也能建模。",
            ),
        )  # fmt: skip
    goods = facts.goods
    if 0 < goods.without < goods.products:  # of none with a category, the features say that
        yield Finding(
            "know",
            words(
                "{n} of {of} products that were sold have no category, such as {first}: what is bought of them "
                "is of no category.",
                "{of}种售出商品中有{n}种没有类目（如{first}）：其购买不计入任何类目。",
                n=goods.without, of=goods.products, first=str(goods.first),
            ),
            Words(
                "Have them added to the catalogue, with their categories.",
                "请在商品目录中补充这些商品及其类目。",
            ),
        )  # fmt: skip
    for some in facts.untimed:
        yield Finding(
            "know",
            words(
                "{n} of {of} {table} are known by their day alone: {features} are not known of customers who have such.",
                "{of}条{table}中有{n}条只有日期：涉及的客户，其{features}未知。",
                n=some.days, of=some.rows, table=say.table(some.table), features=in_short(some.features),
            ),
            Words(
                "Have the time delivered too if the source has it; the models work without.",
                "如果来源系统有时刻，请一并交付；没有也能建模。",
            ),
        )  # fmt: skip
    if facts.contacts and facts.with_propensity < facts.contacts:
        yield Finding(
            "know",
            words(
                "{n} of {of} contacts have a logged propensity: of the others no effect can be learned, "
                "since it is not known by what chance they were sent.",
                "{of}次触达中有{n}次记录了倾向概率：其余触达的发送概率未知，无法学习其效果。",
                n=facts.with_propensity,
                of=facts.contacts,
            ),
            Words(
                "Let Propensity decide a share of the contacts at random: its decisions log their chances.",
                "让 Propensity 随机决定一部分触达：其决策会记录概率。",
            ),
        )


def _lacking(facts: Facts) -> Words:
    """What takes the most features with it, by name; the page has all."""
    worst = sorted(facts.absent, key=lambda absent: -len(absent.features))
    named = [say.lacking(absent.table, absent.column) for absent in worst[:NAMED]]
    more = len(worst) - NAMED
    return Words(
        ", ".join(part.en for part in named) + (f" and {more} more" if more > 0 else ""),
        "、".join(part.zh for part in named) + (f"等{more + NAMED}项" if more > 0 else ""),
    )
