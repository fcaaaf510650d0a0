"""Every feature, declared once: what it measures, over which window, in which unit, in words for people.

To add a feature, add a row to the module of its table here (or to FEATURES in a shop's shop.py):
`propensity features list`, the builds, the contracts of the tests and the releases pick it up by themselves.

    declaration.py   what a feature is
    units.py         units and codes in words
    rows.py          many features from rows of words
    orders.py        orders, order_lines
    outreach.py      contacts, responses
    engagement.py    interactions, memberships
    care.py          cases, surveys, tags, consents, customers, identities, scores
    calendar.py      calendar
"""

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from features.definitions import calendar, care, engagement, orders, outreach
from features.definitions.declaration import (
    CALENDAR,
    FUNCTIONS,
    KERNEL_VERSION,
    WINDOWS,
    Feature,
    Measure,
    feature_hash,
)
from features.definitions.orders import goods
from features.definitions.units import CHANNELS, UNITS, WEEKDAYS
from features.errors import FeatureError

__all__ = [
    "CALENDAR", "CHANNELS", "FEATURES", "FUNCTIONS", "KERNEL_VERSION", "UNITS", "WEEKDAYS", "WINDOWS",
    "Feature", "Measure", "catalogue", "feature_hash", "goods", "looked_through", "tables_of",
]  # fmt: skip

FEATURES: tuple[Feature, ...] = (
    *orders.FEATURES,
    *outreach.FEATURES,
    *engagement.FEATURES,
    *care.FEATURES,
    *calendar.FEATURES,
)


def catalogue(own: Iterable[Feature] = ()) -> dict[str, Feature]:
    """Built-in features and a shop's own, by name.

    FeatureError for a name twice, an input that is not declared, or one that is computed from itself.
    """
    by_name, wrong = looked_through(own)
    if wrong:
        raise FeatureError(wrong[0][1])
    return by_name


def looked_through(own: Iterable[Feature]) -> tuple[dict[str, Feature], list[tuple[str, str]]]:
    """Built-in features and a shop's own, by name, without those that cannot be computed; and all that is wrong:
    the name of a feature, and what."""
    by_name: dict[str, Feature] = {}
    wrong: list[tuple[str, str]] = []
    for feature in (*FEATURES, *own):
        if feature.name in by_name:
            wrong.append((feature.name, f"{feature.name} is declared twice: give one of them another name"))
        else:
            by_name[feature.name] = feature
    for feature in by_name.values():
        wrong += [
            (feature.name, f"{feature.name} reads {name}, which is not declared")
            for name in feature.inputs
            if name not in by_name
        ]
    while True:  # one that reads what cannot be computed cannot be either
        kept = {n: f for n, f in by_name.items() if set(f.inputs) <= by_name.keys()}
        if len(kept) < len(by_name):
            by_name = kept
            continue
        try:
            tuple(TopologicalSorter({name: f.inputs for name, f in by_name.items()}).static_order())
            return by_name, wrong
        except CycleError as error:
            circle = error.args[1]
            wrong.append((circle[0], f"computed from itself: {' <- '.join(circle)}"))
            by_name = {n: f for n, f in by_name.items() if n not in circle}


def tables_of(feature: Feature, features: Mapping[str, Feature]) -> frozenset[str]:
    """The tables of the log that a feature needs, through the features that it is computed from too."""
    if feature.table is not None:
        return frozenset((feature.table,))
    return frozenset().union(*(tables_of(features[name], features) for name in feature.inputs))
