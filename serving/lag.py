"""How far fresh rows are behind the events: what `propensity_fresh_lag_seconds` says."""

from datetime import UTC, datetime

from features.compute.builds import Build
from features.errors import NoBuild
from features.inbox import Inbox
from features.online import Published
from features.settings import Settings, clock


class Lag:
    """Reads the inbox, on from where it found everything overlaid. For one thread."""

    def __init__(self, settings: Settings, inbox: Inbox) -> None:
        self._settings = settings
        self._inbox = inbox
        self._of, self._taken, self._start = "", 0, 0

    def seconds(self, published: Published | None) -> float:
        """Age, by the machine's clock, of the oldest event that no score shows yet; 0 if none waits.

        published: what is served; None if nothing is, and then every event waits.
        """
        key = published.key if published else ""
        if key != self._of or published is None:
            self._taken = self._taken_by(published) if published else 0
            self._of, self._start = key, 0
        last = self._inbox.last()
        since = published.moment if published else datetime.min.replace(tzinfo=UTC)
        found = self._inbox.waiting(key, self._taken, since, self._start)
        if found is None:
            self._start = last + 1
            return 0.0
        self._start, told_at = found
        return max(0.0, (clock() - told_at).total_seconds())

    def _taken_by(self, published: Published) -> int:
        try:
            return self._inbox.taken(Build.open(self._settings, published.build).log)
        except NoBuild:  # its folder is gone: then nothing is certain to be in it
            return 0
