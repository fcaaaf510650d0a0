"""The ASGI application of the API: routes, keys, bodies, problem documents, metrics, access log.

A request goes through here alone; `behind` (BentoML's application) sees the life cycle and the few routes in
HANDED_ON. Logs hold route templates, times, client names and request ids, never a path, a body or a message
that could repeat one.
"""

import asyncio
import logging
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple, TypeVar

from features.errors import NoBuild, PropensityError
from features.inbox import Inbox
from features.settings import Settings
from serving import api, bodies, openapi, problems, reports
from serving.answer_types import DecisionAnswer
from serving.api import Customer, ReadyAnswer, Unanswered
from serving.arrivals import EventsAnswer, outcomes, take
from serving.companion import Companion
from serving.decision_context import DecisionContext
from serving.decisions import take_decision
from serving.events import Person
from serving.incoming import (
    CUSTOMER,
    DECISION,
    Headers,
    Message,
    Receive,
    Scope,
    body,
    customer_of,
    decision_of,
    idempotency_key,
    route_of,
)
from serving.keys import Keys
from serving.lag import Lag
from serving.learnt import learn
from serving.metrics import CONTENT_TYPE, METHODS, NO_CLIENT, OTHER, UNMATCHED, Metrics
from serving.pauses import Pauses
from serving.problems import Problem
from serving.profile import profile
from serving.scores import Scorer
from serving.sendable import may_send

Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
T = TypeVar("T")

HANDED_ON = frozenset(("/docs.json",))
INLINE = 32  # customers; a longer list is scored beside the event loop, so that it delays nobody
THREADS = 2  # beside the event loop, for long lists, for decisions, which wait for the disk, and for Redis

JSON = b"application/json"
PROBLEM = b"application/problem+json"

access = logging.getLogger("propensity.access")
service = logging.getLogger("propensity.service")


class Answer(NamedTuple):
    """What goes back to the caller."""

    status: int
    body: bytes
    type: bytes = JSON
    headers: Mapping[str, str] | None = None


class Dispatch:
    """Answers our routes and hands the rest to `behind`. SettingsError without a key."""

    def __init__(self, settings: Settings, behind: App) -> None:
        learn()
        self._keys = Keys(settings)
        self._settings = settings
        self._behind = behind
        self._metrics = Metrics()
        self._scorer = Scorer(settings)
        self._decisions: DecisionContext | None = None
        self._inbox = Inbox(settings)
        self._pauses = Pauses(settings)
        self._companion = Companion(settings)
        self._lag = Lag(settings, self._inbox)
        # What waits for a slow store may not keep events from the disk, nor an operator from what is wrong.
        self._pool, self._disk, self._looks = (
            ThreadPoolExecutor(threads, thread_name_prefix="propensity") for threads in (THREADS, 1, 1)
        )
        self._index = problems.encode({"service": "propensity", "routes": api.ROUTES})
        self._document = problems.encode(openapi.document())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection: a request, or the life of the application."""
        if scope["type"] == "http":
            await self._request(scope, receive, send)
        elif scope["type"] == "lifespan":
            self._warm()
            self._companion.start()
            await self._behind(scope, receive, send)
            self._companion.stop()
            for pool in (self._pool, self._disk, self._looks):
                pool.shutdown()
        else:
            await send({"type": "websocket.close", "code": 1000})

    def _warm(self) -> None:
        """Open what requests need before the first one, and say what is missing."""
        for open in (
            self._scorer.refused,
            self._scorer.ready,
            self._deciding,
        ):  # the first loads all releases
            try:
                open()
            except PropensityError as error:
                service.warning("not ready: %s: %s", error.code, error)

    def _deciding(self) -> DecisionContext:
        """What decisions are taken with: the same rows and models as the scores, the shop, the ledger."""
        if self._decisions is None:
            rows, releases = self._scorer.rows, self._scorer.releases
            self._decisions = replace(DecisionContext.open(self._settings), rows=rows, releases=releases)
        return self._decisions

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request_id = uuid.uuid4().hex
        asked, method = route_of(scope), scope["method"]
        route = asked if asked in api.ROUTES or asked in HANDED_ON else UNMATCHED
        client = NO_CLIENT
        try:
            allowed = ("GET", "HEAD") if route in HANDED_ON else api.ROUTES.get(route)
            if allowed is None:
                raise Problem(404, "not_found", "there is no such route; `/` lists those that there are")
            if method not in allowed:
                detail = f"{route} takes {' or '.join(allowed)}"
                raise Problem(405, "method_not_allowed", detail, headers={"allow": ", ".join(allowed)})
            if route in HANDED_ON:
                await self._behind(scope, receive, send)
                self._done(route, method, 200, client, request_id, started)
                return
            headers: Headers = dict(scope["headers"])
            if route.startswith("/v1/"):
                client = self._keys.client(headers)
            answer = await self._answer(route, scope, receive, client, request_id)
        except Problem as problem:
            answer = _problem(problem, request_id)
        except PropensityError as error:
            answer = _problem(problems.problem_of(error, self._settings), request_id)
        except ConnectionResetError:
            self._done(route, method, 499, client, request_id, started)
            return
        except Exception as error:  # the last door: the caller gets an id, the log the place, nobody a value
            service.error("request=%s %s at %s", request_id, type(error).__name__, _frames(error))
            answer = _problem(
                Problem(500, "internal", f"request {request_id} failed; the log names where"), request_id
            )
        await _send(send, answer, request_id)
        self._done(route, method, answer.status, client, request_id, started)

    def _done(
        self, route: str, method: str, status: int, client: str, request_id: str, started: float
    ) -> None:
        method = method if method in METHODS else OTHER
        seconds = time.perf_counter() - started
        self._metrics.request(route, method, status, client, seconds)
        access.info(
            "route=%s method=%s status=%d ms=%.2f client=%s request=%s",
            route, method, status, seconds * 1e3, client, request_id,
        )  # fmt: skip

    async def _answer(
        self, route: str, scope: Scope, receive: Receive, client: str, request_id: str
    ) -> Answer:
        headers: Headers = dict(scope["headers"])
        if route == CUSTOMER:
            return await self._customer(customer_of(scope), request_id)
        if route == DECISION:
            return await self._sendable(decision_of(scope), request_id)
        if route == "/v1/scores":
            return await self._scores(await body(headers, receive), request_id)
        if route == "/v1/decisions":
            return await self._decision(await body(headers, receive), headers, client)
        if route in ("/v1/deliveries", "/v1/outcomes"):
            return await self._reports(route, await body(headers, receive), request_id)
        if route == "/v1/events":
            return await self._events(await body(headers, receive), request_id)
        if route in ("/v1/models", "/readyz", "/metrics"):
            return await _beside(self._looks, lambda: self._look(route, request_id))
        if route == "/":
            return Answer(200, self._index)
        if route == "/openapi.json":
            return Answer(200, self._document)
        return Answer(200, b'{"status":"alive"}')

    def _look(self, route: str, request_id: str) -> Answer:
        """What an operator asks; it reads the store of rows."""
        if route == "/v1/models":
            return Answer(200, problems.encode(self._scorer.models(request_id)))
        if route == "/metrics":
            return Answer(200, self._exposition(), CONTENT_TYPE)
        missing = self._scorer.ready()
        self._deciding().rules(self._settings.now())
        refused = [refused for refused in self._scorer.refused().values() if refused]
        return Answer(
            200, problems.encode(ReadyAnswer("ready", refused, sorted(self._pauses.paused()), missing))
        )

    async def _scores(self, body: bytes, request_id: str) -> Answer:
        request = bodies.SCORES.decode(body)

        def scored() -> tuple[bytes, Counter[str]]:
            answer = self._scorer.answer(request, request_id)
            outcomes = Counter(
                r.error.code if isinstance(r, Unanswered) else "scored" for r in answer.results
            )
            return problems.encode(answer), outcomes

        # A store on another machine may be slow: then this request waits, and not every other one too.
        if len(request.customers) <= INLINE and self._settings.online == "sqlite":
            encoded, outcomes = scored()
        else:
            encoded, outcomes = await _beside(self._pool, scored)
        for outcome, number in outcomes.items():
            self._metrics.customers(outcome, number)
        return Answer(200, encoded)

    async def _customer(self, customer: Customer, request_id: str) -> Answer:
        answer = await _beside(self._pool, lambda: profile(self._scorer, customer, request_id))
        return Answer(200, problems.encode(answer))

    async def _decision(self, body: bytes, headers: Headers, client: str) -> Answer:
        request = bodies.DECISIONS.decode(body)
        key = None if request.preview else idempotency_key(headers)

        def decided() -> DecisionAnswer:
            return take_decision(self._deciding(), request, client=client, idempotency_key=key)

        answer = await _beside(self._pool, decided)
        self._metrics.decision(answer.action, answer.preview)
        return Answer(200, problems.encode(answer))

    async def _sendable(self, decision_id: str, request_id: str) -> Answer:
        answer = await _beside(self._pool, lambda: may_send(self._deciding(), decision_id, request_id))
        return Answer(200, problems.encode(answer))

    async def _reports(self, route: str, body: bytes, request_id: str) -> Answer:
        take = reports.take_deliveries if route == "/v1/deliveries" else reports.take_outcomes

        def taken() -> reports.DeliveriesAnswer | reports.OutcomesAnswer:
            return take(body, request_id, self._settings, self._deciding().ledger.report)

        answer = await _beside(self._pool, taken)
        for outcome, number in reports.outcomes(answer.results).items():
            self._metrics.reports(route, outcome, number)
        return Answer(200, problems.encode(answer))

    async def _events(self, body: bytes, request_id: str) -> Answer:
        def taken() -> EventsAnswer:
            return take(body, request_id, self._settings, self._inbox, self._resolve)

        answer = await _beside(self._disk, taken)
        for outcome, number in outcomes(answer).items():
            self._metrics.events(outcome, number)
        return Answer(200, problems.encode(answer))

    def _resolve(self, people: Sequence[Person]) -> list[str | None]:
        """As published; before anything is, nobody is known by another system's id."""
        try:
            return self._scorer.rows.resolve([(person.source, person.id) for person in people])
        except NoBuild:
            return [None] * len(people)

    def _exposition(self) -> bytes:
        try:
            moment = self._scorer.published().moment
            self._metrics.features_age((self._settings.now() - moment).total_seconds())
        except PropensityError:
            self._metrics.features_age(float("inf"))  # nothing to answer from: as old as can be
        self._metrics.fresh_lag(self._waiting())
        for name, refused in self._scorer.refused().items():
            self._metrics.release_refused(name, refused is not None)
        return self._metrics.render()

    def _waiting(self) -> float:
        try:
            return self._lag.seconds(self._scorer.rows.current())
        except NoBuild:
            return self._lag.seconds(None)
        except PropensityError:  # the store, or the inbox: nobody can say
            return float("nan")


async def _beside(pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    """The result of work that waits, in a thread, while the event loop goes on."""
    return await asyncio.get_running_loop().run_in_executor(pool, work)


def _problem(problem: Problem, request_id: str) -> Answer:
    return Answer(problem.status, problem.document(request_id), PROBLEM, problem.headers)


async def _send(send: Send, answer: Answer, request_id: str) -> None:
    headers = [
        (b"content-type", answer.type),
        (b"content-length", str(len(answer.body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-request-id", request_id.encode()),
        *((name.encode(), value.encode()) for name, value in (answer.headers or {}).items()),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _frames(error: BaseException) -> str:
    """Where it was raised, without its message: that may repeat what was sent."""
    return " < ".join(
        f"{f.filename}:{f.lineno} {f.name}" for f in reversed(traceback.extract_tb(error.__traceback__))
    )
