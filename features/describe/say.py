"""Numbers, dates and money as people write them, in both languages."""

from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from features.words import Words

TABLES = {
    "customers": Words("customers", "客户"),
    "identities": Words("ids of customers", "客户标识"),
    "products": Words("products", "商品"),
    "orders": Words("orders", "订单"),
    "order_lines": Words("order lines", "订单明细"),
    "contacts": Words("contacts", "营销触达"),
    "responses": Words("responses", "触达响应"),
    "interactions": Words("visits and other interactions", "访问等互动"),
    "memberships": Words("group and staff memberships", "社群与导购关系"),
    "cases": Words("complaints and returns (cases)", "投诉与退货工单"),
    "surveys": Words("surveys", "问卷评分"),
    "tags": Words("tags", "标签"),
    "consents": Words("consents", "授权同意"),
    "scores": Words("external scores", "外部评分"),
    "calendar": Words("calendar", "日历"),
}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def words(en: str, zh: str, **parts: Words | str | int) -> Words:
    """Both languages of a sentence, its {parts} filled in: Words each in its language, numbers with commas.

    >>> words("{n} of {what}", "{what}有{n}", n=1234, what=Words("orders", "订单"))
    Words(en='1,234 of orders', zh='订单有1,234')
    """
    filled = {
        name: Words(f"{part:,}", f"{part:,}") if isinstance(part, int)
        else Words(part, part) if isinstance(part, str) else part
        for name, part in parts.items()
    }  # fmt: skip
    return Words(
        en.format(**{name: part.en for name, part in filled.items()}),
        zh.format(**{name: part.zh for name, part in filled.items()}),
    )


def table(name: str) -> Words:
    """A table's name for people."""
    return TABLES.get(name, Words(name, name))


def share(part: int | Decimal, whole: int | Decimal) -> str:
    """A share in percent; `–` of nothing. What is not none is not rounded to none, nor what is not all to all.

    >>> share(1, 8), share(0, 8), share(1, 99_999), share(99_998, 99_999), share(8, 8), share(0, 0)
    ('12.5%', '0%', '<0.1%', '>99.9%', '100%', '–')
    """
    if not whole:
        return "–"
    if part in (0, whole):
        return "100%" if part else "0%"
    percent = 100 * float(part) / float(whole)
    if percent < 0.1:
        return "<0.1%"
    return ">99.9%" if percent > 99.9 else f"{percent:.1f}%"


def money(amount: Decimal, currency: str) -> str:
    """An amount in whole units of the currency.

    >>> money(Decimal("-4596039.58"), "USD")
    'USD -4,596,040'
    """
    return f"{currency} {amount:,.0f}"


def day(of: date) -> Words:
    """A date.

    >>> day(date(2017, 12, 5))
    Words(en='5 Dec 2017', zh='2017年12月5日')
    """
    return Words(f"{of.day} {_MONTHS[of.month - 1]} {of.year}", f"{of.year}年{of.month}月{of.day}日")


def moment(at: datetime, zone: str) -> Words:
    """A moment in a zone, to the minute.

    >>> moment(datetime.fromisoformat("2018-01-01T05:00:00Z"), "America/New_York").en
    '1 Jan 2018, 00:00'
    """
    local = at.astimezone(ZoneInfo(zone))
    return words("{day}, {time}", "{day} {time}", day=day(local.date()), time=f"{local:%H:%M}")


def days(first: date, last: date) -> Words:
    """A date, or two.

    >>> days(date(2017, 12, 24), date(2017, 12, 26)).en
    '24 Dec 2017 to 26 Dec 2017'
    """
    if first == last:
        return day(first)
    return words("{a} to {b}", "{a}至{b}", a=day(first), b=day(last))


def month(of: date) -> Words:
    """A month.

    >>> month(date(2017, 12, 1))
    Words(en='Dec 2017', zh='2017年12月')
    """
    return Words(f"{_MONTHS[of.month - 1]} {of.year}", f"{of.year}年{of.month}月")


def duration(minutes: int) -> Words:
    """A length of time in its largest fitting unit.

    >>> duration(0).en, duration(45).en, duration(60).en, duration(36 * 60).en, duration(1440).zh
    ('under a minute', '45 minutes', '1 hour', '36 hours', '1天')
    """
    if minutes < 1:
        return Words("under a minute", "不到1分钟")
    units = ((1440, "day", "天"), (60, "hour", "小时"), (1, "minute", "分钟"))
    size, en, zh = next(unit for unit in units if minutes % unit[0] == 0 or minutes >= 3 * unit[0])
    number = round(minutes / size)
    return Words(f"{number:,} {en}{'' if number == 1 else 's'}", f"{number:,}{zh}")


def count(number: int, en: str, zh: str, plural: str | None = None) -> Words:
    """A number of things.

    >>> count(1, "buyer", "位买家").en, count(2000, "buyer", "位买家").en
    ('1 buyer', '2,000 buyers')
    """
    return Words(f"{number:,} {en if number == 1 else plural or en + 's'}", f"{number:,}{zh}")


def lacking(of: str, column: str | None) -> Words:
    """A table, or a column of one, that has nothing in it."""
    if column is None:
        return table(of)
    if column == "ref":  # whatever has one comes back
        return words("returns in {of}", "{of}中的退货", of=table(of))
    if column == "hour":
        return words("times of {of} (only days)", "{of}的时刻（只有日期）", of=table(of))
    return words("{column} of {of}", "{of}的{column}", column=column, of=table(of))
