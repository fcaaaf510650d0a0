"""What an operator says of alerts: I act on it; tell nobody of it until then."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from datetime import datetime

from features.errors import UsageError
from features.moments import iso
from features.settings import Settings
from features.shop import shop_of
from features.tables import TABLES
from features.toml import nearest
from monitoring.alert_store import AlertStore
from monitoring.asked import SHOP
from monitoring.checks import BY_ITSELF, by_name
from monitoring.episodes import Ack, Episode
from monitoring.indicators import HEALTH, INDICATORS
from monitoring.silences import Silence
from serving import releases
from serving.segment_tables import TIERS
from training import targets


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
    settings: Settings, what: str, until: datetime, reason: str, by: str, anyway: bool = False
) -> tuple[int, list[Episode]]:
    """Tell nobody of a subject, a check or `subject|check` until then; the silence's number, and what fires
    now and is silenced by it. UsageError for a day that is over, and for what nothing is called: the silence
    would hold for nothing. anyway: something will be called so."""
    now = settings.now()
    if until <= now:
        raise UsageError(f"--until {iso(until)} is over: name a later moment than {iso(now)}")
    with closing(AlertStore(settings)) as store:
        firing = [k.episode for k in store.current() if k.episode.state == "firing"]
        if not anyway:
            _require_known(settings, store, what, firing)
        number = store.silence(what, until, reason, by, now)
    made = Silence(number, what, until, reason, by, now)
    return number, [one for one in firing if made.covers(one.fingerprint, now)]


def _require_known(settings: Settings, store: AlertStore, what: str, firing: Iterable[Episode]) -> None:
    names = _names(settings, store)
    for part in what.split("|", 1):
        if part not in names:
            raise UsageError(
                f"nothing that can be silenced is called {part!r}{_meant(part, names, firing)} What can be: "
                "a release, a table, an indicator, a check, or one alert ('churn_28d|features'), as "
                "`propensity monitor explain` and `propensity monitor alerts` name them. With --anyway it is "
                "kept for what is yet to come."
            )


def _names(settings: Settings, store: AlertStore) -> set[str]:
    """What an alert's subject or check is called, or may be."""
    shop = shop_of(settings)
    return {
        *BY_ITSELF,
        *shop.read("CHECKS", by_name),
        SHOP,
        *TABLES,
        *(one.name for one in (*INDICATORS, HEALTH)),
        *(f"{HEALTH.name}:{label.name}" for label in TIERS.labels),
        *targets.of_shop(shop),
        *releases.names(settings),
        *(name for kept in store.everything() for name in kept.episode.fingerprint.split("|", 1)),
    }


def _meant(name: str, names: Iterable[str], firing: Iterable[Episode]) -> str:
    """What a message names beside its alerts is in them; else a name that is spelled almost so."""
    parts = ((one, (one.topic, *(part.name for part in one.finding.contributors))) for one in firing)
    found = [repr(one.fingerprint) for one, of in parts if name in of]
    return f": it is part of {', '.join(found)}." if found else nearest(name, names)


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
