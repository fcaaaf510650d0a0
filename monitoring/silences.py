"""Silences: nobody is told of a subject, a check or one alert until a moment, and why."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Silence:
    """One silence. what: a subject, a check, or `subject|check`. ended: when it was taken back."""

    number: int
    what: str
    until: datetime
    reason: str
    by: str
    made: datetime
    ended: datetime | None = None

    def holds(self, at: datetime) -> bool:
        """Whether it holds at a moment."""
        return at < self.until and (self.ended is None or at < self.ended)

    def covers(self, fingerprint: str, at: datetime) -> bool:
        """Whether nobody is told of that alert at a moment.

        >>> from datetime import UTC
        >>> day = [datetime(2018, 1, n, tzinfo=UTC) for n in range(1, 4)]
        >>> one = Silence(1, "freshness", day[2], "the warehouse moves", "li", day[0])
        >>> one.covers("churn_28d|freshness", day[1]), one.covers("churn_28d|freshness", day[2])
        (True, False)
        >>> one.covers("churn_28d|features", day[1])
        False
        """
        return self.holds(at) and self.what in (fingerprint, *fingerprint.split("|", 1))
