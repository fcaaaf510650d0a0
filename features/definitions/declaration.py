"""What a feature is: its measure of a table, window, unit and words, and the hash that names its values.

Semantics, for a customer at a moment m (`reference.py` computes exactly this, slowly):
* An event is known at m if `max(at, known_at) <= m`, and in a window of w days if also `at > m - w x 24 h`.
* No event: counts and sums are 0, a true zero. A measure that then has no meaning is null (NaN), never 0.
* An event of which only the day is known has no hour. A condition on the hour that it decides is then not known,
  and with such an event in the window neither is the feature: null. Other measures of the hour leave it out.
* Money is summed in minor units and given in the shop's currency. A day is a date in the shop's zone.
"""

import ast
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from features.errors import FeatureError
from features.tables import LOCAL, TABLES, TOTAL
from features.typed import misfits
from features.words import Words

KERNEL_VERSION = 3  # raise whenever the kernel would give another number for the same declaration
WINDOWS = (7, 30, 90, 365)  # days

Measure = Literal[
    "count",  # events
    "sum",  # of a column
    "max",  # of a column
    "distinct",  # different values of a column
    "days",  # different local dates with an event
    "since_last",  # days from the last event to the moment; null without one
    "since_first",  # days from the first event to the moment; null without one
    "gap_median",  # days between successive active dates: median, mean, standard deviation, longest;
    "gap_mean",  # null with fewer than two active dates
    "gap_std",
    "gap_max",
    "mode",  # most frequent value of a column; of equally frequent ones the smallest
    "last",  # a column's value at the event that happened last; of several then, known last, then largest
    "until_next",  # of the calendar: days to the start of the next event; null if none is known
    "ahead",  # of the calendar: events that start within the window after the moment
    "running",  # of the calendar: events that have started and not ended
    "expression",  # of other features
]
_HISTORY = ("since_last", "since_first", "gap_median", "gap_mean", "gap_std", "gap_max")
_COLUMN = ("sum", "max", "distinct", "mode", "last")
_CODED = ("mode", "last")  # of a text column they give a code of the vocabulary
CALENDAR = ("until_next", "ahead", "running")  # may look at what lies ahead, if it was known by the moment


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One feature.

    table, column: of the customer log, or `hour` and `weekday` of an event, or `total` of an order. where: a condition on one row,
    in SQL, of those too; `local_at` is the event's time in the shop's zone, which is 00:00 where only its day
    is known; null counts as false. window: days, None for
    all of known history. vocabulary: for mode and last of text, the values in the order of their codes 0, 1,
    ...; other values are left out. expression: + - * /, min(a, b) and max(a, b) over other features' names
    and numbers; a division by zero or a null gives null.
    """

    name: str
    words: Words
    unit: str  # orders, items, money, days, share, ratio ...
    measure: Measure
    table: str | None = None
    column: str | None = None
    where: str | None = None
    window: int | None = None
    vocabulary: tuple[str, ...] | None = None
    expression: str | None = None

    def __post_init__(self) -> None:
        if strange := misfits(self):
            raise FeatureError(f"{self.name}: {'; '.join(strange)}")
        derived = self.measure == "expression"
        if derived != (self.expression is not None) or derived == (self.table is not None):
            raise FeatureError(f"{self.name}: declare either a table and a measure of it, or an expression")
        if (self.measure in _COLUMN) != (self.column is not None):
            wrong = "needs a column" if self.column is None else f"takes no column such as {self.column!r}"
            raise FeatureError(
                f"{self.name}: the measure {self.measure} {wrong}; those of a column are {', '.join(_COLUMN)}"
            )
        if self.table is not None and self.table not in TABLES:
            raise FeatureError(f"{self.name}: {self.table!r} is no table of the log: {', '.join(TABLES)}")
        if self.window is not None and not 1 <= self.window <= 3660:
            raise FeatureError(f"{self.name}: window {self.window!r} is not a number of days, 1 to 3660")
        if self.measure in _HISTORY and self.window is not None:
            raise FeatureError(f"{self.name}: {self.measure} looks at all known history, it takes no window")
        if self.table is not None:
            self._check_column(self.table)

    def _check_column(self, table: str) -> None:
        columns = TABLES[table].columns
        others = (*LOCAL, TOTAL) if table == "orders" else LOCAL
        if self.column is not None and self.column not in columns and self.column not in others:
            raise FeatureError(
                f"{self.name}: {table} has no column {self.column!r}: {', '.join([*columns, *others])}"
            )
        text = self.column in columns and columns[self.column].type == "text"
        if (self.vocabulary is not None) != (text and self.measure in _CODED):
            raise FeatureError(f"{self.name}: a vocabulary goes with {' and '.join(_CODED)} of a text column")
        if self.vocabulary is not None and len(set(self.vocabulary)) != len(self.vocabulary):
            raise FeatureError(f"{self.name}: its vocabulary names a value twice")
        if self.measure in CALENDAR and table != "calendar":
            raise FeatureError(f"{self.name}: {self.measure} is of the calendar, not of {table}")
        if table == "calendar" and self.measure not in (*CALENDAR, "count", "since_last"):
            raise FeatureError(
                f"{self.name}: of the calendar there are {', '.join(CALENDAR)}, count, since_last"
            )
        if (self.measure == "ahead") > (self.window is not None) or (
            self.measure in ("until_next", "running") and self.window is not None
        ):
            raise FeatureError(f"{self.name}: of the calendar, only ahead and count take a window")
        if table == "tags" and not _only_imported(self.where or ""):
            raise FeatureError(
                f"{self.name}: derived tags are computed from features and must not come back into them: "
                f'write where="{_IMPORTED}", or "{_IMPORTED} and (...)"'
            )

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the features that an expression reads, sorted."""
        if self.expression is None:
            return ()
        tree = ast.parse(self.expression, mode="eval")
        functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                if (
                    not isinstance(node.func, ast.Name)
                    or node.func.id not in FUNCTIONS
                    or len(node.args) != 2
                    or node.keywords
                ):
                    raise FeatureError(f"{self.name}: only min(a, b) and max(a, b) can be called")
            elif not isinstance(node, _ALLOWED):
                raise FeatureError(
                    f"{self.name}: {type(node).__name__} is not allowed in {self.expression!r}"
                )
        names = (node for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in functions)
        return tuple(sorted({node.id for node in names}))

    @property
    def source(self) -> str:
        """What it is computed from, for people: `sum(orders.amount) where amount > 50`."""
        if self.expression is not None:
            return self.expression
        column = f".{self.column}" if self.column else ""
        where = f" where {self.where}" if self.where else ""
        return f"{self.measure}({self.table}{column}){where}"


_IMPORTED = "origin = 'imported'"


def _only_imported(where: str) -> bool:
    """Whether a condition on tags begins with the demand, and no `or` outside brackets undoes it."""
    rest = re.sub(r"'[^']*'", "", where.removeprefix(_IMPORTED))
    while (inner := re.sub(r"\([^()]*\)", "", rest)) != rest:
        rest = inner
    return where.startswith(_IMPORTED) and re.search(r"\bor\b", rest, re.IGNORECASE) is None


FUNCTIONS = ("min", "max")
_ALLOWED = (
    ast.Expression, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div,
    ast.UnaryOp, ast.USub, ast.Name, ast.Load, ast.Constant,
)  # fmt: skip


def feature_hash(feature: Feature, catalogue: Mapping[str, Feature], of_log: Mapping[str, object]) -> str:
    """16 hex digits over what decides a feature's values; words left out.

    That is the declaration, those of its inputs, the kernel's version, and `Shop.of_log`: a day of another
    zone, or money of another currency, is another feature.
    """
    declaration = {
        "kernel": KERNEL_VERSION,
        "shop": dict(of_log),
        "measure": feature.measure,
        "table": feature.table,
        "column": feature.column,
        "where": feature.where,
        "window": feature.window,
        "vocabulary": feature.vocabulary,
        "expression": feature.expression,
        "inputs": {name: feature_hash(catalogue[name], catalogue, of_log) for name in feature.inputs},
    }
    return hashlib.sha256(json.dumps(declaration, sort_keys=True).encode()).hexdigest()[:16]
