"""Watches: a figure of every customer, and the threshold at whose crossing somebody wants to be told.

To add a watch, add it to WATCHES in the shop's shop.py:

    WATCHES = [
        Watch(
            name="churn_warning",
            words=Words("About to leave", "流失预警"),
            figure="churn_28d",
            enters=0.6,
            leaves=0.5,
        ),
    ]

The two thresholds are apart, so that a score which wavers around one does not warn every day: whoever came
to .6 is warned of, and the warning is over below .5. Where `enters` is the lower of the two, low is what is
warned of: enters=10, leaves=20 of a value. More bands are more watches.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import SettingsError
from features.typed import misfits
from features.words import Words
from serving.segments import unknown

Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Watch:
    """One watch. figure: a feature or a score (`figures`). enters, leaves: its thresholds."""

    name: str
    words: Words
    figure: str
    enters: float
    leaves: float

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise SettingsError(f"watch {self.name!r}: {problem}. Change its declaration")

    @property
    def inputs(self) -> tuple[str, ...]:
        """What it reads."""
        return (self.figure,)

    def holds(self, figure: NDArray[Any], members: Bools | np.bool_ | bool = False) -> Bools:
        """Who is warned of: [n], by the figure [n] and by who was so far.

        Whose figure is not known (she left the model's population) is not warned of any longer.
        """
        sign = 1 if self.enters > self.leaves else -1
        with np.errstate(invalid="ignore"):
            begins: Bools = sign * figure >= sign * self.enters
            stays: Bools = sign * figure >= sign * self.leaves
        return begins | (stays & members)

    def _problem(self) -> str | None:
        if strange := misfits(self):
            return "; ".join(strange)
        if not self.name.isidentifier():
            return "its name must be an identifier such as churn_warning"
        if not all(text.strip() for text in self.words):
            return "it needs words, in English and Chinese"
        if self.enters == self.leaves:
            return (
                f"it enters and leaves at {self.enters:g}: set leaves apart from it, lower where high is "
                "warned of, or whoever is near the threshold is told of again and again"
            )
        return None


def catalogue(own: Iterable[Watch], names: Collection[str]) -> dict[str, Watch]:
    """A shop's watches by name. names: all that they may read. SettingsError for what cannot be one."""
    by_name: dict[str, Watch] = {}
    for one in own:
        if not isinstance(one, Watch):
            raise SettingsError(f"WATCHES holds {one!r}: declare it as Watch(...)")
        if one.name in by_name:
            raise SettingsError(f"watch {one.name!r} is declared twice: give one another name")
        if one.figure not in names:
            raise SettingsError(f"watch {one.name!r}: {unknown(one.figure, names)}")
        by_name[one.name] = one
    return by_name
