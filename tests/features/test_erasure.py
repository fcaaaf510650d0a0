"""Who asked to be forgotten is nowhere, stays nowhere, and nobody else's history changes for it."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from deliveries import deliver, identity, order
from dirty import TILL, bring_in, write_shop
from servers import RedisServer

from features.compute.builds import Build
from features.compute.engine import build
from features.errors import UnknownCustomer
from features.ingestion import rejects
from features.ingestion.ingest import take
from features.log import Log
from features.moments import parse_moment
from features.online import PRESENT, UNKNOWN, OnlineRows, publish
from features.settings import Settings
from features.tombstones import Tombstones
from propensity import main
from propensity.erasing import erase

MOMENT = parse_moment("2017-02-10")
HER, OLD, OTHER = "anna-75310246", "anna-old-75310246", "bert-1234"


def _sources(folder: Path) -> list[object]:
    till = [
        order("1", HER, "2017-01-02"),
        order("2", OTHER, "2017-01-03", "7.00"),
        order("3", HER, "2017-01-04", "not money"),
        order("4", OTHER, "2017-01-04", "not money"),
    ]
    same = [identity("till", OLD, HER, "2017-01-09"), identity("till", OLD, OLD, "2017-01-05")]
    web = {"orders": [order("w1", OLD, "2017-01-05")], "identities": same}
    return [deliver(folder / "till", "till", {"orders": till}), deliver(folder / "web", "web", web)]


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """A home with everything in it that knows her."""
    settings = Settings(home=tmp_path / "home")
    till, web = _sources(tmp_path)
    take(settings, [till])  # a generation that a build names
    build(settings, [MOMENT])
    take(settings, [web])
    scores = settings.home / "scores" / "churn" / "1" / "20170210T000000Z.parquet"
    scores.parent.mkdir(parents=True)
    pq.write_table(pa.table({"customer_id": [HER, OTHER], "probability": [0.1, 0.2]}), scores)
    path = tmp_path / "rejects.csv"
    rejects.export(settings, path)
    path.write_text(path.read_text().replace("not money", "3.00"))
    rejects.take_in(settings, path)
    made, _ = build(settings, [MOMENT])
    publish(settings, made, MOMENT)
    return settings


def _holds(home: Settings, text: str) -> list[str]:
    """Files of the home in which a text can be read, compressed pages opened."""
    found = []
    for path in sorted(p for p in home.home.rglob("*") if p.is_file()):
        body = (
            repr(pq.read_table(path, partitioning=None).to_pylist()).encode()
            if path.suffix == ".parquet"
            else b""
        )
        if text.encode() in path.read_bytes() + body:
            found.append(str(path.relative_to(home.home)))
    return found


def test_she_is_nowhere_and_the_others_are_as_they_were(home: Settings) -> None:
    assert _holds(home, "75310246"), "or this test could not fail"
    before, snapshot = Log.open(home), Build.open(home).read(MOMENT)
    dry = erase(home, OLD, dry_run=True)
    assert _holds(home, "75310246")
    done = erase(home, OLD)
    assert _holds(home, "75310246") == []
    assert (done.ids, done.removed["orders"], done.removed["rejects"]) == (2, 3, 1)
    assert done.removed["online rows"] == 1
    assert {k: v for k, v in done.removed.items() if k in dry.removed} == dry.removed
    log = Log.open(home)
    assert (log.fingerprint, log.damaged()) == (before.fingerprint, [])
    assert log.read("orders").sort_by("order_id")["order_id"].to_pylist() == ["2", "4"]
    left = Build.open(home)
    assert left.moments == (MOMENT,), "the build stays, and is whole"
    mask = np.array([id == OTHER for id in snapshot["customer_id"].to_pylist()])
    assert repr(left.read(MOMENT).to_pylist()) == repr(snapshot.filter(pa.array(mask)).to_pylist())
    online = OnlineRows.open(home)
    assert online.read(online.current(), [HER, OLD, OTHER]).status.tolist() == [UNKNOWN, UNKNOWN, PRESENT]
    assert publish(home, left, MOMENT) == online.current().id, "publishing again what is left changes nothing"
    assert build(home, [MOMENT])[1] == 0, "nothing is computed again"
    assert erase(home, HER).removed == {}, "twice is harmless"
    with pytest.raises(UnknownCustomer):
        erase(home, "nobody")


def test_she_is_gone_from_the_store_that_was_served_before_too(
    home: Settings, redis_of_all: RedisServer
) -> None:
    """Else a change of setting, or a backup restored elsewhere, serves her again."""
    with redis_of_all.client() as client:
        client.flushdb()
    now = replace(home, online=redis_of_all.url, online_timeout=timedelta(seconds=30))
    publish(now, Build.open(now), MOMENT)
    assert erase(now, HER).removed["online rows"] == 2
    assert _holds(home, "75310246") == []
    for settings in (home, now):
        online = OnlineRows.open(settings)
        assert online.read(online.current(), [HER, OTHER]).status.tolist() == [UNKNOWN, PRESENT]


def test_the_old_files_do_not_bring_her_back(home: Settings, tmp_path: Path) -> None:
    erase(home, None, ("till", OLD))
    again = take(home, _sources(tmp_path))
    assert not again.changed
    more = [
        order("5", HER, "2017-02-02"),
        order("6", OTHER, "2017-02-02"),
        order("7", "anna-new-75310246", "2017-02-02"),
        order("8", HER, "2017-02-02", "wrong"),
    ]
    new = deliver(
        tmp_path / "more",
        "more",
        {"orders": more, "identities": [identity("till", OLD, "anna-new-75310246", "2017-02-02")]},
    )
    done = take(home, [new])
    fates = {(c.accepted, c.what): c.rows for c in done.account if (c.source, c.table) == ("more", "orders")}
    assert fates == {(True, ""): 2, (False, "erased"): 2}, "not among the rejects; who was linked since lives"
    assert _holds(home, HER) == _holds(home, OLD) == []
    fresh = Settings(home=tmp_path / "fresh")
    (fresh.home / "erased").mkdir(parents=True)
    for path in (home.home / "erased").glob("*.json"):
        (fresh.home / "erased" / path.name).write_bytes(path.read_bytes())
    take(fresh, [*_sources(tmp_path), new])
    assert _holds(fresh, HER) == _holds(fresh, OLD) == []


def test_a_tombstone_names_nobody(tmp_path: Path) -> None:
    one = Tombstones.read(tmp_path / "a").having(["7"], [("till", "7")])
    one.write()
    two = Tombstones.read(tmp_path / "b").having(["7"])
    assert set(*one.lists.values()).isdisjoint(*two.lists.values()), "another home hashes otherwise"
    read = Tombstones.read(tmp_path / "a")
    assert (read.customers(["7", "8"]), read.identities([("till", "7"), ("7", "till")])) == (
        {"7"},
        {("till", "7")},
    )
    assert read.digest == one.digest != ""
    (path,) = (tmp_path / "a").glob("*.json")
    assert path.stat().st_mode & 0o077 == 0


def test_killed_at_any_point_a_rerun_finishes(home: Settings) -> None:
    command = [sys.executable, "-m", "propensity", "erase", HER]
    chance = random.Random(3)
    for _ in range(6):
        process = subprocess.Popen(
            command,
            env={**os.environ, "PROPENSITY_HOME": str(home.home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(0.6 + 1.5 * chance.random())
        process.send_signal(signal.SIGKILL)
        process.wait()
    result = CliRunner().invoke(main, ["erase", HER], env={"PROPENSITY_HOME": str(home.home)})
    assert result.exit_code == 0, result.output
    assert HER not in result.output
    assert _holds(home, "75310246") == []
    assert Log.open(home).damaged() == []
    assert Log.open(home).read("orders").sort_by("order_id")["order_id"].to_pylist() == ["2", "4"]
    assert Build.open(home).moments == (MOMENT,)


def test_a_line_that_nobody_could_read_is_hers_however_it_writes_her_id(tmp_path: Path) -> None:
    """Else her purchases stay, with her id as her file writes it, in a line that has a comma too many."""
    read = TILL.replace('"who"', '{ column = "who", clean = ["trim", "whole"], pad = 8 }')
    ids = ("75317531.0", "0075317531", " 75317531", "8642")
    rows = "".join(f"{n},{id},2024-01-02,1,50\n" for n, id in enumerate(ids))
    files = {"orders.csv": "no,who,day,paid\n1,75317531,2024-01-02,1\n2,x,2024-01-03,1\n" + rows}
    settings = write_shop(tmp_path, "[mapping.till]\n" + read, files)
    bring_in(settings)
    assert len(_holds(settings, "75317531")) > 3, "or this test could not fail"
    done = erase(settings, "75317531")
    assert _holds(settings, "75317531") == []
    assert (done.removed["rejects"], bool(_holds(settings, "8642"))) == (3, True)
    assert not bring_in(settings).done.changed
