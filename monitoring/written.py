"""A verdict's files: verdict.json, and our page."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from features.files import write_atomically
from features.moments import iso
from features.settings import Settings
from monitoring.alert_store import AlertStore
from monitoring.findings import Finding

if TYPE_CHECKING:
    from monitoring.verdicts import Verdict

ENDED = timedelta(days=14)  # how long an alert that is over is on the page


def write(settings: Settings, verdict: "Verdict", language: str = "en") -> None:
    """What is for machines; and our page, if the verdict has one, with what ended lately."""
    if verdict.page is not None:
        from monitoring import report

        with closing(AlertStore(settings)) as store:
            over = store.ended(verdict.at - ENDED, verdict.at)
            calm = {one.fingerprint for one in verdict.findings if one.status == "ok"}
            firing = [one.episode for one in store.current() if one.episode.state == "firing"]
        clear = [one for one in firing if one.fingerprint in calm]
        write_atomically(verdict.page, report.page(verdict, language, over, clear).encode())
    file = msgspec.json.format(msgspec.json.encode(_plain(verdict)))
    write_atomically(verdict.folder / "verdict.json", file)


def with_those(verdict: "Verdict", newer: Iterable[Finding]) -> "Verdict":
    """The verdict with newer findings in the place of what it found of the same."""
    now = {one.fingerprint: one for one in newer}
    return replace(verdict, findings=tuple(now.get(one.fingerprint, one) for one in verdict.findings))


def _plain(verdict: "Verdict") -> Mapping[str, Any]:
    return {
        "moment": iso(verdict.moment),
        "until": iso(verdict.until),
        "at": iso(verdict.at),
        "status": verdict.status,
        "exit_code": verdict.exit_code,
        "words": verdict.words._asdict(),
        "findings": [
            {
                "subject": f.subject,
                "of": f.of,
                "asks": f.asks._asdict() if f.asks else None,
                "check": f.check,
                "status": f.status,
                "value": _number(f.value),
                "limit": _number(f.limit),
                "words": f.words._asdict(),
                "cause": f.cause._asdict() if f.cause else None,
                "advice": f.advice._asdict() if f.advice else None,
                "owner": f.owner,
                "topic": f.topic,
                "since": f.since,
                "contributors": [
                    {"name": c.name, "words": c.words._asdict(), "excess": _number(c.excess)}
                    for c in f.contributors
                ],
            }
            for f in verdict.findings
        ],
        "releases": [{"name": one.card.name, "version": one.card.version} for one in verdict.evidence],
        "retraining": [
            {"name": one.release, "blocked": bool(one.blocked), "words": one.words._asdict()}
            for one in verdict.retraining
        ],
        "page": verdict.page.name if verdict.page else None,
        "closer": verdict.closer.name if verdict.closer else None,
        "page_error": verdict.page_error,
    }


def _number(value: float) -> float | None:
    return value if abs(value) < float("inf") else None
