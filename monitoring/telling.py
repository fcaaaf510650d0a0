"""From alerts to messages: one a topic, the worst first, as CloudEvents; and who gets which.

Alertmanager is told the state of all alerts rather than what is new, as it does the grouping, reminding and
routing by itself.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from math import isfinite, isnan
from shlex import quote
from typing import Any

from msgspec import to_builtins

from features.moments import iso
from features.words import Words
from monitoring import messages
from monitoring.alert_store import Message
from monitoring.episodes import Episode, News
from monitoring.findings import STATUSES, Contributor, Finding
from monitoring.messages import LISTED, TOLD, Said, Share, Telling, Told
from monitoring.routes import ESCALATION, Routes
from monitoring.runbook import section
from monitoring.sinks import Sink
from serving.cloudevents import envelope
from serving.problems import encode

TYPE = "com.propensity.monitoring.alert"
STATE = "state"  # kind of message that says which alerts fire
_LABEL = 200  # characters of a label's value
_URGENT: tuple[News, ...] = ("firing", "worse", "changed", "escalation", "reminder", "closed", "resolved")


def order(episode: Episode) -> tuple[int, float, str]:
    """The worst first: by urgency, then by how far over the limit."""
    found = episode.finding
    over = found.value / found.limit if found.limit > 0 else found.value
    return -STATUSES.index(episode.severity), float("-inf") if isnan(over) else -over, episode.fingerprint


def compose(
    routes: Routes,
    episodes: Iterable[Episode],
    news: Iterable[tuple[Episode, News]],
    moment: datetime,
    report: str,
) -> list[Telling]:
    """What is to be said of all news, the most urgent first: one a topic, and one to whom it escalates.

    episodes: all, as they are now; those of a topic that are no news are counted beside it.
    """
    groups = defaultdict[tuple[str, bool], list[tuple[Episode, News]]](list)
    for one, what in news:
        groups[one.topic, what == "escalation"].append((one, what))
    told = [one for one in episodes if one.state == "firing" and one.told]
    made = []
    for (topic, _), found in groups.items():
        named = {one.fingerprint for one, _ in found}
        beside = sum(one.topic == topic and one.fingerprint not in named for one in told)
        made.append(_composed(routes, found, beside, moment, report))
    return sorted(made, key=lambda one: STATUSES.index(one.severity), reverse=True)


def _composed(
    routes: Routes,
    news: Sequence[tuple[Episode, News]],
    going_on: int,
    moment: datetime,
    report: str,
) -> Telling:
    """Of news that belong together. going_on: others of their topic that were told before."""
    news = sorted(news, key=lambda one: order(one[0]))
    episodes = [one for one, _ in news]
    kind = min((what for _, what in news), key=_URGENT.index)
    worst, topic = episodes[0], episodes[0].topic
    listed = tuple(_told(one, what) for one, what in news[:LISTED])
    more = len(episodes) - len(listed)
    owner = ESCALATION if kind == "escalation" else worst.finding.owner
    return Telling(
        kind=kind,
        severity=worst.severity,
        topic=topic,
        shop=routes.shop,
        as_of=moment.astimezone(routes.zone),
        title=messages.title(kind, worst.severity, _headline(kind, worst.finding, len(news)), len(news) - 1),
        owner=owner,
        owner_name=routes.parties[owner].name,
        since=min(one.since for one in episodes),
        alerts=listed,
        more=more,
        going_on=going_on,
        # Where the log's own fault comes first, that is the cause; of several tables one may know more.
        cause=Said.of(next((one.finding.cause for one in episodes if one.finding.cause), None)),
        contributors=_shares(episodes),
        action=Said.of(_action(episodes)),
        acknowledge=f"propensity monitor ack {quote(worst.fingerprint if len(episodes) == 1 else topic)}",
        runbook=_runbook(routes, worst.finding.check),
        report=report,
    )


def message(routes: Routes, telling: Telling, sequence: int) -> Message:
    """The message as it is sent, and to whom. Its id is the same for the same news of the same moment."""
    named = (
        one.alert + one.stage for one in telling.alerts
    )  # another run of the moment may have more to say of a topic
    id = _id(telling.kind, telling.owner, telling.topic, iso(telling.as_of), *named)
    body = envelope(id, TYPE, telling.topic, telling.as_of, to_builtins(telling), routes.source, sequence)
    sinks = (sink.name for sink in routes.sinks.values() if not sink.channel.state and _wants(sink, telling))
    return Message(sequence, id, telling.kind, telling.title.en, body, tuple(sinks))


def state_message(
    routes: Routes,
    firing: Iterable[tuple[Episode, Mapping[str, str]]],
    ended: Iterable[tuple[Episode, Mapping[str, str]]],
    moment: datetime,
    sequence: int,
    report: str,
) -> Message:
    """What fires now, and what does no more, for sinks that are told states; with the labels of each."""
    told = [
        _state(routes, one, labels, moment if over else None, report)
        for over, those in ((False, firing), (True, ended))
        for one, labels in those
    ]
    sinks = tuple(name for name, sink in routes.sinks.items() if sink.channel.state)
    body = encode(told)
    id = _id(STATE, iso(moment), body.decode())
    return Message(sequence, id, STATE, f"{len(told)} alerts", body, sinks)


def labels(routes: Routes, episode: Episode) -> dict[str, str]:
    """The labels of an alert in Alertmanager: bounded, and the same as long as it is the same alert."""
    found = episode.finding
    named = {
        "alertname": "PropensityMonitoring", "shop": routes.shop, "subject": found.subject,
        "check": found.check,
        "severity": episode.severity, "owner": found.owner, "topic": episode.topic, "stage": episode.stage,
    }  # fmt: skip
    return {name: value[:_LABEL] for name, value in named.items() if value}


def link(routes: Routes, report: str) -> str:
    """Where a page of home/reports is read: under the address that serves it, else on this machine."""
    if report and routes.reports and "reports/" in report:
        return f"{routes.reports}/{report.rpartition('reports/')[2]}"
    return report


def _wants(sink: Sink, telling: Telling) -> bool:
    urgent = sink.least == "warning" or telling.severity == "page"
    return urgent and telling.owner in sink.owners


def _told(one: Episode, news: News) -> Told:
    found = one.finding
    return Told(
        alert=one.fingerprint, subject=found.subject, check=found.check, news=news, severity=one.severity,
        words=Said(*found.words), value=found.value, limit=found.crossed, since=one.since,
        acknowledged_by=one.ack.by if one.ack else "", stage=found.stage,
        of=found.of, warns=_finite(found.limit), pages=found.page,
        ranks_only=found.ranks_only,
    )  # fmt: skip


def _headline(kind: News, finding: Finding, several: int) -> Words:
    """What was seen; of what is over, what was asked. Among several findings, of several figures in its words
    the furthest alone: what is more is counted once."""
    if kind in messages.OVER:
        return finding.question
    furthest = finding.contributors[0].words if finding.contributors else finding.words
    begins = furthest.en and all(map(str.startswith, finding.words, furthest))
    return replace(finding, words=furthest).said if several > 1 and begins else finding.said


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _action(episodes: Sequence[Episode]) -> Words | None:
    """What to do: of what something was done about already, what comes next; else of the worst."""
    ordered = sorted(episodes, key=lambda one: not one.finding.stage)
    return next((one.finding.advice for one in ordered if one.finding.advice), None)


def _shares(episodes: Iterable[Episode]) -> tuple[Share, ...]:
    """The largest of all, each once."""
    found: dict[str, Contributor] = {}
    for one in sorted((one for e in episodes for one in e.finding.contributors), key=_excess):
        found[one.name] = one
    largest = sorted(found.values(), key=_excess, reverse=True)[:TOLD]
    return tuple(Share(one.name, Said(*one.words), _finite(one.excess)) for one in largest)


def _excess(one: Contributor) -> float:
    return 0.0 if isnan(one.excess) else one.excess


def _runbook(routes: Routes, check: str) -> str:
    anchor = section(check).name
    return f"{routes.runbook}#{anchor}" if routes.runbook else f"propensity monitor runbook {anchor}"


def _state(
    routes: Routes, one: Episode, named: Mapping[str, str], ended: datetime | None, report: str
) -> dict[str, Any]:
    telling = _composed(routes, [(one, "firing")], 0, one.told or one.fired or one.began, report)
    said = {
        "summary": telling.title.en, "summary_zh": telling.title.zh,
        "description": messages.text(telling, ("en",)), "description_zh": messages.text(telling, ("zh",)),
        "runbook": telling.runbook,
    }  # fmt: skip
    return {
        "labels": named,
        "annotations": said,
        **({"endsAt": iso(ended)} if ended else {}),
        **({"generatorURL": report} if messages.is_address(report) else {}),
    }


def _id(*parts: str) -> str:
    """Names a message, and tells nothing of it."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
