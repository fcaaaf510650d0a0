"""Expressions over other features, in float64."""

import ast
from collections.abc import Mapping
from functools import cache

import numpy as np

from features.compute.jit import ufunc
from features.rules import Float64, number


@ufunc("float64(float64, float64)")
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
