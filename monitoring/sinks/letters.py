"""What a sink is handed, and how it says that something did not arrive."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

import msgspec

from monitoring.messages import Language, Telling

TIMEOUT = 10.0  # seconds for one try


@dataclass(frozen=True)
class Party:
    """Who acts. name: as messages call them. email: addresses. wecom: ids that the group robot mentions."""

    name: str
    email: tuple[str, ...] = ()
    wecom: tuple[str, ...] = ()


@dataclass(frozen=True)
class Letter:
    """One message for one sink. body: the CloudEvent, or what is told of states. secret: the sink's; "" if
    there is none. rest: what an earlier try left to be done, as the sink said."""

    id: str
    body: bytes
    secret: str = field(repr=False)
    languages: Sequence[Language]
    parties: Mapping[str, Party]
    rest: str = ""

    def telling(self) -> Telling:
        """What is told, of an event."""
        return msgspec.json.decode(self.body, type=_Event).data

    @property
    def to(self) -> Party:
        """Whom it is for."""
        owner = self.telling().owner
        return self.parties.get(owner, Party(owner))


class _Event(msgspec.Struct):
    data: Telling


class NotDeliveredError(Exception):
    """It did not arrive. The words tell no secret.

    wait: the sink asks to be left alone so long. final: it refuses this message, and would again. counted:
    False if it was not tried at all. rest: what is still to be done, if a part of it arrived.
    """

    def __init__(
        self,
        why: str,
        wait: timedelta | None = None,
        final: bool = False,
        counted: bool = True,
        rest: str = "",
    ) -> None:
        super().__init__(why)
        self.wait, self.final, self.counted, self.rest = wait, final, counted, rest


class Channel(Protocol):
    """A sink's own settings, and how it is spoken to."""

    @property
    def state(self) -> bool:
        """Whether it is told which alerts fire, rather than what is new."""

    @property
    def per_minute(self) -> int | None:
        """Messages that it takes in a minute; None: as many as come."""

    @property
    def secret(self) -> str:
        """What its secret is, in a word or two; "" if it needs none."""

    def deliver(self, letter: Letter) -> None:
        """Returns once it arrived. NotDeliveredError if it did not."""
