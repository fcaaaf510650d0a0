"""Packed rows in one SQLite file of the home: the store of one machine. Readers never wait for a writer.

publications   what was published, and its turn: the order in which they became current; null: not verified
               yet, or going; 0: withdrawn
packed         publication, customer_id (UTF-8), row
overlays       publication, customer_id, the moment at which it was known, row
identities     publication, source, source_id -> customer_id, as in the log
pointer        the one publication that readers see

A publication is written and dropped in many small transactions, so that an overlay need not wait for one
of 200,000 rows; what a crash leaves of either has no turn.
"""

import json
import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from features.errors import OnlineUnavailable
from features.files import refused
from features.moments import from_us, to_us
from features.online.packed import (
    AT_ONCE,
    Chunk,
    Content,
    IdentityRow,
    Publication,
    Published,
    Stored,
    new_number,
    nothing_published,
)

_KEYS = 500  # ids in one query: well below SQLite's limit of variables, and few different statements
_MAPPED = 1 << 40  # bytes of the file that readers map, instead of copying page by page: all of it
_BUSY = 60.0  # seconds that a writer waits for another; readers of a WAL database never wait

_OLD = ("publications", "packed", "identities", "pointer")
_SCHEMA = """
create table if not exists publications (
    number integer primary key autoincrement, id text not null unique, build text not null,
    moment integer not null, features text not null, rows integer not null, sha256 text not null,
    turn integer, last_delivery integer
) strict;
create table if not exists packed (
    publication integer not null, customer_id blob not null, row blob not null,
    primary key (publication, customer_id)
) strict, without rowid;
create table if not exists overlays (
    publication integer not null, customer_id blob not null, moment integer not null, row blob not null,
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


class SqliteStore:
    """One file. An object serves all threads and forked workers of a process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.where = str(path)
        """For messages."""
        self._local = threading.local()

    def prepare(self) -> None:
        """Make the file and its tables, for whoever writes."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._writer() as connection:
            connection.execute("pragma journal_mode = wal")
            of = "select name from sqlite_master where name in ('packed', 'overlays')"
            if connection.execute(of).fetchall() == [("packed",)]:
                # Of a version without overlays, which digested otherwise: readers do not take it either.
                connection.executescript("".join(f"drop table {table};" for table in _OLD))
            connection.executescript(_SCHEMA)
            of = "select 1 from pragma_table_info('publications') where name = 'last_delivery'"
            if connection.execute(of).fetchone() is None:  # of an older version
                connection.execute("alter table publications add column last_delivery integer")

    def claim(self, home: str) -> None:
        """Nothing: the file lies in its home, and no other one can publish there."""

    def pointer(self) -> int | None:
        """The number of the publication that readers see. NoBuild if there is no file yet."""
        with self._reading() as connection:
            found = connection.execute("select publication from pointer").fetchone()
        return None if found is None else int(found[0])

    def epoch(self) -> str:
        """Which file it is: a restored one is another. NoBuild if there is none."""
        try:
            return str(self._path.stat().st_ino)
        except OSError:
            raise nothing_published(self.where) from None

    def read(self, published: Published, keys: Sequence[bytes]) -> tuple[int | None, Stored | None]:
        """The pointer, and what that publication holds of the keys, at one moment; None: it is not kept."""
        if len(keys) > _KEYS:  # several statements need one view, which one statement has by itself
            with self._reading() as connection, _transaction(connection, "begin"):
                found = []
                for start in range(0, len(keys), _KEYS):
                    some = keys[start : start + _KEYS]
                    found += connection.execute(_reading_of(len(some)), (published.number, *some)).fetchall()
        else:  # not through `_reading`, whose context manager one customer would feel
            try:
                statement = _reading_of(len(keys))
                found = self._connection().execute(statement, (published.number, *keys)).fetchall()
            except sqlite3.DatabaseError as error:
                raise self._unreadable(error) from None
        pointer: int | None = None
        alive = False
        rows: dict[bytes, bytes] = {}
        overlays: dict[bytes, tuple[int, bytes]] = {}
        for key, row, moment, fresh in found:
            if key is None:
                pointer, alive = row, bool(moment)
                continue
            if row is not None:
                rows[key] = row
            if moment is not None:
                overlays[key] = (moment, fresh)
        return pointer, Stored(rows, overlays) if alive else None

    def resolve(self, pairs: Sequence[tuple[bytes, bytes]]) -> list[str | None]:
        """The customer of each (source, source id) in the current publication."""
        query = (
            "select customer_id from identities join pointer using (publication) "
            "where source = ? and source_id = ?"
        )
        with self._reading() as connection:
            found = [connection.execute(query, pair).fetchone() for pair in pairs]
        return [row and row[0] for row in found]

    def publications(self) -> list[Publication]:
        """All that is kept, whole or not."""
        with self._reading() as connection:
            found = connection.execute("select * from publications").fetchall()
        return [
            Publication(
                Published(id, build, from_us(moment), json.loads(features), rows, number, *last), sha, turn
            )
            for number, id, build, moment, features, rows, sha, turn, *last in found  # none: of before
        ]

    def write(self, content: Content, sha256: str) -> None:
        """Write all of it, without a turn."""
        with self._writer() as connection:
            number = new_number()
            connection.execute(
                "insert into publications (number, id, build, moment, features, rows, sha256, last_delivery) "
                "values (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    number,
                    content.id,
                    content.build,
                    to_us(content.moment),
                    json.dumps(dict(content.features)),
                    len(content.keys),
                    sha256,
                    content.last_delivery,
                ),
            )
            for chunk in content.chunks():
                with _transaction(connection):
                    connection.executemany(f"insert into packed values ({number}, ?, ?)", chunk)
            for start in range(0, len(content.identities), AT_ONCE):
                some = content.identities[start : start + AT_ONCE]
                with _transaction(connection):
                    connection.executemany(f"insert into identities values ({number}, ?, ?, ?)", some)

    def chunks(self, number: int) -> Iterator[Chunk]:
        """Every (key, row) of a publication, ascending."""
        query = (
            "select customer_id, row from packed where publication = ? and customer_id > ? "
            "order by customer_id limit ?"
        )
        with self._reading() as connection:
            chunk: Chunk = connection.execute(
                query.replace("customer_id > ?", "customer_id >= ?"), (number, b"", AT_ONCE)
            ).fetchall()
            while chunk:
                yield chunk
                chunk = connection.execute(query, (number, chunk[-1][0], AT_ONCE)).fetchall()

    def keys(self, number: int) -> set[bytes]:
        """Every customer of a publication, also who came by an overlay."""
        query = "select customer_id from {} where publication = ?"
        with self._reading() as connection:
            return {
                key
                for table in ("packed", "overlays")
                for (key,) in connection.execute(query.format(table), (number,)).fetchall()
            }

    def said(self, number: int, width: int, keys: Sequence[bytes] | None = None) -> Counter[bytes]:
        """Consents, which are behind so many bytes of a row -> how many published rows have them; of all of
        a publication, or of those keys."""
        found, query = Counter[bytes](), f"select substr(row, {width + 1}), count(*) from packed where "
        with self._reading() as connection:
            if keys is None:
                return Counter(dict(connection.execute(f"{query} publication = ? group by 1", (number,))))
            for start in range(0, len(keys), _KEYS):
                some = keys[start : start + _KEYS]
                of = f"publication = ? and customer_id in ({','.join('?' * len(some))})"
                found.update(dict(connection.execute(f"{query} {of} group by 1", (number, *some))))
        return found

    def saying(self, number: int, width: int) -> list[bytes]:
        """Keys of the overlays that have consents."""
        query = "select customer_id from overlays where publication = ? and length(row) > ?"
        with self._reading() as connection:
            return [key for (key,) in connection.execute(query, (number, width))]

    def identities(self, number: int) -> list[IdentityRow]:
        """Every identity of a publication, ascending."""
        with self._reading() as connection:
            return connection.execute(
                "select source, source_id, customer_id from identities where publication = ? "
                "order by source, source_id",
                (number,),
            ).fetchall()

    def flip(self, number: int, withdrawn: int | None = None) -> None:
        """Let readers see a verified publication, with the next turn; or go back to it, keeping its own."""
        with self._writer() as connection:
            connection.execute("pragma synchronous = full")
            with _transaction(connection):
                connection.execute("insert or replace into pointer values (1, ?)", (number,))
                if withdrawn is None:
                    connection.execute(
                        "update publications set turn = "
                        "(select coalesce(max(turn), 0) + 1 from publications) where number = ?",
                        (number,),
                    )
                else:
                    connection.execute("update publications set turn = 0 where number = ?", (withdrawn,))

    def drop(self, numbers: Sequence[int]) -> None:
        """Remove publications; readers of one are told from the first moment."""
        with self._writer() as connection:
            for number in numbers:
                connection.execute("update publications set turn = null where number = ?", (number,))
                for table, key in (
                    ("packed", "customer_id"),
                    ("overlays", "customer_id"),
                    ("identities", "source, source_id"),
                ):
                    some = f"select {key} from {table} where publication = {number} limit {AT_ONCE}"
                    delete = f"delete from {table} where publication = {number} and ({key}) in ({some})"
                    while connection.execute(delete).rowcount:
                        pass
                connection.execute("delete from publications where number = ?", (number,))
            connection.execute("pragma wal_checkpoint(truncate)").fetchall()

    def record(self, number: int, sha256: str) -> None:
        """Note what a publication holds now."""
        with self._writer() as connection:
            connection.execute(
                "update publications set sha256 = ?, "
                "rows = (select count(*) from packed where publication = number) where number = ?",
                (sha256, number),
            )

    def write_overlay(self, number: int, rows: Mapping[bytes, tuple[int, bytes]]) -> bool:
        """Write overlays (moment, row); False, and nothing is written, if that is no longer current."""
        with self._writer() as connection, _transaction(connection):
            if connection.execute("select publication from pointer").fetchone() != (number,):
                return False
            connection.executemany(
                f"insert into overlays values ({number}, ?, ?, ?) on conflict do update "
                "set moment = excluded.moment, row = excluded.row where excluded.moment >= moment",
                [(key, *row) for key, row in rows.items()],
            )
        return True

    def overlays(self, number: int) -> dict[str, datetime]:
        """Customer -> moment of her overlay."""
        with self._reading() as connection:
            found = connection.execute(
                "select customer_id, moment from overlays where publication = ?", (number,)
            ).fetchall()
        return {key.decode("utf-8", "surrogatepass"): from_us(moment) for key, moment in found}

    def erase(self, keys: Sequence[bytes]) -> int:
        """Remove these customers everywhere, free pages included; the number of packed rows that went."""
        gone = 0
        with self._writer() as connection:
            connection.execute("pragma secure_delete = on").fetchall()
            numbers = [n for (n,) in connection.execute("select number from publications").fetchall()]
            pairs = [(number, key) for number in numbers for key in keys]
            with _transaction(connection):
                delete = "delete from {} where publication = ? and customer_id = ?"
                gone = connection.executemany(delete.format("packed"), pairs).rowcount
                connection.executemany(delete.format("overlays"), pairs)
                connection.executemany(
                    "delete from identities where customer_id = cast(? as text)", [(key,) for key in keys]
                )
            connection.execute("pragma wal_checkpoint(truncate)").fetchall()
        return max(gone, 0)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """This thread's read-only connection. NoBuild if there is no file, or one without the tables yet."""
        try:
            yield self._connection()
        except sqlite3.DatabaseError as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: sqlite3.DatabaseError) -> OnlineUnavailable:
        """The error to raise. The connection is closed, so that what replaces a damaged file is read."""
        opened = self._opened()
        for mine in [of for of in opened if of[0] == os.getpid()]:
            opened.pop(mine).close()
        return _unavailable(self._path, error)

    def _connection(self) -> sqlite3.Connection:
        """Of this thread and process, to the file that is there now: a restored one has another inode."""
        try:
            inode = os.stat(self.where).st_ino  # noqa: PTH116  on the way of every read
        except OSError:
            raise nothing_published(self.where) from None
        opened = self._opened()
        mine = (os.getpid(), inode)
        connection = opened.get(mine)
        if connection is None:
            # A forked child leaves its parent's connection open and untouched.
            for other in [of for of in opened if of[0] == mine[0]]:
                opened.pop(other).close()
            connection = opened[mine] = self._reader()
        return connection

    def _opened(self) -> dict[tuple[int, int], sqlite3.Connection]:
        opened: dict[tuple[int, int], sqlite3.Connection] | None = getattr(self._local, "opened", None)
        if opened is None:
            opened = self._local.opened = {}
        return opened

    def _reader(self) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None)
        connection.execute(f"pragma mmap_size = {_MAPPED}").fetchall()
        if connection.execute("select 1 from sqlite_master where name = 'overlays'").fetchone() is None:
            connection.close()
            raise nothing_published(self.where)
        return connection

    @contextmanager
    def _writer(self) -> Iterator[sqlite3.Connection]:
        """A writing connection. What it commits is durable with the next flip or checkpoint."""
        try:
            with closing(sqlite3.connect(self._path, timeout=_BUSY, isolation_level=None)) as connection:
                connection.execute("pragma synchronous = normal")
                yield connection
        except sqlite3.DatabaseError as error:
            raise _unavailable(self._path, error) from None


@lru_cache(maxsize=_KEYS + 1)
def _reading_of(keys: int) -> str:
    """One statement, and so one view: the pointer and whether ?1 is kept, then a row a key.

    A join with the keys as values is faster than `in`, for which SQLite first sorts them into an index.
    """
    about = (
        "select null, (select publication from pointer), "
        "exists(select 1 from publications where number = ?1 and turn is not null), null"
    )
    if not keys:
        return about
    marks = ",".join(f"(?{place})" for place in range(2, keys + 2))
    return (
        f"with asked(id) as (values {marks}) {about} "
        "union all select id, packed.row, moment, overlays.row from asked "
        "left join packed on packed.publication = ?1 and packed.customer_id = id "
        "left join overlays on overlays.publication = ?1 and overlays.customer_id = id"
    )


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str = "begin immediate") -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")


def _unavailable(path: Path, error: sqlite3.DatabaseError) -> OnlineUnavailable:
    return OnlineUnavailable(
        refused(error, path)
        or f"{path} cannot be used: {error}. Check the disk; if the file is damaged, delete it (with its "
        "-wal and -shm) and run `propensity features build`"
    )
