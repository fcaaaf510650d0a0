"""What a column of an unknown file could be, by its name and by its values; each guess says why and how sure."""

import re
from dataclasses import dataclass

from features.sources.raw import literal, quoted
from features.sources.values import CLEAN, NULLS, narrow, parsed_time

FORMATS = (
    "%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%d/%m/%Y", "%m/%d/%Y",
    "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y", "%d-%m-%Y", "%d-%m-%Y %H:%M", "%d-%m-%Y %H:%M:%S",
    "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d", "%Y年%m月%d日", "%Y年%m月%d日 %H:%M", "%d %b %Y", "%Y%m%d",
    "%Y%m%d%H%M%S", "%d-%b-%Y", "%m/%d/%Y %I:%M %p", "%b %d, %Y",
    "%Y/%m/%d %p %I:%M", "%Y/%m/%d %p %I:%M:%S", "%Y/%m/%d %p%I:%M", "%Y/%m/%d %p%I:%M:%S", "%Y-%m-%d %p %I:%M",
    "%Y-%m-%d %p %I:%M:%S", "%Y-%m-%d %p%I:%M", "%Y年%m月%d日 %p%I:%M", "%Y年%m月%d日 %p %I:%M",
)  # fmt: skip
EPOCHS = {"epoch": (9, 10, 1_000_000), "epoch_ms": (12, 13, 1_000)}  # digits from 1973 on, microseconds
ISO = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?$"
_SPACES = " \u00a0\u202f"
_SIGNED = rf"^\s*[(]?[-−+]?\s*[^\d\s.,()+{_SPACES}-]{{0,3}}\s*[-−+]?"
_AFTER = rf"[\s{_SPACES}]*[^\d\s.,]{{0,3}}[)-]?\s*$"
POINT = rf"{_SIGNED}(\d{{1,3}}([,'’{_SPACES}]\d{{3}})+|\d+)?(\.\d+)?{_AFTER}"
COMMA = rf"{_SIGNED}(\d{{1,3}}([.'’{_SPACES}]\d{{3}})+|\d+)?(,\d+)?{_AFTER}"
NEARLY = 0.8  # of the ids: so many have one width where the others were written without zeros by mistake
SURE = 0.95  # of the values: below it, a guess by values is none


@dataclass(frozen=True)
class Column:
    """What the sample says of one column; shares are of the rows that have a value."""

    name: str
    filled: float  # share of rows with a value
    distinct: int
    rows: int  # with a value
    times: tuple[tuple[str, float], ...]  # formats ("" is ISO) and the share that they read, best first
    midnight: bool  # ISO times, all at 00:00
    offset: bool  # ISO times with an offset
    point: float  # share that is a number with a decimal point, and with a decimal comma
    comma: float
    negative: float
    whole: float  # share of whole numbers
    dot_zero: float  # share written as 17850.0
    blanks: float  # share with blanks around
    top: tuple[tuple[str, int], ...]  # most frequent values
    padded: int = (
        0  # whole numbers, nearly all of that many digits and none of more, some with zeros before them
    )

    @property
    def number(self) -> float:
        """Share that is a number, in whichever way it is written."""
        return max(self.point, self.comma)

    @property
    def decimal(self) -> str:
        """The decimal sign; "" if its numbers do not show it."""
        return "" if self.comma == self.point else "," if self.comma > self.point else "."

    @property
    def format(self) -> str | None:
        """The format that reads its times ("" is ISO); None if it holds none."""
        return self.times[0][0] if self.times and self.times[0][1] >= SURE else None


def formats_of(name: str) -> tuple[str, ...]:
    """What a column may be read as: a number is seconds since 1970 only where its name says a time."""
    timed = any(re.search(p, name, re.IGNORECASE) for p in NAMES["at"]) or re.search(TIMED, name)
    return (*FORMATS, *EPOCHS) if timed else FORMATS


def local_time(x: str, format: str) -> str:
    """SQL: a text read under one of `formats_of`, or under "" as ISO; null if it cannot be."""
    if format in EPOCHS:
        least, most, factor = EPOCHS[format]
        return f"""CASE WHEN regexp_matches({x}, '^\\d{{{least},{most}}}(\\.\\d+)?$')
                        THEN make_timestamp((TRY_CAST({x} AS DOUBLE) * {factor})::BIGINT) END"""
    if format:
        return parsed_time(x, format)
    return f"CASE WHEN regexp_matches({x}, {literal(ISO)}) THEN TRY_CAST({x} AS TIMESTAMP) END"


def profile(connection: object, table: str, name: str) -> Column:
    """Look at one column of a table of text."""
    x = quoted(name)
    wide = narrow(x)
    given = f"trim({x}) NOT IN ({', '.join(literal(n) for n in NULLS)})"
    formats = formats_of(name)
    parsed = [f"count({local_time(x, f)})" for f in formats]
    row = connection.execute(  # type: ignore[attr-defined]
        f"""SELECT count(*), count(DISTINCT {x}),
                   count({local_time(x, "")}),
                   bool_and(regexp_matches({x}, '[T ]00:00(:00(\\.0+)?)?$')), bool_or(regexp_matches({x}, '\\d\\d:\\d\\d.*(Z|[+-]\\d\\d(:?\\d\\d)?)$')),
                   count(*) FILTER (WHERE regexp_matches({wide}, '\\d') AND regexp_matches({wide}, {literal(POINT)})),
                   count(*) FILTER (WHERE regexp_matches({wide}, '\\d') AND regexp_matches({wide}, {literal(COMMA)})),
                   count(*) FILTER (WHERE regexp_matches({x}, '^[^0-9]*[-−(]|-$')),
                   count(*) FILTER (WHERE regexp_matches({wide}, '^-?\\d+$')), count(*) FILTER (WHERE regexp_matches({x}, '^-?\\d+\\.0+$')),
                   count(*) FILTER (WHERE {x} <> {CLEAN["trim"].format(x=x)}),
                   min(length({x})), max(length({x})), count(*) FILTER (WHERE regexp_matches({x}, '^0\\d')), {", ".join(parsed)}
            FROM {table} WHERE {given}"""
    ).fetchall()[0]
    (total,) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0]  # type: ignore[attr-defined]
    top = connection.execute(  # type: ignore[attr-defined]
        f"SELECT {x}, count(*) AS n FROM {table} WHERE {given} GROUP BY ALL ORDER BY n DESC, 1 LIMIT 12"
    ).fetchall()
    rows = row[0]
    share = [n / rows if rows and isinstance(n, int) and not isinstance(n, bool) else 0.0 for n in row]
    times = [("", share[2]), *zip(formats, share[14:], strict=True)]
    if (
        "%Y%m%d" in dict(times)
        and dict(times)["%Y%m%d"] > 0
        and top
        and not re.match(r"^(19|20)\d{6}$", str(top[0][0]))
    ):
        times = [(f, s) for f, s in times if f not in ("%Y%m%d", "%Y%m%d%H%M%S")]
    return Column(
        name, rows / total if total else 0.0, row[1], rows, tuple(sorted((t for t in times if t[1] > 0), key=lambda t: -t[1])),
        bool(row[3]), bool(row[4]), share[5], share[6], share[7], share[8], share[9], share[10], tuple(top),
        padded=_padded(connection, table, x) if row[13] and share[8] > SURE else 0,
    )  # fmt: skip


def _padded(connection: object, table: str, x: str) -> int:
    """The digits of the longest whole numbers, if nearly all different ones have as many; else 0."""
    lengths = connection.execute(  # type: ignore[attr-defined]
        f"SELECT length({x}), count(DISTINCT {x}) FROM {table} WHERE regexp_matches({x}, '^\\d+$') "
        "GROUP BY ALL ORDER BY 1 DESC"
    ).fetchall()
    return int(lengths[0][0]) if lengths[0][1] >= NEARLY * sum(n for _, n in lengths) else 0


# What people call it, in English and Chinese, and some French, German and Spanish; the first pattern that fits is
# the surest.
_ID = r"(id|no|num|nr|number|nummer|code|key)"
_WHO = r"(customer|cust|client|member|user|household|buyer|shopper|account|card(holder)?|loyalty|kunden?|kd|mitglied(er|s)?|(kunden)?karten?|cliente|adh[ée]rent)"
_ORDER = r"(order|invoice|basket|transaction|trans|receipt|bill|ticket|trip|commande|facture|bestell(ung)?s?|rechnungs?|bon|pedido|factura)"
_GOODS = r"(product|item|sku|stock|article|upc|ean|goods|plu|material|artikel|produit|produkt|art[íi]culo|producto)"
# A day of somebody's own, never one on which anything happened with the shop.
BIRTH = r"birth|\bdob\b|geburt|geb\.?[ _]?(datum|tag)|naissance|n[ée]e?[ _.]le|nacimiento|生日|出生"
# When a row came to whoever wrote the file, and when it was loaded: later than what it tells of.
RECEIVED = r"eingang|empfangen|received?(?![a-z])|receipt.?(at|on|time|date)$|arriv|export(ed|iert)?|upload|transmi|接收|到达|导出|上传|re[çc]u.?(le|à)|recibid"
LOADED = r"(load|insert|ingest|sync|import|etl).*(at|time|date|ts)$|^(etl|dw|dwh)[_ ]|入库|同步|抽取|加载"
TIMED = r"(?i)(_|\b)(ts|ms|epoch|unix|at|on|since)$|[a-z]At$|(?i:timestamp|epoch)"
NAMES: dict[str, tuple[str, ...]] = {
    "at": (r"order.?(date|time)|invoice.?date|transaction.?(date|time)|purchase.?(date|time)|下单|支付时间|付款时间|交易时间|成交时间"
           r"|date.?(de.?)?(commande|achat|vente|facture)|(bestell|(ver)?kaufs?|rechnungs|bon).?(datum|zeit)|fecha.?(de.?)?(compra|pedido|factura)"
           r"|(sold|purchased|ordered).?(at|on)$|(verkauft|gekauft|bestellt)([ _.-]?(am|um))?$|vendu.?le$|achet[ée].?le$|vendido.?el$",
           r"^(date|time|datetime|timestamp|day|ts|at|when|datum|zeit|zeitpunkt|fecha|jour)$|日期|时间",
           r"date|time|created|datum|fecha|heure|horodat"),
    "customer_id": (rf"^{_WHO}[ _.-]?{_ID}?$|^[ucm]id$|^(id|no|num|n°|num[ée]ro|code)[ _.-]?(de[ _.-])?(du[ _.-])?{_WHO}$"
                    r"|(顾客|客户|会员|用户|买家).*(id|号|编码|编号|代码)",
                    r"customer|client|member|user|household|buyer|kunde|mitglied|顾客|客户|会员|用户|买家|unionid|openid|^卡号$"),
    "order_id": (rf"^{_ORDER}[ _.-]?{_ID}$|^id$|^(id|no|num|n°|num[ée]ro|code)[ _.-]?(de[ _.-])?{_ORDER}$"
                 r"|^bestellnummer$|^rechnungsnummer$|^((kassen)?(bon|beleg)|quittung)s?[ _.-]?(nummer|nr|id)?$|^commande$|订单(号|编号|id)|单号|小票|流水号",
                 r"order|invoice|basket|receipt|ticket|commande|facture|bestell|pedido|订单"),
    "product_id": (rf"^{_GOODS}[ _.-]?{_ID}?$|^(id|no|num|n°|code|r[ée]f)[ _.-]?{_GOODS}$|^artikelnummer$|^r[ée]f[ée]rence$"
                   r"|(商品|货品|产品|sku).*(id|号|编码|编号|代码)|货号",
                   r"product.?id|sku|商品编|stock.?code|^(商品|货品|产品)(名称?)?$"),
    "items": (r"^(quantity|qty|units|pieces|count|items|quantit[ée]|qt[ée]|menge|anzahl|st[üu]ck|cantidad|unidades)$|数量|件数",
              r"quantity|qty|quantit[ée]"),
    "price": (r"^(unit.?price|price|item.?price|prix([ _.]?unitaire)?|pu|(einzel|st[üu]ck)?preis|precio([ _.]?unitario)?)$|单价",
              r"price|价格|prix|preis|precio"),
    "amount": (r"^(amount|total|paid|sales.?value|sales|revenue|net|spend|gross|sum|line.?total|order.?total|montant([ _.]?(ttc|total))?"
               r"|total[ _.]?ttc|betrag|gesamt(betrag|preis)?|summe|umsatz|importe)$|实付|实收|金额|应付|销售额",
               r"amount|total|paid|revenue|sales|spend|value|montant|betrag|umsatz|importe"),
    "discount": (r"disc|优惠|折扣|减免|remise|rabatt|descuento",),
    "store_id": (r"^(store|shop|branch|outlet|magasin|boutique|filiale|tienda).?(id|no|nr|code|name)?$|门店|店铺",),
    "channel": (r"^(sales.?)?(channel|canal|kanal)$|渠道",),
    "category": (r"^(product.?)?cat(egory)?$|类目|品类|类别|^(cat[ée]gorie|kategorie|warengruppe|categor[íi]a|famille)$", r"category"),
    "department": (r"^(department|abteilung|rayon)$|部门",),
    "brand": (r"^(brand|marque|marke|marca)$|品牌",),
    "currency": (r"^(currency(.?code)?|devise|w[äa]hrung|moneda)$|币种",),
    "status": (r"status|状态|statut|[ée]tat|estado", r"state|type|类型"),
}  # fmt: skip

MONEY = {"items", "price", "amount", "discount"}  # roles of what was sold


@dataclass(frozen=True)
class Guess:
    """A column for a role. `why` is for people; `points` orders guesses. named: by its name, too."""

    column: Column
    points: float
    why: str
    named: bool = True


def rate(role: str, column: Column) -> Guess | None:
    """How well a column fits a role; None if it cannot be it."""
    place = next((n for n, p in enumerate(NAMES[role]) if re.search(p, column.name, re.IGNORECASE)), None)
    named = 0.0 if place is None else 3.0 - place
    why = f"its name {column.name!r}" if named else f"not its name {column.name!r}, but its values"
    if column.rows == 0 or (column.top and re.match(r"[{\[]", str(column.top[0][0]))):  # an object of JSON
        return None
    if role == "at":
        if re.search(BIRTH, column.name, re.IGNORECASE):
            return None
        format, share = column.times[0] if column.times else ("", 0.0)
        if share < SURE or (format in ("%Y%m%d", "%Y%m%d%H%M%S") and not named):
            return None
        read = {"": "ISO times", "epoch": "seconds since 1970", "epoch_ms": "milliseconds since 1970"}
        said = f"{share:.1%} of its values read as {read.get(format, format)}; {why}"
        if re.search(f"{RECEIVED}|{LOADED}", column.name, re.IGNORECASE):  # only if there is no other
            return Guess(column, share, said, named=False)
        return Guess(column, 1 + named + share, said, bool(named))
    if role in ("items", "price", "amount", "discount"):
        if column.number < SURE or not named:
            return None
        return Guess(column, named + column.number, f"{column.number:.1%} of its values are numbers; {why}")
    if role in ("customer_id", "order_id", "product_id"):
        if column.format not in (None, "%Y%m%d", *EPOCHS):
            return None
        repeated = column.rows / column.distinct
        if not named and (
            role != "customer_id" or repeated < 1.2 or column.distinct < 20 or column.whole < SURE
        ):
            return None
        said = f"{column.distinct:,} different values, each {repeated:.1f} times; {why}"
        return Guess(column, named, said, bool(named))
    if not named:
        return None
    return Guess(column, named, why)
