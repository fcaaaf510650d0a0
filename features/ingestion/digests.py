"""What was known on each day, as a number a table and day: who built on a day sees whether it still holds.

    log/<generation>/digests.json    of every file: the version, and per UTC day of known_at (of a table
                                     without known_at: the day ""): rows, sum and xor of the rows' hashes

A digest does not depend on the order of rows, nor on which source or file a row lies in, so those of
several files add up. DuckDB's hash is the same on every machine for one release of DuckDB, and only there:
the version goes into each digest, and another version's digests equal none of these.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import duckdb

from features.tables import Table

VERSION = f"1, duckdb {duckdb.__version__}"
_BITS = 1 << 64

Days = dict[str, tuple[int, int, int]]  # day -> rows, sum modulo 2**64, xor


def of_file(connection: duckdb.DuckDBPyConnection, table: Table, path: Path) -> Days:
    """What one parquet file of that table holds of each day."""
    columns = ", ".join(f'"{c}"' for c in table.columns)
    day = "(known_at AT TIME ZONE 'UTC')::DATE::VARCHAR" if "known_at" in table.columns else "''"
    rows = connection.execute(
        f"""SELECT day, count(*), sum(h::HUGEINT) % {_BITS}, bit_xor(h)
            FROM (SELECT {day} AS day, hash({columns}) AS h
                  FROM read_parquet('{path}', hive_partitioning = false))
            GROUP BY day ORDER BY day"""
    ).fetchall()
    return {day: (int(n), int(total), int(xor)) for day, n, total, xor in rows}


def write(path: Path, files: Mapping[str, Mapping[str, Days]]) -> None:
    """table -> source -> days, beside the files that they are of."""
    path.write_text(json.dumps({"version": VERSION, "files": files}, sort_keys=True), "utf-8")


def read_files(path: Path) -> dict[str, dict[str, Days]]:
    """What `write` wrote; nothing if there is none, or if it is another version's."""
    if not path.exists():
        return {}
    raw = json.loads(path.read_text("utf-8"))
    if raw["version"] != VERSION:
        return {}
    return {
        table: {source: {day: tuple(n) for day, n in days.items()} for source, days in by.items()}
        for table, by in raw["files"].items()
    }


def of_log(path: Path) -> dict[str, dict[str, str]]:
    """table -> UTC day -> digest over the rows of all sources; empty if this version wrote none."""
    result: dict[str, dict[str, str]] = {}
    for table, sources in read_files(path).items():
        total: Days = {}
        for days in sources.values():
            for day, (n, add, xor) in days.items():
                before = total.get(day, (0, 0, 0))
                total[day] = (before[0] + n, (before[1] + add) % _BITS, before[2] ^ xor)
        result[table] = {
            day: hashlib.sha256(json.dumps([VERSION, *numbers]).encode()).hexdigest()[:16]
            for day, numbers in sorted(total.items())
        }
    return result
