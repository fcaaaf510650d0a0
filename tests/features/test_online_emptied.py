"""A store that lost what it held and is filled again: nothing of before is mixed with what it holds now."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest
import redis
from builds_by_hand import MOMENT, NAMES, MakeBuild, constant, weeks

from features.errors import NoBuild
from features.moments import DAY, to_us
from features.online import PRESENT, UNKNOWN, Fresh, OnlineRows, overlays, publish, write_overlay
from features.settings import Settings

LATE = MOMENT + 8 * DAY


@pytest.fixture
def home(stored: Settings) -> Settings:
    return stored


def empty(settings: Settings) -> None:
    """Take away all that the store holds, as a Redis that forgets does, or who deletes the file."""
    if settings.online == "sqlite":
        for file in (settings.home / "online").glob("rows.sqlite*"):
            file.unlink()
    else:
        with redis.Redis.from_url(settings.online) as client:
            client.flushdb()


def put_overlay(settings: Settings, number: int, customer: str, row: bytes) -> None:
    """What an older version wrote into a publication of other features: it told them by their numbers."""
    if settings.online == "sqlite":
        with closing(sqlite3.connect(settings.home / "online" / "rows.sqlite")) as db, db:
            values = (number, customer.encode(), to_us(MOMENT), row)
            db.execute("insert into overlays values (?, ?, ?, ?)", values)
    else:
        with redis.Redis.from_url(settings.online) as client:
            stored = to_us(MOMENT).to_bytes(8, "little") + row
            client.hset(f"propensity:{number}:overlays", customer, stored)  # type: ignore[arg-type]


def test_a_reader_of_before_takes_what_is_published_anew_for_what_it_is(
    home: Settings, make_build: MakeBuild
) -> None:
    """Else it answers the new rows as known at the moment of the old ones, until it is started again."""
    build, moments = weeks(make_build, 2)
    publish(home, build, moments[0])
    rows = OnlineRows.open(home)
    before, _ = rows.latest(["c000001"])
    empty(home)
    publish(home, build, moments[1])
    now, read = rows.latest(["c000001"])
    assert (now.moment, read.known_at.tolist()) == (moments[1], [to_us(moments[1])])
    assert read.matrix[0].tolist() == [1, 1, 1]
    assert rows.current() == now
    with pytest.raises(NoBuild, match="no longer kept"):
        rows.read(before, ["c000001"])


def test_rows_of_another_width_are_read_as_they_were_published(home: Settings, make_build: MakeBuild) -> None:
    """Else every customer is an error, of every process that runs, until it is started again."""
    publish(home, make_build(NAMES, {MOMENT: constant(1)}), MOMENT)
    rows = OnlineRows.open(home)
    rows.latest(["c000001"])
    empty(home)
    publish(home, make_build([*NAMES, "lines_90d"], {MOMENT: constant(2, width=4)}), MOMENT)
    published, read = rows.latest(["c000001", "x"])
    assert (len(published.features), read.status.tolist()) == (4, [PRESENT, UNKNOWN])
    assert read.matrix[0].tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("again", [True, False])  # the same snapshot; a later one
def test_a_fresh_row_is_not_written_into_a_publication_that_it_was_not_computed_for(
    home: Settings, make_build: MakeBuild, again: bool
) -> None:
    """Else she is an error, and with her all who are asked for together; or the writer believes that all it
    wrote before is there."""
    build, moments = weeks(make_build, 2)
    publish(home, build, moments[0])
    before = OnlineRows.open(home).current()
    fresh = {"c000001": Fresh(np.full(3, 7, np.float32), LATE)}
    write_overlay(home, before, fresh)
    empty(home)
    publish(home, build, moments[0 if again else 1])
    with pytest.raises(NoBuild, match="no longer current"):
        write_overlay(home, before, fresh)
    rows = OnlineRows.open(home)
    now = rows.current()
    assert (now != before, now.key != before.key, now.id == before.id) == (True, True, again)
    assert overlays(home, now) == overlays(home, before) == {}
    write_overlay(home, now, fresh)
    assert rows.latest(["c000001"])[1].matrix[0].tolist() == [7, 7, 7]


@pytest.mark.parametrize("width", [2, 4])
def test_an_overlay_row_that_does_not_fit_is_as_if_it_were_not_there(
    home: Settings, make_build: MakeBuild, width: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Else one row that an older version wrote is the error of everybody who is asked for together."""
    publish(home, make_build(NAMES, {MOMENT: constant(1)}), MOMENT)
    rows = OnlineRows.open(home)
    published = rows.current()
    for customer in ("c000001", "stranger"):
        put_overlay(home, published.number, customer, np.full(width, 7, "<f4").tobytes())
    asked = ["c000002", "c000001", "stranger"]
    for _ in range(2):
        read = rows.latest(asked)[1]
        assert read.status.tolist() == [PRESENT, PRESENT, UNKNOWN]
        assert (read.matrix[:2] == 1).all()
        assert np.isnan(read.matrix[2]).all()
        assert read.known_at.tolist() == [to_us(MOMENT)] * 3
        assert [read.consents(place) for place in range(3)] == [{}, {}, {}]
    (said,) = [record.getMessage() for record in caplog.records if record.name == "propensity.online"]
    assert published.key in said
    assert "c000001" not in said
    write_overlay(home, published, {"c000001": Fresh(np.full(3, 8, np.float32), LATE)})
    assert rows.latest(asked)[1].matrix[1].tolist() == [8, 8, 8]
