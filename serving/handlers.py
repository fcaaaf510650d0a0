"""What each route answers, from the published rows, the releases, the ledger and the inbox.

What may take long waits in a line of its own: a slow store of rows keeps neither events from the disk nor an
operator from what is wrong, and a ledger that hangs keeps nobody from scores.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial

from features.errors import NoBuild, PropensityError
from features.inbox import Inbox
from features.online.packed import MERGED
from features.settings import Settings
from serving import api, audit, bodies, bulk, erasures, openapi, outbox, problems, reports
from serving.admission import Line
from serving.answer_types import DecisionAnswer
from serving.api import Customer, Unanswered
from serving.arrivals import outcomes, take
from serving.decision_context import DecisionContext
from serving.decisions import take_decision
from serving.deliveries import Deliveries
from serving.events import Person
from serving.heard import recorded
from serving.hosts import require_log
from serving.incoming import (
    CUSTOMER,
    DECISION,
    Headers,
    Receive,
    Scope,
    approved_of,
    body,
    customer_of,
    decision_of,
    idempotency_key,
)
from serving.lag import Lag
from serving.ledger_store import SERVICE_PATIENCE
from serving.metrics import CONTENT_TYPE, Metrics
from serving.misspelt import known_to
from serving.outgoing import Answer
from serving.profile import Profiles
from serving.readiness import Readiness
from serving.sandbox import Sandbox
from serving.sandbox_bulk import BulkSandbox
from serving.scores import Scorer
from serving.sendable import SendAnswer, may_send
from serving.turns import Turns

INLINE = 128  # customers; a longer list is scored beside the event loop, so that it delays nobody
INLINE_REASONS = 32  # of which reasons are wanted, too: each costs as much as ten without
THREADS = 2  # of a line: for long lists and Redis; for decisions, which wait for the ledger
service = logging.getLogger("propensity.service")


class Handlers:
    """One answer a request, or a Problem, or a PropensityError. One object a process.

    read: whether the store of releases was read since the start, or there is none.
    """

    def __init__(self, settings: Settings, metrics: Metrics, read: Callable[[], bool] = lambda: True) -> None:
        self._settings = settings
        self._metrics = metrics
        self._scorer = Scorer(settings)
        self._decisions: DecisionContext | None = None
        self._opening = Turns()
        self._inbox = Inbox(settings)
        self._knows = known_to(settings, self._scorer.rows, self._inbox)
        self._lag = Lag(settings, self._inbox)
        self._told = set[str]()  # models of which the metrics said whether they are refused
        self._profiles = Profiles(self._scorer, lambda: self._deciding().ledger)
        self._ready = Readiness(self._scorer, self._deciding, self._inbox, read)
        self._sandbox = Sandbox(settings, self._deciding)
        self._bulk_sandbox = BulkSandbox(settings, self._sandbox)
        self._eraser = erasures.eraser(settings)
        self._bulk = bulk.Bulk(settings, metrics, self._scorer)
        self._rows, self._ledger, self._disk, self._looks = Line(THREADS), Line(THREADS), Line(1), Line(1)
        self._sends = Line(THREADS)  # what addresses everyone is asked of all: no decision waits for it
        self._index = problems.encode({"service": "propensity", "routes": api.ROUTES})
        self._document = problems.encode(openapi.document())

    def stop(self) -> None:
        """Finish what is being done."""
        self._eraser.stop()
        self._bulk.stop()
        self._ready.stop()
        for line in (self._rows, self._ledger, self._disk, self._looks, self._sends):
            line.stop()

    def warm(self) -> None:
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
        self._eraser.start()
        self._bulk.start()

    def _deciding(self) -> DecisionContext:
        """What decisions are taken with: the same rows and models as the scores, the shop, the ledger."""
        if self._decisions is not None:
            return self._decisions
        with self._opening.turn(SERVICE_PATIENCE):
            if self._decisions is None:
                rows, releases = self._scorer.rows, self._scorer.releases
                opened = DecisionContext.open(self._settings, SERVICE_PATIENCE)
                self._decisions = replace(opened, rows=rows, releases=releases)
        return self._decisions

    async def answer(
        self, route: str, scope: Scope, receive: Receive, headers: Headers, client: str, request_id: str
    ) -> Answer:
        if route == CUSTOMER and scope["method"] == "DELETE":
            return await self._erasure(customer_of(scope), client, request_id)
        if route == CUSTOMER:
            return await self._customer(customer_of(scope), request_id)
        if route == DECISION:
            return await self._sendable(decision_of(scope), approved_of(scope), client, request_id)
        if route in bulk.ROUTES:
            return await self._bulk.answer(route, scope, receive, headers, client, request_id)
        if route == "/v1/scores":
            return await self._scores(await body(headers, receive), request_id)
        if route == "/v1/decisions":
            return await self._decision(await body(headers, receive), headers, client)
        if route in ("/v1/deliveries", "/v1/outcomes"):
            return await self._reports(route, await body(headers, receive), client, request_id)
        if route == "/v1/events":
            return await self._events(await body(headers, receive), client, request_id)
        if route in ("/v1/models", "/readyz", "/metrics"):
            return await self._looks.do(lambda: self._look(route, request_id))
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
        return Answer(200, problems.encode(self._ready.answer()))

    async def pretend(
        self, route: str, scope: Scope, receive: Receive, headers: Headers, client: str, request_id: str
    ) -> Answer:
        """As `answer`, to a test key: about made-up customers, and nothing is kept."""
        if route in bulk.ROUTES:
            return await self._bulk_sandbox.answer(route, scope, receive, headers, client, request_id)
        sent = await body(headers, receive) if scope["method"] == "POST" else b""
        status, encoded = self._sandbox.answer(
            route, scope["method"], lambda: customer_of(scope), decision_of(scope), sent, client,
            lambda: idempotency_key(headers), request_id, lambda: approved_of(scope),
        )  # fmt: skip
        return Answer(status, encoded)

    async def _scores(self, body: bytes, request_id: str) -> Answer:
        request = bodies.SCORES.decode(body)
        if self.at_once(request):
            return self.scored(request, request_id)
        return self._counted(*await self._rows.do(lambda: self._answered(request, request_id)))

    def at_once(self, request: api.ScoreRequest) -> bool:
        """Whether it is answered on the event loop. A store on another machine may be slow, and exact reasons
        are: then this request waits for them, and not every other one too."""
        most = 0 if request.exact else INLINE_REASONS if request.reasons else INLINE
        return len(request.customers) <= most and self._settings.online == "sqlite"

    def scored(self, request: api.ScoreRequest, request_id: str) -> Answer:
        """Its answer, now; Problem or PropensityError."""
        return self._counted(*self._answered(request, request_id))

    def _answered(self, request: api.ScoreRequest, request_id: str) -> tuple[bytes, Sequence[str]]:
        """The answer, encoded, and what became of each customer."""
        answer = self._scorer.answer(request, request_id)
        outcomes = [r.error.code if isinstance(r, Unanswered) else "scored" for r in answer.results]
        return problems.encode(answer), outcomes

    def _counted(self, encoded: bytes, outcomes: Sequence[str]) -> Answer:
        for outcome in set(outcomes):
            self._metrics.customers(outcome, outcomes.count(outcome))
        return Answer(200, encoded)

    async def _customer(self, customer: Customer, request_id: str) -> Answer:
        answer = await self._ledger.do(lambda: self._profiles.of(customer, request_id))
        return Answer(200, problems.encode(answer))

    async def _decision(self, body: bytes, headers: Headers, client: str) -> Answer:
        request = bodies.DECISIONS.decode(body)
        key = None if request.preview else idempotency_key(headers)

        def decided() -> DecisionAnswer:
            return take_decision(self._deciding(), request, client=client, idempotency_key=key)

        answer = await self._ledger.do(decided)
        self._metrics.decision(answer.action, answer.preview)
        return Answer(200, problems.encode(answer))

    async def _sendable(self, decision_id: str, approved: bool, client: str, request_id: str) -> Answer:
        def looked() -> SendAnswer:
            answer = may_send(self._deciding(), decision_id, request_id, approved)
            if approved and answer.route == "person":  # who told us so, of which decision, and what it met
                asked = f"GET /v1/decisions/{decision_id}?approved=true"
                self._audit(client, asked, request_id, {answer.reason or "may_send": 1})
            return answer

        return Answer(200, problems.encode(await self._sends.do(looked)))

    async def _reports(self, route: str, body: bytes, client: str, request_id: str) -> Answer:
        take = reports.take_deliveries if route == "/v1/deliveries" else reports.take_outcomes

        def taken() -> tuple[bytes, Counter[str]]:
            require = partial(require_log, self._settings)
            record = partial(recorded, self._deciding().ledger, self._inbox.accept, require)
            answer = take(body, request_id, self._settings, record)
            fared = reports.outcomes(answer.results)
            self._audit(client, f"POST {route}", request_id, fared)
            return problems.encode(answer), fared

        encoded, fared = await self._ledger.do(taken)
        for outcome, number in fared.items():
            self._metrics.reports(route, outcome, number)
        return Answer(200, encoded)

    async def _events(self, body: bytes, client: str, request_id: str) -> Answer:
        def taken() -> tuple[bytes, Counter[str]]:
            require_log(self._settings)
            asked = self._resolve, self._knows, self._whose
            answer = take(body, request_id, self._settings, self._inbox, *asked)
            fared = outcomes(answer)
            self._audit(client, "POST /v1/events", request_id, fared)
            return problems.encode(answer), fared

        encoded, fared = await self._disk.do(taken)
        for outcome, number in fared.items():
            self._metrics.events(outcome, number)
        return Answer(200, encoded)

    async def _erasure(self, customer: Customer, client: str, request_id: str) -> Answer:
        def kept() -> erasures.ErasureAnswer:
            require_log(self._settings)
            answer = erasures.ask(self._settings, customer, client, request_id)
            self._audit(client, f"DELETE {CUSTOMER}", request_id, {answer.status: 1})
            return answer

        answer = await self._disk.do(kept)
        self._eraser.wake()
        return Answer(202 if answer.status == "accepted" else 200, problems.encode(answer))

    def _audit(self, client: str, action: str, request_id: str, fared: Mapping[str, int]) -> None:
        """What was done stays done where this line cannot be written; then the service's log has it."""
        try:
            audit.record(self._settings, client, action, request_id, fared)
        except OSError as error:
            service.error("audit: %s by %s: %s (request=%s)", action, client, error.strerror, request_id)

    def _resolve(self, people: Sequence[Person]) -> list[str | None]:
        """As published; before anything is, nobody is known by another system's id."""
        try:
            return self._scorer.rows.resolve([(person.source, person.id) for person in people])
        except NoBuild:
            return [None] * len(people)

    def _whose(self, ids: Sequence[str]) -> dict[str, str]:
        """Of the ids that became another customer's, hers. A store of rows elsewhere may be away, and an
        event waits for the disk alone: then as the inbox was told last."""
        if self._settings.online != "sqlite":
            return self._inbox.whose(ids)
        found = self._resolve([Person(MERGED, id) for id in ids])
        return {id: canonical for id, canonical in zip(ids, found, strict=True) if canonical}

    def _exposition(self) -> bytes:
        try:
            moment = self._scorer.published().moment
            self._metrics.features_age((self._settings.now() - moment).total_seconds())
        except PropensityError:
            self._metrics.features_age(float("inf"))  # nothing to answer from: as old as can be
        self._metrics.fresh_lag(self._waiting())
        found = self._scorer.refused()
        self._told |= found.keys()  # what is no longer in force, here or in the store, is no longer refused
        for name in sorted(self._told):
            self._metrics.release_refused(name, found.get(name) is not None)
        self._metrics.decisions_refused(not self._ready.decides())
        for client, number in self._given_up().items():
            self._metrics.pushes_dead(client, number)
        return self._metrics.render()

    def _given_up(self) -> dict[str, int]:
        """Dead pushes by hook; none where they cannot be read, which whoever sends them says."""
        if not outbox.exists(self._settings):
            return {}
        try:
            with closing(outbox.Outbox(self._settings)) as box:
                return Deliveries(box).given_up()
        except PropensityError:
            return {}

    def _waiting(self) -> float:
        try:
            return self._lag.seconds(self._scorer.rows.current())
        except NoBuild:
            return self._lag.seconds(None)
        except PropensityError:  # the store, or the inbox: nobody can say
            return float("nan")
