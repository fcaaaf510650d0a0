"""The real Alertmanager: what fires here fires there, grouped by fault, and is resolved when it is over."""

import json
from pathlib import Path
from typing import Any

from alerting import Days, Http, found, serving
from binaries import alertmanager, needs, until

TOML = """
[[sinks]]
name = "am"
kind = "alertmanager"
url = "{url}/"
"""


def groups(receiver: Http, topic: str) -> list[dict[str, Any]]:
    return [body for body in receiver.bodies() if body["groupLabels"] == {"topic": topic}]


@needs("prometheus-alertmanager")
def test_two_alerts_of_a_fault_are_one_notification_and_its_end_is_told(tmp_path: Path) -> None:
    """Whoever routes by Alertmanager must neither get each model apart, nor an incident that never ends."""
    with serving(Http()) as receiver, alertmanager(tmp_path, f"http://127.0.0.1:{receiver.port}/") as server:
        days = Days(tmp_path, TOML.format(url=str(server.base_url).rstrip("/")), {"other": "x"})

        def shown() -> dict[str, str]:
            alerts = server.get("/api/v2/alerts").json()
            return {one["labels"]["subject"]: one["labels"]["severity"] for one in alerts}

        pair = [found("a", value=2.5, topic="outage"), found("b", value=1.2, topic="outage")]
        taken = days.day(*pair, found("c", value=1.2, owner="operations"))
        assert [(one.waiting, one.dead) for one in taken.sinks] == [(0, 0)], taken.words.en
        until(lambda: len(receiver.came) == 2)
        (first,) = groups(receiver, "outage")
        assert first["status"] == "firing"
        assert {one["labels"]["subject"] for one in first["alerts"]} == {"a", "b"}
        one = next(one for one in first["alerts"] if one["labels"]["subject"] == "a")
        assert one["labels"] == {
            "alertname": "PropensityMonitoring", "shop": "Complete Journey", "subject": "a",
            "check": "features", "severity": "page", "owner": "models", "topic": "outage",
        }  # fmt: skip
        assert "how much: 2.5; a warning from 1" in one["annotations"]["description"]
        assert "程度" in one["annotations"]["description_zh"]
        assert "since: 2018-01-01" in one["annotations"]["description"]

        days.day(found("a", value=2.5, topic="outage"), found("b", value=2.5, topic="renamed"))
        until(lambda: shown() == {"a": "page", "b": "page", "c": "warning"})
        for _ in range(2):
            days.day(found("a", value=0.1, topic="outage"), found("b", value=0.1, topic="outage"))
        until(lambda: shown() == {"c": "warning"})
        until(lambda: groups(receiver, "outage")[-1]["status"] == "resolved")
        days.run("silence", "c", "--until", "2018-02-01", "--reason", "known", "--by", "li")
        days.day()
        until(lambda: shown() == {})


@needs("prometheus-alertmanager")
def test_what_was_over_while_it_was_away_is_resolved_when_it_is_back(tmp_path: Path) -> None:
    with serving(Http()) as receiver, alertmanager(tmp_path, f"http://127.0.0.1:{receiver.port}/") as server:
        url = str(server.base_url).rstrip("/")
        days = Days(tmp_path, TOML.format(url=url), {"other": "x"})
        days.day(found("a", value=2.5))
        until(lambda: receiver.came)
        away = (days.settings.shop / "shop.toml").read_text("utf-8")
        (days.settings.shop / "shop.toml").write_text(away.replace(url, "http://127.0.0.1:1"), "utf-8")
        for _ in range(2):
            days.day(found("a", value=0.1))
        (days.settings.shop / "shop.toml").write_text(away, "utf-8")
        days.hurry()
        assert days.run("send").exit_code == 0
        until(lambda: receiver.bodies()[-1]["status"] == "resolved")


def test_another_run_of_the_same_moment_shows_what_is_new_and_repeats_no_state(tmp_path: Path) -> None:
    """Else: what a correction shows fires nowhere until tomorrow's run."""
    days = Days(tmp_path, '[[sinks]]\nname = "am"\nkind = "alertmanager"\nurl = "http://127.0.0.1:1"\n')
    for findings in ([found("a")], [found("a")], [found("a"), found("b")]):
        days.day(*findings, days=0)
    with days.store() as store:
        bodies = [row[0] for row in store.db.execute("SELECT body FROM messages ORDER BY sequence")]
    states = [[one["labels"]["subject"] for one in json.loads(body)] for body in bodies if body[:1] == b"["]
    assert states == [["a"], ["a", "b"]]
