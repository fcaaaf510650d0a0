"""What follows for mended rows from the others of their source, by the rules of `sources/sales.py`.

A line gets what the catalogue says of its product (see `goods.py`). A return that names no order takes back
the one that the source's own returns would: of its own id, if goods were sold under it; else the latest
earlier one of the same customer with as many of the same product, or as much money; else `unknown`. So does a
return of the source itself that found no order, or an earlier one, while the sale that it takes back was
rejected: unless that is mended late, for then the log was used as it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from features.errors import PropensityError
from features.ingestion.canonical import write_again
from features.ingestion.goods import describe_mended
from features.ingestion.mended import BACK, MENDED, ORDER
from features.ingestion.parts import Part
from features.shop import Shop
from features.sources.corrected import ADDS, OF_ORDERS, number_of, says
from features.sources.mapping import declaration
from features.sources.raw import literal
from features.sources.sales import MATCHED_LINES, MATCHED_ORDERS, OF_RETURNS

_SALE = "ref IS NULL AND amount >= 0"


@dataclass(frozen=True)
class Rules:
    """Of a mapping: whether it reads orders, whether its files name what a return takes back, its zone.

    own: column of its lines (`customer_id`, `at`, `line`) -> SQL over `read_from`, the file of a line: it
    says that itself, and has it not from its order.
    """

    orders: bool
    refers: bool
    zone: str
    own: Mapping[str, str]


def rules_of(shop: Shop) -> dict[str, Rules]:
    """What a folding must know of each mapping; nothing of one that is broken by now."""
    rules = {}
    for name in shop.mappings:
        try:
            declared = declaration(shop, name, find=False)
        except PropensityError:
            continue
        of = [r for r in declared.readings if r.table in OF_ORDERS]
        zone = next((r.habits.zone for r in of if r.table == "order_lines"), declared.zone)
        rules[name] = Rules(
            orders=any(r.table == "orders" for r in of),
            refers=any("ref" in r.values for r in of),
            zone=zone,
            own={column: says(shop, name, column, "read_from") for column in ("customer_id", "at", "line")},
        )
    return rules


def complete_lines(
    connection: duckdb.DuckDBPyConnection,
    parts: Sequence[Part],
    folded: Path,
    exponent: int,
    rules: Mapping[str, Rules],
) -> bool:
    """CREATE TABLE more_lines: the mended lines, with what `mended` says of them; write them again if they
    change. False if there are none."""
    place = folded / "order_lines" / f"{MENDED}.parquet"
    if not place.exists():
        return False
    (part,) = (part for part in parts if part.source == MENDED)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE more_lines AS
            SELECT l.*, m.* EXCLUDE (order_id, line)
            FROM '{place}' l JOIN (
                SELECT order_id, line, m.* EXCLUDE (_row, "table")
                FROM read_parquet('{part.path("order_lines")}', file_row_number = true) p
                     JOIN mended m ON m._row = p.file_row_number AND m."table" = 'order_lines') m
            USING (order_id, line)"""
    )
    before = connection.execute("SELECT count(*), sum(hash(m)) FROM more_lines m").fetchall()
    for source, rule in rules.items():
        own = folded / "order_lines" / f"{source}.parquet"
        here = f"source = {literal(source)}"
        describe_mended(connection, parts, folded, source)
        _match_lines(
            connection,
            own if own.exists() else None,
            here,
            source,
            rule,
            _of_files(parts, source),
            _orders(folded, source),
        )
    if connection.execute("SELECT count(*), sum(hash(m)) FROM more_lines m").fetchall() != before:
        write_again(connection, "more_lines", place, exponent)
    return True


def _of_files(parts: Sequence[Part], source: str) -> str:
    """SQL of the orders that a file gives, of the source or of those who mended its rows."""
    ids = [
        f"""SELECT order_id FROM '{part.path("orders")}' POSITIONAL JOIN '{part.origins("orders")}'
            WHERE file IS NOT NULL"""
        for part in parts
        if part.source in (source, MENDED) and "orders" in part.tables
    ]
    return " UNION ALL ".join(ids) or "SELECT NULL::VARCHAR AS order_id WHERE false"


def _orders(folded: Path, source: str) -> str:
    """SQL of the orders of a source, and of those who mended its rows."""
    paths = [folded / "orders" / f"{name}.parquet" for name in (source, MENDED)]
    ids = [f"SELECT {ORDER} AS order_id FROM '{path}'" for path in paths if path.exists()]
    return " UNION ALL ".join(ids) or "SELECT NULL::VARCHAR AS order_id WHERE false"


def _match_lines(
    connection: duckdb.DuckDBPyConnection,
    own: Path | None,
    here: str,
    source: str,
    rule: Rules,
    of_files: str,
    days: str,
) -> None:
    """Of the mended returns of a source: their order, and what they are called."""
    back = f"{here} AND (amount < 0 OR items < 0)"
    if not connection.execute(f"SELECT 1 FROM more_lines WHERE {back} LIMIT 1").fetchall():
        return
    # One that names the receipt that it stands under says no more than that.
    connection.execute(f"UPDATE more_lines SET ref = NULL, refers = false WHERE {back} AND ref = order_id")
    returns = f"{back} AND NOT refers"
    columns = 'order_id, customer_id, product_id, "at", items, amount, ref'
    sale = f"{_SALE} AND items >= 0"
    sold = f"SELECT {columns} FROM more_lines WHERE {here} AND {sale}"
    if own:
        sold += f" UNION ALL SELECT {columns} FROM '{own}' WHERE {sale}"
    day = f"""strftime("at" AT TIME ZONE {literal(rule.zone)}, '%Y-%m-%d')"""
    name = f"""order_id || CASE WHEN order_id IN ({of_files}) THEN '' ELSE ':return:' || {day} END"""
    unnamed = f"starts_with(order_id, {literal(f'{source}:')})"
    made = "order_id || ':return'"  # of a day of which a file of orders says what came back
    connection.execute(
        f"""UPDATE more_lines SET order_id = {made} WHERE {returns} AND {unnamed} AND {made} IN ({days})"""
    )
    connection.execute(
        f"""UPDATE more_lines SET order_id = {name},
                   ref = CASE WHEN ref IS NULL AND NOT {unnamed} THEN order_id ELSE ref END
            WHERE {back} AND (NOT refers OR {unnamed}) AND order_id IN (SELECT order_id FROM ({sold}))"""
    )
    if own:  # a number there is another row's
        connection.execute(
            f"""UPDATE more_lines SET line = {number_of("reject")}
                WHERE {here} AND (order_id, line) IN (SELECT (order_id, line) FROM '{own}')"""
        )
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE _lines AS
            SELECT 'sold' AS _file, NULL::BIGINT AS _line, false AS _return, true AS _ok, * FROM ({sold})
            WHERE customer_id IN (SELECT customer_id FROM more_lines WHERE {returns})
            UNION ALL BY NAME
            SELECT 'mended' AS _file, rowid AS _line, true AS _return, true AS _ok, {columns}
            FROM more_lines WHERE {returns}"""
    )
    connection.execute(MATCHED_LINES)
    connection.execute(
        "UPDATE more_lines m SET ref = f.ref FROM _matched f WHERE f._file = 'mended' AND m.rowid = f._line"
    )


def rematch(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    parts: Sequence[Part],
    folded: Path,
    exponent: int,
    rules: Mapping[str, Rules],
) -> None:
    """The returns of the sources themselves, now that sales are there which were rejected.

    Not if somebody had used the log without them. A return whose file names its order stays with that.
    table: `order_lines` or `orders`.
    """
    mended = "more_lines" if table == "order_lines" else "own"
    for source, rule in rules.items():
        path = folded / table / f"{source}.parquet"
        if not path.exists() or (table == "orders" and not rule.orders):
            continue
        # What the rules made of it, not its file: it is called otherwise than what it takes back.
        own_id = f"(order_id = ref OR order_id = ref || '{BACK}' OR starts_with(order_id, ref || ':return:'))"
        auto = f"_return AND NOT {own_id}" + (" AND ref = 'unknown'" if rule.refers else "")
        if table == "orders":  # those of lines alone follow from them
            auto += f" AND order_id IN ({_of_files(parts, source)})"
        back = "amount < 0 OR items < 0" if table == "order_lines" else "amount < 0"
        sales = f"source = {literal(source)} AND {_SALE} AND NOT used AND NOT contains(order_id, '{ADDS}')"
        who = f"SELECT customer_id FROM {mended} WHERE {sales}"
        if table == "orders":  # one of the source's own may have become larger
            who += f" UNION SELECT customer_id FROM money WHERE source = {literal(source)} AND NOT used"
            if (folded / "order_lines" / f"{MENDED}.parquet").exists():  # or has another line that tells
                who += f""" UNION SELECT customer_id FROM more_lines
                            WHERE source = {literal(source)} AND ref IS NOT NULL AND NOT used"""
        connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE again AS
                SELECT *, {auto} AS _auto
                FROM (SELECT *, file_row_number AS _row, ref IS NOT NULL AND ({back}) AS _return
                      FROM read_parquet('{path}', file_row_number = true, hive_partitioning = false)
                      WHERE customer_id IN ({who}))"""
        )
        if not connection.execute("SELECT 1 FROM again WHERE _auto LIMIT 1").fetchall():
            continue
        goods = ", product_id, items" if table == "order_lines" else ""
        columns = f'order_id, customer_id, "at", amount{goods}'
        connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE {"_lines" if goods else "_orders"} AS
                SELECT *, NULL::VARCHAR AS ref, true AS _ok FROM (
                    SELECT 'sold' AS _file, NULL::BIGINT AS _line, false AS _return, {columns}
                    FROM {mended} WHERE {sales}
                    UNION ALL SELECT 'own', _row, _return, {columns} FROM again WHERE _auto OR NOT _return)"""
        )
        matched = "_matched" if goods else "_matched_orders"
        if goods:
            connection.execute(MATCHED_LINES)
        else:
            _refs_of_lines(connection, folded, source)
            connection.execute(MATCHED_ORDERS)
        changed = f"""SELECT _line AS _row, f.ref FROM {matched} f JOIN again a ON a._row = f._line
                      WHERE f._file = 'own' AND f.ref <> a.ref"""
        connection.execute(f"CREATE OR REPLACE TEMP TABLE changed AS {changed}")
        if connection.execute("SELECT count(*) FROM changed").fetchall() == [(0,)]:
            continue
        write_again(
            connection,
            f"""(SELECT p.* REPLACE (coalesce(c.ref, p.ref) AS ref)
                 FROM read_parquet('{path}', file_row_number = true, hive_partitioning = false) p
                      LEFT JOIN changed c ON c._row = p.file_row_number)""",
            path,
            exponent,
        )


def _refs_of_lines(connection: duckdb.DuckDBPyConnection, folded: Path, source: str) -> None:
    """CREATE TABLE _matched: what the lines of each return take back."""
    paths = [folded / "order_lines" / f"{name}.parquet" for name in (source, MENDED)]
    of_lines = " UNION ALL ".join(
        f"SELECT order_id, amount::DECIMAL(38, 10), ref FROM '{path}' WHERE ref IS NOT NULL"
        for path in paths
        if path.exists()
    )
    connection.execute(
        f"""CREATE OR REPLACE TABLE _matched AS
            SELECT NULL::VARCHAR AS return_id, NULL::DECIMAL(38, 10) AS amount, NULL::VARCHAR AS ref
            WHERE false {f"UNION ALL {of_lines}" if of_lines else ""}"""
    )


def refer_anew(
    connection: duckdb.DuckDBPyConnection,
    parts: Sequence[Part],
    folded: Path,
    exponent: int,
    rules: Mapping[str, Rules],
) -> None:
    """What follows from the refs of the sources' own returns: those of orders that are sums, and of cases."""
    for source in rules:
        orders, lines, cases = (folded / t / f"{source}.parquet" for t in ("orders", "order_lines", "cases"))
        if not orders.exists():
            continue
        if lines.exists() and (folded / "order_lines" / f"{MENDED}.parquet").exists():
            _follow(
                connection, orders, "order_id", exponent,
                f"""SELECT order_id, CASE WHEN bool_and(ref IS NOT NULL)
                           THEN max(struct_pack(k := ref <> 'unknown', a := abs(amount), r := ref)).r
                           END AS ref
                    FROM (SELECT order_id, amount, ref FROM '{lines}' UNION ALL
                          SELECT order_id, amount, ref FROM more_lines WHERE NOT used)
                    WHERE order_id NOT IN ({_of_files(parts, source)})
                    GROUP BY order_id""",
            )  # fmt: skip
        if cases.exists():
            refs = f"SELECT order_id AS case_id, ref FROM '{orders}'"
            _follow(connection, cases, "case_id", exponent, refs)
            added = f"SELECT of FROM money WHERE has AND NOT corrects AND source = {literal(source)}"
            told_by = ('"at"', "known_at", "precision", "channel")
            changed = f"""SELECT order_id AS case_id, {", ".join(told_by)} FROM '{orders}'
                          WHERE order_id IN ({added}) AND ref IS NOT NULL"""
            if connection.execute(f"FROM '{cases}' SEMI JOIN ({changed}) USING (case_id) LIMIT 1").fetchall():
                told = ", ".join(f"coalesce(o.{c}, c.{c}) AS {c}" for c in told_by)
                rows = (
                    f"(SELECT c.* REPLACE ({told}) FROM '{cases}' c LEFT JOIN ({changed}) o USING (case_id))"
                )
                write_again(connection, rows, cases, exponent)


def _follow(connection: duckdb.DuckDBPyConnection, path: Path, key: str, exponent: int, refs: str) -> None:
    """Give the returns of a file the refs that others have by now."""
    wrong = f"""SELECT DISTINCT {key}, r.ref FROM '{path}' p JOIN ({refs}) r USING ({key})
                WHERE p.ref IS NOT NULL AND r.ref IS NOT NULL AND p.ref <> r.ref"""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE changed AS {wrong}")
    if connection.execute("SELECT count(*) FROM changed").fetchall() == [(0,)]:
        return
    rows = f"""(SELECT p.* REPLACE (coalesce(c.ref, p.ref) AS ref)
                FROM '{path}' p LEFT JOIN changed c USING ({key}))"""
    write_again(connection, rows, path, exponent)


def match_orders(
    connection: duckdb.DuckDBPyConnection, rows: str, folded: Path, rules: Mapping[str, Rules]
) -> None:
    """The same, of the mended orders in the table `rows`: it has `source` and `refers` beside its columns."""
    for source in rules:
        here = f"source = {literal(source)}"
        returns = f"{here} AND amount < 0 AND NOT refers AND NOT contains(order_id, '{ADDS}')"
        if not connection.execute(f"SELECT 1 FROM {rows} WHERE {returns} LIMIT 1").fetchall():
            continue
        columns = 'order_id, customer_id, "at", amount'
        own = folded / "orders" / f"{source}.parquet"
        sold = f"SELECT {columns} FROM {rows} WHERE {here} AND {_SALE}"
        if own.exists():
            sold += f" UNION ALL SELECT {columns} FROM '{own}' WHERE {_SALE}"
        _refs_of_lines(connection, folded, source)
        connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE _orders AS
                SELECT 'sold' AS _file, NULL::BIGINT AS _line, false AS _return, true AS _ok,
                       NULL::VARCHAR AS ref, *
                FROM ({sold}) WHERE customer_id IN (SELECT customer_id FROM {rows} WHERE {returns})
                UNION ALL BY NAME
                SELECT 'mended' AS _file, rowid AS _line, true AS _return, true AS _ok,
                       NULL::VARCHAR AS ref, {columns} FROM {rows} WHERE {returns}"""
        )
        connection.execute(MATCHED_ORDERS)
        connection.execute(
            f"""UPDATE {rows} m SET ref = f.ref FROM _matched_orders f
                WHERE f._file = 'mended' AND m.rowid = f._line"""
        )


def add_cases(connection: duckdb.DuckDBPyConnection, rows: str, folded: Path, exponent: int) -> None:
    """Add the cases of the returns among the mended orders in the table `rows`."""
    place = folded / "cases" / f"{MENDED}.parquet"
    kept = f"UNION ALL BY NAME FROM '{place}'" if place.exists() else ""
    returns = OF_RETURNS.format(orders=f"(FROM {rows} WHERE NOT contains(order_id, '{ADDS}'))")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE opened AS SELECT * FROM ({returns} {kept})")
    write_again(connection, "opened", place, exponent)
