"""Expressions over other features, in float64."""

import ast
import operator
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


@numba.vectorize(["float64(float64, float64)"], cache=True)  # type: ignore[untyped-decorator]
def _divide(a: float, b: float) -> float:
    """Null, never infinite: min(a / 0, 3) is not 3."""
    return np.nan if b == 0 else a / b


_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _divide,
}
_FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {"min": np.minimum, "max": np.maximum}  # null of null


@cache
def _parsed(expression: str) -> ast.expr:
    """Once, though a build evaluates it for many small blocks."""
    return ast.parse(expression, mode="eval").body


def evaluate(expression: str, values: Mapping[str, Float64]) -> Float64:
    """An expression over columns. What has no finite value (a division by zero) is null."""

    def walk(node: ast.expr) -> Any:
        if isinstance(node, ast.BinOp):
            return _OPERATORS[type(node.op)](walk(node.left), walk(node.right))
        if isinstance(node, ast.UnaryOp):
            return -walk(node.operand)
        if isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Name)
            return _FUNCTIONS[node.func.id](*map(walk, node.args))
        if isinstance(node, ast.Name):
            return values[node.id]
        assert isinstance(node, ast.Constant)
        return np.float64(node.value)  # type: ignore[arg-type]

    with np.errstate(all="ignore"):
        result = np.asarray(walk(_parsed(expression)), np.float64)
    infinite = np.isinf(result)
    return np.where(infinite, np.nan, result) if infinite.any() else result
