"""Files whose customer ids are nobody's elsewhere as they are written, and somebody's if written alike.

Of 101, 101.0 and 00101 a log makes three people: no row breaks a contract, and each has a third of a history.
Ids are compared as the sources gave them, file by file; files whose names differ in their digits are one.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import duckdb

from features.ingestion.parts import Part
from features.log import Log
from features.sources.values import CLEAN
from features.tables import TABLES
from features.tombstones import Tombstones

FEW = 20  # ids: of fewer, none need be in another file
MET = 0.05  # share of ids that others have as they are, from which a file is in order
SOME = 0.2  # and share of those that others have written alike: a few may lack their zeros
MENDED = 0.1  # share that others have once they are written alike, from which it is not
ALIKE = 0.9  # of those that one way of writing must meet
_NOBODY = """SELECT NULL AS source, NULL AS "table", NULL AS file, NULL AS customer_id WHERE false"""
_TRIM = CLEAN["trim"]
_WHOLE = CLEAN["whole"]


@dataclass(frozen=True)
class Stray:
    """`ids` of a file, of which others have `met` as they are, and `mended` once `clean` and `pad` are set.

    source, file: where to write that: those of the ids, or of the ones that they are compared with.
    """

    table: str
    source: str
    file: str
    other: str  # `file of source`
    ids: int
    met: int
    mended: int
    clean: tuple[str, ...]
    pad: int | None


def strays(connection: duckdb.DuckDBPyConnection, parts: Iterable[Part]) -> list[Stray]:
    """Of the files of these parts, each compared with the orders; of those the smaller with the larger."""
    selects = [sql for part in parts for sql in _ids(part)]
    if not selects:
        selects = [_NOBODY]
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE _given AS
            SELECT source, "table", regexp_replace(file, '[0-9]+', '0', 'g') AS kind, customer_id AS id,
                   min(file) AS file, {_plain("customer_id")} AS plain
            FROM ({" UNION ALL ".join(selects)}) GROUP BY ALL"""
    )
    kinds = connection.execute(
        """SELECT source, "table", kind, min(file), count(*) FROM _given GROUP BY ALL ORDER BY ALL"""
    ).fetchall()
    kinds.sort(key=lambda kind: (kind[1] != "orders", -kind[4]))
    found = []
    for place, here in enumerate(kinds):
        others = [there for there in kinds[:place] if there[1] == "orders"]
        if here[4] < FEW or not others:
            continue
        every = f"({' UNION ALL BY NAME '.join(map(_of, others))})"
        met, mended = (
            connection.execute(f"SELECT count(*) FROM {_of(here)} SEMI JOIN {every} USING ({by})").fetchall()[
                0
            ][0]
            for by in ("id", "plain")
        )
        if met <= max(MET * here[4], SOME * mended) and mended - met >= max(2, MENDED * here[4]):
            tried = (_stray(connection, here, there, met) for there in others)
            found += [stray for stray in tried if stray][:1]
    return found


@dataclass(frozen=True)
class Twice:
    """Customer ids that lack the zeros which nearly all have, and are somebody's with those; `id`: one.

    erased: those with the zeros are of persons who were erased; else they are in the log.
    """

    source: str
    file: str
    id: str
    pad: int
    ids: int
    erased: bool


def twice(
    connection: duckdb.DuckDBPyConnection, log: Log, erased: Tombstones, told: Iterable[Stray]
) -> list[Twice]:
    """Of the ids that `strays` looked at before, one of each file. Linked ids are one person already.

    told: whole files of such ids, which are told of as such.
    """
    usual = connection.execute(
        f"""SELECT length(id) FROM (SELECT DISTINCT id FROM _given) WHERE regexp_matches(id, '^\\d+$')
            GROUP BY ALL HAVING count(*) >= {FEW} AND bool_or(starts_with(id, '0'))
                                AND count(*) >= {ALIKE} * (SELECT count(DISTINCT id) FROM _given)"""
    ).fetchall()
    if not usual:
        return []
    ((pad,),) = usual
    connection.register("_merged", log.merges())
    short = connection.execute(
        f"""SELECT g.source, g.file, g.id, w.id IS NOT NULL AS known,
                   coalesce(m.canonical_id, g.id) = coalesce(o.canonical_id, w.id) AS linked
            FROM (SELECT *, lpad(id, {pad}, '0') AS whole FROM _given
                  WHERE length(id) < {pad} AND regexp_matches(id, '^\\d+$')) g
                 LEFT JOIN (SELECT DISTINCT id FROM _given) w ON w.id = whole
                 LEFT JOIN _merged m ON m.customer_id = g.id LEFT JOIN _merged o ON o.customer_id = w.id
            ORDER BY ALL"""
    ).fetchall()
    connection.unregister("_merged")
    whole = {(of.source, of.file) for of in told}
    gone = erased.customers(id.rjust(pad, "0") for _, _, id, known, _ in short if not known)
    found: dict[tuple[str, str, bool], list[str]] = {}
    for source, file, id, known, linked in short:
        was = id.rjust(pad, "0") in gone
        if (source, file) not in whole and not linked and (known or was):
            found.setdefault((source, file, was), []).append(id)
    return [Twice(source, file, ids[0], pad, len(ids), was) for (source, file, was), ids in found.items()]


def _ids(part: Part) -> Iterable[str]:
    """SQL of the customers in each table; what is derived says nothing of its own."""
    for table in part.tables:
        if "customer_id" not in TABLES[table].columns or table in ("order_lines", "identities"):
            continue
        file, rows = "o.file", f"read_parquet('{part.path(table)}', hive_partitioning = false) p"
        named = [name for of, name, kept, *_ in part.account if of == table and kept and name]
        lines = next((name for of, name, *_ in part.account if of == "order_lines" and name), None)
        if not named and table == "orders" and lines:  # they are sums of its lines
            file = "'" + lines.replace("'", "''") + "'"
        elif not named:
            continue
        if file == "o.file":
            rows += f" POSITIONAL JOIN read_parquet('{part.origins(table)}', hive_partitioning = false) o"
        yield f"""SELECT DISTINCT '{part.source}' AS source, '{table}' AS "table", {file} AS file, customer_id
                  FROM {rows} WHERE {file} IS NOT NULL AND customer_id IS NOT NULL"""


def _plain(x: str) -> str:
    """SQL: what is left of a number written as 00101, 101 or 101.0, as `sources/found.py` has it."""
    whole = _WHOLE.format(x=_TRIM.format(x=x))
    return f"regexp_replace({whole}, '^0+(\\d+)$', '\\1')"


def _of(kind: tuple[str, str, str, str, int]) -> str:
    source, table, name = (text.replace("'", "''") for text in kind[:3])
    return f"""(FROM _given WHERE source = '{source}' AND "table" = '{table}' AND kind = '{name}')"""


def _stray(
    connection: duckdb.DuckDBPyConnection,
    here: tuple[str, str, str, str, int],
    there: tuple[str, str, str, str, int],
    met: int,
) -> Stray | None:
    """The way of writing, of the ids here or of those there, in which they meet; None if there is none.

    here, there: source, table, kind of file, a file, ids.
    """
    pairs = f"""(SELECT h.id AS a, t.id AS b FROM {_of(here)} h JOIN {_of(there)} t USING (plain)
                 WHERE h.id <> t.id)"""
    for where, other, a, b in ((here, there, "a", "b"), (there, here, "b", "a")):
        trim = _TRIM.format(x=a)
        whole = _WHOLE.format(x=trim)
        digits = f"(SELECT mode(length({b})) FROM {pairs})"  # a few may lack their zeros
        count, trimmed, whole_, padded, most = connection.execute(
            f"""SELECT count(DISTINCT a), count(*) FILTER (t = {b}), count(*) FILTER (w = {b}),
                       count(*) FILTER (lpad(w, greatest(digits, length(w))::INT, '0') = {b}),
                       any_value(digits)
                FROM (SELECT a, b, {trim} AS t, {whole} AS w, {digits} AS digits FROM {pairs})"""
        ).fetchall()[0]
        if count < max(2, MENDED * here[4]):
            return None
        ways: list[tuple[int, tuple[str, ...], int | None]] = [
            (trimmed, ("trim",), None),
            (whole_, ("trim", "whole"), None),
            (padded, ("trim", "whole"), most),
        ]
        for meets, clean, pad in ways:
            if meets >= ALIKE * count:
                said = f"{other[3]} of {other[0]}"
                return Stray(here[1], where[0], where[3], said, here[4], met, count, clean, pad)
    return None
