"""A trial: logged decisions whose propensities are known, as arrays."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from features.errors import NotEnoughData, TrainingError
from features.words import Words
from serving.booster import Rows
from serving.effects import EVIDENCE
from training.uplift_learners import Bools, Ints, Numbers

LEAST = 50  # customers of an arm in a trial: with fewer, no fold can tell anything
LEAST_CLUSTERS = 12  # of an arm that was drawn by cluster, each of many customers


OF = " = "  # between a column of text and one of its values, each a column of the matrix


def columns_of(names: Iterable[str]) -> tuple[str, ...]:
    """The table's columns that these of a matrix are of, each once, as a person counts them.

    >>> columns_of(["visits", "city = Bonn", "city = Rome"])
    ('visits', 'city')
    """
    return tuple(dict.fromkeys(name.partition(OF)[0] for name in names))


class Aside(NamedTuple):
    """Columns that nothing is learnt from, as witnesses of the draw. matrix: float32 [n, len(names)]."""

    names: tuple[str, ...]
    matrix: Rows


@dataclass(frozen=True)
class Trial:
    """Logged decisions. arms[0] is the control, "nothing".

    matrix: float32 [n, F] as known before the decision, NaN for null. arm: place in arms, [n]. given: the
    propensity with which that arm was given, [n], in (0, 1]. outcomes: name -> [n]. customer: [n], equal for
    rows of one customer, which then count as one. evidence: where the propensities come from. unread: columns
    that nothing is learnt from. possible: which arms a row could have had, [n, K]; None: all. chances: of
    every arm [n, K], where they are known or were estimated; None: of the one given alone. aside: columns
    that were left out of the matrix by name; None: none. notes: what was done to its table.
    """

    matrix: Rows
    names: tuple[str, ...]
    arms: tuple[str, ...]
    arm: Ints
    given: Numbers
    outcomes: Mapping[str, Numbers]
    customer: Ints
    evidence: EVIDENCE = "randomised"
    unread: tuple[str, ...] = ()
    possible: Bools | None = None
    chances: Numbers | None = None
    aside: Aside | None = None
    values: Mapping[str, Ints] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    unit: str | None = None
    cluster: str | None = None
    notes: tuple[Words, ...] = ()

    def __post_init__(self) -> None:
        n, width = self.matrix.shape
        lengths = {len(self.arm), len(self.given), len(self.customer), *map(len, self.outcomes.values())}
        if lengths != {n} or width != len(self.names) or self.matrix.dtype != np.float32:
            raise TrainingError(f"a trial of float32 [{n}, {width}] needs as many names, arms and outcomes")
        if not (good := (self.given > 0) & (self.given <= 1)).all():
            raise TrainingError(
                "the propensity of the arm that was given must lie in (0, 1] in every row: in "
                f"{(~good).sum():,} it does not, such as {self.given[~good][0]:g}"
            )
        if unknown := [k for k, y in self.outcomes.items() if not np.isfinite(y).all()]:
            raise TrainingError(f"{', '.join(unknown)} is not known for every customer: leave those out")
        could = self.could
        if not (could[:, 0].all() and could[np.arange(n), self.arm].all()):
            raise TrainingError("every row could have had the control, and the arm that it was given")
        few = [
            f"{name} has {count}{'' if j else f' beside {self.arms[k]}'}"
            for k in range(1, len(self.arms))
            for j, name in ((0, self.arms[0]), (k, self.arms[k]))
            if (count := len(np.unique(self.customer[could[:, k] & (self.arm == j)]))) < self.least
        ]
        if len(self.arms) < 2 or few:
            what = f"values of {self.cluster} (--cluster)" if self.cluster else "customers"
            raise NotEnoughData(
                f"a trial needs two arms, and {self.least} {what} in each: {', '.join(few) or self.arms}"
                + (". Leave the rows of so small an arm out, or wait for more" if len(self.arms) > 2 else "")
                + (
                    f". If the arm was drawn by {self.unit}, say --cluster {self.unit}"
                    if self.unit and not self.cluster and len(np.unique(self.customer)) < n
                    else ""
                )
            )

    def __len__(self) -> int:
        return len(self.arm)

    @property
    def least(self) -> int:
        """Customers, or clusters, that each arm must have."""
        return LEAST_CLUSTERS if self.cluster else LEAST

    @property
    def could(self) -> Bools:
        """Which arms each row could have had, [n, K]."""
        every = np.ones((len(self.arm), len(self.arms)), np.bool_)
        return every if self.possible is None else self.possible

    def part(self, rows: Bools | Ints) -> "Trial":
        """Some rows of it."""
        return replace(
            self, matrix=self.matrix[rows], arm=self.arm[rows], given=self.given[rows],
            outcomes={name: y[rows] for name, y in self.outcomes.items()}, customer=self.customer[rows],
            possible=None if self.possible is None else self.possible[rows],
            chances=None if self.chances is None else self.chances[rows],
            aside=None if self.aside is None else self.aside._replace(matrix=self.aside.matrix[rows]),
            values={name: codes[rows] for name, codes in self.values.items()},
        )  # fmt: skip
