"""Prometheus's Alertmanager, which groups, routes and reminds by itself: it is told which alerts fire.

[[sinks]]
kind = "alertmanager"
url = "http://alertmanager:9093"       # /api/v2/alerts is put after it
PROPENSITY_SINK_<NAME>                 # a bearer token, if a proxy in front wants one

An alert holds there until the next run says otherwise, at most HOLDS: that no run comes is an alert of the
rules (`propensity monitor rules`). What is silenced here is ended there.
"""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from features.moments import iso
from features.settings import clock
from features.toml import Entry
from monitoring.sinks.http import address, post
from monitoring.sinks.letters import Letter

HOLDS = timedelta(days=3)


@dataclass(frozen=True)
class Alertmanager:
    """Where it is."""

    url: str
    state: bool = True
    per_minute: int | None = None
    secret: str = ""

    def deliver(self, letter: Letter) -> None:
        """Post all alerts. NotDeliveredError for any answer but 2xx."""
        alerts = json.loads(letter.body)
        if not alerts:
            return
        headers = {"content-type": "application/json"}
        if letter.secret:
            headers["authorization"] = f"Bearer {letter.secret}"
        post(f"{self.url}/api/v2/alerts", json.dumps([_dated(one) for one in alerts]).encode(), headers)


def _dated(alert: dict[str, Any]) -> dict[str, Any]:
    """By the machine's clock; since when the fault is there stands in the words.

    Alertmanager sends on at once, the first of a group alone, what began longer than `group_wait` ago. Of
    later posts it keeps the earliest start.
    """
    now = clock()
    ends = now if "endsAt" in alert else now + HOLDS
    return alert | {"startsAt": iso(now), "endsAt": iso(ends)}


def declared(entry: Entry) -> Alertmanager:
    """As shop.toml declares it."""
    return Alertmanager(address(entry).rstrip("/"))
