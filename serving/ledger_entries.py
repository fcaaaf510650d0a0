"""One decision as the ledger keeps it, and as it reads it back."""

from collections.abc import Mapping
from datetime import datetime, time
from typing import Any

import msgspec

from features.moments import from_us, to_us
from serving import sealing
from serving.sealing import Sealed
from serving.sending import Night

COLUMNS = (
    "id", "pseudonym", "client", "idempotency_key", "request", "as_of", "action", "channel", "propensity",
    "explored", "holdout", "reserves", "policy", "context", "features", "build", "releases", "seed", "sealed",
    "scenario", "cost", "window_end", "matures_at", "unit", "follows",
)  # fmt: skip
AUDIENCE = "everyone\x1f"  # what stands for a customer in a decision about everyone
_TIMES = ("as_of", "window_end", "matures_at")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One decision as it is written and read back.

    context, features: encoded; kept once by hash. features: the names and hashes of `row`, in its order.
    reserves: it is a marketing contact. seed: 63 bits. releases: (name, version) that it was taken with.
    cost: expected, in shop currency. window_end: until when outcomes count; matures_at: from when on what
    was told of them is final. unit: "group" of a decision about one, which stands in the customer's place as
    `group_of` names it; "everyone" of a round, for which AUDIENCE does; None about a person. These
    five are None in what schema 1 recorded. follows: the decision, for a wider unit, of whose bundle this is
    a part: drawn there, and not here.
    """

    id: str
    client: str
    idempotency_key: str | None
    as_of: datetime
    action: str
    channel: str | None
    propensity: float
    explored: bool
    holdout: bool
    reserves: int
    policy: str
    context: bytes
    features: bytes
    build: str
    releases: tuple[tuple[str, str], ...]
    seed: int
    sealed: Sealed | None  # None: the customer was erased
    scenario: str | None = None
    cost: float | None = None
    window_end: datetime | None = None
    matures_at: datetime | None = None
    unit: str | None = None
    follows: str | None = None


def values_of(
    entry: Entry, request: bytes, pseudonym: str, key: bytes, context: str, features: str
) -> tuple[object, ...]:
    """What is written of it, in the order of COLUMNS. context, features: their hashes."""
    of = {name: getattr(entry, name, None) for name in COLUMNS} | {
        "pseudonym": pseudonym,
        "request": sealing.digest(key, request),
        **{name: _us(getattr(entry, name)) for name in _TIMES},
        "context": context,
        "features": features,
        "releases": msgspec.json.encode(entry.releases),
        "sealed": sealing.seal(key, entry.id, msgspec.msgpack.encode(entry.sealed)),
    }
    return tuple(int(value) if isinstance(value, bool) else value for value in of.values())


def entry_of(of: dict[str, Any], key: bytes | None, bodies: Mapping[str, bytes]) -> Entry:
    """What a row says, by column; bodies: of contexts, by hash. key: the customer's, None once erased."""
    plain = None if key is None else sealing.seal(key, of["id"], of["sealed"])
    del of["request"], of["pseudonym"]
    of |= {name: None if of[name] is None else from_us(of[name]) for name in _TIMES}
    of["context"], of["features"] = bodies[of["context"]], bodies[of["features"]]
    of["releases"] = msgspec.json.decode(of["releases"])
    of["sealed"] = None if plain is None else msgspec.msgpack.decode(plain, type=Sealed)
    return msgspec.convert(of, Entry, strict=False)  # not strict: SQLite has no truth values


def group_of(id: str) -> str:
    """What stands for a customer in a decision about a group."""
    return f"group\x1f{id}"


def night_of(entry: Entry) -> Night:
    """The quiet hours that its marketing keeps to, as it was decided; none where it does not tell."""
    if entry.sealed is None:
        return Night()
    rules = msgspec.json.decode(entry.context, type=_Rules)
    used = msgspec.json.decode(entry.sealed.answer, type=_Answer).used
    send = rules.policy.send
    return Night(used.zone or rules.zone, None if send is None else send.quiet)


def _us(moment: datetime | None) -> int | None:
    return None if moment is None else to_us(moment)


class _Send(msgspec.Struct, frozen=True):
    quiet: tuple[time, time] | None = None


class _Policy(msgspec.Struct, frozen=True):
    send: _Send | None = None


class _Rules(msgspec.Struct, frozen=True):
    policy: _Policy = _Policy()
    zone: str = "UTC"


class _Used(msgspec.Struct, frozen=True):
    zone: str | None = None


class _Answer(msgspec.Struct, frozen=True):
    used: _Used = _Used()
