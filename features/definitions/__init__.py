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
    "Feature", "Measure", "catalogue", "feature_hash", "goods", "tables_of",
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
    by_name: dict[str, Feature] = {}
    for feature in (*FEATURES, *own):
        if feature.name in by_name:
            raise FeatureError(f"{feature.name} is declared twice: give one of them another name")
        by_name[feature.name] = feature
    for feature in by_name.values():
        for name in feature.inputs:
            if name not in by_name:
                raise FeatureError(f"{feature.name} reads {name}, which is not declared")
    try:
        tuple(TopologicalSorter({name: feature.inputs for name, feature in by_name.items()}).static_order())
    except CycleError as error:
        raise FeatureError(f"computed from itself: {' <- '.join(error.args[1])}") from None
    return by_name


def tables_of(feature: Feature, features: Mapping[str, Feature]) -> frozenset[str]:
    """The tables of the log that a feature needs, through the features that it is computed from too."""
    if feature.table is not None:
        return frozenset((feature.table,))
    return frozenset().union(*(tables_of(features[name], features) for name in feature.inputs))
