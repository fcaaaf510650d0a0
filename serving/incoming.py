"""What a request brings, checked: its route, its body, its key, the customer that its path names."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote

import msgspec

from serving import api, bodies
from serving.api import Customer
from serving.problems import Offender, Problem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Headers = Mapping[bytes, bytes]
_Names = Annotated[list[api.Name], msgspec.Meta(max_length=64)]

SCORES = "/v1/scores"
CUSTOMER = "/v1/customers/{id}"
DECISION = "/v1/decisions/{id}"
JOB, JOB_RESULT = "/v1/jobs/{id}", "/v1/jobs/{id}/result"
_OF_CUSTOMER, _OF_DECISION = CUSTOMER.removesuffix("{id}"), DECISION.removesuffix("{id}")
_JOB = re.compile(r"/v1/jobs/([^/]+)(/result)?")
BODY_SECONDS = 10  # to send a body
MAX_KEY = 200  # characters of an idempotency key


def route_of(scope: Scope) -> str:
    """The path, or the template of routes that it belongs to: what may be logged and counted."""
    path: str = scope["path"]
    if path in api.ROUTES:
        return path
    # A `/` within an id is `%2F`, which only the raw path tells from one between parts.
    id = _raw(scope).removeprefix(_OF_CUSTOMER)
    if path.startswith(_OF_CUSTOMER) and id and "/" not in id:
        return CUSTOMER
    if job := _JOB.fullmatch(path):
        return JOB_RESULT if job[2] else JOB
    decision = path.removeprefix(_OF_DECISION)
    return DECISION if path.startswith(_OF_DECISION) and decision and "/" not in decision else path


def decision_of(scope: Scope) -> str:
    """The decision that the path names."""
    path: str = scope["path"]
    return path.removeprefix(_OF_DECISION)


def approved_of(scope: Scope) -> bool:
    """Whether the query says that a person said yes: `?approved=true`. Problem 422 for another word."""
    word = query_of(scope).get("approved", "false")
    if word not in ("true", "false"):
        raise _unfit("$.query.approved", "expected true or false")
    return word == "true"


def job_of(scope: Scope) -> str:
    """The job that the path names."""
    found = _JOB.fullmatch(scope["path"])
    return found[1] if found else ""


def query_of(scope: Scope) -> dict[str, str]:
    """What the query says, by name; Problem 422 for a name that its route does not take, or that comes
    twice."""
    if not scope["query_string"]:
        return {}
    given = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    found, known = dict(given), api.QUERIES.get(route_of(scope), ())
    if len(given) > len(found) or not found.keys() <= set(known):
        expected = f"expected only {', '.join(known)}, each once" if known else "this route takes none"
        raise _unfit("$.query", expected)
    return found


def split_names(given: str | None, name: str) -> list[str] | None:
    """Names with commas between them; None for none. Problem 422."""
    if given is None:
        return None
    try:
        return msgspec.convert(given.split(","), _Names)
    except msgspec.ValidationError:
        expected = "expected 1 to 64 names of 1 to 64 characters, with commas between them"
        raise _unfit(f"$.query.{name}", expected) from None


def whole_number(given: str | None, name: str, most: int, default: int) -> int:
    """A number from 1 to `most`; Problem 422."""
    if given is None:
        return default
    if not re.fullmatch("[0-9]{1,9}", given) or not 1 <= int(given) <= most:
        raise _unfit(f"$.query.{name}", f"expected a whole number from 1 to {most}")
    return int(given)


def _unfit(path: str, expected: str) -> Problem:
    return Problem(422, "invalid_request", f"{path}: {expected}", [Offender(path, expected)])


def customer_of(scope: Scope) -> Customer:
    """Whom the path names: a customer id, or another system's with `?source=`. Problem 422."""
    named: dict[str, str] = {"id": unquote(_raw(scope).removeprefix(_OF_CUSTOMER))}
    given = query_of(scope)
    try:
        customer: Customer = msgspec.convert(named | given if given else named["id"], Customer)
    except msgspec.ValidationError as error:
        path, expected = bodies.worded(str(error))
        path = "$.query.source" if path == "$.source" else "$.path.id"
        raise Problem(422, "invalid_request", f"{path}: {expected}", [Offender(path, expected)]) from None
    return customer


def _raw(scope: Scope) -> str:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.partition(b"?")[0].decode("latin-1")


async def body(
    headers: Headers, receive: Receive, type: bytes = b"application/json", most: int = api.MAX_BODY
) -> bytes:
    """A body of that type and at most so many bytes, which arrives within BODY_SECONDS; Problem otherwise."""
    require_plain(headers, type, most)
    got, more = bytearray(), True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ConnectionResetError
                got += message.get("body", b"")
                more = message.get("more_body", False)
                if len(got) > most:
                    raise _too_large(most)
    except TimeoutError:
        detail = f"the body did not arrive within {BODY_SECONDS} s"
        raise Problem(408, "body_timeout", detail, headers={"connection": "close"}) from None
    return bytes(got)


def require_plain(headers: Headers, type: bytes = b"application/json", most: int = api.MAX_BODY) -> None:
    """Problem for a head that promises a body of another type, encoded, or larger."""
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != type:
        detail = f"send the body as `Content-Type: {type.decode()}`"
        raise Problem(415, "unsupported_media_type", detail)
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        detail = "send the body as it is, without Content-Encoding"
        raise Problem(415, "unsupported_media_type", detail, headers={"accept-encoding": "identity"})
    if int(headers.get(b"content-length", b"0")) > most:
        raise _too_large(most)


def _too_large(most: int) -> Problem:
    # What still comes of it is dropped, for a moment (`connection`): most callers send all before they read.
    return Problem(413, "body_too_large", f"a body has at most {most} bytes")


def headers_of(given: Sequence[tuple[bytes, bytes]]) -> Headers:
    """By name. Problem 400 for two idempotency keys."""
    if sum(name == b"idempotency-key" for name, _ in given) > 1:
        detail = "send one `Idempotency-Key`: of several nobody can tell which is to count"
        raise Problem(400, "idempotency_key", detail)
    return dict(given)


def is_key(key: bytes) -> bool:
    """Whether it can be an idempotency key: printable ASCII, so hardly anybody's name."""
    return 1 <= len(key) <= MAX_KEY and key.isascii() and key.decode().isprintable()


def idempotency_key(headers: Headers) -> str:
    """The key under which a repeated request gets the first one's answer; Problem 400 without one."""
    key = headers.get(b"idempotency-key", b"")
    if not is_key(key):
        wrong = "its characters are others" if len(key) <= MAX_KEY else f"it has {len(key):,} characters"
        wrong = f"the key that was sent does not fit, {wrong}: " if key else ""
        detail = wrong + (
            f"send `Idempotency-Key` with 1 to {MAX_KEY} printable ASCII characters, the same when you "
            "repeat this request; or ask for a preview"
        )
        raise Problem(400, "idempotency_key", detail)
    return key.decode()
