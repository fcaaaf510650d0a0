"""What anybody may send without a key: the service over sockets, at its limits of size, time and number."""

# ruff: noqa: F811 (fixtures of another module are arguments)

import http.client
import json
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from running import KEY, LONG, SERVE, Running, running, until
from sockets import GOOD, JSON, MINE, START, answers, connected, memory, post, until_the_end
from test_service import home, service  # noqa: F401

from features.settings import Settings
from serving.api import MAX_BODY
from serving.connection import HEAD_SECONDS, KEEP_SECONDS, MAX_HEAD, MAX_HEADERS, SPARE, SPARE_SECONDS

CHUNKED = START.replace(b"GET /livez", b"POST /v1/scores") + b"Transfer-Encoding: chunked\r\n\r\n"


def refused(answer: bytes, status: int, code: str) -> None:
    """Assert that it is that problem, whole, and that the connection ends with it."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0].startswith(f"http/1.1 {status} ")
    assert "content-type: application/problem+json" in lines
    assert "connection: close" in lines
    assert "x-content-type-options: nosniff" in lines
    document = json.loads(body)
    assert (document["status"], document["code"]) == (status, code)
    assert f"x-request-id: {document['request_id']}" in lines


@pytest.mark.parametrize(
    "head",
    [
        START + b"X-A: b\r\n" * 1_000_000,
        START + b"X-A: " + b"b" * 20_000_000,
        b"GET /" + b"b" * 20_000_000,
        b"\r\n" * 10_000_000,
        CHUNKED + b"0\r\n" + b"X-A: b\r\n" * 1_000_000,
        CHUNKED + b"0\r\nX-A: " + b"b" * 20_000_000,
        CHUNKED + b"1;" + b"b" * 20_000_000,
    ],
    ids=["headers", "header", "path", "lines", "trailers", "trailer", "chunk"],
)
def test_a_head_without_an_end_is_refused_before_it_takes_memory(service: Running, head: bytes) -> None:
    """Else four connections and no key take the machine's memory."""
    assert service.scores("c0001").status_code == 200  # what the first answer takes is taken
    before = memory(service)
    with ExitStack() as stack:
        connections = [stack.enter_context(connected(service)) for _ in range(4)]
        for connection in connections:
            with suppress(OSError):
                connection.sendall(head)
        assert memory(service) - before < 10_000_000
        for connection in connections:
            until_the_end(connection)
    assert service.scores("c0001").status_code == 200


def test_a_head_of_the_largest_size_is_answered_and_one_above_is_told_why(service: Running) -> None:
    """A caller behind a proxy that adds headers must know what to shorten, not see a reset."""

    def asked(*headers: bytes) -> bytes:
        with connected(service) as connection:
            connection.sendall(START + b"Connection: close\r\n" + b"".join(headers) + b"\r\n")
            return until_the_end(connection)

    around = len(START + b"Connection: close\r\n" + b"X-A: \r\n" + b"\r\n")
    assert asked(b"X-A: " + b"b" * (MAX_HEAD - around) + b"\r\n").startswith(b"HTTP/1.1 200 ")
    refused(asked(b"X-A: " + b"b" * (MAX_HEAD - around + 1) + b"\r\n"), 431, "head_too_large")
    refused(asked(b"X-A: " + b"b" * (MAX_HEAD + 1_000) + b"\r\n"), 431, "head_too_large")
    assert asked(b"X-A: b\r\n" * (MAX_HEADERS - 2)).startswith(b"HTTP/1.1 200 ")
    refused(asked(b"X-A: " + b"b" * 200_000 + b"\r\n"), 431, "head_too_large")
    refused(asked(b"X-A: b\r\n" * MAX_HEADERS), 431, "head_too_large")


def test_who_asks_for_a_websocket_is_answered_as_anybody(service: Running) -> None:
    """Else: an answer that no document knows, and that is neither logged nor counted."""
    with connected(service) as connection:
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n" + upgrade + key)
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b'"unauthorized"' in answer


@pytest.mark.parametrize(
    "sent",
    [b"FOO / HTTP/1.1\r\n\r\n", b"get / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", CHUNKED + b"no number\r\n"],
    ids=["method", "lower case", "tls", "chunk"],
)
def test_what_is_no_http_gets_a_problem_and_is_counted(service: Running, sent: bytes) -> None:
    """An operator who sees no scanner in the figures believes that there is none."""
    counted = 'propensity_requests_total{client="-",method="other",route="unmatched",status="400"} '

    def count() -> float:
        text = service.client.get("/metrics").text
        return sum(
            float(line.removeprefix(counted)) for line in text.splitlines() if line.startswith(counted)
        )

    before = count()
    with connected(service) as connection:
        connection.sendall(sent)
        answer = until_the_end(connection)
    refused(answer, 400, "malformed_http")
    assert count() == before + 1
    assert "route=unmatched method=other status=400" in service.log


def test_a_request_that_was_whole_is_answered_before_what_follows_it_is_refused(service: Running) -> None:
    """Else a caller takes the refusal for its answer."""
    with connected(service) as connection:
        connection.sendall(START + b"\r\n" + b"nonsense\r\n\r\n")
        answer = until_the_end(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_the_body_of_what_was_refused_early_is_no_request(service: Running) -> None:
    """A caller that is answered before all of a body was read sends the rest: a known head in it is text."""
    known = post(GOOD, MINE, JSON)
    long = post(b"x" * 20_000 + known + b"x" * 20_000, JSON)  # without a key
    with connected(service) as connection:
        connection.sendall(known)
        assert answers(connection, 1)[0][0] == 200
        start = long.index(known)
        connection.sendall(long[:start])
        assert answers(connection, 1)[0][0] == 401
        connection.sendall(known)
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(20)
        connection.sendall(long[start + len(known) :] + known)
        assert [status for status, _, _ in answers(connection, 1)] == [200]


def test_a_body_that_comes_late_or_never_holds_nobody_up(service: Running) -> None:
    """Else who sends heads alone keeps connections for ever, or is cut off in the middle of a slow body."""
    request = post(GOOD, MINE, JSON)
    with connected(service) as connection:
        connection.sendall(request[:-10])
        time.sleep(KEEP_SECONDS + 0.5)
        assert service.scores("c0001").status_code == 200
        connection.sendall(request[-10:])
        assert answers(connection, 1)[0][0] == 200
    with connected(service) as connection:
        connection.sendall(request[:-10])
        ((status, _, body),) = answers(connection, 1)
        assert (status, body["code"]) == (408, "body_timeout")


def test_a_caller_is_woken_once_for_an_answer(service: Running) -> None:
    """Head and body in two packets cost both sides a turn: the caller of one customer feels it most."""
    with connected(service) as connection:
        for _ in range(20):
            connection.sendall(START + b"\r\n")
            assert connection.recv(65_536).endswith(b'\r\n\r\n{"status":"alive"}')


def test_a_head_is_not_kept_back_where_a_caller_waits_for_it(service: Running) -> None:
    """One who asks for a head alone, or before it sends a body whether to, would wait for ever."""
    with connected(service) as connection:
        connection.sendall(START.replace(b"GET", b"HEAD") + b"\r\n")
        assert connection.recv(65_536).endswith(b"\r\n\r\n")
        body = json.dumps({"customers": ["c0001"]}).encode()
        connection.sendall(
            START.replace(b"GET /livez", b"POST /v1/scores")
            + f"Authorization: Bearer {KEY}\r\nContent-Type: application/json\r\n".encode()
            + f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_who_does_not_finish_is_not_waited_for(service: Running) -> None:
    """Silent connections cost a stranger nothing, and each holds one of the process's files."""
    started, ended = time.monotonic(), list[float]()
    with ExitStack() as stack:
        silent, begun, trickled, idle, sends_on = (
            stack.enter_context(connected(service)) for _ in range(5)
        )  # fmt: skip
        begun.sendall(START)
        idle.sendall(START + b"\r\n")
        length = b"Content-Length: 100000\r\n\r\n"
        sends_on.sendall(START.replace(b"GET /livez", b"POST /v1/scores") + length)  # 401, before the body
        trickled.sendall(START)
        trickling = [trickled, sends_on]
        while trickling and time.monotonic() - started < 2 * HEAD_SECONDS:
            for connection in tuple(trickling):
                try:
                    connection.sendall(b"X")
                except OSError:
                    trickling.remove(connection)
                    ended.append(time.monotonic() - started)
            time.sleep(0.2)
        assert not trickling
        assert all(HEAD_SECONDS - 1 < seconds < 2 * HEAD_SECONDS for seconds in ended)
        assert until_the_end(silent) == b""
        refused(until_the_end(begun), 408, "head_timeout")
        assert until_the_end(idle).startswith(b"HTTP/1.1 200 ")
        assert time.monotonic() - started < 2 * HEAD_SECONDS + 5


def test_a_slow_answer_and_a_slow_body_are_not_cut_off(service: Running) -> None:
    """The limit is of a head: a body has ten seconds of its own, and an idle keep-alive is used again."""
    with connected(service) as connection:
        for _ in range(3):
            body = b'{"customers": ["c0001"]}'
            connection.sendall(
                b"POST /v1/scores HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                + f"Authorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            )
            for at in range(0, len(body), 4):
                connection.sendall(body[at : at + 4])
                time.sleep(0.7)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("megabytes", [2, 5, 20])
def test_a_body_that_is_much_too_large_is_told_so(service: Running, megabytes: int) -> None:
    """Python's own client sends all of a body before it reads: closing at once showed it a reset."""
    connection = http.client.HTTPConnection("127.0.0.1", service.client.base_url.port or 0, timeout=LONG)
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    assert megabytes << 20 > MAX_BODY
    connection.request("POST", "/v1/scores", b" " * (megabytes << 20), headers)
    answer = connection.getresponse()
    assert (answer.status, json.load(answer)["code"]) == (413, "body_too_large")
    connection.close()


def test_connections_are_limited_and_those_that_are_open_are_served(home: Settings) -> None:
    """Else a stranger takes all of the process's files, and nobody can connect, nor a store be opened."""
    command = ("sh", "-c", 'ulimit -n 200; exec "$0" -c "$1"', sys.executable, SERVE)
    with running(home, command, watched=True) as service:
        assert service.client.get("/livez").status_code == 200
        files = Path(f"/proc/{service.process.pid}/fd")
        few = len(list(files.iterdir())) + 20
        probed = b"/livez HTTP/1.1\r\nHost: x\r\n\r\n"
        for _ in range(3):
            with ExitStack() as stack:  # a crowd anew: each of its connections is closed in time
                crowd = [stack.enter_context(connected(service)) for _ in range(150)]
                ended = [
                    until_the_end(connection) for connection in crowd[100 + SPARE :]
                ]  # 100: half of the files
                told = [answer for answer in ended if answer]  # the others had the place of one that left
                assert told
                for answer in told:
                    refused(answer, 429, "overloaded")
                time.sleep(SPARE_SECONDS + 0.5)  # who holds what is kept for probes loses it
                for _ in range(4):
                    stack.enter_context(connected(service))
                with connected(service) as probe:
                    probe.sendall(b"GET " + probed)
                    assert until_the_end(probe).startswith(b"HTTP/1.1 200 "), "it would be started anew"
                with connected(service) as other:
                    other.sendall(b"GET /" + b" HTTP/1.1\r\nHost: x\r\n\r\n")
                    refused(until_the_end(other), 429, "overloaded")
            until(lambda: len(list(files.iterdir())) <= few)  # it has seen that they left
            assert service.scores("c0001").status_code == 200
        with connected(service) as later:
            later.sendall(START.replace(b"/livez", b"/") + b"Connection: close\r\n\r\n")
            assert until_the_end(later).startswith(b"HTTP/1.1 200 ")


def test_the_limits_hold_under_bentoml_too(home: Settings) -> None:
    """Its supervisor configures the server by itself."""
    bentoml = str(Path(sys.executable).with_name("bentoml"))
    command = (bentoml, "serve", "serving.service:svc", "--port", "{port}")
    with running(home, command) as service, connected(service) as connection:
        connection.sendall(START + b"X-A: b\r\n" * 200 + b"\r\n")
        refused(until_the_end(connection), 431, "head_too_large")
