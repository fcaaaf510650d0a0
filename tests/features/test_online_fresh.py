"""Overlays of fresh events, consents beside the rows, and erasure: in both stores alike."""

import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from builds_by_hand import MOMENT, NAMES, MakeBuild, constant, weeks, write_build
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from logs import write_log

from features.errors import FeatureError, NoBuild
from features.moments import DAY, to_us
from features.online import (
    EXPIRED,
    PRESENT,
    UNKNOWN,
    Fresh,
    OnlineRows,
    erase,
    overlays,
    publish,
    write_overlay,
)
from features.settings import Settings

HOUR = DAY / 24
EMAIL, SMS = ("email", "marketing"), ("sms", "service")


@pytest.fixture
def home(stored: Settings) -> Settings:
    return stored


def fresh(value: float, moment: datetime, **consents: bool) -> Fresh:
    said = {{"email": EMAIL, "sms": SMS}[channel]: given for channel, given in consents.items()}
    return Fresh(np.full(3, value, np.float32), moment, said)


def log_of(home: Settings, **tables: list[dict[str, object]]) -> None:
    """The tables of the log that builds by hand name."""
    write_log(home.home / "log" / "hand", tables)


def consent(customer: str, day: int, status: str, channel: str = "email", late: int = 0) -> dict[str, object]:
    at = MOMENT + day * DAY
    purpose = "marketing" if channel == "email" else "service"
    of = {"customer_id": customer, "channel": channel, "purpose": purpose, "status": status}
    return {**of, "at": at, "known_at": at + late * DAY}


def test_a_fresh_row_replaces_the_published_one_and_makes_a_new_customer_known(
    home: Settings, make_build: MakeBuild
) -> None:
    """Else: a customer is decided on as she was last night."""
    publish(home, make_build(NAMES, {MOMENT: constant(1)}), MOMENT)
    rows = OnlineRows.open(home)
    published = rows.current()
    write_overlay(home, published, {"c000001": fresh(7, MOMENT + HOUR), "new": fresh(8, MOMENT + 2 * HOUR)})
    for read in (
        rows.read(published, asked := ["c000002", "new", "c000001", "x", "new"]),
        rows.latest(asked)[1],
    ):
        assert read.status.tolist() == [PRESENT, PRESENT, PRESENT, UNKNOWN, PRESENT]
        np.testing.assert_array_equal(read.matrix[:, 0], [1, 8, 7, np.nan, 8])
        ages = [(moment - to_us(MOMENT)) / 3.6e9 for moment in read.known_at.tolist()]
        assert ages == [0, 2, 1, 0, 2]
    assert overlays(home, published) == {"c000001": MOMENT + HOUR, "new": MOMENT + 2 * HOUR}


def test_a_fresh_row_keeps_a_customer_answerable_when_the_publication_is_too_old(
    home: Settings, make_build: MakeBuild
) -> None:
    """Expiry is the row's own: what was computed an hour ago is not a fortnight old."""
    publish(home, make_build(NAMES, {MOMENT: constant(1)}), MOMENT)
    rows = OnlineRows.open(home)
    late = MOMENT + home.expire_after
    write_overlay(home, rows.current(), {"c000001": fresh(7, late)})
    read = rows.read(rows.current(), ["c000001", "c000002", "x"], late + HOUR)
    assert read.status.tolist() == [PRESENT, EXPIRED, UNKNOWN]
    assert np.isnan(read.matrix[1:]).all()


@examples(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hours=st.lists(st.integers(-400, 400), min_size=1, max_size=6))
def test_the_row_of_the_latest_moment_stays_in_whatever_order_they_come(
    hours: list[int], home: Settings, make_build: MakeBuild
) -> None:
    """Else: of two workers, the slower one puts a customer back to what she was. Equal moments: the last."""
    publish(home, make_build(NAMES, {MOMENT: constant(1)}), MOMENT)
    rows = OnlineRows.open(home)
    one = f"c{hours}"  # no hash: that of -1 is that of -2
    for place, hour in enumerate(hours):
        write_overlay(home, rows.current(), {one: fresh(place, MOMENT + hour * HOUR)})
    last = max(range(len(hours)), key=lambda place: (hours[place], place))
    read = rows.read(rows.current(), [one])
    assert (read.matrix[0, 0], read.known_at[0]) == (last, to_us(MOMENT + hours[last] * HOUR))


def test_a_new_publication_starts_without_overlays_and_says_what_it_may_lack(
    home: Settings, make_build: MakeBuild
) -> None:
    """Else: what a build folded in is served twice, or an event that came meanwhile is lost in silence."""
    build, moments = weeks(make_build, 2)
    publish(home, build, moments[0])
    rows = OnlineRows.open(home)
    first = rows.current()
    write_overlay(
        home, first, {"c000001": fresh(7, moments[1] - HOUR), "c000002": fresh(8, moments[1] + HOUR)}
    )
    publish(home, build, moments[1])
    second = rows.current()
    assert (rows.read(second, ["c000001", "c000002"]).matrix == 1).all()
    with pytest.raises(NoBuild, match="no longer current"):  # else nobody would ever read it
        write_overlay(home, first, {"c000003": fresh(9, moments[1] + HOUR)})
    late = [id for id, moment in overlays(home, first).items() if moment > second.moment]
    assert late == ["c000002"]
    write_overlay(home, second, {id: fresh(8, moments[1] + HOUR) for id in late})
    assert rows.read(second, ["c000001", "c000002"]).matrix[:, 0].tolist() == [1, 8]
    assert rows.rollback() == first
    assert rows.latest(["c000001"])[1].matrix[0, 0] == 7


def test_a_row_of_other_features_is_refused(home: Settings, make_build: MakeBuild) -> None:
    """Else: values slide into the next feature's place."""
    publish(home, make_build(NAMES, {MOMENT: constant(1)}), MOMENT)
    rows = OnlineRows.open(home)
    with pytest.raises(FeatureError, match="3 features"):
        write_overlay(home, rows.current(), {"c000001": Fresh(np.zeros(4, np.float32), MOMENT)})


WRITE = """
import sys
import numpy as np
from features.online import Fresh, OnlineRows, write_overlay
from features.settings import Settings
settings = Settings.from_env()
published = OnlineRows.open(settings).current()
row = np.full(len(published.features), 7, np.float32)
write_overlay(settings, published, {"c000001": Fresh(row, published.moment)})
loaded = {"feast", "pandas", "duckdb", "pyarrow"} & set(sys.modules)
sys.exit(f"a writer of overlays loaded {loaded}" if loaded else 0)
"""


def test_another_process_sees_it_with_its_next_read(home: Settings, make_build: MakeBuild) -> None:
    """Else: the worker that took the event is the only one that knows; or the service loads pandas."""
    publish(home, make_build(NAMES, {MOMENT: constant(1)}), MOMENT)
    rows = OnlineRows.open(home)
    assert rows.latest(["c000001"])[1].matrix[0, 0] == 1
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PROPENSITY_HOME": str(home.home),
        "PROPENSITY_ONLINE": home.online,
        "PROPENSITY_ONLINE_TIMEOUT_MS": "30000",
    }
    subprocess.run([sys.executable, "-c", WRITE], check=True, env=environment)
    assert rows.latest(["c000001"])[1].matrix[0, 0] == 7


def test_an_overlay_does_not_wait_for_a_publication_that_is_being_written(tmp_path: Path) -> None:
    """Else: while 200,000 rows are published, no event is seen. SQLite has one writer at a time."""
    settings = Settings(home=tmp_path / "home")
    width, customers = 60, 30_000
    names = [f"f{n}" for n in range(width)]
    moments = [MOMENT, MOMENT + DAY]
    build = write_build(settings, names, {m: constant(n, customers, width) for n, m in enumerate(moments)})
    publish(settings, build, MOMENT)
    rows = OnlineRows.open(settings)
    first = rows.current().number
    code = (
        "import sys; from features.compute.builds import Build; from features.online import publish; "
        "from features.settings import Settings; s = Settings.from_env(); b = Build.open(s); "
        "import os; os.nice(10); publish(s, b, b.moments[-1])"  # nice: we look oftener than it writes
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PROPENSITY_HOME": str(settings.home)}
    publishing = subprocess.Popen([sys.executable, "-c", code], env=environment)
    written = []
    with sqlite3.connect(settings.home / "online" / "rows.sqlite") as other:
        while publishing.poll() is None:
            of = f"select count(*) from packed where publication != {first}"
            count = other.execute(of).fetchone()[0]
            if 0 < count < customers:
                try:
                    write_overlay(
                        settings, rows.current(), {"c000001": Fresh(np.zeros(width, np.float32), MOMENT)}
                    )
                    written.append(count)
                except NoBuild:  # flipped meanwhile
                    break
            time.sleep(0.001)
    other.close()
    assert publishing.wait() == 0
    assert written  # between its transactions, not after them


def test_consents_are_the_last_word_that_was_known(home: Settings, make_build: MakeBuild) -> None:
    """Else: somebody is written to who had asked for silence."""
    log_of(
        home,
        consents=[
            consent("c000001", -9, "granted"),
            consent("c000001", -2, "withdrawn"),
            consent("c000001", -9, "granted", "sms"),
            consent("c000002", -5, "withdrawn"),
            consent("c000002", -1, "granted", late=3),  # not known yet
            consent("c000003", -1, "granted"),
        ],
    )
    publish(home, make_build(NAMES, {MOMENT: constant(1)}), MOMENT)
    rows = OnlineRows.open(home)
    published = rows.current()
    assert rows.consents(published, "c000001") == {EMAIL: False, SMS: True}
    assert rows.consents(published, "c000002") == {EMAIL: False}
    assert rows.consents(published, "c000003") == {EMAIL: True}
    assert rows.consents(published, "c000004") == rows.consents(published, "x") == {}
    read = rows.read(published, ["c000003", "x", "c000001"])
    assert (read.consents(0), read.consents(1)) == ({EMAIL: True}, {})
    assert (read.matrix[[0, 2]] == 1).all()


def test_fresh_consents_stand_above_the_published_ones(home: Settings, make_build: MakeBuild) -> None:
    """Else: a withdrawal binds from tomorrow on, or a fresh visit hides an older withdrawal."""
    log_of(home, consents=[consent("c000001", -9, "granted"), consent("c000001", -9, "withdrawn", "sms")])
    publish(home, make_build(NAMES, {MOMENT: constant(1)}), MOMENT)
    rows = OnlineRows.open(home)
    published = rows.current()
    write_overlay(home, published, {"c000001": fresh(2, MOMENT + HOUR), "new": fresh(2, MOMENT, sms=False)})
    assert rows.consents(published, "c000001") == {EMAIL: True, SMS: False}
    assert rows.consents(published, "new") == {SMS: False}
    write_overlay(home, published, {"c000001": fresh(3, MOMENT + 2 * HOUR, email=False)})
    assert rows.consents(published, "c000001") == {EMAIL: False, SMS: False}


def test_two_sources_that_contradict_each_other_mean_no(home: Settings, make_build: MakeBuild) -> None:
    log_of(home, consents=[consent("c000001", -3, "withdrawn"), consent("c000001", -3, "granted")])
    publish(home, make_build(NAMES, {MOMENT: constant(1)}), MOMENT)
    rows = OnlineRows.open(home)
    assert rows.consents(rows.current(), "c000001") == {EMAIL: False}


def identity(source: str, id: str, customer: str, day: int = -9) -> dict[str, object]:
    at = MOMENT + day * DAY
    return {"source": source, "source_id": id, "customer_id": customer, "at": at, "known_at": at}


def test_an_identity_resolves_to_whom_it_was_given_last_by_then(
    home: Settings, make_build: MakeBuild
) -> None:
    """Else: a shop whose till cards change hands is answered about the former holder."""
    given = [("crm", "7", "c000001", -9), ("crm", "7", "c000002", -3), ("crm", "8", "c000003", 1)]
    log_of(home, identities=[identity(*of) for of in [*given, ("crm7", "", "c000004", -9)]])
    build = make_build(NAMES, {MOMENT: constant(1)})
    rows = OnlineRows.open(home)
    with pytest.raises(NoBuild):
        rows.resolve([("crm", "7")])
    publish(home, build, MOMENT)
    assert rows.resolve([("crm", "7"), ("crm", "8"), ("crm7", ""), ("", "crm7")]) == [
        "c000002",
        None,
        "c000004",
        None,
    ]
    assert rows.resolve([]) == []


def test_an_erased_customer_is_gone_from_every_publication_and_no_rollback_brings_her_back(
    home: Settings, make_build: MakeBuild
) -> None:
    """Else: a person who asked to be forgotten is answered about after the next rollback."""
    who = "Zoë-to-forget"
    ids = [*constant(0)[0], who]
    log_of(
        home,
        consents=[consent(who, -9, "granted"), consent("c000001", -9, "granted")],
        identities=[identity("crm", "7", who), identity("crm", "8", "c000001")],
    )
    moments = [MOMENT, MOMENT + DAY]
    snapshots = {m: (ids, np.full((51, 3), n, np.float32)) for n, m in enumerate(moments)}
    build = make_build(NAMES, snapshots)
    for moment in moments:
        publish(home, build, moment)
    rows = OnlineRows.open(home)
    write_overlay(home, rows.current(), {who: fresh(7, moments[1]), "c000001": fresh(7, moments[1])})
    assert erase(home, [who, "never seen"]) == 2
    assert erase(home, [who]) == 0
    for _ in moments:
        published, read = rows.latest([who, "c000001"])
        assert read.status.tolist() == [UNKNOWN, PRESENT]
        assert (read.consents(0), read.consents(1)) == ({}, {EMAIL: True})
        assert rows.resolve([("crm", "7"), ("crm", "8")]) == [None, "c000001"]
        assert who not in overlays(home, published)
        if published.moment == moments[1]:
            rows.rollback()
    for file in (home.home / "online").glob("rows.sqlite*"):
        assert who.encode() not in file.read_bytes()
    # What is left of the build is what is published: the builds and the log obey the same erasure.
    log_of(home, consents=[consent("c000001", -9, "granted")], identities=[identity("crm", "8", "c000001")])
    table = pq.read_table(build.path(MOMENT))
    pq.write_table(table.slice(0, 50), build.path(MOMENT))
    before = [kept.published for kept, _ in rows.publications()]
    publish(home, build, MOMENT)
    assert [kept.published for kept, _ in rows.publications()] == before


def test_reads_follow_expiry_and_moments_of_their_own_settings(home: Settings, make_build: MakeBuild) -> None:
    publish(home, make_build(NAMES, {MOMENT: constant(1)}), MOMENT)
    rows = OnlineRows.open(replace(home, expire_after=DAY))
    write_overlay(home, rows.current(), {"c000001": fresh(7, MOMENT + HOUR)})
    read = rows.latest(["c000001", "c000002"], MOMENT + DAY + HOUR)[1]
    assert read.status.tolist() == [PRESENT, EXPIRED]
