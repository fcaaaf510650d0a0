"""Pauses: in force in the next decision of every worker, with their reason, until they are ended."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from running import audited
from test_decisions import Publish, decided, opened, publish, rejected, settings  # noqa: F401

from features.errors import DecisionError, UsageError
from features.settings import Settings
from features.shop import shop_of
from propensity import main
from serving.actions import catalogue
from serving.api import DecisionRequest
from serving.decisions import take_decision
from serving.pauses import listed
from serving.pauses import opened as pausing
from serving.replays import replay

# ruff: noqa: F811 (fixtures of another module are arguments)
ACTIONS = catalogue(shop_of(Settings()).declared("ACTIONS")).values()


def test_a_pause_binds_the_next_decision_of_a_worker_that_runs(settings: Settings, publish: Publish) -> None:
    """A wrong price in a campaign must not be sent on until somebody restarts every worker."""
    publish()
    request = DecisionRequest("c0001", preview=True)
    with opened(settings) as worker, pausing(settings) as other:
        assert take_decision(worker, request, client="tests").action == "campaign_b"
        other.pause("campaign_b", "wrong price", ACTIONS)
        answer = take_decision(worker, request, client="tests")
        assert answer.action == "campaign_a"
        assert (rejected(answer)["campaign_b"], answer.actions[2].limit) == (
            "paused",
            "campaign_b: wrong price",
        )
        assert answer.binding_constraint is not None
        assert answer.binding_constraint.reject_reason == "paused"
        other.pause("everything", "fire drill", ACTIONS)
        assert take_decision(worker, request, client="tests").action == "nothing"
        other.resume("everything")
        other.resume("campaign_b")
        assert take_decision(worker, request, client="tests").action == "campaign_b"
    assert [(one.what, one.until is None) for one in listed(settings)] == [
        ("campaign_b", False), ("everything", False),
    ]  # fmt: skip


def test_a_decision_is_replayed_under_the_pauses_of_its_time(settings: Settings, publish: Publish) -> None:
    """Else ending a pause makes a forgery of every decision taken under it."""
    publish()
    with pausing(settings) as pauses:
        pauses.pause("channel:mail", "the printer is down", ACTIONS)
        id = decided(settings).decision_id or ""
        pauses.resume("channel:mail")
    assert replay(settings, id).verdict == "equal"


def test_a_pause_that_cannot_be_read_stops_decisions(settings: Settings, publish: Publish) -> None:
    """What is paused is not known then, so nothing may be sent."""
    publish()
    (settings.home / "pauses.json").write_text("[{")
    with pytest.raises(DecisionError, match="pauses.json is damaged"):
        decided(settings)


def test_pauses_of_an_older_home_are_taken_into_the_ledger_once(settings: Settings, publish: Publish) -> None:
    """Else an update sends what was stopped; taken twice, it stops what was resumed since."""
    publish()
    file = settings.home / "pauses.json"
    former = (
        b'[{"what": "campaign_a", "reason": "over", "since": "2017-01-01T00:00:00Z", "until": '
        b'"2017-01-02T00:00:00Z"}, {"what": "campaign_b", "reason": "wrong price", "since": '
        b'"2017-12-30T00:00:00Z", "until": null}]'
    )
    file.write_bytes(former)
    request = DecisionRequest("c0001", preview=True)
    with opened(settings) as worker:
        assert rejected(take_decision(worker, request, client="tests"))["campaign_b"] == "paused"
    assert not file.exists()
    file.write_bytes(former)  # it was cut off before the file was put away
    with pausing(settings) as pauses:
        pauses.resume("campaign_b")
    file.write_bytes(former)
    with opened(settings) as worker:
        assert take_decision(worker, request, client="tests").action == "campaign_b"
    assert [(one.what, one.reason, one.until is None) for one in listed(settings)] == [
        ("campaign_a", "over", False), ("campaign_b", "wrong price", False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("pause",), 0, "nothing is paused"),
        (("pause", "campaign_x", "--reason", "x"), 2, "cannot be paused; did you mean 'campaign_"),
        (("pause", "channel:sms", "--reason", "x"), 2, "one of everything, channel:mail, campaign_a"),
        (("pause", "everything"), 2, "say why"),
        (("pause", "--reason", "x"), 2, "goes with what is to be paused"),
        (("resume", "campaign_a"), 2, "campaign_a is not paused; paused: nothing"),
    ],
)
def test_wrong_usage_is_told(tmp_path: Path, arguments: Any, code: int, says: str) -> None:
    """A pause that silently pauses nothing is worse than none."""
    result = CliRunner().invoke(main, arguments, env={"PROPENSITY_HOME": str(tmp_path)})
    assert (result.exit_code, says in result.output) == (code, True), result.output


def test_the_commands_pause_list_and_resume(tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        result = CliRunner().invoke(main, arguments, env={"PROPENSITY_HOME": str(tmp_path)})
        assert result.exit_code == 0, result.output
        return result.output

    assert "paused campaign_a" in run("pause", "campaign_a", "--reason", "wrong price")
    again = pytest.raises(UsageError, match="already, because: wrong price")
    with pausing(Settings(home=tmp_path)) as other, again:
        other.pause("campaign_a", "again", ACTIONS)
    assert "wrong price" in run("pause")
    assert "resumed campaign_a" in run("resume", "campaign_a")
    assert "nothing is paused" in run("pause")
    assert "wrong price" in run("pause", "--all")
    done = [line["action"] for line in audited(tmp_path)]
    assert done == ["pause campaign_a", "resume campaign_a"], "who stopped all marketing, and when?"
