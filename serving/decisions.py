"""Take one customer's next best action, record it in the ledger, and replay it from the record.

Features and models come from what is published and released now; `answers.answer` does the rest. P(order)
comes from the released model churn_<horizon>d, where horizon is the shop's value horizon. The log holds no
decision of this ledger, so the contacts of both add up and nothing counts twice.
"""

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec import Struct

from features.definitions import WINDOWS
from features.definitions import catalogue as feature_catalogue
from features.errors import ReleaseError, SettingsError, UnknownCustomer, UsageError
from features.moments import DAY, from_us
from features.online import PRESENT, OnlineRows
from features.settings import Settings
from features.shop import Policy, Shop, shop_of
from serving import evidence
from serving.actions import Action, catalogue, require_features
from serving.answers import DecisionAnswer, Inputs, Rules, answer
from serving.api import Customer, DecisionRequest
from serving.effects import KIND
from serving.ledger import Entry, Ledger, Reserved, Sealed
from serving.prices import in_force
from serving.releases import Release, Releases, load, names
from serving.scenarios import Scenario
from serving.scenarios import catalogue as scenario_catalogue
from serving.scores import answerable, columns_of, members_of
from serving.standing import Standings


class Replay(Struct, frozen=True):
    """differences: where the record and the recomputation differ, each with both values."""

    decision_id: str
    verdict: Literal["equal", "differs", "erased"]
    differences: list[str]


@dataclass(frozen=True)
class DecisionContext:
    """What decisions are taken with; open it once."""

    settings: Settings
    shop: Shop
    actions: Mapping[str, Action]
    rows: OnlineRows
    releases: Releases
    ledger: Ledger
    standings: Standings
    scenarios: Mapping[str, Scenario]

    @classmethod
    def open(cls, settings: Settings) -> "DecisionContext":
        """Everything from the settings. SettingsError for an action that cannot be used as it is declared."""
        shop = shop_of(settings)
        actions = catalogue(shop.declared("ACTIONS"))
        features = feature_catalogue(shop.declared("FEATURES"))
        require_features(actions.values(), features)
        scenarios = scenario_catalogue(shop.declared("SCENARIOS"), actions, features)
        rows, releases = OnlineRows.open(settings), Releases(settings)
        return cls(settings, shop, actions, rows, releases, Ledger(settings), Standings(settings), scenarios)

    def rules(self, at: datetime) -> Rules:
        """The rules in force. SettingsError if the policy counts contacts over days that no feature has."""
        shop, policy = self.shop, self.shop.policy(at)
        problem = _problem(shop, policy)
        if problem is not None:
            raise SettingsError(problem)
        channels = sorted({channel for a in self.actions.values() for channel in a.channels})
        consent = {channel: shop.consent_default.get(channel, False) for channel in channels}
        actions = tuple(self.actions.values())
        return Rules(
            policy,
            actions,
            consent,
            shop.margin_rate,
            shop.value_horizon_days,
            shop.currency,
            in_force(self.settings, at),
        )


def problems_of(shop: Shop) -> list[str]:
    """What would stop decisions under a policy of the shop, in force or still to come; empty if nothing."""
    return [problem for policy in shop.policies if (problem := _problem(shop, policy)) is not None]


def _problem(shop: Shop, policy: Policy) -> str | None:
    if policy.per_days in WINDOWS:
        return None
    return (
        f"{shop.folder / 'shop.toml'}: the policy from {policy.version} counts contacts per "
        f"{policy.per_days} days: expected one of the features' windows, {', '.join(map(str, WINDOWS))}"
    )


def take_decision(
    context: DecisionContext, request: DecisionRequest, *, client: str, idempotency_key: str | None = None
) -> DecisionAnswer:
    """Decide, and record it with its contact reserved; a preview records and reserves nothing.

    The same key with the same request gives the stored answer, whatever has changed since; another request
    under it raises IdempotencyConflict, and CustomerErased once that customer is erased.
    Raises UnknownCustomer, FeaturesExpired, UsageError for a scenario or a candidate that is none, NoBuild,
    FeatureMismatch or ReleaseCorrupt of the model, DecisionError if the ledger cannot be written.
    """
    body = msgspec.json.encode(request, order="deterministic")  # a context in another order is the same
    ledger = context.ledger
    if idempotency_key is not None and not request.preview:
        stored = ledger.stored_answer(client, idempotency_key, body)
        if stored is not None:
            return msgspec.json.decode(stored, type=DecisionAnswer)

    settings, as_of = context.settings, context.settings.now()
    candidates = _candidates(context, request)
    rules = context.rules(as_of)
    customer_id = _resolve(context, request.customer)
    told = context.standings.told(customer_id or "")
    published, rows = context.rows.latest([] if customer_id is None else [customer_id])
    answerable(published, settings, as_of)
    if customer_id is None or rows.status[0] != PRESENT:
        raise UnknownCustomer(
            "no such customer in the published features: check the id; a new customer is known from the "
            "first event, or from the next build on"
        )
    window = rules.policy.per_days * DAY
    matrix, known_at = rows.matrix, from_us(rows.known_at[0])
    release, probability = order_model(context, rules.horizon_days), None
    if release is not None:
        probability = _order_probability(release, matrix, published.features)
    found = Inputs(
        customer_id=customer_id,
        candidates=candidates,
        as_of=as_of,
        known_at=known_at,
        stale=as_of - known_at > settings.stale_after,
        order_probability=probability,
        order_model=None if release is None else f"{release.name}@{release.version}",
        contacts_decided=0,
        last_decided=None,
        seed=secrets.randbits(63),
        scenario=request.scenario,
        context=request.context,
        standing=context.standings.standing(told, published, rows.consents(0), as_of, window),
    )
    shown = effects_model(context)
    if shown is not None:
        (effects,) = evidence.shown(shown, matrix, published.features, rules.actions, rules.horizon_days)
        if effects:
            model = f"{shown.name}@{shown.version}"
            found = msgspec.structs.replace(found, effects=effects, effects_model=model)
    used = [of for of in (release, shown if found.effects else None) if of is not None]
    row = _by_name(published.features, matrix)

    if request.preview:
        return answer(rules, _with(found, ledger.reserved(customer_id, as_of - window)), row, None)
    with ledger.deciding():
        if idempotency_key is not None:  # another worker may have answered it since
            stored = ledger.stored_answer(client, idempotency_key, body)
            if stored is not None:
                return msgspec.json.decode(stored, type=DecisionAnswer)
        inputs = _with(found, ledger.reserved(customer_id, as_of - window))
        taken = answer(rules, inputs, row, secrets.token_hex(16))
        assert taken.decision_id is not None
        chosen = context.actions[taken.action]
        entry = Entry(
            id=taken.decision_id,
            client=client,
            idempotency_key=idempotency_key,
            as_of=as_of,
            action=taken.action,
            channel=taken.channel,
            propensity=taken.propensity,
            explored=taken.explore,
            holdout=taken.holdout,
            reserves=len(chosen.steps) if chosen.purpose == "marketing" else 0,
            policy=rules.policy.version,
            context=msgspec.json.encode(rules),
            features=msgspec.json.encode(dict(published.features)),
            build=published.id,
            releases=tuple((of.name, of.version) for of in used),
            seed=inputs.seed,
            sealed=Sealed(
                customer_id=customer_id,
                row=matrix[0].astype("<f4").tobytes(),
                inputs=msgspec.json.encode(inputs),
                answer=msgspec.json.encode(taken),
            ),
        )
        ledger.append(entry, body)
    return taken


def replay(settings: Settings, decision_id: str) -> Replay:
    """Take a recorded decision again from its record: the rules, features, release and seed that it names.

    DecisionError if there is no such decision or its record is damaged. A release that is gone or refused is
    a difference: the decision can then no longer be derived.
    """
    ledger = Ledger(settings)
    try:
        entry = ledger.read(decision_id)
    finally:
        ledger.close()
    if entry.sealed is None:
        return Replay(decision_id, "erased", [])
    features = msgspec.json.decode(entry.features, type=dict[str, str])
    matrix = np.frombuffer(entry.sealed.row, dtype="<f4").astype(np.float32)[None, :]
    inputs = msgspec.json.decode(entry.sealed.inputs, type=Inputs)
    rules = msgspec.json.decode(entry.context, type=Rules)
    differences: list[str] = []
    try:
        probability, effects = None, evidence.Shown()
        for name, version in entry.releases:
            release = load(settings, name, version)
            if name == KIND:
                (effects,) = evidence.shown(release, matrix, features, rules.actions, rules.horizon_days)
            else:
                probability = _order_probability(release, matrix, features)
    except ReleaseError as error:
        differences.append(str(error))
    else:
        inputs = msgspec.structs.replace(inputs, order_probability=probability, effects=effects)
    again = answer(rules, inputs, _by_name(features, matrix), decision_id)
    # Through the type, so that a field younger than the record is no difference.
    recorded = msgspec.json.decode(entry.sealed.answer, type=DecisionAnswer)
    differences += _differences(msgspec.to_builtins(recorded), msgspec.to_builtins(again), "$")
    return Replay(decision_id, "differs" if differences else "equal", differences)


def order_model(context: DecisionContext, horizon_days: int) -> Release | None:
    """What P(order) comes from; None if nothing of that horizon was released."""
    name = f"churn_{horizon_days}d"
    return context.releases.get(name) if name in names(context.settings) else None


def effects_model(context: DecisionContext) -> Release | None:
    """What effects come from, in place of assumptions; None if nothing was released."""
    return context.releases.get(KIND) if KIND in names(context.settings) else None


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


def _order_probability(
    release: Release, matrix: np.ndarray[Any, np.dtype[np.float32]], features: Mapping[str, str]
) -> float | None:
    found = float(order_probabilities(release, matrix, features)[0])
    return None if math.isnan(found) else found


def _candidates(context: DecisionContext, request: DecisionRequest) -> tuple[str, ...] | None:
    """What may be chosen beside "nothing": of the scenario's actions, if one is named, those asked about."""
    allowed = tuple(context.actions)
    if request.scenario is not None:
        if request.scenario not in context.scenarios:
            known = ", ".join(context.scenarios)
            raise UsageError(
                f"$.scenario: expected one of {known}" if known else "$.scenario: none is declared"
            )
        allowed = ("nothing", *context.scenarios[request.scenario].actions)
    for place, name in enumerate(request.candidates or ()):
        if name not in allowed:
            of = "" if request.scenario is None else f", the actions of scenario {request.scenario}"
            raise UsageError(f"$.candidates[{place}]: expected one of {', '.join(allowed)}{of}")
    if request.candidates is not None:
        return tuple(request.candidates)
    return None if request.scenario is None else allowed


def _resolve(context: DecisionContext, customer: Customer) -> str | None:
    if isinstance(customer, str):
        return customer
    found = context.rows.resolve([(customer.source, customer.id)])[0]
    return found or context.standings.inbox.resolve(customer.source, customer.id)


def _with(inputs: Inputs, reserved: Reserved) -> Inputs:
    return msgspec.structs.replace(inputs, contacts_decided=reserved.count, last_decided=reserved.last)


def _by_name(features: Mapping[str, str], matrix: np.ndarray[Any, np.dtype[np.float32]]) -> dict[str, float]:
    return dict(zip(features, matrix[0].tolist(), strict=True))


def _differences(recorded: Any, again: Any, path: str) -> list[str]:
    if isinstance(recorded, dict) and isinstance(again, dict) and recorded.keys() == again.keys():
        return [d for key in recorded for d in _differences(recorded[key], again[key], f"{path}.{key}")]
    if isinstance(recorded, list | tuple) and isinstance(again, list | tuple) and len(recorded) == len(again):
        pairs = enumerate(zip(recorded, again, strict=True))
        return [d for i, (a, b) in pairs for d in _differences(a, b, f"{path}[{i}]")]
    return [] if recorded == again else [f"{path}: recorded {recorded!r}, now {again!r}"]
