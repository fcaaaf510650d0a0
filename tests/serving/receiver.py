"""A receiver of pushes, as README shows it, and a server around it that can fail, be slow, and drop."""

import base64
import hashlib
import hmac
import json
import re
import socket
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SLOW = 20  # seconds; no sender of the tests waits so long
ROOT = Path(__file__).parents[2]
# What README shows is what the tests verify with.
(README,) = re.findall(
    r"```python\n(import base64.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL
)
_of: dict[str, Any] = {"base64": base64, "hashlib": hashlib, "hmac": hmac, "time": time}
exec(README, _of)  # noqa: S102
verified = _of["verified"]


class Receiver:
    """What came, and what is answered: `answers[subject]` in turn, then 204. A number; slow, drop, drip."""

    def __init__(self, secret: str) -> None:
        self.secret, self.url = secret, ""
        self.came: list[tuple[Mapping[str, str], dict[str, Any]]] = []
        self.refused = 0
        self.away = False  # 503 to everything
        self.answers: dict[str, list[int | str]] = defaultdict(list)
        self.headers: dict[str, str] = {}
        self.most_at_once = self._now = 0
        self._lock = threading.Lock()

    def subjects(self) -> list[str]:
        """Whom events came of, in the order in which they came."""
        return [event.get("subject", "") for _, event in self.came]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["content-length"]))
        sent = {name.lower(): value for name, value in handler.headers.items()}
        if not verified(self.secret, sent, body):
            self.refused += 1
            handler.send_error(401)
            return
        event = json.loads(body)
        with self._lock:
            self.came.append((sent, event))
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            turns = self.answers[event.get("subject", "")]
            what = 503 if self.away else turns.pop(0) if turns else 204
        try:
            self._answer(handler, what)
        finally:
            with self._lock:
                self._now -= 1

    def _answer(self, handler: BaseHTTPRequestHandler, what: int | str) -> None:
        if what == "slow":
            time.sleep(SLOW)
            what = 204
        if what == "brief":
            time.sleep(0.05)
            what = 204
        if what == "drop":
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        if what == "drip":
            handler.wfile.write(b"HTTP/1.1 20")
            for _ in range(10 * SLOW):  # or until the sender gives up
                time.sleep(0.1)
                handler.wfile.write(b"0")
            return
        assert isinstance(what, int)
        handler.send_response(what)
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.send_header("content-length", "0")
        handler.end_headers()


@contextmanager
def receiving(secret: str, certificate: Path | None = None, port: int = 0) -> Iterator[Receiver]:
    """A receiver on a port of loopback; certificate: a PEM file with its key, then it speaks TLS."""
    receiver = Receiver(secret)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            try:
                receiver.answer(self)
            except OSError:
                self.close_connection = True  # the sender gave up

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a broken handshake is the test
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if certificate is None else "https"
    receiver.url = f"{scheme}://localhost:{server.server_port}/events?of=shop"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
