"""One alert from its first bad day until it is over. Pure: what it becomes on a day, and what is to be told.

    (none) -> pending    bad, but not yet on as many days as its check wants; nobody is told
           -> firing     told; told again when it is worse, when something was done about it (its stage), when
                         it goes on, and when nobody acknowledges it
           -> resolved   on CLEAR_DAYS successive days below CLEAR of its limit; unjudged for UNJUDGED days;
                         or as another version is in force, of which it cannot be judged yet

Between CLEAR of the limit and the limit it stays what it is: a figure which wavers there is told once.
A page is a warning again after as many days in a row on which it is no page.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from math import isnan
from typing import Literal

from monitoring.findings import Finding

State = Literal["pending", "firing", "resolved"]
Severity = Literal["warning", "page"]
News = Literal["firing", "worse", "changed", "reminder", "escalation", "closed", "resolved"]
CLEAR = 0.7  # of the limit
CLEAR_DAYS = 2
UNJUDGED = 14  # days without a verdict, after which an alert is closed: its model or check is gone


@dataclass(frozen=True, kw_only=True)
class Ack:
    """Who acts on it."""

    by: str
    at: datetime
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One alert. finding: the latest bad one. topic: of the fault that it was told to be part of.

    began, fired, ended: moments of runs. bad: days on which it was, of those that its check counts. better,
    lower: days in a row on which it was clear, or less urgent than `severity`. judged: the last day with a
    verdict. told: when it was last, None: never. told_as: how urgent. paged: when it was first told as the
    page that it is. hushed: silenced since it was told. peak: how urgent it ever was. unjudged: it was closed
    for want of a verdict. stage: the last that was told.
    """

    fingerprint: str
    state: State
    severity: Severity
    topic: str
    finding: Finding
    began: datetime
    judged: date
    fired: datetime | None = None
    ended: datetime | None = None
    bad: tuple[date, ...] = ()
    better: tuple[date, ...] = ()
    lower: tuple[date, ...] = ()
    told: datetime | None = None
    told_as: Severity | None = None
    paged: datetime | None = None
    escalated: bool = False
    hushed: bool = False
    unjudged: bool = False
    stage: str = ""
    ack: Ack | None = None
    peak: Severity = "warning"

    @property
    def since(self) -> date:
        """The first day on which it was so, as its check says, else as was seen."""
        return self.finding.since or self.began.date()


def advance(
    before: Episode | None,
    finding: Finding | None,
    moment: datetime,
    day: date,
    wants: tuple[int, int] = (1, 1),
) -> Episode | None:
    """What an alert becomes by what a run found; None: there is none (any more).

    before: it is not resolved. finding: None if the run has none of it. day: of the moment, in the shop's
    zone. wants: bad days, of so many, before it fires.
    """
    if finding is None or (finding.status == "ok" and isnan(finding.value)):
        replaced = before and finding and before.finding.version not in ("", finding.version)
        if before is None or (day - before.judged < timedelta(UNJUDGED) and not replaced):
            return before
        over = _over(before, moment)
        return over and replace(over, unjudged=True)
    if finding.status == "ok":
        return _good(before, finding, moment, day, wants)
    return _bad(before, finding, finding.status, moment, day, wants)


def _bad(
    before: Episode | None,
    finding: Finding,
    severity: Severity,
    moment: datetime,
    day: date,
    wants: tuple[int, int],
) -> Episode:
    if before is None:
        before = Episode(
            fingerprint=finding.fingerprint, state="pending", severity=severity, topic=finding.topic,
            finding=finding, began=moment, judged=day,
        )  # fmt: skip
    now = replace(before, finding=finding, judged=day, better=(), bad=_counted(before.bad, day, wants, True))
    now = replace(now, severity="page", peak="page", lower=()) if severity == "page" else _lowered(now, day)
    if now.state == "pending" and len(now.bad) >= wants[0]:
        now = replace(now, state="firing", fired=moment)
    return now


def _good(
    before: Episode | None, finding: Finding, moment: datetime, day: date, wants: tuple[int, int]
) -> Episode | None:
    if before is None:
        return None
    if before.state == "pending":
        now = replace(before, judged=day, bad=_counted(before.bad, day, wants, False))
        return now if now.bad else None
    better = _with(before.better, day) if is_clear(finding) else ()
    now = _lowered(replace(before, judged=day, better=better), day)
    return _over(now, moment) if len(better) >= CLEAR_DAYS else now


def _lowered(now: Episode, day: date) -> Episode:
    """On a day that pages nobody. Told as a page later, it is worse than it was."""
    if now.severity == "warning":
        return now
    lower = _with(now.lower, day)
    if len(lower) < CLEAR_DAYS:
        return replace(now, lower=lower)
    return replace(now, severity="warning", told_as=now.told_as and "warning", lower=(), paged=None)


def _over(before: Episode, moment: datetime) -> Episode | None:
    return replace(before, state="resolved", ended=moment) if before.state == "firing" else None


def _counted(bad: tuple[date, ...], day: date, wants: tuple[int, int], with_it: bool) -> tuple[date, ...]:
    kept = tuple(one for one in bad if day - one < timedelta(wants[1]))
    return _with(kept, day) if with_it else kept


def _with(days: tuple[date, ...], day: date) -> tuple[date, ...]:
    return days if day in days else (*days, day)


def is_clear(finding: Finding) -> bool:
    """Whether a finding that is ok is far enough below its limit. One without a limit, or with one that is
    not above zero, of which there is no share, is as soon as it is ok.

    >>> from features.words import Words
    >>> def at(value, limit):
    ...     return Finding(subject="s", check="c", status="ok", value=value, limit=limit,
    ...                    words=Words("", ""), owner="data", topic="t")
    >>> is_clear(at(0.69, 1.0)), is_clear(at(0.7, 1.0)), is_clear(at(-1.0, float("nan")))
    (True, False, True)
    """
    return not finding.limit > 0 or finding.value < CLEAR * finding.limit


def to_tell(
    episode: Episode, moment: datetime, silenced: bool, remind: timedelta, escalate: timedelta | None
) -> tuple[News, ...]:
    """What is to be told of an alert now; resolutions are told by topic (`over`).

    silenced: nothing is, until that ends. remind: a page that goes on is told again after so long; a warning
    never is, nor a page on a day on which it is none.
    escalate: a page that nobody acknowledged goes further after so long; None: it does not.
    """
    if episode.state != "firing" or silenced:
        return ()
    if episode.told is None or episode.told_as is None:
        return ("firing",)
    if episode.severity == "page" and episode.told_as == "warning":
        return ("worse",)
    if episode.finding.stage not in ("", episode.stage):
        return ("changed",)
    if episode.hushed and not episode.better:
        return ("reminder",)
    if episode.severity != "page" or episode.lower or episode.better:  # it may be over: the next run says
        return ()
    news: list[News] = []
    if moment - episode.told >= remind:
        news.append("reminder")
    waited = escalate is not None and episode.paged is not None and moment - episode.paged >= escalate
    if waited and episode.ack is None and not episode.escalated:
        news.append("escalation")
    return tuple(news)


def having_told(
    episode: Episode, news: Collection[News], moment: datetime, silenced: bool = False
) -> Episode:
    """The alert once that was written for its sinks, or nothing was, as it is silenced."""
    if silenced or news:
        episode = replace(episode, hushed=silenced and episode.told is not None)
    if "escalation" in news:
        episode = replace(episode, escalated=True)
    if not {"firing", "worse", "changed", "reminder"} & set(news):
        return episode
    if "worse" in news:  # whoever acknowledged a warning has not seen the page
        episode = replace(episode, ack=None, escalated=False, topic=episode.finding.topic)
    paged = episode.paged or moment if episode.severity == "page" else None
    stage = episode.finding.stage or episode.stage
    return replace(episode, told=moment, told_as=episode.severity, paged=paged, stage=stage)


def follows(episode: Episode, fault: Episode) -> bool:
    """Whether an alert is what a table's fault, which was told as urgently, does to a feature or a figure; or
    the same table's, which began to show within a day of it."""
    one, other = episode.finding, fault.finding
    began = None if one.since is None or other.since is None else abs((one.since - other.since).days)
    same = one.subject == other.subject and began is not None and began <= 1
    return (one.of != "table" or same) and fault.told_as in ("page", episode.severity)


def joining(episode: Episode, fault: Episode) -> Episode:
    """The alert, told by that fault's message: it is reminded of with it, and over with it."""
    return replace(episode, told=fault.told, paged=episode.paged and fault.paged, escalated=True)
