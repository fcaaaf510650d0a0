"""What a shop's calendar holds, each with the moment from which it was known: `[calendar]` of shop.toml.

    [calendar]
    countries = ["CN", "GB-ENG"]           # public holidays, of a part of a country too
    festivals = ["618", "11.11", "12.12"]  # the sales days that every shop keeps

    [[calendar.events]]                    # the shop's own
    name = "Spring live evening"
    kind = "live"                          # holiday, sale, live, or closed: no business on these days
    from = 2024-03-08T20:00:00             # local time; a date is the whole day
    until = 2024-03-08T22:00:00            # without it: the end of that day
    announced = 2024-03-01                 # when it became known; without it: when it begins

Public holidays are known a year before: their rule is. Days off that a government moves (China's notice of
November, a bank holiday for a coronation) are announced later than that, so they are left out: put those that
matter among the events, with the day of the notice. Festivals are known a year before too.
The calendar covers FIRST_YEAR to LAST_YEAR whatever the log holds: no log's end, nor any clock, decides what a
feature may see ahead, but `known_at` alone.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import MAXYEAR, MINYEAR, date, datetime, time, timedelta
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from features.errors import SettingsError
from features.moments import iso
from features.shop import CALENDAR, Shop
from features.sources import Source
from features.sources.raw import literal
from features.toml import Entry, nearest
from features.words import Words

FIRST_YEAR, LAST_YEAR = 1995, 2045
KNOWN_DAYS = 365  # before it, of what comes every year
FESTIVALS = {
    "618": (6, 18, Words("618 Shopping Festival", "618购物节")),
    "11.11": (11, 11, Words("Singles' Day 11.11", "双十一")),
    "12.12": (12, 12, Words("Double Twelve 12.12", "双十二")),
}
WHERE = "shop.toml"  # the raw file of the account


class Event(NamedTuple):
    """One row of the table `calendar`; `note` says in the account where it is from."""

    event_id: str
    kind: str
    name: str
    at: datetime
    until: datetime
    known_at: datetime
    note: str


def source(shop: Shop, folder: Path | None = None) -> Source:
    """The calendar as a source. SettingsError for a country, festival or event that cannot be."""
    events = list(events_of(shop))
    rows = ", ".join(
        "("
        + ", ".join(
            literal(v) for v in (e.event_id, e.kind, e.name, iso(e.at), iso(e.known_at), iso(e.until), e.note)
        )
        + f", {line})"
        for line, e in enumerate(events)
    )
    return Source(
        name=CALENDAR,
        files=(),
        tables={
            "calendar": f"""
                SELECT event_id, kind, name, "at", known_at, until, {literal(WHERE)} AS _file, _line, _note
                FROM (VALUES {rows}) t(event_id, kind, name, "at", known_at, until, _note, _line)"""
        },
        complete_until="SELECT NULL::TIMESTAMPTZ",
        version=hashlib.sha256(json.dumps(events, default=str).encode()).hexdigest(),
    )


def events_of(shop: Shop) -> Iterator[Event]:
    """Every event that [calendar] declares, in a fixed order."""
    entry = Entry(f"{shop.folder / 'shop.toml'}: calendar", shop.calendar)
    countries = entry.take("countries", "texts", ())
    festivals = entry.take("festivals", "texts", ())
    own = entry.entries("events", [])
    entry.close()
    if not countries and not festivals and not own:
        raise SettingsError(f"{entry.where} is empty: expected countries, festivals or [[calendar.events]]")
    for country in countries:
        yield from _holidays(entry, country, shop.zone)
    for festival in festivals:
        if festival not in FESTIVALS:
            raise entry.error("festivals", f"some of {', '.join(FESTIVALS)}", nearest(festival, FESTIVALS))
        month, day, words = FESTIVALS[festival]
        for year in range(FIRST_YEAR, LAST_YEAR + 1):
            first = date(year, month, day)
            yield _days(
                f"{festival}:{year}", "sale", _both(words), first, first, shop.zone, f"festival {festival}"
            )
    names: set[str] = set()
    for one in own:
        event = _own(one, shop.zone)
        if event.event_id in names:
            raise SettingsError(f"{one.where}: an event of that name begins at that time already")
        names.add(event.event_id)
        yield event


def _holidays(entry: Entry, country: str, zone: ZoneInfo) -> Iterator[Event]:
    """Public holidays; days of one name that follow one another are one event."""
    import holidays

    code, _, part = country.partition("-")
    try:
        supported = holidays.country_holidays(code, subdiv=part or None).supported_languages
    except (NotImplementedError, AttributeError):
        known = holidays.list_supported_countries()
        if code in known:
            parts = ", ".join(f"{code}-{p}" for p in known[code]) or "none"
            raise entry.error(
                "countries", f"for {country!r} the country, {code!r}, or one of its parts: {parts}"
            ) from None
        raise entry.error("countries", f"for {country!r} an ISO code such as CN, US, GB-ENG") from None

    def regular(language: str | None) -> dict[date, str]:
        found = holidays.country_holidays(code, subdiv=part or None, observed=False, language=language)
        found.has_special_holidays = found.has_substituted_holidays = (
            False  # announced for one year, too late for us
        )
        for year in range(FIRST_YEAR, LAST_YEAR + 1):
            found.get(date(year, 1, 1))  # it fills the years that it is asked for
        return dict(found)

    days = regular(next((one for one in ("en_US", "en_GB") if one in supported), None))
    chinese = regular("zh_CN") if "zh_CN" in supported else {}
    run: list[date] = []
    for day in [*sorted(days), date.max]:
        if run and (day - run[-1] != timedelta(days=1) or days[day] != days[run[0]]):
            name = _both(Words(days[run[0]], chinese.get(run[0], days[run[0]])))
            yield _days(
                f"{country}:{run[0]}", "holiday", name, run[0], run[-1], zone, f"public holidays of {country}"
            )
            run = []
        run.append(day)


def _both(words: Words) -> str:
    return words.en if words.en == words.zh else f"{words.en} {words.zh}"


def _days(id: str, kind: str, name: str, first: date, last: date, zone: ZoneInfo, note: str) -> Event:
    known = _midnight(first - timedelta(days=KNOWN_DAYS), zone)
    return Event(
        id, kind, name, _midnight(first, zone), _midnight(last + timedelta(days=1), zone), known, note
    )


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)


def _own(entry: Entry, zone: ZoneInfo) -> Event:
    """One of the shop's own events."""
    name = entry.take("name", "text")
    kind = entry.take("kind", "text", choices=("holiday", "sale", "live", "closed"))
    at, _ = _moment(entry, "from", zone)
    if "until" in entry.raw:
        until, last_day = _moment(entry, "until", zone)
        until = until + timedelta(days=1) if last_day else until
    else:
        entry.taken.add("until")
        until = _midnight(at.astimezone(zone).date() + timedelta(days=1), zone)
    announced = _moment(entry, "announced", zone)[0] if "announced" in entry.raw else at
    entry.taken.add("announced")
    entry.close()
    if until < at:
        raise entry.error("until", "a time after `from`")
    announced = min(announced, at)  # once it has begun, it is known
    return Event(f"own:{name}:{iso(at)}", kind, name, at, until, announced, "the shop's own")


def _moment(entry: Entry, key: str, zone: ZoneInfo) -> tuple[datetime, bool]:
    """A moment, and whether it was given as a whole day. Without an offset it is local time."""
    entry.taken.add(key)
    value = entry.raw.get(key)
    if isinstance(value, date) and not MINYEAR < value.year < MAXYEAR:  # a day later there is none
        raise entry.error(key, f"a time of the years {MINYEAR + 1} to {MAXYEAR - 1}")
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=zone)), False
    if isinstance(value, date):
        return _midnight(value, zone), True
    raise entry.error(key, "a date or a time, without quotes: 2024-03-08 or 2024-03-08T20:00:00")
