"""Scores that are answered as soon as they are asked: as in the usual way, in their order, without limit."""

# ruff: noqa: F811 (fixtures of another module are arguments)

import json
import socket
import threading
import time
from contextlib import ExitStack

import pytest
from running import Running
from sockets import GOOD, JSON, MINE, answers, connected, memory, post
from test_service import home, service  # noqa: F401

IDLE = 5  # seconds that uvicorn keeps a connection without a request


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (post(GOOD, MINE, JSON), 200),
        (post(b'{"customers": ["nobody"]}', MINE, JSON), 200),
        (post(json.dumps({"customers": [f"c{n:04}" for n in range(100)]}).encode(), MINE, JSON), 200),
        (post(b'{"customers": ["c0001"], "targets": ["other"]}', MINE, JSON), 422),
        (post(b'{"customers": []}', MINE, JSON), 422),
        (post(b'{"customers": ', MINE, JSON), 400),
        (post(GOOD, MINE), 415),
        (post(GOOD, MINE, JSON, b"Content-Encoding: gzip\r\n"), 415),
        (post(GOOD, JSON), 401),
        (post(GOOD, JSON, b"Authorization: Basic abc\r\n"), 401),
        (post(GOOD, JSON, b"X-API-Key: another-key-that-nobody-has\r\n"), 401),
    ],
    ids=["scores", "unknown", "long", "target", "empty", "cut", "no type", "gzip", "no key", "basic", "key"],
)
def test_an_answer_at_once_is_what_the_usual_way_says(service: Running, asked: bytes, status: int) -> None:
    """Else what a caller is told hangs on how the packets of its request came. One that asks to close the
    connection goes the usual way."""
    usual = asked.replace(b"Host: x", b"Host: x\r\nConnection: close")
    with connected(service) as connection, connected(service) as other:
        connection.sendall(asked)
        other.sendall(usual)
        (quick,), (slow,) = answers(connection, 1), answers(other, 1)
        assert quick == slow
        assert quick[0] == status
        head, _, body = asked.partition(b"\r\n\r\n")
        for part in (head[:50], head[50:], b"\r\n\r\n", body[:5], body[5:]):  # and the same connection again
            connection.sendall(part)
            time.sleep(0.01)
        assert answers(connection, 1) == [quick]


def test_what_comes_together_is_answered_in_its_order(service: Running) -> None:
    """Else a caller that does not wait for its answers takes one customer's for another's."""
    ids = [f"c{n:04}" for n in range(9)]
    sent = [post(json.dumps({"customers": [id], "reasons": 0}).encode(), MINE, JSON) for id in ids]
    with connected(service) as connection:
        connection.sendall(b"".join(sent))
        found = [body["results"][0]["customer_id"] for _, _, body in answers(connection, len(ids))]
        assert found == ids
        chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD)
        head = b"POST /v1/scores HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + MINE + JSON
        connection.sendall(head + b"\r\n" + chunks + sent[0])
        assert [status for status, _, _ in answers(connection, 2)] == [200, 200]


def test_requests_that_nobody_waits_for_take_no_memory_and_are_answered_in_their_order(
    service: Running,
) -> None:
    """Else one caller, without a key, has the process killed, and all others are refused until it is."""
    many = b"PUT / HTTP/1.1\r\n\r\n" * 10_000
    many += b"GET /nothing HTTP/1.1\r\n\r\n" * 10_000
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", service.client.base_url.port or 0))
        assert service.scores("c0001").status_code == 200  # what the first answer takes is taken
        before = memory(service)
        sending = threading.Thread(target=connection.sendall, args=(many,), daemon=True)
        sending.start()
        time.sleep(2)  # it reads nothing
        assert memory(service) - before < 10_000_000
        assert service.scores("c0001").status_code == 200
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # now it reads
        found = [status for status, _, _ in answers(connection, 20_000)]
        assert found == [405] * 10_000 + [404] * 10_000
        assert memory(service) - before < 10_000_000


def test_what_follows_an_answer_that_takes_long_is_answered_in_its_order(service: Running) -> None:
    """Bodies of all sizes, of which some are cut where nothing more is read until others are answered."""
    ids = [[f"c{(n * 7 + k) % 1200:04}" for k in range(1 + n * 37 % 900)] for n in range(120)]
    sent = [post(json.dumps({"customers": some, "reasons": 0}).encode(), MINE, JSON) for some in ids]
    with connected(service) as connection:
        whole = b"".join(sent)
        threading.Thread(target=connection.sendall, args=(whole,), daemon=True).start()
        for some, (status, _, body) in zip(ids, answers(connection, len(ids)), strict=True):
            assert (status, [one["customer_id"] for one in body["results"]]) == (200, some)
        connection.sendall(sent[0])
        assert answers(connection, 1)[0][0] == 200


def test_a_head_that_is_known_is_answered_as_the_first_time(service: Running) -> None:
    """Else the second answer on a connection is another customer's, or lets in whom the first would not."""
    long = b"X-A: " + b"b" * 3_000 + b"\r\n"
    twice = b"Idempotency-Key: a\r\n" * 2
    heads = [(MINE, JSON), (MINE, JSON, b"X-A: b\r\n"), (JSON,), (MINE,), (MINE, JSON, long)]
    heads += [(MINE, JSON, twice)]
    bodies = [b'{"customers": ["c%04d"], "reasons": 0}' % n for n in range(4)]
    bodies += [GOOD, GOOD + b" ", b'{"customers": [], "reasons": 0}      ', b"x" * len(bodies[0]), b""]
    asked = [post(body, *head) for head in heads for body in bodies]
    with ExitStack() as stack:
        expected = []
        for one in asked:  # each on a connection of its own
            connection = stack.enter_context(connected(service))
            connection.sendall(one)
            expected += answers(connection, 1)
        assert {status for status, _, _ in expected} == {200, 400, 401, 415, 422}
        connection = stack.enter_context(connected(service))
        for one, said in zip(asked, expected, strict=True):  # all on one, again and again, and in parts
            cut = one.index(b"\r\n\r\n") + 4
            for parts in ([one], [one], [one[:cut], one[cut:]], [one], [one[:-1], one[-1:]], [one]):
                for part in parts:
                    connection.sendall(part)
                    time.sleep(0.002 * (len(parts) > 1))
                assert answers(connection, 1) == [said]
            connection.sendall(one + asked[0])
            assert answers(connection, 2) == [said, expected[0]]


def test_a_connection_is_kept_for_as_long_after_its_last_answer_as_after_its_first(service: Running) -> None:
    """Else a caller's pool is cut off between two requests, or idle ones are kept until none is left."""
    known = post(GOOD, MINE, JSON)
    with connected(service) as connection:
        for pause in (0.0, 2.5):
            time.sleep(pause)
            last = time.monotonic()
            connection.sendall(known)
            assert answers(connection, 1)[0][0] == 200
        assert connection.recv(1) == b""  # closed by the other side
        assert IDLE - 0.5 < time.monotonic() - last < 3 * IDLE
