"""Rules over features, such as "overdue > 3 and orders_365d >= 3": for whom is it known to hold?

A rule is comparisons (< <= > >= == !=) of numbers, joined by and, or, not; a number is a feature, a constant,
+ - * /, min(a, b) or max(a, b) of such. What is compared with null is not known.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.definitions import FUNCTIONS
from features.errors import FeatureError

Bools = NDArray[np.bool_]
Float64 = NDArray[np.float64]
Divide = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Rule:
    """One rule. FeatureError, beginning with `of`, says what in `when` cannot stand in a rule."""

    when: str
    of: str = "rule"

    def __post_init__(self) -> None:
        self._check(self._tree)

    @cached_property
    def _tree(self) -> ast.expr:
        try:
            return ast.parse(self.when, mode="eval").body
        except SyntaxError as error:
            raise FeatureError(f"{self.of}: {self.when!r} is no rule: {error.msg}") from None

    def _check(self, node: ast.expr) -> None:
        """FeatureError unless the node is a condition: comparisons below and, or, not."""
        if isinstance(node, ast.BoolOp):
            for value in node.values:
                self._check(value)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self._check(node.operand)
        elif isinstance(node, ast.Compare) and all(type(op) in _COMPARE for op in node.ops):
            for side in (node.left, *node.comparators):
                self._check_number(side)
        else:
            raise FeatureError(f"{self.of}: {ast.unparse(node)!r} is no condition in {self.when!r}")

    def _check_number(self, node: ast.expr) -> None:
        parts: list[ast.AST] = [node]
        for part in parts:
            match part:
                case ast.BinOp(left, ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), right):
                    parts += (left, right)
                case ast.UnaryOp(ast.USub(), operand):
                    parts.append(operand)
                case ast.Call(ast.Name(name), [a, b], []) if name in FUNCTIONS:
                    parts += (a, b)
                case ast.Name() | ast.Constant(int() | float()):
                    pass
                case _:
                    raise FeatureError(
                        f"{self.of}: {ast.unparse(part)!r} cannot stand in a rule: features, numbers, "
                        f"+ - * /, min(a, b) and max(a, b) can, compared and joined by and, or, not"
                    )

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the features that the rule reads, sorted."""
        names = {node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name)}
        return tuple(sorted(names - set(FUNCTIONS)))

    def holds(self, values: Mapping[str, NDArray[Any]], rows: int) -> Bools:
        """For whom the rule is known to hold, of `rows` customers; values: feature -> [rows], NaN is null."""
        return _judge(self._tree, {n: values[n].astype(np.float64) for n in self.inputs}, rows)[0]


_COMPARE = {
    ast.Lt: np.less, ast.LtE: np.less_equal, ast.Gt: np.greater, ast.GtE: np.greater_equal,
    ast.Eq: np.equal, ast.NotEq: np.not_equal,
}  # fmt: skip


def _judge(node: ast.expr, values: Mapping[str, Float64], rows: int) -> tuple[Bools, Bools]:
    """(known to be true, known to be false): what is neither is not known."""
    if isinstance(node, ast.BoolOp):
        true, false = zip(*(_judge(value, values, rows) for value in node.values), strict=True)
        if isinstance(node.op, ast.And):
            return np.logical_and.reduce(true), np.logical_or.reduce(false)
        return np.logical_or.reduce(true), np.logical_and.reduce(false)
    if isinstance(node, ast.UnaryOp):
        true_, false_ = _judge(node.operand, values, rows)
        return false_, true_
    assert isinstance(node, ast.Compare)
    numbers = [np.broadcast_to(number(side, values), rows) for side in (node.left, *node.comparators)]
    known = ~np.isnan(numbers).any(axis=0)
    links = zip(node.ops, numbers, numbers[1:], strict=False)
    met = np.logical_and.reduce([_COMPARE[type(op)](a, b) for op, a, b in links])
    return known & met, known & ~met


def _divide(a: Any, b: Any) -> Any:
    """Null, never infinite: min(a / 0, 3) is not 3."""
    return np.where(b == 0, np.nan, np.divide(a, b))


_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}
_FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {"min": np.minimum, "max": np.maximum}  # null of null


def number(node: ast.expr, values: Mapping[str, Float64], divide: Divide = _divide) -> Float64:
    """A number's value over columns of float64. What has no finite value (a division by zero) is null."""

    def walk(node: ast.expr) -> Any:
        if isinstance(node, ast.BinOp):
            do = divide if isinstance(node.op, ast.Div) else _OPERATORS[type(node.op)]
            return do(walk(node.left), walk(node.right))
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
        result = np.asarray(walk(node), np.float64)
    infinite = np.isinf(result)
    return np.where(infinite, np.nan, result) if infinite.any() else result
