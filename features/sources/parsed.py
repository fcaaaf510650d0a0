"""SQL of one reading: raw text -> the columns of its table, and why a row is put aside or rejected.

Beside the table's columns a parsed row has `_file`, `_line`, `_note`, `_aside` (in order, but not for the log),
`_reject` (why it cannot be used), `_given` (of a rejected row, as JSON: `file`, the record as it stood there, and
`at`, the text of its time, and `unread`, that of each column that could not be read), `_return`, `_cancelled`, when
that was (`_cancelled_at`, `_cancelled_known`, `_cancelled_day`: only its day is known) and `_day` (its date in the source's zone).
"""

from features.sources.bounds import Bounds
from features.sources.declared import Match, Reading
from features.sources.raw import literal, quoted
from features.sources.values import WRITTEN, Value, in_utc, known, moment, null, number, read, text, zoneless
from features.tables import PRECISION, TABLES, Type

A = {"moment": "a moment", "money": "an amount of money", "integer": "a whole number", "real": "a number"}
SQL_TYPES: dict[Type, str] = {
    "text": "VARCHAR", "moment": "TIMESTAMPTZ", "money": "DECIMAL(38, 10)", "integer": "BIGINT", "real": "DOUBLE",
    "map": "MAP(VARCHAR, VARCHAR)",
}  # fmt: skip
WHERE_FROM = ("_file", "_line", "_note", "_reject", "_aside", "_given")


def parsed(reading: Reading, raw: str, bounds: Bounds, by_hand: bool = False) -> str:
    """SELECT of the reading's rows from the table of text `raw`. bounds: of their dates.

    by_hand: a row without a customer is put aside as anonymous only if nobody gave it by hand.
    """
    columns = {c: column.type for c, column in TABLES[reading.table].columns.items()}
    if reading.table == "order_lines":
        columns |= {"channel": "text", "store_id": "text"}
    texts: dict[str, str] = {}  # of the raw row, each computed once
    made: list[str] = []  # of those
    bad: list[str] = []
    unread: dict[str, str] = {}  # column -> its text, where that could not be read
    for column, type in columns.items():
        value, x = reading.values.get(column), f"_v_{column}"
        if column == PRECISION:
            day = "CASE WHEN _day_at THEN 'day' END" if "at" in reading.values else "NULL::VARCHAR"
            made.append(f"{day} AS {column}")
            continue
        if type == "map":
            texts[x] = _attributes(reading)
        elif reading.table == "scores" and reading.lists and column in ("name", "value", "label"):
            texts[x] = _score(reading, column, raw)
        elif value is None:
            texts[x] = {"discount": "0", "coupon": "0", "items": "1", "origin": "'imported'"}.get(
                column, "NULL"
            )
        elif type == "text":
            texts[x] = text(value)
        elif type == "moment":
            texts[x], texts[f"_day_{column}"], texts[f"_has_{column}"] = moment(value)
        else:
            texts[x], texts[f"_has_{column}"] = read(value)
        if value and type == "integer":  # 1.5 pieces are no whole number, and not two
            x = f"CASE WHEN {x} = floor({x}) THEN {x} END"
        elif value and type == "moment":  # a day without a time is known, or over, at its end
            x = in_utc(x) if column == "at" else known(x, f"_day_{column}", value.habits)
        elif value and column in ("discount", "coupon"):
            x = f"CASE WHEN _has_{column} THEN {x} ELSE 0 END"
        made.append(f"TRY_CAST({x} AS {SQL_TYPES[type]}) AS {quoted(column)}")
        if column == "value" and reading.lists:
            texts["_text_value"] = _score(reading, "text", raw)
            fails = '_text_value IS NOT NULL AND "value" IS NULL'
            bad.append(f"WHEN {fails} THEN 'value is not {A[type]}'")
            unread["value"] = f"CASE WHEN {fails} THEN _text_value END"
        if value and type not in ("text", "map"):
            fails = f"_has_{column} AND {quoted(column)} IS NULL"
            if type == "moment" and value.habits.zone_column:
                texts[f"_nowhere_{column}"], texts["_zone"] = zoneless(value)
                bad.append(f"WHEN {fails} AND _nowhere_{column} THEN 'the zone of {column} is not known'")
                unread["zone"] = "_zone"
            bad.append(f"WHEN {fails} THEN '{column} is not {A[type]}'")
            if value.form == "sql":
                texts[f"_text_{column}"] = f"({value.given})::VARCHAR"
            # Of `at` and `known_at` each stands in for the other, and would hide that it was not read.
            failed = f"_no_{column}" if column in ("at", "known_at") else fails
            unread[column] = f"CASE WHEN {failed} THEN {_as_given(value, column)} END"
    happened = reading.values.get("at")
    made.append(
        f"{known('_v_at', '_day_at', happened.habits) if happened else 'NULL::TIMESTAMPTZ'} AS _known"
    )
    if reading.currency:
        texts["_currency"] = text(reading.currency)
        bad.append(
            f"WHEN _currency IS DISTINCT FROM {literal(reading.habits.currency)} "
            f"THEN 'not in {reading.habits.currency}, the currency of the shop'"
        )
        unread["currency"] = "_currency"
    texts |= {
        "_reject_rule": _first(reading.conditions["reject"]),
        "_aside_rule": _first(_asides(reading)),
        "_note": _all(reading.conditions["note"]),
        "_return": _holds(reading.returns),
        "_cancelled": _holds(reading.cancelled),
        "_cancelled_at": "NULL::TIMESTAMPTZ",
        "_cancelled_day": "false",
    }
    if reading.cancelled_at:
        cancelled, texts["_cancelled_day"], said = moment(reading.cancelled_at)
        texts["_cancelled_at"] = in_utc(cancelled)
        texts["_cancelled_said"] = f"CASE WHEN {said} THEN {text(reading.cancelled_at)} END"
        fails = "_cancelled AND _cancelled_said IS NOT NULL AND _cancelled_at IS NULL"
        bad.append(f"WHEN {fails} THEN 'cancelled is not a moment'")
        unread["cancelled"] = f"CASE WHEN {fails} THEN _cancelled_said END"
    zone = literal(reading.habits.zone)
    delivered = _delivered(reading, zone)
    at = "at" in columns
    anonymous = "customer_id" in columns and "customer_id" in reading.values and not by_hand
    fields = ", ".join(f"{quoted(c)} := {x}" for c, x in unread.items()) or "none := NULL"
    # Of a date out of bounds: another reading of the same row may have its time from another column.
    dated = ""
    if happened and happened.form in WRITTEN:
        dated = f", at := CASE WHEN _has_at THEN {_as_given(happened, 'at')} END"
    hidden = [f'_has_{c} AND "{c}" IS NULL AS _no_{c}' for c in ("at", "known_at") if c in reading.values]
    moments = f"""{"".join(f"{each}, " for each in hidden)}* REPLACE (coalesce("at", {delivered}, known_at) AS "at",
                       coalesce(known_at, greatest(_known, {delivered})) AS known_at)"""
    return f"""
        SELECT {", ".join(quoted(c) for c in columns)}, _file, _line, _note, _aside, _reject, _return, _cancelled, _cancelled_at, _cancelled_day,
               {known("_cancelled_at", "_cancelled_day", (reading.cancelled_at or reading).habits)} AS _cancelled_known,
               {f'''strftime("at" AT TIME ZONE {zone}, '%Y-%m-%d')''' if at else "NULL"} AS _day,
               CASE WHEN _reject IS NOT NULL THEN
                    to_json(struct_pack(file := _r, unread := struct_pack({fields}){dated}))::VARCHAR END AS _given
        FROM (SELECT *,
                     CASE WHEN _reject_rule IS NOT NULL THEN NULL
                          WHEN _aside_rule IS NOT NULL THEN _aside_rule
                          {"WHEN customer_id IS NULL THEN 'anonymous: no customer id'" if anonymous else ""}
                          ELSE NULL END AS _aside,
                     CASE WHEN _reject_rule IS NOT NULL THEN _reject_rule
                          WHEN _aside_rule IS NOT NULL {"OR customer_id IS NULL" if anonymous else ""} THEN NULL
                          WHEN _bad IS NOT NULL THEN _bad
                          {bounds.cases(reading.habits.zone) if at else ""}
                          ELSE NULL END AS _reject
              FROM (SELECT {moments if at else "*"}, CASE {" ".join(bad) or "WHEN false THEN ''"} END AS _bad
                    FROM (SELECT {", ".join(made)}, * EXCLUDE ({", ".join(v for v in texts if v.startswith("_v_"))})
                          FROM (SELECT r AS _r, _file, _line, {", ".join(f"{sql} AS {name}" for name, sql in texts.items())}
                                FROM {_numbered(reading, raw)} r))))"""


def _as_given(value: Value, column: str) -> str:
    """SQL over a parsed row: what the file has for a column, as it stands there."""
    if value.form == "sql":
        return f"_text_{column}"
    if value.form == "value":
        return literal(value.given)
    names = (value.given,) if value.form == "column" else value.given
    between = literal(" * " if value.form == "product_of" else value.separator)
    return f"concat_ws({between}, {', '.join(f'_r.{quoted(c)}' for c in names)})"


def _holds(condition: Match | bool | None) -> str:
    return f"coalesce({condition.sql}, false)" if isinstance(condition, Match) else "false"


def _score(reading: Reading, column: str, raw: str) -> str:
    """Of a wide table of scores: a number is a value, anything else a label; and all are what most are.

    One `high` among a thousand numbers is a mistake, and no category; one 7 among grades is a grade.
    """
    (name,) = reading.lists
    x = text(Value(reading.where, "text", "column", name, reading.habits))
    value = number(x, reading.habits)
    numbers = f"(SELECT 2 * count({value}) >= count({x}) FROM {raw})"
    return {
        "name": literal(name),
        "value": f"CASE WHEN {numbers} THEN {value}::DOUBLE END",
        "label": f"CASE WHEN NOT {numbers} THEN {x} END",
        "text": f"CASE WHEN {numbers} THEN {x} END",
    }[column]


def _asides(reading: Reading) -> tuple[tuple[str, Match], ...]:
    more: list[tuple[str, Match]] = []
    if reading.once:
        more.append(("the same row again", Match(reading.where, "_nth > 1")))
    if reading.table == "scores" and reading.lists:
        x = text(Value(reading.where, "text", "column", reading.lists[0], reading.habits))
        more.append((f"no {reading.lists[0]}", Match(reading.where, f"{x} IS NULL")))
    return (*reading.conditions["aside"], *more)


def _numbered(reading: Reading, raw: str) -> str:
    """With `_nth`: 1 for the first of rows that are the same in every raw column."""
    if not reading.once:
        return raw
    same = ", ".join(quoted(c) for c in reading.raw_columns)
    # Only rows whose hash comes again are sorted, and without their texts.
    return f"""
        (SELECT r.*, coalesce(_n, 1) AS _nth FROM {raw} r LEFT JOIN
                (SELECT rowid AS _id, row_number() OVER (PARTITION BY {same} ORDER BY _file, _line) AS _n FROM {raw}
                 WHERE hash({same}) IN (SELECT hash({same}) AS h FROM {raw} GROUP BY h HAVING count(*) > 1))
         ON r.rowid = _id)"""


def _attributes(reading: Reading) -> str:
    if not reading.lists:
        return "NULL::MAP(VARCHAR, VARCHAR)"
    names = ", ".join(literal(c) for c in reading.lists)
    given = ", ".join(null(quoted(c), reading.habits.nulls) for c in reading.lists)
    return f"MAP([{names}], [{given}])"


def _first(rules: tuple[tuple[str, Match], ...]) -> str:
    cases = " ".join(f"WHEN ({m.sql}) THEN {literal(reason)}" for reason, m in rules)
    return f"CASE {cases} END" if rules else "NULL::VARCHAR"


def _all(rules: tuple[tuple[str, Match], ...]) -> str:
    cases = ", ".join(f"CASE WHEN ({m.sql}) THEN {literal(reason)} END" for reason, m in rules)
    return f"nullif(concat_ws('; ', {cases}), '')" if rules else "NULL::VARCHAR"


def _delivered(reading: Reading, zone: str) -> str:
    """When the file was there: a day, and known when that is over."""
    if reading.delivered is None:
        return "NULL::TIMESTAMPTZ"
    kind, given = reading.delivered
    day = literal(given) if kind == "day" else f"strptime(parse_filename(_file), {literal(given)})"
    return f"(({day})::DATE + 1)::TIMESTAMP AT TIME ZONE {zone}"
