"""Take a recorded decision again, from its record alone, and compare."""

from datetime import datetime
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec import Struct

from features.errors import ReleaseError
from features.settings import Settings
from serving import groups, prices, rulebook
from serving.actions import NOTHING
from serving.answers import answer
from serving.decisions import by_name, order_probability
from serving.effects import KIND
from serving.evidence import OPT_OUT, Shown, shown
from serving.kinds import STATED
from serving.ledger import Entry, Ledger
from serving.releases import load
from serving.rulebook import Rulebook
from serving.sealing import Sealed
from serving.situation import Inputs, Rules
from serving.value import KIND as VALUE


class Replay(Struct, frozen=True):
    """differences: where the record and the recomputation differ, each with both values."""

    decision_id: str
    verdict: Literal["equal", "differs", "erased"]
    differences: list[str]


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
    if entry.unit is not None:
        return _replay_of_group(settings, entry, entry.sealed)
    features = msgspec.json.decode(entry.features, type=dict[str, str])
    matrix = np.frombuffer(entry.sealed.row, dtype="<f4").astype(np.float32)[None, :]
    inputs = msgspec.json.decode(entry.sealed.inputs, type=Inputs)
    rules = msgspec.json.decode(entry.context, type=Rules)
    differences: list[str] = []
    try:
        rules, differences = _released(settings, entry, rules, inputs.as_of)
        probability, effects, optouts = None, Shown(), Shown()
        for name, version in entry.releases:
            if name in STATED:
                continue
            release = load(settings, name, version)
            if name == VALUE:  # it reads the log of that day: the record has what it said
                continue
            if name == KIND:
                of = release, matrix, features, rules.actions, rules.horizon_days, rules.currency
                (effects,), (optouts,) = shown(*of), shown(*of, OPT_OUT)
            else:
                probability = order_probability(release, matrix, features)
    except ReleaseError as error:
        differences.append(str(error))
    else:
        again = {"order_probability": probability, "effects": effects, "optouts": optouts}
        inputs = msgspec.structs.replace(inputs, **again)
    taken = answer(rules, inputs, by_name(features, matrix), decision_id)
    differences += _differences(msgspec.json.decode(entry.sealed.answer), msgspec.to_builtins(taken), "$")
    return Replay(decision_id, "differs" if differences else "equal", differences)


def _replay_of_group(settings: Settings, entry: Entry, sealed: Sealed) -> Replay:
    """A group's, or everyone's: from its members' totals as they were recorded: no member's data is."""
    inputs = msgspec.json.decode(sealed.inputs, type=groups.GroupInputs)
    rules, differences = msgspec.json.decode(entry.context, type=Rules), list[str]()
    try:
        rules, differences = _released(settings, entry, rules, inputs.as_of)
    except ReleaseError as error:
        differences.append(str(error))
    again = groups.answer(rules, inputs, entry.id)
    differences += _differences(msgspec.json.decode(sealed.answer), msgspec.to_builtins(again), "$")
    return Replay(entry.id, "differs" if differences else "equal", differences)


def _released(settings: Settings, entry: Entry, rules: Rules, at: datetime) -> tuple[Rules, list[str]]:
    """The rules with the prices that the record names, and where the policy that it names is another.

    A policy that nobody released (#) is in the record alone.
    """
    differences: list[str] = []
    for name, version in entry.releases:
        if name not in STATED or version.startswith("#"):
            continue
        release = load(settings, name, version)
        if name == prices.KIND:
            rules = msgspec.structs.replace(rules, prices=prices.charged(release, at))
        else:
            differences += _undeclared(rulebook.book_of(release), rules)
    return rules, differences


def _undeclared(book: Rulebook, rules: Rules) -> list[str]:
    """Where the record was taken under something else than the release that it names."""
    wrong = [] if rules.policy in book.policies else [f"policy of {rules.policy.version}"]
    parts = [(NOTHING, part) for action in book.actions for part in action.parts if part.part_of is not None]
    wrong += [] if rules.actions in (book.actions, *parts) else ["catalogue of actions"]
    return [f"$.used.policy_release: that release has another {what} than the record" for what in wrong]


def _differences(recorded: Any, again: Any, path: str) -> list[str]:
    if isinstance(recorded, dict) and isinstance(again, dict) and recorded.keys() <= again.keys():
        # A field younger than the record is no difference, nor are better words for the same decision.
        keys = [key for key in recorded if key != "text" and not key.endswith("_text")]
        if "commonest" not in (recorded.get("binding_constraint") or {}):  # it named what could never be
            keys = [key for key in keys if key != "binding_constraint"]
        if recorded.get("action") == NOTHING.name:  # older ones asked a person about doing nothing
            keys = [key for key in keys if key != "route"]
        if recorded.get("propensity", 0.0) > 1 - 1e-9:  # older ones called a draw from one choice explored
            keys = [key for key in keys if key not in ("explore", "explored")]
        return [d for key in keys for d in _differences(recorded[key], again[key], f"{path}.{key}")]
    if isinstance(recorded, list | tuple) and isinstance(again, list | tuple) and len(recorded) == len(again):
        pairs = enumerate(zip(recorded, again, strict=True))
        return [d for i, (a, b) in pairs for d in _differences(a, b, f"{path}[{i}]")]
    return [] if recorded == again else [f"{path}: recorded {recorded!r}, now {again!r}"]
