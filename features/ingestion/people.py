"""Who is who: a source's id that was given to two customers says that the two are one person.

Her canonical id is the customer_id that was known earliest, of several the smallest text. Every table then
speaks of the canonical id, also of the past: identity merges rewrite history, and nothing else does.
"""

from collections.abc import Sequence
from datetime import datetime

import duckdb
import pyarrow as pa

from features.ingestion.parts import Part, holders

MERGES = pa.schema(
    [("customer_id", pa.string()), ("canonical_id", pa.string()), ("since", pa.timestamp("us", "UTC"))]
)


def merges(connection: duckdb.DuckDBPyConnection, parts: Sequence[Part]) -> pa.Table:
    """Every id that is no longer its person's: customer_id, canonical_id, and since when that is known."""
    files = [str(part.path("identities")) for part in holders(parts, "identities")]
    if not files:
        return MERGES.empty_table()
    # Of each source's id: its customers in the order in which they were named. Most have one.
    links = connection.execute(
        f"""SELECT list(customer_id ORDER BY known_at, customer_id),
                   list(known_at ORDER BY known_at, customer_id)
            FROM (SELECT source, source_id, customer_id, min(known_at) AS known_at
                  FROM read_parquet({files}, hive_partitioning = false) GROUP BY ALL)
            GROUP BY source, source_id HAVING count(*) > 1"""
    ).fetchall()
    edges = sorted(
        (at, ids[0], other) for ids, ats in links for other, at in zip(ids[1:], ats[1:], strict=True)
    )
    people = _people(edges)
    canonical = _canonical(connection, parts, people)
    since = _since(edges, canonical)
    rows = [
        {"customer_id": id, "canonical_id": canonical[id], "since": since[id]}
        for id in sorted(canonical)
        if canonical[id] != id
    ]
    return pa.Table.from_pylist(rows, schema=MERGES)


def _people(edges: Sequence[tuple[datetime, str, str]]) -> list[set[str]]:
    """The ids of each person who has several: each link joins two sets."""
    of: dict[str, set[str]] = {}
    for _, a, b in edges:
        one, two = sorted((of.get(a, {a}), of.get(b, {b})), key=len)
        if one is not two:
            two |= one
            of |= dict.fromkeys(one, two)
        of |= {a: two, b: two}
    return list({id(ids): ids for ids in of.values()}.values())


def _canonical(
    connection: duckdb.DuckDBPyConnection, parts: Sequence[Part], people: Sequence[set[str]]
) -> dict[str, str]:
    """id -> the id of the person."""
    if not people:
        return {}
    files = [str(p.path(table)) for table in ("customers", "identities") for p in holders(parts, table)]
    connection.register("several", pa.table({"customer_id": sorted(set().union(*people))}))
    known = dict(
        connection.execute(
            f"""SELECT customer_id, min(known_at)
                FROM read_parquet({files}, hive_partitioning = false, union_by_name = true)
                     SEMI JOIN several USING (customer_id) GROUP BY ALL"""
        ).fetchall()
    )
    connection.unregister("several")
    return {id: min(ids, key=lambda i: (known[i], i)) for ids in people for id in ids}


def _since(edges: Sequence[tuple[datetime, str, str]], canonical: dict[str, str]) -> dict[str, datetime]:
    """id -> the moment from which a chain of known links leads from it to its canonical id."""
    since: dict[str, datetime] = {}
    group: dict[str, set[str]] = {}
    for at, a, b in edges:
        one, two = group.get(a, {a}), group.get(b, {b})
        if one is two:
            continue
        whole = one | two
        for half, other in ((one, two), (two, one)):
            if canonical[a] in other:
                since |= dict.fromkeys(half, at)
        group |= dict.fromkeys(whole, whole)
    return since
