"""Whose a rejected row is, or a correction of one: what an erasure must find, however the row came to be.

A reject is of the customer that was read; of a record that could not be read, any field may be the id,
however a mapping would have written it (00101 of 101.0): rather a line too many goes than one too few. A
correction is of whoever it names, of whom the reject named that it corrects, and of whom its record names: a
spreadsheet makes 241 of 000241, and the row is still that person's.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from features import duck
from features.errors import PropensityError
from features.ingestion.mended import REJECT_ID
from features.ingestion.records import RECORD
from features.shop import Shop
from features.sources.mapping import declaration
from features.sources.raw import literal, quoted
from features.sources.values import MACROS, text
from features.tombstones import Tombstones

DIGITS = 20  # of an id that is a number, with the zeros before it


# SQL: the ids that a mapping may make of a field `f`: 00101 and 101 of 101.0, in capitals or not.
_PLAIN = r"ltrim(regexp_replace(f, '\.0+$', ''), '0')"
_SPELLINGS = rf"""CASE WHEN regexp_full_match(f, '\d{{1,{DIGITS}}}(\.0+)?')
                      THEN list_concat([f], list_transform(range(greatest(1, length({_PLAIN})), {DIGITS + 1}),
                                                           lambda n: lpad({_PLAIN}, n::INTEGER, '0')))
                      ELSE [f, lower(f), upper(f)] END"""


def _fields(record: str) -> str:
    """SQL: what may be an id in a record that could not be read: alone, and with its source before it."""
    between = literal(r'[,;|\t\r\n"\[\]{}]|: ?')
    parts = f"list_concat(regexp_split_to_array({record}, {between}), (TRY_CAST({record} AS JSON)->>'$.*'))"
    trimmed = f"list_filter(list_transform({parts}, lambda f: trim(f)), lambda f: f <> '')"
    spelt = f"flatten(list_transform({trimmed}, lambda f: {_SPELLINGS}))"
    return f"list_concat({spelt}, list_transform({spelt}, lambda f: source || chr(31) || f))"


# SQL over a reject: the ids that may say whose it is. A link that was refused has one side alone.
WHOSE = f"""CASE WHEN (row->>'$.customer_id') IS NOT NULL THEN [row->>'$.customer_id']
                 WHEN "table" = 'identities' AND (row->>'$.source_id') IS NOT NULL
                 THEN [(row->>'$.source') || chr(31) || (row->>'$.source_id')]
                 WHEN (TRY_CAST(row->>'$._given' AS JSON)->'file') IS NULL
                 THEN {_fields("row->>'$._given'")} END"""


def erased(rows: duckdb.DuckDBPyRelation, tombstones: Tombstones) -> list[str]:
    """Those of the ids, as `WHOSE` gives them in the first column, that are of people who were erased."""
    ids = {id for (one,) in rows.distinct().fetchall() for id in one or () if id}
    plain = {id for id in ids if chr(31) not in id}
    pairs = {(pair[0], pair[1]) for id in ids - plain if len(pair := id.split(chr(31), 1)) == 2}
    return sorted(tombstones.customers(plain) | {chr(31).join(p) for p in tombstones.identities(pairs)})


def of_erased(connection: duckdb.DuckDBPyConnection, rejects: str, tombstones: Tombstones) -> str | None:
    """SQL of a condition over a reject: it is of somebody who was erased; None if none of them is.

    rejects: SQL of the rows.
    """
    gone = erased(connection.sql(f"SELECT {WHOSE} FROM {rejects}"), tombstones)
    if not gone:
        return None
    connection.register("erased_ids", pa.table({"id": pa.array(gone, pa.string())}))
    return f"coalesce(list_has_any({WHOSE}, (SELECT list(id) FROM erased_ids)), false)"


def rejects_of(paths: Sequence[Path], tombstones: Tombstones) -> set[str]:
    """The keys of the rejects in those files that are of somebody who was erased (see `REJECT_ID`)."""
    if not paths:
        return set()
    rows = f"read_parquet({[str(path) for path in paths]}, hive_partitioning = false)"
    with duck.connect() as connection:
        hers = of_erased(connection, rows, tombstones)
        found = connection.execute(f"SELECT DISTINCT {REJECT_ID} FROM {rows} WHERE {hers}") if hers else None
        return {key for (key,) in found.fetchall()} if found else set()


def corrections_of(path: Path, shop: Shop, rejects: set[str], tombstones: Tombstones) -> list[int]:
    """The rows of a taken file, from 0, that are of somebody who was erased.

    rejects: the keys of the rejects that are.
    """
    rows = pq.read_table(path)
    have = rows.column_names
    ids: list[set[str]] = [set() for _ in range(len(rows))]
    if "customer_id" in have:
        for place, id in enumerate(rows["customer_id"].cast(pa.string()).to_pylist()):
            ids[place] |= {id} if id else set()
    if RECORD in have:
        with duck.connect() as connection:
            for macro in MACROS:
                connection.execute(macro)
            taken = f"""(SELECT file_row_number AS _row, source, "table", {quoted(RECORD)} AS record
                         FROM read_parquet({literal(path)}, file_row_number = true))"""
            for source, table in connection.execute(
                f'SELECT DISTINCT source, "table" FROM {taken}'
            ).fetchall():
                if source is not None:
                    here = (
                        f"""(FROM {taken} WHERE source = {literal(source)} AND "table" = {literal(table)})"""
                    )
                    for place, named in _of_records(connection, here, shop, source, table):
                        ids[place] |= set(named)
    listed = pa.table({"ids": pa.array([sorted(one) for one in ids], pa.list_(pa.string()))})
    with duck.connect() as connection:
        gone = set(erased(connection.from_arrow(listed), tombstones))
    keys = rows["reject"].to_pylist() if "reject" in have else [None] * len(rows)
    return [n for n, key in enumerate(keys) if key in rejects or not gone.isdisjoint(ids[n])]


def _of_records(
    connection: duckdb.DuckDBPyConnection, rows: str, shop: Shop, source: str, table: str
) -> list[tuple[int, list[str]]]:
    """(_row, ids) of records: as the mapping reads its files; where it cannot, any field may be an id."""
    keys = connection.execute(
        f"SELECT DISTINCT unnest(json_keys(TRY_CAST(record AS JSON))) FROM {rows} WHERE record LIKE '{{%'"
    ).fetchall()
    cells = "".join(f", TRY_CAST(record AS JSON)->>{literal(_path(k))} AS {quoted(k)}" for (k,) in keys)
    read: list[str] = []
    try:
        readings = declaration(shop, source, find=False).readings if source in shop.mappings else ()
    except PropensityError:  # a mapping that is broken by now must not keep her here
        readings = ()
    elsewhere = False  # whose a record is says another file: its order's
    for reading in (one for one in readings if one.table == table):
        value = reading.values.get("customer_id")
        if value is None:
            elsewhere = True
        else:
            sql = f"SELECT _row, [{text(value)}] AS ids FROM (SELECT _row{cells} FROM {rows})"
            try:
                connection.sql(sql).fetchall()
            except duckdb.Error:  # another kind of file, with other columns
                continue
            read.append(sql)
    which = "record NOT LIKE '{%' OR (TRY_CAST(record AS JSON)->>'_more') IS NOT NULL"
    which = which if read or elsewhere else "true"
    guessed = f"SELECT _row, {_fields('record')} AS ids FROM {rows} WHERE {which}"
    found: list[tuple[int, list[str]]] = []
    for sql in (*read, guessed):
        found += [(n, [id for id in ids if id]) for n, ids in connection.execute(sql).fetchall() if ids]
    return found


def _path(key: str) -> str:
    return '$."{}"'.format(key.replace('"', '""'))
