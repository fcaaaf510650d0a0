"""Where the ledger is: a SQLite file of the home, or PostgreSQL for several hosts; the same statements.

sqlite        ledger/ledger.sqlite, in WAL mode. A commit is written to the log of the file, which outlives
              the process whatever ends it. With durability `power` an answer also waits until the disk has
              that log; those who wait at one time share one fsync.
PostgreSQL    schema propensity_ledger of the database that PROPENSITY_LEDGER names. Writers take turns by an
              advisory lock. A commit is durable as its server is set up; with `power` always on its disk.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from features import database
from features.errors import DecisionError, SettingsError
from features.files import make_database
from features.settings import Settings
from serving import ledger_schema
from serving.group_sync import GroupSync
from serving.ledger_schema import VERSION

if TYPE_CHECKING:
    from serving.impatient import Impatient

BUSY_SECONDS = 5.0  # a decision holds the write lock for about a millisecond
PATIENCE = float(database.STATEMENT + database.CONNECT)  # seconds for a server's word; it gives up before
SERVICE_PATIENCE = BUSY_SECONDS + 1  # of who has callers; after what a lock may take, which the server tells
SCHEMA = "propensity_ledger"


class Store(Protocol):
    """A database with the ledger's tables. name: where it is; nothing secret."""

    name: str

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """A cursor over the rows of a statement, its values marked by `?`."""

    def begin(self) -> None:
        """Begin a transaction in which nobody else writes. TimeoutError after BUSY_SECONDS."""

    def end(self, keep: bool) -> None:
        """Commit, or undo it. DecisionError if nobody knows whether it was committed."""

    def acknowledge(self) -> None:
        """Return when what was committed is as durable as it was asked to be. DecisionError if that is not
        known."""

    def unlocked(self, table: str, changeable: bool) -> None:
        """Whether rows of an append-only table may be changed, within a transaction."""

    def look(self) -> None:
        """Return if it answers and is still the one that was opened. OSError, or the driver's error."""

    def forget(self) -> str | None:
        """After keys were deleted: no copy of them is left, or why one may be."""

    def close(self) -> None:
        """Close the connection."""


def errors_of(settings: Settings) -> tuple[type[Exception], ...]:
    """What the driver of these settings' database raises. SettingsError if PostgreSQL's is not installed."""
    if settings.ledger == "sqlite":
        return (sqlite3.Error,)
    try:
        import psycopg
    except ImportError:
        raise SettingsError(
            "PROPENSITY_LEDGER needs the PostgreSQL driver: `pip install 'propensity[postgres]'`"
        ) from None
    return (psycopg.Error,)


def open_store(settings: Settings, patience: float = PATIENCE) -> Store:
    """The ledger's database, made if it is not there. DecisionError if another version of us wrote it.
    patience: seconds after which a server that says nothing counts as away."""
    return SqliteStore(settings) if settings.ledger == "sqlite" else PostgresStore(settings, patience)


def path_of(settings: Settings) -> Path:
    """The file of the embedded ledger, whether or not it is there."""
    return settings.home / "ledger" / "ledger.sqlite"


def _check(name: str, found: int) -> None:
    if found != VERSION:
        raise DecisionError(
            f"{name} has schema {found}, this program knows {VERSION}: run the one that wrote it"
        )


class SqliteStore:
    """One file for every worker of the host."""

    def __init__(self, settings: Settings) -> None:
        self.path = path_of(settings)
        self.name = str(self.path)
        make_database(self.path, ledger_schema.sqlite_script())
        self._power = settings.durability == "power"
        self._open()
        if (upgrade := ledger_schema.sqlite_upgrade(self._version())) is not None:
            self._upgrade(upgrade)
        try:
            _check(self.name, self._version())
        except DecisionError:
            self._db.close()
            raise

    def _open(self) -> None:
        if os.access(self.path, os.W_OK):
            for path in self._beside():
                if not os.access(path, os.W_OK):  # made with the file's mode, which was mended since
                    with suppress(OSError):
                        path.chmod(self.path.stat().st_mode)
        self._read_only = self._unwritable() is not None
        self._db = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._opened = self.path.stat().st_ino
        for pragma in ("synchronous = NORMAL", "foreign_keys = ON", "secure_delete = ON"):
            self._db.execute(f"PRAGMA {pragma}")  # secure: a deleted key is overwritten, not just unlinked
        self._group = GroupSync(Path(f"{self.path}-wal")) if self._power else None

    def _beside(self) -> list[Path]:
        return [path for end in ("-wal", "-shm") if (path := Path(f"{self.path}{end}")).exists()]

    def _unwritable(self) -> Path | None:
        """What of it may not be written. Asked of the file system, without opening it: see `look`."""
        beside = self._beside()
        made = () if len(beside) == 2 else (self.path.parent,)  # where what is missing is made
        return next((path for path in (*made, self.path, *beside) if not os.access(path, os.W_OK)), None)

    def _version(self) -> int:
        found: int = self._db.execute("PRAGMA user_version").fetchone()[0]
        return found

    def _upgrade(self, script: str) -> None:
        try:
            self._db.executescript(script)
        except sqlite3.OperationalError:  # another worker did it meanwhile
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if self._version() != VERSION:
                raise

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._db.execute(sql, values)

    def begin(self) -> None:
        self._require_opened()
        if self._read_only:  # as it was opened: it stays so for as long as it is open
            self.close()
            self._open()
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise TimeoutError(str(error)) from error

    def end(self, keep: bool) -> None:
        if keep:
            self._db.execute("COMMIT")
        elif self._db.in_transaction:  # an error; SQLite itself undoes some, a full disk for one
            self._db.execute("ROLLBACK")

    def acknowledge(self) -> None:
        if self._group is None:
            return
        try:
            self._group.wait()
        except OSError as error:
            raise DecisionError(
                f"{self.name} was written, and the disk did not say that it keeps it ({error.strerror}): "
                "nothing is acknowledged any more. Look at the disk, start the service again, then ask again "
                "under the same key or id, by which it is known"
            ) from None

    def unlocked(self, table: str, changeable: bool) -> None:
        if changeable:
            self._db.execute(f"DROP TRIGGER IF EXISTS {table}_no_UPDATE")
        else:
            self._db.execute(ledger_schema.append_only(table, "UPDATE"))

    def _require_opened(self) -> None:
        """DatabaseError unless the file is the one that is open: ours would go on in a deleted one."""
        try:
            found = self.path.stat().st_ino
        except FileNotFoundError:
            raise sqlite3.DatabaseError(
                "file was deleted: bring its backup back, and start the service again"
            ) from None
        if found != self._opened:
            raise sqlite3.DatabaseError("file was replaced: start the service again")

    def look(self) -> None:
        self._require_opened()
        # Ours goes on by what it has read, too. By SQLite: whoever opens the file and closes it gives up all
        # locks of the process, and the next program that ends deletes the write-ahead log under us.
        address = f"{self.path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS)) as fresh:
            fresh.execute("SELECT 1 FROM decisions LIMIT 1").fetchone()
        path = self._unwritable()
        if path is not None and not (self._read_only and path in self._beside()):  # those `_open` mends
            raise sqlite3.OperationalError(f"{path.name} may not be written by the service's user")
        if not shutil.disk_usage(self.path.parent).free:
            raise sqlite3.OperationalError("database or disk is full")

    def forget(self) -> str | None:
        busy = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        return f"a reader keeps a copy of it in {self.path}-wal" if busy else None

    def close(self) -> None:
        self._db.close()
        if self._group is not None:
            self._group.close()


class PostgresStore:
    """A server for the workers of several hosts. A lost connection is made anew by the next who asks, but
    never within a transaction: what is left of it would be written alone, and without the lock."""

    def __init__(self, settings: Settings, patience: float = PATIENCE) -> None:
        self.name = f"the ledger in the PostgreSQL database {database.name_of(settings.ledger)}"
        self._settings, self._patience = settings, patience
        self._writing = False
        self._db = self._connected()
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        with self._db.transaction():
            self._db.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (SCHEMA,))
            if self._row("SELECT to_regnamespace(%s)", SCHEMA) is None:  # an administrator may have made it
                self._db.execute(f"CREATE SCHEMA {SCHEMA}")
            if self._row("SELECT to_regclass(%s)", f"{SCHEMA}.version") is None:
                self._db.execute(ledger_schema.postgres_script())
            upgrade = ledger_schema.postgres_upgrade(self._row("SELECT version FROM version"))
            if upgrade is not None:
                self._db.patience = PATIENCE  # it may go through every row
                self._db.execute(upgrade)
                self._db.patience = self._patience
        _check(self.name, self._row("SELECT version FROM version"))

    def _connected(self) -> "Impatient":
        from serving.impatient import Impatient

        url = database.url_of(self._settings.ledger, "postgresql", SCHEMA)
        db = Impatient.connect(url, autocommit=True)
        db.patience = self._patience
        if self._settings.durability == "power":
            db.execute("SET synchronous_commit = on")
        # A host that freezes with the lock would stop all others; one that lives may wait for its own disk.
        idle = self._patience + BUSY_SECONDS
        db.execute(
            f"SET lock_timeout = {int(BUSY_SECONDS * 1000)}; "
            f"SET idle_in_transaction_session_timeout = {int(idle * 1000)}"
        )
        return db

    def _row(self, sql: str, *values: str) -> Any:
        found = self._db.execute(sql, values).fetchone()
        return None if found is None else found[0]

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Any:
        if not self._writing and (self._db.closed or self._db.broken):
            self._db = self._connected()
        return self._db.execute(sql.replace("?", "%s"), values)

    def begin(self) -> None:
        import psycopg

        self.execute("BEGIN")
        self._writing = True
        try:
            self._db.execute("SELECT pg_advisory_xact_lock(hashtext('decide'))")
        except BaseException as error:
            self.end(keep=False)
            if isinstance(error, psycopg.errors.LockNotAvailable):
                raise TimeoutError("another holds it") from error
            raise

    def end(self, keep: bool) -> None:
        import psycopg

        self._writing = False
        if keep:
            asked = not self._db.closed
            try:
                done = self._db.execute("COMMIT").statusmessage
            except psycopg.Error as error:
                if not (asked and self._db.closed):  # it said no, or was never asked
                    raise
                said = database.said_of(self._settings.ledger, error)  # it may have done it, or still do it
                raise DecisionError(
                    f"{self.name} did not say whether this was written ({said}): ask again, and under the "
                    "same key or id, by which it is known"
                ) from None
            if done != "COMMIT":  # a statement failed, and nobody said so
                raise psycopg.errors.InFailedSqlTransaction("the transaction was undone")
        elif not (self._db.closed or self._db.broken):
            self._db.execute("ROLLBACK")

    def acknowledge(self) -> None:
        pass  # the commit waited

    def unlocked(self, table: str, changeable: bool) -> None:
        if changeable:
            self._db.execute(f"DROP TRIGGER IF EXISTS append_only ON {table}")
        else:
            self._db.execute(ledger_schema.postgres_trigger(table))

    def look(self) -> None:
        import psycopg

        try:
            self.execute("SELECT 1")
        except psycopg.errors.ConnectionTimeout:  # nor would another
            raise
        except psycopg.OperationalError:  # the connection was lost: with another it may answer
            if not (self._db.closed or self._db.broken):
                raise
            self.execute("SELECT 1")

    def forget(self) -> str | None:
        """The table of keys is written anew, and what decisions held is freed. The server's own log and its
        backups keep copies for as long as its administrator keeps those."""
        self._db.execute("VACUUM FULL pseudonyms")
        self._db.execute("VACUUM decisions")
        return None

    def close(self) -> None:
        self._db.close()


@contextmanager
def transaction(store: Store) -> Iterator[None]:
    """Nobody else writes during this block; an error undoes it. TimeoutError if others hold the ledger."""
    store.begin()
    kept = False
    try:
        yield
        store.end(keep=True)
        kept = True
    finally:
        if not kept:
            store.end(keep=False)
