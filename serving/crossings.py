"""What changed of whom since it was last told: warnings, segments and stages, compared with the outbox.

What is told rests on its basis: the rule, and what the figures come from (a feature's declaration, a model's
version). When the basis changes (a promotion, another rule) the same customer is suddenly called otherwise
without having done anything. Then the baseline is taken anew: nobody is told of what the new basis alone
changed, one event says that it did. If the models in force have scored the moment that was told last, as a
promotion has them do, the new baseline is of that moment, and what happened since is told as always.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.moments import iso
from features.words import Words
from serving.cloudevents import Event
from serving.figures import LABELS, Figures
from serving.outbox import Settled, Told
from serving.segment_tables import STAGES
from serving.segments import DeclaredSegment
from serving.watches import Watch

_MEMBER = np.array([None, "in"], object)
_STAGE = next(name for name, (table, _) in LABELS.items() if table == "stage")
_WORDS = {label.name: label.words for label in STAGES.labels}


@dataclass(frozen=True)
class Followed:
    """Something that is followed: a watch, a segment, or the stages of the segmentation (`of` is None)."""

    of: Watch | DeclaredSegment | None

    @property
    def kind(self) -> str:
        """As hooks name it."""
        return "stage" if self.of is None else "warning" if isinstance(self.of, Watch) else "segment"

    @property
    def name(self) -> str:
        """Its name among its kind."""
        return "stage" if self.of is None else self.of.name

    @property
    def thing(self) -> str:
        """Its name among all."""
        return f"{self.kind}.{self.name}"

    @property
    def inputs(self) -> tuple[str, ...]:
        """What it reads, of figures."""
        return (_STAGE,) if self.of is None else self.of.inputs

    def basis(self, figures: Figures) -> str:
        """What its states rest on."""
        origins = "; ".join(dict.fromkeys(figures.origin(name) for name in self.inputs))
        if isinstance(self.of, Watch):
            return f"{self.of.figure} from {self.of.enters:g} until {self.of.leaves:g}, by {origins}"
        return f"{self.of.when} | {self.of.stays}, by {origins}" if self.of else f"by {origins}"

    def states(self, figures: Figures, told: Mapping[str, str]) -> "States":
        """Everybody's state at the moment of the figures, after what was told."""
        if self.of is None:
            ids, labels = figures.labels("stage")
            return States(ids, labels)
        ids, values = figures.read(self.inputs)
        members = np.fromiter((id in told for id in ids), np.bool_, len(ids))
        if isinstance(self.of, Watch):
            figure = values[self.of.figure]
            return States(ids, _MEMBER[self.of.holds(figure, members).astype(np.intp)], figure)
        return States(ids, _MEMBER[self.of.holds(values, len(ids), members).astype(np.intp)])

    def data(self, before: str | None, after: str | None, figure: float, figures: Figures) -> dict[str, Any]:
        """What an event says of a change."""
        as_of = {"as_of": iso(figures.moment)}
        if self.of is None:
            told = {"from": _label(before), "to": _label(after), "by": figures.origin(_STAGE)}
            return told | as_of
        said: dict[str, Any] = {self.kind: self.name, "words": self.of.words._asdict()}
        said["change"] = "left" if after is None else "entered"
        if isinstance(self.of, Watch):
            value = None if np.isnan(figure) else float(figure)
            said |= {"figure": self.of.figure, "value": value}
            said |= {"enters": self.of.enters, "leaves": self.of.leaves, "by": figures.origin(self.of.figure)}
        return said | as_of


@dataclass(frozen=True)
class States:
    """customers, ascending; the state of each or None, [n]; the figure that a watch read, [n]."""

    ids: list[str]
    state: NDArray[Any]
    figure: NDArray[np.float64] | None = None

    def differing(self, told: Mapping[str, str]) -> list[int]:
        """Places of whose state is another than was told."""
        return [
            place for place, (id, s) in enumerate(zip(self.ids, self.state, strict=True)) if told.get(id) != s
        ]

    @property
    def holders(self) -> int:
        """How many have a state."""
        return sum(state is not None for state in self.state)


@dataclass
class Change:
    """What became of one thing. anew: (basis before, or None; how many came to be called otherwise by the new
    one alone). ahead: it was told of a later moment already. entered, left: events of it."""

    followed: Followed
    holders: int = 0
    entered: int = 0
    left: int = 0
    anew: tuple[str | None, int] | None = None
    ahead: datetime | None = None
    settled: Settled | None = None
    events: list[Event] = field(default_factory=list)


def compare(followed: Followed, figures: Figures, told: Told | None) -> Change:
    """What changed of one thing since it was told. Writes nothing."""
    change, basis = Change(followed), followed.basis(figures)
    if told is not None and told.moment > figures.moment:
        change.ahead = told.moment
        return change
    base, before = _told_from(followed, figures, told, basis)
    now = followed.states(figures, before)
    changed: dict[str, str | None] = {}
    if base is not None:
        places = base.differing(told.states if told else {})
        changed = {base.ids[place]: base.state[place] for place in places}
        change.anew = (told.basis if told else None, len(places))
    for place in now.differing(before):
        id, state = now.ids[place], now.state[place]
        figure = np.nan if now.figure is None else now.figure[place]
        data = followed.data(before.get(id), state, figure, figures)
        change.events.append(
            Event(secrets.token_hex(16), followed.kind, followed.name, id, figures.moment, data)
        )
        changed[id] = state
    here = set(now.ids)
    changed |= dict.fromkeys(id for id in {*before, *(told.states if told else ())} if id not in here)
    change.left = sum(changed[event.customer] is None for event in change.events)
    change.entered = len(change.events) - change.left
    change.holders = now.holders
    change.settled = Settled(followed.thing, basis, figures.moment, changed)
    return change


def held(followed: Followed, figures: Figures, told: Told | None) -> States:
    """Everybody's state at the moment of the figures as it is told, or will be by the next comparison."""
    if told is not None and told.moment > figures.moment:
        return followed.states(figures, told.states)
    return followed.states(figures, _told_from(followed, figures, told, followed.basis(figures))[1])


def rebaselined(anew: Mapping[str, tuple[str | None, int]], gone: list[str], at: datetime) -> Event:
    """The one event that says what is told on another basis from now on. anew: thing -> (basis before, or
    None; customers who came to be called otherwise)."""
    things = [
        {"what": thing, "change": "new" if before is None else "another_basis", "customers": customers}
        for thing, (before, customers) in anew.items()
    ]
    things += [{"what": thing, "change": "no_longer_followed"} for thing in gone]
    words = Words(
        "What is told rests on another model or rule from now on: who is called otherwise for that reason "
        "alone is not told of one by one; read the lists anew",
        "后续推送所依据的模型或规则已变更：仅因此而改变的客户不逐一推送，请重新读取名单",
    )
    data = {"things": things, "words": words._asdict(), "as_of": iso(at)}
    return Event(secrets.token_hex(16), "baseline", "baseline", "", at, data)


def _told_from(
    followed: Followed, figures: Figures, told: Told | None, basis: str
) -> tuple[States | None, Mapping[str, str]]:
    """The baseline if it is taken anew, else None; and customer -> state, from which changes are told."""
    before: Mapping[str, str] = told.states if told else {}
    if told is not None and told.basis == basis:
        return None, before
    base = followed.states(_earlier(followed, figures, told, basis) or figures, before)
    return base, {id: s for id, s in zip(base.ids, base.state, strict=True) if s is not None}


def _earlier(followed: Followed, figures: Figures, told: Told | None, basis: str) -> Figures | None:
    """What was told last, as the new basis has it; None if nothing was, or if that cannot be read."""
    if told is None or told.moment == figures.moment:
        return None
    then = figures.at(told.moment)
    if then is None or then.lacking(followed.inputs) or followed.basis(then) != basis:
        return None
    return then


def _label(name: str | None) -> dict[str, Any] | None:
    if name is None:
        return None
    words = _WORDS.get(name)
    return {"name": name, "words": {"en": words.en, "zh": words.zh} if words else None}
