"""A team's PostgreSQL: away, slow or refusing, it ends in one clear line, soon, and never with a password."""

import logging
import socket
import threading
import time
import traceback
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from servers_postgres import PASSWORD, PostgresServer

from features import database, store
from features.errors import DatabaseError, SettingsError
from features.settings import Settings
from features.unchecked import unchecked

with unchecked():
    import feast


def of(home: Path, url: str) -> Settings:
    return Settings.from_env({"PROPENSITY_DATABASE": url, "PROPENSITY_HOME": str(home)})


def entities(settings: Settings) -> list[feast.Entity]:
    """What Feast's registry holds."""
    with store.opened(settings) as client:
        return list(client.list_entities())


@pytest.mark.parametrize(
    "url",
    ["mysql://a:pass-word@host/db", "postgresql:///db", "postgresql://a:pass-word@host:port/db", "pass-word"],
)
def test_what_is_no_postgresql_url_is_refused_without_being_shown(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="PROPENSITY_DATABASE must be postgresql://") as error:
        of(tmp_path, url)
    assert "pass-word" not in "".join(traceback.format_exception(error.value))


def test_the_password_shows_nowhere(
    postgres: PostgresServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Else: the team's password lands in a log that everybody reads."""
    settings = of(tmp_path / "home", postgres.new_database())
    wrong = of(tmp_path / "home", postgres.url("team_1", "not-the-s3cret"))
    with caplog.at_level(logging.DEBUG):
        assert entities(settings) == []
        with pytest.raises(DatabaseError, match=r"team_1 on /.* refuses.*authentication failed") as error:
            entities(wrong)
    told = [repr(settings), repr(wrong), caplog.text, *capfd.readouterr()]
    told += ["".join(traceback.format_exception(error.value))]
    told += [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    assert not [text for text in told if "s3cret" in text or PASSWORD in text]


def test_feast_and_mlflow_share_a_database_without_meeting(postgres: PostgresServer, tmp_path: Path) -> None:
    """Else: one's upgrade of its tables breaks the other."""
    settings = of(tmp_path / "home", postgres.new_database())
    with store.opened(settings) as client:
        client.apply(
            [feast.Entity(name="customer", join_keys=["customer_id"], value_type=feast.ValueType.STRING)]
        )
    with database.opened(settings, "propensity_mlflow") as url:
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
        tables = sqlalchemy.inspect(engine)
        assert "entities" in tables.get_table_names("propensity_feast")
        assert tables.get_table_names() == []
        assert tables.get_table_names("public") == []


def test_a_server_that_refuses_is_named_at_once(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        port = taken.getsockname()[1]
        settings = of(tmp_path / "home", f"postgresql://me:pass-word@127.0.0.1:{port}/shop")
        with pytest.raises(DatabaseError, match=rf"shop on 127\.0\.0\.1:{port} does not answer") as error:
            entities(settings)
    assert "pass-word" not in "".join(traceback.format_exception(error.value))


def test_a_server_that_accepts_and_says_nothing_is_given_up(tmp_path: Path) -> None:
    """Else: a nightly build hangs until somebody looks."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = f"postgresql://me@127.0.0.1:{port}/shop?connect_timeout=2"
        with pytest.raises(DatabaseError, match="does not answer"):
            entities(of(tmp_path / "home", url))
    assert "connect_timeout=5" in database.url_of("postgresql://me@host/shop", "postgresql")


def test_a_server_that_goes_away_meanwhile_is_named(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.new_database()
    settings = of(tmp_path / "home", url)
    name = url.rsplit("/", 1)[1].split("?")[0]

    def lose() -> None:
        with store.opened(settings) as client:
            postgres.run(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            postgres.cut(name)
            client.list_entities(allow_cache=False)

    with pytest.raises(DatabaseError, match=f"{name} on .* does not answer"):
        lose()


def test_one_at_a_time_also_from_other_machines(postgres: PostgresServer, tmp_path: Path) -> None:
    """Else: two trainings on two machines give the same version number."""
    url, order = postgres.new_database(), []
    inside, asked = threading.Event(), threading.Event()

    def other() -> None:
        inside.wait()
        asked.set()
        with database.opened(of(tmp_path / "two", url), "propensity_mlflow", alone=True):
            order.append("two")

    thread = threading.Thread(target=other)
    thread.start()
    with database.opened(of(tmp_path / "one", url), "propensity_mlflow", alone=True):
        inside.set()
        asked.wait()
        with database.opened(of(tmp_path / "one", url), "propensity_mlflow"):  # readers do not wait
            order.append("reader")
        time.sleep(0.2)
        order.append("one")
    thread.join()
    assert order == ["reader", "one", "two"]


def test_a_role_that_may_not_create_schemas_uses_those_that_were_made_for_it(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """Else: an administrator must give every machine of the team more rights than it needs."""
    url = postgres.new_database()
    name = url.rsplit("/", 1)[1].split("?")[0]
    settings = of(tmp_path / "home", url)
    assert entities(settings) == []
    postgres.run(f"ALTER DATABASE {name} OWNER TO postgres")
    assert entities(settings) == []
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        database.opened(settings, "propensity_mlflow"),
    ):
        pass
