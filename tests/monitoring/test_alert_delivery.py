"""From a message to its sink: in order, once, and nothing lost, whatever fails in between."""

import json
import re
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from alerting import (
    KEY,
    MONDAY,
    SECRET,
    WEBHOOK,
    Days,
    FakeWeCom,
    SignedHttp,
    came,
    found,
    metrics,
    serving,
)

from features.settings import clock
from monitoring import alerts, delivery
from monitoring.alert_store import AlertStore


def test_a_sink_that_is_away_gets_everything_later_in_order(tmp_path: Path) -> None:
    """A receiver that is down for the night must not cost the page of the night."""
    with serving(SignedHttp()) as free:
        port = free.port
    days = Days(tmp_path, WEBHOOK.format(port=port))
    taken = days.day(found("a", value=2.5))
    assert "hook: 1 wait, 0 dead" in taken.words.en
    days.day(found("a", value=2.5), found("b", value=2.5))
    assert days.run("alerts").exit_code == 4
    days.hurry()
    with serving(SignedHttp(), port) as hook:
        assert isinstance(hook, SignedHttp)
        sent = days.run("send")
        assert sent.exit_code == 0, sent.output
        assert came(hook) == [("firing", "a features"), ("firing", "b features")]
        sequences = [body["sequence"] for body in hook.bodies()]
        assert sequences == sorted(sequences)


def test_what_waits_says_when_it_is_tried_again(days: Days, hook: SignedHttp) -> None:
    """Else: whoever mended the receiver runs `send`, and as nothing comes takes it for broken still."""
    hook.answers = [(500, {})]
    begun = clock()
    days.day(found(value=2.5), days=0.1)
    days.day(found(value=2.5), found("b", value=2.5), days=0.1)  # it waits for the first, and was never tried
    sent = days.run("send")
    assert sent.exit_code == 3
    told = re.search(r"not tried again before (\S+Z)$", sent.output.strip())
    assert told is not None, sent.output
    wait = datetime.fromisoformat(told[1]) - begun
    assert timedelta(seconds=25) < wait < timedelta(minutes=5)
    assert "后才会重试" in days.run("alerts", "--language", "zh").output
    days.hurry()
    assert "not tried again" not in days.run("send").output
    assert len(hook.came) == 2


def test_a_broken_sink_delays_no_other(tmp_path: Path) -> None:
    """One wrong address must not silence the group."""
    with serving(SignedHttp()) as away:
        gone = away.port
    with serving(FakeWeCom()) as robot:
        group = f'\n[[sinks]]\nname = "group"\nkind = "wecom"\nurl = "http://127.0.0.1:{robot.port}/send"\n'
        days = Days(tmp_path, WEBHOOK.format(port=gone) + group, {"hook": SECRET, "group": KEY})
        days.day(found(value=2.5))
        days.day(found(value=2.5), found("b", value=2.5))
        assert len(robot.came) == 2


def test_what_is_tried_too_often_is_dead_kept_seen_and_sent_again_on_request(
    days: Days, hook: SignedHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that vanished would be an alert that never was."""
    monkeypatch.setattr(delivery, "TRIES", 4)
    hook.answers = [(503, {})] * delivery.TRIES
    days.day(found("a", value=2.5))
    for _ in range(delivery.TRIES - 1):
        days.hurry()
        days.run("send")
    assert came(hook) == []
    listed = days.run("alerts", "--dead")
    assert listed.exit_code == 3
    assert "503" in listed.output
    assert 'propensity_alert_deliveries{sink="hook",state="dead"} 1' in metrics(days)
    days.day(found("a", value=2.5), found("b", value=2.5))
    assert came(hook)[0] == ("firing", "b features"), "the dead hold nobody up"
    assert days.run("send", "--dead").exit_code == 0
    assert ("firing", "a features") in came(hook)


def test_a_message_that_is_refused_for_good_holds_up_no_other(days: Days, hook: SignedHttp) -> None:
    hook.answers = [(422, {})]
    days.day(found("a", value=2.5), found("b", value=2.5))
    assert len(hook.came) == 1
    assert days.run("alerts", "--dead").exit_code == 3


def test_a_run_that_is_killed_before_it_is_written_is_told_by_the_next(
    days: Days, hook: SignedHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """State without its message would lose it; a message without its state would be told twice."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(AlertStore, "forget", die)  # the last step of what is written
        with pytest.raises(KeyboardInterrupt):
            days.day(found(value=2.5))
    alerts.take(days.settings, [found(value=2.5)], MONDAY)
    with monkeypatch.context() as patched:
        patched.setattr(delivery, "send", die)
        with pytest.raises(KeyboardInterrupt):
            alerts.take(days.settings, [found(value=2.5), found("b")], MONDAY + timedelta(days=1))
    alerts.take(days.settings, [found(value=2.5), found("b")], MONDAY + timedelta(days=1))
    assert came(hook) == [("firing", "churn_28d features"), ("firing", "b features")]


def test_warnings_go_only_to_sinks_that_want_them_and_owners_have_their_own(tmp_path: Path) -> None:
    with serving(SignedHttp()) as hook:
        sink = WEBHOOK.format(port=hook.port) + 'least = "page"\nowners = ["models"]\n'
        days = Days(tmp_path, sink)
        days.day(found("a", value=1.2), found("b", value=2.5), found("c", value=2.5, owner="operations"))
        assert [body["subject"] for body in hook.bodies()] == ["b features"]


def test_a_sink_without_its_secret_says_which_variable_and_uses_up_no_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(SignedHttp()) as hook:
        days = Days(tmp_path, WEBHOOK.format(port=hook.port), {"other": "x"})
        taken = days.day(found(value=2.5))
        assert "PROPENSITY_SINK_HOOK is not set" in taken.words.en
        monkeypatch.setattr(delivery, "TRIES", 2)
        for _ in range(3):
            days.run("send")
        assert days.run("alerts", "--dead").exit_code == 0
        days.settings = replace(days.settings, sink_secrets={"hook": SECRET})
        assert days.run("send").exit_code == 0
        assert len(hook.came) == 1


def test_the_message_is_the_same_at_every_try(days: Days, hook: SignedHttp) -> None:
    """A receiver tells what it has seen by its id."""
    days.day(found(value=2.5))
    with days.store() as store, store.writing():
        store.db.execute("UPDATE deliveries SET state = 'waiting', next = 0")
    first = json.loads(hook.came[0][2])
    days.run("send")
    with days.store() as store:
        (body,) = store.db.execute("SELECT body FROM messages").fetchone()
    assert json.loads(body) == first
