"""What mended rows bring to the money of orders, as if they had been right at once.

A mended line joins the lines that its own source has of the order. Where an order is the sum of its lines,
that line's money was missing in `orders` too. So was that of a mended order that its file adds to others: a
customer's day without an order id, or an order id that comes several times. Their money goes

* into the order that the source has, if the row is known when its file says: nobody has used the log
  without it, so the order is what clean files would have made it;
* else into a correction, `<order>:mended:...` with the order as its `ref`, or what that takes back. It
  counts as no order and no return, and in every sum of money, once it and the order are known: what was known
  before stays as it was. It happened when the order did, and says in `corrected` what that came to with it;
* into an order of its own, the sum of what was mended, if nobody has that order.

An order whose total was given had its lines' money all along, and gets nothing. A rejected line tells which
it is: where the order is a sum, the line was kept with the order's channel and store in `_order`. If that
says `lone`, it is one only where no file gave the order's total.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from features.ingestion.canonical import arrow_schema, names, order, save
from features.ingestion.completed import (
    Rules,
    add_cases,
    complete_lines,
    match_orders,
    refer_anew,
    rematch,
)
from features.ingestion.goods import describe_lines
from features.ingestion.mended import BACK, MENDED, ORDER, of_sums, only_channels
from features.ingestion.parts import Account, Part
from features.ingestion.yielding import drop_cases, rename_returns
from features.sources.corrected import ADDS
from features.sources.raw import literal
from features.tables import CORRECTED, TABLES

ADDED = "added to an order of its source"
CORRECTS = "corrects the total of its order"
_FIRST = 'struct_pack(a := "at", n := name)'  # of rows at one moment always the same one
SUM = "an order that is the sum of mended rows"


def add_money(
    connection: duckdb.DuckDBPyConnection,
    parts: Sequence[Part],
    folded: Path,
    exponent: int,
    rules: Mapping[str, Rules],
    account: Account,
) -> None:
    """Complete mended rows (see `completed.py`); add their money to the folded orders, and to their account.

    folded: the folder of the generation's tables, which are whole but for this.
    """
    orders, place = TABLES["orders"], folded / "orders" / f"{MENDED}.parquet"
    (part,) = (part for part in parts if part.source == MENDED)
    drop_cases(connection, folded, exponent)
    rename_returns(connection, folded, exponent)
    describe_lines(connection, parts, folded, exponent, rules)
    lines = complete_lines(connection, parts, folded, exponent, rules)
    if lines:
        rematch(connection, "order_lines", parts, folded, exponent, rules)
    own = [sql for sql in (_of_lines(parts) if lines else None, _of_orders(part, folded)) if sql]
    if not own or not any((folded / orders.name).glob("*.parquet")):
        return
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE money AS
            WITH known AS ({_known(parts, folded)})
            SELECT a.* REPLACE (coalesce(a.channel, s.channel) AS channel, a.whole OR k.derived AS whole),
                   a.whole AS first,
                   k.order_id IS NOT NULL AS has, k.known_at AS since,
                   coalesce(late AND a.known_at > k.known_at, false) AS corrects,
                   a.of NOT IN (SELECT order_id FROM known) AS alone
            FROM ({" UNION ALL BY NAME ".join(own)}) a
                 LEFT JOIN known k ON k.order_id = a.of AND k.source = a.source
                 LEFT JOIN ({only_channels(parts)}) s  -- of a record that could not be read, which says none
                     ON s.source = a.source
            WHERE NOT a.lone OR (k.derived IS NOT false AND a.of NOT IN ({_of_file(folded)}))"""
    )
    for path in sorted((folded / orders.name).glob("*.parquet")):
        if path != place:
            _into_orders(connection, path, exponent)
    # Of the orders as they are by now.
    made = " UNION ALL ".join(
        f"SELECT *, {literal(path.stem)} AS source FROM {literal(path)}"
        for path in sorted((folded / orders.name).glob("*.parquet"))
        if path != place
    )
    # The orders that are mended rows, and what these say of themselves.
    kept = ""
    if place.exists():
        kept = f"""UNION ALL BY NAME
            SELECT o.*, m.source, coalesce(m.refers, true) AS refers, coalesce(m.used, true) AS used
            FROM '{place}' o LEFT JOIN (
                SELECT order_id, m.source, m.refers, m.used
                FROM read_parquet('{part.path("orders")}', file_row_number = true) p
                     JOIN mended m ON m._row = p.file_row_number AND m."table" = 'orders') m USING (order_id)
            WHERE NOT contains(o.order_id, '{ADDS}')"""
    none = ", ".join(f'NULL AS "{c}"' for c in orders.columns if c == CORRECTED)
    rows = f"""
        SELECT {names(orders.columns)}, source, refers, used FROM (
            SELECT * EXCLUDE (back) REPLACE (began AS "at", day AS precision),
                   of || '{ADDS}' || name AS order_id, coalesce(back, of) AS ref, true AS refers,
                   total + sum(amount) OVER (PARTITION BY of ORDER BY known_at) AS corrected
            FROM (SELECT m.* REPLACE (greatest(m.known_at, m.since) AS known_at), o."at" AS began,
                         o.precision AS day, o.amount AS total, o.ref AS back
                  FROM money m JOIN ({made}) o ON o.source = m.source AND o.order_id = m.of
                  WHERE has AND corrects)
            UNION ALL BY NAME
            SELECT of AS order_id, any_value(customer_id) AS customer_id, min("at") AS "at",
                   max(known_at) AS known_at, max(precision) AS precision,
                   CASE WHEN any_value(first) THEN arg_min(channel, {_FIRST})
                        ELSE min(channel) END AS channel,
                   CASE WHEN any_value(first) THEN arg_min(store_id, {_FIRST})
                        ELSE min(store_id) END AS store_id,
                   sum(amount) AS amount, sum(discount) AS discount,
                   CASE WHEN bool_and(returns IS NOT NULL)
                        THEN max(struct_pack(k := returns <> 'unknown', a := abs(amount), r := returns)).r
                        WHEN sum(amount) < 0 THEN 'unknown' END AS ref,
                   any_value(source) AS source, bool_or(returns IS NOT NULL) AS refers,
                   bool_or(used) AS used, {none}
            FROM money WHERE alone GROUP BY of
            {kept})"""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE own AS {rows}")
    match_orders(connection, "own", folded, rules)
    written = place.with_name(f".{place.name}")
    mine = f"SELECT {names(orders.columns)} FROM own ORDER BY {order(orders)}"
    if save(connection.sql(mine), (written, arrow_schema(orders, exponent))):
        written.replace(place)  # a part's own file may lie there: it stays as it is
    else:
        place.unlink(missing_ok=True)
    add_cases(connection, "own", folded, exponent)
    rematch(connection, "orders", parts, folded, exponent, rules)
    refer_anew(connection, parts, folded, exponent, rules)
    told = connection.execute(
        f"""SELECT CASE WHEN corrects THEN '{CORRECTS}' ELSE '{ADDED}' END, count(*)
            FROM money WHERE has GROUP BY ALL
            UNION ALL SELECT '{SUM}', count(DISTINCT of) FROM money WHERE alone HAVING count(*) > 0"""
    ).fetchall()
    for note, orders_told in told:
        account[orders.name, None, True, note, False] += orders_told


def _known(parts: Sequence[Part], folded: Path) -> str:
    """SQL of the folded orders, with their source; derived: of lines alone, so that those say all of it."""
    selects = []
    for part in parts:
        path = folded / "orders" / f"{part.source}.parquet"
        if path.exists() and "orders" in part.tables:
            of = f"'{part.path('orders')}' POSITIONAL JOIN '{part.origins('orders')}'"
            of_file = f"(SELECT order_id FROM {of} WHERE file IS NOT NULL)"
            derived = f"""order_id NOT IN {of_file} AND NOT (  -- nor what takes back one of a file
                ends_with(order_id, '{BACK}') AND order_id[:-{len(BACK) + 1}] IN {of_file})"""
            selects.append(
                f"""SELECT order_id, known_at, channel, '{part.source}' AS source, {derived} AS derived
                    FROM '{path}' WHERE NOT contains(order_id, '{ADDS}')"""
            )
    return " UNION ALL ".join(selects)


def _of_file(folded: Path) -> str:
    """SQL of the orders whose total a mended row gives."""
    kept = folded / "orders" / f"{MENDED}.parquet"
    if not kept.exists():
        return "SELECT NULL::VARCHAR WHERE false"
    return f"SELECT {ORDER} FROM '{kept}'"


def _of_lines(parts: Sequence[Part]) -> str:
    """SQL of the money of mended lines whose order is the sum of its lines.

    of: the order. name: of the row, in it. returns: the order whose goods come back. whole: whether what
    follows of the order (when, where) follows from its rows. late: see `mended.read`.
    """
    money = f"""
        SELECT l.order_id AS of, l.line::VARCHAR AS name, l.customer_id, l."at", l.known_at, l.precision,
               coalesce(l.channel, r.channel) AS channel, coalesce(l.store_id, r.store_id) AS store_id,
               l.amount, l.discount, l.ref AS returns, false AS whole, r.lone, l.source, l.late, l.used
        FROM more_lines l JOIN ({of_sums(parts)}) r USING (reject)"""
    back, stated = f"of || '{BACK}'", "(SELECT order_id FROM known WHERE NOT derived)"
    taken = f"of IN (SELECT order_id FROM known) AND of[:-{len(BACK) + 1}] IN {stated}"
    return f"""
        FROM ({money}) WHERE NOT (ends_with(of, '{BACK}') AND {taken})
        UNION ALL BY NAME  -- what takes back all of an order, in one row, whose amount its lines say
        SELECT * REPLACE ({back} AS of, -amount AS amount, 0 AS discount, of AS returns) FROM ({money})
        WHERE NOT lone AND of IN {stated} AND {back} IN (SELECT order_id FROM known)"""


def _of_orders(part: Part, folded: Path) -> str | None:
    """The same, of mended orders that add to others."""
    kept = folded / "orders" / f"{MENDED}.parquet"
    if not kept.exists() or "orders" not in part.tables:
        return None
    return f"""
        SELECT o.ref AS of, split_part(o.order_id, '{ADDS}', 2) AS name, o.customer_id, o."at", o.known_at,
               o.precision, o.channel, o.store_id, o.amount, o.discount, NULL AS returns, true AS whole,
               false AS lone, m.source, m.late, m.used
        FROM '{kept}' o
        JOIN (SELECT order_id, file_row_number AS _row
              FROM read_parquet('{part.path("orders")}', file_row_number = true)) USING (order_id)
        JOIN mended m USING (_row)
        WHERE m."table" = 'orders' AND contains(o.order_id, '{ADDS}')"""


def _into_orders(connection: duckdb.DuckDBPyConnection, path: Path, exponent: int) -> None:
    """Write a source's orders again with what is added to them, if anything is."""
    here = f"FROM money WHERE has AND NOT corrects AND source = '{path.stem}'"
    if not connection.execute(f"SELECT 1 {here} LIMIT 1").fetchall():
        return
    orders = TABLES["orders"]

    def place(c: str) -> str:  # of rows that are orders themselves the first one's
        return f"""CASE WHEN a.first THEN CASE WHEN a."at" < o."at" THEN a.first_{c} ELSE o.{c} END
                        ELSE least(o.{c}, a.{c}) END AS {c}"""

    rows = f"""
        SELECT o.* REPLACE (
                   o.amount + coalesce(a.amount, 0) AS amount,
                   o.discount + coalesce(a.discount, 0) AS discount,
                   CASE WHEN a."at" < o."at" THEN a.precision ELSE o.precision END AS precision,
                   least(o."at", a."at") AS "at", greatest(o.known_at, a.known_at) AS known_at,
                   {place("channel")}, {place("store_id")})
        FROM '{path}' o LEFT JOIN (
            SELECT of, sum(amount) AS amount, sum(discount) AS discount, min("at") FILTER (whole) AS "at",
                   max(precision) FILTER (whole) AS precision,
                   max(known_at) FILTER (whole) AS known_at, min(channel) FILTER (whole) AS channel,
                   min(store_id) FILTER (whole) AS store_id, any_value(first) AS first,
                   arg_min(channel, {_FIRST}) AS first_channel,
                   arg_min(store_id, {_FIRST}) AS first_store_id
            {here} GROUP BY of) a ON a.of = o.order_id"""
    written = path.with_name(f".{path.name}")
    save(
        connection.sql(f"SELECT {names(orders.columns)} FROM ({rows}) ORDER BY {order(orders)}"),
        (written, arrow_schema(orders, exponent)),
    )
    written.replace(path)  # a part's own file may lie there: it stays as it is
