"""One caller's connection, before a request is whole: how much it may send, how long it may take, how many.

uvicorn hands a request on once its head is complete, and waits for that as long, and keeps as much of it, as
the other side likes; nobody needs a key for it. What is no HTTP, a connection too many, and a head, or the
trailers of a chunked body, that is too large or too late, are refused here, and answered, counted and logged
as every other refusal is: by `Dispatch`.

A request for scores is kept until it is whole, and answered at once (`Dispatch.quick`), if it can be; of what
comes together the first, so that nobody's many keep others waiting. All others go uvicorn's way. Who keeps a
connection mostly sends the same head again: of one that was answered at once, the parser is not asked anew.

Who sends more requests than he waits for answers has the rest kept as it came, and no more of it read:
parsed, each would take a hundred times as much memory as it took to send.
"""

import asyncio
import resource
from collections.abc import Callable
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from serving.admission import refusal
from serving.incoming import SCORES
from serving.problems import Problem
from serving.transports import Flow, Joined, Lingering

RESTS = "propensity.rests"
"""A key of an ASGI scope whose caller was told that too much is asked: nothing of it is read for a while."""
REFUSED = "propensity.refused"
"""The type of an ASGI scope that has no request, but the Problem to answer with."""

MAX_HEAD = 1 << 15  # bytes of a head, as of trailers; what the usual proxies let pass is less
MAX_HEADERS = 100
HEAD_SECONDS = 10.0  # from the connection, or a head's first byte, to its last; or to send what nobody reads
KEEP_SECONDS = 1.0  # for a body to follow its head, before uvicorn waits for it in a task of its own
REST_SECONDS = 0.2  # that are not read: who asks again at once would take from those who were let in
_FILES, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
Sender = Callable[[list[tuple[bytes, bytes]]], str | None]
Quick = Callable[[str, bytes], tuple[int, bytes, bytes, bool] | None]
PROBES = (b"/livez", b"/healthz", b"/readyz")
SPARE = 16  # connections above MOST, which may ask one of PROBES, once, and have SPARE_SECONDS to do so: else
SPARE_SECONDS = 1.0  # who holds all others has the process taken for dead, and those whom it serves cut off
MOST = min(1000, _FILES // 2) if _FILES > 0 else 1000  # connections; what else is open needs the other half
_UNKNOWN = ("", -1)
KNOWN, KNOWN_BYTES = 4, 1 << 11  # heads of a connection that are known again: how many, how long at most
_PIECE = 1 << 11  # bytes that are parsed before they, and the requests in them, are counted
KEPT_BYTES = 1 << 13  # of a body, above which its request goes uvicorn's way
_QUICK = SCORES.encode()
_SWITCHES = (b"upgrade", b"http2-settings")  # headers, and what `Connection` says of them


class Connection(HttpToolsProtocol):
    """uvicorn's protocol, with limits. For `http` of its configuration."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._unread = 0  # bytes since a head was complete, or a part of a body came
        self._refused = False
        self._spare = False
        self._late: asyncio.TimerHandle | None = None  # while no request is being answered
        self._sender: Sender | None = getattr(self.app, "sender", None)
        self._quick: Quick | None = getattr(self.app, "quick", None)
        self._kept: bytes | None = None  # what came of the body of a request that is kept until it is whole
        self._keeping: asyncio.TimerHandle | None = None  # while it is not
        self._quickly = False  # what came last was answered so
        self._between = True  # no part of a request has come
        self._heads: dict[bytes, tuple[str, int]] = {}  # who asks, and the length of a body
        self._answered_at = 0.0  # when what was answered at once was
        self._held = b""  # what came behind requests that wait
        self._resting = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self.flow = Flow(transport, self._holds)
        if len(self.connections) > MOST + SPARE:
            self._refuse(_too_many())
            return
        self._spare = len(self.connections) > MOST
        self._late = self.loop.call_later(SPARE_SECONDS if self._spare else HEAD_SECONDS, self._too_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._hand_on()
        self._in_time()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        self._hand_on()
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        if self._held:
            self._held += data
            return
        head = data[: data.find(b"\r\n\r\n") + 4] if self._between else b""
        length = len(data) - len(head)
        sender, known = self._heads.get(head, _UNKNOWN)
        if known == length and self._answered_again(sender, data[-length:]):
            return
        self._quickly, at = False, 0
        while at < len(data) and not self._refused:
            if self._holds():
                self._held = data[at:]
                self.flow.pause_reading()
                break
            if self._unread >= MAX_HEAD:
                self._refuse(_too_large())
                break
            piece = data[at : at + min(_PIECE, MAX_HEAD - self._unread)]
            at += len(piece)
            self._unread += len(piece)
            self._feed(piece)
            if self._unread and len(self.headers or ()) > MAX_HEADERS:
                self._refuse(_too_large())
        if head and self._quickly and self._between:
            self._remember(head, length)
        if self._kept is not None and self._keeping is None:
            self._keeping = self.loop.call_later(KEEP_SECONDS, self._hand_on)
        cycle = self.cycle
        if self._quickly or self._kept is not None or (cycle is not None and not cycle.response_complete):
            if self._late is not None:
                self._in_time()
        elif self._late is None and not self._refused:
            self._late = self.loop.call_later(HEAD_SECONDS, self._too_late)

    def _answered_again(self, sender: str, body: bytes) -> bool:
        """Whether what came, of a head that is known, was answered at once."""
        if self._quick is None or self._refused or not self._free():
            return False
        said = self._quick(sender, body)
        if said is None:
            return False
        if self._late is not None:
            self._in_time()
        self._answer(*said)
        return True

    def _remember(self, head: bytes, length: int) -> None:
        """The head of what was answered at once, if it and a body of that length is all that came."""
        headers = dict(self.headers)
        given = headers.get(b"content-length") == str(length).encode()
        sender = None if self._sender is None else self._sender(self.headers)
        if given and sender and length and b"transfer-encoding" not in headers and len(head) <= KNOWN_BYTES:
            if len(self._heads) == KNOWN:
                self._heads.clear()
            self._heads[head] = sender, length

    def _feed(self, data: bytes) -> None:
        """As uvicorn's `data_received`, but who asks for another protocol is answered as if he had not: the
        parser takes what follows the head of such a request for that protocol, which we do not speak, and
        not for its body."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            if self._switches():
                head = self._plain_head()
                self.parser = HttpRequestParser(self)  # one that was told to close reads no more
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
                self._feed(head + data[upgrade.args[0] :])
        except HttpParserError as error:
            self.send_400_response(str(error))

    def _switches(self) -> bool:
        """Whether this head asks for another protocol, as clients of HTTP/2 do until they are known here."""
        return bool(self.parser.should_upgrade()) and self.parser.get_method() != b"CONNECT"

    def _plain_head(self) -> bytes:
        """The head that came, without what asks for another protocol."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (method, self.url, version)]
        for name, value in self.headers:
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                value = b", ".join(token for token in tokens if token.lower() not in _SWITCHES)
            if name not in _SWITCHES:
                lines.append(b"%b: %b" % (name, value))
        return b"\r\n".join((*lines, b"\r\n"))

    def on_headers_complete(self) -> None:
        self._unread = 0
        if len(self.headers) > MAX_HEADERS or self._unasked():
            raise ValueError  # the parser stops, and `send_400_response` is asked to say so
        if self._switches():
            return  # it comes again, plain
        if self._may_be_quick():
            self._kept = b""
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        if self._kept is None:
            super().on_body(body)
            return
        self._kept += body
        if len(self._kept) > KEPT_BYTES:
            self._hand_on()

    def on_message_begin(self) -> None:
        self._between = False
        super().on_message_begin()

    def on_message_complete(self) -> None:
        if self._switches():
            return
        self._between = True
        if self._kept is not None and self._quick is not None and self._sender is not None:
            sender = self._sender(self.headers)
            said = None if sender is None else self._quick(sender, self._kept)
            if said is not None:
                self._answer(*said)
                return
            self._hand_on()
        super().on_message_complete()

    def _may_be_quick(self) -> bool:
        """Whether this head is of a request that is to be kept: nothing is asked of HTTP but an answer, and
        nothing else is being answered."""
        return (
            self.url == _QUICK
            and self._quick is not None
            and not (self._quickly or self.expect_100_continue)
            and self._free()
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
        )

    def _free(self) -> bool:
        """Whether nothing else is being answered, and an answer can be written."""
        before = self.cycle
        return not (self._spare or self.flow.write_paused) and (before is None or before.response_complete)

    def _should_upgrade(self) -> bool:
        """Never."""
        return False

    def _keep_no_longer(self) -> None:
        self._kept = None
        if self._keeping is not None:
            self._keeping.cancel()
            self._keeping = None

    def _answer(self, status: int, lines: bytes, body: bytes, rests: bool) -> None:
        self._keep_no_longer()
        self._quickly = True
        said = [STATUS_LINE[status]]
        for name, value in self.server_state.default_headers:
            said += (name, b": ", value, b"\r\n")
        said += (lines, b"\r\n", body)
        self.transport.write(b"".join(said))
        self.server_state.total_requests += 1
        self._answered_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._keep_alive(self.timeout_keep_alive)
        if rests:
            self._rest()

    def _keep_alive(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close what was idle for as long as uvicorn keeps it. One timer for many that are answered at once:
        to set it anew for each costs as much as to read a request."""
        left = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._keep_alive(left)
        else:
            super().timeout_keep_alive_handler()

    def on_response_complete(self) -> None:
        rests = self.cycle is not None and RESTS in self.cycle.scope
        super().on_response_complete()
        if rests:
            self._rest()
        self._go_on()

    def _holds(self) -> bool:
        """Whether what comes is not to be parsed now."""
        return self._resting or bool(self.pipeline)

    def _go_on(self) -> None:
        """With what was held, and then with what comes, once there is nothing to wait for."""
        if self._holds() or self.transport.is_closing():
            return
        data, self._held = self._held, b""
        self.flow.resume_reading()
        if data:
            self.data_received(data)

    def _rest(self) -> None:
        if not (self._resting or self.transport.is_closing()):
            self._resting = True
            self.flow.pause_reading()
            self.loop.call_later(REST_SECONDS, self._read_on)

    def _read_on(self) -> None:
        self._resting = False
        self._go_on()

    def _hand_on(self) -> None:
        """Let uvicorn have what was kept of a request."""
        if self._kept is not None:
            body = self._kept
            self._keep_no_longer()
            super().on_headers_complete()
            if body:
                super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Of what the parser does not take; uvicorn asks for it."""
        if len(self.headers or ()) > MAX_HEADERS:
            self._refuse(_too_large())
        elif self._unasked():
            self._refuse(_too_many())
        else:
            detail = (
                "what was sent is no request of HTTP/1.1, or of a method that nobody knows; `/` lists what is"
            )
            self._refuse(Problem(400, "malformed_http", detail))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self._spare:
            cycle.keep_alive = False
        # Not where no body follows the head, nor where something is said before it.
        followed = cycle.scope["type"] == "http" and cycle.scope["method"] != "HEAD"
        if followed and not cycle.waiting_for_100_continue:
            cycle.transport = Joined(cycle.transport)  # type: ignore[assignment]
        super()._start_asgi_task(cycle, app)

    def _unasked(self) -> bool:
        """Whether what is asked on a spare connection is not what that is for."""
        return self._spare and bytes(self.url).partition(b"?")[0] not in PROBES

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_late(self) -> None:
        self._late = None
        if self._unread:
            within = SPARE_SECONDS if self._spare else HEAD_SECONDS
            detail = f"the head of the request did not arrive within {within:g} s"
            self._refuse(Problem(408, "head_timeout", detail))
        else:  # it said nothing, or sends on what was answered long ago
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Answer what was whole before, then this problem; read no more."""
        if self._refused:
            return
        self._refused = True
        self._keep_no_longer()
        self._in_time()
        before = self.cycle
        if before is not None and not before.response_complete:
            if before.response_started or not before.more_body:
                before.keep_alive = False  # two answers cannot be written at one time
                return
            before.disconnected = True  # it is its own body that is wrong
            before.message_event.set()
        problem.headers["connection"] = "close"
        scope: Any = {"type": REFUSED, "problem": problem, "method": "", "headers": [], "client": self.client}
        self.cycle = RequestResponseCycle(
            scope=scope,
            transport=Lingering(self.transport, self.loop),  # type: ignore[arg-type]
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=False,
            on_response=lambda: None,
        )
        self._start_asgi_task(self.cycle, self.app)


def _too_large() -> Problem:
    detail = f"the head of a request has at most {MAX_HEAD} bytes, in at most {MAX_HEADERS} headers"
    return Problem(431, "head_too_large", detail)


def _too_many() -> Problem:
    return refusal("overloaded", f"this process keeps at most {MOST} connections", 1)
