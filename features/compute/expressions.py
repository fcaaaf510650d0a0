"""Expressions over other features, in float64."""

import ast
from collections.abc import Mapping
from functools import cache

import numba
import numpy as np

from features.rules import Float64, number


@numba.vectorize(["float64(float64, float64)"], cache=True)  # type: ignore[untyped-decorator]
def _divide(a: float, b: float) -> float:
    """As `rules` divides, in one pass."""
    return np.nan if b == 0 else a / b


@cache
def _parsed(expression: str) -> ast.expr:
    """Once, though a build evaluates it for many small blocks."""
    return ast.parse(expression, mode="eval").body


def evaluate(expression: str, values: Mapping[str, Float64]) -> Float64:
    """An expression over columns. What has no finite value (a division by zero) is null."""
    return number(_parsed(expression), values, _divide)
