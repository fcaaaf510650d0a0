"""What is told with a test key, of events and erasures, in memory: the made-up customers stay as they are."""

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from features.inbox import Arrival, Outcome
from serving.sandbox_customers import ERASED, REFUSED, fail

KEPT = 10_000  # events and erasures that are remembered


class SandboxInbox:
    """As the inbox. For one thread at a time."""

    def __init__(self) -> None:
        self._told: OrderedDict[Any, Any] = OrderedDict()

    def accept(self, arrivals: Sequence[Arrival], received_at: datetime) -> list[tuple[Outcome, str]]:
        """As `Inbox.accept`."""
        found: list[tuple[Outcome, str]] = []
        for of in arrivals:
            whom = of.told_as[1] if of.told_as else of.customer_id
            fail(whom, "inbox")
            if whom == REFUSED:
                found.append(("event_refused", of.customer_id))
                continue
            if whom == ERASED:
                found.append(("customer_erased", of.customer_id))
                continue
            before = self._told.get(("event", of.source, of.id))
            outcome: Outcome = "accepted" if before is None else "duplicate"
            if before not in (None, of.digest):
                outcome = "event_conflict"
            self._remember(("event", of.source, of.id), before or of.digest)
            found.append((outcome, of.customer_id))
        return found

    def refusal(self, source: str, id: str) -> str | None:
        """As `Inbox.refusal`."""
        return "this is what the log says of an event that it does not take"

    def erase(self, id: str) -> bool:
        """Whether that is asked for the first time."""
        first = ("erased", id) not in self._told
        self._remember(("erased", id), True)
        return first

    def _remember(self, name: Any, what: Any) -> None:
        self._told[name] = what
        while len(self._told) > KEPT:
            self._told.popitem(last=False)
