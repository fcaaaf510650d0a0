"""Rows to verify a release by, made up so that a release carries no customer's data."""

import numpy as np

from serving.booster import Numbers, Rows


def synthetic_examples(quantiles: Numbers, missing: Numbers, seed: int, rows: int = 64) -> Rows:
    """Rows that belong to no customer: every value is drawn by itself, from rounded quantiles.

    quantiles: [q, F], q >= 2 evenly spaced quantiles of each feature (from 1 % to 99 %, say). missing: [F],
    each feature's share of nulls. Quantiles are rounded to two digits, so that none is a customer's value.
    The first row knows nothing, the next two hold the lowest and the highest of everything. -> float32.
    """
    random = np.random.default_rng(seed)
    digits = np.where(quantiles == 0, 0, np.floor(np.log10(np.abs(quantiles) + (quantiles == 0))))
    unit = 10.0 ** (digits - 1)
    rounded = np.round(quantiles / unit) * unit
    place = random.random((rows, quantiles.shape[1])) * (len(quantiles) - 1)
    left = np.minimum(place.astype(int), len(quantiles) - 2)
    column = np.arange(quantiles.shape[1])
    low, high = rounded[left, column], rounded[left + 1, column]
    drawn = low + (place - left) * (high - low)
    drawn[random.random(drawn.shape) < missing] = np.nan
    edges = np.stack([np.full(len(column), np.nan), rounded[0], rounded[-1]])
    return np.concatenate([edges, drawn]).astype(np.float32)
