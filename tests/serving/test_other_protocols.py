"""Who asks for HTTP/2 or a WebSocket, as Java's client does until it knows us, is answered in HTTP/1.1."""

# ruff: noqa: F811 (fixtures of another module are arguments)

import json
import time

import pytest
from running import KEY, Running, without_ids
from sockets import GOOD, JSON, MINE, START, answers, connected, post, until_the_end
from test_service import home, service  # noqa: F401

JAVA = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\nUpgrade: h2c\r\n"
SOCKET = b"Upgrade: websocket\r\nconnection: keep-alive, UPGRADE\r\n"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD)


@pytest.mark.parametrize("asks", [JAVA, SOCKET], ids=["h2c", "websocket"])
@pytest.mark.parametrize("cut", ["nowhere", "after the head", "everywhere"])
@pytest.mark.parametrize("way", ["at once", "usual", "chunked"])
def test_a_body_is_the_body_also_of_who_asks_for_another_protocol(
    service: Running, asks: bytes, cut: str, way: str
) -> None:
    """Else no caller in Java gets a score: the head is answered alone, and the body taken for a request."""
    body = GOOD if way != "usual" else json.dumps({"customers": [f"c{n:04}" for n in range(100)]}).encode()
    plain = post(body, MINE, JSON)
    sent = post(body, MINE, JSON, asks)
    if way == "chunked":
        head = b"POST /v1/scores HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + MINE + JSON
        plain, sent = head + b"\r\n" + CHUNKS, head + asks + b"\r\n" + CHUNKS
    end = sent.index(b"\r\n\r\n") + 4
    parts = {
        "nowhere": [sent],
        "after the head": [sent[:end], sent[end:]],
        "everywhere": [sent[place : place + 40] for place in range(0, len(sent), 40)],
    }[cut]
    with connected(service) as connection:
        connection.sendall(plain)
        (expected,) = answers(connection, 1)
        assert expected[0] == 200
        for _ in range(2):  # and the same connection again
            for part in parts:
                connection.sendall(part)
                time.sleep(0.001 * (len(parts) > 1))
            assert answers(connection, 1) == [expected]


def test_a_body_is_never_answered_as_a_request_of_its_own(service: Running) -> None:
    """Else who may write a body, as through a proxy, asks what he likes with another's connection."""
    hidden = b"GET /v1/customers/c0001 HTTP/1.1\r\nHost: x\r\nX-API-Key: " + KEY.encode() + b"\r\n\r\n"
    sent = post(hidden, MINE, JSON, JAVA, b"X-Last: yes\r\n")
    with connected(service) as connection:
        connection.sendall(sent[: -len(hidden)])
        time.sleep(0.2)
        connection.sendall(hidden + START + b"Connection: close\r\n\r\n")
        got = until_the_end(connection)
    assert [part[:3] for part in got.split(b"HTTP/1.1 ")[1:]] == [b"400", b"200"]
    assert "c0001" not in without_ids(got.decode())
    assert got.endswith(b'{"status":"alive"}')


def test_what_else_the_head_says_still_holds(service: Running) -> None:
    """Else a connection that is to be closed stays open, or a head of any length is let in."""
    with connected(service) as connection:
        connection.sendall(START + b"Upgrade: h2c\r\nConnection: close, Upgrade\r\n\r\n")
        assert until_the_end(connection).startswith(b"HTTP/1.1 200 ")
    with connected(service) as connection:
        connection.sendall(START + JAVA + b"X-A: b\r\n" * 100 + b"\r\n")
        assert until_the_end(connection).startswith(b"HTTP/1.1 431 ")
    with connected(service) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n" + JAVA + b"\r\n" + START + b"\r\n")
        got = b""
        while got.count(b"HTTP/1.1 ") < 2:
            got += connection.recv(65_536)
        assert (got[9:12], b'"unauthorized"' in got) == (b"401", True)
