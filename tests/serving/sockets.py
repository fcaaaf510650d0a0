"""Asking the service over sockets of our own, byte by byte; for tests of what a client never sends."""

import json
import re
import socket
from pathlib import Path
from typing import Any

from running import KEY, LONG, Running

START = b"GET /livez HTTP/1.1\r\nHost: x\r\n"


def connected(service: Running, timeout: float = LONG) -> socket.socket:
    """A connection of our own to that service."""
    return socket.create_connection(("127.0.0.1", service.client.base_url.port or 0), timeout)


def until_the_end(connection: socket.socket) -> bytes:
    """All that comes until the service closes."""
    got = b""
    try:
        while part := connection.recv(65_536):
            got += part
    except ConnectionResetError:
        pass
    return got


def memory(service: Running) -> int:
    """Bytes that the process holds."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024  # type: ignore[index]


GOOD = b'{"customers": ["c0001", "c0002"], "targets": ["churn_28d"], "reasons": 2}'
JSON = b"Content-Type: application/json\r\n"
MINE = b"Authorization: Bearer " + KEY.encode() + b"\r\n"


def post(body: bytes, *headers: bytes) -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    return b"POST /v1/scores HTTP/1.1\r\nHost: x\r\n" + b"".join(headers) + length + b"\r\n" + body


def answers(connection: socket.socket, number: int) -> list[tuple[int, dict[str, str], dict[str, Any]]]:
    """The next answers: status, headers and body, without what differs from request to request."""
    found = []
    with connection.makefile("rb") as file:
        for _ in range(number):
            status = int(file.readline().split()[1])
            lines = iter(lambda: file.readline().decode().strip().lower(), "")
            headers = dict(line.split(": ", 1) for line in lines)
            body = json.loads(file.read(int(headers["content-length"])))
            assert headers.pop("x-request-id") == body.pop("request_id")
            body.pop("instance", None)
            for name in ("date", "connection", "content-length"):
                headers.pop(name, None)
            found.append((status, headers, body))
    return found
