"""The arithmetic of scores in plain numpy: the logistic function, calibrations, spline-logistic models.

A score must be the same to the last bit for one row or a thousand, here or on another machine. Library
functions are not (`np.exp` has another code path for each kind of processor, a matrix product for each
shape), so everything here uses + - * / and comparisons alone, in a fixed order.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np

from features.errors import ReleaseCorrupt
from serving.booster import Numbers, Rows

_LN2_HIGH = float.fromhex("0x1.62e42feep-1")  # ln 2 in two parts, so that k * high is exact (Cody and Waite)
_LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
_TAYLOR = tuple(1 / math.factorial(n) for n in range(13, -1, -1))  # enough for |r| <= ln(2) / 2
_PER_LN2 = 1 / math.log(2)
_FEW = 8  # numbers that are done sooner one by one
_ARTANH = tuple(1 / n for n in range(23, 0, -2))  # enough for |s| <= 3 - sqrt(8)


def exp(x: Numbers) -> Numbers:
    """e**x within 2 units in the last place, the same bits everywhere; x is held within +-700.

    >>> bool(abs(exp(np.array([1.0]))[0] - math.e) < 1e-15)
    True
    """
    if x.size <= _FEW:
        return np.array([_exp(one) for one in x.ravel().tolist()]).reshape(x.shape)
    x = np.minimum(np.maximum(x, -700.0), 700.0)
    k = np.rint(x * _PER_LN2)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    power = np.full_like(r, _TAYLOR[0])
    for coefficient in _TAYLOR[1:]:
        power *= r
        power += coefficient
    scaled: Numbers = np.ldexp(power, k.astype(np.int32))
    return scaled


def _exp(x: float) -> float:
    """`exp` of one number: the same operations, without numpy's cost of each."""
    if x != x:
        return x
    if not -700.0 < x < 700.0:
        x = 700.0 if x > 0 else -700.0
    k = round(x * _PER_LN2)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    power = _TAYLOR[0]
    for coefficient in _TAYLOR[1:]:
        power = power * r + coefficient
    return math.ldexp(power, k)


def log(x: Numbers) -> Numbers:
    """Natural logarithm of positive numbers within 2 units in the last place, the same bits everywhere.

    >>> bool(abs(log(np.array([10.0]))[0] - math.log(10)) < 1e-15)
    True
    """
    mantissa, exponent = np.frexp(x)
    low = mantissa < math.sqrt(0.5)
    mantissa, k = np.where(low, 2 * mantissa, mantissa), exponent - low
    s = (mantissa - 1) / (mantissa + 1)
    square = s * s
    series = np.full_like(s, _ARTANH[0])
    for coefficient in _ARTANH[1:]:
        series = series * square + coefficient
    logarithm: Numbers = k * _LN2_HIGH + (2 * s * series + k * _LN2_LOW)
    return logarithm


def sigmoid(log_odds: Numbers) -> Numbers:
    """Log-odds -> probability."""
    if log_odds.size <= _FEW:
        return np.array([_sigmoid(x) for x in log_odds.ravel().tolist()]).reshape(log_odds.shape)
    return 1.0 / (1.0 + exp(-log_odds))


def _sigmoid(log_odds: float) -> float:
    return 1.0 / (1.0 + _exp(-log_odds))


class IdentityCalibration(msgspec.Struct, frozen=True, tag_field="kind", tag="identity"):
    """The model's log-odds are taken as they are."""

    def probability(self, log_odds: Numbers) -> Numbers:
        """Log-odds [n] -> probability [n]."""
        return sigmoid(log_odds)

    def chance(self, log_odds: float) -> float:
        """As `probability`, of one."""
        return _sigmoid(log_odds)


class LogisticCalibration(msgspec.Struct, frozen=True, tag_field="kind", tag="logistic"):
    """Platt's scaling: probability = sigmoid(a * log-odds + b)."""

    a: float
    b: float

    def __post_init__(self) -> None:
        if not self.a > 0:
            raise ReleaseCorrupt(f"a logistic calibration has a = {self.a}: it must be positive")

    def probability(self, log_odds: Numbers) -> Numbers:
        """Log-odds [n] -> probability [n]."""
        return sigmoid(self.a * log_odds + self.b)

    def chance(self, log_odds: float) -> float:
        """As `probability`, of one."""
        return _sigmoid(self.a * log_odds + self.b)


class IsotonicCalibration(msgspec.Struct, frozen=True, tag_field="kind", tag="isotonic"):
    """Straight lines through the knots (x log-odds ascending, y probability), flat beyond the outer ones."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in pairwise(self.x)) and all(a <= b for a, b in pairwise(self.y))
        if len(self.x) < 2 or len(self.x) != len(self.y) or not rising or self.y[0] < 0 or self.y[-1] > 1:
            raise ReleaseCorrupt(
                "an isotonic calibration needs 2 or more knots: x ascending, y rising in 0..1"
            )

    def probability(self, log_odds: Numbers) -> Numbers:
        """Log-odds [n] -> probability [n]."""
        x, y = np.array(self.x), np.array(self.y)
        left = np.minimum(np.maximum(np.searchsorted(x, log_odds, side="right") - 1, 0), len(x) - 2)
        share = (log_odds - x[left]) / (x[left + 1] - x[left])
        share = np.minimum(np.maximum(share, 0.0), 1.0)
        between: Numbers = y[left] + share * (y[left + 1] - y[left])
        return between

    def chance(self, log_odds: float) -> float:
        """As `probability`, of one."""
        return float(self.probability(np.array([log_odds]))[0])


Calibration = IdentityCalibration | LogisticCalibration | IsotonicCalibration


class Term(msgspec.Struct, frozen=True):
    """What one feature adds to the log-odds of a `Logistic`.

    The value x is held within the outer knots; part i is max(x - knots[i], 0), one for every knot but the
    last, so two knots are a straight line between bounds. It adds
    sum of coef[i] * (part[i] - mean[i]) / scale[i], or `missing` where x is null.
    """

    feature: str
    knots: tuple[float, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    coef: tuple[float, ...]
    missing: float = 0.0

    def __post_init__(self) -> None:
        parts = len(self.knots) - 1
        if parts < 1 or not parts == len(self.mean) == len(self.scale) == len(self.coef):
            raise ReleaseCorrupt(
                f"the term of {self.feature} needs a mean, scale and coef for every knot but the last"
            )
        if not all(a < b for a, b in pairwise(self.knots)) or not all(s > 0 for s in self.scale):
            raise ReleaseCorrupt(f"the term of {self.feature} needs ascending knots and positive scales")


class Logistic(msgspec.Struct, frozen=True, tag_field="kind", tag="logistic"):
    """A logistic regression on piecewise linear terms; `weight` is its share in the model's log-odds."""

    intercept: float
    terms: tuple[Term, ...]
    weight: float = 1.0


class LogisticScorer:
    """A `Logistic`, ready to score rows whose columns are `features`."""

    def __init__(self, component: Logistic, features: Sequence[str]) -> None:
        unknown = [term.feature for term in component.terms if term.feature not in features]
        if unknown:
            raise ReleaseCorrupt(
                f"a logistic component reads {', '.join(unknown)}: its card does not list that"
            )
        self.base = component.intercept
        self._features = len(features)
        terms = [(features.index(term.feature), term) for term in component.terms]
        parts = [(at, term, i) for at, term in terms for i in range(len(term.coef))]
        self._columns = np.array([at for at, _, _ in parts], dtype=np.intp)
        self._low = np.array([term.knots[i] for _, term, i in parts])
        self._high = np.array([term.knots[-1] for _, term, _ in parts])
        self._mean = np.array([term.mean[i] for _, term, i in parts])
        self._slope = np.array([term.coef[i] / term.scale[i] for _, term, i in parts])
        self._missing_columns = np.array([at for at, _ in terms], dtype=np.intp)
        self._missing = np.array([term.missing for _, term in terms])

    def raw(self, rows: Rows) -> Numbers:
        """float32 [n, features] -> log-odds [n]."""
        parts = self._parts(rows)
        if not parts.shape[1]:
            return np.full(len(rows), self.base)
        # Not `sum`, whose order of addition depends on the shape.
        total: Numbers = self.base + np.add.accumulate(parts, axis=1)[:, -1]
        return total

    def one(self, row: Rows) -> float:
        """float32 [1, features] -> its log-odds."""
        return float(self.raw(row)[0])

    def contributions(self, rows: Rows) -> Numbers:
        """float32 [n, features] -> what each feature adds to `base`, log-odds [n, features]."""
        out, parts = np.zeros((len(rows), self._features)), self._parts(rows)
        for j, column in enumerate((*self._columns, *self._missing_columns)):
            out[:, column] += parts[:, j]
        return out

    def _parts(self, rows: Rows) -> Numbers:
        x = rows[:, self._columns].astype(np.float64)
        part = np.maximum(np.minimum(x, self._high) - self._low, 0.0)
        known = np.where(np.isnan(x), 0.0, (part - self._mean) * self._slope)
        missing = np.where(np.isnan(rows[:, self._missing_columns]), self._missing, 0.0)
        return np.concatenate([known, missing], axis=1)
