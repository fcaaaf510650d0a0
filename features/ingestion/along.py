"""Lines that have their customer or their time from an order that is there by now.

A line whose file says neither has them from its order, and is rejected with it. Once that order is mended
such a line is as right as it is, whenever it was delivered: it comes in by itself, as a mended row that
nobody had to touch, known no earlier than its order. So does a line that was mended itself and names an order
that is there.

What such a line has from its order follows each correction of the order: nothing of it is kept with the line.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb

from features.ingestion.canonical import ORIGIN, REJECTS, arrow_schema, names, order, save
from features.ingestion.completed import Rules
from features.ingestion.mended import BACK, INBOX, MENDED, ORDER, REJECT_ID
from features.ingestion.parts import Account, Part, rows_and_sum
from features.ingestion.staging import KEPT, judge
from features.sources.corrected import ADDS, number_of
from features.sources.raw import literal
from features.sources.sales import NO_ORDER
from features.tables import TABLES

ALONG = "came in with their mended order"
LINES = TABLES["order_lines"]


def with_lines(
    connection: duckdb.DuckDBPyConnection,
    parts: Sequence[Part],
    folded: Path,
    exponent: int,
    rules: Mapping[str, Rules],
    account: Account,
) -> list[Part]:
    """The parts, that of mended rows with the lines that came in with their orders; adds to its account.

    folded: the folder of the generation's tables, of which `orders` is folded. Adds to the table `mended`.
    """
    part = next((part for part in parts if part.source == MENDED), None)
    shops = [p for p in parts if p.source in rules and p.source not in (MENDED, INBOX)]
    if part is None or not shops or not _waiting(connection, part, shops):
        return [*parts]
    _orders(connection, part, shops, folded, rules)
    _read(connection, part, shops, exponent, rules)
    if connection.execute("SELECT count(*) FROM along").fetchall() == [(0,)]:
        return [*parts]
    # Only what a folding reads of the part changes. It lies apart, under the part's name.
    more = _written(connection, part, folded.parent / "along" / part.folder.name, exponent)
    for file, note, of_hand, rows in connection.execute(
        "SELECT file, coalesce(note, ''), by_hand AND NOT back, count(*) FROM along GROUP BY ALL"
    ).fetchall():
        account[LINES.name, file, True, note, False] += rows
        account[LINES.name, file, False, NO_ORDER, False] -= rows if of_hand else 0
    return [more if one is part else one for one in parts]


def _waiting(connection: duckdb.DuckDBPyConnection, part: Part, shops: Sequence[Part]) -> bool:
    """CREATE TABLE waiting: lines without an order, as they were rejected, or as they were mended: `by_hand`.

    False if there are none.
    """
    rejects = [str(one.rejects) for one in shops]
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE waiting AS
            WITH hands AS (
                SELECT c.source, c.reject, c.read_from, r.row, true AS by_hand, r.file, r.line,
                       c.known_from, c.late, c.used, c.refers, c.channel, c.store_id, c.gone
                FROM read_parquet('{part.rejects}', hive_partitioning = false) r
                     JOIN corrections c ON c.file = r.file AND c.line = r.line
                WHERE r."table" = '{LINES.name}' AND r.reason = '{NO_ORDER}')
            FROM hands UNION ALL BY NAME
            SELECT source, {REJECT_ID} AS reject, file AS read_from, row, false AS by_hand
            FROM read_parquet({rejects}, hive_partitioning = false)
            WHERE "table" = '{LINES.name}' AND starts_with(reason, '{NO_ORDER}')
                  AND {REJECT_ID} NOT IN (SELECT reject FROM hands UNION ALL SELECT reject FROM mended)"""
    )
    return bool(connection.execute("SELECT 1 FROM waiting LIMIT 1").fetchall())


def _orders(
    connection: duckdb.DuckDBPyConnection,
    part: Part,
    shops: Sequence[Part],
    folded: Path,
    rules: Mapping[str, Rules],
) -> None:
    """CREATE TABLE theirs: the orders that lines may be of; `by_hand`: one that was mended."""
    columns = 'customer_id, "at", known_at, precision, channel, store_id'
    kept = folded / "orders" / f"{MENDED}.parquet"
    selects = []
    if kept.exists() and "orders" in part.tables:
        file = f"read_parquet('{part.path('orders')}', file_row_number = true)"
        selects.append(
            f"""SELECT m.source, {ORDER} AS order_id, {columns}, true AS by_hand, late, used,
                       (ref IS NOT NULL AND NOT contains(order_id, '{ADDS}')) OR amount < 0 AS returned,
                       CASE WHEN refers AND NOT contains(order_id, '{ADDS}') THEN ref END AS ref
                FROM (SELECT order_id, file_row_number AS _row
                      FROM {file} POSITIONAL JOIN (SELECT file AS given FROM '{part.origins("orders")}')
                      WHERE given IS NOT NULL)
                     JOIN (SELECT _row, source, late, used, refers FROM mended WHERE "table" = 'orders') m
                     USING (_row) JOIN '{kept}' o USING (order_id)
                QUALIFY row_number() OVER (PARTITION BY m.source, {ORDER} ORDER BY "at", order_id) = 1"""
        )
    for one in shops:
        own = folded / "orders" / f"{one.source}.parquet"
        if own.exists():
            ref = "ref" if rules[one.source].refers else "NULL"
            selects.append(
                f"""SELECT {literal(one.source)} AS source, order_id, {columns}, false AS by_hand,
                           false AS late, false AS used, ref IS NOT NULL AS returned, {ref} AS ref
                    FROM '{own}' WHERE order_id IN (SELECT row->>'$.order_id' FROM waiting WHERE by_hand)"""
            )
    none = f"SELECT NULL AS source, NULL AS order_id{''.join(f', NULL AS {c}' for c in _MORE)} WHERE false"
    rows = " UNION ALL BY NAME ".join(selects) or none
    connection.execute(f"CREATE OR REPLACE TEMP TABLE theirs AS {rows}")


_MORE = (
    "customer_id", '"at"', "known_at", "precision", "channel", "store_id", "by_hand", "late", "used",
    "returned", "ref",
)  # fmt: skip


def _read(
    connection: duckdb.DuckDBPyConnection,
    part: Part,
    shops: Sequence[Part],
    exponent: int,
    rules: Mapping[str, Rules],
) -> None:
    """CREATE TABLE along: the lines that keep the contract with what their orders say, with what `mended`
    says of each, and its `file`, `line_of_file` and `note`."""

    def of_source(what: dict[str, str]) -> str:
        cases = " ".join(f"WHEN {literal(source)} THEN {sql}" for source, sql in what.items())
        return f"(CASE w.source {cases} END)"

    def says(c: str) -> str:
        return of_source({one.source: rules[one.source].own[c] for one in shops})

    def own(c: str) -> str:  # what the line says itself, not its order
        return f"CASE WHEN w.by_hand OR coalesce({says(c)}, false) THEN"

    def given(c: str, type: str = "VARCHAR") -> str:
        return f"TRY_CAST(w.row->>'$.{c}' AS {type})"

    zone = of_source({one.source: literal(rules[one.source].zone) for one in shops})
    gone_at = given("_fate.at", "TIMESTAMPTZ")
    texts = ", ".join(f"{given(c)} AS {c}" for c in ("product_id", "category", "department", "brand"))
    number = number_of("w.reject")
    has = " UNION ALL ".join(
        f"SELECT order_id, line FROM '{one.path(LINES.name)}'"
        for one in (part, *shops)
        if LINES.name in one.tables
    )
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE read AS
            WITH has AS ({has or "SELECT NULL AS order_id, NULL AS line WHERE false"}),
            r AS (SELECT w.reject, o.order_id, coalesce({given("line", "BIGINT")}, {number}) AS line,
                         {number} AS number, coalesce({says("line")}, false) AS numbered,
                         coalesce({own("customer_id")} {given("customer_id")} END, o.customer_id)
                             AS customer_id,
                         {own("at")} {given("at", "TIMESTAMPTZ")} END AS own_at,
                         {own("at")} {given("known_at", "TIMESTAMPTZ")} END AS own_known,
                         o."at" AS its_at, o.known_at AS its_known, o.late AS its_late, w.known_from,
                         CASE WHEN own_at IS NULL THEN o.precision ELSE {given("precision")} END AS precision,
                         {texts}, {given("items", "BIGINT")} AS items,
                         {given("measure", "BIGINT")} AS measure,
                         {given("amount", "DECIMAL(38, 10)")} AS amount,
                         {given("discount", "DECIMAL(38, 10)")} AS discount,
                         {given("coupon", "DECIMAL(38, 10)")} AS coupon,
                         coalesce({given("ref")}, o.ref) AS ref,
                         o.returned OR coalesce(amount < 0 OR items < 0, false) AS is_back,
                         NOT is_back AND coalesce({given("_fate.cancelled", "BOOLEAN")}, false) AS cancelled,
                         {gone_at} AS gone_at, coalesce({given("_fate.day", "BOOLEAN")}, false) AS gone_day,
                         CASE WHEN gone_day THEN (({gone_at} AT TIME ZONE {zone})::DATE + 1)::TIMESTAMP
                                                 AT TIME ZONE {zone} ELSE {gone_at} END AS gone_known
                  FROM waiting w JOIN theirs o ON o.source = w.source
                       AND o.order_id = w.row->>'$.order_id' AND (o.by_hand OR w.by_hand))
            SELECT r.* EXCLUDE (line, number, numbered, own_at, own_known, its_at, its_known, its_late,
                                known_from)
                       REPLACE (CASE WHEN is_back THEN -abs(amount) ELSE amount END AS amount,
                                CASE WHEN is_back THEN -abs(items) ELSE items END AS items,
                                CASE WHEN is_back THEN -abs(measure) ELSE measure END AS measure,
                                CASE WHEN is_back THEN 0 ELSE discount END AS discount,
                                CASE WHEN is_back THEN 0 ELSE coupon END AS coupon),
                   CASE WHEN NOT numbered AND has.line IS NOT NULL THEN number ELSE r.line END AS line,
                   coalesce(own_at, its_at) AS "at",
                   greatest(coalesce(own_known, greatest(its_known, known_from::TIMESTAMPTZ)),
                            CASE WHEN its_late THEN its_known END) AS known_at
            FROM r LEFT JOIN (SELECT DISTINCT order_id, line FROM has) has
                 ON has.order_id = r.order_id AND has.line = r.line"""
    )
    columns, place = names(LINES.columns), "reject AS _file, 0 AS _line, NULL AS _note"
    connection.execute("DROP TABLE IF EXISTS judged")
    judge(
        connection,
        LINES,
        f"""SELECT {columns}, {place} FROM read UNION ALL BY NAME
            SELECT {columns}, {place.replace("0", "1")} FROM (
                SELECT * REPLACE (
                           order_id || '{BACK}' AS order_id, order_id AS ref, -amount AS amount,
                           0 AS discount, -items AS items, -measure AS measure, 0 AS coupon,
                           greatest(coalesce(gone_at, "at"), "at") AS "at",
                           greatest(coalesce(gone_known, known_at), known_at) AS known_at,
                           CASE WHEN gone_at IS NOT NULL AND gone_day THEN 'day' WHEN gone_at > "at" THEN NULL
                                ELSE precision END AS precision)
                FROM read WHERE cancelled)""",
        exponent,
        "judged",
    )
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE along AS
            SELECT {", ".join(f'j."{c}"' for c in LINES.columns)}, w.reject, w.source,
                   w.by_hand, j._line = 1 AS back,
                   CASE WHEN NOT back THEN w.file END AS file,
                   CASE WHEN NOT back THEN w.line END AS line_of_file,
                   CASE WHEN NOT back AND NOT w.by_hand THEN '{ALONG}' END AS note,
                   coalesce(w.late, false) OR o.late AS late, coalesce(w.used, false) OR o.used AS used,
                   back OR coalesce(w.refers, false) OR o.ref IS NOT NULL AS refers,
                   coalesce(w.channel, o.channel) AS channel, coalesce(w.store_id, o.store_id) AS store_id,
                   coalesce(w.gone, false) AS gone
            FROM (FROM judged WHERE {KEPT}) j JOIN waiting w ON w.reject = j._file
                 JOIN theirs o ON o.source = w.source AND o.order_id = w.row->>'$.order_id'
                      AND (o.by_hand OR w.by_hand)"""
    )


def _written(connection: duckdb.DuckDBPyConnection, part: Part, folder: Path, exponent: int) -> Part:
    """The part with the rows of `along`, in a folder of its own; `mended` tells of them where they stand."""
    for path in sorted(part.folder.rglob("*.parquet")):
        target = folder / path.relative_to(part.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path not in (part.path(LINES.name), part.origins(LINES.name), part.rejects):
            os.link(path, target)
    more = replace(part, folder=folder)
    origins = f"(SELECT file, line AS line_of_file, note FROM '{part.origins(LINES.name)}')"
    before = f"FROM '{part.path(LINES.name)}' POSITIONAL JOIN {origins} UNION ALL BY NAME"
    old = before if LINES.name in part.tables else ""
    save(
        connection.sql(
            f"""SELECT {names(LINES.columns)}, file, line_of_file, note FROM (
                    {old} SELECT {names(LINES.columns)}, file, line_of_file, note FROM along)
                ORDER BY {order(LINES)}"""
        ),
        (more.path(LINES.name), arrow_schema(LINES, exponent)),
        (more.origins(LINES.name), ORIGIN),
    )
    came = "SELECT file, line_of_file FROM along WHERE file IS NOT NULL"
    save(
        connection.sql(
            f"""SELECT {names(REJECTS.names)} FROM '{part.rejects}'
                WHERE NOT ("table" = '{LINES.name}' AND coalesce((file, line) IN ({came}), false))"""
        ),
        (more.rejects, REJECTS),
        empty=True,
    )
    file = "(SELECT order_id, line, file_row_number AS _row FROM read_parquet('{}', file_row_number = true))"
    now, was = file.format(more.path(LINES.name)), file.format(part.path(LINES.name))
    if LINES.name in part.tables:
        connection.execute(
            f"""UPDATE mended SET _row = n._row FROM {was} o JOIN {now} n USING (order_id, line)
                WHERE mended."table" = '{LINES.name}' AND mended._row = o._row"""
        )
    connection.execute(
        f"""INSERT INTO mended BY NAME
            SELECT '{LINES.name}' AS "table", _row, reject, source, late, used, refers, channel, store_id,
                   gone
            FROM along JOIN {now} USING (order_id, line)"""
    )
    files = {**part.facts["files"], LINES.name: rows_and_sum(more.path(LINES.name))}
    return replace(more, facts={**part.facts, "files": files})
