"""One simulated retailer: its size, its seed, its seasons, and the changes planted in it."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from features.errors import SourceError, UsageError
from features.moments import from_us, to_us
from features.sources.simulated.draws import Draws, Floats

VERSION = 2  # raise whenever the same World would give other files
ZONE = ZoneInfo("Asia/Shanghai")  # no summer time: every local day has 24 hours
DAY_S = 86_400.0

# What may change on a day, and what the factor then means.
FEATURE_CHANGES = {
    "price": "order amounts are multiplied by the factor",
    "online": "this share of store orders and visits moves to the mini-program",
    "lost": "this share of the interactions of 14 days never arrives",
}
CONCEPT_CHANGES = {
    "churn": "the hazard of being lost is multiplied by the factor",
    "response": "every effect of an action on orders is multiplied by the factor",
}
_SHARES = ("online", "lost")

# Shares of a day's traffic by hour: quiet nights, lunch, and the peak after 20:00 of Chinese online retail.
_HOURS = np.array([1, .5, .3, .2, .2, .4, 1, 2, 3, 4, 5, 5, 6, 5, 4.5, 4.5, 4.5, 4.5, 5, 6.5, 8, 8, 6, 3])  # fmt: skip
_WEEKDAYS = (0.94, 0.93, 0.95, 0.97, 1.03, 1.12, 1.06)  # Monday first


@dataclass(frozen=True)
class Change:
    """From `day` on (0: the first day, local midnight), `kind` applies with `factor`."""

    kind: str
    day: int
    factor: float

    @classmethod
    def parse(cls, text: str, concept: bool) -> "Change":
        """`price=1.2@400`. UsageError says what a change looks like."""
        known = CONCEPT_CHANGES if concept else FEATURE_CHANGES
        kind, _, rest = text.partition("=")
        factor, _, day = rest.partition("@")
        try:
            change = cls(kind, int(day), float(factor))
        except ValueError:
            raise UsageError(f"{text!r} is no change: write KIND=FACTOR@DAY, such as churn=2@400") from None
        if kind not in known:
            raise UsageError(f"{kind!r} cannot change here; what can: {', '.join(known)}")
        if change.day < 0 or not 0 <= change.factor <= (1 if kind in _SHARES else 10):
            raise UsageError(f"{text!r}: a day from 0, and a factor from 0 to 10, or a share up to 1")
        return change


@dataclass(frozen=True)
class Event:
    """A calendar event: days since the start (local), and by how much it multiplies traffic on each day."""

    event_id: str
    kind: str
    name: str
    begins: float
    ends: float
    strength: float


@dataclass(frozen=True)
class World:
    """Everything that the files depend on. Times inside are days since local midnight of `start`."""

    customers: int = 20_000
    days: int = 730
    seed: int = 1
    start: date = date(2024, 1, 1)
    dirty: bool = False
    changes: tuple[Change, ...] = ()

    def __post_init__(self) -> None:
        if not (1 <= self.customers < 100_000_000 and 60 <= self.days <= 3660):
            raise UsageError("a simulated shop has 1 to 99,999,999 customers and 60 to 3,660 days")
        for change in self.changes:
            if change.day >= self.days:
                raise UsageError(f"{change.kind} cannot change on day {change.day}: days go to {self.days}")

    @cached_property
    def draws(self) -> Draws:
        return Draws(self.seed)

    @cached_property
    def origin_us(self) -> int:
        """Local midnight of the first day, in microseconds UTC."""
        return to_us(datetime(self.start.year, self.start.month, self.start.day, tzinfo=ZONE))

    @property
    def end(self) -> datetime:
        """Local midnight after the last day, in UTC: everything that happened before is in the files."""
        return self.moment(self.days)

    def moment(self, day: float) -> datetime:
        """The UTC moment of a time in days."""
        return from_us(self.origin_us) + timedelta(days=day)

    def day(self, moment: datetime) -> float:
        """The time in days of a moment."""
        return (moment.astimezone(UTC) - from_us(self.origin_us)) / timedelta(days=1)

    def factor(self, kind: str, t: Floats) -> Floats:
        """The factor of a change at times t; 1 (of a share: 0) before it. Later changes of a kind replace it."""
        value = np.full(np.shape(t), 0.0 if kind in _SHARES else 1.0)
        for change in sorted((c for c in self.changes if c.kind == kind), key=lambda c: c.day):
            value = np.where(np.asarray(t) >= change.day, change.factor, value)
        return value

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """The calendar, from the first day to 90 days after the last."""
        return tuple(_calendar(self.start, self.days + 90))

    @cached_property
    def _hourly(self) -> tuple[Floats, Floats]:
        """Hours since the start as days, and the operational time up to each: on average 1 a day."""
        day = np.arange(self.days)
        weekday = np.array([(self.start.weekday() + d) % 7 for d in range(7)])[day % 7]
        year = np.array([(self.start + timedelta(days=int(d))).timetuple().tm_yday for d in day])
        weight = np.array(_WEEKDAYS)[weekday] * (1 + 0.08 * np.cos(2 * np.pi * (year - 330) / 365.25))
        for event in self.events:
            weight *= np.where((day >= np.floor(event.begins)) & (day < event.ends), event.strength, 1.0)
        hours = (weight / weight.mean())[:, None] * (_HOURS / _HOURS.sum())
        return np.arange(self.days * 24 + 1) / 24, np.concatenate([[0.0], np.cumsum(hours.ravel())])

    def season(self, t: Floats) -> Floats:
        """Operational time at t: purchases and visits come at a constant rate in it (see `purchases`)."""
        return np.asarray(np.interp(t, *self._hourly))

    def when(self, operational: Floats) -> Floats:
        """The inverse of `season`."""
        hours, time = self._hourly
        return np.asarray(np.interp(operational, time, hours))

    @cached_property
    def _hazard(self) -> tuple[Floats, Floats]:
        days = np.array(sorted({0, self.days, *(c.day for c in self.changes if c.kind == "churn")}), float)
        steps = np.diff(days) * self.factor("churn", days[:-1])
        return days, np.concatenate([[0.0], np.cumsum(steps)])

    def hazard(self, t: Floats) -> Floats:
        """Cumulative hazard at t of a customer whose hazard is 1 a day before any change."""
        return np.asarray(np.interp(t, *self._hazard))

    def lost_when(self, hazard: Floats) -> Floats:
        """The inverse of `hazard`; infinite where that is after the last day."""
        days, total = self._hazard
        return np.where(hazard < total[-1], np.interp(hazard, total, days), np.inf)

    def save(self, path: Path) -> None:
        """Write world.json."""
        path.write_text(
            json.dumps({"version": VERSION, **asdict(self)}, indent=1, default=str) + "\n", "utf-8"
        )

    @classmethod
    def load(cls, path: Path) -> "World":
        """Read world.json. SourceError if it is absent or of another version of the simulator."""
        try:
            raw = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise SourceError(
                f"{path.parent} holds no simulated shop: `propensity simulate {path.parent}` writes one"
            ) from None
        except json.JSONDecodeError as error:
            raise SourceError(f"{path} is not JSON ({error}): simulate the shop anew") from None
        if raw.pop("version", None) != VERSION:
            raise SourceError(f"{path} was written by another version of the simulator: simulate it anew")
        raw["start"] = date.fromisoformat(raw["start"])
        raw["changes"] = tuple(Change(**change) for change in raw["changes"])
        return cls(**raw)


def _calendar(start: date, days: int) -> list[Event]:
    """Sales, public holidays and live shows. Strengths: sales 1.4 to 2.5, quiet days of Spring Festival .6."""
    import holidays

    events = []

    def add(kind: str, name: str, first: date, length: float, strength: float, hour: float = 0.0) -> None:
        begins = (first - start).days + hour / 24
        if 0 <= begins < days:
            id = f"{kind}-{name}-{first:%Y%m%d}".replace(" ", "-").lower()
            events.append(Event(id, kind, name, begins, begins + length, strength))

    for year in range(start.year, start.year + days // 365 + 2):
        add("sale", "618", date(year, 6, 1), 15, 1.15)
        add("sale", "618 peak", date(year, 6, 16), 3, 2.0)
        add("sale", "11.11", date(year, 11, 1), 9, 1.2)
        add("sale", "11.11 peak", date(year, 11, 10), 2, 2.5)
        add("sale", "12.12", date(year, 12, 11), 2, 1.7)
        public = holidays.country_holidays("CN", years=year, language="en_US")  # else the locale's
        spring = min(day for day, name in public.items() if "Spring Festival" in name)
        add("sale", "Spring Festival goods", spring - timedelta(days=20), 14, 1.4)
        add("holiday", "Spring Festival", spring, 7, 0.6)
        for day, name in sorted(public.items()):
            if "Spring Festival" not in name and "substituted" not in name and "Eve" not in name:
                add("holiday", name, day, 1, 1.1)
    first_thursday = start + timedelta(days=(3 - start.weekday()) % 7)
    for week in range(days // 7):
        add("live", "Thursday live show", first_thursday + timedelta(weeks=week), 2 / 24, 1.0, hour=20)
    return sorted(events, key=lambda e: (e.begins, e.event_id))
