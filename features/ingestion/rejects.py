"""Rows that broke a contract: look at them, hand them out to be mended, take the mended ones in.

    rejects/<generation>/<source>.parquet   what the log in force did not take in; `mended` once it was
    rejects/taken/<number>-<sha>.parquet    mended rows as a person gave them back, each with its reject's id

What the sheet shows, and how it is read back: `sheet.py`. Taken in, a time may be written either way; a
number that could not be read, or was empty, is one of its file (its decimal sign, its scale). One typed over
a number that was read may be written either way, if both mean the same: else it is refused, as is an amount
with more decimals than the currency has. Rows that come back as they went out are no corrections.

Mended rows are a source of their own, `mended`, under the same contracts; in the log it yields to the sources
of the shop, so a row that the shop's own files bring after all is there once. Its origin leads back to the
reject, and from there to the file and row.

When is a mended row known? Until features are built of a log, nobody has used what it lacked: then, when its
file says. Afterwards every snapshot up to the log's end was made without it, so it is known from that end on,
as the log stood when it was taken in: what was known before stays as it was. A `known_at` that the mapping
reads, or that the person gives, holds.

What a mended row does to its order: `additions.py`. Of several corrections of one reject the last one counts.
One that is no better is `refused` where it was taken: it never counts, so its reject waits, or stays mended
as an earlier correction has it.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from features import duck
from features.files import locked, read_pointer, sha256
from features.ingestion.folding import NOT_MENDED
from features.ingestion.ingest import Count, Ingested, take, taken_of
from features.ingestion.mended import MENDED, REJECT_ID
from features.ingestion.offenders import at_fault, repeated
from features.ingestion.records import HEAD, RECORD, in_sheet
from features.ingestion.sheet import exported, files, read
from features.ingestion.taken import corrections
from features.log import Log
from features.settings import Settings
from features.shop import shop_of
from features.sources.corrected import readings_of
from features.sources.raw import literal
from features.tables import TABLES
from features.tombstones import Tombstones

NO_REJECT = "it belongs to no row that was rejected"


@dataclass(frozen=True)
class Reason:
    """How many rows of a table a source could not bring for a reason, and how many were mended."""

    source: str
    table: str
    reason: str
    rows: int
    mended: int


def reasons(settings: Settings) -> list[Reason]:
    """What was rejected and why, the most frequent first."""
    with_rejects = duck.connect()
    rows = with_rejects.execute(
        f"""SELECT source, "table", reason, count(*), count(*) FILTER (WHERE mended)
            FROM {files(settings)} GROUP BY ALL ORDER BY 4 DESC, source, "table", reason"""
    ).fetchall()
    with_rejects.close()
    return [Reason(*row) for row in rows]


def export(settings: Settings, path: Path, source: str | None = None, table: str | None = None) -> int:
    """Write the rows that wait for mending as CSV; return how many.

    Correct the columns after `reason`, leave those before, and give the file to `take_in`. `row` is that of
    the source's file, from 1, a header left out.
    """
    connection = duck.connect()
    where = "NOT mended"
    for column, value in (("source", source), ("table", table)):
        if value is not None:
            where += f' AND "{column}" = {literal(value)}'
    rows, columns = exported(connection, settings, where)
    names = ", ".join(f'"{c}"' for c in (*HEAD, *map(in_sheet, columns), RECORD))
    path.parent.mkdir(parents=True, exist_ok=True)
    (count,) = connection.execute(
        f"""COPY (SELECT {names} FROM {rows} ORDER BY source, "table", file, "row")
            TO {literal(path)} (HEADER, DELIMITER ',')"""
    ).fetchall()[0]
    connection.close()
    return int(count)


def take_in(settings: Settings, path: Path, dry_run: bool = False) -> Ingested:
    """Take mended rows into the log. The same file again changes nothing.

    A row that belongs to no reject (any more: its person was erased, or its file put right) is left out, and
    told in the account (`strangers`). UsageError if the file is not one that `export` wrote, or no other row
    of it was corrected.
    """
    folder = settings.home / "rejects" / "taken"
    shop = shop_of(settings)
    with locked(folder / ".lock"):
        before = taken_of(settings)
        sha = sha256(path)[:16]
        if same := [one for one in before if one.stem.endswith(sha)]:
            done = take(settings, [corrections(shop, before)])
            refused = _refused(same[0], _unsettled(settings, before[before.index(same[0]) + 1 :]))
            return replace(done, account=_summed((*done.account, *refused)))
        fresh = folder / f"{len(before) + 1:06}-{sha}.parquet"
        writing = folder / f".{fresh.name}"
        try:
            read(settings, path, before, writing, known_from(settings))
            writing.rename(fresh)
            # Tried first: a correction that is no better must not push an earlier one out of the log.
            erased = bool(Tombstones.of(settings))
            done = tried = take(
                settings,
                [corrections(shop, [*before, fresh])],
                dry_run=dry_run or erased,
                unless=lambda done: any(file == fresh.stem for file, *_ in done.in_vain),
            )
            if reasons := {line: why for file, line, why in tried.in_vain if file == fresh.stem}:
                rows = pq.read_table(fresh)
                column = pa.array([reasons.get(line) for line in range(len(rows))], pa.string())
                pq.write_table(rows.append_column("refused", column), fresh)
            if reasons or erased and not dry_run:
                done = take(settings, [corrections(shop, [*before, fresh])], dry_run=dry_run)
            account = _summed((*done.account, *_refused(fresh)))
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        finally:
            writing.unlink(missing_ok=True)
        if dry_run:
            fresh.unlink()
        others = (s for s in done.samples if s.file != fresh.stem)
        named = (
            replace(s, file=path.name, reason=_told(s.table, s.reason))
            for s in tried.samples
            if s.file == fresh.stem
        )
        return replace(done, account=account, samples=(*named, *others))


def _told(table: str, reason: str) -> str:
    """A reason as whoever mends reads it: with the export's names of columns."""
    for column in at_fault(table, reason):
        reason = re.sub(rf"\b{column}\b", in_sheet(column), reason, count=1)
    return reason


def _summed(account: Sequence[Count]) -> tuple[Count, ...]:
    """One count of rows that went one way for one reason."""
    rows: Counter[Count] = Counter()
    for count in account:
        rows[replace(count, rows=0)] += count.rows
    return tuple(replace(count, rows=n) for count, n in rows.items())


def _unsettled(settings: Settings, later: Sequence[Path]) -> set[str]:
    """The rejects of which a sheet that was taken may still say that it mended nothing: they are there, and
    no later one mended them."""
    with duck.connect() as connection:
        found = connection.execute(f"SELECT {REJECT_ID} FROM {files(settings)}").fetchall()
    still = {reject for (reject,) in found}
    for path in later:
        rows = pq.read_table(path).to_pylist()
        still -= {row["reject"] for row in rows if not row["unchanged"] and not row.get("refused")}
    return still


def _refused(taken: Path, of: set[str] | None = None) -> list[Count]:
    """The corrections of a taken file that were no better, as an account has them. of: of these rejects."""
    rows = pq.read_table(taken).to_pylist()
    told = [row for row in rows if row.get("refused") and (of is None or row["reject"] in of)]
    kinds = Counter((row["table"], _told(row["table"], row["refused"])) for row in told)
    kinds.update((row["table"] or "", NO_REJECT) for row in rows if row["reject"] is None)
    return [
        Count(table, taken.stem, False, NOT_MENDED + why, n, True, MENDED)
        for (table, why), n in sorted(kinds.items())
    ]


def strangers(done: Ingested) -> int:
    """How many rows of the file belong to no reject."""
    return sum(count.rows for count in done.account if count.what == NOT_MENDED + NO_REJECT)


def mended_products(done: Ingested) -> int:
    """How many rows of catalogues were mended, in all."""
    return sum(c.rows for c in done.account if (c.source, c.table, c.accepted) == (MENDED, "products", True))


def in_vain(done: Ingested) -> int:
    """How many corrections were no better; not those whose row the shop's own files brought meanwhile."""
    return sum(
        count.rows
        for count in done.account
        if count.what.startswith(NOT_MENDED)
        and count.what != NOT_MENDED + NO_REJECT
        and not repeated(count.what.removeprefix(NOT_MENDED))
    )


def with_commas(settings: Settings, source: str | None = None) -> list[str]:
    """The mappings, or the one, of which files write 12,50 for what the log has as 12.50."""
    shop = shop_of(settings)
    all = [(name, r) for name in shop.mappings for table in TABLES for r, _ in readings_of(shop, name, table)]
    commas = (name for name, r in all if "," in {v.habits.decimal for v in r.values.values()})
    return [name for name in dict.fromkeys(commas) if source in (None, name)]


def known_from(settings: Settings) -> datetime | None:
    """From when on a row that is taken in now is known; None: from when its file says."""
    built = read_pointer(settings.home / "snapshots" / "CURRENT") is not None
    return Log.open(settings).complete_until if built else None
