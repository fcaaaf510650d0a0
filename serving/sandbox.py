"""What a test key is answered: the same API about a few made-up customers, and nothing real is touched.

Requests are read and refused as real ones are; decisions are taken by the shop's rules, from made-up inputs,
and are the same whenever they are asked for on one day. What is told is remembered by this process alone, and
only so that it is known when it is told again.
"""

import dataclasses
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from features.errors import (
    CustomerErased,
    DecisionError,
    IdempotencyConflict,
    NotDue,
    UnknownCustomer,
    UnknownDecision,
)
from features.inbox import Arrival
from features.inbox import Outcome as Accepted
from features.moments import DAY, iso, midnight
from features.settings import Settings
from serving import bodies, known, reports
from serving.answer_types import DecisionAnswer
from serving.answers import answer
from serving.api import (
    Answered,
    Customer,
    DecisionRequest,
    Failure,
    ModelsAnswer,
    NoScore,
    ReasonAnswer,
    Score,
    ScoreAnswer,
    ScoreRequest,
    Unanswered,
)
from serving.arrivals import take
from serving.cards import Text
from serving.conditions import check
from serving.customer_types import (
    CustomerAnswer,
    NoHealth,
)
from serving.decision_context import DecisionContext
from serving.decisions import candidates_of
from serving.erasures import ErasureAnswer
from serving.incoming import CUSTOMER, DECISION
from serving.ledger_reports import Delivery, Outcome, Reported
from serving.prices import Prices
from serving.problems import Offender, Problem, encode
from serving.reservations import Contact
from serving.sandbox_customers import CUSTOMERS, ERASED, FAULTS, OLD_KEY, Example
from serving.sandbox_profile import VERSION, segments_of, value_of
from serving.sendable import MAY, WORDS, SendAnswer, Why
from serving.situation import Inputs
from serving.standing import Standing

HORIZON = 28  # days
HOUR = timedelta(hours=1)
NOT_DUE, REGULAR = "test-not-due", "test-maintenance"
TARGETS = {"churn_28d": 1.0, "repurchase_28d": -1.0}  # target -> the sign of what raises the risk in it
KEPT = 10_000  # requests that are remembered
_OUTSIDE = "this target speaks only of customers with an order"
_HELP = f"with a test key there are {', '.join(CUSTOMERS)}, and of faults {', '.join(FAULTS)}"
_GONE = "this customer was erased: nothing is decided about them"


class Sandbox:
    """Answers of test keys. For one thread at a time."""

    def __init__(self, settings: Settings, context: Callable[[], DecisionContext]) -> None:
        self._settings, self._context = settings, context
        self._declared = known.Declared(settings)
        self._told: OrderedDict[Any, Any] = OrderedDict()

    def answer(
        self, route: str, method: str, customer: Callable[[], Customer], decision_id: str, body: bytes,
        client: str, key: Callable[[], str], request_id: str,
    ) -> tuple[int, bytes]:  # fmt: skip
        """(status, body) of a request that needs a key. A Problem or a PropensityError as the real."""
        if route == CUSTOMER:
            if method == "DELETE":
                return self.erase(customer(), request_id)
            return 200, self.customer(customer(), request_id)
        if route == DECISION:
            return 200, self.may_send(decision_id, request_id)
        if route == "/v1/scores":
            return 200, encode(self.scored(bodies.SCORES.decode(body), request_id))
        if route == "/v1/decisions":
            return 200, self.decision(body, client, key, request_id)
        if route in ("/v1/deliveries", "/v1/outcomes"):
            return 200, self.reports(route, body, request_id)
        if route == "/v1/events":
            return 200, self.events(body, request_id)
        if route == "/v1/models":
            return 200, self.models(request_id)
        raise AssertionError(f"a route that needs a key, and no test key opens: {route}")

    def require_known(self, targets: Sequence[str] | None) -> None:
        """Problem 422 for a target that is none."""
        for place, name in enumerate(targets or ()):
            if name not in TARGETS:
                path, expected = f"$.targets[{place}]", f"expected one of {', '.join(TARGETS)}"
                raise Problem(422, "unknown_target", f"{path}: {expected}", [Offender(path, expected)])

    def scored(self, request: ScoreRequest, request_id: str) -> ScoreAnswer:
        """As `POST /v1/scores`."""
        self.require_known(request.targets)
        results: list[Answered | Unanswered] = []
        for customer in request.customers:
            id, example = _id(customer), self._found(customer)
            if example is None:
                failure = Failure("unknown_customer", f"no such customer: {_HELP}")
                results.append(Unanswered(id if isinstance(customer, str) else None, failure))
            else:
                told = self._scores(example, request.targets or list(TARGETS), request.reasons, request.exact)
                results.append(Answered(id, iso(self._known_at(example)), example.stale, told))
        return ScoreAnswer(request_id, iso(self._settings.now()), results)

    def customer(self, customer: Customer, request_id: str) -> bytes:
        """As `GET /v1/customers/{id}`."""
        id, example = _id(customer), self._existing(customer)
        told, known_at = self._scores(example, list(TARGETS), 3, False), iso(self._known_at(example))
        churn = told[0]
        no_risk = NoHealth(Failure("outside_population", _OUTSIDE))
        return encode(
            CustomerAnswer(
                request_id=request_id,
                as_of=iso(self._settings.now()),
                customer_id=id,
                known_at=known_at,
                stale=example.stale,
                scores=told,
                value=value_of(example, known_at, self._declared.currency),
                segments=segments_of(example, known_at),
                health=(
                    known.health_of(churn, HORIZON, example.row, self._declared)
                    if isinstance(churn, Score)
                    else no_risk
                ),
                contacts=known.facts(known.CONTACTS, example.row, self._declared),
                cases=known.facts(known.CASES, example.row, self._declared),
                tags=known.tagged(example.row, self._declared),
                merged=[],
            )
        )

    def decision(self, body: bytes, client: str, key: Callable[[], str], request_id: str) -> bytes:
        """As `POST /v1/decisions`. key: the idempotency key that was sent, or a Problem."""
        request, context = bodies.DECISIONS.decode(body), self._context()
        if request.preview:
            return encode(self._decided(context, request, None))
        name, said = (client, key()), msgspec.json.encode(request, order="deterministic")
        if (_id(request.customer), name[1]) == (ERASED, OLD_KEY):
            raise CustomerErased(_GONE)
        if name in self._told:
            before, answered = self._told[name]
            if before != said:
                raise IdempotencyConflict(
                    "this idempotency key was used for another request: repeat that one, or use a new key"
                )
            return encode(answered)
        decided = self._decided(context, request, _id_of(*name))
        self._remember(name, (said, decided))
        self._remember(decided.decision_id, decided)
        return encode(decided)

    def may_send(self, decision_id: str, request_id: str) -> bytes:
        """As `GET /v1/decisions/{id}`."""
        decided, sent = self._decision(decision_id), self._told.get(("sent", decision_id))
        why: Why | None = "nothing" if decided.channel is None else "sent" if sent else None
        words = MAY if why is None else WORDS[why]
        return encode(
            SendAnswer(
                request_id=request_id,
                as_of=iso(self._settings.now()),
                decision_id=decision_id,
                action=decided.action,
                channel=decided.channel,
                step=None if decided.channel is None else 1,
                may_send=why is None,
                reason=why,
                text=Text(words.en, words.zh),
                send_at=decided.send_at,
                until=decided.reserved_until,
            )
        )

    def reports(self, route: str, body: bytes, request_id: str) -> bytes:
        """As `POST /v1/deliveries` and `/v1/outcomes`."""
        take = reports.take_deliveries if route == "/v1/deliveries" else reports.take_outcomes
        return encode(take(body, request_id, self._settings, self._record))

    def events(self, body: bytes, request_id: str) -> bytes:
        """As `POST /v1/events`. The made-up customers stay as they are."""
        nobody = lambda people: [None] * len(people)  # noqa: E731
        return encode(take(body, request_id, self._settings, self, nobody))

    def accept(self, arrivals: Sequence[Arrival], received_at: datetime) -> list[tuple[Accepted, str]]:
        """As `Inbox.accept`, in memory."""
        found: list[tuple[Accepted, str]] = []
        for of in arrivals:
            whom = of.told_as[1] if of.told_as else of.customer_id
            _fail(whom, "inbox")
            if whom == ERASED:
                found.append(("customer_erased", of.customer_id))
                continue
            before = self._told.get(("event", of.source, of.id))
            outcome: Accepted = "accepted" if before is None else "duplicate"
            if before not in (None, of.digest):
                outcome = "event_conflict"
            self._remember(("event", of.source, of.id), before or of.digest)
            found.append((outcome, of.customer_id))
        return found

    def refusal(self, source: str, id: str) -> str | None:
        """As `Inbox.refusal`: no log refuses what is about made-up customers."""
        return None

    def erase(self, customer: Customer, request_id: str) -> tuple[int, bytes]:
        """As `DELETE /v1/customers/{id}`: first accepted, then done. The customer is there all the same."""
        id = _id(customer)
        _fail(id, "inbox")
        if id != ERASED and ("erased", id) not in self._told:
            self._remember(("erased", id), True)
            return 202, encode(ErasureAnswer(request_id, "accepted"))
        known = id == ERASED or id in CUSTOMERS or id in FAULTS
        return 200, encode(ErasureAnswer(request_id, "erased" if known else "unknown"))

    def models(self, request_id: str) -> bytes:
        """As `GET /v1/models`: nothing is released for tests."""
        return encode(ModelsAnswer(request_id, iso(self._settings.now()), None, []))

    def _decided(self, context: DecisionContext, request: DecisionRequest, id: str | None) -> DecisionAnswer:
        example, who = self._existing(request.customer), _id(request.customer)
        candidates = candidates_of(context, request)
        check(request.context, context.fields)
        _fail(who, "ledger")
        if who == NOT_DUE and request.scenario is not None and not request.preview:
            raise NotDue(f"the customer is not due for scenario {request.scenario} now")
        at = midnight(self._settings.now())
        real = context.rules(at)
        policy = dataclasses.replace(real.policy, explore=0.0, holdout=float(example.holdout))
        rules = msgspec.structs.replace(
            real,
            policy=policy,
            prices=Prices(),
            paused={},
            unfair={},
            consent=dict.fromkeys(real.consent, True),
        )
        channel = next((a.channel for a in rules.actions if a.channel), None)
        inputs = Inputs(
            customer_id=who,
            candidates=candidates,
            as_of=at,
            known_at=self._known_at(example),
            stale=example.stale,
            order_probability=1 - example.risk,
            order_model=None,
            seed=0,
            scenario=request.scenario,
            context=request.context,
            standing=Standing(
                consents={channel: dict(said) for channel, said in example.consents.items()},
                open_complaint=example.complaint,
                received=tuple(Contact(at - 10 * DAY, channel) for _ in range(example.contacts)),
            ),
            spent=(0.0,) * len(policy.budgets),
        )
        return answer(rules, inputs, example.row, id)

    def _record(self, told: Sequence[Delivery | Outcome], now: datetime) -> list[Reported | DecisionError]:
        found: list[Reported | DecisionError] = []
        for one in told:
            try:
                self._decision(one.decision_id)
            except (UnknownDecision, CustomerErased) as error:
                found.append(error)
                continue
            name = ("report", type(one), one.source, one.id)
            again = name in self._told
            self._remember(name, True)
            used = isinstance(one, Delivery) and one.status in ("sent", "delivered")
            if used:
                self._remember(("sent", one.decision_id), True)
            counted = one.value if isinstance(one, Outcome) else 0.0
            ends = now + HORIZON * DAY
            found.append(Reported("duplicate" if again else "accepted", None, ends, ends, used, counted))
        return found

    def _scores(
        self, example: Example, targets: Sequence[str], reasons: int, exact: bool
    ) -> list[Score | NoScore]:
        if example.outside:
            return [NoScore(name, Failure("outside_population", _OUTSIDE)) for name in targets]
        scores: list[Score | NoScore] = []
        for name in targets:
            risk = TARGETS[name] > 0
            chance = example.risk if risk else 1 - example.risk
            facts = known.facts(("days_since_order", "orders_90d", "overdue"), example.row, self._declared)
            sign = TARGETS[name] * (1 if example.risk > 0.5 else -1)
            said = [
                ReasonAnswer(of.feature, of.value, sign * (0.9 - 0.2 * n), of.text)
                for n, of in enumerate(facts)
            ]
            scores.append(Score(name, chance, round(100 * chance, 1), VERSION, said[:reasons], exact))
        return scores

    def _decision(self, id: str) -> DecisionAnswer:
        if id == ERASED:
            raise CustomerErased(_GONE)
        found = self._told.get(id)
        if not isinstance(found, DecisionAnswer):
            raise UnknownDecision("this process knows of no test decision with that id: take one first")
        return found

    def _existing(self, customer: Customer) -> Example:
        example = self._found(customer)
        if example is None:
            raise UnknownCustomer(f"no such customer: {_HELP}")
        return example

    def _found(self, customer: Customer) -> Example | None:
        id = _id(customer)
        _fail(id, "rows")
        return CUSTOMERS[REGULAR] if id in FAULTS else CUSTOMERS.get(id)

    def _known_at(self, example: Example) -> datetime:
        at = midnight(self._settings.now())
        return at - self._settings.stale_after - HOUR if example.stale else at

    def _remember(self, name: Any, what: Any) -> None:
        self._told[name] = what
        while len(self._told) > KEPT:
            self._told.popitem(last=False)


def _fail(id: str, of: str) -> None:
    """The fault that the customer stands for, if it is one of what is needed here."""
    fault = FAULTS.get(id)
    if fault is not None and of in fault.of:
        raise fault.make()


def _id(customer: Customer) -> str:
    """Test customers have the same id in every other system."""
    return customer if isinstance(customer, str) else customer.id


def _id_of(client: str, key: str) -> str:
    return "test" + hashlib.sha256(f"{client}\n{key}".encode()).hexdigest()[:28]
