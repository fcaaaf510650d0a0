"""Any shop's files: `[mapping.NAME]` of shop.toml says which columns of which files are what.

    [mapping.web]                          # a source of that name
    folder = "data/web"                    # where its files lie; from shop.toml's folder if relative
    zone = "Europe/London"                 # of local times; default the shop's
    complete_until = 2011-12-10            # default: the last midnight before the newest row
    whole_days = true                      # or the midnight after it: files never hold a part of a day

    [[mapping.web.read]]                   # one kind of file
    table = "order_lines"                  # what its rows are: a table of features/tables.py
    files = "orders*.csv.gz"
    [mapping.web.read.columns]             # a column of the table = where it comes from (see values.py)
    order_id = "InvoiceNo"
    customer_id = { column = "CustomerID", clean = ["trim", "whole"] }
    at = { column = "InvoiceDate", format = "%d/%m/%Y %H:%M" }
    product_id = "StockCode"
    items = "Quantity"
    amount = { product_of = ["Quantity", "UnitPrice"] }
    channel = { value = "web" }

`[mapping.NAME.read.returns]`, `.cancelled`, `.aside`, `.reject` and `.note` say what is special about rows. This
module reads the declarations, and `checking.py` checks them; `parsed.py` makes SQL of one reading, `derived.py` what follows from several.
"""

import codecs
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

from features.errors import PropensityError, SettingsError, SourceError
from features.files import expanded
from features.shop import Shop
from features.sources import Source
from features.sources.checking import check_columns, check_required
from features.sources.declared import Declared, Match, Reading
from features.sources.raw import Format, literal, quoted
from features.sources.values import NULLS, Habits, Value, read_habits, read_value
from features.tables import OURS, TABLES, Column
from features.toml import Entry, nearest

_OF_THE_ORDER = {"channel": Column("text"), "store_id": Column("text", required=False)}  # lines may say them


def source(shop: Shop, name: str, folder: Path | None = None, as_of: datetime | None = None) -> Source:
    """The source that `[mapping.NAME]` declares. SettingsError and SourceError name file, key and remedy."""
    from features.sources import derived

    declared = declaration(shop, name, folder)
    readings = []
    for reading in declared.readings:
        if not reading.files:  # optional
            continue
        checked = replace(reading, raw_columns=check_columns(reading))
        wide = checked.table == "scores" and len(checked.lists) > 1
        readings += (
            [replace(checked, lists=(c,), accounts=c == checked.lists[0]) for c in checked.lists]
            if wide
            else [checked]
        )
    if not readings:
        raise SourceError(f"{declared.where}: none of its files is there, and all of them are optional")
    return derived.source(shop, replace(declared, readings=tuple(readings)), as_of)


def declaration(shop: Shop, name: str, folder: Path | None = None, find: bool = True) -> Declared:
    """Read and check `[mapping.NAME]`. find: its files too, which must be there."""
    entry, root, habits, prefix = _opened(shop, name, folder)
    until = entry.raw.get("complete_until")
    entry.taken.add("complete_until")
    if until is not None and not isinstance(until, date):
        raise entry.error("complete_until", "a date, or a time with its offset, without quotes")
    if isinstance(until, datetime) and until.tzinfo is None:
        raise entry.error("complete_until", "a time with its offset, such as 2017-01-31T08:00:00+08:00")
    whole_days = entry.take("whole_days", "boolean", False)
    if whole_days and until:
        raise entry.error("whole_days", "no such key beside complete_until, which says it by itself")
    first = entry.take("first_day", "day", None)
    readings = tuple(_reading(e, root, habits, prefix, find) for e in entry.entries("read"))
    entry.close()
    if not readings:
        raise SettingsError(f"{entry.where} reads nothing: expected a [[mapping.{name}.read]]")
    declared = Declared(
        name,
        entry.where,
        habits.zone,
        readings,
        until.isoformat() if until else None,
        str(first) if first else None,
        whole_days,
    )
    check_required(declared)
    return declared


def problems(shop: Shop, name: str) -> tuple[list[str], int]:
    """What is wrong with `[mapping.NAME]`, every reading by itself; how many readings have no file to look at.

    Where files are there, the columns that are named must be in them, and SQL must hold for them.
    """
    from features.sources import derived

    wrong: dict[str, None] = {}
    absent = 0
    try:
        entry, root, habits, prefix = _opened(shop, name, None)
        entries = entry.entries("read")
    except PropensityError as error:
        return [str(error)], 0
    for one in entries:
        try:
            reading = _reading(one, root, habits, prefix, find=False)
            files = _found(one, root, one.take("files", "texts"), optional=True)
            absent += not files
            if files:
                found = replace(reading, files=files)
                derived.check_sql(replace(found, raw_columns=check_columns(found)))
        except PropensityError as error:
            wrong[str(error)] = None
    if not wrong:
        try:
            declaration(shop, name, find=False)
        except PropensityError as error:
            wrong[str(error)] = None
    return list(wrong), absent


def _opened(shop: Shop, name: str, folder: Path | None) -> tuple[Entry, Path, Habits, str]:
    """The entry of a mapping, where its files lie, what holds for all its readings, and its prefix."""
    entry = Entry(f"{shop.folder / 'shop.toml'}: mapping.{name}", shop.mappings[name])
    given = expanded(entry.take("folder", "text", "."))
    root = folder or (given if given.is_absolute() else shop.folder / given)
    habits = read_habits(entry, Habits(shop.zone.key, None, ".", shop.currency, "end", NULLS))
    return entry, root, habits, entry.take("customer_prefix", "text", "")


def _reading(entry: Entry, root: Path, habits: Habits, prefix: str, find: bool) -> Reading:
    table = entry.take("table", "text", choices=TABLES)
    patterns = entry.take("files", "texts")
    how = Format(
        kind=entry.take("format", "text", None, ("csv", "parquet", "jsonl")),
        encoding=_encoding(entry),
        separator=entry.take("separator", "text", ","),
        quote=entry.take("quote", "text", '"'),
        header=entry.take("header", "texts", None),
        skip=entry.take("skip", "whole", 0),
    )
    nulls = entry.take("null", "texts", habits.nulls)
    habits = replace(read_habits(entry, habits), nulls=("", *nulls))
    columns = {**TABLES[table].columns, **(_OF_THE_ORDER if table == "order_lines" else {})}
    for made_here in ("attributes", *OURS):
        columns.pop(made_here, None)
    inner = entry.entry("columns")
    values: dict[str, Value] = {}
    for key, raw in inner.raw.items():
        if key not in columns:
            raise SettingsError(
                f"{inner.where} has {key!r}, which {table} has not{nearest(key, columns)} It has: {', '.join(columns)}"
            )
        value = read_value(f"{inner.where}.{key}", raw, columns[key].type, habits)
        if key == "customer_id" and not (isinstance(raw, dict) and "prefix" in raw):
            value = replace(value, prefix=prefix)
        values[key] = value
    currency = entry.raw.get("currency", {"value": habits.currency})
    entry.taken.add("currency")
    if isinstance(currency, str):
        currency = {"value": currency}
    money = read_value(f"{entry.where}.currency", currency, "text", habits)
    if money.form == "value" and money.given != habits.currency:
        raise entry.error(
            "currency",
            f"{habits.currency}, the shop's: amounts of another currency cannot be added to its own. Convert "
            'them: without this line, and with amount = { sql = "number(amount) * 0.86" }, at the rate of its day',
        )
    conditions = {
        kind: tuple(
            (reason, Match(f"{entry.where}.{kind}.{reason!r}", _sql(entry, kind, sql)))
            for reason, sql in entry.take(kind, "table", {}).items()
        )
        for kind in ("aside", "reject", "note")
    }
    where = entry.take("where", "text", None)
    if where:
        left_out = Match(f"{entry.where}.where", f"({where}) IS NOT TRUE")
        conditions["aside"] = (("`where` does not hold", left_out), *conditions["aside"])
    returns: Match | bool = True
    if entry.raw.get("returns") is False:
        entry.taken.add("returns")
        returns = False
    elif "returns" in entry.raw:
        returns = _match(entry.entry("returns"))
    cancelled, cancelled_at = None, None
    if "cancelled" in entry.raw:
        of = entry.entry("cancelled")
        of.taken.add("at")
        if "at" in of.raw:
            cancelled_at = read_value(f"{of.where}.at", of.raw["at"], "moment", habits)
        cancelled = _match(of)
    for key, tables in (("returns", ("orders", "order_lines")), ("cancelled", ("orders", "order_lines"))):
        if key in entry.raw and table not in tables:
            raise SettingsError(f"{entry.where}.{key} goes with {' and '.join(tables)}, not with {table}")
    lists: tuple[str, ...] = ()
    if table in ("customers", "scores"):
        lists = entry.take("attributes" if table == "customers" else "scores", "texts", ())
    reading = Reading(
        where=entry.where, table=table, files=(), format=how, values=values, habits=habits,
        currency=money if money.form != "value" else None,
        conditions=conditions, returns=returns, cancelled=cancelled, cancelled_at=cancelled_at,
        add_up=entry.take("add_up", "boolean", False) if table == "orders" else False,
        once=entry.take("once", "boolean", False), lists=lists, delivered=_delivered(entry), prefix=prefix,
    )  # fmt: skip
    optional = entry.take("optional", "boolean", False)
    entry.close()
    files = _found(entry, root, patterns, optional) if find else ()
    return replace(reading, patterns=patterns, files=files)


def _encoding(entry: Entry) -> str:
    name: str = entry.take("encoding", "text", "utf-8")
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise entry.error("encoding", "an encoding such as utf-8, gb18030, latin-1, utf-16") from None


def _sql(entry: Entry, kind: str, sql: object) -> str:
    if not isinstance(sql, str):
        raise SettingsError(f'{entry.where}.{kind} holds {sql!r}: expected reason = "SQL condition"')
    return sql


def _match(entry: Entry) -> Match:
    """`{ column, values }`, `{ column, prefix }` or `{ sql }`."""
    if "sql" in entry.raw:
        sql = entry.take("sql", "text")
        entry.close()
        return Match(entry.where, sql)
    column = entry.take("column", "text")
    values, prefix = entry.take("values", "texts", None), entry.take("prefix", "text", None)
    entry.close()
    if (values is None) == (prefix is None):
        raise SettingsError(
            f'{entry.where}: expected either values = [...] or prefix = "...", or only sql = "..."'
        )
    if prefix is not None:
        return Match(entry.where, f"starts_with({quoted(column)}, {literal(prefix)})", (column,))
    return Match(entry.where, f"{quoted(column)} IN ({', '.join(literal(v) for v in values)})", (column,))


def _delivered(entry: Entry) -> tuple[str, str] | None:
    """When the files came: `delivered = 2024-05-01`, or `{ file_name = "scores_%Y%m%d.csv" }`."""
    if not isinstance(entry.raw.get("delivered"), dict):
        day = entry.take("delivered", "day", None)
        return ("day", str(day)) if day else None
    inner = entry.entry("delivered")
    pattern = inner.take("file_name", "text")
    inner.close()
    return ("file_name", pattern)


def _found(
    entry: Entry, root: Path, patterns: tuple[str, ...], optional: bool
) -> tuple[tuple[str, Path], ...]:
    """Files in the order of their names, so that a later day's file only adds at the end."""
    found: dict[str, Path] = {}
    for pattern in patterns:
        given = expanded(pattern)
        base = Path(given.anchor) if given.is_absolute() else root
        matches = sorted(
            p
            for p in base.glob(str(given.relative_to(base) if given.is_absolute() else given))
            if p.is_file()
        )
        if not matches and not optional:
            there = sorted(p.name for p in root.iterdir())[:200] if root.is_dir() else []
            raise SourceError(
                f"{entry.where}.files: {base / pattern} matches no file"
                + (nearest(pattern, there) if root.is_dir() else f"; the folder {root} does not exist.")
                + " Or name the folder: `propensity ingest SOURCE --from FOLDER`"
            )
        for path in matches:
            if not path.name.startswith("."):
                found[str(path.relative_to(base))] = path
    return tuple(found.items())
