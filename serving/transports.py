"""How bytes leave and come: a head with its body, a refusal that is read before the end, and nothing that
nobody has time for.
"""

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.flow_control import FlowControl

LINGER_SECONDS = 1.0  # for the other side to read why, before what it still sends resets the connection


class Joined:
    """A transport whose first bytes, the head of an answer, leave with those that follow, of its body.

    uvicorn writes them one after the other: two calls of the system, two packets, and a caller woken twice.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = None
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if self._head is None:
            self._head = data
        else:
            self._transport.write(self._head + data if self._head else data)
            self._head = b""

    def close(self) -> None:
        if self._head:
            self.write(b"")
        self._transport.close()


class Lingering:
    """A transport whose `close` says so and lets the other side finish for a moment."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.write, self.is_closing = transport.write, transport.is_closing
        self._transport, self._loop = transport, loop

    def close(self) -> None:
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._loop.call_later(LINGER_SECONDS, self._transport.close)


class Flow(FlowControl):
    """uvicorn's, which reads on with every answer: this one does not while the connection `holds`."""

    def __init__(self, transport: asyncio.Transport, holds: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._holds = holds

    def resume_reading(self) -> None:
        if not self._holds():
            super().resume_reading()
