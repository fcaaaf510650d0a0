"""Scenarios: the moments in which a shop turns to a customer, and what may then be done.

To add a scenario, add it to SCENARIOS in the shop's shop.py; `retail` has examples to take over. `propensity
due` says who falls due, and a decision that names a scenario chooses among its actions, or nothing.

What a scenario waits for is read at a moment: the features as last known, of which those that count the days
since something, or until it, are moved on to that moment (`aged`).
"""

import calendar
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from features.definitions import Feature
from features.errors import FeatureError, SettingsError
from features.rules import Rule
from features.typed import misfits
from features.words import Words
from serving import conditions
from serving.actions import Action
from serving.conditions import Condition, Live, problem_of
from serving.segment_tables import TABLES

Bools = NDArray[np.bool_]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Anniversary:
    """A day that comes back every year: an attribute of customers, 1990-02-28 or 02-28, in the shop's zone.

    Due from `days_before` it until it is over.
    """

    attribute: str
    days_before: int = 0


@dataclass(frozen=True)
class Segment:
    """What the released segmentation says of a customer: `labels` of its tier, stage, churn_reason ..."""

    table: str
    labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One scenario. Due is a customer for whom all of these are known to hold, those that are given:

    when:        a rule over features, such as "days_since_order >= 3 and days_since_order < 5"
    anniversary: a day of the customer's is near
    segment:     the released segmentation puts the customer there

    eligible, suppressed_if: conditions of its own beside those of its actions, as theirs: at this moment, all
    of the first hold and none of the others, or none of its actions is taken. Above all for the live context:
    suppressed_if=(Condition("now.in_store", at_least=1),)

    actions:  what may be done, by name; "nothing" is always one more
    purpose:  marketing or service; that of each of the actions
    due_days: how long it stays due. So long the same customer does not fall due for it again: not less than
              the time for which `when` goes on to hold, if it is to come once
    """

    name: str
    words: Words
    actions: tuple[str, ...]
    due_days: float
    when: str = ""
    anniversary: Anniversary | None = None
    segment: Segment | None = None
    purpose: Literal["marketing", "service"] = "marketing"
    eligible: tuple[Condition, ...] = ()
    suppressed_if: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise SettingsError(f"scenario {self.name!r}: {problem}. Change its declaration")

    @cached_property
    def _rule(self) -> Rule | None:
        return Rule(self.when, f"scenario {self.name!r}") if self.when.strip() else None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the features that it reads, sorted."""
        return self._rule.inputs if self._rule else ()

    @property
    def conditional(self) -> bool:
        """Whether it has conditions of its own."""
        return bool(self.eligible or self.suppressed_if)

    def holds(self, values: Mapping[str, NDArray[Any]], days_until: Numbers, label: NDArray[Any]) -> Bools:
        """Who is due, of n customers.

        values: feature -> [n], NaN is null. days_until: the anniversary, and label: of the segment's table
        ("" without one), [n]; of a scenario without these they are not read.
        """
        due = np.ones(len(label), np.bool_)
        if self._rule:
            due &= self._rule.holds(values, len(due))
        if self.anniversary:
            due &= days_until <= self.anniversary.days_before  # not of NaN
        if self.segment:
            due &= np.isin(label, self.segment.labels)
        return due

    def _problem(self) -> str | None:
        if strange := misfits(self):
            return "; ".join(strange)
        if not self.name.isidentifier():
            return "its name must be an identifier such as cart_left"
        if not all(self.words):
            return "it needs words, in English and Chinese"
        if not self.actions:
            return "it needs actions, by name: actions=('cart_reminder',) with a comma"
        if not self.due_days > 0:
            return f"it stays due for {self.due_days:g} days: expected more than 0"
        if not (self.when.strip() or self.anniversary or self.segment):
            return "it needs `when`, an anniversary or a segment: without any of them everybody is always due"
        if self.anniversary and not (self.anniversary.attribute and 0 <= self.anniversary.days_before < 365):
            return "its anniversary needs an attribute, and days_before from 0 to 364"
        if self.segment:
            table = TABLES.get(self.segment.table)
            if table is None:
                return f"there is no segment table {self.segment.table!r}; there are {', '.join(TABLES)}"
            known = [label.name for label in table.labels]
            for label in self.segment.labels:
                if label not in known:
                    return f"{self.segment.table} has no label {label!r}; it has {', '.join(known)}"
        try:
            self._rule  # noqa: B018  # refuses what is no rule
        except FeatureError as error:
            return str(error).partition(": ")[2]
        return problem_of(self.eligible, self.suppressed_if)


def catalogue(
    own: Iterable[Scenario],
    actions: Mapping[str, Action],
    features: Collection[str],
    fields: Mapping[str, Live] | None = None,
) -> dict[str, Scenario]:
    """A shop's scenarios by name. SettingsError for one that could never come, or never end in an action."""
    by_name: dict[str, Scenario] = {}
    for scenario in own:
        if not isinstance(scenario, Scenario):
            raise SettingsError(f"SCENARIOS holds {scenario!r}, no Scenario: declare it as Scenario(...)")
        if scenario.name in by_name:
            raise SettingsError(f"scenario {scenario.name!r} is declared twice: give one another name")
        problem = _misfit(scenario, actions, features, conditions.catalogue() if fields is None else fields)
        if problem:
            raise SettingsError(f"scenario {scenario.name!r}: {problem}")
        by_name[scenario.name] = scenario
    return by_name


def _misfit(
    scenario: Scenario, actions: Mapping[str, Action], features: Collection[str], fields: Mapping[str, Live]
) -> str | None:
    for condition in (*scenario.eligible, *scenario.suppressed_if):
        if problem := condition.problem(features, fields):
            return f"it {problem}"
    for name in scenario.inputs:
        if name not in features:
            return f"it reads {name}, which is no feature: `propensity features list` shows them"
    for name in scenario.actions:
        if name == "nothing":
            return '"nothing" may always be chosen: do not list it'
        if name not in actions:
            return f"it has the action {name!r}, which is not declared; there are {', '.join(actions)}"
        action = actions[name]
        if action.unit != "person":
            return f"its action {name!r} addresses {action.unit}, and a scenario is one customer's moment"
        if action.purpose != scenario.purpose:
            return f"its purpose is {scenario.purpose}, and {action.purpose} that of its action {name!r}"
    return None


def aged(feature: Feature | None, values: NDArray[Any], days: Numbers) -> Numbers:
    """A feature's values [n] as they are `days` after they were known, if nothing happened meanwhile.

    Of features that count days since or until something; the others stay. What lay ahead and is over is null.
    """
    now = values.astype(np.float64)
    if feature is None or feature.measure not in ("since_last", "since_first", "until_next"):
        return now
    if feature.measure == "until_next":
        now = now - days
        return np.where(now < 0, np.nan, now)
    return now + days


def days_until(anniversary: str, today: date) -> float:
    """Days from a day to the next return of another, 0 on it; NaN of what is no day.

    29 February is kept on the 28th where there is none.
    """
    try:
        month, day = (int(part) for part in anniversary.strip().split("-")[-2:])
        date(2000, month, day)  # a leap year: refuses what is never a day
    except ValueError:
        return float("nan")
    for year in (today.year, today.year + 1):
        last = calendar.monthrange(year, month)[1]
        then = date(year, month, min(day, last))
        if then >= today:
            break
    return float((then - today).days)
