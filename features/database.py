"""A team's PostgreSQL (PROPENSITY_DATABASE): one database, a schema each for Feast's registry and for MLflow.

Without it both live in files of the home, for one machine. With it every machine of the team sees the same
registry, versions and aliases; the home's other folders are then on a disk that they share.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from features.errors import DatabaseError, SettingsError
from features.settings import Settings

Schema = Literal["propensity_feast", "propensity_mlflow"]

CONNECT = 5  # seconds until a server that does not answer counts as away
STATEMENT = 60  # seconds that the server gives one statement of Feast or MLflow: each takes milliseconds


@contextmanager
def opened(settings: Settings, schema: Schema, alone: bool = False) -> Iterator[str]:
    """A schema's URL for SQLAlchemy, while the block uses it; the schema is made if it is not there.

    alone: one process at a time, on any machine; others wait. DatabaseError if the server is away, refuses
    us, or goes away meanwhile; no message, and no error behind it, holds the password.
    """
    try:
        import psycopg
    except ImportError:
        raise SettingsError(
            "PROPENSITY_DATABASE needs the PostgreSQL driver: `pip install 'propensity[postgres]'`"
        ) from None
    url = settings.database or ""
    try:
        with psycopg.connect(url_of(url, "postgresql"), autocommit=True) as connection:
            _make(connection, schema)
            if alone:
                connection.execute("SELECT pg_advisory_lock(hashtext(%s))", (schema,))
            yield url_of(url, "postgresql+psycopg", schema)
    except Exception as error:  # Feast and MLflow wrap what psycopg raises in errors of their own
        if not _of_the_server(error):
            raise
        raise DatabaseError(
            f"the PostgreSQL database {name_of(url)} does not answer, or refuses: check that it runs, and "
            f"the address, user and password in PROPENSITY_DATABASE. It said: {said_of(url, error)}"
        ) from None


def _make(connection: Any, schema: Schema) -> None:
    """Only if it is absent: a role that may not create schemas may use one that its administrator made."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('propensity schemas'))")
        if connection.execute("SELECT to_regnamespace(%s)", (schema,)).fetchone()[0] is None:
            connection.execute(f"CREATE SCHEMA {schema}")


def url_of(database: str, scheme: str, schema: str | None = None) -> str:
    """A setting's URL with another scheme, our time limits and, for tables without one, the schema."""
    given = urlsplit(database)
    query = {name: values[-1] for name, values in parse_qs(given.query).items()}
    query.setdefault("connect_timeout", str(CONNECT))
    query.setdefault("application_name", "propensity")
    if schema is not None:
        own = f"-csearch_path={schema} -cstatement_timeout={STATEMENT * 1000}"
        query["options"] = f"{query.get('options', '')} {own}".strip()
    return f"{scheme}://{given.netloc}{given.path}?{urlencode(query, quote_via=quote)}"


def _of_the_server(error: BaseException) -> bool:
    """Whether a failed connection, or one that was lost, is what an error comes from."""
    from psycopg import OperationalError
    from sqlalchemy.exc import InterfaceError
    from sqlalchemy.exc import OperationalError as OfSqlAlchemy

    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        if isinstance(at, OperationalError | OfSqlAlchemy | InterfaceError):
            return True
        seen.add(id(at))
        at = at.__cause__ or at.__context__
    return False


def name_of(database: str) -> str:
    """Where the database is, without user and password: `shop on db.example:5432`."""
    given = urlsplit(database)
    query = parse_qs(given.query)
    host = given.hostname or "".join(query.get("host", ["the local socket"]))
    name = given.path.strip("/") or "".join(query.get("dbname", ["(default)"]))
    return f"{name} on {host}" + (f":{given.port}" if given.port else "")


def said_of(database: str, error: Exception) -> str:
    """The first line of what the driver said, without what is secret."""
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    given = urlsplit(database)
    secrets = [given.password or "", *parse_qs(given.query).get("password", [])]
    for secret in filter(None, {*secrets, *map(unquote, secrets)}):
        said = said.replace(secret, "***")
    return re.sub(r"\s+", " ", said)[:300]
