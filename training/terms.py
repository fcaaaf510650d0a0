"""Piecewise linear terms of a column: what a regression on splines is made of."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from serving.booster import Numbers


class Spread(NamedTuple):
    """A column's parts [n, knots - 1], standardised, 0 where null; with mean and scale, as in a `Term`."""

    parts: Numbers
    mean: Numbers
    scale: Numbers


def knots_of(x: Numbers, count: int) -> Numbers:
    """Up to so many knots, at quantiles of what is known of x [n], ascending; one if nearly all are alike."""
    quantiles = np.quantile(x[~np.isnan(x)], np.linspace(0.01, 0.99, count))
    knots: Numbers = np.unique(quantiles.astype(np.float32)).astype(np.float64)
    return knots


def spread(x: Numbers, knots: Numbers) -> Spread:
    """x [n], NaN for null; knots: 2 or more, ascending."""
    parts = np.maximum(np.minimum(x, knots[-1])[:, None] - knots[:-1], 0.0)
    mean, scale = np.nanmean(parts, axis=0), np.nanstd(parts, axis=0)
    scale[scale < 1e-12] = 1.0
    return Spread(np.nan_to_num((parts - mean) / scale), mean, scale)


def digits(values: Iterable[float]) -> tuple[float, ...]:
    """As a model's file has them; beyond, another processor may differ."""
    return tuple(float(f"{value:.9g}") for value in values)
