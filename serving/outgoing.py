"""What goes back to a caller."""

from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

JSON = b"application/json"


class Answer(NamedTuple):
    """One answer. parts: of a body that is too large to hold, in place of `body`."""

    status: int
    body: bytes
    type: bytes = JSON
    headers: Mapping[str, str] | None = None
    parts: AsyncIterator[bytes] | None = None
