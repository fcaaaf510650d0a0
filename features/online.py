"""Packed online rows: one little-endian float32 value a customer, under the build that it came from.

A snapshot is published whole in one transaction, read back and verified by count and content hash, and
only then does one pointer flip. Readers follow the pointer: they see the old rows or the new, never a
mixture, and a crash at any point leaves the old ones readable. The last builds stay, for `rollback`.

    home/online/rows.sqlite   publications   what was published, and its turn: the order in which they
                                             became current; null: not verified yet, 0: withdrawn
                              packed         publication, customer_id (UTF-8), row
                              identities     publication, source, source_id -> customer_id, as in the log
                              pointer        the one publication that readers see
    home/online/publish.lock  held by the one process that publishes; a crash releases it

A key is the exact bytes of an id: "0123" is not "123". `publish`, `current`, `read`, `resolve` and `rollback`
are all that callers use, so that another store can stand behind the same five.
"""

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.builds import KEYS, Build
from features.errors import FeatureError, NoBuild, UsageError
from features.files import locked
from features.moments import from_us, to_us
from features.settings import Settings

PRESENT, EXPIRED, UNKNOWN = 0, 1, 2  # status of a customer in an answer of `read`
KEPT = 3  # publications that stay: the current one, and two to roll back to
_PACKED = np.dtype("<f4")
_AT_ONCE = 500  # ids in one query: well below SQLite's limit of variables, and few different statements
_BUSY = 60.0  # seconds that a writer waits for another; readers of a WAL database never wait

_SCHEMA = """
create table if not exists publications (
    number integer primary key autoincrement, id text not null unique, build text not null,
    moment integer not null, features text not null, rows integer not null, sha256 text not null,
    turn integer
) strict;
create table if not exists packed (
    publication integer not null, customer_id blob not null, row blob not null,
    primary key (publication, customer_id)
) strict, without rowid;
create table if not exists identities (
    publication integer not null, source blob not null, source_id blob not null, customer_id text not null,
    primary key (publication, source, source_id)
) strict, without rowid;
create table if not exists pointer (
    one integer primary key check (one = 1), publication integer not null
) strict;
"""


@dataclass(frozen=True)
class Published:
    """One published snapshot. `features`: name -> hash, in the order of a row's values."""

    id: str  # "<build>@<YYYYmmddTHHMMSSZ>"
    build: str
    moment: datetime
    features: Mapping[str, str]
    rows: int
    number: int  # the store's own key; never used twice


def publish(settings: Settings, build: Build, moment: datetime) -> str:
    """Make one snapshot the rows that readers see, and return its id; the same again changes nothing.

    Raises NoBuild if that moment was not built, FeatureError if the snapshot is not what its build
    declares, or if what was read back is not what was written (readers then keep the old rows).
    """
    id = f"{build.id}@{moment:%Y%m%dT%H%M%SZ}"
    rows = _packed(build, moment)
    features = json.dumps(dict(build.features))
    identities = _identities(settings, build, moment)
    digest = _digest(id, features, rows, identities)
    path = _path(settings)
    with _sole_writer(path) as writer:
        found = writer.execute("select number, sha256, turn from publications where id = ?", (id,)).fetchone()
        if found is not None and found[2] is None:  # left by a publish that was interrupted
            _delete(writer, [found[0]])
            found = None
        if found is not None and found[1] != digest:
            raise FeatureError(
                f"{id} was published with other content than {build.path(moment)} has now. The same build "
                "must have the same rows: a correction is a new build (`propensity features build`)"
            )
        number: int
        if found is not None:
            number = found[0]
        else:
            with _transaction(writer):
                number = writer.execute(
                    "insert into publications (id, build, moment, features, rows, sha256) "
                    "values (?, ?, ?, ?, ?, ?) returning number",
                    (id, build.id, to_us(moment), features, len(rows), digest),
                ).fetchone()[0]
                writer.executemany("insert into packed values (?, ?, ?)", ((number, *row) for row in rows))
                writer.executemany(
                    "insert into identities values (?, ?, ?, ?)", ((number, *row) for row in identities)
                )
            _verify(path, number, id, features, len(rows), digest)
        _flip(writer, number)
        _prune(writer)
    return id


class OnlineRows:
    """Reads published rows. One object serves all threads and forked workers of a process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._path = _path(settings)
        self._local = threading.local()
        self._latest: Published | None = None

    @classmethod
    def open(cls, settings: Settings) -> "OnlineRows":
        """Rows of that home. Nothing need be published yet: `current` says so, and follows once it is."""
        return cls(settings)

    def current(self) -> Published:
        """What is published now (a few microseconds). NoBuild if nothing is."""
        connection = self._connection()
        pointer = connection.execute("select publication from pointer").fetchone()
        if pointer is None:
            raise _nothing(self._path)
        latest = self._latest
        if latest is None or latest.number != pointer[0]:
            self._latest = latest = _pointed(connection)
        return latest

    def read(
        self, published: Published, ids: Sequence[str], as_of: datetime | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Rows of `ids`, in their order and with their duplicates.

        Returns the matrix float32 [n, features], NaN where a customer is not present, and a status
        uint8 [n]: PRESENT, UNKNOWN, or EXPIRED where `as_of` is more than the settings' `expire_after`
        later than the snapshot. NoBuild if the publication was pruned meanwhile: ask `current` again.
        """
        width = len(published.features)
        matrix = np.full((len(ids), width), np.nan, dtype=np.float32)
        status = np.full(len(ids), UNKNOWN, dtype=np.uint8)
        expired = as_of is not None and as_of - published.moment > self._settings.expire_after
        places: dict[bytes, list[int]] = {}
        for place, id in enumerate(ids):
            if not isinstance(id, str):
                raise UsageError(f"customer ids are text, and compared exactly; number {place} is not text")
            # Bytes that are not UTF-8 match no row, which is the right answer for such an id.
            places.setdefault(id.encode("utf-8", "surrogatepass"), []).append(place)
        found = self._rows(published, list(places))
        if any(len(row) != width * _PACKED.itemsize for _, row in found):
            raise FeatureError(
                f"{self._path}: rows of {published.id} are not {width * _PACKED.itemsize} bytes long, as "
                "they were published: something else changed the file; delete it and publish again"
            )
        source = np.full(len(ids), -1)
        for number, (key, _) in enumerate(found):
            for place in places[key]:
                source[place] = number
        present = source >= 0
        status[present] = EXPIRED if expired else PRESENT
        if not expired:
            packed = np.frombuffer(b"".join(row for _, row in found), dtype=_PACKED)
            matrix[present] = packed.reshape(len(found), width)[source[present]]
        return matrix, status

    def resolve(self, pairs: Sequence[tuple[str, str]]) -> list[str | None]:
        """The customer of each (source, source id), as published now; None where it belongs to nobody."""
        query = (
            "select customer_id from identities join pointer using (publication) "
            "where source = ? and source_id = ?"
        )
        connection = self._connection()
        found: list[str | None] = []
        for pair in pairs:
            keys = [part.encode("utf-8", "surrogatepass") for part in pair]
            row = connection.execute(query, keys).fetchone()
            found.append(row and row[0])
        return found

    def rollback(self) -> Published:
        """Flip the pointer to what was current before; what is withdrawn is never rolled back to.

        Publish it again to bring it back. NoBuild if there is nothing before.
        """
        with _sole_writer(self._path) as writer, _transaction(writer):
            current = self.current()
            before = writer.execute(
                "select number from publications where turn > 0 and number != ? order by turn desc limit 1",
                (current.number,),
            ).fetchone()
            if before is None:
                raise NoBuild(
                    f"{self._path} holds nothing from before {current.id} to roll back to: "
                    "publish another snapshot (`propensity features build`)"
                )
            writer.execute("update pointer set publication = ?", before)
            writer.execute("update publications set turn = 0 where number = ?", (current.number,))
        return self.current()

    def _rows(self, published: Published, keys: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        connection = self._connection()
        rows: list[tuple[bytes, bytes]] = []
        with _transaction(connection, "begin"):  # one view: a prune meanwhile cannot empty the answer
            alive = connection.execute("select 1 from publications where number = ?", (published.number,))
            if alive.fetchone() is None:
                raise NoBuild(f"{published.id} is no longer kept in {self._path}: read what is current")
            for start in range(0, len(keys), _AT_ONCE):
                some = keys[start : start + _AT_ONCE]
                marks = ",".join("?" * len(some))
                query = (
                    f"select customer_id, row from packed where publication = ? and customer_id in ({marks})"
                )
                rows += connection.execute(query, (published.number, *some)).fetchall()
        return rows

    def _connection(self) -> sqlite3.Connection:
        """This thread's connection. A forked child opens its own, and leaves its parent's untouched."""
        opened: dict[int, sqlite3.Connection] | None = getattr(self._local, "opened", None)
        if opened is None:
            opened = self._local.opened = {}
        process = os.getpid()
        if process not in opened:
            opened[process] = _reader(self._path)
        return opened[process]


def _path(settings: Settings) -> Path:
    return settings.home / "online" / "rows.sqlite"


def _nothing(path: Path) -> NoBuild:
    return NoBuild(f"no features are published in {path}: run `propensity features build`")


def _reader(path: Path) -> sqlite3.Connection:
    """A read-only connection. NoBuild if there is no file, or one without the tables yet."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    except sqlite3.OperationalError:
        if path.exists():
            raise
        raise _nothing(path) from None
    if connection.execute("select 1 from sqlite_master where name = 'pointer'").fetchone() is None:
        connection.close()
        raise _nothing(path)
    return connection


@contextmanager
def _sole_writer(path: Path) -> Iterator[sqlite3.Connection]:
    """A writing connection, for one process at a time; the lock file dies with its holder."""
    with (
        locked(path.parent / "publish.lock"),
        closing(sqlite3.connect(path, timeout=_BUSY, isolation_level=None)) as connection,
    ):
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.executescript(_SCHEMA)
        yield connection


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str = "begin immediate") -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")


def _packed(build: Build, moment: datetime) -> list[tuple[bytes, bytes]]:
    """Every (customer, row) of a snapshot, bytewise by customer."""
    table = build.read(moment)
    names = list(build.features)
    if table.column_names[len(KEYS) :] != names:
        raise FeatureError(
            f"{build.path(moment)} does not have the columns that its manifest declares, in that order: "
            "delete the build's folder and run `propensity features build`"
        )
    matrix = np.empty((table.num_rows, len(names)), dtype=_PACKED)
    for place, name in enumerate(names):
        column = table.column(name)
        if str(column.type) != "float" or column.null_count:
            raise FeatureError(
                f"{build.path(moment)}: {name} is {column.type} with {column.null_count} nulls, "
                "where float32 with NaN for null is expected: run `propensity features build` again"
            )
        matrix[:, place] = column.to_numpy()
    ids = [id.encode() for id in table.column("customer_id").to_pylist()]
    return sorted(zip(ids, (row.tobytes() for row in matrix), strict=True))


def _identities(settings: Settings, build: Build, moment: datetime) -> list[tuple[bytes, bytes, str]]:
    """(source, source id, customer) known by the moment; none if the build's log has no such table."""
    import pyarrow.parquet as pq

    rows = []
    for path in sorted((settings.home / "log" / build.log / "identities").glob("*.parquet")):
        for row in pq.read_table(path, partitioning=None).to_pylist():
            if row["known_at"] <= moment:
                rows.append((row["source"].encode(), row["source_id"].encode(), row["customer_id"]))
    return sorted(rows)


def _digest(
    id: str,
    features: str,
    rows: Iterable[tuple[bytes, bytes]],
    identities: Iterable[tuple[bytes, bytes, str]],
) -> str:
    """Hex digest over all that a publication holds; rows and identities in the order of their keys."""
    sha = hashlib.sha256(f"{id}\n{features}\n".encode())
    for key, row in rows:
        sha.update(len(key).to_bytes(4, "little") + key + row)
    for source, source_id, customer in identities:
        sha.update(repr((source, source_id, customer)).encode())
    return sha.hexdigest()


def _verify(path: Path, number: int, id: str, features: str, count: int, digest: str) -> None:
    """Read back, on another connection, what was committed. FeatureError if it is not what was meant."""
    with closing(_reader(path)) as connection:
        rows = connection.execute(
            "select customer_id, row from packed where publication = ? order by customer_id", (number,)
        )
        stored = rows.fetchall()
        identities = connection.execute(
            "select source, source_id, customer_id from identities where publication = ? "
            "order by source, source_id",
            (number,),
        ).fetchall()
        if len(stored) != count or _digest(id, features, stored, identities) != digest:
            raise FeatureError(
                f"{path}: read back of {id}: other than what was written ({len(stored)} of {count} rows). "
                "Readers keep the old rows; check the disk, then publish again"
            )


def _flip(writer: sqlite3.Connection, number: int) -> None:
    """Make a verified publication the current one, with the next turn; nothing to do if it is already."""
    if writer.execute("select publication from pointer").fetchone() == (number,):
        return
    with _transaction(writer):
        writer.execute("insert or replace into pointer values (1, ?)", (number,))
        last = writer.execute("select coalesce(max(turn), 0) from publications").fetchone()[0]
        writer.execute("update publications set turn = ? where number = ?", (last + 1, number))


def _prune(writer: sqlite3.Connection) -> None:
    """Keep the last publications by turn; withdrawn and unverified ones go first."""
    gone = writer.execute(
        "select number from publications where turn is null or number not in "
        f"(select number from publications order by turn desc nulls last limit {KEPT})"
    ).fetchall()
    _delete(writer, [number for (number,) in gone])
    writer.execute("pragma wal_checkpoint(truncate)").fetchall()


def _delete(writer: sqlite3.Connection, numbers: Iterable[int]) -> None:
    with _transaction(writer):
        for number in numbers:
            writer.execute("delete from packed where publication = ?", (number,))
            writer.execute("delete from identities where publication = ?", (number,))
            writer.execute("delete from publications where number = ?", (number,))


def _pointed(connection: sqlite3.Connection) -> Published:
    """The current publication, in one query: the pointer may flip between two."""
    number, id, build, moment, features, rows = connection.execute(
        "select number, id, build, moment, features, rows "
        "from publications, pointer where number = publication"
    ).fetchone()
    return Published(id, build, from_us(moment), json.loads(features), rows, number)
