"""Decisions of the ledger as arrays: what was known, what could have been done and was, what came of it.

Outcomes come from one place for all decisions alike, whatever was done:

    log        orders and withdrawn consents of the customer log within the decision's window, once the log is
               complete until it matured
    reported   what `POST /v1/outcomes` told by decision id, final once the decision matured

`logged_outcomes` says which, and why.

margin: orders less refunds, times the shop's margin rate, before the costs of actions. retention: 1 with an
order. opt_out, complaint: 1 with one; absent if nobody ever told of any. What is not final is NaN, and never
a zero.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
import numpy as np

from features.errors import NotEnoughData, UsageError
from features.moments import from_us, to_us
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from serving.booster import Rows
from serving.ledger import Entry, Ledger, exists
from serving.ledger_reports import Uncounted
from serving.reservations import Went
from training.logged_outcomes import From, Windows, take
from training.uplift_learners import Bools, Ints, Numbers

SENT, UNTOLD, FREED = 1, 0, -1  # whether a delivery says that the contact happened, nobody says, or that not


@dataclass(frozen=True)
class Logged:
    """n decisions, the first first. actions[0] is "nothing".

    matrix: float32 [n, F], as recorded. action: place in actions [n]. chances: with which each action was to
    be chosen [n, A]; 0: not eligible. cost: of what was sent; where nobody tells, of what was decided.
    customer: [n], equal for one customer. as_of, window_end, matures_at: microseconds [n]. delivery: SENT,
    UNTOLD or FREED [n]. outcomes: name -> [n], NaN where not final; from `source`. erased, damaged: how many
    more there were. owed: names of the actions that are for service. sales: orders less refunds [n], before
    the margin rate, which may be 0; None: as margin. uncounted: orders that were told and count for nothing.
    further: by id, the channels of the messages of a bundle that were sent after its first.
    why: where outcomes come from, beside what else there is; lacking: that it lacks many of them.
    explored: which were drawn by lot, whatever came out [n]; None: all in which anything could be.
    """

    ids: tuple[str, ...]
    matrix: Rows
    features: Mapping[str, str]
    actions: tuple[str, ...]
    channels: Mapping[str, str | None]
    action: Ints
    chances: Numbers
    cost: Numbers
    customer: Ints
    as_of: Ints
    window_end: Ints
    matures_at: Ints
    delivery: Ints
    scenario: tuple[str, ...]
    holdout: Bools
    outcomes: Mapping[str, Numbers]
    source: From
    erased: int = 0
    damaged: int = 0
    builds: tuple[str, ...] = field(default=(), repr=False)
    owed: frozenset[str] = frozenset()
    sales: Numbers | None = field(default=None, repr=False)
    uncounted: Uncounted = Uncounted()
    further: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    why: Words | None = None
    lacking: Words | None = None
    explored: Bools | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def given(self) -> Numbers:
        """The chance of what was done, [n]."""
        return self.chances[np.arange(len(self)), self.action]

    @property
    def ordered(self) -> Numbers:
        """1 with an order of which something is left, [n]: what was taken back whole is no success."""
        left = self.outcomes["margin"] if self.sales is None else self.sales
        return np.where(left == 0, 0.0, self.outcomes["retention"])

    @property
    def service(self) -> Bools:
        """Which actions are for service, [A]: they are owed, and no marketing."""
        return np.array([name in self.owed for name in self.actions], np.bool_)

    @property
    def mature(self) -> Bools:
        """Whose margin is final, [n]."""
        return np.isfinite(self.outcomes["margin"])

    def part(self, rows: Bools) -> "Logged":
        """Some of them."""
        arrays = {n: v[rows] for n, v in vars(self).items() if isinstance(v, np.ndarray)}
        texts = {
            n: tuple(v for v, keep in zip(getattr(self, n), rows, strict=True) if keep)
            for n in ("ids", "scenario", "builds")
        }
        outcomes = {name: y[rows] for name, y in self.outcomes.items()}
        return Logged(**{**vars(self), **arrays, **texts, "outcomes": outcomes})


class _Candidate(msgspec.Struct):
    action: str
    propensity: float


class _Answer(msgspec.Struct):
    actions: list[_Candidate]


class _Declared(msgspec.Struct):
    name: str
    goal_kind: str = "margin"


class _Rules(msgspec.Struct):
    """What of the rules of a decision is read here; older ones lack some."""

    actions: list[_Declared] = []


_decoder = msgspec.json.Decoder(_Answer)
_DELIVERY = {True: SENT, None: UNTOLD, False: FREED}


def read(settings: Settings, source: From | None = None) -> Logged:
    """Every decision of the ledger that can be read, as known now.

    source: where outcomes come from; by default as `logged_outcomes` says. UsageError if there is no ledger,
    NotEnoughData if it has no decision of anybody who was not erased.
    """
    if not exists(settings):
        raise UsageError(f"there is no ledger in {settings.home}: `propensity decide` begins one")
    now = to_us(settings.now())
    known, said, erased = [], [], 0
    with closing(Ledger(settings)) as ledger:
        for one in ledger.entries():
            if one.sealed is None:
                erased += 1
            elif to_us(one.as_of) <= now:
                said.append({of.action: of.propensity for of in _decoder.decode(one.sealed.answer).actions})
                sealed = msgspec.structs.replace(one.sealed, answer=b"", inputs=b"")  # most of its bytes
                known.append(msgspec.structs.replace(one, sealed=sealed))
        reported, sent, late = ledger.outcomes(), ledger.delivered(), ledger.uncounted()
        went = ledger.went()
        damaged = len(ledger.damaged())
    if not known:
        raise NotEnoughData("the ledger has no decision to learn from: decide, and tell what came of it")
    ids = tuple(one.id for one in known)
    customers = [one.sealed.customer_id for one in known if one.sealed]
    codes = np.unique(np.array(customers), return_inverse=True)[1].astype(np.int64)
    as_of = np.array([to_us(one.as_of) for one in known], np.int64)
    spans = [_span(one) for one in known]
    window_end, matures = (np.array(of, np.int64) for of in zip(*spans, strict=True))
    rate = shop_of(settings).margin_rate
    held = np.array([one.holdout for one in known], np.bool_)
    taken = take(settings, Windows(ids, customers, as_of, window_end, matures, held), reported, source)
    outcomes = taken.outcomes
    sales = outcomes["margin"]
    outcomes["margin"] = sales * rate
    features, matrix = _matrix(known)
    actions, channels, action, chances = _actions(known, said)
    return Logged(
        ids, matrix, features, actions, channels, action, chances,
        np.array([_cost(one, sent.get(one.id), went.get(one.id)) for one in known]), codes, as_of,
        window_end, matures, np.array([_DELIVERY[sent.get(one.id)] for one in known], np.int64),
        tuple(one.scenario or "" for one in known), held, outcomes, taken.source, erased, damaged,
        tuple(one.build for one in known), _owed(known), sales, late,
        {id: of.channels[1:] for id, of in went.items() if len(of.channels) > 1}, taken.why, taken.lacking,
        np.array([one.explored for one in known], np.bool_),
    )  # fmt: skip


def _cost(one: Entry, sent: bool | None, went: Went | None) -> float:
    if sent is False or one.cost is None:
        return 0.0
    return went.cost if sent and went is not None else one.cost


def _span(one: Entry) -> tuple[int, int]:
    assert one.window_end is not None
    assert one.matures_at is not None
    return to_us(one.window_end), to_us(one.matures_at)


def _matrix(known: Sequence[Entry]) -> tuple[dict[str, str], Rows]:
    """Features that all decisions have by the same definition, in the order of the last one's."""
    named = {one.features: msgspec.json.decode(one.features, type=dict[str, str]) for one in known}
    common = set.intersection(*(set(of.items()) for of in named.values()))
    features = {n: h for n, h in named[known[-1].features].items() if (n, h) in common}
    places = {body: [list(of).index(n) for n in features] for body, of in named.items()}
    matrix = np.empty((len(known), len(features)), np.float32)
    for row, one in enumerate(known):
        assert one.sealed is not None
        matrix[row] = np.frombuffer(one.sealed.row, "<f4")[places[one.features]]
    return features, matrix


def _actions(
    known: Sequence[Entry], said: Sequence[Mapping[str, float]]
) -> tuple[tuple[str, ...], dict[str, str | None], Ints, Numbers]:
    names = list(dict.fromkeys(name for of in said for name in of))
    actions = ("nothing", *sorted(name for name in names if name != "nothing"))
    channels: dict[str, str | None] = {one.action: one.channel for one in known}
    place = {name: j for j, name in enumerate(actions)}
    chances = np.zeros((len(known), len(actions)))
    for row, of in enumerate(said):
        for name, chance in of.items():
            chances[row, place[name]] = chance
    action = np.array([place[one.action] for one in known], np.int64)
    chances[np.arange(len(known)), action] = [one.propensity for one in known]
    return actions, channels, action, chances


def _owed(known: Sequence[Entry]) -> frozenset[str]:
    """Actions that are for service, as they were declared last."""
    kinds = {
        of.name: of.goal_kind
        for rules in dict.fromkeys(one.context for one in known)
        for of in msgspec.json.decode(rules, type=_Rules).actions
    }
    return frozenset(name for name, kind in kinds.items() if kind == "service")


def moment(us: np.int64) -> datetime:
    """A time of these arrays."""
    return from_us(int(us))
