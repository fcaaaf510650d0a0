"""A store that is away, slow or damaged: a named error within a set time, and reads go on afterwards."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from builds_by_hand import MOMENT, NAMES, MakeBuild, constant, weeks
from servers import LONG, RedisServer, redis_server

from features.errors import NoBuild, OnlineUnavailable, SettingsError, UsageError
from features.moments import DAY
from features.online import PRESENT, OnlineRows, erase, publish
from features.settings import Settings

WAIT = timedelta(seconds=1)  # not less: a busy machine needs a part of it for an answer
SECRET = "a-password-for-tests"


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis server of the test's own, to be mistreated."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def home(tmp_path: Path, server: RedisServer) -> Settings:
    return Settings(home=tmp_path / "home", online=server.url, online_timeout=WAIT)


def seconds_to_fail(rows: OnlineRows) -> float:
    started = time.perf_counter()
    with pytest.raises(OnlineUnavailable) as error:
        rows.latest(["c000001"])
    assert error.value.code == "online_unavailable"
    return time.perf_counter() - started


def test_a_server_that_stops_is_named_and_followed_when_it_is_back(
    home: Settings, server: RedisServer, make_build: MakeBuild
) -> None:
    """Else: the service hangs, or must be restarted after Redis was."""
    build = make_build(NAMES, {MOMENT: constant(1)})
    publish(home, build, MOMENT)
    rows = OnlineRows.open(home)
    assert rows.latest(["c000001"])[1].status[0] == PRESENT
    server.stop()
    assert seconds_to_fail(rows) < 5 * WAIT.total_seconds()
    with pytest.raises(OnlineUnavailable, match="127.0.0.1"):
        rows.current()
    with pytest.raises(OnlineUnavailable):
        publish(home, build, MOMENT)
    server.start()  # without what it held
    with pytest.raises(NoBuild, match="propensity features build"):
        rows.latest(["c000001"])
    publish(home, build, MOMENT)
    assert rows.latest(["c000001"])[1].status[0] == PRESENT


def test_a_server_that_freezes_costs_one_wait_and_not_one_a_request(
    home: Settings, server: RedisServer, make_build: MakeBuild
) -> None:
    """Else: requests queue up behind a server that will not answer, and the service is as dead as it is."""
    publish(home, make_build(NAMES, {MOMENT: constant(1)}), MOMENT)
    rows = OnlineRows.open(home)
    rows.current()
    server.freeze()
    times = [seconds_to_fail(rows) for _ in range(50)]
    assert sum(times) < 25 * WAIT.total_seconds()  # far less than 50 waits
    server.thaw()
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        try:
            read = rows.latest(["c000001"])[1]
        except OnlineUnavailable:
            time.sleep(0.05)
        else:
            assert read.status[0] == PRESENT
            return
    raise AssertionError("reads did not go on")


def test_a_full_server_refuses_the_new_rows_and_keeps_the_old_ones(
    home: Settings, server: RedisServer, make_build: MakeBuild
) -> None:
    """Else: half a publication is served."""
    build, moments = weeks(make_build, 2)
    publish(home, build, moments[0])
    with server.client() as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"])  # type: ignore[index]
        with pytest.raises(OnlineUnavailable, match="OutOfMemoryError"):
            publish(home, build, moments[1])
        rows = OnlineRows.open(home)
        assert (rows.latest(["c000001"])[1].matrix == 0).all()
        client.config_set("maxmemory", "0")
    publish(home, build, moments[1])
    assert (rows.latest(["c000001"])[1].matrix == 1).all()


def test_evicted_rows_are_an_error_and_not_unknown_customers(
    home: Settings, server: RedisServer, make_build: MakeBuild
) -> None:
    """Else: a Redis that may evict turns every customer into a stranger. Publishing again heals it."""
    build = make_build(NAMES, {MOMENT: constant(1)})
    publish(home, build, MOMENT)
    rows = OnlineRows.open(home)
    with server.client() as client:
        client.delete(f"propensity:{rows.current().number}:rows")
    with pytest.raises(OnlineUnavailable, match="noeviction"):
        rows.latest(["c000001"])
    publish(home, build, MOMENT)
    assert rows.latest(["c000001"])[1].status[0] == PRESENT


def test_a_password_is_used_and_never_shown(
    home: Settings, server: RedisServer, make_build: MakeBuild
) -> None:
    """Else: the log of the service holds the key to every customer."""
    with server.client() as client:
        client.config_set("requirepass", SECRET)
    known = replace(home, online=server.url.replace("//", f"//:{SECRET}@"))
    publish(known, make_build(NAMES, {MOMENT: constant(1)}), MOMENT)
    assert OnlineRows.open(known).latest(["c000001"])[1].status[0] == PRESENT
    for wrong in (home, replace(home, online=server.url.replace("//", f"//:{SECRET}x@"))):
        with pytest.raises(SettingsError, match="refuses the user or the password") as error:
            OnlineRows.open(wrong).current()
        assert SECRET not in str(error.value)
    assert SECRET not in repr(known)
    assert SECRET not in OnlineRows.open(known).where


@pytest.mark.parametrize("damage", ["no database", "torn pages"])
def test_a_damaged_file_is_named_with_what_to_do_and_a_new_one_is_read_without_a_restart(
    embedded: Settings, make_build: MakeBuild, damage: str
) -> None:
    """Else: a traceback at three in the morning."""
    build = make_build(NAMES, {MOMENT: constant(1, 3_000)})
    publish(embedded, build, MOMENT)
    rows = OnlineRows.open(embedded)
    asked = constant(0, 3_000)[0]
    assert (rows.latest(asked)[1].status == PRESENT).all()
    path = embedded.home / "online" / "rows.sqlite"
    whole = path.read_bytes()
    cut = b"\xff" * (len(whole) // 2)
    path.write_bytes(cut if damage == "no database" else whole[:8192] + cut)
    reader = OnlineRows.open(embedded)
    with pytest.raises(OnlineUnavailable, match=r"rows\.sqlite .*delete it"):
        reader.latest(asked)
    with pytest.raises(OnlineUnavailable, match=r"rows\.sqlite"):
        publish(embedded, build, MOMENT)
    with pytest.raises(OnlineUnavailable, match=r"rows\.sqlite"):
        erase(embedded, ["c000001"])
    for file in path.parent.glob("rows.sqlite*"):
        file.unlink()
    publish(embedded, build, MOMENT)
    for of in (reader, rows):
        assert (of.latest(asked)[1].status == PRESENT).all()


def test_a_file_that_was_put_back_is_read_at_once(embedded: Settings, make_build: MakeBuild) -> None:
    """Else: after a restore the service goes on with the rows of the file that is gone."""
    build, moments = weeks(make_build, 2)
    publish(embedded, build, moments[0])
    path = embedded.home / "online" / "rows.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("pragma wal_checkpoint(truncate)").fetchall()
    other.close()
    kept = path.read_bytes()
    rows = OnlineRows.open(embedded)
    publish(embedded, build, moments[1])
    assert (rows.latest(["c000001"])[1].matrix == 1).all()
    for file in path.parent.glob("rows.sqlite*"):
        file.unlink()
    path.write_bytes(kept)
    assert (rows.latest(["c000001"])[1].matrix == 0).all()


def test_a_store_that_started_anew_is_told_from_the_one_of_before(
    home: Settings, server: RedisServer, tmp_path: Path, make_build: MakeBuild
) -> None:
    """Else nobody looks whether it went back to what it was before."""
    build = make_build(NAMES, {MOMENT: constant(1)})
    publish(home, build, MOMENT)
    rows = OnlineRows.open(home)
    first = rows.epoch()
    assert first == rows.epoch() == OnlineRows.open(home).epoch()
    with server.client() as client:
        client.acl_setuser(
            "shop", enabled=True, passwords=[f"+{SECRET}"], keys=["*"], commands=["+@all", "-info"]
        )
    few = replace(home, online=f"redis://shop:{SECRET}@127.0.0.1:{server.port}/0")
    assert OnlineRows.open(few).epoch() == "unknown", "it may not ask"
    server.stop()
    with pytest.raises(OnlineUnavailable):
        rows.epoch()
    server.start()
    assert rows.epoch() not in ("unknown", first)

    embedded = replace(home, online="sqlite")
    file = embedded.home / "online" / "rows.sqlite"
    rows = OnlineRows.open(embedded)
    with pytest.raises(NoBuild):
        rows.epoch()
    publish(embedded, build, MOMENT)
    first = rows.epoch()
    assert first == rows.epoch()
    file.rename(tmp_path / "aside")
    shutil.copyfile(tmp_path / "aside", file)
    assert rows.epoch() != first


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (f"redis://:{SECRET}@127.0.0.1:PORT/0", "the password"),
        (f"redis://someone:{SECRET}@127.0.0.1:PORT/0", "the user"),
        ("redis://127.0.0.1:PORT/99", "the number of the database"),
    ],
)
def test_a_wrong_password_or_database_is_a_wrong_setting_and_no_outage(
    home: Settings, server: RedisServer, make_build: MakeBuild, address: str, said: str
) -> None:
    """Else: someone waits for a server to come back that has been there all the time."""
    wrong = replace(home, online=address.replace("PORT", str(server.port)))
    for ask in (
        lambda: publish(wrong, make_build(NAMES, {MOMENT: constant(1)}), MOMENT),
        lambda: OnlineRows.open(wrong).latest(["c000001"]),
    ):
        with pytest.raises(SettingsError, match=f"127.0.0.1.* refuses .*{said}.*PROPENSITY_ONLINE") as error:
            ask()
        assert SECRET not in str(error.value)
        assert "by themselves" not in str(error.value)


def test_a_second_home_does_not_publish_over_the_first(
    home: Settings, server: RedisServer, make_build: MakeBuild, tmp_path: Path
) -> None:
    """Else one wrong line of a test system's settings and every journey scores customers of another day."""
    build = make_build(NAMES, {MOMENT: constant(1), MOMENT + DAY: constant(2)})
    publish(home, build, MOMENT)
    other = replace(home, home=tmp_path / "other")
    with pytest.raises(UsageError, match=r"127.0.0.1.*another home.*delete the key propensity:home"):
        publish(other, build, MOMENT + DAY)
    rows = OnlineRows.open(home)
    assert (rows.current().moment, rows.latest(["c000001"])[1].matrix[0, 0]) == (MOMENT, 1)
    shutil.copytree(home.home, tmp_path / "restored")
    publish(replace(home, home=tmp_path / "restored"), build, MOMENT + DAY)
    with server.client() as client:
        client.delete("propensity:home")
    publish(other, build, MOMENT)
    with pytest.raises(UsageError):
        publish(home, build, MOMENT)
