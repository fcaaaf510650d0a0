"""What is pushed arrives: signed, in order of each customer, again after failures; or is kept, and said."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from everyone import Everyone
from logs import ROOT
from receiver import README, SLOW, Receiver, receiving, verified
from running import LONG
from running import until as wait_until
from test_openapi import event_of

from features.errors import SettingsError
from features.moments import from_us
from features.settings import Settings, clock
from serving import hooks, signing
from serving.cloudevents import Event
from serving.deliveries import Deliveries
from serving.hooks import Hook, Pushes, forbidden
from serving.outbox import Outbox
from serving.webhooks import TRIES, Patience, Sender, Sent

SECRET, NEWER = signing.new_secret(), signing.new_secret()
FAST = Patience(first=0.02, factor=1, longest=0.05, away=0.05, timeout=60, look=0.02)
ONE_TRY = replace(FAST, first=600, longest=600, away=600)  # what fails is not tried again before `later`
SHORT = replace(ONE_TRY, timeout=0.7)  # for what does not answer


@pytest.fixture
def crm() -> Iterator[Receiver]:
    with receiving(SECRET) as receiver:
        yield receiver


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Outbox]:
    with closing(Outbox(Settings(home=tmp_path / "home"))) as box:
        yield box


def hook_of(receiver: Receiver, **more: Any) -> dict[str, Hook]:
    return {"crm": Hook("crm", receiver.url, ("warning",), **more)}


def write(box: Outbox, receiver: Receiver, *customers: str) -> None:
    """A warning of each, in that order."""
    number = box.db.execute("SELECT count(*) FROM events").fetchone()[0]
    at = datetime(2017, 12, 3, tzinfo=UTC)
    events = [
        Event(f"id-{n}", "warning", "churn", customer, at, {"n": n})
        for n, customer in enumerate(customers, start=number)
    ]
    box.write(events, Pushes(hook_of(receiver), 100, "/propensity/test"))


def send(
    box: Outbox,
    receiver: Receiver,
    *secrets: str,
    until: Callable[[], bool] | None = None,
    patience: Patience = FAST,
    erasing: Callable[[], set[str]] = set,
    **more: Any,
) -> Sent:
    """What one run sends; or, until something holds, what one that follows sends."""

    async def run() -> Sent:
        of = hook_of(receiver, **more), {"crm": secrets or (SECRET,)}
        sender = Sender(Deliveries(box), *of, patience, erasing)
        if until is None:
            return (await sender.run())["crm"]
        running = asyncio.create_task(sender.run(follow=True))
        deadline = time.monotonic() + LONG
        while not until() and not running.done():
            assert time.monotonic() < deadline, "it never came to hold"
            await asyncio.sleep(0.01)
        sender.stop()
        return (await running)["crm"]

    return asyncio.run(run())


def later(box: Outbox) -> None:
    """The time has come to try again."""
    box.db.execute("UPDATE deliveries SET next = 0")
    box.db.execute("UPDATE hooks SET next = 0")


def arrived(box: Outbox) -> int:
    return Deliveries(box).counted("crm").delivered


def test_an_event_arrives_once_signed_and_as_cloudevents_say(box: Outbox, crm: Receiver) -> None:
    """What README shows verifies it; a receiver that another product was written for understands it."""
    write(box, crm, "c0003")
    assert send(box, crm) == Sent(delivered=1)
    assert send(box, crm) == Sent()
    ((headers, event),) = crm.came
    assert headers["content-type"].startswith("application/cloudevents+json")
    assert headers["host"].startswith("localhost:"), "not the address that was looked up"
    assert headers["webhook-id"] == event["id"] == "id-0"
    assert headers["propensity-key-id"] == signing.key_id(SECRET)
    assert len(event.pop("sequence")) == 20
    assert event == {
        "specversion": "1.0", "id": "id-0", "source": "/propensity/test", "subject": "c0003",
        "type": "com.propensity.customer.warning", "time": "2017-12-03T00:00:00Z",
        "datacontenttype": "application/json", "data": {"n": 0},
    }  # fmt: skip


@pytest.mark.parametrize(
    "hostile",
    [
        {"webhook-id": None}, {"webhook-timestamp": None}, {"webhook-signature": None},
        {"webhook-timestamp": "soon"}, {"webhook-timestamp": ""}, {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "9" * 5000}, {"webhook-timestamp": "²"}, {"webhook-timestamp": "1e9"},
        {"webhook-signature": "v1,é"}, {"webhook-signature": "v1,\ud800"}, {"webhook-signature": "v1, , v2"},
        {"webhook-id": "\ud800"}, {"webhook-id": "é"},
    ],
)  # fmt: skip
def test_what_a_stranger_sends_is_refused_and_raises_nothing(hostile: dict[str, str | None]) -> None:
    """Else the receiver answers 500, and whoever knows its address fills its log and wakes somebody."""
    now = clock().timestamp()
    good = signing.headers([SECRET], "id", now, b"{}")
    assert verified(SECRET, good, b"{}")
    sent = {name: value for name, value in (good | hostile).items() if value is not None}
    assert verified(SECRET, sent, b"{}") is False
    assert signing.verified([SECRET], sent, b"{}", now) is False


def test_a_body_that_was_changed_or_is_old_is_no_message_of_ours(crm: Receiver) -> None:
    """Else whoever knows the address tells the shop's systems what customers do."""
    now = clock().timestamp()
    sent = signing.headers([SECRET], "id", now, b"{}")
    assert signing.verified([NEWER, SECRET], sent, b"{}", now)
    assert not signing.verified([SECRET], sent, b"{ }", now)
    assert not signing.verified([NEWER], sent, b"{}", now)
    assert not signing.verified([SECRET], sent, b"{}", now + 301)
    assert not signing.verified([SECRET], sent | {"webhook-id": "other"}, b"{}", now)
    assert not signing.verified([SECRET], {}, b"{}", now)


def test_signatures_are_those_of_standard_webhooks() -> None:
    """The example of its specification, so that its libraries verify ours."""
    sent = signing.headers(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
        b'{"test": 2432232314}',
    )  # fmt: skip
    assert sent["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_while_a_secret_is_changed_either_verifies(box: Outbox, crm: Receiver) -> None:
    """Else a rotation loses what is sent until both sides have done it."""
    write(box, crm, "c0001")
    assert send(box, crm, NEWER, SECRET).delivered == 1
    crm.secret = NEWER
    write(box, crm, "c0002")
    assert send(box, crm, NEWER, SECRET).delivered == 1
    assert crm.came[0][0]["propensity-key-id"] == f"{signing.key_id(NEWER)} {signing.key_id(SECRET)}"


def test_a_later_event_of_a_customer_waits_for_the_earlier_one(box: Outbox, crm: Receiver) -> None:
    """`left` before `entered`, and she stays warned of for ever; others must not wait for her."""
    crm.answers["c0001"] = [500, 503]
    write(box, crm, "c0001", "c0001", "c0002", "c0003", "c0001")
    send(box, crm, until=lambda: arrived(box) == 5)
    of_her = [event["data"]["n"] for _, event in crm.came if event["subject"] == "c0001"]
    assert of_her == [0, 0, 0, 1, 4]
    assert [headers["webhook-id"] for headers, event in crm.came if event["subject"] == "c0001"][:3] == [
        "id-0"
    ] * 3
    assert crm.subjects().index("c0003") < len(crm.came) - 2, "others went meanwhile"


def test_several_customers_are_on_their_way_at_once_but_never_one_twice(box: Outbox, crm: Receiver) -> None:
    for n in range(6):
        crm.answers[f"c{n}"] = ["brief"] * 3
    write(box, crm, *[f"c{n}" for n in range(6)] * 3)
    assert send(box, crm).delivered == 18
    assert crm.most_at_once > 1
    for n in range(6):
        numbers = [event["data"]["n"] for _, event in crm.came if event["subject"] == f"c{n}"]
        assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (500, "it answered 500"),
        (302, "it answered 302"),
        ("slow", "no answer within 0.7 s"),
        ("drip", "no answer within 0.7 s"),
        ("drop", "the connection broke"),
    ],
)
def test_whatever_a_hook_does_the_event_is_tried_again(
    box: Outbox, crm: Receiver, answer: int | str, why: str
) -> None:
    """A redirect is not followed: it could lead the signed body anywhere."""
    crm.answers["c0001"] = [answer]
    crm.headers = {"location": "http://127.0.0.1:1/"}
    write(box, crm, "c0001")
    began = time.monotonic()
    patience = SHORT if answer in ("slow", "drip") else ONE_TRY
    assert send(box, crm, patience=patience) == Sent(failed=1)
    assert time.monotonic() - began < SLOW, "a byte at a time is no answer either"
    assert Deliveries(box).counted("crm").why == why
    later(box)
    send(box, crm, until=lambda: arrived(box) == 1)
    assert len(crm.came) == 2


def test_what_never_arrives_is_dead_after_its_tries_and_kept(box: Outbox, crm: Receiver) -> None:
    """Without an end one poisoned event is sent for ever; without the letter it is lost."""
    crm.answers["c0001"] = [500] * TRIES
    write(box, crm, "c0001", "c0001", "c0002")
    send(box, crm, until=lambda: arrived(box) == 2)
    (dead,) = Deliveries(box).dead()
    assert (dead.id, dead.tries, dead.why, dead.what) == ("id-0", TRIES, "it answered 500", "warning.churn")
    assert [event["data"]["n"] for _, event in crm.came][-1] == 1, "the next of her was let through"
    assert Deliveries(box).given_up() == {"crm": 1}
    assert Deliveries(box).replay_dead() == 1
    assert Deliveries(box).given_up() == {"crm": 0}
    assert send(box, crm).delivered == 1
    assert crm.came[-1][0]["webhook-id"] == "id-0"
    assert not list(Deliveries(box).dead())


def test_a_hook_that_is_away_is_asked_with_one_event_at_a_time(box: Outbox, crm: Receiver) -> None:
    """Else an hour's outage uses up the tries of all that waits."""
    write(box, crm, *[f"c{n}" for n in range(50)])
    crm.away = True
    send(box, crm, patience=ONE_TRY)
    assert 1 < len(crm.came) <= 4
    crm.most_at_once = 0
    later(box)
    send(box, crm, until=lambda: Deliveries(box).standing("crm").failures >= 6)
    assert crm.most_at_once == 1
    assert len(crm.came) < 12
    crm.away = False
    send(box, crm, until=lambda: arrived(box) == 50)


@pytest.mark.parametrize("as_date", [False, True])
def test_a_hook_that_asks_us_to_wait_is_left_alone_so_long(box: Outbox, crm: Receiver, as_date: bool) -> None:
    at = format_datetime(clock() + timedelta(seconds=120), usegmt=True)
    crm.headers = {"retry-after": at if as_date else "120"}
    crm.answers["c0001"] = [429]
    write(box, crm, "c0001", "c0002")
    send(box, crm)
    stands = Deliveries(box).standing("crm")
    assert 100 < (stands.next - clock()).total_seconds() <= 121
    before = len(crm.came)
    assert send(box, crm) == Sent()
    assert len(crm.came) == before


@pytest.mark.parametrize(("answer", "asked", "pause"), [(503, None, 5), ("drop", None, 5), (429, "2", 2)])
def test_a_hook_that_fails_once_is_left_alone_as_after_one_failure(
    box: Outbox, crm: Receiver, answer: int | str, asked: str | None, pause: int
) -> None:
    """Else a blip of a second silences it for minutes: what was on its way at once failed with it."""
    customers = [f"c{n}" for n in range(4)]
    crm.answers.update((customer, [answer]) for customer in customers)
    crm.headers = {"retry-after": asked} if asked else {}
    write(box, crm, *customers)
    began = clock()
    assert send(box, crm, patience=Patience(timeout=60)) == Sent(failed=4)
    over, stands = clock(), Deliveries(box).standing("crm")
    assert stands.failures == 1
    assert began + timedelta(seconds=pause / 2) < stands.next <= over + timedelta(seconds=pause)
    for row in box.db.execute("SELECT next FROM deliveries").fetchall():
        assert from_us(row[0]) <= over + timedelta(seconds=pause), "and so is each event"


def test_a_hook_that_goes_on_asking_us_to_wait_is_asked_more_and_more_seldom(
    box: Outbox, crm: Receiver
) -> None:
    crm.answers["c0001"] = [429] * 4
    crm.headers = {"retry-after": "1"}
    write(box, crm, "c0001")
    for least, most in ((1, 1), (2.5, 5), (10, 20), (40, 80)):
        began = clock()
        assert send(box, crm, patience=Patience(timeout=60)) == Sent(failed=1)
        pause = Deliveries(box).standing("crm").next - began
        assert least <= pause.total_seconds() <= most + (clock() - began).total_seconds()
        later(box)


def test_a_hook_that_is_gone_is_not_called_until_it_is_enabled(box: Outbox, crm: Receiver) -> None:
    crm.answers["c0001"] = [410]
    write(box, crm, "c0001")
    send(box, crm)
    write(box, crm, "c0001", "c0002")
    assert send(box, crm) == Sent()
    assert Deliveries(box).counted("crm").off == "it answered 410: gone"
    assert Deliveries(box).counted("crm").waiting == 3
    Deliveries(box).turn("crm", "")
    assert send(box, crm).delivered == 3
    assert [event["data"]["n"] for _, event in crm.came if event["subject"] == "c0001"] == [0, 0, 1]


def test_a_kill_between_arrival_and_note_sends_it_again_under_its_id(
    box: Outbox, crm: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least once: whoever receives knows the id."""
    write(box, crm, "c0001")
    with monkeypatch.context() as killed:
        killed.setattr(Deliveries, "delivered", _killed)
        with pytest.raises(RuntimeError, match="killed"):
            send(box, crm)
    assert send(box, crm).delivered == 1
    assert [headers["webhook-id"] for headers, _ in crm.came] == ["id-0"] * 2


def _killed(self: Deliveries, client: str, sequence: int) -> None:
    raise RuntimeError("killed")


def test_all_since_a_moment_can_be_sent_again_to_whoever_wants_it(box: Outbox, crm: Receiver) -> None:
    """A receiver that lost its database, or a hook that was declared later."""
    write(box, crm, "c0001", "c0002")
    send(box, crm)
    hook = Hook("new", crm.url, ("warning.churn",))
    assert Deliveries(box).replay_since(hook, clock() - timedelta(minutes=1)) == 2
    assert Deliveries(box).replay_since(replace(hook, events=("stage",)), clock() - timedelta(days=1)) == 0
    assert Deliveries(box).replay_since(hook_of(crm)["crm"], clock() + timedelta(minutes=1)) == 0
    assert Deliveries(box).replay_since(hook_of(crm)["crm"], clock() - timedelta(minutes=1)) == 2
    assert send(box, crm).delivered == 2
    assert sorted(crm.subjects()) == ["c0001", "c0001", "c0002", "c0002"]


def test_who_is_erased_while_her_event_waits_is_not_told_of(box: Outbox, crm: Receiver) -> None:
    crm.answers["c0001"] = [500]
    write(box, crm, "c0001", "c0002")
    send(box, crm, patience=ONE_TRY)
    box.erase(["c0001"])
    later(box)
    send(box, crm, until=lambda: arrived(box) == 1)
    assert crm.subjects().count("c0001") == 1
    assert Deliveries(box).counted("crm").waiting == 0


def test_who_asked_to_be_erased_is_not_told_of_while_it_is_not_done(box: Outbox, crm: Receiver) -> None:
    """Else a warning of her arrives after she was told that she will be forgotten."""
    asked: set[str] = set()
    crm.answers["c0001"] = [500]
    write(box, crm, "c0001", "c0002")
    send(box, crm, patience=ONE_TRY, erasing=lambda: asked)
    asked.add("c0001")
    later(box)
    assert send(box, crm, erasing=lambda: asked) == Sent()
    assert crm.subjects().count("c0001") == 1


@pytest.mark.parametrize(
    ("address", "private", "may"),
    [
        ("93.184.216.34", False, True),
        ("10.1.2.3", False, False),
        ("10.1.2.3", True, True),
        ("127.0.0.1", False, False),
        ("::1", False, False),
        ("::ffff:93.184.216.34", False, True),
        ("::ffff:10.0.0.1", False, False),
        ("169.254.169.254", True, False),
        ("::ffff:169.254.169.254", True, False),
        ("fe80::1", True, False),
        ("0.0.0.0", True, False),
        ("fd00::1", False, False),
        ("fd00::1", True, True),
    ],
)
def test_a_name_may_not_lead_into_our_own_network(address: str, private: bool, may: bool) -> None:
    """Where it leads is decided by whoever has the domain: to a database, or a cloud's credentials."""
    assert (forbidden(address, private) is None) == may


def test_a_host_that_leads_to_a_private_address_is_not_called(
    box: Outbox, crm: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name alone it looks like any other."""
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *more, **of: real("127.0.0.1", *more, **of))
    crm.url = crm.url.replace("localhost", "crm.example.com")
    write(box, crm, "c0001")
    assert send(box, crm, patience=ONE_TRY).failed == 1
    later(box)
    assert "leads into a private network: set private = true" in Deliveries(box).counted("crm").why
    assert crm.came == []
    send(box, crm, private=True, until=lambda: arrived(box) == 1)
    assert crm.came[0][0]["host"].startswith("crm.example.com:")


def test_a_certificate_must_name_the_host_though_its_address_is_called(
    box: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stands in between would read whom a shop is about to lose."""
    for name in ("localhost", "crm.example.com"):
        subprocess.run(
            f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} "
            f"-addext subjectAltName=DNS:{name} -keyout {name}.key -out {name}.crt",
            shell=True, check=True, capture_output=True, cwd=tmp_path,
        )  # fmt: skip
        both = (tmp_path / f"{name}.key").read_text() + (tmp_path / f"{name}.crt").read_text()
        (tmp_path / f"{name}.pem").write_text(both)
    trusted = tmp_path / "trusted"
    trusted.write_text(
        (tmp_path / "localhost.crt").read_text() + (tmp_path / "crm.example.com.crt").read_text()
    )
    with receiving(SECRET, tmp_path / "crm.example.com.pem") as wrong:
        write(box, wrong, "c0001")
        assert send(box, wrong, patience=ONE_TRY).failed == 1, "nobody vouches for it"
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        later(box)
        assert send(box, wrong, patience=ONE_TRY).failed == 1, "it names another host"
        later(box)
        assert Deliveries(box).counted("crm").why == "its certificate cannot be trusted"
        assert wrong.came == []
    with receiving(SECRET, tmp_path / "localhost.pem") as right:
        send(box, right, until=lambda: arrived(box) == 1)
        assert right.subjects() == ["c0001"]


def test_what_is_said_of_failures_names_nobody(
    box: Outbox, crm: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    crm.answers["zmbq"] = [500, "drop", 410]
    write(box, crm, "zmbq")
    with caplog.at_level("DEBUG"):
        send(box, crm, until=lambda: bool(Deliveries(box).standing("crm").off))
    assert "an event did not arrive (it answered 500), try 1" in caplog.text
    assert "zmbq" not in caplog.text
    assert "of=shop" not in [r.getMessage() for r in caplog.records if r.name == "propensity.pushes"]


SHOP = """
WATCHES = [
    Watch(name="silence", words=Words("Silent", "沉默"), figure="days_since_order", enters=30, leaves=20),
]
"""
HOOKS = """
[[hooks]]
client = "crm"
url = "{url}"
events = ["warning"]
"""


def test_the_commands_from_a_snapshot_to_the_receiver(tmp_path: Path, crm: Receiver) -> None:
    """As an operator does it: run, send, look, disable, enable, replay, test."""
    everyone = Everyone(tmp_path, SHOP, HOOKS.replace("{url}", crm.url))
    secrets = {"PROPENSITY_HOOK_SECRETS": f"crm:{SECRET}"}
    everyone.week(0)
    everyone.run("pushes", "run")
    everyone.week(1, {"c0003": 31, "c0004": 32})
    assert "wrote 2 events" in everyone.run("pushes", "run").output
    refused = everyone.run("pushes", "send")
    assert refused.exit_code == 2
    assert "no hook has a secret" in refused.output
    assert "crm is disabled; 2 events wait for it" in everyone.run("pushes", "disable", "crm").output
    off = everyone.run("pushes", "send", **secrets)
    assert (off.exit_code, crm.came) == (3, [])
    assert "not called (disabled)" in off.output
    assert "crm is enabled; 2 events wait for it" in everyone.run("pushes", "enable", "crm").output
    sent = everyone.run("pushes", "send", **secrets)
    assert (sent.exit_code, sent.output) == (0, "crm: 2 delivered, 0 waiting, 0 dead\n")
    assert sorted(crm.subjects()) == ["c0003", "c0004"], "of two customers no order is promised"
    listed = " ".join(everyone.run("pushes", "list").output.split())
    assert "of=shop" not in listed, "a token may be there"
    assert "2 delivered, 0 waiting, 0 dead" in listed
    assert "nothing is dead" in everyone.run("pushes", "list", "--dead").output
    since = (clock() - timedelta(hours=1)).isoformat()
    assert "2 events wait" in everyone.run("pushes", "replay", "--since", since).output
    assert "2 that waited are forgotten" in everyone.run("pushes", "enable", "crm", "--skip").output
    everyone.run("pushes", "test", "crm")
    assert everyone.run("pushes", "send", **secrets).exit_code == 0
    event_of("com.propensity.test").validate(crm.came[-1][1])
    assert "no hook is of 'cms'" in everyone.run("pushes", "test", "cms").output
    assert everyone.run("pushes", "replay").exit_code == 2
    assert everyone.run("pushes", "secret").output.startswith("whsec_")


def test_one_that_follows_sends_what_is_written_and_ends_when_it_is_told(
    tmp_path: Path, crm: Receiver
) -> None:
    everyone = Everyone(tmp_path, SHOP, HOOKS.replace("{url}", crm.url))
    everyone.week(0)
    everyone.run("pushes", "run")
    env = os.environ | {
        "PROPENSITY_HOME": str(everyone.settings.home), "PROPENSITY_SHOP": str(everyone.settings.shop),
        "PROPENSITY_HOOK_SECRETS": f"crm:{SECRET}",
    }  # fmt: skip
    command = [sys.executable, "-m", "propensity", "pushes", "send", "--follow"]
    with subprocess.Popen(
        command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        everyone.week(1, {"c0003": 31})
        everyone.run("pushes", "run")
        wait_until(lambda: crm.came)
        assert crm.subjects() == ["c0003"]
        second = everyone.run("pushes", "send", PROPENSITY_HOOK_SECRETS=f"crm:{SECRET}")
        assert "another process sends" in second.output
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=LONG)
    assert (process.returncode, err) == (0, b"")
    assert b"1 delivered" in out


def test_secrets_are_read_strictly_and_never_shown() -> None:
    read = Settings.from_env({"PROPENSITY_HOOK_SECRETS": f"crm:{SECRET}, till:{NEWER},crm:{NEWER}"})
    assert read.hook_secrets == {"crm": (SECRET, NEWER), "till": (NEWER,)}
    assert SECRET not in repr(read)
    for text in ("crm", "crm:abc", "crm:whsec_!!", f":{SECRET}", f"crm:{SECRET},till:whsec_c2hvcnQ="):
        with pytest.raises(SettingsError, match="client:secret") as refused:
            Settings.from_env({"PROPENSITY_HOOK_SECRETS": text})
        assert SECRET not in str(refused.value)
    assert hooks.is_loopback("localhost")
    assert len(README.strip().splitlines()) <= 12
