"""What one column of a table reads from: a declaration in shop.toml, and the SQL that it means.

"InvoiceNo"                                               a raw column, as it is
{ column = "InvoiceNo", clean = ["trim"], prefix = "web:", map = { "RET" = "return" }, null = ["0"] }
{ column = "Member", clean = ["trim", "whole"], pad = 5 } an id of five digits: 101, and 101.0, is 00101
{ column = "InvoiceDate", format = "%d/%m/%Y %H:%M", zone = "Europe/London" }       a time
{ column = "Total", decimal = ",", scale = 100 }                                    a number
{ join = ["store", "till", "no"], separator = "-" }       an id made of several columns
{ join = ["Datum", "Uhrzeit"], format = "%d.%m.%Y:%H:%M" }                          a day and its time
{ product_of = ["Quantity", "UnitPrice"] }                a number times a number
{ value = "web" }                                         the same for every row
{ sql = "number(Quantity) * 2" }                          any DuckDB SQL over the raw columns, which are text
"""

from dataclasses import dataclass, replace
from typing import Any

from features.errors import SettingsError
from features.sources.raw import literal, quoted
from features.tables import Type
from features.toml import Entry, zone_named

FORMS = ("column", "value", "sql", "join", "product_of")
WRITTEN = ("column", "join", "product_of")  # those of what stands in a file
CLEAN = {
    "trim": "trim({x}, ' ' || chr(9) || chr(10) || chr(13) || chr(160) || chr(12288))",
    "whole": r"regexp_replace({x}, '^(-?\d+)\.0+$', '\1')",  # 17850.0 -> 17850
    "upper": "upper({x})",
    "lower": "lower({x})",
}
NULLS = ("", "NULL", "null", "None", "NaN", "nan", "\\N")
SIGNS = {  # how a currency is written beside an amount, in regular expressions
    "CNY": ("¥", "￥", "元", "RMB"), "JPY": ("¥", "￥", "円"), "GBP": ("£",), "EUR": ("€",),
    "USD": (r"US\$", r"\$"), "HKD": (r"HK\$", r"\$"), "AUD": (r"A\$", r"\$"), "CAD": (r"C\$", r"\$"),
    "KRW": ("₩",), "INR": ("₹",), "BRL": (r"R\$",),
}  # fmt: skip
_TIME_OF_DAY = ("%H", "%I", "%c", "%X", "%T", "%R")
_HALVES = (  # of the day
    ("上午|凌晨|早上|清晨", "AM"),
    ("下午|傍晚", "PM"),
    (r"中午(\s*1[01]\D)", r"AM\1"),  # 中午 11:50 is before noon
    (r"中午(\s*(12|0?[1-3])\D)", r"PM\1"),
    (r"晚上(\s*(1[01]|0?[5-9])\D)", r"PM\1"),
)
_SPACE = "[ \u00a0\u202f]"


@dataclass(frozen=True)
class Habits:
    """How the texts of one file are written, where a column does not say otherwise."""

    zone: str
    zone_column: str | None
    decimal: str
    currency: str
    known: str  # of a day without a time: "end", or "start" of the day
    nulls: tuple[str, ...]


@dataclass(frozen=True)
class Value:
    """One declaration, read and checked; `where` is what an error calls it."""

    where: str
    type: Type
    form: str
    given: Any
    habits: Habits
    formats: tuple[str, ...] = ()
    day: bool = False
    clean: tuple[str, ...] = ()
    prefix: str = ""
    pad: int = 0  # digits of an id: shorter numbers get zeros before them
    scale: int = 1
    separator: str = ":"
    map: tuple[tuple[str, str], ...] = ()

    @property
    def raw_columns(self) -> tuple[str, ...]:
        """The raw columns that it names; what SQL names, DuckDB checks."""
        named = {"column": (self.given,), "join": self.given, "product_of": self.given}.get(self.form, ())
        zone = (self.habits.zone_column,) if self.type == "moment" and self.habits.zone_column else ()
        return (*named, *zone)


def read_value(where: str, raw: object, type: Type, habits: Habits) -> Value:
    """Check one declaration. SettingsError names the key and what was expected."""
    if isinstance(raw, str):
        return Value(where, type, "column", raw, habits)
    entry = Entry(where, raw)
    forms = [f for f in FORMS if f in entry.raw]
    if len(forms) != 1:
        raise SettingsError(
            f"{where} has {' and '.join(forms) or 'none'} of {', '.join(FORMS)}: expected exactly one"
        )
    form = forms[0]
    several = form in ("join", "product_of")
    given = entry.take(form, "texts" if several else "text")
    if several and len(given) < 2:
        raise entry.error(form, "two columns or more")
    more: dict[str, Any] = {}
    if type == "moment":
        formats = entry.take("format", "texts", ())
        for f in formats:
            if "%" not in f and f not in ("iso", "epoch", "epoch_ms"):
                raise entry.error("format", '"iso", "epoch", "epoch_ms", or one such as "%d/%m/%Y %H:%M"')
        more = {"formats": formats, "day": entry.take("day", "boolean", False)}
        habits = read_habits(entry, habits)
    elif type in ("money", "integer", "real"):
        more = {"scale": entry.take("scale", "whole", 1)}
        if more["scale"] < 1:
            raise entry.error("scale", "1 or more: 100 where amounts are in cents")
        habits = read_habits(entry, habits)
    else:
        more = {
            "prefix": entry.take("prefix", "text", ""),
            "separator": entry.take("separator", "text", ":"),
            "pad": entry.take("pad", "whole", 0),
        }
        if more["pad"] < 0:
            raise entry.error("pad", "how many digits an id has: 5 makes 00101 of 101")
    clean = entry.take("clean", "texts", ())
    for how in clean:
        if how not in CLEAN:
            raise entry.error("clean", f"some of {', '.join(CLEAN)}")
    mapping = entry.take("map", "table", {})
    if not all(isinstance(to, str) for to in mapping.values()):
        raise entry.error("map", 'texts: { "R" = "return" }')
    nulls = entry.take("null", "texts", ())
    entry.close()
    habits = Habits(**{**vars(habits), "nulls": (*habits.nulls, *nulls)})
    return Value(where, type, form, given, habits, clean=clean, map=tuple(mapping.items()), **more)


def read_habits(entry: Entry, default: Habits) -> Habits:
    """The habits that a table of shop.toml declares, over those that hold around it."""
    zone, zone_column = default.zone, default.zone_column
    if isinstance(entry.raw.get("zone"), dict):
        inner = entry.entry("zone")
        zone_column = inner.take("column", "text")
        inner.close()
    elif (named := entry.take("zone", "text", None)) is not None:
        zone, zone_column = zone_named(entry, named), None
    return Habits(
        zone=zone,
        zone_column=zone_column,
        decimal=entry.take("decimal", "text", default.decimal, (".", ",")),
        currency=default.currency,
        known=entry.take("known", "text", default.known, ("end", "start")),
        nulls=default.nulls,
    )


MACROS = (
    # A number written by people: signs before or after it, brackets for a negative one, groups of thousands.
    """CREATE OR REPLACE TEMP MACRO _number(x, pattern, grouping, point) AS
       TRY_CAST(replace(regexp_replace(regexp_extract(x, pattern, 1), grouping, '', 'g'), point, '.')
                AS DECIMAL(38, 10)) * CASE WHEN regexp_matches(x, '^[^0-9]*[-−(]|[-−]\\s*$') THEN -1 ELSE 1 END""",
)


def narrow(x: str) -> str:
    """SQL: a text with the wide digits and signs of Chinese and Japanese typing as ASCII writes them."""
    return f"translate({x}, '０１２３４５６７８９．，－＋（）', '0123456789.,-+()')"


def number(x: str, habits: Habits) -> str:
    """SQL: a text as a decimal, or null if it is none; 1,23 is none where the decimal sign is a point."""
    point, comma = (".", ",") if habits.decimal == "." else (",", ".")
    signs = "|".join((*SIGNS.get(habits.currency, ()), habits.currency))
    thousands = f"(?:[{comma}'’]|{_SPACE})"
    digits = rf"\d{{1,3}}(?:{thousands}\d{{3}})+(?:[{point}]\d*)?|\d+(?:[{point}]\d*)?(?:[eE][-+]?\d+)?|[{point}]\d+"
    sign = r"[-−+]?"
    pattern = rf"^\s*\(?{sign}\s*(?:{signs})?\s*{sign}\s*({digits})\s*(?:{signs})?\s*[-−]?\)?\s*$"
    written = f"_number({narrow(x)}, {literal(pattern)}, {literal(thousands)}, '{point}')"
    # Most numbers are plain, and then a cast is ten times as fast as three regular expressions.
    return f"coalesce(TRY_CAST({x} AS DECIMAL(38, 10)), {written})" if point == "." else written


def text(value: Value) -> str:
    """SQL: the declared text, cleaned, mapped and prefixed; null for what means nothing."""
    if value.form == "column":
        x = quoted(value.given)
    elif value.form == "join":
        x = f" || {literal(value.separator)} || ".join(
            null(quoted(c), value.habits.nulls) for c in value.given
        )
    elif value.form == "value":
        x = literal(value.given)
    else:
        x = f"({value.given})::VARCHAR"
    for how in value.clean:
        x = CLEAN[how].format(x=x)
    x = null(x, value.habits.nulls)
    if value.pad:  # after what means nothing was left out: 0 is nobody, not 00000
        short = f"regexp_full_match({x}, '\\d{{1,{value.pad}}}')"
        x = f"CASE WHEN {short} THEN lpad({x}, {value.pad}, '0') ELSE {x} END"
    if value.map:
        x = f"CASE {x} {' '.join(f'WHEN {literal(a)} THEN {literal(b)}' for a, b in value.map)} ELSE {x} END"
    return f"({literal(value.prefix)} || {x})" if value.prefix else f"({x})"


def null(x: str, nulls: tuple[str, ...]) -> str:
    """SQL: a text, or null if it is one that means nothing."""
    return f"CASE WHEN trim({x}) NOT IN ({', '.join(literal(n) for n in nulls)}) THEN {x} END"


def read(value: Value) -> tuple[str, str]:
    """SQL of a number: itself, null if it cannot be read, and whether the file has something there."""
    scale = f" / {value.scale}" if value.scale != 1 else ""
    if value.form == "sql":
        return f"TRY_CAST(({value.given}) AS DECIMAL(38, 10)){scale}", f"({value.given}) IS NOT NULL"
    if value.form == "product_of":
        parts = [null(quoted(c), value.habits.nulls) for c in value.given]
        # The first one wider: DuckDB multiplies two numbers of 18 digits in 18, which overflows at a million.
        numbers = [
            f"TRY_CAST({number(p, value.habits)} AS DECIMAL({18 if place else 19}, 6))"
            for place, p in enumerate(parts)
        ]
        return f"{' * '.join(numbers)}{scale}", " AND ".join(f"{p} IS NOT NULL" for p in parts)
    x = text(value)
    return number(x, value.habits) + scale, f"{x} IS NOT NULL"


def moment(value: Value) -> tuple[str, str, str]:
    """SQL of a moment: itself, whether it is a day without a time, and whether the file has something there.

    A local time that a clock going back gives twice is the later one (winter time); one that a clock going
    forward leaves out is as long after the change: 01:30 in London becomes 02:30.
    """
    zone = quoted(value.habits.zone_column) if value.habits.zone_column else literal(value.habits.zone)
    if value.habits.zone_column:  # an unknown zone is an unreadable time, not the end of the ingestion
        zone = f"CASE WHEN {zone} IN (SELECT name FROM _zones) THEN {zone} END"
    if value.form == "sql":
        x = f"({value.given})"
        at = f"TRY_CAST({x} AS TIMESTAMPTZ)"
        at = f"CASE WHEN typeof({x}) IN ('TIMESTAMP', 'DATE') THEN TRY_CAST({x} AS TIMESTAMP) AT TIME ZONE {zone} ELSE {at} END"
        return at, f"(typeof({x}) = 'DATE' OR {value.day})", f"{x} IS NOT NULL"
    x = text(value)
    tried: list[tuple[str, str]] = []  # the moment, whether it is a day
    for f in value.formats or ("iso",):
        if f == "iso":
            has_offset = rf"regexp_matches({x}, '\d\d:\d\d.*(Z|[+-]\d\d(:?\d\d)?)$')"
            iso = rf"regexp_matches({x}, '^\d{{4}}-\d\d-\d\d([T ]\d\d:\d\d|$)')"
            local = f"TRY_CAST({x} AS TIMESTAMP) AT TIME ZONE {zone}"
            with_colon = rf"regexp_replace({x}, ' ?([+-]\d\d):?(\d\d)$', '\1:\2')"  # of 10:00:00 +0100
            absolute = f"WHEN {has_offset} THEN TRY_CAST({with_colon} AS TIMESTAMPTZ)"
            tried.append((f"CASE WHEN NOT {iso} THEN NULL {absolute} ELSE {local} END", f"length({x}) = 10"))
            continue
        if f in ("epoch", "epoch_ms"):
            factor = 1_000_000 if f == "epoch" else 1_000
            tried.append(
                (f"make_timestamptz(TRY_CAST(TRY_CAST({x} AS DECIMAL(28, 6)) * {factor} AS BIGINT))", "false")
            )
            continue
        parsed = parsed_time(x, f)
        local = parsed if "%z" in f else f"{parsed} AT TIME ZONE {zone}"
        tried.append((local, str(not any(t in f for t in _TIME_OF_DAY)).lower()))
    at = f"coalesce({', '.join(m for m, _ in tried)})"
    day = " ".join(f"WHEN ({m}) IS NOT NULL THEN {d}" for m, d in tried)
    return at, f"coalesce(CASE {day} END, false)" if not value.day else "true", f"{x} IS NOT NULL"


def zoneless(value: Value) -> tuple[str, str]:
    """SQL of a moment whose row names its zone: whether only that keeps it from being read; the zone as given."""
    column = quoted(str(value.habits.zone_column))
    at, _, _ = moment(replace(value, habits=replace(value.habits, zone="UTC", zone_column=None)))
    known_zone = f"coalesce({column} IN (SELECT name FROM _zones), false)"
    return f"CASE WHEN {known_zone} THEN false ELSE ({at}) IS NOT NULL END", f"coalesce({column}, '(empty)')"


def parsed_time(x: str, format: str) -> str:
    """SQL: a text as a local time under a format, or null. %p reads 上午, 下午 ... as Chinese spreadsheets write them.

    晚上 12:05 stays unread: it is said of the midnight before and of the one after.
    """
    if "%p" in format:
        for written, meant in _HALVES:
            x = f"regexp_replace({x}, {literal(written)}, {literal(meant)})"
    return f"try_strptime({x}, {literal(format)})"


def in_utc(at: str) -> str:
    """SQL: a moment of the years 1 to 9999 of UTC, which are all that can be read; of another, the nearest. Both
    ends stand for "never": 9999-12-31 is later in some zones, and at its end; 0001-01-01 is earlier in others.
    """
    first, last = "'0001-01-01 00:00:00+00'::TIMESTAMPTZ", "'9999-12-31 23:59:59.999999+00'::TIMESTAMPTZ"
    return f"CASE WHEN {at} IS NOT NULL THEN least(greatest({at}, {first}), {last}) END"


def known(at: str, day: str, habits: Habits) -> str:
    """SQL over a parsed row: when something was known that happened at `at`; a day without a time, at its end."""
    if habits.known == "start":
        return in_utc(at)
    zone = f"_r.{quoted(habits.zone_column)}" if habits.zone_column else literal(habits.zone)
    end = f"(({at} AT TIME ZONE {zone})::DATE + 1)::TIMESTAMP AT TIME ZONE {zone}"
    return in_utc(f"(CASE WHEN {at} IS NOT NULL AND {day} THEN {end} ELSE {at} END)")
