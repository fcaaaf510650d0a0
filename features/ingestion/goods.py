"""What the catalogue says of the products of lines, once rows of either were mended."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb

from features.ingestion.canonical import write_again
from features.ingestion.mended import MENDED, REJECT_ID
from features.ingestion.parts import Part
from features.sources.raw import literal

CATALOGUE = ("category", "department", "brand")


def describe_mended(
    connection: duckdb.DuckDBPyConnection, parts: Sequence[Part], folded: Path, source: str
) -> None:
    """Fill what the lines of a source in the table `more_lines` do not say of their products.

    What such a line says as of the product that the row had does not hold for another one that it was given.
    """
    goods = _goods(parts, folded, source)
    if not goods:
        return
    told = ", ".join(
        f"""CASE WHEN m.{c} = was.{c} AND was.product_id <> m.product_id THEN g.{c}
                 ELSE coalesce(m.{c}, g.{c}) END AS {c}"""
        for c in CATALOGUE
    )
    rejects = [str(part.rejects) for part in parts if part.source == source]
    connection.execute(
        f"""UPDATE more_lines m SET {", ".join(f"{c} = t.{c}" for c in CATALOGUE)}
            FROM (WITH goods AS ({goods})
                  SELECT m.reject, m.order_id, m.line, {told}
                  FROM more_lines m LEFT JOIN goods g ON g.product_id = m.product_id
                       LEFT JOIN (SELECT {REJECT_ID} AS reject, row->>'$.product_id' AS product_id
                                  FROM read_parquet({rejects}, hive_partitioning = false)) r USING (reject)
                       LEFT JOIN goods was ON was.product_id = r.product_id
                  WHERE m.source = {literal(source)}) t
            WHERE m.reject = t.reject AND m.order_id = t.order_id AND m.line = t.line"""
    )


def describe_lines(
    connection: duckdb.DuckDBPyConnection,
    parts: Sequence[Part],
    folded: Path,
    exponent: int,
    sources: Iterable[str],
) -> None:
    """Give the lines of the sources themselves what mended products say of theirs.

    Where somebody had used the log without it, only those that were known later.
    """
    for source in sources:
        path = folded / "order_lines" / f"{source}.parquet"
        goods = _goods(parts, folded, source)
        if not goods or not path.exists():
            continue
        known = f"(SELECT * FROM ({goods}) WHERE anew)"
        of_it = "l.product_id = g.product_id AND (g.since IS NULL OR l.known_at > g.since)"
        if connection.execute(f"SELECT 1 FROM '{path}' l SEMI JOIN {known} g ON {of_it} LIMIT 1").fetchall():
            told = ", ".join(f"coalesce(l.{c}, g.{c}) AS {c}" for c in CATALOGUE)
            rows = f"(SELECT l.* REPLACE ({told}) FROM '{path}' l LEFT JOIN {known} g ON {of_it})"
            write_again(connection, rows, path, exponent)


def _goods(parts: Sequence[Part], folded: Path, source: str) -> str:
    """SQL of the products of a source: what is said of them, whether it is `anew`: by a mended row, and of
    lines known after which moment, if somebody had used the log: `since`. Empty if there are none."""
    columns = f"product_id, {', '.join(CATALOGUE)}"
    own, kept = (folded / "products" / f"{name}.parquet" for name in (source, MENDED))
    selects = (
        [f"SELECT {columns}, false AS anew, NULL::TIMESTAMPTZ AS since FROM '{own}'"] if own.exists() else []
    )
    if kept.exists():
        (part,) = (part for part in parts if part.source == MENDED)
        selects.append(
            f"""SELECT {columns}, since IS NOT NULL OR NOT used AS anew, since FROM '{kept}' JOIN (
                    SELECT product_id, m.used, CASE WHEN m.used THEN (
                               SELECT max(known_from)::TIMESTAMPTZ FROM corrections c
                               WHERE c.reject = m.reject) END AS since
                    FROM read_parquet('{part.path("products")}', file_row_number = true) p
                         JOIN mended m ON m._row = p.file_row_number AND m."table" = 'products'
                    WHERE m.source = {literal(source)}) USING (product_id)"""
        )
    return " UNION ALL ".join(selects)
