"""The Python client against the real service: typed answers, and repeats that do nothing twice."""

import select
import socket
import threading
from collections.abc import Iterator

import msgspec
import pytest
from running import KEY, Running
from test_service import home, service  # noqa: F401

from serving import api
from serving.api import Answered, BrokenModel, Identity, ReleasedModel, Score, Unanswered
from serving.client import Client, ProblemError, _made
from serving.problems import encode

# ruff: noqa: F811 (fixtures of another module are arguments)


@pytest.fixture(scope="module")
def client(service: Running) -> Iterator[Client]:
    with Client(str(service.client.base_url), KEY) as client:
        yield client


def test_answers_are_typed_and_hold_what_was_sent(client: Client, service: Running) -> None:
    """Else a journey reads a misspelt field as None, and acts on it."""
    answer = client.scores(["c0001", "nobody"], reasons=2)
    known, unknown = answer.results
    assert isinstance(known, Answered)
    assert isinstance(unknown, Unanswered)
    assert unknown.error.code == "unknown_customer"
    churn = known.scores[0]
    assert isinstance(churn, Score)
    raw = service.scores("c0001", reasons=2).json()["results"][0]
    assert msgspec.json.decode(encode(known)) == raw
    (again,) = client.scores(["c0001"], targets=["churn_28d"]).results
    assert isinstance(again, Answered)
    assert isinstance(again.scores[0], Score)
    assert again.scores[0].probability == churn.probability


def test_every_call_of_the_api_has_one_of_the_client(client: Client) -> None:
    """A journey's whole day: who, what, may it go, what became of it, what came of it."""
    assert client.customer("c0002").customer_id == "c0002"
    assert all(isinstance(model, ReleasedModel | BrokenModel) for model in client.models().models)
    preview = client.preview("c0002")
    assert (preview.decision_id, preview.preview) == (None, True)
    decision = client.decide("c0002", "client-1")
    assert client.decide("c0002", "client-1") == decision
    assert decision.decision_id is not None
    assert client.may_send(decision.decision_id).decision_id == decision.decision_id
    report = {"source": "sender", "id": "1", "decision_id": decision.decision_id, "at": decision.as_of}
    (outcome,) = client.outcomes([report | {"type": "order", "value": 12.5}]).results
    assert outcome.status == "accepted"
    (refused,) = client.deliveries([report | {"status": "dreamt"}]).results
    assert refused.error.code == "invalid_report"
    visit = {"type": "visit", "source": "web", "id": "c-1", "customer": "c0002", "channel": "web"}
    (told,) = client.events([visit | {"at": decision.as_of}]).results
    assert told.status == "accepted"
    assert client.erase(Identity("crm", "nobody")).status == "accepted"


def test_a_no_says_what_why_and_where(client: Client) -> None:
    with pytest.raises(ProblemError, match="404 unknown_customer: .*request [0-9a-f]{32}") as caught:
        client.customer("nobody")
    assert (caught.value.status, caught.value.code) == (404, "unknown_customer")
    with pytest.raises(ProblemError) as caught:
        client.scores(["c0001"], reasons=99)
    assert caught.value.errors[0]["path"] == "$.reasons"
    client.decide("c0002", "client-2")
    with pytest.raises(ProblemError) as caught:
        client.decide("c0003", "client-2")
    assert caught.value.code == "idempotency_conflict"


def test_what_got_no_answer_is_asked_again(service: Running) -> None:
    """The line breaks after the service has decided: the repeat gets the same decision, and no second one."""
    url, broken = _proxy(service, breaks=2)
    with Client(url, KEY) as client:
        decision = client.decide("c0004", "client-3")
        assert client.decide("c0004", "client-3") == decision
    assert broken.is_set()


def test_who_is_told_to_wait_waits_and_asks_again_but_not_for_ever() -> None:
    """Else a rush of journeys makes each retry at once, and the rush worse."""
    answers = [
        b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    ] * 9
    with socket.create_server(("127.0.0.1", 0)) as listener:
        asked = threading.Thread(target=_answer, args=(listener, answers), daemon=True)
        asked.start()
        with (
            Client(f"http://127.0.0.1:{listener.getsockname()[1]}", KEY, tries=3) as client,
            pytest.raises(ProblemError) as caught,
        ):
            client.models()
    assert caught.value.status == 429
    assert len(answers) == 9 - 3


def test_a_later_service_that_says_more_is_still_understood() -> None:
    """Version 1 only grows: a client of today must read the answers of next year."""
    failure = _made(api.Failure, {"code": "x", "detail": "y", "since": "2027"})
    assert failure == api.Failure("x", "y")


def _answer(listener: socket.socket, answers: list[bytes]) -> None:
    while answers:
        try:
            caller, _ = listener.accept()
        except OSError:
            return
        with caller:
            caller.recv(65536)
            caller.sendall(answers.pop())


def _proxy(service: Running, breaks: int) -> tuple[str, threading.Event]:
    """A line to the service that lets requests through and, so many times, no answer back."""
    listener = socket.create_server(("127.0.0.1", 0))
    there = (service.client.base_url.host, service.client.base_url.port)
    done = threading.Event()

    def serve() -> None:
        left = breaks
        while True:
            caller, _ = listener.accept()
            with caller, socket.create_connection(there) as upstream:
                while True:
                    ready, _, _ = select.select([caller, upstream], [], [])
                    if upstream in ready and left:  # it has answered, and nobody hears it
                        left -= 1
                        break
                    one, other = (upstream, caller) if upstream in ready else (caller, upstream)
                    if not (data := one.recv(65536)):
                        break
                    other.sendall(data)
            if not left:
                done.set()

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}", done
