"""What this process can answer now: `/readyz`. Scores decide whether it is ready; what else is away is named.

Without any released target it is ready, too, for a shop may decide by its policies alone; but not while
nobody can know whether there is one, for the store of releases was never read.

The ledger may be on a server that is slow, or does not answer at all: it is asked beside, and not waited for
longer than a probe waits.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from features.errors import DecisionError, LogError, PropensityError, ReleaseError, SettingsError
from features.inbox import Inbox
from serving.api import Failure, ReadyAnswer
from serving.decision_context import DecisionContext
from serving.problems import detail_of
from serving.scores import Scorer

PATIENCE = 0.5  # seconds for the ledger; the usual probe gives all of an answer one
FRESH = 3.0  # seconds after it was asked in which what it said too late for one probe is told to the next


class Readiness:
    """For one thread at a time. deciding: what decisions are taken with, opened when it can be. read: whether
    the store of releases was read since the start, or there is none."""

    def __init__(
        self,
        scorer: Scorer,
        deciding: Callable[[], DecisionContext],
        inbox: Inbox,
        read: Callable[[], bool],
    ) -> None:
        self._scorer, self._deciding, self._inbox, self._read = scorer, deciding, inbox, read
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="propensity-ready")
        self._asked: Future[list[str]] | None = None  # of the ledger, and not told yet
        self._since = 0.0  # when it was asked

    def stop(self) -> None:
        """Wait for what was asked."""
        self._pool.shutdown()

    def answer(self) -> ReadyAnswer:
        """Raises why no customer can be scored, and SettingsError for a shop that is declared wrongly."""
        missing, paused = self._scorer.ready(), list[str]()
        if not self._read() and not self._scorer.releases.names():
            raise ReleaseError(
                "nothing is in force here, and PROPENSITY_RELEASES could not be read since the start: the "
                "service's log says why"
            )
        try:
            paused = self._paused()
        except SettingsError:
            raise
        except PropensityError as error:
            missing.append(self._told(error))
        try:
            self._inbox.require_usable()
        except LogError as error:
            missing.append(self._told(error))
        refused = [refused for refused in self._scorer.refused().values() if refused]
        return ReadyAnswer("ready", refused, paused, missing)

    def _told(self, error: PropensityError) -> Failure:
        return Failure(error.code, detail_of(error, self._scorer.settings))

    def decides(self) -> bool:
        """Whether decisions can be taken."""
        try:
            self._paused()
        except PropensityError:
            return False
        return True

    def _paused(self) -> list[str]:
        """What decisions do not do now; raises why none can be taken."""
        asked, now = self._asked, time.monotonic()
        if asked is None or (asked.done() and now - self._since > FRESH):  # what it was then is no news
            asked = self._asked = self._pool.submit(self._look)
            self._since = now
        try:
            found = asked.result(PATIENCE)
        except TimeoutError:
            raise DecisionError(
                f"the ledger did not answer within {PATIENCE:g} s: look at its disk, or its server"
            ) from None
        finally:
            if asked.done():
                self._asked = None
        return found

    def _look(self) -> list[str]:
        context = self._deciding()
        context.ledger.require_usable()
        return sorted(context.rules(context.settings.now()).paused)
