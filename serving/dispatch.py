"""The ASGI application of the API: routes, keys, problem documents, metrics, access log.

A request goes through here alone; `behind` (BentoML's application) sees the life cycle, and scores where they
are BentoML's. Logs hold route templates, times, client names and request ids, never a path, a body or a
message that could repeat one.
"""

import asyncio
import gc
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from email.utils import format_datetime

from features.errors import PropensityError, SettingsError
from features.settings import Settings
from serving import api, bodies, problems, stock
from serving.admission import Load, Rates
from serving.companion import Companion
from serving.connection import REFUSED, RESTS
from serving.handlers import Handlers
from serving.incoming import (
    SCORES,
    Headers,
    Message,
    Receive,
    Scope,
    body,
    headers_of,
    query_of,
    require_plain,
    route_of,
)
from serving.keys import Key, Keys, digest_of
from serving.learnt import learn
from serving.metrics import METHODS, NO_CLIENT, OTHER, UNMATCHED, Metrics
from serving.mirror import Mirror
from serving.outgoing import Answer
from serving.problems import Problem
from serving.raised import frames

Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Heads = list[tuple[bytes, bytes]]

PROBLEM = b"application/problem+json"
# An answer is data: nothing in it may be run, framed or guessed to be something else.
SAFE = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)

service = logging.getLogger("propensity.service")


class Dispatch:
    """Answers our routes, and nothing else. SettingsError without a key."""

    def __init__(self, settings: Settings, behind: App) -> None:
        learn()
        self._keys = keys(settings)
        self._rates, self._load = Rates(), Load()
        self._settings = settings
        self._behind = behind
        self._metrics = Metrics()
        self._access = AccessLog()
        self._companion, self._mirror = Companion(settings), Mirror(settings)
        self._handlers = Handlers(settings, self._metrics, self._mirror.has_read)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection: a request, or the life of the application."""
        if scope["type"] == "http":
            await self._request(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._life(scope, receive, send)
        elif scope["type"] == REFUSED:
            started, request_id = time.perf_counter(), new_id()
            answer = _problem(scope["problem"], request_id)
            await _send(send, answer, request_id, None)
            self._done(UNMATCHED, OTHER, answer.status, NO_CLIENT, request_id, started)

    async def _life(self, scope: Scope, receive: Receive, send: Send) -> None:
        """From the start to the stop. A part that does not start ends the process, for else it would do half
        of what it says, and be called ready."""
        with ExitStack() as stops:
            for stop in (self._handlers.stop, self._mirror.stop, self._companion.stop, self._load.stop):
                stops.callback(stop)  # the last of them first, also of what was never started
            try:
                self._mirror.start()
                self._handlers.warm()
                _settle()
                self._companion.start()
                self._load.start()
            except (Exception, SystemExit) as error:  # raised, the server would go on without us
                service.error("the service cannot start: %s at %s", type(error).__name__, frames(error))
                await receive()
                await send({"type": "lifespan.startup.failed"})
                return
            await self._behind(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request_id = new_id()
        asked, method = route_of(scope), scope["method"]
        route = asked if asked in api.ROUTES else UNMATCHED
        client = NO_CLIENT
        try:
            allowed = api.ROUTES.get(route)
            if allowed is None:
                raise Problem(404, "not_found", "there is no such route; `/` lists those that there are")
            if method not in allowed:
                detail = f"{route} takes {' or '.join(allowed)}"
                raise Problem(405, "method_not_allowed", detail, headers={"allow": ", ".join(allowed)})
            headers = headers_of(scope["headers"])
            ask = self._handlers.answer
            scope_needed = allowed[method]
            if scope_needed is not None:
                key = self._key(headers)
                client = key.client
                self._admit(key, scope_needed)
                query_of(scope)  # or a problem, before anything is done
                ask = self._handlers.pretend if key.test else ask
                if route == SCORES and self._settings.scores == "bentoml" and not key.test:
                    ask = self._ask_bentoml
            answer = await ask(route, scope, receive, headers, client, request_id)
        except ConnectionResetError:
            self._done(route, method, 499, client, request_id, started)
            return
        except Exception as error:  # the last door: the caller gets an id, the log the place, nobody a value
            answer = self._failed(error, request_id)
            if _overloaded(error):
                scope[RESTS] = True
        status = answer.status
        try:
            await _send(send, answer, request_id, api.SUNSET.get(route))
        except asyncio.CancelledError:  # the server ends, and waited for who does not read what he is sent
            status = 499
        self._done(route, method, status, client, request_id, started)

    def sender(self, given: Heads) -> str | None:
        """Who asks by these headers of `POST /v1/scores`, for `quick`: the digest of the key that was sent.
        None: what they promise is to be asked for in the usual way."""
        try:
            headers = headers_of(given)
            require_plain(headers)
            return digest_of(_sent(headers))
        except Problem:  # the usual way says so
            return None

    def quick(self, sender: str, sent: bytes) -> tuple[int, bytes, bytes, bool] | None:
        """The status, lines of headers and body of an answer to `POST /v1/scores`, as `_request` gives it, at
        once; and whether its caller RESTS.

        A task of its own, and ASGI's messages, cost more than one customer's score. None: not so this one.
        """
        started, request_id, client = time.perf_counter(), new_id(), NO_CLIENT
        rests = False
        try:
            request = bodies.SCORES.decode(sent)
        except Problem:  # the usual way says so
            return None
        try:
            key = self._known(sender)
            if key.test or self._settings.scores == "bentoml" or not self._handlers.at_once(request):
                return None
            client = key.client
            self._admit(key, "score")
            answer = self._handlers.scored(request, request_id)
        except Exception as error:  # the last door, as in `_request`: none may reach the parser that calls us
            answer, rests = self._failed(error, request_id), _overloaded(error)
        self._done(SCORES, "POST", answer.status, client, request_id, started)
        heads = _heads(answer, request_id, api.SUNSET.get(SCORES))
        return answer.status, b"".join([b"%b: %b\r\n" % head for head in heads]), answer.body, rests

    def _failed(self, error: Exception, request_id: str) -> Answer:
        """What a caller is told of an error, and the log of one that nobody expected."""
        if isinstance(error, Problem):
            return _problem(error, request_id)
        if isinstance(error, PropensityError):
            return _problem(problems.problem_of(error, self._settings), request_id)
        service.error("request=%s %s at %s", request_id, type(error).__name__, frames(error))
        internal = Problem(500, "internal", f"request {request_id} failed; the log names where")
        return _problem(problems.of_disk(error) or internal, request_id)

    async def _ask_bentoml(
        self, route: str, scope: Scope, receive: Receive, headers: Headers, client: str, request_id: str
    ) -> Answer:
        sent = await body(headers, receive)
        bodies.SCORES.decode(sent)
        answer, outcomes = await stock.ask(self._behind, scope, sent, request_id)
        for outcome, number in outcomes.items():
            self._metrics.customers(outcome, number)
        return answer

    def _done(
        self, route: str, method: str, status: int, client: str, request_id: str, started: float
    ) -> None:
        method = method if method in METHODS else OTHER
        seconds = time.perf_counter() - started
        self._metrics.request(route, method, status, client, seconds)
        said = f"route={route} method={method} status={status} ms={seconds * 1e3:.2f} client={client}"
        self._access.write(f"{said} request={request_id}")

    def _key(self, headers: Headers) -> Key:
        """The key that was sent, as `Authorization: Bearer KEY` or `X-API-Key: KEY`; Problem 401."""
        return self._known(digest_of(_sent(headers)))

    def _known(self, digest: str) -> Key:
        """The key of that digest; Problem 401."""
        found = self._keys.of(digest)
        if found is None:
            detail = "send a key that this service knows: `Authorization: Bearer KEY`"
            raise Problem(401, "unauthorized", detail, headers={"www-authenticate": "Bearer"})
        return found

    def _admit(self, key: Key, scope: str) -> None:
        """Problem 403 if the key may not do this, 429 if its client, or everybody, asks too much."""
        if scope not in key.scopes and "admin" not in key.scopes:
            has = ", ".join(key.scopes)
            raise Problem(403, "forbidden", f"this key lacks the scope {scope}; it has {has}")
        self._rates.take(key)
        self._load.admit()


def _settle() -> None:
    """Keep what was loaded out of every later collection of garbage: of 190,000 objects one takes as long as
    a thousand requests, and all that are in flight wait for it."""
    gc.collect()
    gc.freeze()


class AccessLog:
    """A line a request to standard error, as our loggers write theirs, without what a record costs."""

    def __init__(self) -> None:
        self._second, self._stamp = 0, ""

    def write(self, line: str) -> None:
        """One line, at once."""
        second, ns = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second, self._stamp = second, time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
        with suppress(OSError):  # a full disk, or a reader who is gone, is no reason to answer nobody
            sys.stderr.write(f"{self._stamp},{ns // 1_000_000:03} INFO propensity.access {line}\n")
            sys.stderr.flush()


def new_id() -> str:
    """Of a request: 32 digits in hex. Not of `random`, which a shop's own code may have seeded."""
    return os.urandom(16).hex()


def keys(settings: Settings) -> Keys:
    """The keys that open this service; SettingsError if there is none, for then nobody could be let in."""
    known = Keys(settings)
    if not known.any():
        raise SettingsError(
            "the service does not start without a key: make one with `propensity keys add CLIENT --scope "
            "score`, or set PROPENSITY_API_KEYS=client:key[,client:key], each of 16 characters or more, as "
            '`python -c "import secrets; print(secrets.token_urlsafe(24))"` prints'
        )
    return known


def _overloaded(error: Exception) -> bool:
    return isinstance(error, Problem) and error.code == "overloaded"


def _problem(problem: Problem, request_id: str) -> Answer:
    return Answer(problem.status, problem.document(request_id), PROBLEM, problem.headers)


async def _send(send: Send, answer: Answer, request_id: str, ends: datetime | None) -> None:
    headers = _heads(answer, request_id, ends)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if answer.parts:
        async for part in answer.parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": answer.body})


def _sent(headers: Headers) -> bytes:
    """The key, as it was sent; nothing where none was."""
    given = headers.get(b"authorization", b"")
    scheme, _, key = given.partition(b" ")
    if not given:
        key = headers.get(b"x-api-key", b"")
    elif scheme.lower() != b"bearer":
        key = b""
    return key.strip()


def _heads(answer: Answer, request_id: str, ends: datetime | None) -> Heads:
    headers = [
        (b"content-type", answer.type),
        *([] if answer.parts else [(b"content-length", str(len(answer.body)).encode())]),
        *SAFE,
        (b"x-request-id", request_id.encode()),
        *((name.encode(), value.encode()) for name, value in (answer.headers or {}).items()),
    ]
    if ends is not None:
        headers.append((b"sunset", format_datetime(ends.astimezone(UTC), usegmt=True).encode()))
    return headers
