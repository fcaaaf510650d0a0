"""Segments: groups of customers that a shop declares by a rule over features and scores.

To add a segment, add it to SEGMENTS in the shop's shop.py:

    SEGMENTS = [
        DeclaredSegment(
            name="good_and_going",
            words=Words("Good customers about to leave", "即将流失的优质客户"),
            when="churn_28d >= 0.6 and spend_365d > 200",
            stays="churn_28d >= 0.5 and spend_365d > 150",
        ),
    ]

`figures` says what a rule can read beside features. What the rule compares with null is not known, and a
customer is in a segment only where its rule is known to hold (`rules`). Who is in it by `stays` alone depends
on who was in it before, which `propensity pushes run` keeps: what is listed and exported is what it keeps,
and where it never ran nobody is in it by `stays` alone. What a segmentation that was learnt says of a
customer (her stage, her tier) is another thing: `scenarios.Segment` names a label of it, and a rule reads it
as `stage_exit == 1`.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import FeatureError, SettingsError
from features.rules import Rule
from features.toml import nearest
from features.typed import misfits
from features.words import Words

Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class DeclaredSegment:
    """One segment.

    when:  who is in it
    stays: who stays once in it, a wider rule, so that nobody comes and goes with every small change of a
           score; without it, whoever `when` holds for. Who was in it is what `propensity pushes run` keeps
    """

    name: str
    words: Words
    when: str
    stays: str = ""

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise SettingsError(f"segment {self.name!r}: {problem}. Change its declaration")

    @cached_property
    def _rule(self) -> Rule:
        return Rule(self.when, f"segment {self.name!r}")

    @cached_property
    def _stays(self) -> Rule | None:
        return Rule(self.stays, f"segment {self.name!r}, stays") if self.stays.strip() else None

    @property
    def inputs(self) -> tuple[str, ...]:
        """What its rules read, sorted."""
        return tuple(sorted({*self._rule.inputs, *(self._stays.inputs if self._stays else ())}))

    def holds(
        self, values: Mapping[str, NDArray[Any]], rows: int, members: Bools | np.bool_ | bool = False
    ) -> Bools:
        """Who is in it, of `rows` customers. values: name -> [rows], NaN is null. members: who was so far."""
        inside = self._rule.holds(values, rows)
        if self._stays:
            inside = inside | (self._stays.holds(values, rows) & members)
        return inside

    def _problem(self) -> str | None:
        if strange := misfits(self):
            return "; ".join(strange)
        if not self.name.isidentifier():
            return "its name must be an identifier such as good_and_going"
        if not all(text.strip() for text in self.words):
            return "it needs words, in English and Chinese"
        try:
            _ = self._rule, self._stays  # each refuses what is no rule
        except FeatureError as error:
            return str(error).partition(": ")[2]
        return None


def catalogue(own: Iterable[DeclaredSegment], names: Collection[str]) -> dict[str, DeclaredSegment]:
    """A shop's segments by name. names: all that rules may read. SettingsError for what cannot be one."""
    by_name: dict[str, DeclaredSegment] = {}
    for one in own:
        if not isinstance(one, DeclaredSegment):
            raise SettingsError(f"SEGMENTS holds {one!r}: declare it as DeclaredSegment(...)")
        if one.name in by_name:
            raise SettingsError(f"segment {one.name!r} is declared twice: give one another name")
        for name in one.inputs:
            if name not in names:
                raise SettingsError(f"segment {one.name!r}: {unknown(name, names)}")
        by_name[one.name] = one
    return by_name


def unknown(name: str, names: Collection[str]) -> str:
    """What to say of a name that nothing has."""
    return (
        f"it reads {name}, which is no feature and no score{nearest(name, names)} "
        "`propensity features list` shows the features, `propensity models list` what is released"
    )
