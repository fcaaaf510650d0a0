"""Tables of rules that say who is called what: the first rule that is known to hold decides, and says why."""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.rules import Rule
from serving.cards import Text

_BUYING = ("days_since_order", "gap_mean", "order_days_365d", "tenure")
MADE = {  # what rules may read beside features -> the features that it is made of
    "order_days": _BUYING,  # days with an order, ever; 0 without
    "usual_gap": _BUYING,  # days within which nine of ten who came again did; never more than the next
    "gone_after": _BUYING,  # days of silence from which on hardly any came back; null if none was seen
    "r": ("days_since_order",),  # scores 1 to 5, null without an order
    "f": ("order_days_365d",),
    "m": ("spend_365d",),
    "present": ("spend_365d",),  # spending of the year less what parts low from high; null without an order
    "potential": (),  # expected profit of the next year less what parts; null without a value model
}


class Label(msgspec.Struct, frozen=True):
    """What a customer can be called. meaning: what it says; of a reason, what to do about it."""

    name: str
    words: Text
    meaning: Text


class Entry(msgspec.Struct, frozen=True):
    """A customer of whom `when` is known to hold `is` called so; an empty rule holds for everyone."""

    name: str
    gives: str
    when: str
    words: Text

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the rule reads, of features and of MADE."""
        return Rule(self.when).inputs if self.when else ()

    @property
    def features(self) -> set[str]:
        """The features that it stands on."""
        return {feature for name in self.inputs for feature in MADE.get(name, (name,))}


class Table(msgspec.Struct, frozen=True):
    """Labels, and the rules by which they are given, in their order."""

    labels: tuple[Label, ...]
    entries: tuple[Entry, ...]

    def within(self, features: Collection[str]) -> "Table":
        """The table without the rules that need other features."""
        kept = tuple(entry for entry in self.entries if entry.features <= set(features))
        return msgspec.structs.replace(self, entries=kept)

    def told(self, rule: str) -> tuple[Label, Entry]:
        """The label that a rule gives, and the rule. KeyError if it is none of the table's."""
        entry = {entry.name: entry for entry in self.entries}[rule]
        return {label.name: label for label in self.labels}[entry.gives], entry

    def first(self, values: Mapping[str, NDArray[Any]], rows: int) -> NDArray[np.int8]:
        """The place of the first rule that holds for each of `rows` customers; -1 if none does."""
        places = np.full(rows, -1, np.int8)
        for place, entry in enumerate(self.entries):
            holds = Rule(entry.when).holds(values, rows) if entry.when else np.ones(rows, bool)
            places[(places < 0) & holds] = place
        return places


def problems(tables: Mapping[str, Table], features: Collection[str] = ()) -> list[str]:
    """The contract of every table; empty when it holds. features: all that are declared."""
    found = []
    for kind, table in tables.items():
        names = [label.name for label in table.labels]
        entries = [entry.name for entry in table.entries]
        for one in (names, entries):
            found += [f"{kind}: {n} is declared twice" for n in sorted({n for n in one if one.count(n) > 1})]
        texts = {f"label {label.name}": [label.words, label.meaning] for label in table.labels}
        texts |= {f"rule {entry.name}": [entry.words] for entry in table.entries}
        found += [
            f"{kind}: {what} lacks English or Chinese"
            for what, said in texts.items()
            if not all(text.en.strip() and text.zh.strip() for text in said)
        ]
        given = {entry.gives for entry in table.entries}
        found += [f"{kind}: no rule gives {name}" for name in names if name not in given]
        found += [f"{kind}: {name} is no label" for name in sorted(given - set(names))]
        if features:
            read = {feature for entry in table.entries for feature in entry.features}
            found += [f"{kind}: {name} is no feature" for name in sorted(read - set(features))]
    return found
