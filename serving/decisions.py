"""Take one customer's next best action, and record it in the ledger.

Features and models come from what is published and released now; `answers.answer` does the rest. P(order)
comes from the released model churn_<horizon>d, where horizon is the shop's value horizon. What the log has of
this ledger's contacts, its features count; the others count from the ledger: `exported.py`.

What binds is read while the ledger is locked: pauses, what the customer said, what other decisions hold. So a
pause or a withdrawal that was accepted before a decision is written binds it, on every worker.
"""

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from features.errors import CustomerErased, NotDue, ReleaseError, UnknownCustomer, UsageError
from features.moments import DAY, from_us, parse_moment
from features.online import PRESENT, Published, Rows
from serving.actions import NOTHING, Action
from serving.answer_types import DecisionAnswer
from serving.answers import answer
from serving.api import Customer, DecisionRequest
from serving.conditions import check
from serving.contacts import longest
from serving.decision_context import DecisionContext
from serving.effects import KIND
from serving.evidence import OPT_OUT, Shown, shown
from serving.exported import seen
from serving.ledger import Entry
from serving.lifetime import Lifetime, lifetimes, release_of
from serving.releases import Release
from serving.reservations import Reservation
from serving.scenarios import aged
from serving.scores import answerable, columns_of, members_of
from serving.sealing import Sealed
from serving.situation import Inputs, Rules, night_of
from serving.standing import TABLES, Told, with_complaints

GONE = (
    "no such customer in the published features: check the id; a new customer is known from the first event, "
    "or from the next build on"
)


def take_decision(
    context: DecisionContext, request: DecisionRequest, *, client: str, idempotency_key: str | None = None
) -> DecisionAnswer:
    """Decide, and record it with its contact reserved; a preview records and reserves nothing.

    The same key with the same request gives the stored answer, whatever has changed since; another request
    under it raises IdempotencyConflict, and CustomerErased once that customer is erased.
    Raises NotDue for a scenario that she is not due for, UnknownCustomer, FeaturesExpired, UsageError for a
    scenario, candidate or field that is none, NoBuild, FeatureMismatch or ReleaseCorrupt of the model,
    DecisionError if the ledger cannot be written.
    """
    body = msgspec.json.encode(request, order="deterministic")  # a context in another order is the same
    ledger = context.ledger
    if idempotency_key is not None and not request.preview:
        stored = ledger.stored_answer(client, idempotency_key, body)
        if stored is not None:
            return _repeated(context, stored)

    candidates = candidates_of(context, request)
    check(request.context, context.fields)
    found = _look(context, request, candidates)
    if request.preview:
        rules, inputs = found.inputs(context)
        return answer(rules, inputs, found.row, None)
    _require_due(context, found)
    with ledger.deciding():  # from here on nobody else decides, and what binds is read anew
        if idempotency_key is not None:  # another worker may have answered it since
            stored = ledger.stored_answer(client, idempotency_key, body)
            if stored is not None:
                return _repeated(context, stored)
        rules, inputs = found.inputs(context)
        taken = answer(rules, inputs, found.row, secrets.token_hex(16))
        ledger.append(_entry(context, found, rules, inputs, taken, client, idempotency_key), body,
                      reservation_of(context, rules, found.row, inputs, taken))  # fmt: skip
    return taken


def _repeated(context: DecisionContext, stored: bytes) -> DecisionAnswer:
    taken = msgspec.json.decode(stored, type=DecisionAnswer)
    if context.rows.erasing(taken.customer_id):
        raise CustomerErased("this customer is being erased: do not carry the decision out, nor repeat it")
    return taken


def _require_due(context: DecisionContext, found: "_Found") -> None:
    """NotDue unless the customer fell due (`propensity due`), or is by what the scenario's rule reads now.

    A day of the year and a segment are read by `propensity due` alone.
    """
    name, at = found.request.scenario, context.settings.now()
    if name is None or context.known_due.is_due(name, found.customer_id, at):
        return
    scenario, n, why = context.scenarios[name], np.zeros(1), "`propensity due` tells who is"
    if scenario.anniversary is None and scenario.segment is None:
        known_at = from_us(found.rows.moments[0])
        days = np.array([(at - known_at) / DAY])
        said = context.standings.standing(found.told, found.published, found.rows.consents(0), known_at)
        row = with_complaints({f: np.array([value]) for f, value in found.row.items()}, [said])
        values = {f: aged(context.features.get(f), row.get(f, n + math.nan), days) for f in scenario.inputs}
        if scenario.holds(values, n, n)[0]:
            return
        if absent := [f for f in scenario.inputs if f not in row]:
            why = f"the published features lack {', '.join(absent)}, as its log had no such rows"
    raise NotDue(
        f"the customer is not due for scenario {name} now: {why}; a preview shows what would be decided"
    )


@dataclass(frozen=True)
class _Found:
    """What is known of a customer before the ledger is locked. What may bind later is read in `inputs`."""

    request: DecisionRequest
    candidates: tuple[str, ...] | None
    customer_id: str
    published: Published
    rows: Rows
    release: Release | None
    probability: float | None
    effects: Shown
    effects_model: Release | None  # where it shows any
    told: Told
    last: int  # number of the inbox's last event before `told` was read
    optouts: Shown
    lifetime: Lifetime
    value_model: Release | None

    @property
    def row(self) -> dict[str, float]:
        """Features by name."""
        return by_name(self.published.features, self.rows.matrix)

    def inputs(self, context: DecisionContext) -> tuple[Rules, Inputs]:
        """The rules, and all that a decision is taken from, as they are now."""
        settings, who, known_at = context.settings, self.customer_id, from_us(self.rows.moments[0])
        as_of = settings.now()
        if context.rows.erasing(who):  # since her features were read
            raise UnknownCustomer(GONE)
        rules = context.rules(as_of)
        policy, release, shown, request = rules.policy, self.release, self.effects_model, self.request
        since = as_of - longest(policy, [action.suppress_days for action in rules.actions]) * DAY
        told, inbox = self.told, context.standings.inbox
        if inbox.last() > self.last:  # her features were read before: what they have stays what it was
            told = Told(inbox.rows([who], TABLES), told.overlaid)
        day = as_of.astimezone(context.shop.zone).date()
        return rules, Inputs(
            customer_id=who,
            candidates=self.candidates,
            as_of=as_of,
            known_at=known_at,
            stale=as_of - known_at > settings.stale_after,
            order_probability=self.probability,
            order_model=None if release is None else f"{release.name}@{release.version}",
            seed=secrets.randbits(63),
            scenario=request.scenario,
            context=request.context,
            standing=context.standings.standing(told, self.published, self.rows.consents(0), known_at),
            effects=self.effects,
            effects_model=None if shown is None else f"{shown.name}@{shown.version}",
            optouts=self.optouts,
            lifetime=self.lifetime,
            held=context.ledger.held(who, since, as_of, seen(settings, self.published)),
            spent=context.ledger.spent(policy.budgets, day, as_of) if policy.budgets else (),
        )


def _look(context: DecisionContext, request: DecisionRequest, candidates: tuple[str, ...] | None) -> _Found:
    """Find the customer, the features, P(order) and what was shown of effects."""
    customer_id = _resolve(context, request.customer)
    last = context.standings.inbox.last()
    told = context.standings.told(customer_id or "")  # before her features: see `Standings.told`
    published, owners, rows = context.rows.followed([] if customer_id is None else [customer_id])
    if owners and owners[0] != customer_id:  # it became another customer's id: what binds her is asked anew
        return _look(context, msgspec.structs.replace(request, customer=owners[0]), candidates)
    answerable(published, context.settings, context.settings.now())
    if customer_id is None or rows.statuses[0] != PRESENT:
        raise UnknownCustomer(GONE)
    release, probability = order_model(context, context.shop.value_horizon_days), None
    if release is not None:
        probability = order_probability(release, rows.matrix, published.features)
    learnt, effects, optouts = effects_model(context), Shown(), Shown()
    if learnt is not None:
        actions, shop = tuple(context.actions.values()), context.shop
        of = published.features, actions, shop.value_horizon_days, shop.currency
        (effects,) = shown(learnt, rows.matrix, *of)
        (optouts,) = shown(learnt, rows.matrix, *of, OPT_OUT)
    worth = release_of(context.releases, context.shop)
    (lifetime,) = lifetimes(context.settings, context.shop, worth, published, [customer_id])
    return _Found(
        request,
        candidates,
        customer_id,
        published,
        rows,
        release,
        probability,
        effects,
        learnt if effects or optouts else None,
        told,
        last,
        optouts,
        lifetime,
        worth,
    )


def _entry(
    context: DecisionContext,
    found: _Found,
    rules: Rules,
    inputs: Inputs,
    taken: DecisionAnswer,
    client: str,
    key: str | None,
) -> Entry:
    """The decision as the ledger keeps it."""
    used = (found.release, found.effects_model, found.value_model)
    sealed = Sealed(
        customer_id=inputs.customer_id,
        row=found.rows.matrix[0].astype("<f4").tobytes(),
        inputs=msgspec.json.encode(inputs),
        answer=msgspec.json.encode(taken),
    )
    return msgspec.structs.replace(
        entry_of(context, rules, inputs, taken, client, key, sealed),
        features=msgspec.json.encode(dict(found.published.features)),
        build=found.published.id,
        releases=(*((of.name, of.version) for of in used if of is not None), *rules.released),
        seed=inputs.seed,
    )


def entry_of(
    context: DecisionContext,
    rules: Rules,
    inputs: Inputs,
    taken: DecisionAnswer,
    client: str,
    key: str | None,
    sealed: Sealed,
) -> Entry:
    """What was decided and until when what comes of it counts, without what it was decided from."""
    assert taken.decision_id is not None
    ends = inputs.as_of + rules.horizon_days * DAY
    return Entry(
        id=taken.decision_id,
        follows=inputs.follows,
        client=client,
        idempotency_key=key,
        as_of=inputs.as_of,
        action=taken.action,
        channel=taken.channel,
        propensity=taken.propensity,
        explored=taken.explore,
        holdout=taken.holdout,
        reserves=is_marketing(context, taken),
        policy=taken.policy,
        context=context.encoded(rules),
        features=b"{}",
        build="",
        releases=(),
        seed=0,
        sealed=sealed,
        scenario=inputs.scenario,
        cost=_chosen(rules, taken).cost,
        window_end=ends,
        matures_at=ends + context.shop.grace_days * DAY,
    )


def reservation_of(
    context: DecisionContext, rules: Rules, row: Mapping[str, float], inputs: Inputs, taken: DecisionAnswer
) -> Reservation | None:
    """What it holds: the contact, from when it is to be sent, and what it is expected to cost."""
    if not is_marketing(context, taken):
        return None
    assert taken.send_at is not None
    until, chosen = taken.reserved_until, _chosen(rules, taken)
    day = inputs.as_of.astimezone(context.shop.zone).date()
    return Reservation(
        parse_moment(taken.send_at),
        None if until is None else parse_moment(until),
        day,
        inputs.scenario or "",
        chosen.cost,
        chosen.steps,
        night_of(rules, row, chosen.purpose),
    )


def _chosen(rules: Rules, taken: DecisionAnswer) -> Action:
    return next(action for action in rules.actions if action.name == taken.action)


def is_marketing(context: DecisionContext, taken: DecisionAnswer) -> bool:
    """Whether what was decided is a marketing contact."""
    return taken.action != NOTHING.name and context.actions[taken.action].purpose == "marketing"


def order_model(context: DecisionContext, horizon_days: int) -> Release | None:
    """What P(order) comes from; None if nothing of that horizon was released."""
    return context.releases.find(f"churn_{horizon_days}d")


def effects_model(context: DecisionContext) -> Release | None:
    """What effects come from, in place of assumptions; None if nothing was released."""
    return context.releases.find(KIND)


def order_probabilities(
    release: Release, matrix: np.ndarray[Any, np.dtype[np.float32]], features: Mapping[str, str]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Of rows [n, features]; NaN outside the model's population: it was not trained on anybody like them."""
    columns = columns_of(release, features, "in force")
    found = np.full(len(matrix), math.nan)
    members = members_of(release, matrix, features)
    if not members.any():
        return found
    scores = release.classifier.score(np.ascontiguousarray(matrix[members][:, columns]))
    if not np.isfinite(scores).all():
        raise ReleaseError(
            f"release {release.name} {release.version} gave no finite score: promote another version"
        )
    found[members] = 1.0 - scores if release.model.card.target.label == "no_order" else scores
    return found


def order_probability(
    release: Release, matrix: np.ndarray[Any, np.dtype[np.float32]], features: Mapping[str, str]
) -> float | None:
    """As `order_probabilities`, of one row [1, features]; None outside the population."""
    found = float(order_probabilities(release, matrix, features)[0])
    return None if math.isnan(found) else found


def candidates_of(context: DecisionContext, request: DecisionRequest) -> tuple[str, ...] | None:
    """What may be chosen beside "nothing": of the scenario's actions, if one is named, those asked about.

    UsageError for a scenario or candidate that is none.
    """
    allowed = tuple(context.actions)
    if request.scenario is not None:
        if request.scenario not in context.scenarios:
            known = ", ".join(context.scenarios)
            raise UsageError(
                f"$.scenario: expected one of {known}"
                if known
                else "$.scenario: the shop declares none (SCENARIOS in shop.py)"
            )
        allowed = ("nothing", *context.scenarios[request.scenario].actions)
    for place, name in enumerate(request.candidates or ()):
        if name not in allowed:
            of = "" if request.scenario is None else f", the actions of scenario {request.scenario}"
            raise UsageError(f"$.candidates[{place}]: expected one of {', '.join(allowed)}{of}")
    if request.candidates is not None:
        return tuple(request.candidates)
    return general_actions(context) if request.scenario is None else allowed


def general_actions(context: DecisionContext) -> tuple[str, ...] | None:
    """What may be chosen where no scenario is named: actions of scenarios wait for theirs. None: all may."""
    of_scenarios = {name for scenario in context.scenarios.values() for name in scenario.actions}
    return tuple(name for name in context.actions if name not in of_scenarios) if of_scenarios else None


def _resolve(context: DecisionContext, customer: Customer) -> str | None:
    if isinstance(customer, str):
        return customer
    found = context.rows.resolve([(customer.source, customer.id)])[0]
    return found or context.standings.inbox.resolve(customer.source, customer.id)


def by_name(features: Mapping[str, str], matrix: np.ndarray[Any, np.dtype[np.float32]]) -> dict[str, float]:
    """A row [1, features] by the names of its features."""
    return dict(zip(features, matrix[0].tolist(), strict=True))
