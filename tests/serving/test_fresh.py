"""From an event to the next read and the next decision, with the real service over the real log."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from logs import TODAY, empty_shop, real_data
from numpy.typing import NDArray
from running import LONG, Running, release, running, settings_of, until
from servers import RedisServer, redis_server

from features import duck, fresh, online
from features.compute.builds import Build
from features.compute.engine import build
from features.inbox import Inbox
from features.ingestion.ingest import ingest
from features.log import Log
from features.moments import DAY, iso, parse_moment
from features.online import PRESENT, UNKNOWN, OnlineRows
from features.settings import Settings
from features.sources import complete_journey
from features.tombstones import Tombstones
from propensity.steps import take_inbox
from serving.arrivals import EventAnswer, take
from serving.companion import environment_of

CUT = parse_moment("2017-11-10")
LATER = TODAY + timedelta(hours=6)  # the service's now: an overlay is younger than what is published


@dataclass
class World:
    """A shop whose nightly files end at CUT for `late`, and what a log with all of it knows."""

    settings: Settings  # of the log that was cut
    whole: Settings
    late: list[str]
    rest: list[str]  # who loses nothing
    events: list[dict[str, Any]]  # what is missing of them


Pair = tuple[Settings, Running, Running]


def subset(folder: Path, everyone: Sequence[str], late: Sequence[str]) -> Path:
    """The raw files of the real log with these households, and of the late ones only what was before CUT."""
    source = real_data("complete_journey")
    folder.mkdir(parents=True)
    cut = f"'{CUT:%Y-%m-%d}'"
    started = (
        f"SELECT campaign_id FROM read_parquet('{source}/campaign_descriptions.parquet') WHERE start_date"
    )
    after = {
        "transactions": f"transaction_timestamp > {cut}",
        "campaigns": f"campaign_id IN ({started} > {cut})",
        "coupon_redemptions": f"redemption_date > {cut}",
    }
    with duck.connect() as connection:
        for name in complete_journey.FILES:
            rows = f"SELECT * FROM read_parquet('{source / name}.parquet')"
            if name in (*after, "demographics"):
                rows += f" WHERE household_id IN ({', '.join(everyone)})"
            if name in after and late:
                rows += f" AND NOT (household_id IN ({', '.join(late)}) AND {after[name]})"
            if name == "products":
                rows += f" WHERE product_id IN (SELECT product_id FROM '{folder / 'transactions.parquet'}')"
            connection.execute(f"COPY ({rows}) TO '{folder / name}.parquet'")
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("fresh")
    source = real_data("complete_journey")
    with duck.connect() as connection:
        rows = connection.sql(
            f"""SELECT household_id::VARCHAR FROM read_parquet('{source}/coupon_redemptions.parquet')
                WHERE redemption_date > '{CUT:%Y-%m-%d}' GROUP BY ALL ORDER BY count(*) DESC, 1 LIMIT 40"""
        ).fetchall()
    everyone = [id for (id,) in rows]
    late = everyone[:8]
    settings = settings_of(folder / "home", TODAY)
    whole = replace(settings, home=folder / "whole")
    ingest(settings, folder=subset(folder / "cut", everyone, late))
    ingest(whole, folder=subset(folder / "full", everyone, []))
    build(whole, [TODAY])
    made, _ = build(settings, [TODAY - 7 * DAY, TODAY])
    online.publish(settings, made, TODAY)
    release(settings, folder, made, "churn_28d")
    return World(replace(settings, as_of=LATER), whole, late, everyone[8:], events_of(Log.open(whole), late))


def events_of(log: Log, customers: Sequence[str]) -> list[dict[str, Any]]:
    """What the log has of them after CUT, as the shop's systems would have told it."""

    def rows(table: str) -> list[dict[str, Any]]:
        found = log.read(table).to_pylist()
        return [
            r for r in found if r["customer_id"] in customers and r["at"] > CUT and r["known_at"] <= LATER
        ]

    def event(type: str, id: str, row: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
        given = {name: row[name] for name in names if row[name] is not None}
        given = {
            n: iso(v) if n == "until" else v if isinstance(v, int | str) else str(v) for n, v in given.items()
        }
        common = {
            "type": type,
            "source": "shop",
            "id": id,
            "customer": row["customer_id"],
            "at": iso(row["at"]),
        }
        return common | given

    line = (
        "product_id",
        "category",
        "department",
        "brand",
        "items",
        "measure",
        "amount",
        "discount",
        "coupon",
    )
    lines: dict[str, list[dict[str, Any]]] = {}
    for row in rows("order_lines"):
        of = event("", "", row, line)
        lines.setdefault(row["order_id"], []).append({name: of[name] for name in line if name in of})
    order = ("channel", "store_id", "amount", "discount")
    contact = ("campaign_id", "action", "channel", "until")
    return [
        *(event("order", r["order_id"], r, order) | {"lines": lines[r["order_id"]]} for r in rows("orders")),
        *(event("contact", r["contact_id"], r, contact) for r in rows("contacts")),
        *(
            event("response", r["response_id"], r, ("kind", "contact_id", "campaign_id"))
            for r in rows("responses")
        ),
    ]


def post(service: Running, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    response = service.client.post("/v1/events", json={"events": events})
    assert response.status_code == 200, response.text
    results: list[dict[str, Any]] = response.json()["results"]
    return results


def order(id: str, customer: Any, **of: Any) -> dict[str, Any]:
    usual = {"type": "order", "source": "till", "at": iso(TODAY), "channel": "store", "amount": 10}
    return usual | {"id": id, "customer": customer} | of


def nobody(people: Sequence[Any]) -> list[str | None]:
    """Nobody is known by another system's id."""
    return [None] * len(people)


def tell(settings: Settings, events: Sequence[dict[str, Any]]) -> list[EventAnswer]:
    """What the route does, without it."""
    with closing(Inbox(settings)) as inbox:
        told = take(json.dumps({"events": events}).encode(), "0" * 32, settings, inbox, nobody)
    answers = [answer for answer in told.results if isinstance(answer, EventAnswer)]
    assert len(answers) == len(events)
    return answers


def feature(settings: Settings, customer: str, name: str) -> float:
    rows = OnlineRows.open(settings)
    published = rows.current()
    read = rows.read(published, [customer])
    return float(read.matrix[0, list(published.features).index(name)])


def row(settings: Settings, ids: Sequence[str]) -> NDArray[np.float32]:
    rows = OnlineRows.open(settings)
    return rows.read(rows.current(), ids).matrix


def companions(service: Running) -> list[int]:
    """Processes that the service started to write fresh rows."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == service.process.pid and b"features.fresh" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except (OSError, ValueError, IndexError):
            continue
    return found


def sole_companion(*services: Running) -> int:
    """The one that keeps their rows. Of two that start at once the other leaves as soon as it has looked."""
    until(lambda: any(re.search(r"fresh rows ready in \d+\.\d s", service.log) for service in services))
    until(lambda: len([pid for service in services for pid in companions(service)]) == 1)
    (pid,) = [pid for service in services for pid in companions(service)]
    return pid


def copied(world: World, folder: Path, **of: Any) -> Settings:
    """A home of its own, with the same log, build and publication."""
    shutil.copytree(world.settings.home, folder / "home", ignore=shutil.ignore_patterns("inbox"))
    return replace(world.settings, home=folder / "home", **of)


@pytest.fixture(scope="module")
def pair(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two services of one home."""
    settings = copied(world, tmp_path_factory.mktemp("pair"))
    with running(settings) as one, running(settings) as other:
        yield settings, one, other


def of_whole(world: World, settings: Settings) -> NDArray[np.float32]:
    """The late customers' rows, now, in a build of the log that has everything."""
    made, _ = build(world.whole, [LATER], current=False)
    table = made.read(LATER)
    place = {id: n for n, id in enumerate(table["customer_id"].to_pylist())}
    columns = [table[name].to_numpy() for name in Build.open(settings).features]
    return np.column_stack(columns)[[place[id] for id in world.late]]


def test_the_overlay_is_what_a_build_with_these_events_says_value_for_value(world: World, pair: Pair) -> None:
    """Skew between the overlay and the next build would decide differently about her in the morning."""
    settings, one, other = pair
    expected = of_whole(world, settings)
    assert (row(settings, world.late) != expected).any(axis=1).all()
    before = row(settings, world.rest)
    for number, start in enumerate(range(0, len(world.events), 100)):
        answers = post((one, other)[number % 2], world.events[start : start + 100])
        assert [answer for answer in answers if "error" in answer] == []
    until(lambda: np.array_equal(row(settings, world.late), expected, equal_nan=True))
    np.testing.assert_array_equal(row(settings, world.rest), before)


def test_the_same_holds_in_redis(world: World, tmp_path: Path, redis_of_all: RedisServer) -> None:
    with redis_of_all.client() as client:
        client.flushall()
    settings = replace(copied(world, tmp_path), online=redis_of_all.url)
    online.publish(settings, Build.open(settings), TODAY)
    tell(settings, world.events)
    overlay = fresh.Overlay(settings)
    until(lambda: overlay.step() > 0)
    expected = of_whole(world, settings)
    np.testing.assert_array_equal(row(settings, world.late), expected)


def test_two_services_of_one_home_see_each_others_events_by_one_companion(world: World, pair: Pair) -> None:
    """Workers share the inbox and the overlay; two that wrote the same rows would only cost twice."""
    _, one, other = pair
    known, new = world.rest[0], "nobody before"
    before = other.scores(known).json()["results"][0]
    post(one, [order("a", known), order("b", new), order("c", known, source="web")])
    post(other, [order("d", {"source": "web", "id": "42"})])
    until(lambda: other.scores(known).json()["results"][0]["known_at"] == iso(LATER))
    after = [service.scores(known).json()["results"][0] for service in (one, other)]
    assert after[0] == after[1]
    assert after[0]["scores"] != before["scores"]
    until(lambda: "scores" in one.scores({"source": "web", "id": "42"}).json()["results"][0])
    assert one.scores(new).json()["results"][0]["known_at"] == iso(LATER)
    assert sole_companion(one, other)


def test_the_companion_says_when_it_is_ready_and_has_loaded_nothing_for_nobodys_use(pair: Pair) -> None:
    """The first event after a start waits for what is not loaded yet: pandas and scipy took half of it."""
    _, *services = pair
    loaded = Path(f"/proc/{sole_companion(*services)}/maps").read_text()
    assert "llvmlite" in loaded, "or this test could not fail"
    assert [name for name in ("/pandas/", "/scipy/") if name in loaded] == []


def test_an_operator_sees_how_long_events_wait_for_their_fresh_row(pair: Pair) -> None:
    """Scores that are silently of yesterday look like any others."""
    settings, *services = pair

    def waits(service: Running) -> float:
        (line,) = re.findall(
            r"^propensity_fresh_lag_seconds (.+)$", service.client.get("/metrics").text, re.M
        )
        return float(line)

    until(lambda: [waits(service) for service in services] == [0, 0])
    pid = sole_companion(*services)
    os.kill(pid, signal.SIGSTOP)
    try:
        post(services[0], [order("waits", "who waits")])
        first = waits(services[1])
        assert first > 0
        until(lambda: waits(services[1]) > first + 0.1)
        assert waits(services[0]) > first
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: [waits(service) for service in services] == [0, 0])
    assert OnlineRows.open(settings).latest(["who waits"])[1].status[0] != UNKNOWN


def test_after_the_next_build_the_log_says_the_same_and_nothing_is_counted_twice(
    world: World, tmp_path: Path
) -> None:
    """The build takes the inbox in: the overlay goes, its values stay; a nightly file brings the same."""
    settings = copied(world, tmp_path, as_of=TODAY)
    tell(settings, [event for event in world.events if event["at"] <= iso(TODAY)])
    overlay = fresh.Overlay(settings)
    until(lambda: overlay.step() > 0)
    expected = row(settings, world.late)
    taken_in = take_inbox(settings)
    made, _ = build(settings, [TODAY])
    with closing(Inbox(settings)) as inbox:
        assert (made.log, inbox.taken(made.log)) == (taken_in.fingerprint, inbox.last())
    online.publish(settings, made, TODAY)
    current = OnlineRows.open(settings).current()
    assert (current.build, online.overlays(settings, current)) == (made.id, {})
    np.testing.assert_array_equal(row(settings, world.late), expected)
    for _ in range(3):
        assert overlay.step() == 0, "what the log has is not overlaid again"
    assert take_inbox(settings).fingerprint == taken_in.fingerprint
    log = Log.open(settings)
    assert log.complete_until == Log.open(world.whole).complete_until, "an inbox completes no log"
    full = world.whole.home.parent / "full"
    ingest(settings, folder=full)
    after, _ = build(settings, [TODAY])
    whole = Build.open(world.whole).read(TODAY)
    again = after.read(TODAY).select(whole.column_names)
    assert again["customer_id"].to_pylist() == whole["customer_id"].to_pylist()
    for name in list(Build.open(world.whole).features):
        np.testing.assert_array_equal(again[name].to_numpy(), whole[name].to_numpy(), err_msg=name)


def test_of_two_companions_that_start_together_one_leaves_as_it_should(tmp_path: Path) -> None:
    """Else an operator who starts two services reads of a crash, of Python's own, that is none."""
    settings = Settings(home=tmp_path)
    command = [sys.executable, "-m", "features.fresh", "--while-fed"]
    with fresh._sole(settings) as alone:
        assert alone
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment_of(settings)
        ) as second:
            assert second.stderr is not None
            assert (second.wait(LONG), second.stderr.read()) == (fresh.TAKEN, b"")


def test_a_killed_companion_is_replaced_and_no_event_is_lost_or_counted_twice(
    world: World, tmp_path: Path
) -> None:
    """What was accepted while nobody wrote fresh rows is written by the next one."""
    settings = copied(world, tmp_path)
    customer = world.late[0]
    before = feature(settings, customer, "orders_7d")
    with running(settings) as service:
        for number in range(12):
            (answer,) = post(service, [order(f"o{number}", customer)])
            assert answer["status"] == "accepted"
            if number in (3, 7):
                until(lambda: len(companions(service)) == 1)
                os.kill(companions(service)[0], signal.SIGKILL)
        assert [a["status"] for a in post(service, [order("o3", customer)])] == ["duplicate"]
        until(lambda: feature(settings, customer, "orders_7d") >= before + 12)
        assert feature(settings, customer, "orders_7d") == before + 12
        started = companions(service)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started))


def test_a_killed_service_keeps_every_event_that_it_accepted(world: World, tmp_path: Path) -> None:
    """A caller who has the answer never sends it again; one who has not sends it again, at no harm."""
    settings = copied(world, tmp_path)
    customer, accepted = world.late[1], list[int]()
    before = feature(settings, customer, "orders_7d")
    with pytest.raises(AssertionError):  # a service that is killed does not end well
        _post_until_killed(settings, customer, accepted)
    until(lambda: not fresh.watched(settings))  # the companion ends with its service
    everything = range(len(accepted) + 1)  # the last one had no answer
    answers = tell(settings, [order(f"o{number}", customer) for number in everything])
    assert {answer.status for answer in answers[:-1]} == {"duplicate"}
    overlay = fresh.Overlay(settings)
    until(lambda: overlay.step() > 0)
    assert feature(settings, customer, "orders_7d") == before + len(everything)


def _post_until_killed(settings: Settings, customer: str, accepted: list[int]) -> None:
    with running(settings) as service:

        def send() -> None:
            for number in range(10_000):
                try:
                    (answer,) = post(service, [order(f"o{number}", customer)])
                except httpx.HTTPError:
                    return
                if answer.get("status") == "accepted":
                    accepted.append(number)

        sender = threading.Thread(target=send)
        sender.start()
        until(lambda: len(accepted) > 20)
        started = companions(service)
        service.process.kill()
        sender.join()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started))


def test_after_a_flip_the_new_publication_is_overlaid_with_what_it_does_not_know(
    world: World, tmp_path: Path
) -> None:
    """A build of last night must not take back what happened this morning; nor a rollback."""
    settings = copied(world, tmp_path)
    customer = world.late[3]
    overlay = fresh.Overlay(settings)
    tell(settings, [order("o1", customer)])
    until(lambda: overlay.step() > 0)
    first = row(settings, [customer])
    online.publish(settings, Build.open(settings), TODAY - 7 * DAY)
    stale = row(settings, [customer])
    assert not np.array_equal(stale, first, equal_nan=True)
    until(lambda: overlay.step() > 0)
    np.testing.assert_array_equal(row(settings, [customer]), first)


def test_after_redis_lost_all_the_same_publication_is_overlaid_anew(
    world: World, tmp_path: Path, redis_of_all: RedisServer
) -> None:
    """Else what a customer said since is unknown until the next build, to who takes her row for overlaid."""
    settings = replace(copied(world, tmp_path), online=redis_of_all.url)
    customer = world.late[3]
    with redis_of_all.client() as client, closing(Inbox(settings)) as inbox:

        def emptied() -> None:
            client.flushall()
            online.publish(settings, Build.open(settings), TODAY)

        emptied()
        overlay = fresh.Overlay(settings)
        tell(settings, [order("o1", customer)])
        until(lambda: overlay.step() > 0)
        first, said = row(settings, [customer]), inbox.overlaid(customer)
        published = OnlineRows.open(settings).current()
        assert said == (published.key, inbox.last())
        emptied()
        now = OnlineRows.open(settings).current()
        assert (now.id, now.key == said[0]) == (published.id, False), "nobody takes her row for overlaid"
        assert not np.array_equal(row(settings, [customer]), first, equal_nan=True)
        until(lambda: overlay.step() > 0)
        np.testing.assert_array_equal(row(settings, [customer]), first)
        assert inbox.overlaid(customer) == (now.key, inbox.last())


def test_what_redis_lost_in_a_crash_is_written_again_and_who_was_erased_is_erased_again(
    world: World, tmp_path: Path
) -> None:
    """It comes back as it was minutes ago: an order would be unknown all day, an erased person scored."""
    customer, other, erased = world.late[3:6]
    with redis_server(tmp_path) as server, server.client() as client:
        settings = replace(copied(world, tmp_path), online=server.url)
        online.publish(settings, Build.open(settings), TODAY)
        overlay, rows = fresh.Overlay(settings), OnlineRows.open(settings)
        tell(settings, [order("o1", other)])
        until(lambda: overlay.step() > 0)
        client.save()
        tell(settings, [order("o2", customer)])
        until(lambda: overlay.step() > 0)
        first = row(settings, [customer, other])
        Tombstones.of(settings).having([erased]).write()
        assert online.erase(settings, [erased]) == 1
        server.stop()
        server.start()
        assert not np.array_equal(row(settings, [customer, other]), first, equal_nan=True)
        assert rows.latest([erased])[1].status[0] == PRESENT
        until(lambda: overlay.step() > 0)
        np.testing.assert_array_equal(row(settings, [customer, other]), first)
        assert rows.latest([erased])[1].status[0] == UNKNOWN
        time.sleep(1.5 * fresh.CHECK)
        assert overlay.step() == 0, "once"


def test_a_redis_that_still_reads_what_it_saved_is_looked_at_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It says who it is long before it answers: who takes that for all never writes again what it lost."""
    monkeypatch.setattr(fresh, "RETRY", 0.05)
    monkeypatch.setattr(fresh, "CHECK", 0.05)
    customer = world.late[3]
    with redis_server(tmp_path) as server, server.client() as client, ThreadPoolExecutor(1) as pool:
        settings = replace(copied(world, tmp_path), online=server.url)
        online.publish(settings, Build.open(settings), TODAY)
        for number in range(5):  # while it reads, it answers after every two megabytes
            client.set(f"more-{number}", os.urandom(3 << 20))
        client.save()
        overlay = fresh.Overlay(settings)
        tell(settings, [order("o1", customer)])
        until(lambda: overlay.step() > 0)
        first = row(settings, [customer])
        server.stop()
        loaded = pool.submit(server.start, "--key-load-delay", "200000")
        until(lambda: overlay.step() > 0)
        loaded.result()
        np.testing.assert_array_equal(row(settings, [customer]), first)
    assert "BusyLoadingError" in caplog.text


def test_what_the_log_has_already_is_not_counted_again(world: World, tmp_path: Path) -> None:
    """A shop that tells an order tonight, which the nightly file brought before, has sold it once."""
    settings = copied(world, tmp_path)
    customer = world.rest[1]
    before = {name: feature(settings, customer, name) for name in ("orders_365d", "lines_365d")}
    rows = Log.open(settings).read("orders").to_pylist()
    known = [r["order_id"] for r in rows if r["customer_id"] == customer and r["at"] > CUT]
    line = {"product_id": "1", "amount": 10}
    tell(settings, [order(known[0], customer, lines=[line] * 99), order("new", customer, lines=[line])])
    overlay = fresh.Overlay(settings)
    until(lambda: overlay.step() > 0)
    after = {name: feature(settings, customer, name) - value for name, value in before.items()}
    assert after == {"orders_365d": 1, "lines_365d": 1}


def test_who_is_erased_while_her_row_is_computed_does_not_come_back_by_it(
    world: World, tmp_path: Path
) -> None:
    """An erasure that a slow process undoes is none."""
    settings = copied(world, tmp_path)
    customer = world.late[5]
    tell(settings, [order("o1", customer)])
    Tombstones.of(settings).having([customer], []).write()
    until(lambda: fresh.Overlay(settings).step() > 0)
    rows = OnlineRows.open(settings)
    assert rows.read(rows.current(), [customer]).status[0] == UNKNOWN


def test_fresh_rows_wait_with_a_named_error_while_the_declarations_are_others(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A row of other features than the published ones would be scored as if it were one of them."""
    shop = empty_shop(tmp_path / "shop", shop_py="")
    settings = replace(copied(world, tmp_path), shop=shop)
    text = (shop / "shop.toml").read_text("utf-8").replace("America/New_York", "Europe/Paris")
    (shop / "shop.toml").write_text(text, "utf-8")
    tell(settings, [order("o1", world.late[4])])
    before = row(settings, world.late[4:5])
    assert fresh.Overlay(settings).step() == 0
    assert "feature_mismatch" in caplog.text
    assert world.late[4] not in re.findall(r"\w+", caplog.text)
    np.testing.assert_array_equal(row(settings, world.late[4:5]), before)
