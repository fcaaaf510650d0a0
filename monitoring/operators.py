"""What an operator says of alerts: I act on it; tell nobody of it until then."""

from contextlib import closing
from dataclasses import replace
from datetime import datetime

from features.errors import UsageError
from features.moments import iso
from features.settings import Settings
from monitoring.alert_store import AlertStore
from monitoring.episodes import Ack, Episode
from monitoring.silences import Silence


def acknowledge(settings: Settings, what: str, by: str, note: str = "") -> list[Episode]:
    """Say who acts on what fires under that name: a subject, a check, `subject|check` or a topic; those
    alerts. UsageError if none does."""
    with closing(AlertStore(settings)) as store, store.writing():
        found = [kept for kept in store.current() if _named(kept.episode, what)]
        if not found:
            names = sorted(k.episode.fingerprint for k in store.current() if k.episode.state == "firing")
            raise UsageError(f"nothing fires under {what!r}; what fires: {', '.join(names) or 'nothing'}")
        ack = Ack(by=by, at=settings.now(), note=note)
        acked = [replace(kept, episode=replace(kept.episode, ack=ack)) for kept in found]
        for kept in acked:
            store.keep(kept)
    return [kept.episode for kept in acked]


def silence(
    settings: Settings, what: str, until: datetime, reason: str, by: str
) -> tuple[int, list[Episode]]:
    """Tell nobody of a subject, a check or `subject|check` until then; the silence's number, and what fires
    now and is silenced by it. UsageError for a day that is over."""
    now = settings.now()
    if until <= now:
        raise UsageError(f"--until {iso(until)} is over: name a later moment than {iso(now)}")
    with closing(AlertStore(settings)) as store:
        number = store.silence(what, until, reason, by, now)
        made = Silence(number, what, until, reason, by, now)
        firing = [k.episode for k in store.current() if k.episode.state == "firing"]
    return number, [one for one in firing if made.covers(one.fingerprint, now)]


def end_silence(settings: Settings, number: int) -> Silence:
    """Take a silence back. UsageError if no such silence holds."""
    with closing(AlertStore(settings)) as store:
        now = settings.now()
        for one in store.silences():
            if one.number == number and one.holds(now):
                store.end_silence(number, now)
                return one
    raise UsageError(f"no silence {number} holds: `propensity monitor silence` lists those that do")


def _named(episode: Episode, what: str) -> bool:
    names = (episode.fingerprint, episode.finding.subject, episode.finding.check, episode.topic)
    return episode.state == "firing" and what in names
