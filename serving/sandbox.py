"""What a test key is answered: the same API about a few made-up customers, and nothing real is touched.

Requests are read and refused as real ones are; decisions are taken by the shop's rules, from made-up inputs,
and are the same whenever they are asked for on one day. Decisions and what is reported of them go through the
real ledger's code, in memory (`sandbox_ledger`); events are remembered so that a repeat is known. Each
process remembers its own, and the last of them.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import msgspec

from features.errors import (
    CustomerErased,
    DecisionError,
    FeatureMismatch,
    NotDue,
    PropensityError,
    UnknownCustomer,
    UnknownDecision,
)
from features.moments import DAY, iso, midnight, parse_moment
from features.settings import Settings
from features.shop import shop_of
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
from serving.conditions import check
from serving.customer_types import (
    CustomerAnswer,
    LastDecision,
    NoDecision,
    NoHealth,
    NoSegments,
    NoValue,
    Segments,
    Value,
)
from serving.decision_context import DecisionContext
from serving.decisions import candidates_of
from serving.erasures import ErasureAnswer
from serving.heard import recorded
from serving.incoming import CUSTOMER, DECISION
from serving.ledger_reports import Delivery, Outcome, Reported
from serving.prices import Prices
from serving.problems import Offender, Problem, detail_of, encode
from serving.reservations import Contact
from serving.sandbox_customers import (
    CONTACTED,
    CUSTOMERS,
    ERASED,
    FAULTS,
    MERGED,
    OLD_KEY,
    Example,
    fail,
)
from serving.sandbox_inbox import SandboxInbox
from serving.sandbox_ledger import SandboxLedger
from serving.sandbox_models import FEATURES, HORIZON, TARGETS, VERSION, models
from serving.sandbox_profile import segments_of, value_of
from serving.sendable import Bound, sendable
from serving.sending import Night
from serving.situation import Inputs, Rules
from serving.standing import Standing

HOUR = timedelta(hours=1)
NOT_DUE, REGULAR = "test-not-due", "test-maintenance"
_OUTSIDE = "this target speaks only of customers with an order"
_HELP = (
    f"with a test key there are {', '.join(CUSTOMERS)}, of faults {', '.join(FAULTS)}, and {ERASED}, who was "
    "erased"
)
_UNFIT = "its release needs features that the published build does not have: retrain, or publish them"
_GONE = "this customer was erased: nothing is decided about them"


class Sandbox:
    """Answers of test keys. For one thread at a time."""

    def __init__(self, settings: Settings, context: Callable[[], DecisionContext]) -> None:
        self._settings, self._context = settings, context
        self._declared, self._shop = known.Declared(settings), shop_of(settings)
        self._ledger = SandboxLedger(settings)
        self._inbox = SandboxInbox()

    def answer(
        self, route: str, method: str, customer: Callable[[], Customer], decision_id: str, body: bytes,
        client: str, key: Callable[[], str], request_id: str, approved: Callable[[], bool],
    ) -> tuple[int, bytes]:  # fmt: skip
        """(status, body) of a request that needs a key. A Problem or a PropensityError as the real."""
        if route == CUSTOMER:
            if method == "DELETE":
                return self.erase(customer(), request_id)
            return 200, self.customer(customer(), request_id)
        if route == DECISION:
            return 200, self.may_send(decision_id, approved(), request_id)
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

    def require_room(self, customers: Sequence[Customer]) -> None:
        """Problem 503 of who stands for a full disk."""
        for customer in customers:
            fail(_id(customer), "disk")

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
        told = self._scores(example, list(TARGETS), 3, False)
        churn = told[0]
        return encode(
            CustomerAnswer(
                request_id=request_id,
                as_of=iso(self._settings.now()),
                customer_id=id,
                known_at=iso(self._known_at(example)),
                stale=example.stale,
                scores=told,
                value=self.worth(example, told),
                segments=self._segments(id, example),
                health=(
                    known.health_of(churn, HORIZON, example.row, self._declared)
                    if isinstance(churn, Score)
                    else NoHealth(churn.error)
                ),
                contacts=known.facts(known.CONTACTS, example.row, self._declared),
                cases=known.facts(known.CASES, example.row, self._declared),
                tags=known.tagged(example.row, self._declared),
                decision=self._last_decision(id, example),
                merged=sorted(example.merged),
            )
        )

    def worth(self, example: Example, scores: Sequence[Score | NoScore] = ()) -> Value | NoValue:
        """As a profile tells it. scores: which may say the contrary."""
        return value_of(example, self._known_at(example), scores, self._shop)

    def decision(self, body: bytes, client: str, key: Callable[[], str], request_id: str) -> bytes:
        """As `POST /v1/decisions`. key: the idempotency key that was sent, or a Problem."""
        request, context = bodies.DECISIONS.decode(body), self._context()
        if request.preview:
            return encode(self._decided(context, request, None)[-1])
        name, said = key(), msgspec.json.encode(request, order="deterministic")
        if (_id(request.customer), name) == (ERASED, OLD_KEY):
            raise CustomerErased(_GONE)
        stored = self._ledger.stored_answer(client, name, said)
        if stored is not None:
            return stored
        taken = self._decided(context, request, _id_of(client, name))
        self._ledger.keep(context, *taken, client, name, said)
        return encode(taken[-1])

    def may_send(self, decision_id: str, approved: bool, request_id: str) -> bytes:
        """As `GET /v1/decisions/{id}`."""
        if decision_id == ERASED:
            raise CustomerErased(_GONE)
        now = self._settings.now()
        # Whoever builds a journey at night does not wait for the hour in which a message may go.
        goes = max(now, self._ledger.goes_at(decision_id) or now)
        unbound = Bound(None, Night())
        told = sendable(self._ledger, decision_id, goes, request_id, lambda *_: unbound, approved)
        return encode(msgspec.structs.replace(told, as_of=iso(now)))

    def reports(self, route: str, body: bytes, request_id: str) -> bytes:
        """As `POST /v1/deliveries` and `/v1/outcomes`."""
        take = reports.take_deliveries if route == "/v1/deliveries" else reports.take_outcomes
        return encode(take(body, request_id, self._settings, self._record))

    def events(self, body: bytes, request_id: str) -> bytes:
        """As `POST /v1/events`. The made-up customers stay as they are."""
        became = lambda people: [MERGED.get(one.id) for one in people]  # noqa: E731
        return encode(take(body, request_id, self._settings, self._inbox, became, whose=lambda ids: MERGED))

    def erase(self, customer: Customer, request_id: str) -> tuple[int, bytes]:
        """As `DELETE /v1/customers/{id}`: first accepted, then done. The customer is there all the same."""
        id = _id(customer)
        fail(id, "inbox")
        fail(id, "disk")
        if id != ERASED and self._inbox.erase(id):
            return 202, encode(ErasureAnswer(request_id, "accepted"))
        known = id == ERASED or id in CUSTOMERS or id in FAULTS
        return 200, encode(ErasureAnswer(request_id, "erased" if known else "unknown"))

    def models(self, request_id: str) -> bytes:
        """As `GET /v1/models`."""
        told = models(self._declared, self._settings.now())
        return encode(ModelsAnswer(request_id, iso(self._settings.now()), VERSION, told))

    def _decided(
        self, context: DecisionContext, request: DecisionRequest, id: str | None, at: datetime | None = None
    ) -> tuple[Rules, Inputs, Mapping[str, float], DecisionAnswer]:
        """At a midnight, before the contacts of an example were made; None: today's, with them."""
        example, who = self._existing(request.customer), _id(request.customer)
        candidates = candidates_of(context, request)
        check(request.context, context.fields)
        fail(who, "ledger")
        if example.unfit:
            raise FeatureMismatch(_UNFIT)
        if who == NOT_DUE and request.scenario is not None and not request.preview:
            raise NotDue(f"the customer is not due for scenario {request.scenario} now")
        contacted, today = example.contacts if at is None else 0, midnight(self._settings.now())
        at = at or today
        real = context.rules(today)  # a shop may have had none before
        policy = dataclasses.replace(
            real.policy,
            explore=0.0,
            holdout=float(example.holdout),
            person_above=0.0 if example.person else None,
        )
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
            known_at=min(at, self._known_at(example)),
            stale=example.stale,
            order_probability=1 - example.risk,
            order_model=None,
            seed=0,
            scenario=request.scenario,
            context=request.context,
            standing=Standing(
                consents={channel: dict(said) for channel, said in example.consents.items()},
                open_complaint=example.complaint,
                received=(Contact(at - CONTACTED * DAY, channel),) * contacted,
            ),
            spent=(0.0,) * len(policy.budgets),
        )
        return rules, inputs, example.row, answer(rules, inputs, example.row, id)

    def _segments(self, id: str, example: Example) -> Segments | NoSegments:
        try:
            fail(id, "segments")
        except PropensityError as error:
            return NoSegments(Failure(error.code, str(error)))
        return segments_of(example, self._known_at(example))

    def _last_decision(self, id: str, example: Example) -> LastDecision | NoDecision | None:
        try:
            fail(id, "ledger")
            if example.decided:
                self._look_back(id, example)
            return known.last_decision(self._ledger, id, self._settings.now())
        except PropensityError as error:
            return NoDecision(Failure(error.code, detail_of(error, self._settings)))

    def _look_back(self, id: str, example: Example) -> None:
        """Have what was decided about her before in the ledger, with what came of it: in the first scenario
        of the shop's in which something is done, or in none."""
        today = midnight(self._settings.now())
        at = today - CONTACTED * DAY
        decision = _id_of(id, iso(at))
        with suppress(UnknownDecision):
            self._ledger.read(decision)
            return
        context = self._context()
        for scenario in (*context.scenarios, None):
            request = DecisionRequest(id, scenario=scenario)
            taken = self._decided(context, request, decision, at)
            if taken[-1].send_at is not None:
                break
        self._ledger.keep(context, *taken, id, iso(at), msgspec.json.encode(request))
        of: dict[str, Any] = {"source": id, "id": decision, "decision_id": decision}
        value, ordered = example.row["order_value_365d"], today - example.row["days_since_order"] * DAY
        told: list[Delivery | Outcome] = [Outcome(**of, type="order", value=value, at=ordered)]
        if sent := taken[-1].send_at:
            told.append(Delivery(**of, status="delivered", at=parse_moment(sent)))
        self._record(told, self._settings.now())

    def _record(self, told: Sequence[Delivery | Outcome], now: datetime) -> list[Reported | DecisionError]:
        known = [one for one in told if one.decision_id != ERASED]
        found = iter(recorded(self._ledger, self._inbox.accept, lambda: None, known, now))
        self._ledger.trim()
        return [CustomerErased(_GONE) if one.decision_id == ERASED else next(found) for one in told]

    def _scores(
        self, example: Example, targets: Sequence[str], reasons: int, exact: bool
    ) -> list[Score | NoScore]:
        if example.outside:
            return [NoScore(name, Failure("outside_population", _OUTSIDE)) for name in targets]
        scores: list[Score | NoScore] = []
        for name in targets:
            if name in example.unfit:
                scores.append(NoScore(name, Failure("feature_mismatch", _UNFIT)))
                continue
            risk = TARGETS[name] > 0
            chance = example.risk if risk else 1 - example.risk
            facts = known.facts(FEATURES, example.row, self._declared)
            sign = TARGETS[name] * (1 if example.risk > 0.5 else -1)
            said = [
                ReasonAnswer(of.feature, of.value, sign * (0.9 - 0.2 * n), of.text)
                for n, of in enumerate(facts)
            ]
            scores.append(Score(name, chance, round(100 * chance, 1), VERSION, said[:reasons], exact))
        return scores

    def _existing(self, customer: Customer) -> Example:
        example = self._found(customer)
        if example is None:
            raise UnknownCustomer(f"no such customer: {_HELP}")
        return example

    def _found(self, customer: Customer) -> Example | None:
        id = _id(customer)
        fail(id, "rows")
        return CUSTOMERS[REGULAR] if id in FAULTS else CUSTOMERS.get(id)

    def _known_at(self, example: Example) -> datetime:
        at = midnight(self._settings.now())
        return at - self._settings.stale_after - HOUR if example.stale else at


def _id(customer: Customer) -> str:
    """Test customers have the same id in every other system; one that became another's is hers."""
    id = customer if isinstance(customer, str) else customer.id
    return MERGED.get(id, id)


def _id_of(client: str, key: str) -> str:
    return "test" + hashlib.sha256(f"{client}\n{key}".encode()).hexdigest()[:28]
