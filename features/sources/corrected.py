"""Corrected rows as a reading: canonical cells, and what could not be read before in its file's way."""

from collections.abc import Mapping
from dataclasses import replace

from features.files import expanded
from features.shop import Shop
from features.sources.bounds import Bounds, last_of
from features.sources.declared import Match, Reading
from features.sources.mapping import declaration
from features.sources.parsed import parsed
from features.sources.raw import Format, literal, quoted
from features.sources.sales import FATE, NO_ORDER, days_order, taken_back
from features.sources.values import Habits, Value, number
from features.tables import TABLES

NO_OBJECT = "attributes is not a JSON object"
_ATTRIBUTES = "TRY_CAST(TRY_CAST({} AS JSON) AS MAP(VARCHAR, VARCHAR))"
UNCLEAR = " is not a clear amount of money"  # of a column
_RECORD = 'TRY_CAST("as in the file" AS JSON)'
_AFTER = 1_000_000
ADDS = ":mended:"  # in the id of a row that adds to the order of its `ref`
OF_ORDERS = ("orders", "order_lines")
PLACES = ("channel", "store_id")  # a line's order has them
MORE = (*PLACES, "cancelled")  # what a row of those is asked for, too; cancelled: when, or `yes`
CANCELLED_PARTLY = "cancelled, and a row that adds to its order"
# A line that lacks one of them has it from its order, once that is known (see `ingestion/along.py`).
_OF_ITS_ORDER = f"""CASE WHEN _reject IS NULL AND (customer_id IS NULL OR "at" IS NULL) AND order_id IS NOT NULL
                              AND product_id IS NOT NULL AND amount IS NOT NULL THEN '{NO_ORDER}'
                         ELSE _reject END"""
_HIDDEN = ("_return", "_cancelled", "_cancelled_at", "_cancelled_known", "_cancelled_day")
_ZONE = "_zone"  # of a row whose file names the zone of each


def corrected(shop: Shop, source: str, table: str, cells: Mapping[str, str]) -> str:
    """SELECT of a source's corrected rows of a table from `_mended`, as `parsed` gives rows.

    cells: column of the table -> column of `_mended`, which has `file` and `as in the file`, whence the row
    came; `unread`: the columns that were handed out as their file gives them, or empty, with commas between;
    `typed`: those in which something else came back; and `known_from`, before which a row is not known, unless
    the source's files say when it was.
    """
    here = f'source = {literal(source)} AND "table" = {literal(table)}'
    ways = [*readings_of(shop, source, table), (None, "true")]
    selects, earlier = [], "false"
    for reading, which in ways:
        where = f"{here} AND coalesce({which}, false) AND NOT ({earlier})"
        selects.append(_corrected(shop, source, table, cells, reading, where))
        earlier += f" OR coalesce({which}, false)"
        if which == "true":
            break
    return " UNION ALL BY NAME ".join(f"({select})" for select in selects)


def says(shop: Shop, source: str, column: str, file: str = "file") -> str:
    """SQL: a line of the file says that itself, and has it not from its order. `at`: when it was, or was known."""
    own = {"at", "known_at"} if column == "at" else {column}
    which = [
        of_it
        for reading, of_it in readings_of(shop, source, "order_lines", file)
        if own & set(reading.values) or (column == "at" and reading.delivered is not None)
    ]
    return f"({' OR '.join(which) or 'false'})"


def readings_of(shop: Shop, source: str, table: str, file: str = "file") -> list[tuple[Reading, str]]:
    """The readings of a source that give a table, each with an SQL condition: a row's `file` is one of its."""
    if source not in shop.mappings:
        return []
    all = [r for r in declaration(shop, source, find=False).readings if r.table == table]
    return [(r, "true" if len(all) == 1 else _of_it(r, file)) for r in all]


def number_of(reject: str) -> str:
    """SQL: the number of a mended line that has none: after those that have, and no other correction's."""
    return f"{_AFTER} + TRY_CAST('0x' || left({reject}, 12) AS BIGINT)"


def zone_of(reading: Reading, record: str) -> str:
    """SQL: the zone of the times that a reading reads. record: SQL of the row as its file has it, as JSON."""
    habits = reading.values["at"].habits if "at" in reading.values else reading.habits
    if habits.zone_column is None:
        return literal(habits.zone)
    return f"{record}->>{literal(_path(habits.zone_column))}"


def _of_it(reading: Reading, file: str) -> str:
    globs = (expanded(pattern) for pattern in reading.patterns)
    names = (str(glob.relative_to(glob.anchor) if glob.is_absolute() else glob) for glob in globs)
    return f"({' OR '.join(f'{file} GLOB {literal(name)}' for name in names)})"


def _corrected(
    shop: Shop, name: str, table: str, cells: Mapping[str, str], source: Reading | None, where: str
) -> str:
    """The rows of the source `name` where `where`, with what could not be read in the way of `source`."""
    written = {c: v for c, v in source.values.items() if v.form in ("column", "join")} if source else {}
    zone = source.habits.zone if source else shop.zone.key
    habits = Habits(zone, None, ".", shop.currency, "end", ("",))
    values: dict[str, Value] = {}
    refused: list[tuple[str, Match]] = []
    raw: list[str] = []
    numbers: list[str] = []
    for column, cell in cells.items():
        x, type, file = quoted(cell), TABLES[table].columns[column].type, written.get(column)
        if source and (constant := _constant(source, column)) is not None:
            x = f"coalesce({x}, {literal(constant)})"
        value = Value(f"corrected.{column}", type, "column", column, habits)
        if file and type == "moment":
            column_of_zone = _ZONE if file.habits.zone_column else None
            of_file = replace(
                habits, zone=file.habits.zone, zone_column=column_of_zone, known=file.habits.known
            )
            value = replace(value, habits=of_file, day=file.day, formats=("iso", *file.formats))
        elif source and type not in ("text", "map"):
            own_habits = file.habits if file else source.habits
            numbers.append(
                f"{number(x, habits)} AS _plain_{column}, {number(x, own_habits)} AS _own_{column}"
            )
            x, doubt = _number(x, column, file)
            if type == "money":
                raw.append(f"{doubt} OR {_finer(x, column, habits, shop.exponent)} AS _unclear_{column}")
                refused.append((f"{column}{UNCLEAR}", Match(value.where, f"_unclear_{column}")))
        if type != "map":
            values[column] = value
            raw.append(f"{x} AS {quoted(column)}")
    if "attributes" in cells:
        x = quoted(cells["attributes"])
        raw.append(f"trim({x}) <> '' AND {_ATTRIBUTES.format(x)} IS NULL AS _broken_attributes")
        refused.append((NO_OBJECT, Match("corrected.attributes", "_broken_attributes")))
    if source:
        raw.append(f"{zone_of(source, _RECORD)} AS {_ZONE}")
    cancelled, cancelled_at = None, None
    if source and table in OF_ORDERS:
        raw += _cancellation()
        of_file = source.cancelled_at.habits if source.cancelled_at else source.habits
        with_zone = replace(habits, zone=of_file.zone, known=of_file.known)
        if of_file.zone_column:
            with_zone = replace(with_zone, zone_column=_ZONE)
        cancelled = Match("corrected.cancelled", "_said IS NOT NULL")
        cancelled_at = Value("corrected.cancelled", "moment", "column", "_when", with_zone, ("iso",))
        if source.cancelled_at:
            formats = ("iso", *source.cancelled_at.formats)
            cancelled_at = replace(cancelled_at, formats=formats, day=source.cancelled_at.day)
    reading = Reading(
        where=f"the corrected rows of {table}", table=table, files=(), format=Format(), values=values,
        habits=habits, currency=None, conditions={"aside": (), "reject": tuple(refused), "note": ()},
        returns=False, cancelled=cancelled,
        cancelled_at=cancelled_at, add_up=False, once=False, lists=(), delivered=None, prefix="",
    )  # fmt: skip
    read = f"(SELECT {', '.join(['*', *numbers])} FROM _mended WHERE {where})"
    mended = f"(SELECT {', '.join(raw)}, _file, _line FROM {read})"
    columns = ", ".join(quoted(c) for c in TABLES[table].columns)
    found = parsed(reading, mended, Bounds(last=last_of()), by_hand=True)
    if source and table in OF_ORDERS:
        columns += f", {', '.join(_HIDDEN)}"
        found = f"SELECT * {_days_order(table, name, source)} FROM ({_signed(table, source, found)})"
    rows = f"SELECT {columns}, _file, _line, _note, _aside, _reject, _given FROM ({found})"
    replaced = []
    if "attributes" in cells:
        replaced.append(f"{_ATTRIBUTES.format('_mended.' + quoted(cells['attributes']))} AS attributes")
    if table == "order_lines" and source:  # after those of its order that have a number
        own = number_of("_mended.reject")
        # Which of its order's lines it is follows from its file's rows, if that does not number them.
        numbered = "order_id" in cells and "line" in source.values
        made = f"_mended.{quoted(cells['order_id'])} IS NULL" if numbered else "true"
        replaced.append(f"CASE WHEN {made} THEN {own} ELSE coalesce(p.line, {own}) END AS line")
    if "known_at" in TABLES[table].columns and "known_at" not in written:
        since = "TRY_CAST(_mended.known_from AS TIMESTAMPTZ)"
        replaced.append(
            f"CASE WHEN p.known_at IS NOT NULL THEN greatest(p.known_at, {since}) END AS known_at"
        )
    if replaced:
        rows = f"SELECT p.* REPLACE ({', '.join(replaced)}) FROM ({rows}) p JOIN _mended USING (_file, _line)"
    if table == "order_lines":
        rows = f"SELECT * REPLACE ({_OF_ITS_ORDER} AS _reject) FROM ({rows})"
    return _with_cancelled(table, rows) if source and table in OF_ORDERS else rows


def _number(x: str, column: str, file: Value | None) -> tuple[str, str]:
    """SQL of the text of a number in our own way, and of whether it is in doubt which number it is.

    x: what was given, which is `_plain_` in our way and `_own_` in the way of its file.

    A cell that nobody could read, or that is empty, is written in the way of its file. One that was read was
    handed out in our way: what was typed over it may be in either, and is in doubt where those differ.
    """
    plain, own = f"_plain_{column}", f"_own_{column}"
    typed = f"coalesce({_among(column, 'typed')}, false)"
    read = f"CASE WHEN {typed} THEN coalesce({plain}, {own}) END"
    doubt = f"({typed} AND coalesce({plain} <> {own}, false))"
    if file and file.form == "column":
        unread = f"coalesce({_among(column, 'unread')}, false)"
        read = f"CASE WHEN {unread} THEN {own} / {file.scale} ELSE {read} END"
        doubt = f"({doubt} AND NOT {unread})"
    return f"coalesce(({read})::DECIMAL(38, 10)::VARCHAR, {x})", doubt


def _finer(x: str, column: str, habits: Habits, exponent: int) -> str:
    """SQL: an amount that somebody typed has more decimals than the currency: it is not rounded for them."""
    amount = number(x, habits)
    return f"coalesce({_among(column, 'typed')} AND ({amount}) <> round({amount}, {exponent}), false)"


def _among(column: str, listed: str) -> str:
    return f"list_contains(string_split({listed}, ','), {literal(column)})"


def _cancellation() -> list[str]:
    """SQL of the raw columns `_said` (that it was cancelled) and `_when` (the text of its time)."""
    cell = "nullif(trim(cancelled), '')"
    return [
        f"CASE WHEN lower({cell}) NOT IN ('no', 'false', '0') THEN {cell} END AS _said",
        f"CASE WHEN lower({cell}) NOT IN ('no', 'false', '0', 'yes', 'true', '1') THEN {cell} END AS _when",
    ]


def _signed(table: str, source: Reading, rows: str) -> str:
    """SQL: a return is negative, as `sales.py` has it. Its `ref` is sought when the log is folded."""
    negative = "amount < 0 OR items < 0" if table == "order_lines" else "amount < 0"
    if table == "orders" and source.returns is False:
        negative = "false"
    numbers = ("amount", "items", "measure") if table == "order_lines" else ("amount",)
    nothing = ("discount", "coupon") if table == "order_lines" else ("discount",)
    signed = [f"CASE WHEN _return THEN -abs({c}) ELSE {c} END AS {c}" for c in numbers]
    signed += [f"CASE WHEN _return THEN 0 ELSE {c} END AS {c}" for c in nothing]
    return f"""SELECT * REPLACE ({", ".join(signed)}) FROM (
        SELECT r.* EXCLUDE (_return), m.returns AS _kind,
               (m.returns IS NOT NULL OR coalesce({negative}, false)) AS _return
        FROM ({rows}) r JOIN (SELECT _file, _line, returns FROM _mended) m USING (_file, _line))"""


def _with_cancelled(table: str, rows: str) -> str:
    """SQL: the rows, and of an order that was cancelled the row that takes it back."""
    hidden = ", ".join(_HIDDEN)
    goods = ", -items AS items, -measure AS measure, 0 AS coupon" if table == "order_lines" else ""
    return f"""
        WITH corrected AS MATERIALIZED ({rows})
        SELECT * EXCLUDE ({hidden}), {FATE} FROM corrected
        UNION ALL BY NAME
        SELECT * EXCLUDE ({hidden}, _file, _line, _given) REPLACE ({taken_back()}{goods}) FROM corrected
        WHERE _cancelled AND NOT _return AND _reject IS NULL AND _aside IS NULL AND amount IS NOT NULL
              AND customer_id IS NOT NULL AND "at" IS NOT NULL"""


def _constant(source: Reading, column: str) -> str | None:
    """What every row of the source has there, for a record that could not be read."""
    value = source.values.get(column)
    if value is None:
        return "1" if column == "items" else None
    return str(value.given) if value.form == "value" else None


def _days_order(table: str, name: str, source: Reading) -> str:
    """SQL: without an order id, a customer's day is the order, as `sales.py` has it.

    An order that its file adds to others is named as what it adds to them (see `ingestion/additions.py`).
    """
    day = days_order(name)
    if table == "order_lines":
        apart = "CASE _kind WHEN 'apart' THEN ':return:' || _day WHEN 'stated' THEN ':return' ELSE '' END"
        return f"REPLACE (coalesce(order_id, {day} || {apart}) AS order_id)"
    of = f"coalesce(order_id, {day} || CASE WHEN _return THEN ':return' ELSE '' END)"
    adds = f"(ref IS NULL AND ({source.add_up} OR order_id IS NULL))"
    back = "CASE WHEN _return THEN coalesce(ref, 'unknown') ELSE ref END"
    return f"""REPLACE (CASE WHEN {adds} THEN {of} || '{ADDS}' || _file || ':' || _line ELSE {of} END AS order_id,
                        CASE WHEN {adds} THEN {of} ELSE {back} END AS ref,
                        CASE WHEN {adds} AND _cancelled THEN '{CANCELLED_PARTLY}' ELSE _reject END AS _reject)"""


def _path(key: str) -> str:
    return '$."{}"'.format(key.replace('"', '""'))
