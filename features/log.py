"""The customer log: where it lies, and how to read it. What its tables hold: `tables.py`.

Canonical parquet: UTC microseconds, text ids as given, money as decimal in the shop's currency. Rows are
immutable facts with `at` (when it happened) and `known_at` (when we could know it). A return or a
correction is a new row with a `ref`; nothing is updated in place, so the past as known then can be rebuilt.

    log/<generation>/<table>/<source>.parquet
    log/<generation>/merges.parquet      customer_id, canonical_id, since: see `people.py`
    log/<generation>/manifest.json       per table and source: rows, sha256; what the log states of itself
    log/<generation>/digests.json        what was known on each day: see `digests.py`
    log/CURRENT                          the generation in force
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import LogError
from features.files import read_pointer, sha256
from features.moments import midnight, parse_moment
from features.settings import Settings
from features.tables import OURS, TABLES
from features.tombstones import Tombstones

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc

DERIVED_TAGS = "derived_tags"  # the source of the tags that we derive ourselves: see `tagging.py`
LEDGER = "propensity_ledger"  # the source of what became of our own decisions: `propensity ledger export`


@dataclass(frozen=True)
class Log:
    """One generation of the customer log on disk; immutable, so its fingerprint names its content."""

    folder: Path
    fingerprint: str
    starts_at: datetime  # of the orders
    complete_until: datetime  # everything up to here is in the log: what makes a label mature
    shop: dict[str, object]  # `Shop.of_log` when it was ingested
    files: dict[str, dict[str, dict[str, object]]]  # table -> source -> {"rows", "sha256"}
    erased: str = ""  # digest of the tombstones that it obeys
    by: datetime | None = None  # of a log `known_by` a moment: what `read` and `merges` leave out came later

    @classmethod
    def open(cls, settings: Settings) -> "Log":
        """The log in force. LogError if nothing has been ingested."""
        root = settings.home / "log"
        current = read_pointer(root / "CURRENT")
        if current is None:
            raise LogError(f"there is no customer log in {root}: run `propensity ingest`")
        log = cls.at(root / current)
        if log.erased != Tombstones.of(settings).digest:
            raise LogError(
                "somebody was erased, but is still in the log: an erasure runs, or was interrupted. "
                "Run the same `propensity erase` again, or `propensity ingest`"
            )
        return log

    @classmethod
    def at(cls, folder: Path) -> "Log":
        """The generation in a folder. LogError if it is not there."""
        try:
            raw = json.loads((folder / "manifest.json").read_text("utf-8"))
        except FileNotFoundError:
            raise LogError(f"{folder} holds no customer log: run `propensity ingest`") from None
        return cls(
            folder=folder,
            fingerprint=folder.name,
            starts_at=parse_moment(raw["starts_at"]),
            complete_until=parse_moment(raw["complete_until"]),
            shop=raw["shop"],
            files=raw["files"],
            erased=raw.get("erased", ""),
        )

    def known_by(self, moment: datetime) -> "Log":
        """As it was known at a moment: without the rows of later, and complete until then at most."""
        return replace(self, by=moment, complete_until=min(self.complete_until, moment))

    def latest(self, settings: Settings) -> datetime:
        """The moment that is meant where nobody names one: what "now" was put to be, if the log is complete
        until then; else the last 00:00 UTC for which it is, no later than now."""
        put = settings.as_of
        if put is not None and put <= self.complete_until:
            return put
        return midnight(min(settings.now(), self.complete_until))

    @property
    def tables(self) -> frozenset[str]:
        """Names of the tables that this log has; a table that a shop lacks is absent.

        Tags that were all derived from features are none of the shop's: then there is no table of tags.
        """
        return frozenset(name for name, sources in self.files.items() if set(sources) != {DERIVED_TAGS})

    @property
    def digests(self) -> dict[str, dict[str, str]]:
        """table -> UTC day of known_at -> digest over the rows known that day, of all sources together.

        Equal digests: the same rows, in whatever order and files. Empty if another version wrote them.
        Read from disk at every call. What has no known_at (products) has the one day "".
        """
        from features.ingestion import digests  # loads DuckDB, which the service must not

        return digests.of_log(self.folder / "digests.json")

    def paths(self, table: str) -> list[Path]:
        """The parquet files of a table, one a source, in a fixed order. LogError if the log lacks it."""
        if table not in self.files:
            raise LogError(f"this log has no table {table}; it has {', '.join(sorted(self.files))}")
        return [self.folder / table / f"{source}.parquet" for source in sorted(self.files[table])]

    def merges(self) -> "pa.Table":
        """Ids that are no longer their person's: customer_id, canonical_id, since (when that was known)."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        by = None if self.by is None else pc.field("since") <= pc.scalar(self.by)
        return pq.read_table(self.folder / "merges.parquet", filters=by, partitioning=None)

    def damaged(self) -> list[Path]:
        """Files that are gone or are not what was written; reads all of them."""
        return [
            path
            for table, sources in self.files.items()
            for path, (_, facts) in zip(self.paths(table), sorted(sources.items()), strict=True)
            if not path.exists() or sha256(path) != facts["sha256"]
        ]

    def lacking(self) -> dict[str, list[str]]:
        """table -> columns that a file of it is older than; reads the files' footers."""
        import pyarrow.parquet as pq

        found: dict[str, dict[str, None]] = {}
        for table in self.files:
            for path in self.paths(table):
                there = set(pq.read_schema(path).names)
                absent = [column for column in TABLES[table].columns if column not in there]
                found.setdefault(table, {}).update(dict.fromkeys(absent))
        return {table: list(columns) for table, columns in found.items() if columns}

    def read(
        self, table: str, columns: Iterable[str] | None = None, where: "pc.Expression | None" = None
    ) -> "pa.Table":
        """A whole table, or those columns of it and the rows of which `where` holds, sources one after
        another."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        if self.by is not None and "known_at" in TABLES[table].columns:
            by = pc.field("known_at") <= pc.scalar(self.by)
            where = by if where is None else where & by
        wanted = None if columns is None else list(columns)
        read = (
            pq.read_table(path, columns=wanted, filters=where, partitioning=None)
            for path in self.paths(table)
        )
        return pa.concat_tables(read if wanted else (self.completed(table, rows) for rows in read))

    def completed(self, table: str, rows: "pa.Table") -> "pa.Table":
        """Whole rows of one source, with the columns that its file may be older than: null, not known."""
        columns = TABLES[table].columns
        new = [column for column in OURS if column in columns and column not in rows.column_names]
        if not new:
            return rows
        import pyarrow as pa

        from features.ingestion.canonical import arrow_schema

        types = arrow_schema(TABLES[table], int(str(self.shop["exponent"])))
        for column in new:
            rows = rows.append_column(types.field(column), pa.nulls(len(rows), types.field(column).type))
        return rows.select([column for column in columns if column in rows.column_names])
